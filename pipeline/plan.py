"""Foresees a run: takes a small sample of the real input through the real stages and scales it up.

The sample goes to a temporary folder; nothing is written elsewhere. What it cannot show, the costs
of starting and of holding keys, are constants that the benchmarks measure (benchmarks/run.py).
"""

import os
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from pipeline import files, instances, reading, units
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import BrokenFileError
from pipeline.layout import Layout
from pipeline.ledger import DOCUMENTS, KEPT, READ
from pipeline.packing import TokenStream, pack_stream
from pipeline.reading import RawLine
from pipeline.records import TRAIN, Block, InputFile, Shard, Unit
from pipeline.rules import Cleaner
from pipeline.stages import clean, count, duplicates, finish
from tfrecords_schema.features import SEQ_LENGTHS
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab
from vocab.wordpieces import learn_pieces

_SAMPLE_BYTES: Final = 12 << 20
_LEAST_BYTES_OF_GROUP: Final = 512 << 10
_FILES_OF_GROUP: Final = 8
_SPOTS_OF_FILE: Final = 4
_PROBED_GZ_BYTES: Final = 1 << 20

LAUNCHER_CPU_SECONDS: Final = 1.3
"""Importing Beam, building and running its graphs (measured on 2 cores, x86-64)."""

WORKER_CPU_SECONDS: Final = 0.4
"""Starting a worker and loading its dictionaries."""

LEARNING_CPU_SECONDS: Final = 1.5
"""Learning word pieces from the counted words; their number is bounded."""

LAUNCHER_BYTES: Final = 185 << 20
WORKER_BYTES: Final = 125 << 20
"""Peak memory of a process that holds no shard."""

BYTES_PER_SHARD_BYTE: Final = 2
"""Memory for each byte of text of the shard that a worker is at: tokens, cuts, order."""


class Group(NamedTuple):
    """The input files of one corpus and split."""

    corpus: str
    split: str
    members: list[InputFile]

    @property
    def size_bytes(self) -> int:
        """Decompressed bytes."""
        return sum(member.size_bytes for member in self.members)


class Costs(NamedTuple):
    """What a run, or a sample of it, makes and costs.

    Attributes:
      input_bytes: decompressed input.
      read: documents read; likewise kept.
      text_bytes: UTF-8 bytes of the kept text.
      sequences: by max_seq_length, of one copy.
      documents_bytes: size of documents/ and rejected/.
      tfrecords_bytes: size of all copies of the shards.
      work_bytes: size of what is deleted after success.
      cpu_seconds: of all processes.
    """

    input_bytes: float
    read: float
    kept: float
    text_bytes: float
    sequences: Counter[int]
    documents_bytes: float
    tfrecords_bytes: float
    work_bytes: float
    cpu_seconds: float


class Forecast(NamedTuple):
    """What is to be expected of a run.

    Attributes:
      costs: by corpus and split of the input files.
      start_cpu_seconds: what comes on top, however large the corpus is.
      peak_bytes: memory of all processes, by number of workers.
      hours: wall-clock time, by number of workers.
    """

    costs: dict[tuple[str, str], Costs]
    start_cpu_seconds: float
    peak_bytes: dict[int, float]
    hours: dict[int, float]

    @property
    def total(self) -> Costs:
        """Of all corpora together."""
        sequences: Counter[int] = Counter()
        for costs in self.costs.values():
            sequences.update(costs.sequences)
        sums = {
            field: sum(getattr(costs, field) for costs in self.costs.values())
            for field in Costs._fields
            if field != "sequences"
        }
        return Costs(sequences=sequences, **sums)

    @property
    def cpu_seconds(self) -> float:
        """Of the whole run with one worker."""
        return self.start_cpu_seconds + self.total.cpu_seconds


