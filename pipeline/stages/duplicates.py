"""Keys of all cleaned documents -> which documents and paragraphs go as duplicates."""

import base64
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import orjson
import zstandard

from pipeline import dedup, files, near_duplicates
from pipeline.blocks import FRAME, read_frame
from pipeline.dedup import Records
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.records import Unit
from pipeline.resume import Stage, identify
from pipeline.stages.clean import SIZE, bytes_of, unit_name

_BYTES_OF_KEY_RANGE: Final = 64 << 20
"""Of input; its keys take some MB, and four times as many while they are sorted."""

_PAIRS_AT_ONCE: Final = 4096
"""Their texts are held together: some ten MB."""


class KeyRange(NamedTuple):
    """A run of key partitions, in the key files of all units.

    Attributes:
      number: which one.
      total: of how many.
      units: how many there are in the run.
      size_bytes: its share of the input.
      after: digests of the units, and of what earlier stages decided and this one reads.
    """

    number: int
    total: int
    units: int
    size_bytes: int
    after: str


def order_units(units: Iterable[Unit]) -> list[Unit]:
    """Returns units by number, in whatever order they arrived."""
    return sorted(units, key=operator.attrgetter("number"))


def plan_key_ranges(units: Sequence[Unit], after: str = "") -> list[KeyRange]:
    """Cuts the keys of all units into ranges that fit into memory, whatever the number of units."""
    size = sum(map(bytes_of, units))
    total = min(dedup.KEY_PARTITIONS, max(1, -(-size // _BYTES_OF_KEY_RANGE)))
    after = identify(units) + after
    return [KeyRange(number, total, len(units), size // total, after) for number in range(total)]


class ByUnit(NamedTuple):
    """What a stage found out, packed, by the number of the unit that it is about."""

    packed: dict[int, bytes]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return [
            [number, base64.b64encode(packed).decode()]
            for number, packed in sorted(self.packed.items())
        ]

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "ByUnit":
        """Reads what `to_json` returned."""
        return cls({number: base64.b64decode(packed) for number, packed in fields})


# --- Copies ---


def find_copies(key_range: KeyRange, layout: Layout) -> ByUnit:
    """Finds the documents of a range of keys that are copies of others."""
    keys = _read_records(key_range, layout.keys, dedup.KEY)
    copies = dedup.find_copies(keys)
    path = layout.copies(key_range.number, key_range.total)
    files.write_bytes(path, copies["document"].tobytes())
    return ByUnit(dedup.records_by_unit(copies, "document"))


def name_copies(packed: Iterable[bytes], units: Sequence[Unit]) -> list[bytes]:
    """Brings the copies of one unit that several ranges found into one order, and names them.

    Args:
      packed: of dtype dedup.COPY.
      units: all units of the run, by number.

    Returns:
      Nothing, or the losers as `dedup.losers_by_unit` packs them.
    """
    copies = np.sort(np.frombuffer(b"".join(packed), dedup.COPY))
    return list(dedup.losers_by_unit(dedup.name_losers(copies, units)).values())


# --- Near-duplicates ---


def find_candidates(key_range: KeyRange, layout: Layout) -> ByUnit:
    """Finds the pairs of documents in a range of bands that may be near-duplicates."""
    pairs = dedup.find_candidates(_read_records(key_range, layout.bands, dedup.BAND))
    return ByUnit(dedup.records_by_unit(pairs, "later"))


class Suspects(NamedTuple):
    """Pairs of documents to look at.

    Attributes:
      number: of the unit that holds the later document of each pair.
      total: number of all units.
      pairs: of dtype dedup.PAIR, packed.
    """

    number: int
    total: int
    pairs: bytes


def gather_suspects(number: int, total: int, packed: Iterable[bytes]) -> Suspects:
    """Brings the pairs of one unit that several ranges found into one order, each once."""
    pairs = np.unique(np.frombuffer(b"".join(packed), dedup.PAIR))
    return Suspects(number, total, pairs.tobytes())


class Verified(NamedTuple):
    """Pairs that are near-duplicates, of dtype dedup.VERIFIED, packed."""

    pairs: bytes

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return base64.b64encode(self.pairs).decode()

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Verified":
        """Reads what `to_json` returned."""
        return cls(base64.b64decode(fields))


def verify_pairs(suspects: Suspects, layout: Layout) -> Verified:
    """Compares the texts of pairs."""
    pairs = np.frombuffer(suspects.pairs, dedup.PAIR)
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[start : start + _PAIRS_AT_ONCE]
        texts = _read_texts(some, suspects.total, layout)
        for earlier, later in cast("list[tuple[int, int]]", some.tolist()):
            similarity = near_duplicates.jaccard(texts[earlier], texts[later])
            if similarity >= near_duplicates.THRESHOLD:
                found.append((earlier, later, similarity))
    return Verified(np.array(found, dedup.VERIFIED).tobytes())


def _read_texts(pairs: Records, total: int, layout: Layout) -> dict[int, str]:
    """Reads the texts of all documents of some pairs, by number."""
    documents = np.unique(np.concatenate([pairs["earlier"], pairs["later"]]))
    numbers = dedup.units_of(documents)
    return {
        document: text
        for number in np.unique(numbers).tolist()
        for document, text in _texts_of_unit(
            set(documents[numbers == number].tolist()), number, total, layout
        )
    }


def _texts_of_unit(
    wanted: set[int], number: int, total: int, layout: Layout
) -> Iterator[tuple[int, str]]:
    """Yields the numbers and texts of some documents of one unit, reading only their frames."""
    sizes = np.frombuffer(files.read_bytes(layout.sizes(number, total)), SIZE)
    frames = np.frombuffer(files.read_bytes(layout.frames(number, total)), FRAME)
    rows = np.flatnonzero(np.isin(sizes["document"], list(wanted)))
    places = np.searchsorted(frames["first_row"], rows, side="right") - 1
    path = layout.cleaned(number, total)
    with files.open_for_reading(path, files.FEW_BYTES) as file:
        for place in np.unique(places).tolist():
            first, offset, length = frames[place].tolist()
            try:
                lines = read_frame(file, offset, length)
            except zstandard.ZstdError as error:
                raise RunError(
                    f"{path}: is damaged ({error}); start afresh with --overwrite"
                ) from error
            for row in rows[places == place].tolist():
                yield int(sizes["document"][row]), orjson.loads(lines[row - first])["text"]


class NearPairs(NamedTuple):
    """All pairs that are near-duplicates.

    Attributes:
      units: all units of the run, by number.
      pairs: of dtype dedup.VERIFIED, packed, in order.
    """

    units: list[Unit]
    pairs: bytes


def gather_pairs(verified: Iterable[Verified], units: list[Unit]) -> NearPairs:
    """Brings the verified pairs of all units into one order."""
    pairs = np.frombuffer(b"".join(found.pairs for found in verified), dedup.VERIFIED)
    return NearPairs(units, np.sort(pairs).tobytes())


class NearLosers(NamedTuple):
    """Which documents go as near-duplicates: their packed losers by unit, and a digest of all."""

    losers: ByUnit
    digest: str

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return {"losers": self.losers.to_json(), "digest": self.digest}

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "NearLosers":
        """Reads what `to_json` returned."""
        return cls(ByUnit.from_json(fields["losers"]), fields["digest"])


def resolve_near(pairs: NearPairs, layout: Layout) -> NearLosers:
    """Decides which documents go, and writes their numbers for the search for paragraphs."""
    losers = dedup.resolve_near(np.frombuffer(pairs.pairs, dedup.VERIFIED), pairs.units)
    numbers = np.array([loser.document for loser in losers], "<i8").tobytes()
    files.write_bytes(layout.near_losers, numbers)
    digest = dedup.hash_text(numbers).hex()
    return NearLosers(ByUnit(dedup.losers_by_unit(losers)), digest)


# --- Paragraphs ---


def find_repeats(key_range: KeyRange, layout: Layout) -> ByUnit:
    """Finds the long lines of a range of keys that repeat earlier ones of documents that stay."""
    paths = [layout.copies(number, key_range.total) for number in range(key_range.total)]
    numbers = b"".join(files.read_each(files.read_bytes, [*paths, layout.near_losers], layout.root))
    dropped = np.unique(np.frombuffer(numbers, "<i8"))
    paragraphs = _read_records(key_range, layout.paragraphs, dedup.PARAGRAPH)
    return ByUnit(dedup.records_by_unit(dedup.find_repeats(paragraphs, dropped), "document"))


def _read_records(key_range: KeyRange, path_of: Any, dtype: np.dtype[np.void]) -> Records:
    """Reads the records of a range from the key files of all units."""
    first, end = (
        dedup.KEY_PARTITIONS * number // key_range.total
        for number in (key_range.number, key_range.number + 1)
    )

    def read(path: str) -> Records:
        with files.open_for_reading(path, files.FEW_BYTES) as file:
            return dedup.read_key_file(file, dtype, first, end)

    paths = [path_of(number, key_range.units) for number in range(key_range.units)]
    found = files.read_each(read, paths, paths[0] if paths else "")
    return np.concatenate([np.empty(0, dtype), *found])


# --- All of it, in this process ---


def find_all(
    units: Iterable[Unit], layout: Layout, level: str
) -> tuple[dict[int, list[bytes]], dict[int, list[bytes]]]:
    """Does what the Beam graph does, for a few units.

    Args:
      units: cleaned, in any order.
      layout: where their keys lie.
      level: one of config.DEDUP_LEVELS.

    Returns:
      Losers and repeats by the number of the unit, packed as `finish.Goings` takes them.
    """
    losers: defaultdict[int, list[bytes]] = defaultdict(list)
    repeats: defaultdict[int, list[bytes]] = defaultdict(list)
    units = order_units(units)
    ranges = plan_key_ranges(units)
    if level != "none":
        copies: defaultdict[int, list[bytes]] = defaultdict(list)
        for key_range in ranges:
            _collect(find_copies(key_range, layout), copies)
        for number, packed in copies.items():
            losers[number] += name_copies(packed, units)
    if level == "near":
        candidates: defaultdict[int, list[bytes]] = defaultdict(list)
        for key_range in ranges:
            _collect(find_candidates(key_range, layout), candidates)
        verified = [
            verify_pairs(gather_suspects(number, len(units), packed), layout)
            for number, packed in candidates.items()
        ]
        _collect(resolve_near(gather_pairs(verified, units), layout).losers, losers)
        for key_range in ranges:
            _collect(find_repeats(key_range, layout), repeats)
    return losers, repeats


def _collect(found: ByUnit, into: defaultdict[int, list[bytes]]) -> None:
    for number, packed in found.packed.items():
        into[number].append(packed)


# --- Stages ---

_share_of_input = operator.attrgetter("size_bytes")


def copies_stage(layout: Layout) -> Stage:
    """Key ranges -> losers by unit."""
    return Stage("copies", find_copies, (layout,), ByUnit, unit_name, _share_of_input, layout)


def candidates_stage(layout: Layout) -> Stage:
    """Key ranges -> pairs by unit."""
    return Stage(
        "candidates", find_candidates, (layout,), ByUnit, unit_name, _share_of_input, layout
    )


def verify_stage(layout: Layout) -> Stage:
    """Suspects -> Verified."""
    return Stage("verify", verify_pairs, (layout,), Verified, unit_name, _bytes_of_pairs, layout)


def near_stage(layout: Layout) -> Stage:
    """NearPairs -> NearLosers; one unit."""
    return Stage("near", resolve_near, (layout,), NearLosers, _all, _bytes_of_pairs, layout)


def repeats_stage(layout: Layout) -> Stage:
    """Key ranges -> repeated lines by unit."""
    return Stage("repeats", find_repeats, (layout,), ByUnit, unit_name, _share_of_input, layout)


def _bytes_of_pairs(unit: Suspects | NearPairs) -> int:
    return len(unit.pairs)


def _all(_: NearPairs) -> str:
    return "all"
