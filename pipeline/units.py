"""Inputs -> units of work; blocks of documents -> shards. Sizes depend on input and config only."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.records import TRAIN, Block, InputFile, Shard, Unit

MIN_TRAINING_SHARDS: Final = 32
"""Fewer would leave workers idle and give the trainer, which reads 16 at a time, little to mix."""

_SMALL_SHARD_BYTES: Final = 1 << 20
"""A shard of less text is not worth a file."""


def ranges_of(input_file: InputFile, size_bytes: int, unit_bytes: int) -> list[Unit]:
    """Cuts a plain file into units; an empty file is one unit of nothing."""
    return [
        Unit(
            input_file.corpus,
            input_file.split,
            input_file.name,
            ordinal,
            input_file.path,
            start,
            min(start + unit_bytes, size_bytes),
            chunk_offset=None,
        )
        for ordinal, start in enumerate(range(0, max(size_bytes, 1), unit_bytes))
    ]


def number_units(units: Iterable[Unit]) -> list[Unit]:
    """Numbers all units of a run in the order of their document ids."""
    ordered = sorted(units, key=lambda unit: unit.order)
    return [unit._replace(number=number, total=len(ordered)) for number, unit in enumerate(ordered)]


def plan_shards(blocks: Sequence[Block], shard_text_bytes: int) -> list[Shard]:
    """Plans the shards: training mixes all corpora, held-out and test sets are kept by corpus."""
    text_bytes: Counter[tuple[str, str]] = Counter()
    block_counts: Counter[tuple[str, str]] = Counter()
    for block in blocks:
        text_bytes[_shard_group(block)] += block.text_bytes
        block_counts[_shard_group(block)] += 1
    shards: list[Shard] = []
    for group, size in sorted(text_bytes.items()):
        wanted = round(size / shard_text_bytes)
        if group[0] == TRAIN:
            wanted = max(wanted, min(MIN_TRAINING_SHARDS, size // _SMALL_SHARD_BYTES))
        # A shard without a block would be an empty file.
        total = max(1, min(wanted, block_counts[group]))
        shards += [Shard(*group, ordinal, total, size // total) for ordinal in range(total)]
    return shards


def deal_blocks(blocks: Iterable[Block], shard: Shard, seed: int) -> list[Block]:
    """Returns the blocks of one shard.

    All blocks of its split are put in an order drawn by hash and dealt out in turn, so that each
    shard is a random sample of the whole.
    """
    group = (shard.split, shard.corpus)
    members = [block for block in blocks if _shard_group(block) == group]
    members.sort(key=lambda block: _draw(seed, f"block {block.part}:{block.offset}"))
    return members[shard.ordinal :: shard.total]


def seed_of(seed: int, name: str) -> int:
    """Returns the 128-bit seed of a named purpose."""
    return int.from_bytes(_draw(seed, name), "little")


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()


def _shard_group(block: Block) -> tuple[str, str]:
    return block.split, "" if block.split == TRAIN else block.corpus


def is_held_out(line: bytes, fraction: float) -> bool:
    """Chooses a fixed share of a corpus that ships no held-out file, by the bytes of the line."""
    draw = int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little")
    return draw < fraction * 2.0**64
