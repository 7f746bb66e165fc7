"""Pure deduplication: keys of documents and paragraphs -> which are copies of earlier ones.

What a unit knows of its documents is packed into key files: a hash, and the number of a document,
which orders all documents of a run: split (training first), corpus, file name, offset. Of equal
ones the lowest number stays.

    KEY        the content of a document                    exact copies
    BAND       one band of a MinHash signature              candidates for near-duplicates
    PARAGRAPH  the content of a long line of a document     repeated paragraphs
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from pipeline import near_duplicates
from pipeline.records import SPLITS, TRAIN, Unit, document_id

KEY_PARTITIONS: Final = 256
"""Parts that keys are sorted into, by the first bits of their hash; a range is a run of them."""

_PARTITION_BITS: Final = 8

DUPLICATE: Final = "duplicate"
DUPLICATE_OF_TRAINING: Final = "duplicate_of_training"
NEAR_DUPLICATE: Final = "near_duplicate"
NEAR_DUPLICATE_OF_TRAINING: Final = "near_duplicate_of_training"

# A document number: rank of the split, number of the unit, offset within the unit's range.
_SPLIT_SHIFT: Final = 61
_UNIT_SHIFT: Final = 39
_UNIT_MASK: Final = (1 << (_SPLIT_SHIFT - _UNIT_SHIFT)) - 1
_OFFSET_MASK: Final = (1 << _UNIT_SHIFT) - 1

_PLACE: Final = np.dtype("<i8")
KEY: Final = np.dtype([("high", "<u8"), ("low", "<u8"), ("document", "<i8")])
BAND: Final = np.dtype([("high", "<u8"), ("content", "<u4"), ("document", "<i8")])
PARAGRAPH: Final = np.dtype([("high", "<u8"), ("low", "<u8"), ("document", "<i8"), ("line", "<u4")])
COPY: Final = np.dtype([("document", "<i8"), ("original", "<i8")])
"""A document, and the first one with the same content."""

PAIR: Final = np.dtype([("earlier", "<i8"), ("later", "<i8")])
"""Two documents that may be near-duplicates."""

VERIFIED: Final = np.dtype([("earlier", "<i8"), ("later", "<i8"), ("similarity", "<f8")])
"""Two documents that are."""

REPEAT: Final = np.dtype([("document", "<i8"), ("line", "<u4")])
"""A line of a document that an earlier line is equal to."""

Records = npt.NDArray[np.void]
IntArray = npt.NDArray[np.int64]


class Loser(NamedTuple):
    """A document that is the copy, or nearly the copy, of another.

    Attributes:
      document: its number.
      reason: one of those above.
      duplicate_of: id of the document that stays; that of a copy may go as a near-duplicate.
      similarity: Jaccard similarity of the two; None for a copy.
    """

    document: int
    reason: str
    duplicate_of: str
    similarity: float | None


def number_document(split: str, unit_number: int, offset: int) -> int:
    """Returns the number of the document that begins at an offset within the range of a unit.

    Raises:
      ValueError: there is no such number: 2^22 units, each of 512 GiB, can be told apart.
    """
    if not (0 <= unit_number <= _UNIT_MASK and 0 <= offset <= _OFFSET_MASK):
        raise ValueError(f"no number for a document at {offset:,} of unit {unit_number:,}")
    return SPLITS.index(split) << _SPLIT_SHIFT | unit_number << _UNIT_SHIFT | offset


def ranks_of(documents: IntArray) -> IntArray:
    """Returns the index in SPLITS of the split of each document, shape [D]."""
    return documents >> _SPLIT_SHIFT


def units_of(documents: IntArray) -> IntArray:
    """Returns the number of the unit of each document, shape [D]."""
    return documents >> _UNIT_SHIFT & _UNIT_MASK


def hash_text(text: bytes) -> bytes:
    """Returns the 16 bytes by which the content of a document or paragraph is known, from UTF-8."""
    return hashlib.blake2b(text, digest_size=16).digest()


# --- Keys ---


def make_keys(contents: Sequence[bytes], documents: Sequence[int]) -> Records:
    """Returns the keys of documents, from what `hash_text` says of each and their numbers.

    Returns:
      Of dtype KEY, in the order of the documents, shape [D].
    """
    keys = np.empty(len(documents), KEY)
    halves = np.frombuffer(b"".join(contents), "<u8").reshape(-1, 2)
    keys["high"], keys["low"], keys["document"] = halves[:, 0], halves[:, 1], documents
    return keys


def make_bands(
    keys: npt.NDArray[np.uint64], contents: Sequence[bytes], documents: Sequence[int]
) -> Records:
    """Returns the bands of documents: likewise, and from `near_duplicates.band_keys` of them.

    Args:
      keys: of the documents, shape [D, BANDS].
      contents: what `hash_text` says of each.
      documents: their numbers.

    Returns:
      Of dtype BAND, shape [D BANDS].
    """
    bands = np.empty(keys.shape, BAND)
    bands["high"] = keys
    bands["content"] = np.frombuffer(b"".join(contents), "<u4").reshape(-1, 4)[:, :1]
    bands["document"] = np.array(documents)[:, None]
    return bands.ravel()


# --- Key files ---


def pack_key_file(records: Records) -> bytes:
    """Returns a key file: where each partition begins, then the records sorted into partitions.

    Args:
      records: of any dtype with a field `high`, shape [R].
    """
    partitions = (records["high"] >> np.uint64(64 - _PARTITION_BITS)).astype(np.int64)
    begins = np.zeros(KEY_PARTITIONS + 1, _PLACE)
    np.cumsum(np.bincount(partitions, minlength=KEY_PARTITIONS), out=begins[1:])
    return begins.tobytes() + records[np.argsort(partitions, kind="stable")].tobytes()


def read_key_file(file: BinaryIO, dtype: np.dtype[np.void], first: int, end: int) -> Records:
    """Reads the records of the partitions from `first` to before `end` from a key file.

    Returns:
      Of the dtype, in the order of the file, shape [R].
    """
    begins = np.frombuffer(file.read((KEY_PARTITIONS + 1) * _PLACE.itemsize), _PLACE)
    start, stop = int(begins[first]), int(begins[end])
    file.seek(begins.nbytes + start * dtype.itemsize)
    return np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)


# --- Copies ---


def find_copies(keys: Records) -> Records:
    """Finds documents whose content an earlier one has.

    Args:
      keys: of dtype KEY, in any order, shape [K].

    Returns:
      Of dtype COPY, shape [C].
    """
    keys = keys[np.lexsort((keys["document"], keys["low"], keys["high"]))]
    is_copy = _equals_predecessor(keys, ("high", "low"))
    firsts = np.maximum.accumulate(np.where(is_copy, 0, np.arange(len(keys))))
    copies = np.empty(np.count_nonzero(is_copy), COPY)
    copies["document"] = keys["document"][is_copy]
    copies["original"] = keys["document"][firsts[is_copy]]
    return copies


def find_repeats(paragraphs: Records, dropped: IntArray) -> Records:
    """Finds lines that are equal to a line of an earlier document, or of their own one.

    Args:
      paragraphs: of dtype PARAGRAPH, in any order, shape [P].
      dropped: numbers of documents that are duplicates, ascending; their lines do not count.

    Returns:
      Of dtype REPEAT, shape [R].
    """
    if len(dropped):
        places = np.searchsorted(dropped, paragraphs["document"])
        found = dropped[np.minimum(places, len(dropped) - 1)]
        paragraphs = paragraphs[found != paragraphs["document"]]
    order = np.lexsort(
        (paragraphs["line"], paragraphs["document"], paragraphs["low"], paragraphs["high"])
    )
    paragraphs = paragraphs[order]
    again = paragraphs[_equals_predecessor(paragraphs, ("high", "low"))]
    repeats = np.empty(len(again), REPEAT)
    repeats["document"], repeats["line"] = again["document"], again["line"]
    return repeats


def find_candidates(bands: Records) -> Records:
    """Finds pairs of documents that may be near-duplicates.

    Args:
      bands: of dtype BAND, in any order, shape [B].

    Returns:
      Of dtype PAIR, sorted, shape [P]. Of documents with equal content only the first is paired.
    """
    order = np.lexsort((bands["document"], bands["content"], bands["high"]))
    bands = bands[order]
    bands = bands[~_equals_predecessor(bands, ("high", "content"))]
    earlier, later = near_duplicates.find_candidates(bands["high"], bands["document"])
    pairs = np.empty(len(earlier), PAIR)
    pairs["earlier"], pairs["later"] = earlier, later
    return pairs


def _equals_predecessor(records: Records, fields: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Tells which sorted records have the same values in some fields as the one before."""
    equals = np.zeros(len(records), np.bool_)
    equals[1:] = np.logical_and.reduce(
        [records[field][1:] == records[field][:-1] for field in fields]
    )
    return equals


