"""Code points -> the ids of a vocabulary, words cut into pieces, longest first; it is compiled."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab import basic_tokens
from vocab.basic_tokens import BoolArray, CodeArray, IntArray, Kind
from vocab.compiled import load_compiled
from vocab.special_tokens import CONTINUATION, UNK_ID

MAX_WORD_CHARS = 200
"""Longer words become [UNK] (bert4keras 0.9.9, `Tokenizer`, `word_maxlen`)."""

SPACE: Final = -1
DROP: Final = -2
_FIRST_LETTER: Final = -8
"""What a code point is that is no token of its own: lower numbers are letters of the pieces."""

_FIRST_NODE, _OTHER_NODE = 0, 1
_NO_ID: Final = -1

IdArray = npt.NDArray[np.int32]
KindArray = npt.NDArray[np.int32]


class CodeTokens(NamedTuple):
    """The tokens of some code points.

    Attributes:
      ids: shape [T].
      positions: index of the character at which each token begins, not descending, shape [T].
      word_starts: True where a token begins a word, never inside a run of pieces, shape [T].
      white_space: number of codes that are white space.
      dropped: number of codes that are dropped.
      unknown: number of characters under [UNK].
    """

    ids: IdArray
    positions: IntArray
    word_starts: BoolArray
    white_space: int
    dropped: int
    unknown: int


class UnknownKindError(ValueError):
    """A code point is of a kind that is none.

    Attributes:
      kind: what the table says of it.
    """

    def __init__(self, kind: int) -> None:
        super().__init__(f"a code point is of kind {kind}")
        self.kind = kind


class PieceTree:
    """The words and pieces of a vocabulary as a tree of their letters."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        """Builds the tree.

        Args:
          ids: of the entries of the vocabulary.
        """
        letters = sorted(set("".join(ids)))
        is_letter = [basic_tokens.kind_of(letter) == Kind.LETTER for letter in letters]
        # 0 is any letter that is in no piece.
        self._numbers = {
            letter: number
            for number, (letter, is_one) in enumerate(zip(letters, is_letter, strict=True), 1)
            if is_one
        }
        edges: dict[tuple[int, int], int] = {}
        ids_of_nodes = [_NO_ID, _NO_ID]
        for token, token_id in ids.items():
            stem = token.removeprefix(CONTINUATION) or token
            if not self._numbers.keys() >= set(stem):
                continue  # it can stand in no word
            node = _FIRST_NODE if stem == token else _OTHER_NODE
            for letter in stem:
                edge = node, self._numbers[letter]
                if edge not in edges:
                    edges[edge] = len(ids_of_nodes)
                    ids_of_nodes.append(_NO_ID)
                node = edges[edge]
            ids_of_nodes[node] = token_id
        self._ids = np.array(ids_of_nodes, np.int32)
        slots = 1 << (2 * len(edges)).bit_length()
        self._keys, self._children = np.zeros(slots, np.uint64), np.empty(slots, np.int32)
        nodes = np.array([*edges], np.int64).reshape(-1, 2)
        _library.add_edges(
            *(np.ascontiguousarray(nodes[:, 0]), np.ascontiguousarray(nodes[:, 1])),
            *(np.array([*edges.values()], np.int32), len(edges)),
            *(self._keys, self._children, slots - 1),
        )

    def kind_of_letter(self, letter: str) -> int:
        """Returns what a folded letter is in a table of kinds."""
        return _FIRST_LETTER - self._numbers.get(letter, 0)

    def tokenize(
        self,
        codes: CodeArray,
        kinds: KindArray,
        positions: IntArray,
        word_lengths: npt.NDArray[np.integer],
    ) -> CodeTokens:
        """Turns code points into tokens, words of letters into their longest pieces.

        A word that cannot be cut into pieces, or has more than MAX_WORD_CHARS letters, is one
        [UNK]. A token begins a word where the words of it and of the token before differ, unless
        it is a piece that continues.

        Args:
          codes: shape [C].
          kinds: of each code point of Unicode: the id of a token, SPACE, DROP or what
            `kind_of_letter` returns; any other number is an error, shape [0x110000].
          positions: index of the character that each of the codes comes from, not descending,
            shape [C].
          word_lengths: characters of each word, that of all in sum, shape [W].

        Raises:
          UnknownKindError: a code is of another kind.
        """
        count = len(codes)
        ids, places = np.empty(count, np.int32), np.empty(count, np.int64)
        word_starts, counts = np.empty(count, np.bool_), np.empty(3, np.int64)
        found = _library.tokenize(
            *(codes, kinds, positions, count),
            *(word_lengths.astype(np.int32, copy=False), len(word_lengths)),
            *(self._keys, self._children, self._ids, len(self._keys) - 1),
            *(UNK_ID, ids, places, word_starts, counts),
        )
        if found < 0:
            raise UnknownKindError(int(kinds[codes[-1 - found]]))
        return CodeTokens(ids[:found], places[:found], word_starts[:found], *counts.tolist())


_library: Final = load_compiled(
    __file__,
    add_edges="int64* int64* int32* int64 uint64* int32* uint64",
    tokenize="uint32* int32* int64* int64 int32* int64 uint64* int32* int32* uint64 int32"
    " int32* int64* bool* int64* -> int64",
)
