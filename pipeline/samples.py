"""Seeded samples of what cleaning did: for each rule and reason, some of the documents it met.

A sample is the rows with the lowest draws, and a draw hangs only on the rule and the document: so
samples of units can be merged in any order, and a larger corpus has other rows but not more.
"""

import hashlib
import heapq
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

EDITS, REJECTED = "edits", "rejected"
"""The kinds of samples: by rule, and by reason."""

SAMPLE_SIZE: Final = 20
FORMAT_VERSION: Final = 1

_EXCERPT_CHARS: Final = 400
_CONTEXT_CHARS: Final = 80
_MAX_SPANS: Final = 20
_MASK: Final = (1 << 64) - 1

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

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[tuple[int, int, Row]]] = {}
        self._count = 0

    def draw(self, kind: str, name: str, document: int) -> int | None:
        """Returns the draw of a document by its number; None if it is too high to be kept."""
        drawn = _draw(kind, name, document)
        kept = self._kept.setdefault((kind, name), [])
        return None if len(kept) == SAMPLE_SIZE and drawn >= -kept[0][0] else drawn

    def add(self, kind: str, name: str, draw: int, row: Row) -> None:
        """Takes a row in; the last one with the highest draw goes if there are too many."""
        kept = self._kept.setdefault((kind, name), [])
        self._count += 1  # so that rows themselves are never compared
        push = heapq.heappushpop if len(kept) == SAMPLE_SIZE else heapq.heappush
        push(kept, (-draw, -self._count, row))

    def samples(self) -> list[Sample]:
        """Returns what was kept, in order."""
        return [
            Sample(kind, name, -draw, row)
            for (kind, name), kept in sorted(self._kept.items())
            for draw, _, row in sorted(kept, reverse=True)
        ]


def merge_samples(samples: Iterable[Sample]) -> list[Sample]:
    """Returns the samples with the lowest draws of several units, in order."""
    sampler = Sampler()
    for kind, name, draw, row in sorted(samples, key=lambda sample: sample[:3]):
        sampler.add(kind, name, draw, row)
    return sampler.samples()


def samples_to_rows(samples: Iterable[Sample]) -> list[list[Any]]:
    """Returns samples as rows of JSON."""
    return [list(sample) for sample in samples]


def rows_to_samples(rows: Iterable[Sequence[Any]]) -> list[Sample]:
    """Reads what `samples_to_rows` returned."""
    return [Sample(*row) for row in rows]


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
        (first - start, min(last, end) - start, replacement)
        for first, last, replacement in spans[:_MAX_SPANS]
        if first < end
    ]
    return {"before": before[start:end], "spans": shown}


def describe_text(text: str) -> Row:
    """Returns the beginning of a text, and its length."""
    return {"text": text[:_EXCERPT_CHARS], "chars": len(text)}


def _draw(kind: str, name: str, document: int) -> int:
    """Mixes a document number with a salt (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = document ^ _salt(kind, name)
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return mixed ^ mixed >> 31


@lru_cache
def _salt(kind: str, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{kind} {name}".encode(), digest_size=8).digest())