# --- Who loses ---


def name_losers(copies: Records, units: Sequence[Unit]) -> list[Loser]:
    """Returns exact copies with their reasons and the ids of what they copy.

    Args:
      copies: of dtype COPY, shape [C].
      units: all units of the run, by number.
    """
    return [
        Loser(copy, _reason(copy, original, DUPLICATE, DUPLICATE_OF_TRAINING), doc_id, None)
        for copy, original in copies.tolist()
        for doc_id in [_id_of(original, units)]
    ]


def resolve_near(verified: Records, units: Sequence[Unit]) -> list[Loser]:
    """Decides which near-duplicates go: those of a document that itself stays.

    Args:
      verified: of dtype VERIFIED, shape [P].
      units: all units of the run, by number.

    Returns:
      The losers, by ascending number.
    """
    decided = near_duplicates.resolve(
        verified["earlier"], verified["later"], verified["similarity"]
    )
    reasons = NEAR_DUPLICATE, NEAR_DUPLICATE_OF_TRAINING
    return [
        Loser(loser, _reason(loser, winner, *reasons), _id_of(winner, units), similarity)
        for loser, (winner, similarity) in sorted(decided.items())
    ]


def _reason(loser: int, winner: int, within: str, across: str) -> str:
    ranks = loser >> _SPLIT_SHIFT, winner >> _SPLIT_SHIFT
    return across if ranks[0] != ranks[1] and SPLITS[ranks[1]] == TRAIN else within


