"""Text -> how often each basic token occurs; counts of several texts are merged by adding."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import zstandard

from vocab.basic_tokens import split_basic_tokens


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
    basic = split_basic_tokens(text)
    codes, counts = np.unique(basic.codes[basic.starts[~basic.is_word]], return_counts=True)
    characters = dict(zip(map(chr, codes.tolist()), counts.tolist(), strict=True))
    return TokenCounts(Counter(characters), Counter(basic.words()))
