"""The unit function of instances: blocks of documents -> one shard at every length and copy.

blocks -> words -> token stream -> sequences of 128 -> masks -> records
                                -> sequences of 512 -> masks -> records
"""

import json
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import IO, Any, NamedTuple

import numpy as np

from pipeline import files, ledger, packing
from pipeline.blocks import read_texts
from pipeline.config import InstancesConfig
from pipeline.layout import Layout, shard_name, shard_set_name, shard_stem
from pipeline.ledger import Ledger
from pipeline.manifest import load_manifest
from pipeline.masking import Masking, draw_masking
from pipeline.records import TRAIN, Block, Shard
from pipeline.resume import Stage
from pipeline.segmentation import Segmenter, load_segmenter
from pipeline.units import deal_blocks, seed_of
from tfrecords_schema import features
from tfrecords_schema.examples import encode_examples
from tfrecords_schema.framing import frame_records
from vocab.special_tokens import FIRST_ORDINARY_ID, SEP_ID, UNK_ID
from vocab.tokenizer import Fates, Tokenizer
from vocab.vocab_file import parse_vocab

_BATCH_TOKENS = 1 << 18

Statistics = dict[int, Counter[str]]
"""Counts over sequences, by max_seq_length; masked tokens are those of all copies."""

_MASKED_PERCENT, _FILL_PERCENT = "masked_percent", "fill_percent"
_MAX_MASKED_PERCENT = 30


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
      ledger: what became of the characters of its documents.
    """

    shard: Shard
    records: dict[str, int]
    statistics: Statistics
    ledger: Ledger

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return {
            "records": self.records,
            "statistics": list(self.statistics.items()),
            "ledger": ledger.to_rows(self.ledger),
        }

    @classmethod
    def from_json(cls, fields: Any, unit: Shard, *_: Any) -> "ShardResult":
        """Reads what `to_json` returned."""
        statistics = {length: Counter(counts) for length, counts in fields["statistics"]}
        return cls(unit, fields["records"], statistics, ledger.from_rows(fields["ledger"]))


class TokenizedBlocks(NamedTuple):
    """The tokens of the documents of some blocks.

    Attributes:
      stream: of all blocks, in order.
      ends: where in the stream the tokens of each block end, shape [B].
      blocks: where they came from.
      fates: what became of the characters of each block, without the line feeds between documents.
      tokens: of the documents of each block, without the [SEP] between them.
    """

    stream: packing.TokenStream
    ends: list[int]
    blocks: list[Block]
    fates: list[Fates]
    tokens: list[int]


def build_shard(shard: Shard, config: InstancesConfig, sources: Sources) -> ShardResult:
    """Makes one shard of the blocks that are dealt to it."""
    layout = sources.layout
    tokenizer = load_tokenizer(layout.vocab, sources.vocab_sha256, config.cased)
    manifest = load_manifest(layout.manifest, sources.manifest_sha256)
    blocks = deal_blocks(manifest.blocks, shard, config.seed)
    tokenized = tokenize_blocks(blocks, manifest.parts, config, layout, tokenizer)
    return write_shard(tokenized, shard, config, layout, tokenizer.size)


def tokenize_blocks(
    blocks: Sequence[Block],
    parts: int,
    config: InstancesConfig,
    layout: Layout,
    tokenizer: Tokenizer,
) -> TokenizedBlocks:
    """Returns the tokens of all documents of some blocks, in order."""
    segment = load_segmenter(config.segmenter)
    fates: list[Fates] = []
    lengths: list[int] = []
    tokens: list[int] = []

    def tokenize() -> Iterator[packing.TokenStream]:
        for texts in _read_texts(blocks, parts, layout):
            stream, of_block = segment_and_tokenize(texts, segment, tokenizer)
            fates.append(of_block)
            lengths.append(len(stream.ids))
            tokens.append(int(np.count_nonzero(stream.ids != SEP_ID)))
            yield stream

    stream = packing.join_streams(tokenize())
    ends = packing.ends_in_joined(lengths)
    return TokenizedBlocks(stream, ends, list(blocks), fates, tokens)


def write_shard(
    tokenized: TokenizedBlocks,
    shard: Shard,
    config: InstancesConfig,
    layout: Layout,
    vocab_size: int,
) -> ShardResult:
    """Writes a shard at all lengths; training shards in `dupe_factor` static maskings."""
    records: dict[str, int] = {}
    statistics: Statistics = {}
    entries = _account_tokens(tokenized)
    stream = tokenized.stream
    for max_seq_length in features.SEQ_LENGTHS:
        packed = packing.pack_stream(stream, max_seq_length)
        counts = _count_tokens(stream, packed)
        for copy in range(config.dupe_factor if shard.split == TRAIN else 1):
            name = shard_name(shard, max_seq_length, copy)
            rng = np.random.Generator(np.random.PCG64(seed_of(config.seed, name)))
            with files.finished_or_absent(files.join(layout.tfrecords, name)) as file:
                counts.update(_write_masked(packed, config.masked_lm_prob, vocab_size, rng, file))
            records[name] = len(packed)
        statistics[max_seq_length] = counts
        _account_instances(tokenized, packed, entries)
    return ShardResult(shard, records, statistics, entries)


# --- Accounting ---


def _account_tokens(tokenized: TokenizedBlocks) -> Ledger:
    """Returns what the tokenizer made of the characters."""
    entries: Ledger = Counter()
    for block, fates, tokens in zip(
        tokenized.blocks, tokenized.fates, tokenized.tokens, strict=True
    ):
        key = block.corpus, block.split
        entries[*key, ledger.WHITE_SPACE, ""] += fates.white_space
        entries[*key, ledger.DROPPED, ""] += fates.dropped
        entries[*key, ledger.UNKNOWN, ""] += fates.unknown
        entries[*key, ledger.TOKENS, ""] += tokens
    return entries


def _account_instances(
    tokenized: TokenizedBlocks, packed: packing.Packing, entries: Ledger
) -> None:
    """Adds the characters that are in the sequences of one length.

    They are those under tokens, unless the sequences left a token out or took one twice: that
    counts as a character too few or too many, so that the ledger cannot balance.
    """
    length = str(packed.max_seq_length)
    faults = np.searchsorted(tokenized.ends, packed.misplaced_tokens(), side="right")
    surplus = np.bincount(faults, minlength=len(tokenized.blocks))
    for block, fates, fault in zip(
        tokenized.blocks, tokenized.fates, surplus.tolist(), strict=True
    ):
        key = block.corpus, block.split, ledger.IN_INSTANCES, length
        entries[key] += fates.in_tokens - fault


def _read_texts(blocks: Iterable[Block], parts: int, layout: Layout) -> Iterator[list[str]]:
    """Returns the texts of each block's documents."""

    def read(block: Block) -> list[str]:
        with files.open_for_reading(layout.part(block.part, parts), block.length) as file:
            return read_texts(file, block)

    return files.read_each(read, blocks, layout.root)