def foresee(
    inputs: Sequence[InputFile],
    documents: DocumentsConfig,
    config: InstancesConfig,
    vocab: bytes | None,
    worker_counts: Sequence[int],
    skip_broken_files: bool = False,
) -> Forecast:
    """Runs the stages over a sample and scales up.

    Args:
      inputs: what `inputs.find_inputs` recognised.
      documents: as of the run; likewise config.
      config: as of the run.
      vocab: the vocabulary of the run; None if it will learn one.
      worker_counts: for which numbers of workers to foresee time and memory.
      skip_broken_files: passes over files that are damaged within the sample.

    Raises:
      BrokenFileError: an input file is damaged within the sample.
    """
    groups = _group(map(_with_unpacked_size, inputs))
    total = sum(group.size_bytes for group in groups)
    with tempfile.TemporaryDirectory() as folder:
        sample = _Sample(folder, documents, config, vocab is None, skip_broken_files)
        made = [sample.make_documents(group, _share(group, total)) for group in groups]
        tokenizer = sample.make_tokenizer(vocab)
        costs = {
            (group.corpus, group.split): sample.make_instances(documents, tokenizer)
            for group, documents in zip(groups, made, strict=True)
        }
    scaled = {
        (group.corpus, group.split): _scale(costs[group.corpus, group.split], group)
        for group in groups
    }
    start = LAUNCHER_CPU_SECONDS + (0 if vocab else LEARNING_CPU_SECONDS)
    work = sum(cost.cpu_seconds for cost in scaled.values())
    text_bytes = sum(cost.text_bytes for cost in scaled.values())
    shard_bytes = min(config.shard_text_bytes, text_bytes / units.MIN_TRAINING_SHARDS)
    worker_bytes = WORKER_BYTES + BYTES_PER_SHARD_BYTE * shard_bytes
    return Forecast(
        scaled,
        start,
        {n: LAUNCHER_BYTES + n * worker_bytes for n in worker_counts},
        {n: (start + WORKER_CPU_SECONDS + work / n) / 3600 for n in worker_counts},
    )


def _group(inputs: Iterable[InputFile]) -> list[Group]:
    members: defaultdict[tuple[str, str], list[InputFile]] = defaultdict(list)
    for found in inputs:
        members[found.corpus, found.split].append(found)
    return [Group(*key, sorted(found, key=lambda f: f.name)) for key, found in members.items()]


