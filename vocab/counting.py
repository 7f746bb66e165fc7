"""Documents -> how often what could be in a vocabulary occurs; counts are merged by adding."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

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
from vocab.special_tokens import CONTINUATION
from vocab.words import MAX_WORD_CHARS

_CODE_BITS: Final = 21


class TokenCounts(NamedTuple):
    """How often what could be in a vocabulary occurs.

    The first two have at most some entries for each character of Unicode; only `words` grows with
    the corpus.

    Attributes:
      characters: single CJK characters and punctuation marks; and the letters of words that are
        not plain ASCII, such as kana, symbols, Greek, behind `##` where they continue a word.
      documents: in how many documents each of them occurs.
      words: words of ASCII letters and digits, at most MAX_WORD_CHARS long.
    """

    characters: Counter[str]
    documents: Counter[str]
    words: Counter[str]

    @classmethod
    def empty(cls) -> "TokenCounts":
        """Returns counts of nothing."""
        return cls(Counter(), Counter(), Counter())

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

    def add(
        self, characters: Mapping[str, int], documents: Mapping[str, int], words: Mapping[str, int]
    ) -> None:
        """Adds other counts, of other documents, to these."""
        self.characters.update(characters)
        self.documents.update(documents)
        self.words.update(words)


def count_tokens(documents: Sequence[str], cased: bool = False) -> TokenCounts:
    """Counts the characters and words of some documents, as `Tokenizer(cased=cased)` cuts them."""
    text = "\n".join(documents)
    if not cased:
        text = settle_final_sigma(text)
    lengths = np.array([len(document) + 1 for document in documents], np.int64)
    owners = np.repeat(np.arange(len(documents)), lengths)[: len(text)]
    codes = encode_codes(text)
    kinds, folded = _tables[cased].look_up(codes)
    counts = TokenCounts.empty()
    is_single = kinds == Kind.SINGLE
    _count_singles(folded[is_single], owners[is_single], counts)
    starts, stretches = find_stretches(codes, (kinds == Kind.LETTER) | (kinds == Kind.DROP))
    _count_stretches(stretches, owners[starts].tolist(), cased, counts)
    return counts


def _count_singles(codes: CodeArray, owners: npt.NDArray[np.int64], counts: TokenCounts) -> None:
    in_documents = np.unique(owners << _CODE_BITS | codes) & (1 << _CODE_BITS) - 1
    for counter, of_codes in ((counts.characters, codes), (counts.documents, in_documents)):
        by_code = np.bincount(of_codes)
        for code in np.flatnonzero(by_code).tolist():
            counter[chr(code)] = int(by_code[code])


def _count_stretches(
    stretches: list[str], owners: list[int], cased: bool, counts: TokenCounts
) -> None:
    others: dict[str, list[str]] = {}
    for stretch, count in Counter(stretches).items():
        letters: list[str] = []
        for word in _split_stretch(stretch, cased):
            if not word.isascii():
                letters += _list_letters(word)
            elif len(word) <= MAX_WORD_CHARS:
                counts.words[word] += count
        if letters:
            others[stretch] = letters
    found = [(owner, others[s]) for owner, s in zip(owners, stretches, strict=True) if s in others]
    counts.characters.update(chain.from_iterable(letters for _, letters in found))
    in_documents = {(owner, letter) for owner, letters in found for letter in letters}
    counts.documents.update(letter for _, letter in in_documents)


def _split_stretch(stretch: str, cased: bool) -> list[str]:
    word = fold_letters(stretch, cased)
    return split_basic_tokens(stretch, cased).words() if word is None else [word]


def _list_letters(word: str) -> list[str]:
    """Returns the letters of a word as entries of a vocabulary, without ASCII, always there."""
    continuing = [CONTINUATION + letter for letter in word[1:] if not letter.isascii()]
    return continuing if word[0].isascii() else [word[0], *continuing]


class _Table:
    """What `classify` says of each code point; filled as they turn up."""

    def __init__(self, cased: bool) -> None:
        self._cased = cased
        self._kinds = np.zeros(0x110000, np.uint8)  # 0 is none of Kind
        self._folded = np.zeros(0x110000, np.uint32)

    def look_up(self, codes: CodeArray) -> tuple[npt.NDArray[np.uint8], CodeArray]:
        """Returns kinds and folded code points, 0 for what becomes none or several."""
        unseen = codes[self._kinds[codes] == 0]
        for code in np.unique(unseen).tolist():
            kind, folded = classify(code, self._cased)
            self._kinds[code] = kind
            self._folded[code] = ord(folded or "\0")
        return self._kinds[codes], self._folded[codes]


_tables = {cased: _Table(cased) for cased in (False, True)}
