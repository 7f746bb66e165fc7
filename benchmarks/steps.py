"""What each step of the pipeline costs: its functions over real input, one step at a time.

In one process a corpus is taken through the functions that the units of a run call: by batches of
lines, blocks of documents and batches of sequences, so that memory stays bounded. The documents and
shards written are those of a run. All time is CPU time around whole batches.

The limit, a bare loop over rjieba, is measured in between, over the text of the same blocks, in
turn before and after the step that cuts them into words.
"""

import io
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import rjieba

from pipeline import blocks, cleaning, corpora, dedup, files, local_pool, packing, stages, units
from pipeline.blocks import FrameWriter
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import RunError
from pipeline.inputs import find_inputs
from pipeline.layout import Layout, shard_name
from pipeline.masking import draw_mask_ids, find_mask_units
from pipeline.reading import RawLine, read_lines
from pipeline.records import (
    HELD_OUT,
    READ,
    TRAIN,
    Block,
    Document,
    OutcomeCounts,
    Rejected,
    Shard,
    Unit,
    document_id,
)
from pipeline.segmentation import load_segmenter, measure_words
from tfrecords_schema.examples import encode_examples
from tfrecords_schema.features import MAX_PREDICTIONS_PER_SEQ, SEQ_LENGTHS
from tfrecords_schema.framing import frame_records
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import parse_vocab

UNPACK, PARSE, CLEAN, KEYS, COMPRESS = "unpack", "read, parse", "clean", "dedup keys", "compress"
SEGMENT, TOKENIZE, PACK = "segment", "tokenize", "pack"
MASK, ENCODE, WRITE = "mask", "encode", "write"
DOCUMENT_STEPS: Final[tuple[str, ...]] = (UNPACK, PARSE, CLEAN, KEYS, COMPRESS)
INSTANCE_STEPS: Final[tuple[str, ...]] = (SEGMENT, TOKENIZE, PACK, MASK, ENCODE, WRITE)
STEPS: Final[tuple[str, ...]] = (*DOCUMENT_STEPS, *INSTANCE_STEPS)

_LINES: Final = 1000  # of a batch: 0.3 to 4 MB
_BATCH_TOKENS: Final = 1 << 18  # as in pipeline/instances.py; another number would change the masks


class StepCosts(NamedTuple):
    """What the steps took for a whole corpus, and how much went through them.

    Attributes:
      seconds: CPU seconds of each of STEPS; of the last four at all lengths, in one copy.
      bare_seconds: CPU seconds of rjieba alone over all kept text.
      text_read_bytes: UTF-8 bytes of the text fields of all lines, before cleaning.
      text_bytes: UTF-8 bytes of the kept text.
      documents: kept documents.
      sequences: records by max_seq_length.
    """

    seconds: dict[str, float]
    bare_seconds: float
    text_read_bytes: int
    text_bytes: int
    documents: int
    sequences: dict[int, int]


def measure_steps(
    input_dir: str,
    vocab: bytes,
    output_dir: str,
    documents: DocumentsConfig | None = None,
    instances: InstancesConfig | None = None,
) -> StepCosts:
    """Takes a corpus through all steps, as a run with one worker would.

    Args:
      input_dir: a folder as the pipeline takes it.
      vocab: the bytes of a vocab.txt.
      output_dir: an empty or new folder; gets documents/, tfrecords/ and work/.
      documents: what shapes the documents; None for the pipeline's defaults.
      instances: what shapes the shards, in one copy; None for the pipeline's defaults.
    """
    local_pool.keep_freed_memory()  # memory is managed as in a run
    config = instances or InstancesConfig()
    load_segmenter(config.segmenter)("今天下雨")  # the dictionary is there from now on
    clock = _Clock()
    layout = Layout(output_dir)
    making = _MakingDocuments(clock, layout, documents or DocumentsConfig())
    made = making.make(input_dir)
    shards = _MakingShards(clock, layout, config, made, making.parts, vocab)
    for shard in units.plan_shards(made, config.shard_text_bytes):
        shards.build(shard)
    return StepCosts(
        clock.seconds,
        shards.bare_seconds,
        making.text_read_bytes,
        sum(block.text_bytes for block in made),
        sum(block.documents for block in made),
        dict(shards.sequences),
    )


