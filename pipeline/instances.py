"""The unit function of instances: blocks of documents -> one shard at every length and copy.

blocks -> words -> token stream -> sequences of 128 -> masks -> records
                                -> sequences of 512 -> masks -> records
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import IO, NamedTuple

import numpy as np

from pipeline import files, packing
from pipeline.blocks import read_block
from pipeline.config import InstancesConfig
from pipeline.errors import RunError
from pipeline.layout import Layout, shard_name, shard_set_name
from pipeline.manifest import load_manifest
from pipeline.masking import draw_mask_ids, find_mask_units
from pipeline.records import TRAIN, Shard
from pipeline.segmentation import Segmenter, load_segmenter
from pipeline.units import deal_blocks, seed_of
from tfrecords_schema import features
from tfrecords_schema.examples import encode_examples
from tfrecords_schema.framing import frame_records
from vocab.special_tokens import FIRST_ORDINARY_ID, PAD_ID, UNK_ID
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import parse_vocab

_BATCH_SEQUENCES = 2048

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


def build_shard(shard: Shard, config: InstancesConfig, sources: Sources) -> ShardResult:
    """Writes one shard at all lengths; training shards in `dupe_factor` static maskings."""
    layout = sources.layout
    tokenizer = _load_tokenizer(layout.vocab, sources.vocab_sha256)
    manifest = load_manifest(layout.manifest, sources.manifest_sha256)
    segment = load_segmenter(config.segmenter)
    streams: list[packing.TokenStream] = []
    for block in deal_blocks(manifest.blocks, shard, config.seed):
        with files.open_for_reading(layout.part(block.part, manifest.parts)) as file:
            texts = [document.text for document in read_block(file, block)]
        streams.append(segment_and_tokenize(texts, segment, tokenizer))
    stream = packing.join_streams(streams)
    records: dict[str, int] = {}
    statistics: Statistics = {}
    for max_seq_length in features.SEQ_LENGTHS:
        sequences = packing.pack_stream(stream, max_seq_length)
        counts = _count_tokens(sequences)
        for copy in range(config.dupe_factor if shard.split == TRAIN else 1):
            name = shard_name(shard, max_seq_length, copy)
            rng = np.random.Generator(np.random.PCG64(seed_of(config.seed, name)))
            with files.finished_or_absent(files.join(layout.tfrecords, name)) as file:
                counts["masked_tokens"] += _write_masked(
                    sequences, config.masked_lm_prob, tokenizer.size, rng, file
                )
            records[name] = len(sequences.token_ids)
        statistics[max_seq_length] = counts
    return ShardResult(shard, records, statistics)


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
    words: list[str] = []
    for text in texts:
        words += segment(text)
        words.append("\n")
    word_lengths = np.fromiter(map(len, words), np.int64, len(words))
    tokens = tokenizer.tokenize("".join(words), word_lengths)
    document_ends = np.cumsum([len(text) + 1 for text in texts])
    document_numbers = np.searchsorted(document_ends, tokens.positions, side="right")
    return packing.join_documents(tokens.ids, tokens.word_starts, document_numbers)


def _write_masked(
    sequences: packing.Sequences,
    masked_lm_prob: float,
    vocab_size: int,
    rng: np.random.Generator,
    file: IO[bytes],
) -> int:
    """Writes the sequences in random order under one static masking; returns tokens masked."""
    max_seq_length = sequences.token_ids.shape[1]
    cap = features.MAX_PREDICTIONS_PER_SEQ[max_seq_length]
    order = np.argsort(rng.random(len(sequences.token_ids)), kind="stable")
    masked = 0
    for start in range(0, len(order), _BATCH_SEQUENCES):
        rows = order[start : start + _BATCH_SEQUENCES]
        token_ids, word_starts = sequences.token_ids[rows], sequences.word_starts[rows]
        units = find_mask_units(token_ids, word_starts)
        mask_ids = draw_mask_ids(units, masked_lm_prob, cap, vocab_size, rng)
        file.write(frame_records(encode_examples(token_ids, mask_ids, word_starts)))
        masked += int(np.count_nonzero(mask_ids))
    return masked


def _count_tokens(sequences: packing.Sequences) -> Counter[str]:
    ids = sequences.token_ids
    return Counter(
        sequences=len(ids),
        positions=ids.size,
        padding=int(np.count_nonzero(ids == PAD_ID)),
        unknown_tokens=int(np.count_nonzero(ids == UNK_ID)),
        countable_tokens=int(np.count_nonzero(ids >= FIRST_ORDINARY_ID)),
    )


@lru_cache(maxsize=1)
def _load_tokenizer(path: str, sha256: str) -> Tokenizer:
    data = files.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(f"{path}: has changed since the run began; start again")
    return Tokenizer(parse_vocab(data, path))
