"""Pure exact deduplication: content keys of documents -> which documents lose.

A key is what one unit knows of a document, packed: 16 bytes of content hash, and the rank of the
split above the byte offset in the file. Of equal documents the first in the order split (training
first), corpus, file name, offset stays.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.records import SPLITS, TRAIN, Unit, document_id

KEY_PARTITIONS: Final = 64
"""Parts that keys are sorted into, by the first bits of their hash; a range is a run of them."""

_PARTITION_BITS: Final = 6

DUPLICATE: Final = "duplicate"
DUPLICATE_OF_TRAINING: Final = "duplicate_of_training"

_OFFSET_BITS: Final = 56
_PLACE: Final = np.dtype("<i8")
KEY: Final = np.dtype([("high", "<u8"), ("low", "<u8"), ("place", "<u8")])

KeyArray = npt.NDArray[np.void]


class KeyBlock(NamedTuple):
    """Keys of one unit that fall into one range of partitions."""

    unit: Unit
    keys: bytes


class Loser(NamedTuple):
    """A document that is the copy of another."""

    offset: int
    reason: str
    duplicate_of: str


def content_key(text: bytes, split: str, offset: int) -> bytes:
    """Returns the packed key of one document, of its text in UTF-8."""
    place = SPLITS.index(split) << _OFFSET_BITS | offset
    return hashlib.blake2b(text, digest_size=16).digest() + place.to_bytes(8, "little")


def unpack_places(
    places: npt.NDArray[np.uint64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the rank of the split and the byte offset of each document, shape [D] each."""
    splits = places >> np.uint64(_OFFSET_BITS)
    offsets = places & np.uint64((1 << _OFFSET_BITS) - 1)
    return splits.astype(np.int64), offsets.astype(np.int64)


def pack_key_file(keys: KeyArray) -> bytes:
    """Returns a key file: where each partition begins, then the keys sorted into partitions."""
    partitions = (keys["high"] >> np.uint64(64 - _PARTITION_BITS)).astype(np.int64)
    begins = np.zeros(KEY_PARTITIONS + 1, _PLACE)
    np.cumsum(np.bincount(partitions, minlength=KEY_PARTITIONS), out=begins[1:])
    return begins.tobytes() + keys[np.argsort(partitions, kind="stable")].tobytes()


def read_key_file(file: BinaryIO, first: int, end: int) -> bytes:
    """Reads the keys of the partitions from `first` to before `end` from a key file."""
    begins = np.frombuffer(file.read((KEY_PARTITIONS + 1) * _PLACE.itemsize), _PLACE)
    start, stop = int(begins[first]), int(begins[end])
    file.seek(begins.nbytes + start * KEY.itemsize)
    return file.read((stop - start) * KEY.itemsize)


def find_losers(blocks: Iterable[KeyBlock]) -> Iterator[tuple[int, list[Loser]]]:
    """Finds the documents of one key range that are copies of another.

    Args:
      blocks: in any order.

    Yields:
      The number of a unit and its losers, for each unit that has any.
    """
    ordered = sorted(blocks, key=lambda block: block.unit.number)
    arrays = [np.frombuffer(block.keys, KEY) for block in ordered]
    keys = np.concatenate(arrays or [np.empty(0, KEY)])
    owners = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
    splits, offsets = unpack_places(keys["place"])
    order = np.lexsort((offsets, owners, splits, keys["low"], keys["high"]))
    keys, owners, splits, offsets = keys[order], owners[order], splits[order], offsets[order]
    is_copy = np.zeros(len(keys), np.bool_)
    is_copy[1:] = (keys["high"][1:] == keys["high"][:-1]) & (keys["low"][1:] == keys["low"][:-1])
    winners = np.maximum.accumulate(np.where(is_copy, 0, np.arange(len(keys))))
    losers: dict[int, list[Loser]] = {}
    for copy in np.flatnonzero(is_copy).tolist():
        winner = int(winners[copy])
        original = ordered[owners[winner]].unit
        split = SPLITS[splits[winner]]
        crosses = split == TRAIN and splits[copy] != splits[winner]
        loser = Loser(
            int(offsets[copy]),
            DUPLICATE_OF_TRAINING if crosses else DUPLICATE,
            document_id(original.corpus, split, original.name, int(offsets[winner])),
        )
        losers.setdefault(ordered[owners[copy]].unit.number, []).append(loser)
    yield from losers.items()


def pack_losers(losers: Sequence[Loser]) -> bytes:
    """Returns losers as JSON: a runner moves one string of bytes faster than many tuples."""
    return orjson.dumps([tuple(loser) for loser in losers])


def unpack_losers(packed: bytes) -> list[Loser]:
    """Reads what `pack_losers` returned."""
    return [Loser(*row) for row in orjson.loads(packed)]
