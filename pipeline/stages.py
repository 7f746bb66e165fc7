"""The unit functions: files in, files and a small result out. No Beam.

split     InputFile -> Units                         (packed input only writes chunks)
clean     Unit -> work/cleaned, work/sizes, work/keys
dedup     range of keys -> which documents are duplicates
finish    Unit, its losers -> documents/, rejected/, blocks
count     part of documents/ -> token counts         (only if a vocabulary is learned)
shard     Shard -> tfrecords/<length>/..., counts     (see instances.py)
"""

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from pipeline import cleaning, corpora, dedup, files, reading, units
from pipeline.blocks import BlockWriter, FrameWriter, read_row_lines, read_texts
from pipeline.config import DocumentsConfig
from pipeline.errors import BrokenFileError, RunError
from pipeline.layout import Layout, input_name
from pipeline.manifest import Manifest
from pipeline.reading import RawLine, Split
from pipeline.records import (
    HELD_OUT,
    KEPT,
    READ,
    SPLITS,
    TRAIN,
    Block,
    Document,
    InputFile,
    OutcomeCounts,
    Rejected,
    Skipped,
    Unit,
    document_id,
    outcomes_to_rows,
    rows_to_outcomes,
)
from pipeline.resume import Stage
from vocab.counting import TokenCounts, count_tokens

READ_STAGE, CLEAN_STAGE, DEDUP_STAGE = "read", "clean", "dedup"

_SHOWN_CHARS: Final = 1000
"""Of a line that is too long to be a document."""

_BYTES_OF_KEY_RANGE: Final = 64 << 20
"""Of input; its keys take some MB, and four times as many while they are sorted."""

_SIZE: Final = np.dtype([("place", "<u8"), ("text_bytes", "<u4")])


class Cleaned(NamedTuple):
    """What cleaning one unit found out."""

    unit: Unit
    outcomes: OutcomeCounts
    skipped: list[Skipped]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return {"outcomes": outcomes_to_rows(self.outcomes)}

    @classmethod
    def from_json(cls, fields: Any, unit: Unit, *_: Any) -> "Cleaned":
        """Reads what `to_json` returned."""
        return cls(unit, rows_to_outcomes(fields["outcomes"]), [])


class Duplicates(NamedTuple):
    """The duplicates in one range of keys.

    Attributes:
      losers: packed, by the number of their unit.
    """

    losers: dict[int, bytes]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return [[number, packed.decode()] for number, packed in sorted(self.losers.items())]

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Duplicates":
        """Reads what `to_json` returned."""
        return cls({number: packed.encode() for number, packed in fields})


class Finished(NamedTuple):
    """What finishing one unit made."""

    outcomes: OutcomeCounts
    blocks: list[Block]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        blocks = [list(block) for block in self.blocks]
        return {"outcomes": outcomes_to_rows(self.outcomes), "blocks": blocks}

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Finished":
        """Reads what `to_json` returned."""
        blocks = [Block(*row) for row in fields["blocks"]]
        return cls(rows_to_outcomes(fields["outcomes"]), blocks)


def split_input(
    input_file: InputFile, config: DocumentsConfig, layout: Layout, skip_broken_files: bool
) -> Split:
    """Cuts one input file into units; unpacks it on the way if it is packed."""
    if input_file.compression:
        return reading.split_into_chunks(input_file, config.unit_bytes, layout, skip_broken_files)
    return Split(units.ranges_of(input_file, input_file.size_bytes, config.unit_bytes), [])


# --- Cleaning ---


def clean_unit(
    unit: Unit, config: DocumentsConfig, layout: Layout, skip_broken_files: bool
) -> Cleaned:
    """Reads and cleans the lines of one unit; the kept ones may still be duplicates."""
    try:
        return _clean_unit(unit, config, layout)
    except BrokenFileError as error:
        if not skip_broken_files:
            raise
        reason = f"byte {error.offset:,}: {error.fault}"
        skipped = Skipped(unit.corpus, unit.split, unit.name, unit.start, unit.end, reason)
        return _clean_unit(unit._replace(path=""), config, layout)._replace(skipped=[skipped])


def _clean_unit(unit: Unit, config: DocumentsConfig, layout: Layout) -> Cleaned:
    outcomes: OutcomeCounts = Counter()
    keys: list[bytes] = []
    text_bytes: list[int] = []
    place = unit.number, unit.total
    with (
        files.finished_or_absent(layout.cleaned(*place)) as kept_file,
        files.finished_or_absent(layout.cleaned_rejected(*place)) as rejected_file,
    ):
        kept = FrameWriter(kept_file, config.block_text_bytes, level=1)
        rejected = FrameWriter(rejected_file, config.block_text_bytes)
        for offset, outcome in _clean_lines(unit, config):
            outcomes[outcome.corpus, outcome.split, READ] += 1
            if isinstance(outcome, Rejected):
                outcomes[outcome.corpus, outcome.split, outcome.reason] += 1
                rejected.write(outcome)
            else:
                kept.write(outcome)
                text = outcome.text.encode()
                keys.append(dedup.content_key(text, outcome.split, offset))
                text_bytes.append(len(text))
        kept.close()
        rejected.close()
    packed = np.frombuffer(b"".join(keys), dedup.KEY)
    sizes = np.empty(len(packed), _SIZE)
    sizes["place"], sizes["text_bytes"] = packed["place"], text_bytes
    files.write_bytes(layout.sizes(*place), sizes.tobytes())
    files.write_bytes(layout.keys(*place), dedup.pack_key_file(packed))
    return Cleaned(unit, outcomes, [])


