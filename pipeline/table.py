"""The closing table of a run: what was read, kept, rejected and written."""

from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.manifest import Manifest
from pipeline.records import KEPT, READ
from tfrecords_schema.dataset_info import DatasetInfo


def format_documents(manifest: Manifest) -> str:
    """Returns documents read, kept and rejected by reason, a line for each corpus and split."""
    rows = [("corpus", "split", "read", "kept", "rejected by reason")]
    groups = sorted({(corpus, split) for corpus, split, _ in manifest.outcomes})
    for corpus, split in groups:
        outcomes = Counter(
            {
                outcome: count
                for (of_corpus, of_split, outcome), count in manifest.outcomes.items()
                if (of_corpus, of_split) == (corpus, split)
            }
        )
        read, kept = outcomes.pop(READ, 0), outcomes.pop(KEPT, 0)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcomes.items()))
        rows.append((corpus, split, f"{read:,}", f"{kept:,}", reasons or "-"))
    return _align(rows, right=(2, 3))


def format_shards(info: DatasetInfo) -> str:
    """Returns files, sequences, fill and masked share, a line for each length and set."""
    rows = [("length", "set", "files", "sequences", "fill", "masked", "[UNK]")]
    for length in sorted(info.max_predictions_per_seq):
        for name, by_length in sorted(info.statistics.items()):
            counts = by_length[str(length)]
            shards = [path for path in info.records if path.startswith(f"{length}/{name}-")]
            copies = info.dupe_factor if name == "train" else 1
            tokens = counts["countable_tokens"]
            rows.append(
                (
                    str(length),
                    name,
                    f"{len(shards):,}",
                    f"{counts['sequences']:,}",
                    _percent(counts["positions"] - counts["padding"], counts["positions"]),
                    _percent(counts["masked_tokens"], tokens * copies),
                    _percent(counts["unknown_tokens"], tokens + counts["unknown_tokens"]),
                )
            )
    return _align(rows, right=(0, 2, 3, 4, 5, 6))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _align(rows: Sequence[Sequence[str]], right: Iterable[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([aligned[0], "-" * max(map(len, aligned)), *aligned[1:]])
