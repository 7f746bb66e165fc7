"""Ids -> text: how the tokens of a vocabulary are written beside each other."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from vocab import basic_tokens
from vocab.basic_tokens import IntArray, Kind
from vocab.special_tokens import CLS_ID, CONTINUATION, FIRST_ORDINARY_ID, PAD_ID, SEP_ID

_UNWRITTEN: Final = (PAD_ID, CLS_ID, SEP_ID)
_STOPS: Final = frozenset(",;!?")


class Spelling:
    """Writes the tokens of a vocabulary."""

    def __init__(self, tokens: Sequence[str]) -> None:
        """Notes what stands where.

        Args:
          tokens: the entries of the vocabulary in order.
        """
        texts = [token.removeprefix(CONTINUATION) or token for token in tokens]
        kinds = np.array([basic_tokens.kind_of(text[0]) for text in texts])
        self._texts = [*texts, *(" " + text for text in texts)]
        self._is_special = np.arange(len(tokens)) < FIRST_ORDINARY_ID
        self._is_single = (kinds == Kind.SINGLE) & ~self._is_special
        self._continues = np.array([token.startswith(CONTINUATION) for token in tokens])
        self._is_stop = np.array([text in _STOPS for text in texts])
        self._is_latin = np.array([text[0].isascii() and text[0].isalpha() for text in texts])

    def join(self, ids: IntArray) -> str:
        """Writes tokens one behind the other, blanks where they belong.

        Args:
          ids: shape [T].

        Raises:
          ValueError: one is no id of the vocabulary; names it.
        """
        size = len(self._is_special)
        if len(outside := ids[(ids < 0) | (ids >= size)]):
            raise ValueError(f"{outside[0]} is no id of this vocabulary of {size} entries")
        ids = ids[~np.isin(ids, _UNWRITTEN)]
        left, right = ids[:-1], ids[1:]
        between_words = ~(self._is_single[left] | self._is_single[right])
        between_words &= ~(self._is_special[left] & self._is_special[right])
        behind_stop = self._is_stop[left] & self._is_latin[right]
        places = ids.copy()
        places[1:][(between_words | behind_stop) & ~self._continues[right]] += size
        return "".join(map(self._texts.__getitem__, places.tolist()))
