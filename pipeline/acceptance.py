"""What must hold of what a run has made; a run of which it doesn't hold fails."""

from collections.abc import Sequence

from pipeline import ledger
from pipeline.corpora import LINE_FAULTS
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.ledger import READ, Ledger
from pipeline.manifest import Manifest
from pipeline.options import RunOptions


def check_documents_add_up(manifest: Manifest) -> None:
    """Fails the run when a document is neither kept nor rejected, or both."""
    for corpus, split in sorted({key[:2] for key in manifest.outcomes}):
        counts = {key[2]: n for key, n in manifest.outcomes.items() if key[:2] == (corpus, split)}
        read = counts.pop(READ, 0)
        if read != sum(counts.values()):
            raise RunError(
                f"{corpus}, {split}: {read:,} documents were read, but {sum(counts.values()):,} "
                "kept or rejected; start afresh with --overwrite, and please report this"
            )


def check_balance(entries: Ledger, seq_lengths: Sequence[int] = ()) -> None:
    """Fails the run when a character is not accounted for, or twice."""
    faults = ledger.find_imbalances(entries, seq_lengths)
    if faults:
        raise RunError(
            "the ledger does not balance:\n"
            + "\n".join(faults)
            + "\nstart afresh with --overwrite, and please report this"
        )


def check_rejected(manifest: Manifest, options: RunOptions, layout: Layout) -> None:
    """Fails the run when too many lines of a corpus could not be read."""
    for corpus in sorted({corpus for corpus, _, _ in manifest.outcomes}):
        of_corpus = {key: n for key, n in manifest.outcomes.items() if key[0] == corpus}
        read = sum(n for (_, _, outcome), n in of_corpus.items() if outcome == READ)
        faults = {
            fault: sum(n for (_, _, outcome), n in of_corpus.items() if outcome == fault)
            for fault in LINE_FAULTS
        }
        unreadable = sum(faults.values())
        if unreadable > options.max_rejected_fraction * read:
            details = ", ".join(f"{fault} {n:,}" for fault, n in faults.items() if n)
            raise RunError(
                f"{corpus}: {unreadable:,} of {read:,} lines could not be read ({details}), more "
                f"than --max_rejected_fraction={options.max_rejected_fraction} allows; look at "
                f"them in {layout.rejected}"
            )
