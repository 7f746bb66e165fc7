"""Shows in a terminal what the pipeline did to documents: an output directory -> lines of text."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Final

from pipeline.errors import UsageError
from pipeline.layout import Layout
from pipeline.records import Document, Rejected
from pipeline.report.accounts import (
    Account,
    EditSample,
    RejectedSample,
    Samples,
    add_up,
    reasons_of,
    rules_of,
)
from pipeline.report.facts import read_accounts, read_manifest, read_samples
from pipeline.report.lookup import Library
from pipeline.report.marks import Piece, show, split_difference, split_edit
from pipeline.terminal import NEW, OLD, mark_pieces, pad, wrap

_GUTTER: Final = " | "
_ELLIPSIS: Final = "…"
_LEAST_WIDTH: Final = 20


def inspect(
    layout: Layout,
    *,
    reason: str | None = None,
    rule: str | None = None,
    doc_id: str | None = None,
    limit: int = 20,
    width: int = 100,
    colour: bool = False,
) -> Iterator[str]:
    """Yields lines that show rejections, edits, or one document.

    With nothing to look for they list reasons and rules that have something to show, and begin
    some kept documents.

    Args:
      layout: of the output directory.
      reason: shows documents that were rejected for it, duplicates beside what stays.
      rule: shows documents that it changed, before and after.
      doc_id: shows the whole document, or why it was rejected, and what is known of its edits.
      limit: the most documents to show.
      width: columns of the terminal; a Chinese character takes two.
      colour: marks what changed in colour; otherwise as [-old-] and {+new+}.

    Raises:
      UsageError: there is no such reason, rule or id, more than one of them is given, or the
        directory holds no outputs.
      RunError: an output is damaged.
    """
    if sum(wanted is not None for wanted in (reason, rule, doc_id)) > 1:
        raise UsageError("give one of --reason, --rule and --doc_id")
    _require("limit", limit, 1)
    _require("width", width, _LEAST_WIDTH)
    library = Library(layout, read_manifest(layout))
    samples, total = read_samples(layout), add_up(read_accounts(layout)[0])
    pages = _Pages(width, colour)
    if reason is not None:
        found = _find_rejections(reason, samples, library, total, limit)
        return _show_rejections(found, library, pages)
    if rule is not None:
        found = _find_edits(rule, samples, total)
        return chain.from_iterable(map(pages.edit, found[:limit]))
    if doc_id is not None:
        return _show_one(doc_id, samples, library, pages)
    return _show_overview(total, library, limit, pages)


def _require(flag: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"--{flag} must be at least {least}, got {value}")


# --- What is shown ---


def _find_rejections(
    reason: str, samples: Samples, library: Library, total: Account, limit: int
) -> Iterator[RejectedSample]:
    """Returns the samples of a reason, then others in the order of the corpus.

    Raises:
      UsageError: there is no such reason.
    """
    _refuse_unknown("reason", reason, reasons_of(total))
    sampled = samples.rejected.get(reason, [])
    known = {sample.doc_id for sample in sampled}
    others = (
        _as_sample(row)
        for row in library.rejections()
        if row.reason == reason and row.doc_id not in known
    )
    # Not to the end of all rejections, where the ledger says that there are no more.
    return islice(chain(sampled, others), min(limit, total.documents[reason]))


def _as_sample(row: Rejected) -> RejectedSample:
    similarity = row.similarity if row.duplicate_of and row.text else None  # as of a sample
    return RejectedSample(
        *(row.doc_id, row.text, len(row.text), row.duplicate_of or None, similarity)
    )


def _find_edits(rule: str, samples: Samples, total: Account) -> list[EditSample]:
    _refuse_unknown("rule", rule, rules_of(total))
    return samples.edits.get(rule, [])


def _refuse_unknown(kind: str, name: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if name not in names:
        raise UsageError(f"no {kind} {name!r} here; there are: {', '.join(names) or 'none'}")


def _show_rejections(
    found: Iterable[RejectedSample], library: Library, pages: "_Pages"
) -> Iterator[str]:
    for sample in found:
        kept = library.find_document(sample.duplicate_of) if sample.duplicate_of else None
        yield from pages.duplicate(sample, kept) if kept else pages.rejected(sample)


def _show_one(doc_id: str, samples: Samples, library: Library, pages: "_Pages") -> Iterator[str]:
    """Yields all that is known of one id.

    Raises:
      UsageError: there is no such document; names some near it.
    """
    document = library.find_document(doc_id)
    rejected = None if document else library.find_rejected(doc_id)
    if document:
        shown = pages.document(document)
    elif rejected:
        head = [f"rejected by {rejected.stage}: {rejected.reason}"]
        shown = chain(head, _show_rejections([_as_sample(rejected)], library, pages))
    else:
        raise UsageError(_explain_unknown_id(doc_id, library))
    edits = [
        chain([f"rule {rule}"], pages.edit(sample))
        for rule, of_rule in sorted(samples.edits.items())
        for sample in of_rule
        if sample.doc_id == doc_id
    ]
    return chain(shown, *edits)


def _explain_unknown_id(doc_id: str, library: Library) -> str:
    near = library.neighbours(doc_id) or next(_first_documents(library), [])
    examples = ", ".join(document.doc_id for document in near[:3])
    return (
        f"no document {doc_id!r} here, kept or rejected; ids are CORPUS/SPLIT/FILE:BYTE, such as "
        f"{examples or 'none: nothing was kept'}"
    )


def _first_documents(library: Library) -> Iterator[list[Document]]:
    """Yields the first block of documents of each corpus and split."""
    return (library.read(blocks[0]) for _, blocks in sorted(library.blocks.items()))


def _show_overview(total: Account, library: Library, limit: int, pages: "_Pages") -> Iterator[str]:
    reasons = reasons_of(total)
    yield "--reason=        documents"
    for reason in sorted(reasons, key=lambda reason: (-reasons[reason], reason)):
        yield f"  {reason:<30} {reasons[reason]:>14,}"
    yield ""
    yield "--rule=          times, characters removed, added"
    for rule in sorted(rules_of(total), key=lambda rule: (-total.edits[rule], rule)):
        figures = (total.edits[rule], total.removed[rule], total.added[rule])
        yield f"  {rule:<30} {' '.join(f'{figure:>14,}' for figure in figures)}"
    yield ""
    yield "--doc_id=        kept documents, some of each corpus and split"
    in_turn = chain.from_iterable(zip_longest(*_first_documents(library)))
    for document in islice(filter(None, in_turn), limit):
        yield from pages.beginning(document)


# --- How it is shown ---


class _Pages:
    """Sets excerpts in lines of one width."""

    def __init__(self, width: int, colour: bool) -> None:
        self._width = width
        self._half = (width - len(_GUTTER)) // 2
        self._colour = colour

    def edit(self, sample: EditSample) -> Iterator[str]:
        """Yields an excerpt before and after an edit, side by side."""
        before, after = split_edit(sample.before, sample.spans)
        yield _shown(sample.doc_id)
        yield from self._beside(before, after)

    def duplicate(self, sample: RejectedSample, kept: Document) -> Iterator[str]:
        """Yields a duplicate beside the document that stays."""
        alike = "" if sample.similarity is None else f", {sample.similarity:.2f} alike"
        text = sample.text_beside(kept.text)
        goes, stays = split_difference(text, kept.text)
        yield _shown(f"{sample.doc_id} ({sample.chars or len(text):,} characters{alike})")
        yield _shown(f"stays: {kept.doc_id}")
        yield from self._beside(goes, stays)

    def rejected(self, sample: RejectedSample) -> Iterator[str]:
        """Yields a rejected document; the text of a sample is its beginning only."""
        stays = f", stays: {sample.duplicate_of}" if sample.duplicate_of else ""
        yield _shown(f"{sample.doc_id} ({sample.chars:,} characters{stays})")
        yield from self._text(sample.text + _ELLIPSIS * (len(sample.text) < sample.chars))

    def document(self, document: Document) -> Iterator[str]:
        """Yields a whole document."""
        upstream = f", upstream's id {document.upstream_id}" if document.upstream_id else ""
        yield _shown(f"{document.doc_id} (kept, {len(document.text):,} characters{upstream})")
        yield from self._text(document.text)

    def beginning(self, document: Document) -> Iterator[str]:
        """Yields id and first words of a document, a line each."""
        lines = wrap(_shown(document.text[: self._width]), self._width - 4)
        yield _shown(f"  {document.doc_id}")
        yield f"    {lines[0]}"

    def _text(self, text: str) -> Iterator[str]:
        yield from wrap(_shown(text), self._width)
        yield ""

    def _beside(self, old: Sequence[Piece], new: Sequence[Piece]) -> Iterator[str]:
        left = mark_pieces(old, self._half, OLD, self._colour)
        right = mark_pieces(new, self._half, NEW, self._colour)
        for first, second in zip_longest(left, right, fillvalue=""):
            yield f"{pad(first, self._half)}{_GUTTER}{second}".rstrip()
        yield ""


def _shown(text: str) -> str:
    return show(Piece(text, False))