def _id_of(document: int, units: Sequence[Unit]) -> str:
    unit = units[document >> _UNIT_SHIFT & _UNIT_MASK]
    offset = unit.start + (document & _OFFSET_MASK)
    return document_id(unit.corpus, SPLITS[document >> _SPLIT_SHIFT], unit.name, offset)


def losers_by_unit(losers: Iterable[Loser]) -> dict[int, bytes]:
    """Packs losers by the number of their unit.

    As JSON: a runner moves one string of bytes faster than many tuples.
    """
    found: dict[int, list[Loser]] = {}
    for loser in losers:
        found.setdefault(loser.document >> _UNIT_SHIFT & _UNIT_MASK, []).append(loser)
    return {number: orjson.dumps([tuple(loser) for loser in of]) for number, of in found.items()}


def unpack_losers(packed: bytes) -> list[Loser]:
    """Reads what `losers_by_unit` packed for one unit."""
    return [Loser(*row) for row in orjson.loads(packed)]


def records_by_unit(records: Records, field: str) -> dict[int, bytes]:
    """Packs records by the number of the unit of the document in one of their fields.

    Args:
      records: of any dtype with that field, shape [R]; their order stays within each unit.
      field: holds document numbers.
    """
    numbers = units_of(records[field])
    order = np.argsort(numbers, kind="stable")
    records, numbers = records[order], numbers[order]
    found, firsts = np.unique(numbers, return_index=True)
    parts = np.split(records, firsts[1:])
    return {number: part.tobytes() for number, part in zip(found.tolist(), parts, strict=False)}
