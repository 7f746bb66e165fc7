"""What each step of the pipeline costs: the unit functions of a run, timed from inside.

In one process a corpus goes through the functions that are the units of a run; the documents and
shards written are those of a run. Meanwhile what they call once a unit, batch, block or frame is
replaced by the same with a clock, which charges its CPU time to a step. Nothing is called once a
document: that would take longer than what is measured.

What all is compared with, a bare loop over rjieba, is measured in between, over the same blocks, in
turn before and after the step that cuts them into words.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any, Final, NamedTuple
from unittest import mock

import rjieba

from pipeline import dedup, instances, units
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.inputs import find_inputs
from pipeline.layout import Layout
from pipeline.ledger import READ as CHARS_READ
from pipeline.ledger import Ledger
from pipeline.manifest import Manifest
from pipeline.process import tune_process
from pipeline.rules import Cleaner
from pipeline.segmentation import Segmenter, load_segmenter
from pipeline.stages import clean, duplicates, finish
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import parse_vocab

UNPACK, READ = "unpack", "read, join fields"
SCAN, EDIT, REJECT = "scan for edits", "edit", "find rejections"
KEYS, NEAR = "dedup keys", "near-duplicates"
COMPRESS, DOCUMENT_ROWS = "compress", "account, write rows"
READ_BACK, SEGMENT, TOKENIZE, PACK = "read back", "segment", "tokenize", "pack"
MASK, ENCODE, WRITE, COUNT = "mask", "encode", "write", "account"
DOCUMENT_STEPS: Final[tuple[str, ...]] = (
    *(UNPACK, READ, SCAN, EDIT, REJECT, KEYS, NEAR, COMPRESS, DOCUMENT_ROWS),
)
INSTANCE_STEPS: Final[tuple[str, ...]] = (
    *(READ_BACK, SEGMENT, TOKENIZE, PACK, MASK, ENCODE, WRITE, COUNT),
)
STEPS: Final[tuple[str, ...]] = (*DOCUMENT_STEPS, *INSTANCE_STEPS)

_BARE: Final = "rjieba alone"

_CALLS: Final = {
    "pipeline.stages.clean.split_input": UNPACK,
    "pipeline.stages.clean.clean_unit": DOCUMENT_ROWS,
    "pipeline.rules.cleaner.Cleaner.clean": EDIT,
    "pipeline.rules.cleaner.find_reasons": REJECT,
    "pipeline.rules.scanning.Scanner.scan": SCAN,
    "pipeline.blocks.FrameWriter.end_frame": COMPRESS,
    "pipeline.stages.clean._UnitCleaning._note_paragraphs": KEYS,
    "pipeline.stages.clean._UnitCleaning._note_signatures": NEAR,
    "pipeline.stages.clean._UnitCleaning._write_keys": KEYS,
    "pipeline.stages.duplicates.find_all": KEYS,
    "pipeline.stages.duplicates.find_candidates": NEAR,
    "pipeline.stages.duplicates.gather_suspects": NEAR,
    "pipeline.stages.duplicates.verify_pairs": NEAR,
    "pipeline.stages.duplicates.gather_pairs": NEAR,
    "pipeline.stages.duplicates.resolve_near": NEAR,
    "pipeline.stages.finish.finish_unit": DOCUMENT_ROWS,
    "pipeline.instances.tokenize_blocks": COUNT,
    "pipeline.instances.write_shard": COUNT,
    "pipeline.instances.segment_and_tokenize": TOKENIZE,
    "pipeline.packing.join_documents": PACK,
    "pipeline.packing.join_streams": PACK,
    "pipeline.packing.pack_stream": PACK,
    "pipeline.packing.Packing.fill": PACK,
    "pipeline.instances.draw_masking": MASK,
    "pipeline.instances.encode_examples": ENCODE,
    "pipeline.instances.frame_records": ENCODE,
}
"""What is called -> the step that it is, but for the steps that it calls itself."""

_YIELDS: Final = {
    "pipeline.stages.clean.read_batches": READ,
    "pipeline.instances._read_texts": READ_BACK,
}
"""What yields batches or blocks -> the step that making one is."""


class StepCosts(NamedTuple):
    """What the steps took for a whole corpus, and how much went through them.

    Attributes:
      seconds: CPU seconds of each of STEPS; from packing on at all lengths, in one copy.
      bare_seconds: CPU seconds of rjieba alone over all kept text.
      chars_read: characters of the text fields of all lines, before cleaning.
      text_bytes: UTF-8 bytes of the kept text.
      documents: kept documents.
      sequences: records by max_seq_length.
    """

    seconds: dict[str, float]
    bare_seconds: float
    chars_read: int
    text_bytes: int
    documents: int
    sequences: dict[int, int]


def measure_steps(
    input_dir: str,
    vocab: bytes,
    output_dir: str,
    documents: DocumentsConfig | None = None,
    config: InstancesConfig | None = None,
) -> StepCosts:
    """Takes a corpus through all steps, as a run with one worker would.

    Args:
      input_dir: a folder as the pipeline takes it.
      vocab: the bytes of a vocab.txt.
      output_dir: an empty or new folder; gets documents/, rejected/, tfrecords/ and work/.
      documents: what shapes the documents; None for the pipeline's defaults.
      config: what shapes the shards, in one copy; None for the pipeline's defaults.
    """
    tune_process()  # memory is managed as in a run
    documents, config = documents or DocumentsConfig(), config or InstancesConfig()
    # Dictionary and tables are there from now on.
    load_segmenter(config.segmenter)
    Cleaner("plain", documents).clean(["今天下雨"])
    tokenizer = Tokenizer(parse_vocab(vocab, "vocab.txt"), config.cased)
    layout, clock = Layout(output_dir), Clock((*STEPS, _BARE))
    with _charged_to(clock):
        made = _make_documents(input_dir, layout, documents)
        sequences = _make_shards(made, layout, config, tokenizer)
    bare_seconds = clock.seconds.pop(_BARE)
    return StepCosts(
        clock.seconds,
        bare_seconds,
        sum(n for (*_, account, _), n in made.ledger.items() if account == CHARS_READ),
        sum(block.text_bytes for block in made.blocks),
        sum(block.documents for block in made.blocks),
        dict(sequences),
    )


def _make_documents(input_dir: str, layout: Layout, config: DocumentsConfig) -> Manifest:
    """Writes documents/ and rejected/."""
    splits = [
        clean.split_input(found, config, layout, False)
        for found in find_inputs(input_dir).recognised
    ]
    found = clean.units_of(splits)
    cleaned = [clean.clean_unit(unit, config, layout, False) for unit in found]
    losers, repeats = duplicates.find_all(found, layout, config.dedup)
    finished = [
        finish.finish_unit(
            finish.Goings(unit, losers.get(unit.number, []), repeats.get(unit.number, [])),
            *(config, layout),
        )
        for unit in found
    ]
    ledger: Ledger = Counter()
    for done in (*cleaned, *finished):
        ledger.update(done.ledger)
    blocks = [block for done in finished for block in done.blocks]
    return Manifest({}, len(found), ledger, blocks, [])


def _make_shards(
    made: Manifest, layout: Layout, config: InstancesConfig, tokenizer: Tokenizer
) -> Counter[int]:
    """Writes tfrecords/; returns the number of records by length."""
    sequences: Counter[int] = Counter()
    for shard in units.plan_shards(made.blocks, config.shard_text_bytes):
        blocks = units.deal_blocks(made.blocks, shard, config.seed)
        tokenized = instances.tokenize_blocks(blocks, made.parts, config, layout, tokenizer)
        result = instances.write_shard(tokenized, shard, config, layout, tokenizer.size)
        for length, counts in result.statistics.items():
            sequences[length] += counts["sequences"]
    return sequences


# --- The clock ---


class Clock:
    """Adds up the CPU time of this process by step; of nested steps the innermost runs.

    Attributes:
      seconds: by step, so far.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self.seconds = dict.fromkeys(steps, 0.0)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def charge(self, step: str) -> Generator[None]:
        """Charges what happens inside to a step."""
        self._settle()
        self._running.append(step)
        try:
            yield
        finally:
            self._settle()
            self._running.pop()

    def charging(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function whose calls are charged to a step."""

        def charged(*args: Any, **kwargs: Any) -> Any:
            with self.charge(step):
                return function(*args, **kwargs)

        return charged

    def charging_each(
        self, step: str, function: Callable[..., Iterator[Any]]
    ) -> Callable[..., Iterator[Any]]:
        """Returns a function that yields the same, while it is not None, charged to a step."""

        def charged(*args: Any) -> Iterator[Any]:
            values = function(*args)
            return iter(self.charging(step, lambda: next(values, None)), None)

        return charged

    def _settle(self) -> None:
        now = time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


# --- What is replaced ---


@contextmanager
def _charged_to(clock: Clock) -> Generator[None]:
    """Replaces the functions that are steps; inside, what they take is charged to a clock."""
    replaced = {
        **{name: clock.charging(step, resolve_name(name)) for name, step in _CALLS.items()},
        **{name: clock.charging_each(step, resolve_name(name)) for name, step in _YIELDS.items()},
        "pipeline.dedup.pack_key_file": _pack_keys_on(clock),
        "pipeline.stages.finish.read_row_lines": _read_rows_on(clock),
        "pipeline.instances.load_segmenter": _load_segmenter_on(clock),
        "pipeline.instances._write_masked": _write_masked_on(clock),
    }
    with ExitStack() as stack:
        for name, function in replaced.items():
            stack.enter_context(mock.patch(name, function))
        yield


def _pack_keys_on(clock: Clock) -> Callable[..., bytes]:
    """Tells the keys of signatures from others."""
    pack = dedup.pack_key_file

    def charged(records: dedup.Records) -> bytes:
        with clock.charge(NEAR if records.dtype == dedup.BAND else KEYS):
            return pack(records)

    return charged


def _read_rows_on(clock: Clock) -> Callable[..., list[bytes]]:
    """Reads a whole file at once, as its caller does."""
    read: Callable[[str], Iterator[bytes]] = resolve_name("pipeline.stages.finish.read_row_lines")

    def read_all(path: str) -> list[bytes]:
        return list(read(path))

    return clock.charging(COMPRESS, read_all)


def _load_segmenter_on(clock: Clock) -> Callable[[str], Segmenter]:
    """Runs the bare loop over the same texts, in turn before and after."""
    bare = clock.charging(_BARE, cut_bare)
    turn = 0

    def load(name: str) -> Segmenter:
        segment = clock.charging(SEGMENT, load_segmenter(name))

        def charged(texts: Sequence[str]) -> Any:
            nonlocal turn
            turn += 1
            if turn % 2:
                bare(texts)
            lengths = segment(texts)
            if not turn % 2:
                bare(texts)
            return lengths

        return charged

    return load


def _write_masked_on(clock: Clock) -> Callable[..., Any]:
    """Lends a file whose writing is a step."""
    write_masked: Callable[..., Any] = resolve_name("pipeline.instances._write_masked")

    def charged(*args: Any) -> Any:
        *others, file = args
        return write_masked(*others, SimpleNamespace(write=clock.charging(WRITE, file.write)))

    return charged


def cut_bare(texts: Sequence[str]) -> None:
    """Cuts texts with the package rjieba and does nothing else."""
    for text in texts:
        rjieba.cut(text)
