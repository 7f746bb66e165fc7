"""The unit function of instances: blocks of documents -> one shard at every length and copy.

blocks -> words -> token stream -> sequences of 128 -> masks -> records
                                -> sequences of 512 -> masks -> records
"""

import hashlib
import json
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import IO, Any, NamedTuple

import numpy as np

from pipeline import files, packing
from pipeline.blocks import read_texts
from pipeline.config import InstancesConfig
from pipeline.errors import RunError
from pipeline.layout import Layout, shard_name, shard_set_name, shard_stem
from pipeline.manifest import load_manifest
from pipeline.masking import draw_mask_ids, find_mask_units
from pipeline.records import TRAIN, Block, Shard
from pipeline.resume import Stage
from pipeline.segmentation import Segmenter, load_segmenter, measure_words
from pipeline.units import deal_blocks, seed_of
from tfrecords_schema import features
from tfrecords_schema.examples import encode_examples
from tfrecords_schema.framing import frame_records
from vocab.special_tokens import FIRST_ORDINARY_ID, UNK_ID
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import parse_vocab

_BATCH_TOKENS = 1 << 18

Statistics = dict[int, Counter[str]]
"""Counts over sequences, by max_seq_length; masked tokens are those of all copies."""


class Sources(NamedTuple):
    """What instances are made of, pinned by digest: worker processes outlive a run's files.

    Attributes:
      layout: where documents, vocabulary and shards lie.
      manifest_sha256: hex digest of documents/manifest.json.
      vocab_sha256: hex digest of vocab.txt.
    """

    layout: Layout
    manifest_sha256: str
    vocab_sha256: str


class ShardResult(NamedTuple):
    """What building one shard made.

    Attributes:
      shard: which one.
      records: number of records by file name below tfrecords/.
      statistics: counts over its sequences.
    """

    shard: Shard
    records: dict[str, int]
    statistics: Statistics

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return {"records": self.records, "statistics": list(self.statistics.items())}

    @classmethod
    def from_json(cls, fields: Any, unit: Shard, *_: Any) -> "ShardResult":
        """Reads what `to_json` returned."""
        statistics = {length: Counter(counts) for length, counts in fields["statistics"]}
        return cls(unit, fields["records"], statistics)


def build_shard(shard: Shard, config: InstancesConfig, sources: Sources) -> ShardResult:
    """Makes one shard of the blocks that are dealt to it."""
    layout = sources.layout
    tokenizer = load_tokenizer(layout.vocab, sources.vocab_sha256)
    manifest = load_manifest(layout.manifest, sources.manifest_sha256)
    blocks = deal_blocks(manifest.blocks, shard, config.seed)
    stream = tokenize_blocks(blocks, manifest.parts, config, layout, tokenizer)
    return write_shard(stream, shard, config, layout, tokenizer.size)


def tokenize_blocks(
    blocks: Iterable[Block],
    parts: int,
    config: InstancesConfig,
    layout: Layout,
    tokenizer: Tokenizer,
) -> packing.TokenStream:
    """Returns the tokens of all documents of some blocks, in order."""
    segment = load_segmenter(config.segmenter)
    return packing.join_streams(
        segment_and_tokenize(texts, segment, tokenizer)
        for texts in _read_texts(blocks, parts, layout)
    )


def write_shard(
    stream: packing.TokenStream,
    shard: Shard,
    config: InstancesConfig,
    layout: Layout,
    vocab_size: int,
) -> ShardResult:
    """Writes a shard at all lengths; training shards in `dupe_factor` static maskings."""
    records: dict[str, int] = {}
    statistics: Statistics = {}
    for max_seq_length in features.SEQ_LENGTHS:
        packed = packing.pack_stream(stream, max_seq_length)
        counts = _count_tokens(stream, packed)
        for copy in range(config.dupe_factor if shard.split == TRAIN else 1):
            name = shard_name(shard, max_seq_length, copy)
            rng = np.random.Generator(np.random.PCG64(seed_of(config.seed, name)))
            with files.finished_or_absent(files.join(layout.tfrecords, name)) as file:
                counts["masked_tokens"] += _write_masked(
                    packed, config.masked_lm_prob, vocab_size, rng, file
                )
            records[name] = len(packed)
        statistics[max_seq_length] = counts
    return ShardResult(shard, records, statistics)


