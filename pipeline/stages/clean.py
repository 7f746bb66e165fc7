"""Input files -> units -> cleaned documents, rejections and the keys that find duplicates."""

import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from pipeline import corpora, dedup, files, ledger, near_duplicates, reading, units
from pipeline.blocks import FrameWriter, encode_document
from pipeline.config import DocumentsConfig
from pipeline.errors import BrokenFileError
from pipeline.layout import Layout, input_name
from pipeline.ledger import Ledger
from pipeline.reading import RawLine, Split
from pipeline.records import (
    HELD_OUT,
    SPLITS,
    TRAIN,
    InputFile,
    Rejected,
    Skipped,
    Unit,
    document_id,
)
from pipeline.resume import Stage
from pipeline.rules import FIELD_JOINER, Change, Cleaner, Joined, find_spans, join_fields
from pipeline.samples import (
    EDITS,
    REJECTED,
    Row,
    Sampler,
    describe_difference,
    describe_edit,
    describe_text,
    samples_to_bytes,
    size_in_unit,
)

READ_STAGE, CLEAN_STAGE = "read", "clean"

SIZE: Final = np.dtype([("document", "<i8"), ("text_bytes", "<u4"), ("chars", "<u4")])
"""Number of a cleaned document, and the size of its text."""

_FIRST_LINE: Final = bytes(4)
_BATCH_LINES: Final = 1000
_BATCH_BYTES: Final = 1 << 20
_FRAME_BYTES: Final = 64 << 10
"""Of cleaned documents; to look at one, its frame is read."""

_SHOWN_CHARS: Final = 1000
"""Of a line that is too long to be a document."""


Line = TypeVar("Line")


class Cleaned(NamedTuple):
    """What cleaning one unit found out."""

    unit: Unit
    ledger: Ledger
    skipped: list[Skipped]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return ledger.to_rows(self.ledger)

    @classmethod
    def from_json(cls, fields: Any, unit: Unit, *_: Any) -> "Cleaned":
        """Reads what `to_json` returned."""
        return cls(unit, ledger.from_rows(fields), [])


def split_input(
    input_file: InputFile, config: DocumentsConfig, layout: Layout, skip_broken_files: bool
) -> Split:
    """Cuts one input file into units; unpacks it on the way if it is packed."""
    if input_file.compression:
        return reading.split_into_chunks(input_file, config.unit_bytes, layout, skip_broken_files)
    return Split(units.ranges_of(input_file, input_file.size_bytes, config.unit_bytes), [])


def units_of(splits: Iterable[Split]) -> list[Unit]:
    """Returns the units of all input files, in order, numbered."""
    return units.number_units(unit for split in splits for unit in split.units)


def clean_unit(
    unit: Unit, config: DocumentsConfig, layout: Layout, skip_broken_files: bool
) -> Cleaned:
    """Reads and cleans the lines of one unit; the kept ones may still be duplicates."""
    try:
        return _UnitCleaning(unit, config, layout).run()
    except BrokenFileError as error:
        if not skip_broken_files:
            raise
        reason = f"byte {error.offset:,}: {error.fault}"
        skipped = Skipped(unit.corpus, unit.split, unit.name, unit.start, unit.end, reason)
        nothing = _UnitCleaning(unit._replace(path=""), config, layout).run()
        return nothing._replace(skipped=[skipped])


class ReadLine(NamedTuple):
    """A line that could be read: where it begins, its split, its fields and what they make."""

    offset: int
    split: str
    upstream_id: str
    values: list[str]
    joined: Joined


class UnreadableLine(NamedTuple):
    """A line that could not be read: where it begins, its split, why, its beginning, its bytes."""

    offset: int
    split: str
    fault: str
    data: bytes
    length: int


def read_batches(unit: Unit, config: DocumentsConfig) -> Iterator[list[ReadLine | UnreadableLine]]:
    """Yields the lines of a unit that are not blank, some at a time."""
    for batch in batches(reading.read_lines(unit), lambda line: len(line.data)):
        lines = [_read_line(raw_line, unit, config) for raw_line in batch]
        yield [line for line in lines if line is not None]