class _Clock:
    """Adds up the CPU time of this process by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {step: 0.0 for step in STEPS}

    @contextmanager
    def measure(self, step: str) -> Generator[None]:
        start = time.process_time()
        yield
        self.seconds[step] += time.process_time() - start


# --- Documents ---


class _ReadLine(NamedTuple):
    """A line that is not blank, and what its corpus says of it."""

    raw: RawLine
    split: str
    parsed: corpora.Line | corpora.LineFault


class _MakingDocuments:
    """Takes the input through the steps that stages.split_input, clean_unit, finish_unit take."""

    def __init__(self, clock: _Clock, layout: Layout, config: DocumentsConfig) -> None:
        self.text_read_bytes = 0
        self.parts = 0
        self._measure = clock.measure
        self._layout = layout
        self._config = config

    def make(self, input_dir: str) -> list[Block]:
        """Writes documents/; returns its blocks."""
        found = units.number_units(self._unpack(input_dir))
        self.parts = len(found)
        for unit in found:
            outcomes = self._clean(unit)
            # What later steps read is written again, by the real thing, which must agree.
            cleaned = stages.clean_unit(unit, self._config, self._layout, False)
            if cleaned.outcomes != outcomes:
                raise RunError(f"{unit.name}: stages.clean_unit made something else of it")
        losers = self._find_losers(found)
        return [block for unit in found for block in self._finish(unit, losers[unit.number])]

    def _unpack(self, input_dir: str) -> Iterator[Unit]:
        for input_file in find_inputs(input_dir).recognised:
            with self._measure(UNPACK):
                split = stages.split_input(input_file, self._config, self._layout, False)
            yield from split.units

    def _clean(self, unit: Unit) -> OutcomeCounts:
        """Cleans a unit in memory; returns the documents in it by outcome."""
        counts: OutcomeCounts = Counter()
        kept = FrameWriter(io.BytesIO(), self._config.block_text_bytes, level=1)
        rejected = FrameWriter(io.BytesIO(), self._config.block_text_bytes)
        lines = _filled_lines(unit)
        while outcomes := self._clean_some(lines, unit):
            documents = [outcome for outcome in outcomes if isinstance(outcome, Document)]
            with self._measure(KEYS):
                for document in documents:
                    dedup.content_key(document.text.encode(), document.split, 0)
            with self._measure(COMPRESS):
                for outcome in outcomes:
                    (rejected if isinstance(outcome, Rejected) else kept).write(outcome)
            for outcome in outcomes:
                counts[unit.corpus, outcome.split, READ] += 1
                if isinstance(outcome, Rejected):
                    counts[unit.corpus, outcome.split, outcome.reason] += 1
        with self._measure(COMPRESS):
            kept.close()
            rejected.close()
        return counts

    def _clean_some(self, lines: Iterator[RawLine], unit: Unit) -> list[Document | Rejected]:
        """Reads and cleans the next lines of a unit."""
        with self._measure(PARSE):
            read = [_read_line(raw, unit, self._config) for raw in islice(lines, _LINES)]
        self.text_read_bytes += sum(
            len(line.parsed.text.encode()) for line in read if isinstance(line.parsed, corpora.Line)
        )
        with self._measure(CLEAN):
            return [_clean_line(line, unit, self._config) for line in read]

    def _find_losers(self, cleaned: list[Unit]) -> dict[int, list[bytes]]:
        """Returns the packed duplicates by number of their unit."""
        losers: defaultdict[int, list[bytes]] = defaultdict(list)
        with self._measure(KEYS):
            for key_range in stages.plan_key_ranges(cleaned):
                found = stages.find_duplicates(key_range, self._layout)
                for number, packed in found.losers.items():
                    losers[number].append(packed)
        return losers

    def _finish(self, unit: Unit, losers: list[bytes]) -> list[Block]:
        with self._measure(COMPRESS):
            return stages.finish_unit((unit, losers), self._config, self._layout).blocks


def _filled_lines(unit: Unit) -> Iterator[RawLine]:
    """Yields the lines of a unit that are not blank, without their line ends."""
    for raw in read_lines(unit):
        data = raw.data.rstrip(b"\r")
        if raw.offset == 0:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if data and not data.isspace():
            yield raw._replace(data=data)


def _read_line(raw: RawLine, unit: Unit, config: DocumentsConfig) -> _ReadLine:
    held_out = not unit.split and units.is_held_out(raw.data, config.held_out_fraction)
    split = unit.split or (HELD_OUT if held_out else TRAIN)
    if raw.is_too_long:
        return _ReadLine(raw, split, corpora.LineFault(corpora.LINE_TOO_LONG))
    return _ReadLine(raw, split, corpora.parse_line(raw.data, corpora.CORPORA[unit.corpus]))


def _clean_line(line: _ReadLine, unit: Unit, config: DocumentsConfig) -> Document | Rejected:
    doc_id = document_id(unit.corpus, line.split, unit.name, line.raw.offset)
    if isinstance(line.parsed, corpora.LineFault):
        text = line.raw.data.decode(errors="backslashreplace")
        reason, stage, upstream_id = line.parsed.reason, stages.READ_STAGE, ""
    else:
        text = cleaning.clean_text(line.parsed.text)
        reason = cleaning.find_reason_to_reject(text, unit.corpus, config)
        stage, upstream_id = stages.CLEAN_STAGE, line.parsed.upstream_id
    if reason:
        return Rejected(doc_id, unit.corpus, line.split, upstream_id, stage, reason, text, None)
    return Document(doc_id, unit.corpus, line.split, upstream_id, text)


# --- Instances ---


class _MakingShards:
    """Takes blocks of documents through the steps that instances.build_shard takes."""

    def __init__(
        self,
        clock: _Clock,
        layout: Layout,
        config: InstancesConfig,
        made: Sequence[Block],
        parts: int,
        vocab: bytes,
    ) -> None:
        self.bare_seconds = 0.0
        self.sequences: Counter[int] = Counter()
        self._measure = clock.measure
        self._layout = layout
        self._config = config
        self._blocks = made
        self._parts = parts
        self._segment = load_segmenter(config.segmenter)
        self._tokenizer = Tokenizer(parse_vocab(vocab, "vocab.txt"))
        self._turn = 0

    def build(self, shard: Shard) -> None:
        """Writes one shard at all lengths."""
        pieces = [
            self._tokenize(texts)
            for block in units.deal_blocks(self._blocks, shard, self._config.seed)
            for texts in [self._read(block)]
        ]
        with self._measure(PACK):
            stream = packing.join_streams(pieces)
        for max_seq_length in SEQ_LENGTHS:
            with self._measure(PACK):
                packed = packing.pack_stream(stream, max_seq_length)
            self.sequences[max_seq_length] += len(packed)
            self._write(packed, shard_name(shard, max_seq_length, 0))

    def _read(self, block: Block) -> list[str]:
        with files.open_for_reading(self._layout.part(block.part, self._parts)) as file:
            return [document.text for document in blocks.read_block(file, block)]

    def _tokenize(self, texts: list[str]) -> packing.TokenStream:
        """Does what instances.segment_and_tokenize does."""
        lengths = self._measure_words(texts)
        with self._measure(TOKENIZE):
            text = "\n".join([*texts, ""])
            tokens = self._tokenizer.tokenize(text, lengths)
        with self._measure(PACK):
            ends = np.cumsum([len(text) + 1 for text in texts])
            begins = np.searchsorted(tokens.positions, ends)
            return packing.join_documents(tokens.ids, tokens.word_starts, begins)

    def _measure_words(self, texts: list[str]) -> np.ndarray:
        """Cuts documents into words; times a bare loop over rjieba before it or behind it."""
        self._turn += 1
        if self._turn % 2:
            self.bare_seconds += time_bare_rjieba(texts)
        with self._measure(SEGMENT):
            lengths = measure_words(texts, self._segment)
        if not self._turn % 2:
            self.bare_seconds += time_bare_rjieba(texts)
        return lengths

    def _write(self, packed: packing.Packing, name: str) -> None:
        rng = np.random.Generator(np.random.PCG64(units.seed_of(self._config.seed, name)))
        order = rng.permutation(len(packed))
        batch = _BATCH_TOKENS // packed.max_seq_length
        with files.finished_or_absent(files.join(self._layout.tfrecords, name)) as file:
            for start in range(0, len(order), batch):
                records = self._encode(packed, order[start : start + batch], rng)
                with self._measure(WRITE):
                    file.write(records)

    def _encode(self, packed: packing.Packing, rows: np.ndarray, rng: np.random.Generator) -> bytes:
        with self._measure(PACK):
            token_ids, word_starts = packed.fill(rows)
        with self._measure(MASK):
            mask_ids = draw_mask_ids(
                find_mask_units(token_ids, word_starts),
                self._config.masked_lm_prob,
                MAX_PREDICTIONS_PER_SEQ[packed.max_seq_length],
                self._tokenizer.size,
                rng,
            )
        with self._measure(ENCODE):
            return frame_records(encode_examples(token_ids, mask_ids, word_starts))


def time_bare_rjieba(texts: Sequence[str]) -> float:
    """Returns the CPU seconds of rjieba alone."""
    start = time.process_time()
    for text in texts:
        rjieba.cut(text)
    return time.process_time() - start