def _read_texts(blocks: Iterable[Block], parts: int, layout: Layout) -> Iterator[list[str]]:
    """Yields the texts of each block's documents."""
    for block in blocks:
        with files.open_for_reading(layout.part(block.part, parts)) as file:
            yield read_texts(file, block)


def shard_stage(config: InstancesConfig, sources: Sources) -> Stage:
    """Shards -> ShardResults."""
    size_of = operator.attrgetter("text_bytes")
    return Stage(
        *("shards", build_shard, (config, sources), ShardResult),
        *(shard_stem, size_of, sources.layout),
    )


def results_to_json(results: Iterable[ShardResult]) -> bytes:
    """Returns records and statistics of all shards, added up by split, whatever their order."""
    records: dict[str, int] = {}
    statistics: dict[str, Statistics] = {}
    for result in sorted(results, key=lambda result: result.shard):
        records |= result.records
        name = shard_set_name(result.shard)
        total = statistics.setdefault(name, {length: Counter() for length in result.statistics})
        for length, counts in result.statistics.items():
            total[length].update(counts)
    return json.dumps({"records": records, "statistics": statistics}, indent=1).encode()


def segment_and_tokenize(
    texts: Sequence[str], segment: Segmenter, tokenizer: Tokenizer
) -> packing.TokenStream:
    """Cuts documents into words and tokens, all at once, and puts [SEP] between them."""
    text = "\n".join([*texts, ""])
    tokens = tokenizer.tokenize(text, measure_words(texts, segment))
    document_ends = np.cumsum([len(text) + 1 for text in texts])
    document_begins = np.searchsorted(tokens.positions, document_ends)
    return packing.join_documents(tokens.ids, tokens.word_starts, document_begins)


def _write_masked(
    packed: packing.Packing,
    masked_lm_prob: float,
    vocab_size: int,
    rng: np.random.Generator,
    file: IO[bytes],
) -> int:
    """Writes the sequences in random order under one static masking; returns tokens masked."""
    cap = features.MAX_PREDICTIONS_PER_SEQ[packed.max_seq_length]
    order = rng.permutation(len(packed))
    batch = _BATCH_TOKENS // packed.max_seq_length
    masked = 0
    for start in range(0, len(order), batch):
        token_ids, word_starts = packed.fill(order[start : start + batch])
        mask_ids = draw_mask_ids(
            find_mask_units(token_ids, word_starts), masked_lm_prob, cap, vocab_size, rng
        )
        file.write(frame_records(encode_examples(token_ids, mask_ids, word_starts)))
        masked += int(np.count_nonzero(mask_ids))
    return masked


def _count_tokens(stream: packing.TokenStream, packed: packing.Packing) -> Counter[str]:
    positions = len(packed) * packed.max_seq_length
    return Counter(
        sequences=len(packed),
        positions=positions,
        padding=positions - 2 * len(packed) - int(packed.lengths.sum()),
        unknown_tokens=int(np.count_nonzero(stream.ids == UNK_ID)),
        countable_tokens=int(np.count_nonzero(stream.ids >= FIRST_ORDINARY_ID)),
    )


@lru_cache(maxsize=1)
def load_tokenizer(path: str, sha256: str) -> Tokenizer:
    """Reads a vocabulary once a process.

    Raises:
      RunError: the file is not the one with this digest.
    """
    data = files.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(f"{path}: has changed since the run began; start again")
    return Tokenizer(parse_vocab(data, path))