def shard_stage(config: InstancesConfig, sources: Sources) -> Stage:
    """Shards -> ShardResults."""
    size_of = operator.attrgetter("text_bytes")
    return Stage(
        *("shards", build_shard, (config, sources), ShardResult),
        *(shard_stem, size_of, sources.layout),
    )


def results_to_json(results: Iterable[ShardResult]) -> bytes:
    """Returns records, statistics by split and the ledger of all shards, whatever their order."""
    records: dict[str, int] = {}
    statistics: dict[str, Statistics] = {}
    entries: Ledger = Counter()
    for result in sorted(results, key=lambda result: result.shard):
        records |= result.records
        entries.update(result.ledger)
        name = shard_set_name(result.shard)
        total = statistics.setdefault(name, {length: Counter() for length in result.statistics})
        for length, counts in result.statistics.items():
            total[length].update(counts)
    fields = {
        "records": records,
        "statistics": {
            name: {length: _with_histograms(counts) for length, counts in total.items()}
            for name, total in statistics.items()
        },
        "ledger": ledger.to_rows(entries),
    }
    return json.dumps(fields, indent=1).encode()


def _with_histograms(counts: Counter[str]) -> dict[str, Any]:
    """Puts counts by percent, such as `fill_percent 99`, into lists."""
    tops = {_MASKED_PERCENT: _MAX_MASKED_PERCENT, _FILL_PERCENT: 100}
    return {name: number for name, number in counts.items() if " " not in name} | {
        "histograms": {
            name: [counts[f"{name} {percent}"] for percent in range(top + 1)]
            for name, top in tops.items()
        }
    }