def _clean_lines(unit: Unit, config: DocumentsConfig) -> Iterator[tuple[int, Document | Rejected]]:
    """Yields the offset of every line that is not blank, and what became of it."""
    corpus = corpora.CORPORA[unit.corpus]
    for raw_line in reading.read_lines(unit):
        line = raw_line.data.rstrip(b"\r")
        if raw_line.offset == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line or line.isspace():
            continue
        held_out = not unit.split and units.is_held_out(line, config.held_out_fraction)
        split = unit.split or (HELD_OUT if held_out else TRAIN)
        doc_id = document_id(corpus.name, split, unit.name, raw_line.offset)
        parsed = _parse_line(raw_line, line, corpus)
        if isinstance(parsed, corpora.LineFault):
            text = line.decode(errors="backslashreplace")
            text = text[:_SHOWN_CHARS] if raw_line.is_too_long else text
            stage, reason, upstream_id = READ_STAGE, parsed.reason, ""
        else:
            text = cleaning.clean_text(parsed.text)
            reason = cleaning.find_reason_to_reject(text, corpus.name, config)
            stage, upstream_id = CLEAN_STAGE, parsed.upstream_id
        if reason:
            yield (
                raw_line.offset,
                Rejected(doc_id, corpus.name, split, upstream_id, stage, reason, text, None),
            )
        else:
            yield raw_line.offset, Document(doc_id, corpus.name, split, upstream_id, text)


def _parse_line(
    raw_line: RawLine, line: bytes, corpus: corpora.Corpus
) -> corpora.Line | corpora.LineFault:
    if raw_line.is_too_long:
        return corpora.LineFault(corpora.LINE_TOO_LONG)
    return corpora.parse_line(line, corpus)


# --- Duplicates ---


class KeyRange(NamedTuple):
    """A run of key partitions, in the key files of all units.

    Attributes:
      number: which one.
      total: of how many.
      units: all units of the run, cleaned.
      size_bytes: its share of the input.
    """

    number: int
    total: int
    units: list[Unit]
    size_bytes: int


