"""Seeded samples of what cleaning did: for each rule and reason, some of the documents it met.

A unit keeps some rows with its lowest draws, and of all units the rows with the lowest draws stay.
A draw hangs only on the rule and the document: so samples can be merged in any order.
"""

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

EDITS, REJECTED = "edits", "rejected"
"""The kinds of samples: by rule, and by reason."""

SAMPLE_SIZE: Final = 20
FORMAT_VERSION: Final = 1

_SURPLUS: Final = 3
"""So many times the size of a sample do units keep together: each finds its spans anew."""

_LEAST_IN_UNIT: Final = 5
"""Of a rule that is met in one unit only, this is all that is shown."""

_OFFERS_AT_ONCE: Final = 100
"""Draws are made for many documents together."""

_EXCERPT_CHARS: Final = 400
_CONTEXT_CHARS: Final = 80
_MAX_SPANS: Final = 20

Row = dict[str, Any]
Span = tuple[int, int, str]
"""Start and end in the text before, and what stands there afterwards."""


class Sample(NamedTuple):
    """One row and what it was drawn by."""

    kind: str
    name: str
    draw: int
    row: Row


class Sampler:
    """Keeps the rows with the lowest draws of each kind and name."""

    def __init__(self, size: int = SAMPLE_SIZE) -> None:
        self._size = size
        self._kept: dict[tuple[str, str], list[tuple[int, int, Callable[[], Row]]]] = {}
        self._count = 0
        self._offered: dict[tuple[str, str], list[tuple[int, Callable[[], Row]]]] = {}

    def offer(self, kind: str, name: str, document: int, describe: Callable[[], Row]) -> None:
        """Adds what `describe` returns if the draw is low enough, now or later."""
        offered = self._offered.setdefault((kind, name), [])
        offered.append((document, describe))
        if len(offered) == _OFFERS_AT_ONCE:
            self._take_offered(kind, name)

    def _take_offered(self, kind: str, name: str) -> None:
        offered = self._offered.pop((kind, name))
        for place, drawn in self.draws(kind, name, [document for document, _ in offered]):
            self.add(kind, name, drawn, offered[place][1])

    def draws(self, kind: str, name: str, documents: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yields, of documents by their numbers, the place and draw of those low enough to keep.

        Whoever takes one `add`s what describes it before the next.
        """
        kept = self._kept.setdefault((kind, name), [])
        for place, drawn in enumerate(_draw(kind, name, documents)):
            if len(kept) < self._size or drawn < -kept[0][0]:
                yield place, drawn

    def add(self, kind: str, name: str, draw: int, describe: Callable[[], Row]) -> None:
        """Takes a row in; the last one with the highest draw goes if there are too many.

        Only those that are left in the end are described.
        """
        kept = self._kept.setdefault((kind, name), [])
        self._count += 1  # so that rows themselves are never compared
        push = heapq.heappushpop if len(kept) == self._size else heapq.heappush
        push(kept, (-draw, -self._count, describe))

    def samples(self) -> list[Sample]:
        """Returns what was kept, in order, and forgets it: what describes it may hold this."""
        for kind, name in list(self._offered):
            self._take_offered(kind, name)
        kept_by_name, self._kept = self._kept, {}
        return [
            Sample(kind, name, -draw, describe())
            for (kind, name), kept in sorted(kept_by_name.items())
            for draw, _, describe in sorted(kept, key=lambda each: each[:2], reverse=True)
        ]


def size_in_unit(units: int) -> int:
    """Returns how many rows of a kind and name one of so many units keeps."""
    return min(SAMPLE_SIZE, max(_LEAST_IN_UNIT, 1 + _SURPLUS * SAMPLE_SIZE // max(1, units)))


def merge_samples(samples: Iterable[Sample]) -> list[Sample]:
    """Returns the samples with the lowest draws of several units, in order."""
    sampler = Sampler()
    for kind, name, draw, row in samples:
        sampler.add(kind, name, draw, partial(Row, row))
    return sampler.samples()


def samples_to_bytes(samples: Iterable[Sample]) -> bytes:
    """Returns the bytes of a file of samples."""
    return orjson.dumps([list(sample) for sample in samples])


def samples_from_bytes(data: bytes) -> list[Sample]:
    """Reads what `samples_to_bytes` returned.

    Raises:
      ValueError: something else.
    """
    try:
        return [Sample(*row) for row in orjson.loads(data)]
    except TypeError as error:
        raise ValueError(str(error)) from error


def samples_to_json(samples: Iterable[Sample]) -> bytes:
    """Returns the bytes of samples.json."""
    kinds: dict[str, dict[str, list[Row]]] = {EDITS: {}, REJECTED: {}}
    for sample in merge_samples(samples):
        kinds[sample.kind].setdefault(sample.name, []).append(sample.row)
    fields = {"format_version": FORMAT_VERSION, **kinds}
    return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"


def describe_edit(before: str, spans: Sequence[Span]) -> Row:
    """Returns the part of a text around the first edits, and the edits in it."""
    start = max(0, spans[0][0] - _CONTEXT_CHARS) if spans else 0
    end = start + _EXCERPT_CHARS
    shown = [
        (first - start, min(last, end) - start, replacement[:_EXCERPT_CHARS])
        for first, last, replacement in spans[:_MAX_SPANS]
        if first < end
    ]
    return {"before": before[start:end], "spans": shown}


def describe_difference(before: str, after: str) -> Row:
    """Returns what `describe_edit` does, where an edit left the beginning and the end as they were.

    What stands between the longest common beginning and the longest common end is the edit.
    """
    start = _count_common(before, after)
    rest = min(len(before), len(after)) - start
    ends = [text[len(text) - rest :][::-1] for text in (before, after)]
    end = _count_common(*ends)
    return describe_edit(before, [(start, len(before) - end, after[start : len(after) - end])])


def _count_common(some: str, other: str) -> int:
    """Returns how many characters two texts have in common at their beginnings."""
    pairs = enumerate(zip(some, other, strict=False))
    shorter = min(len(some), len(other))
    return next((place for place, (one, two) in pairs if one != two), shorter)


def describe_text(text: str) -> Row:
    """Returns the beginning of a text, and its length."""
    return {"text": text[:_EXCERPT_CHARS], "chars": len(text)}


def _draw(kind: str, name: str, documents: Sequence[int]) -> list[int]:
    """Mixes document numbers with a salt (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = np.array(documents, np.uint64) ^ np.uint64(_salt(kind, name))
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ mixed >> np.uint64(31)).tolist()


@lru_cache
def _salt(kind: str, name: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(f"{kind} {name}".encode(), digest_size=8).digest(), "little"
    )