def _with_unpacked_size(member: InputFile) -> InputFile:
    """Estimates the decompressed size of a gz file, which does not tell, from its beginning."""
    if member.compression != "gz":
        return member
    with files.open_for_reading(member.path) as file:
        packed = file.read(_PROBED_GZ_BYTES)
    try:
        unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed)
    except zlib.error:
        return member  # reading it will say what is wrong
    return member._replace(size_bytes=member.size_bytes * len(unpacked) // max(1, len(packed)))


def _share(group: Group, total: int) -> int:
    """Returns how many bytes of a group are looked at."""
    return max(_LEAST_BYTES_OF_GROUP, _SAMPLE_BYTES * group.size_bytes // max(1, total))


def _scale(sample: Costs, group: Group) -> Costs:
    """Scales what a sample made and cost up to its whole group."""
    factor = group.size_bytes / max(1.0, sample.input_bytes)
    sequences = Counter({length: round(n * factor) for length, n in sample.sequences.items()})
    scaled = {
        field: value * factor for field, value in sample._asdict().items() if field != "sequences"
    }
    return Costs(sequences=sequences, **scaled)


def _sample_lines(group: Group, wanted_bytes: int, skip_broken_files: bool) -> Iterator[RawLine]:
    """Yields whole lines of a group, from files and places spread over it."""
    step = max(1, len(group.members) // _FILES_OF_GROUP)
    chosen = group.members[::step][:_FILES_OF_GROUP]
    for member in chosen:
        share = wanted_bytes * member.size_bytes // max(1, sum(f.size_bytes for f in chosen))
        lines = _first_lines(member, share) if member.compression else _spread_lines(member, share)
        try:
            yield from lines
        except BrokenFileError:
            if not skip_broken_files:
                raise


def _first_lines(member: InputFile, wanted_bytes: int) -> Iterator[RawLine]:
    """Yields the first lines of a packed file, which cannot be entered in the middle."""
    with closing(reading.read_pieces(member)) as pieces:
        yield from reading.cut_lines(pieces, 0, 0, wanted_bytes)


def _spread_lines(member: InputFile, wanted_bytes: int) -> Iterator[RawLine]:
    """Yields lines of a plain file, from some places spread over it."""
    spots = 1 if wanted_bytes >= member.size_bytes else _SPOTS_OF_FILE
    for spot in range(spots):
        start = member.size_bytes * spot // spots
        (whole,) = units.ranges_of(member, member.size_bytes, max(1, member.size_bytes))
        unit = whole._replace(start=start, end=min(start + wanted_bytes // spots, whole.end))
        yield from reading.read_lines(unit)


class _SampleDocuments(NamedTuple):
    """Documents made of the sample of one group, in a folder of their own, and their costs."""

    layout: Layout
    blocks: list[Block]
    costs: Costs


class _Sample:
    """Takes samples of input files through the stages, in place, and notes what they cost."""

    def __init__(
        self,
        folder: str,
        documents: DocumentsConfig,
        config: InstancesConfig,
        learns: bool,
        skip_broken_files: bool,
    ) -> None:
        self._folder = folder
        self._skip_broken_files = skip_broken_files
        self._learns = learns
        self._documents = documents
        self._config = config
        self._groups = 0
        self._counts = TokenCounts.empty()

    def make_documents(self, group: Group, wanted_bytes: int) -> _SampleDocuments:
        """Makes documents of a sample of a group."""
        layout = Layout(os.path.join(self._folder, str(self._groups)))
        self._groups += 1
        os.makedirs(layout.root)
        path = os.path.join(layout.root, "sample")
        Cleaner(group.corpus, self._documents).clean(["今天"])  # its tables are there from now on
        started = time.process_time()
        input_bytes = 0
        with open(path, "wb") as file:
            for line in _sample_lines(group, wanted_bytes, self._skip_broken_files):
                input_bytes += line.length + 1
                if not line.is_too_long:
                    file.write(line.data + b"\n")
        chunk_bytes = (
            self._pack(path, layout) if any(found.compression for found in group.members) else 0
        )
        size = os.path.getsize(path)
        unit = Unit(group.corpus, group.split, "sample", 0, path, 0, size, None, 0, 1)
        cleaned = clean.clean_unit(unit, self._documents, layout, False)
        losers, repeats = duplicates.find_all([unit], layout, self._documents.dedup)
        goings = finish.Goings(unit, losers[0], repeats[0])
        finished = finish.finish_unit(goings, self._documents, layout)
        if self._learns:
            training = [block for block in finished.blocks if block.split == TRAIN]
            part = count.PartOfDocuments(0, 1, training)
            self._counts.add(*count.count_all([part], layout, self._config.cased))
        seconds = time.process_time() - started
        documents: Counter[str] = Counter()
        for (_, _, account, outcome), n in (cleaned.ledger + finished.ledger).items():
            documents[outcome] += n if account == DOCUMENTS else 0
        place = 0, 1
        costs = Costs(
            input_bytes,
            documents[READ],
            documents[KEPT],
            sum(block.text_bytes for block in finished.blocks),
            Counter(),
            files.size_of(layout.part(*place)) + files.size_of(layout.rejected_part(*place)),
            0,
            chunk_bytes
            + sum(
                files.size_of(path(*place))
                for path in (
                    *(layout.cleaned, layout.cleaned_rejected, layout.sizes, layout.frames),
                    *(layout.keys, layout.bands, layout.paragraphs),
                )
            ),
            seconds,
        )
        return _SampleDocuments(layout, finished.blocks, costs)

    def _pack(self, path: str, layout: Layout) -> int:
        """Makes chunks of a sample, as splitting does with packed files; returns their bytes."""
        member = InputFile("", "", "sample", path, "", "", 0)
        chunks = reading.split_into_chunks(member, self._documents.unit_bytes, layout, False)
        return sum(files.size_of(unit.path) for unit in chunks.units if unit.path)

    def make_tokenizer(self, vocab: bytes | None) -> Tokenizer:
        """Returns the tokenizer of the run, or one learned from the sample."""
        if vocab is None:
            vocab = format_vocab(select_tokens(self._counts, learn_pieces))
        return Tokenizer(parse_vocab(vocab, "vocab.txt"), self._config.cased)

    def make_instances(self, documents: _SampleDocuments, tokenizer: Tokenizer) -> Costs:
        """Makes instances of documents; returns what all stages together cost."""
        layout, blocks, costs = documents
        instances.load_segmenter(self._config.segmenter)  # likewise, the dictionaries
        tokenizer.encode("今天")
        started = time.process_time()
        tokenized = instances.tokenize_blocks(blocks, 1, self._config, layout, tokenizer)
        split = blocks[0].split if blocks else TRAIN
        shard = Shard(split, blocks[0].corpus if blocks else "", 0, 1, 0)
        result = instances.write_shard(tokenized, shard, self._config, layout, tokenizer.size)
        seconds = time.process_time() - started
        names = [files.join(layout.tfrecords, name) for name in result.records]
        return costs._replace(
            sequences=_count_full_sequences(tokenized.stream),
            tfrecords_bytes=sum(map(files.size_of, names)),
            cpu_seconds=costs.cpu_seconds + seconds,
        )


def _count_full_sequences(stream: TokenStream) -> Counter[int]:
    """Returns how many sequences the tokens would fill if the last were full, too."""
    counts: Counter[int] = Counter()
    for length in SEQ_LENGTHS:
        packed = pack_stream(stream, length)
        if len(packed):
            full = max(packed.lengths[:-1].mean() if len(packed) > 1 else length - 2, 1)
            counts[length] = packed.lengths.sum() / full
    return counts
