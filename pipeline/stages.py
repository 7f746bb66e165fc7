"""The unit functions: files in, files and a small result out. No Beam.

split     InputFile -> Units                         (packed input only writes chunks)
clean     Unit -> work/cleaned, keys of the documents
finish    Unit, its losers -> documents/, rejected/, blocks, token counts
shard     Shard -> tfrecords/<length>/..., counts     (see instances.py)
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline import cleaning, corpora, dedup, files, reading, units
from pipeline.blocks import BlockWriter, FrameWriter, read_rows
from pipeline.config import DocumentsConfig
from pipeline.layout import Layout
from pipeline.records import (
    HELD_OUT,
    KEPT,
    READ,
    TRAIN,
    Block,
    Document,
    InputFile,
    OutcomeCounts,
    Rejected,
    Unit,
    document_id,
    offset_of,
)
from vocab.counting import TokenCounts, count_tokens

READ_STAGE, CLEAN_STAGE, DEDUP_STAGE = "read", "clean", "dedup"


class Cleaned(NamedTuple):
    """What cleaning one unit found out."""

    unit: Unit
    outcomes: OutcomeCounts
    key_blocks: list[tuple[int, dedup.KeyBlock]]


class Finished(NamedTuple):
    """What finishing one unit made."""

    outcomes: OutcomeCounts
    blocks: list[Block]
    token_counts: TokenCounts


def split_input(input_file: InputFile, config: DocumentsConfig, layout: Layout) -> list[Unit]:
    """Cuts one input file into units; unpacks it on the way if it is packed."""
    if input_file.compression:
        return reading.split_into_chunks(input_file, config.unit_bytes, layout)
    return units.ranges_of(input_file, input_file.size_bytes, config.unit_bytes)


def clean_unit(unit: Unit, config: DocumentsConfig, layout: Layout) -> Cleaned:
    """Reads and cleans the lines of one unit; the kept ones may still be duplicates."""
    outcomes: OutcomeCounts = Counter()
    keys: list[bytes] = []
    place = unit.number, unit.total
    with (
        files.finished_or_absent(layout.cleaned(*place)) as kept_file,
        files.finished_or_absent(layout.cleaned_rejected(*place)) as rejected_file,
    ):
        kept = FrameWriter(kept_file, config.block_text_bytes)
        rejected = FrameWriter(rejected_file, config.block_text_bytes)
        for offset, outcome in _clean_lines(unit, config):
            outcomes[outcome.corpus, outcome.split, READ] += 1
            if isinstance(outcome, Rejected):
                outcomes[outcome.corpus, outcome.split, outcome.reason] += 1
                rejected.write(outcome)
            else:
                kept.write(outcome)
                keys.append(dedup.content_key(outcome.text, outcome.split, offset))
        kept.close()
        rejected.close()
    with_keys = config.dedup != "none"
    return Cleaned(unit, outcomes, list(dedup.block_keys(unit, keys)) if with_keys else [])


def _clean_lines(unit: Unit, config: DocumentsConfig) -> Iterator[tuple[int, Document | Rejected]]:
    """Yields the offset of every line that is not blank, and what became of it."""
    corpus = corpora.CORPORA[unit.corpus]
    for offset, raw_line in reading.read_lines(unit):
        line = raw_line.rstrip(b"\r\n")
        if offset == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line or line.isspace():
            continue
        held_out = not unit.split and units.is_held_out(line, config.held_out_fraction)
        split = unit.split or (HELD_OUT if held_out else TRAIN)
        doc_id = document_id(corpus.name, split, unit.name, offset)
        parsed = corpora.parse_line(line, corpus)
        if isinstance(parsed, corpora.LineFault):
            text = line.decode(errors="backslashreplace")
            yield (
                offset,
                Rejected(doc_id, corpus.name, split, "", READ_STAGE, parsed.reason, text, None),
            )
            continue
        text = cleaning.clean_text(parsed.text)
        reason = cleaning.find_reason_to_reject(text, corpus.name, config)
        if reason:
            yield (
                offset,
                Rejected(
                    doc_id, corpus.name, split, parsed.upstream_id, CLEAN_STAGE, reason, text, None
                ),
            )
        else:
            yield offset, Document(doc_id, corpus.name, split, parsed.upstream_id, text)


def finish_unit(
    unit_and_losers: tuple[Unit, list[dedup.Loser]], config: DocumentsConfig, layout: Layout
) -> Finished:
    """Writes the documents of one unit that are no duplicates, and all that it rejected."""
    unit, losers = unit_and_losers
    outcomes: OutcomeCounts = Counter()
    token_counts = TokenCounts.empty()
    place = unit.number, unit.total
    with files.finished_or_absent(layout.part(*place)) as part_file:
        writer = BlockWriter(part_file, unit.number, config.block_text_bytes)
        duplicates: list[Rejected] = []
        for document in _drop_losers(layout.cleaned(*place), losers, duplicates):
            outcomes[document.corpus, document.split, KEPT] += 1
            _count_training(writer.write(document), token_counts)
        for documents in writer.close():
            _count_training(documents, token_counts)
    with files.finished_or_absent(layout.rejected_part(*place)) as rejected_file:
        # Frames of one zstd file can be put behind each other as they are.
        rejected_file.write(files.read_bytes(layout.cleaned_rejected(*place)))
        rejected = FrameWriter(rejected_file, config.block_text_bytes)
        for duplicate in duplicates:
            outcomes[duplicate.corpus, duplicate.split, duplicate.reason] += 1
            rejected.write(duplicate)
        rejected.close()
    return Finished(outcomes, writer.blocks, token_counts)


def _drop_losers(
    path: str, losers: Iterable[dedup.Loser], duplicates: list[Rejected]
) -> Iterator[Document]:
    """Yields the documents of a file that lose against no other; adds the others to a list."""
    by_offset = {loser.offset: loser for loser in losers}
    for row in read_rows(path):
        document = Document(**row)
        loser = by_offset.get(offset_of(document.doc_id))
        if loser is None:
            yield document
        else:
            doc_id, corpus, split, upstream_id, _ = document
            duplicates.append(
                Rejected(
                    doc_id,
                    corpus,
                    split,
                    upstream_id,
                    DEDUP_STAGE,
                    loser.reason,
                    None,
                    loser.duplicate_of,
                )
            )


def _count_training(documents: Iterable[Document], token_counts: TokenCounts) -> None:
    texts = [document.text for document in documents if document.split == TRAIN]
    if texts:
        token_counts.add(*count_tokens("\n".join(texts)))
