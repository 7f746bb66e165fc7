"""Rejections: cleaned texts -> the reasons for which some of them are not kept."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.config import DocumentsConfig
from pipeline.rules.classes import CHINESE, CODE_POINTS, encode, members

TOO_SHORT: Final = "too_short"
UNSETTLED: Final = "unsettled"

NGRAM_CHARS: Final = 8
"""About five words: the shortest of the duplicate n-grams in Rae et al. 2021, table A1."""

_LETTERS: Final = r"^\W\d_"
_VISIBLE: Final = r"^ \n"
_LATIN: Final = "À-ÖØ-öø-ÿŒœŠšŸŽžƒ"
_WRONGLY_READ: Final = (
    "锟锘銆锛紝浠鐨殑鍏鍙屽瀹鐢佸屾鎴鍒鏂鍦佹鍗屼绗勫鏄鍥箣竴嶅鍔"
    "夊缁鏃畾閫傚忓勬敤湁鏉岀槸悊佽嬫笉湪"
)
"""Characters that UTF-8 read as GBK is full of and Chinese text has not: own measurement."""

_MAX_CHARS_BY_ODD: Final = 3
_MOJIBAKE: Final = re.compile(
    rf"[{_LATIN}][\xa1-\xffŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]{{1,2}}"
    rf"|[{_WRONGLY_READ}]|斤拷|烫烫烫|屯屯屯"
)

_CODES_AT_ONCE: Final = 1 << 16
_SLOT_BITS: Final = 18
"""Four slots for each n-gram looked at together: a fifth of them share one by chance."""

Counts = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
"""A value for each text of a batch, shape [D]."""


class Batch(NamedTuple):
    """Cleaned texts, and how many characters of some classes each has.

    Attributes:
      texts: the texts.
      codes: their code points with a line feed before and behind each, shape [C].
      starts: where the line feed before each stands, shape [D]; of this shape are all others.
      lengths: characters.
      visible: characters that are no white space.
      chinese: ideographs.
      letters: letters, ideographs among them.
      odd: characters that are frequent in wrongly decoded text.
      line_ends: line feeds.
    """

    texts: Sequence[str]
    codes: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.intp]
    lengths: npt.NDArray[np.intp]
    visible: Counts
    chinese: Counts
    letters: Counts
    odd: Counts
    line_ends: Counts

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Batch":
        """Counts the characters of at least one text."""
        codes, starts = encode(texts)
        classes = _class_table().take(codes, mode="clip")[:-1]
        counts = [
            np.add.reduceat(classes >> np.uint8(bit) & np.uint8(1), starts, dtype=np.uint32)
            for bit in range(len(_CLASSES))
        ]
        lengths = np.array([len(text) for text in texts])
        visible, chinese, letters, odd, line_ends = counts
        return cls(
            *(texts, codes, starts, lengths, visible, chinese, letters, odd),
            line_ends - np.uint32(1),
        )


_CLASSES: Final = (_VISIBLE, CHINESE, _LETTERS, f"{_LATIN}{_WRONGLY_READ}斤烫屯", r"\n")


@cache
def _class_table() -> npt.NDArray[np.uint8]:
    """Returns by code point a bit for each of _CLASSES that it is in."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for bit, char_class in enumerate(_CLASSES):
        table[members(char_class)] |= np.uint8(1 << bit)
    return table


def find_reasons(texts: Sequence[str], corpus: str, config: DocumentsConfig) -> list[str | None]:
    """Returns for each cleaned text of a corpus the first reason not to keep it, or None.

    A text without visible characters is too short, even if that rule is left out.
    """
    reasons: list[str | None] = [None] * len(texts)
    if not texts:
        return reasons
    batch = Batch.of(texts)
    for name, find in reversed(_FINDERS.items()):
        if name not in config.rules_off:
            for document in np.flatnonzero(find(batch, config)).tolist():
                reasons[document] = name
    min_chars = 1 if TOO_SHORT in config.rules_off else config.min_chars[corpus]
    for document in np.flatnonzero(batch.visible < min_chars).tolist():
        reasons[document] = TOO_SHORT
    return reasons


# --- Repetition ---


def has_repeated_ngrams(batch: Batch, max_fraction: float) -> Mask:
    """Tells of which texts more of the n-grams than wanted are equal to one before.

    Source: duplicate n-grams of Rae et al. 2021, table A1. Differs: characters, not words,
    and the share of n-grams, not of characters in them.
    """
    ngrams = np.maximum(batch.lengths - (NGRAM_CHARS - 1), 0)
    hashes = _hash_ngrams(batch)
    suspects = _count_shared_slots(hashes, batch.starts) > max_fraction * ngrams
    for document in np.flatnonzero(suspects).tolist():
        start = batch.starts[document] + 1
        distinct = set(hashes[start : start + ngrams[document]].tolist())
        suspects[document] = ngrams[document] - len(distinct) > max_fraction * ngrams[document]
    return suspects


