"""Text -> how often each basic token occurs; counts of several texts are merged by adding."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from vocab.basic_tokens import (
    CodeArray,
    Kind,
    classify,
    encode_codes,
    find_stretches,
    fold_letters,
    settle_final_sigma,
    split_basic_tokens,
)


class TokenCounts(NamedTuple):
    """How often basic tokens occur.

    Attributes:
      characters: single CJK characters and punctuation marks.
      words: longest runs of other characters: Latin words, numbers, kana, symbols; folded.
    """

    characters: Counter[str]
    words: Counter[str]

    @classmethod
    def empty(cls) -> "TokenCounts":
        """Returns counts of nothing."""
        return cls(Counter(), Counter())

    def to_bytes(self) -> bytes:
        """Returns the counts as zstd-compressed JSON, entries in the order of their code points."""
        counts = {name: dict(sorted(values.items())) for name, values in self._asdict().items()}
        text = json.dumps(counts, ensure_ascii=False, indent=0)
        return zstandard.ZstdCompressor().compress(text.encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> "TokenCounts":
        """Reads what `to_bytes` returned."""
        counts = json.loads(zstandard.ZstdDecompressor().decompress(data))
        return cls(**{name: Counter(values) for name, values in counts.items()})

    def add(self, characters: Mapping[str, int], words: Mapping[str, int]) -> None:
        """Adds other counts to these."""
        self.characters.update(characters)
        self.words.update(words)


def count_tokens(text: str) -> TokenCounts:
    """Counts the basic tokens of a text; several documents may be joined by line feeds."""
    text = settle_final_sigma(text)
    codes = encode_codes(text)
    kinds = _look_up_kinds(codes)
    counts = TokenCounts.empty()
    by_code = np.bincount(codes[kinds == Kind.SINGLE])
    for code in np.flatnonzero(by_code).tolist():
        counts.characters[classify(code)[1]] += int(by_code[code])
    _, stretches = find_stretches(text, (kinds == Kind.LETTER) | (kinds == Kind.DROP))
    for stretch, count in Counter(stretches).items():
        word = fold_letters(stretch)
        if word is None:
            _count_intricate(stretch, count, counts)
        else:
            counts.words[word] += count
    return counts


def _count_intricate(stretch: str, count: int, counts: TokenCounts) -> None:
    basic = split_basic_tokens(stretch)
    for word in basic.words():
        counts.words[word] += count


# Filled as code points turn up; 0 is none of Kind.
_kinds = np.zeros(0x110000, np.uint8)


def _look_up_kinds(codes: CodeArray) -> npt.NDArray[np.uint8]:
    kinds = _kinds[codes]
    unseen = kinds == 0
    if unseen.any():
        for code in np.unique(codes[unseen]).tolist():
            _kinds[code] = classify(code)[0]
        kinds = _kinds[codes]
    return kinds