def plan_key_ranges(cleaned: Sequence[Unit]) -> list[KeyRange]:
    """Cuts the keys of all units into ranges that fit into memory, whatever the number of units."""
    ordered = sorted(cleaned, key=lambda unit: unit.number)
    size = sum(map(bytes_of, ordered))
    total = min(dedup.KEY_PARTITIONS, max(1, -(-size // _BYTES_OF_KEY_RANGE)))
    return [KeyRange(number, total, ordered, size // total) for number in range(total)]


def find_duplicates(key_range: KeyRange, layout: Layout) -> Duplicates:
    """Finds the documents of a range of keys that are copies of others."""
    first, end = (
        dedup.KEY_PARTITIONS * number // key_range.total
        for number in (key_range.number, key_range.number + 1)
    )
    blocks: list[dedup.KeyBlock] = []
    for unit in key_range.units:
        with files.open_for_reading(layout.keys(unit.number, unit.total)) as file:
            blocks.append(dedup.KeyBlock(unit, dedup.read_key_file(file, first, end)))
    return Duplicates(
        {number: dedup.pack_losers(losers) for number, losers in dedup.find_losers(blocks)}
    )


# --- Finishing ---


def finish_unit(
    unit_and_losers: tuple[Unit, list[bytes]], config: DocumentsConfig, layout: Layout
) -> Finished:
    """Writes the documents of one unit that are no duplicates, and all that it rejected.

    Args:
      unit_and_losers: what `clean_unit` has cleaned, and the duplicates in it, packed.
      config: what shapes documents/.
      layout: where files lie.
    """
    unit, packed_losers = unit_and_losers
    outcomes: OutcomeCounts = Counter()
    place = unit.number, unit.total
    sizes = np.frombuffer(files.read_bytes(layout.sizes(*place)), _SIZE)
    lines = list(read_row_lines(layout.cleaned(*place)))
    if len(lines) != len(sizes):
        raise RunError(f"{layout.cleaned(*place)}: is damaged; start afresh with --overwrite")
    splits, offsets = dedup.unpack_places(sizes["place"])
    loser_at = {
        loser.offset: loser for packed in packed_losers for loser in dedup.unpack_losers(packed)
    }
    duplicates: list[Rejected] = []
    with files.finished_or_absent(layout.part(*place)) as part_file:
        writer = BlockWriter(part_file, unit.number, unit.corpus, config.block_text_bytes)
        for line, rank, offset, text_bytes in zip(
            lines,
            splits.tolist(),
            offsets.tolist(),
            sizes["text_bytes"].tolist(),
            strict=True,
        ):
            loser = loser_at.get(offset)
            if loser is None:
                writer.write(SPLITS[rank], line, text_bytes)
            else:
                duplicates.append(_reject_duplicate(line, loser))
        writer.close()
    for block in writer.blocks:
        outcomes[block.corpus, block.split, KEPT] += block.documents
    with files.finished_or_absent(layout.rejected_part(*place)) as rejected_file:
        # Frames of one zstd file can be put behind each other as they are.
        rejected_file.write(files.read_bytes(layout.cleaned_rejected(*place)))
        rejected = FrameWriter(rejected_file, config.block_text_bytes)
        for duplicate in duplicates:
            outcomes[duplicate.corpus, duplicate.split, duplicate.reason] += 1
            rejected.write(duplicate)
        rejected.close()
    return Finished(outcomes, writer.blocks)


def _reject_duplicate(line: bytes, loser: dedup.Loser) -> Rejected:
    doc_id, corpus, split, upstream_id, _ = Document(**orjson.loads(line))
    return Rejected(
        doc_id, corpus, split, upstream_id, DEDUP_STAGE, loser.reason, None, loser.duplicate_of
    )


# --- Counting, for a vocabulary ---


class PartOfDocuments(NamedTuple):
    """One documents file.

    Attributes:
      number: which one.
      total: of how many.
      training: where its blocks of training documents lie.
    """

    number: int
    total: int
    training: list[Block]

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of its training text."""
        return sum(block.text_bytes for block in self.training)


def plan_counting(manifest: Manifest) -> list[PartOfDocuments]:
    """Lists the documents files that hold training documents."""
    training: dict[int, list[Block]] = {}
    for block in manifest.blocks:
        if block.split == TRAIN:
            training.setdefault(block.part, []).append(block)
    return [PartOfDocuments(part, manifest.parts, blocks) for part, blocks in training.items()]


class Counted(NamedTuple):
    """What counting one documents file found out."""

    token_counts: TokenCounts

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return self.token_counts._asdict()

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Counted":
        """Reads what `to_json` returned."""
        return cls(TokenCounts(Counter(fields["characters"]), Counter(fields["words"])))


def count_part(part: PartOfDocuments, layout: Layout) -> Counted:
    """Counts the basic tokens of the training documents of one documents file."""
    with files.open_for_reading(layout.part(part.number, part.total)) as file:
        texts = [text for block in part.training for text in read_texts(file, block)]
    return Counted(count_tokens("\n".join(texts)))


# --- How stages are run, named and measured. Here, since workers must not import Beam. ---


def split_stage(config: DocumentsConfig, layout: Layout, skip_broken_files: bool) -> Stage:
    """Input files -> Splits."""
    arguments = config, layout, skip_broken_files
    size_of = operator.attrgetter("size_bytes")
    return Stage("split", split_input, arguments, Split, input_name, size_of, layout)


def clean_stage(config: DocumentsConfig, layout: Layout, skip_broken_files: bool) -> Stage:
    """Units -> Cleaned."""
    arguments = config, layout, skip_broken_files
    return Stage("clean", clean_unit, arguments, Cleaned, _number_of, bytes_of, layout)


def dedup_stage(layout: Layout) -> Stage:
    """Key ranges -> Duplicates."""
    size_of = operator.attrgetter("size_bytes")
    return Stage("dedup", find_duplicates, (layout,), Duplicates, _number_of, size_of, layout)


def finish_stage(config: DocumentsConfig, layout: Layout) -> Stage:
    """(Unit, its losers) -> Finished."""
    arguments = config, layout
    return Stage(
        "finish", finish_unit, arguments, Finished, _number_of_first, _bytes_of_first, layout
    )


def count_stage(layout: Layout) -> Stage:
    """Parts of documents -> Counted."""
    size_of = operator.attrgetter("text_bytes")
    return Stage("count", count_part, (layout,), Counted, _number_of, size_of, layout)


def bytes_of(unit: Unit) -> int:
    """Returns how much of its file a unit reads, in bytes."""
    return unit.end - unit.start


def _number_of(unit: Unit | KeyRange | PartOfDocuments) -> str:
    return f"{unit.number:05d}"


def _number_of_first(unit_and_losers: tuple[Unit, list[bytes]]) -> str:
    return _number_of(unit_and_losers[0])


def _bytes_of_first(unit_and_losers: tuple[Unit, list[bytes]]) -> int:
    return bytes_of(unit_and_losers[0])