def batches(lines: Iterable[Line], size_of: Callable[[Line], int]) -> Iterator[list[Line]]:
    """Yields lines, some at a time: so many that what is done for each batch takes no time."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += size_of(line)
        if len(batch) == _BATCH_LINES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_line(
    raw_line: RawLine, unit: Unit, config: DocumentsConfig
) -> ReadLine | UnreadableLine | None:
    """Reads a line; None if it is blank."""
    line = raw_line.data.rstrip(b"\r")
    if raw_line.offset == 0:
        line = line.removeprefix(b"\xef\xbb\xbf")
    if not line or line.isspace():
        return None
    held_out = not unit.split and units.is_held_out(line, config.held_out_fraction)
    split = unit.split or (HELD_OUT if held_out else TRAIN)
    if raw_line.is_too_long:
        return UnreadableLine(raw_line.offset, split, corpora.LINE_TOO_LONG, line, raw_line.length)
    parsed = corpora.parse_line(line, corpora.CORPORA[unit.corpus])
    if isinstance(parsed, corpora.LineFault):
        return UnreadableLine(raw_line.offset, split, parsed.reason, line, raw_line.length)
    joined = join_fields(unit.corpus, parsed.values, parsed.aids, config.rules_off)
    return ReadLine(raw_line.offset, split, parsed.upstream_id, parsed.values, joined)


class _UnitCleaning:
    """Cleans the lines of one unit and writes what later stages read."""

    def __init__(self, unit: Unit, config: DocumentsConfig, layout: Layout) -> None:
        self._unit = unit
        self._config = config
        self._layout = layout
        self._cleaner = Cleaner(unit.corpus, config)
        self._ledger: Ledger = Counter()
        self._sampler = Sampler(size_in_unit(unit.total))
        # Of a document at offset 0 of its file.
        self._id_stems = {
            split: document_id(unit.corpus, split, unit.name, 0)[:-1] for split in SPLITS
        }
        self._first_numbers = {
            split: dedup.number_document(split, unit.number, 0) - unit.start for split in SPLITS
        }
        self._sizes = [np.empty(0, SIZE)]
        self._keys = [np.empty(0, dedup.KEY)]
        self._bands = [np.empty(0, dedup.BAND)]
        self._paragraphs: list[bytes] = []

    def run(self) -> Cleaned:
        """Cleans all lines."""
        layout, place = self._layout, (self._unit.number, self._unit.total)
        with (
            files.finished_or_absent(layout.cleaned(*place)) as kept_file,
            files.finished_or_absent(layout.cleaned_rejected(*place)) as rejected_file,
        ):
            self._kept = FrameWriter(kept_file, _FRAME_BYTES, level=1)
            self._rejected = FrameWriter(rejected_file, self._config.block_text_bytes)
            for batch in read_batches(self._unit, self._config):
                self._clean(batch)
            self._kept.close()
            self._rejected.close()
        files.write_bytes(layout.sizes(*place), np.concatenate(self._sizes).tobytes())
        files.write_bytes(layout.frames(*place), self._kept.frames.tobytes())
        self._write_keys(layout, place)
        drawn = self._sampler.samples()
        files.write_bytes(layout.cleaned_samples(*place), samples_to_bytes(drawn))
        return Cleaned(self._unit, self._ledger, [])

    def _write_keys(self, layout: Layout, place: tuple[int, int]) -> None:
        files.write_bytes(layout.keys(*place), dedup.pack_key_file(np.concatenate(self._keys)))
        files.write_bytes(layout.bands(*place), dedup.pack_key_file(np.concatenate(self._bands)))
        paragraphs = np.frombuffer(b"".join(self._paragraphs), dedup.PARAGRAPH)
        files.write_bytes(layout.paragraphs(*place), dedup.pack_key_file(paragraphs))

    def _clean(self, batch: Sequence[ReadLine | UnreadableLine]) -> None:
        lines = [line for line in batch if isinstance(line, ReadLine)]
        for line in batch:
            if isinstance(line, UnreadableLine):
                self._reject_unreadable(line)
        cleaned = self._cleaner.clean([line.joined.text for line in lines])
        self._account_reading(lines)
        self._account_changes(cleaned.changes, lines)
        kept: list[tuple[ReadLine, str]] = []
        for line, text, reason in zip(lines, cleaned.texts, cleaned.reasons, strict=True):
            if reason is None:
                kept.append((line, text))
            else:
                self._reject(line, text, reason)
        self._keep(kept)

    # --- What is kept ---

    def _keep(self, kept: Sequence[tuple[ReadLine, str]]) -> None:
        """Writes documents and notes all their keys, whatever --dedup says: it shapes no cleaning.

        Comprehensions, since this is done for every document.
        """
        texts = [text for _, text in kept]
        encoded = [text.encode() for text in texts]
        numbers = [self._number(line) for line, _ in kept]
        contents = [dedup.hash_text(each) for each in encoded]
        stems, corpus = self._id_stems, self._unit.corpus
        self._kept.write_lines(
            [
                encode_document(f"{stems[split]}{offset}", corpus, split, upstream_id, text)
                for (offset, split, upstream_id, _, _), text in kept
            ]
        )
        sizes = np.empty(len(kept), SIZE)
        sizes["document"] = numbers
        sizes["text_bytes"] = [len(each) for each in encoded]
        sizes["chars"] = [len(text) for text in texts]
        self._sizes.append(sizes)
        self._keys.append(dedup.make_keys(contents, numbers))
        self._note_paragraphs(numbers, contents, texts)
        self._note_signatures(numbers, contents, texts)

    def _note_paragraphs(
        self, numbers: Sequence[int], contents: Sequence[bytes], texts: Sequence[str]
    ) -> None:
        least = self._config.min_paragraph_chars
        for number, content, text in zip(numbers, contents, texts, strict=True):
            if len(text) < least:
                continue
            document = number.to_bytes(8, "little")
            if "\n" not in text:
                self._paragraphs += content, document, _FIRST_LINE
                continue
            for place, paragraph in enumerate(text.split("\n")):
                if len(paragraph) >= least:
                    key = dedup.hash_text(paragraph.encode())
                    self._paragraphs += key, document, place.to_bytes(4, "little")

    def _note_signatures(
        self, numbers: Sequence[int], contents: Sequence[bytes], texts: Sequence[str]
    ) -> None:
        long = [place for place, text in enumerate(texts) if near_duplicates.can_be_compared(text)]
        if long:
            keys = near_duplicates.band_keys([texts[place] for place in long])
            of_long = [contents[place] for place in long], [numbers[place] for place in long]
            self._bands.append(dedup.make_bands(keys, *of_long))

    # --- What is not, and what was changed ---

    def _reject(self, line: ReadLine, text: str, reason: str) -> None:
        self._count(line, ledger.REJECTED, reason, len(text))
        self._write_rejected(line, line.upstream_id, CLEAN_STAGE, reason, text)

    def _reject_unreadable(self, line: UnreadableLine) -> None:
        self._count(line, ledger.DOCUMENTS, ledger.READ, 1)
        self._count(line, ledger.UNREADABLE_BYTES, line.fault, line.length)
        text = line.data.decode(errors="backslashreplace")
        shown = text[:_SHOWN_CHARS] if line.fault == corpora.LINE_TOO_LONG else text
        self._write_rejected(line, "", READ_STAGE, line.fault, shown)

    def _write_rejected(
        self,
        line: "ReadLine | UnreadableLine",
        upstream_id: str,
        stage: str,
        reason: str,
        text: str,
    ) -> None:
        self._count(line, ledger.DOCUMENTS, reason, 1)
        doc_id, corpus = self._id(line), self._unit.corpus
        self._rejected.write(Rejected(doc_id, corpus, line.split, upstream_id, stage, reason, text))
        self._sampler.offer(
            *(REJECTED, reason, self._number(line)),
            lambda: self._place_of(line) | describe_text(text),
        )

    def _account_reading(self, lines: Sequence[ReadLine]) -> None:
        splits = Counter(line.split for line in lines)
        for split, number in splits.items():
            chars = sum(line.joined.read for line in lines if line.split == split)
            self._ledger[self._unit.corpus, split, ledger.DOCUMENTS, ledger.READ] += number
            self._ledger[self._unit.corpus, split, ledger.READ, ""] += chars
        for line in lines:
            for rule, *counts in line.joined.edits:
                self._count_edit(line, rule, *counts)
                if rule != FIELD_JOINER:
                    self._sample_joining(line, rule)

    def _sample_joining(self, line: ReadLine, rule: str) -> None:
        def describe() -> Row:
            before = "\n".join(filter(None, line.values))
            return self._place_of(line) | describe_difference(before, line.joined.text)

        self._sampler.offer(EDITS, rule, self._number(line), describe)

    def _account_changes(self, changes: Sequence[Change], lines: Sequence[ReadLine]) -> None:
        groups: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
        for change in changes:
            groups[change.rule, lines[change.document].split].append(change)
        for (rule, _), group in groups.items():
            of_group = [lines[change.document] for change in group]
            counts = (
                sum(change.times for change in group),
                sum(change.removed for change in group),
                sum(change.added for change in group),
            )
            self._count_edit(of_group[0], rule, *counts)
            shown = [
                (line, change.before)
                for line, change in zip(of_group, group, strict=True)
                if change.before is not None
            ]
            numbers = [self._number(line) for line, _ in shown]
            for place, draw in self._sampler.draws(EDITS, rule, numbers):
                describe = partial(self._describe_edit, rule, *shown[place])
                self._sampler.add(EDITS, rule, draw, describe)

    def _describe_edit(self, rule: str, line: ReadLine, before: str) -> Row:
        spans = find_spans(rule, before, self._config)
        return self._place_of(line) | describe_edit(before, spans)

    def _count_edit(self, line: ReadLine, rule: str, times: int, removed: int, added: int) -> None:
        self._count(line, ledger.EDITS, rule, times)
        self._count(line, ledger.REMOVED, rule, removed)
        self._count(line, ledger.ADDED, rule, added)

    def _count(
        self, line: "ReadLine | UnreadableLine", account: str, item: str, number: int
    ) -> None:
        self._ledger[self._unit.corpus, line.split, account, item] += number

    def _place_of(self, line: "ReadLine | UnreadableLine") -> Row:
        return {"doc_id": self._id(line), "corpus": self._unit.corpus, "split": line.split}

    def _number(self, line: "ReadLine | UnreadableLine") -> int:
        return self._first_numbers[line.split] + line.offset

    def _id(self, line: "ReadLine | UnreadableLine") -> str:
        return f"{self._id_stems[line.split]}{line.offset}"


def split_stage(config: DocumentsConfig, layout: Layout, skip_broken_files: bool) -> Stage:
    """Input files -> Splits."""
    arguments = config, layout, skip_broken_files
    size_of = operator.attrgetter("size_bytes")
    return Stage("split", split_input, arguments, Split, input_name, size_of, layout)


def clean_stage(config: DocumentsConfig, layout: Layout, skip_broken_files: bool) -> Stage:
    """Units -> Cleaned."""
    arguments = config, layout, skip_broken_files
    return Stage("clean", clean_unit, arguments, Cleaned, unit_name, bytes_of, layout)


def bytes_of(unit: Unit) -> int:
    """Returns how much of its file a unit reads, in bytes."""
    return unit.end - unit.start


def unit_name(unit: Any) -> str:
    """Returns what names a unit with a number among those of its stage."""
    return f"{unit.number:05d}"
