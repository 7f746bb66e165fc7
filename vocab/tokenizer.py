"""Text -> ids over whole arrays: BERT's uncased WordPiece tokenizer.

The ids of a text are those of the whole text; words only say where mask units may begin.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab.basic_tokens import BoolArray, IntArray, split_basic_tokens
from vocab.special_tokens import CONTINUATION, UNK_ID

MAX_WORD_CHARS = 200
"""Longer words become [UNK] (bert4keras 0.9.9, `Tokenizer`, `word_maxlen`)."""

_OFFSET_BITS = 32  # a piece is stored as offset in its word << 32 | id
_MAX_KNOWN_WORDS = 1_000_000  # about 200 MB


class Tokens(NamedTuple):
    """The tokens of one text.

    Attributes:
      ids: shape [T].
      positions: index of the character of the text at which each token begins, shape [T].
      word_starts: True where a token begins a word, never inside a run of pieces, shape [T].
    """

    ids: npt.NDArray[np.int32]
    positions: IntArray
    word_starts: BoolArray


class Tokenizer:
    """Turns text into the ids of a vocabulary.

    Equal to bert4keras 0.9.9's `Tokenizer(vocab, do_lower_case=True)` without [CLS] and [SEP].
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """Prepares the look-ups.

        Args:
          tokens: the entries of vocab.txt in order, as `vocab_file.parse_vocab` returns them.
        """
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        self._single_ids = np.full(0x110000, UNK_ID, np.int32)
        for token, token_id in self._ids.items():
            if len(token) == 1:
                self._single_ids[ord(token)] = token_id
        self._longest = max(map(len, self._ids), default=0)
        self._pieces: dict[str, tuple[int, ...]] = {}

    @property
    def size(self) -> int:
        """Entries of the vocabulary."""
        return len(self._ids)

    @property
    def recipe(self) -> dict[str, Any]:
        """How text becomes ids, for dataset_info.json."""
        return {
            "kind": "BERT WordPiece",
            "do_lower_case": True,
            "strip_accents": True,
            "max_word_chars": MAX_WORD_CHARS,
        }

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without [CLS] and [SEP]."""
        return self.tokenize(text, np.array([len(text)])).ids.tolist()

    def tokenize(self, text: str, word_lengths: npt.NDArray[np.integer]) -> Tokens:
        """Tokenizes a text that a segmenter has cut into words.

        Args:
          text: any string; several documents may be joined by line feeds.
          word_lengths: characters of each word of the text, shape [W]; their sum is the text's.

        Returns:
          The tokens. A token begins a word where the words of it and of the token before differ,
          unless it is a piece that continues (`##`).
        """
        basic = split_basic_tokens(text)
        pieces = self._look_up_pieces(basic.words())
        counts = np.ones(len(basic.starts), np.int64)
        counts[basic.is_word] = np.fromiter(map(len, pieces), np.int64, len(pieces))
        elements = np.repeat(basic.starts, counts)
        from_word = np.repeat(basic.is_word, counts)
        ids = self._single_ids[basic.codes[elements]]
        flat = np.fromiter(chain.from_iterable(pieces), np.int64)
        offsets = np.zeros(len(ids), np.int64)
        ids[from_word] = flat & (1 << _OFFSET_BITS) - 1
        offsets[from_word] = flat >> _OFFSET_BITS
        positions = basic.positions[elements + offsets]
        begins_word = np.zeros(len(text) + 1, np.int32)
        begins_word[np.cumsum(word_lengths)] = 1
        word_numbers = np.cumsum(begins_word, dtype=np.int32)[positions]
        word_starts = offsets == 0
        word_starts[1:] &= word_numbers[1:] != word_numbers[:-1]
        return Tokens(ids, positions, word_starts)

    def _look_up_pieces(self, words: list[str]) -> list[tuple[int, ...]]:
        known = self._pieces
        if len(known) > _MAX_KNOWN_WORDS:
            known.clear()
        for word in set(words).difference(known):
            known[word] = self._split_word(word)
        return [known[word] for word in words]

    def _split_word(self, word: str) -> tuple[int, ...]:
        """Cuts one word into pieces, longest first; a word that cannot be cut is one [UNK]."""
        if len(word) > MAX_WORD_CHARS:
            return (UNK_ID,)
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = CONTINUATION if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                token_id = self._ids.get(prefix + word[start:end])
                if token_id is not None:
                    pieces.append(start << _OFFSET_BITS | token_id)
                    start = end
                    break
            else:
                return (UNK_ID,)
        return tuple(pieces)
