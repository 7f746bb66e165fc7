"""Which record comes when: arithmetic, so that a place in the data is one number.

Epoch e reads copy e mod N, its shards permuted by (seed, epoch), in groups of 16. A group is read
round-robin, one record of each shard at a time. Nothing is buffered and shuffled: each shard is a
random sample of the corpus already. Host h of H takes shards h, h + H, ... of the permuted ones.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

GROUP_SHARDS: Final = 16
"""Shards that are open at a time: neighbours in a batch come from so many random samples."""


class Group(NamedTuple):
    """Shards to read round-robin, one record at a time; one that ends drops out.

    Attributes:
      epoch: number of the epoch, from 0.
      shards: numbers within the epoch's copy, in the order of reading.
      skipped: how many records of each were read before.
    """

    epoch: int
    shards: tuple[int, ...]
    skipped: tuple[int, ...]


def groups_from(
    copies_records: Sequence[Sequence[int]],
    seed: int,
    position: int,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[Group]:
    """Yields what one host reads, epoch after epoch without end.

    Args:
      copies_records: records of each shard, at least 1, of each copy.
      seed: seeds the permutations.
      position: instances that this host has read before.
      host: number of this host, from 0.
      hosts: that share the shards.

    Raises:
      ValueError: a host would get no shard.
    """
    fewest = min(map(len, copies_records))
    if fewest < hosts:
        raise ValueError(
            f"{fewest} training shards cannot be shared by {hosts} hosts; use fewer hosts, or make "
            "more and smaller shards"
        )
    return _groups(copies_records, seed, position, host, hosts)


def permute_shards(count: int, seed: int, epoch: int) -> list[int]:
    """Returns the numbers of shards in the order of an epoch, the same on every machine."""

    def draw(shard: int) -> bytes:
        return blake2b(f"order {seed} {epoch} {shard}".encode(), digest_size=16).digest()

    return sorted(range(count), key=draw)


def _groups(
    copies_records: Sequence[Sequence[int]], seed: int, position: int, host: int, hosts: int
) -> Iterator[Group]:
    first_epoch = 0
    if hosts == 1:
        rounds, position = divmod(position, sum(map(sum, copies_records)))
        first_epoch = rounds * len(copies_records)
    for epoch in itertools.count(first_epoch):
        records = copies_records[epoch % len(copies_records)]
        shards = permute_shards(len(records), seed, epoch)[host::hosts]
        for start in range(0, len(shards), GROUP_SHARDS):
            group = shards[start : start + GROUP_SHARDS]
            total = sum(records[shard] for shard in group)
            if position < total:
                yield _enter_group(epoch, group, records, position)
            position = max(position - total, 0)


def _enter_group(epoch: int, shards: list[int], records: Sequence[int], position: int) -> Group:
    """Returns what is left of a group after `position` of its records."""

    def read_after(rounds: int) -> int:
        return sum(min(records[shard], rounds) for shard in shards)

    rounds = bisect_right(range(max(records) + 1), position, key=read_after) - 1
    begun = position - read_after(rounds)
    left = [shard for shard in shards if records[shard] > rounds]
    ahead, behind = left[begun:], [shard for shard in left[:begun] if records[shard] > rounds + 1]
    skipped = [rounds] * len(ahead) + [rounds + 1] * len(behind)
    return Group(epoch, (*ahead, *behind), tuple(skipped))
