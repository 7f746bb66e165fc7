"""Rejections: cleaned texts -> the reasons for which some of them are not kept."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.config import DocumentsConfig
from pipeline.rules.classes import CHINESE, CODE_POINTS, encode, members
from vocab.compiled import load_compiled

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

Counts = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
"""A value for each text of a batch, shape [D]."""


class Batch(NamedTuple):
    """Cleaned texts, and how many characters of some classes each has.

    Attributes:
      texts: the texts.
      codes: their code points with a line feed before and behind each, shape [C].
      starts: where the line feed before each stands and, last, the one behind all, shape [D + 1];
        all others have shape [D].
      lengths: characters.
      visible: characters that are no white space.
      chinese: ideographs.
      letters: letters, ideographs among them.
      odd: characters that are frequent in wrongly decoded text.
      line_ends: line feeds.
    """

    texts: Sequence[str]
    codes: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    visible: Counts
    chinese: Counts
    letters: Counts
    odd: Counts
    line_ends: Counts

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Batch":
        """Counts the characters of at least one text."""
        codes, starts = encode(texts)
        counts = np.empty((len(texts), len(_CLASSES)), np.uint32)
        _library.count_classes(codes, starts, len(texts), _class_table(), len(_CLASSES), counts)
        columns = np.ascontiguousarray(counts.T)
        return cls(texts, codes, starts, np.diff(starts) - 1, *columns)


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
    most = (max_fraction * ngrams).astype(np.int64)
    holds = np.empty(len(batch.texts), np.bool_)
    failed = _library.find_repeated_ngrams(
        *(batch.codes, batch.starts, len(batch.texts), NGRAM_CHARS, most, holds)
    )
    if failed:
        raise MemoryError("no memory to compare n-grams")
    return holds


def has_repeated_lines(batch: Batch, max_fraction: float) -> Mask:
    """Tells of which texts more of the characters than wanted are in lines equal to one before.

    Source: duplicate lines of Rae et al. 2021, table A1.
    """
    repeated = np.empty(len(batch.texts), np.int64)
    failed = _library.count_repeated_lines(
        *(batch.codes, batch.starts, len(batch.texts), batch.line_ends, repeated)
    )
    if failed:
        raise MemoryError("no memory to compare lines")
    return repeated > max_fraction * (batch.lengths - batch.line_ends)


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


_library: Final = load_compiled(
    __file__,
    count_classes="uint32* int64* int64 uint8* int64 uint32*",
    find_repeated_ngrams="uint32* int64* int64 int64 int64* bool* -> int64",
    count_repeated_lines="uint32* int64* int64 uint32* int64* -> int64",
)