def segment_and_tokenize(
    texts: Sequence[str], segment: Segmenter, tokenizer: Tokenizer
) -> tuple[packing.TokenStream, Fates]:
    """Cuts documents into words and tokens, all at once, and puts [SEP] between them.

    Returns:
      The tokens, and what became of the characters of the documents.
    """
    text = "\n".join([*texts, ""])
    tokens = tokenizer.tokenize(text, segment(texts))
    document_ends = np.cumsum([len(text) + 1 for text in texts])
    document_begins = np.searchsorted(tokens.positions, document_ends)
    stream = packing.join_documents(tokens.ids, tokens.word_starts, document_begins)
    joiners = len(texts)
    return stream, tokens.fates._replace(white_space=tokens.fates.white_space - joiners)


def _write_masked(
    packed: packing.Packing,
    masked_lm_prob: float,
    vocab_size: int,
    rng: np.random.Generator,
    file: IO[bytes],
) -> Counter[str]:
    """Writes the sequences in random order under one static masking; counts what was masked."""
    cap = features.MAX_PREDICTIONS_PER_SEQ[packed.max_seq_length]
    order = rng.permutation(len(packed))
    batch = _BATCH_TOKENS // packed.max_seq_length
    counts: Counter[str] = Counter()
    for start in range(0, len(order), batch):
        token_ids, word_starts = packed.fill(order[start : start + batch])
        masking = draw_masking(token_ids, word_starts, masked_lm_prob, cap, vocab_size, rng)
        file.write(frame_records(encode_examples(token_ids, masking.mask_ids, word_starts)))
        counts.update(_count_masked(masking))
    return counts


def _count_masked(masking: Masking) -> Counter[str]:
    percents = 100 * masking.masked // np.maximum(masking.countable, 1)
    counts = _count_percents(_MASKED_PERCENT, np.minimum(percents, _MAX_MASKED_PERCENT))
    masked = int(masking.masked.sum())
    counts.update(
        masked_tokens=masked,
        masked_as_mask_token=masking.as_mask_token,
        masked_kept=masking.kept,
        masked_at_random=masked - masking.as_mask_token - masking.kept,
    )
    return counts


def _count_percents(name: str, percents: packing.IntArray) -> Counter[str]:
    numbers = enumerate(np.bincount(percents).tolist())
    return Counter({f"{name} {percent}": number for percent, number in numbers if number})


def _count_tokens(stream: packing.TokenStream, packed: packing.Packing) -> Counter[str]:
    positions = len(packed) * packed.max_seq_length
    counts = _count_percents(_FILL_PERCENT, 100 * (packed.lengths + 2) // packed.max_seq_length)
    counts.update(
        sequences=len(packed),
        positions=positions,
        padding=positions - 2 * len(packed) - int(packed.lengths.sum()),
        unknown_tokens=int(np.count_nonzero(stream.ids == UNK_ID)),
        countable_tokens=int(np.count_nonzero(stream.ids >= FIRST_ORDINARY_ID)),
    )
    return counts


@lru_cache(maxsize=1)
def load_tokenizer(path: str, sha256: str, cased: bool) -> Tokenizer:
    """Reads a vocabulary once a process.

    Raises:
      RunError: the file is not the one with this digest.
    """
    return Tokenizer(parse_vocab(files.read_unchanged(path, sha256), path), cased)