def _hash_ngrams(batch: Batch) -> Counts:
    """Returns hashes of the n-grams that begin at each code point, other ones for each text."""
    hashes = np.append(batch.codes, np.zeros(NGRAM_CHARS, np.uint32))
    for width, factor in ((1, 0x9E3779B1), (2, 0x85EBCA6B), (4, 0xC2B2AE35)):
        hashes = hashes[:-width] * np.uint32(factor) + hashes[width:]
    salts = np.arange(len(batch.texts), dtype=np.uint32) * np.uint32(0x27D4EB2F)
    return hashes[: len(batch.codes) - 1] + np.repeat(salts, batch.lengths + 1)


def _count_shared_slots(hashes: Counts, starts: npt.NDArray[np.intp]) -> Counts:
    """Returns for each text how many n-grams share a slot with a later one: all equal ones do."""
    slots = (hashes >> np.uint32(32 - _SLOT_BITS)).astype(np.intp)
    places = np.arange(len(slots), dtype=np.int32)
    last = np.empty(1 << _SLOT_BITS, np.int32)
    shared = np.empty(len(slots), np.bool_)
    # Some texts at a time: slots are few enough to stay near the processor, and do not fill up.
    firsts = starts[np.flatnonzero(np.diff(starts // _CODES_AT_ONCE, prepend=-1))].tolist()
    for first, end in pairwise([*firsts, len(slots)]):
        some = slots[first:end]
        last[some] = places[first:end]
        shared[first:end] = last.take(some, mode="clip") != places[first:end]
    return np.add.reduceat(shared, starts, dtype=np.uint32)


def has_repeated_lines(batch: Batch, max_fraction: float) -> Mask:
    """Tells of which texts more of the characters than wanted are in lines equal to one before.

    Source: duplicate lines of Rae et al. 2021, table A1.
    """
    holds = np.zeros(len(batch.texts), np.bool_)
    for document in np.flatnonzero(batch.line_ends).tolist():
        lines = batch.texts[document].split("\n")
        distinct = set(lines)
        if len(distinct) < len(lines):
            chars = len(batch.texts[document]) - len(lines) + 1
            holds[document] = chars - sum(map(len, distinct)) > max_fraction * chars
    return holds


# --- Words and characters ---


def has_mojibake(batch: Batch, max_fraction: float) -> Mask:
    """Tells of which texts more of the visible characters than wanted were wrongly decoded."""
    holds = batch.odd > max_fraction / _MAX_CHARS_BY_ODD * batch.visible
    for document in np.flatnonzero(holds).tolist():
        found = sum(map(len, _MOJIBAKE.findall(batch.texts[document])))
        holds[document] = found > max_fraction * batch.visible[document]
    return holds


def has_blocked_words(batch: Batch, words: Sequence[str]) -> Mask:
    """Tells which texts hold one of the words."""
    if not words:
        return np.zeros(len(batch.texts), np.bool_)
    search = _any_of(tuple(words)).search
    return np.array([search(text) is not None for text in batch.texts])


@cache
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """Returns a pattern of all words; one look at a character rules out most of them."""
    rests: defaultdict[str, list[str]] = defaultdict(list)
    for word in sorted(words):
        rests[word[0]].append(re.escape(word[1:]))
    first = [f"{re.escape(first)}(?:{'|'.join(of)})" for first, of in rests.items()]
    return re.compile("|".join(first))


# --- The rules in their order ---

_FINDERS: Final[dict[str, Callable[[Batch, DocumentsConfig], Mask]]] = {
    "too_little_chinese": lambda batch, config: (
        batch.chinese < config.min_chinese_fraction * batch.visible
    ),
    "mostly_digits_or_signs": lambda batch, config: (
        batch.visible - batch.letters > config.max_digit_sign_fraction * batch.visible
    ),
    "repeated_ngrams": lambda batch, config: has_repeated_ngrams(
        batch, config.max_repeated_ngram_fraction
    ),
    "repeated_lines": lambda batch, config: has_repeated_lines(
        batch, config.max_repeated_line_fraction
    ),
    "mojibake": lambda batch, config: has_mojibake(batch, config.max_mojibake_fraction),
    "blocklisted": lambda batch, config: has_blocked_words(batch, config.blocklist),
}
"""Name of a rule -> tells of which texts it holds."""

REJECTIONS: Final = (UNSETTLED, TOO_SHORT, *_FINDERS)
"""Of those that hold, the first is the reason; UNSETTLED is found by the cleaner."""
