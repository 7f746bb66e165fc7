"""Stretches of letters -> word pieces, longest first; a stretch seen before is looked up.

New stretches are cut together, by one regular expression that holds the pieces as a tree of their
letters; one by one, in Python, that took five times as long.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count, islice, repeat
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab import basic_tokens
from vocab.basic_tokens import BoolArray, IntArray, Kind
from vocab.special_tokens import CONTINUATION, UNK_ID

MAX_WORD_CHARS = 200
"""Longer words become [UNK] (bert4keras 0.9.9, `Tokenizer`, `word_maxlen`)."""

_MAX_KNOWN_STRETCHES = 200_000  # about 40 MB; most are seen once, and frequent ones come again

_WORD = "\n"  # stands before each word, and in none

# A piece of a stretch is one number: place in the stretch, whether it continues a word, id.
_PLACE_SHIFT: Final = 33
_CONTINUES: Final = 1 << 32
_ID_MASK: Final = _CONTINUES - 1

IdArray = npt.NDArray[np.int32]


class Pieces(NamedTuple):
    """The pieces of some stretches, in order.

    Attributes:
      counts: pieces of each stretch, shape [S].
      ids: shape [P].
      places: index of the character of its stretch at which each begins, shape [P].
      continues: True for a piece that continues a word, shape [P].
    """

    counts: IntArray
    ids: IdArray
    places: IntArray
    continues: BoolArray


class PieceTable:
    """Cuts stretches of letters into the pieces of a vocabulary, and remembers them."""

    def __init__(self, ids: Mapping[str, int], cased: bool) -> None:
        """Prepares the look-ups.

        Args:
          ids: of the entries of the vocabulary.
          cased: whether case and accents are kept.
        """
        self._ids = ids
        self._cased = cased
        self._forget()

    @cached_property
    def _cutter(self) -> "_WordCutter":
        return _WordCutter(self._ids)

    def _forget(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        # Of stretch n, from place begins[n] to place begins[n + 1]: arrays, as tuples take ten
        # times the memory.
        self._pieces = array("q")
        self._begins = array("q", [0])

    def look_up(self, stretches: Sequence[str]) -> Pieces:
        """Returns the pieces of stretches."""
        if len(self._numbers) > _MAX_KNOWN_STRETCHES:
            self._forget()
        known = len(self._numbers)
        numbers = np.fromiter(map(self._numbers.__getitem__, stretches), np.int64, len(stretches))
        if new := len(self._numbers) - known:
            self._add([*islice(reversed(self._numbers), new)][::-1])
        begins = np.frombuffer(self._begins, np.int64)
        firsts = begins[numbers]
        counts = begins[numbers + 1] - firsts
        flat = np.frombuffer(self._pieces, np.int64)[basic_tokens.list_runs(firsts, counts)]
        ids = (flat & _ID_MASK).astype(np.int32)
        return Pieces(counts, ids, flat >> _PLACE_SHIFT, (flat & _CONTINUES) != 0)

    def _add(self, stretches: Iterable[str]) -> None:
        words: list[str] = []
        ends: list[int] = []
        intricate: dict[int, IntArray] = {}
        for stretch in stretches:
            word = basic_tokens.fold_letters(stretch, self._cased)
            if word is None:
                for basic, positions in self._split(stretch):
                    intricate[len(words)] = positions
                    words.append(basic)
            else:
                words.append(word)
            ends.append(len(words))
        counts, pieces = self._cutter.cut(words)
        piece_ends = np.cumsum(np.append(0, counts))
        for number, positions in intricate.items():
            own = pieces[piece_ends[number] : piece_ends[number + 1]]
            own += positions[own >> _PLACE_SHIFT] - (own >> _PLACE_SHIFT) << _PLACE_SHIFT
        begins = piece_ends[ends] + len(self._pieces)
        self._pieces.frombytes(pieces.tobytes())
        self._begins.frombytes(begins.tobytes())

    def _split(self, stretch: str) -> Iterator[tuple[str, IntArray]]:
        """Yields the basic tokens of a stretch, and where each character of them comes from."""
        basic = basic_tokens.split_basic_tokens(stretch, self._cased)
        folded = basic_tokens.decode_codes(basic.codes)
        # Marks in canonical order may come before characters that stand before them.
        positions = np.maximum.accumulate(basic.positions)
        for start, end in zip(basic.starts.tolist(), basic.ends.tolist(), strict=True):
            yield folded[start:end], positions[start:end]


class _WordCutter:
    """Cuts many words at once."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        letters = {char for char in set("".join(ids)) if basic_tokens.kind_of(char) == Kind.LETTER}
        firsts: list[str] = []
        others: list[str] = []
        self._ids: dict[str, int] = {}
        self._lengths = np.ones(max([UNK_ID, *ids.values()]) + 1, np.int64)
        for token, token_id in ids.items():
            stem = token.removeprefix(CONTINUATION) or token
            # All others can stand in no word; single signs are basic tokens of their own.
            if len(stem) == 1 or (len(stem) <= MAX_WORD_CHARS and letters.issuperset(stem)):
                begins = stem == token
                (firsts if begins else others).append(stem)
                found = _WORD + stem if begins else stem
                self._ids[found] = token_id
                self._lengths[token_id] = len(found)
        first, other = _match_longest(firsts), _match_longest(others)
        # What no piece matches is taken one by one.
        self._pattern = re.compile(f"{_WORD}{first}|{other}|[^{_WORD}]|{_WORD}")

    def cut(self, words: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Cuts words into pieces, longest first; a word that cannot be cut is one [UNK].

        Args:
          words: W of them, none empty.

        Returns:
          How many pieces each word has, shape [W], and all pieces, coded, shape [P].
        """
        text = "".join(map(_WORD.__add__, words))
        found = self._pattern.findall(text)
        ids = np.fromiter(map(self._ids.get, found, repeat(UNK_ID)), np.int64, len(found))
        lengths = self._lengths[ids]
        begins = np.cumsum(lengths) - lengths
        is_first = basic_tokens.encode_codes(text)[begins] == ord(_WORD)
        word = np.cumsum(is_first) - 1
        word_begins = begins[is_first]
        is_unknown = np.diff(word_begins, append=len(text)) > MAX_WORD_CHARS + len(_WORD)
        is_unknown[word[ids == UNK_ID]] = True
        ids[is_unknown[word]] = UNK_ID
        places = np.where(is_first, 0, begins - word_begins[word] - len(_WORD))
        pieces = places << _PLACE_SHIFT | np.where(is_first, 0, _CONTINUES) | ids
        kept = is_first | (ids != UNK_ID)
        return np.bincount(word[kept], minlength=len(words)), pieces[kept]


def _match_longest(words: Iterable[str]) -> str:
    """Returns a regular expression that matches the longest of some different words."""
    by_first: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        by_first[word[:1]].append(word[1:])
    # Where a word ends, nothing more is the last choice.
    ends = by_first.pop("", None) is not None
    letters = [re.escape(char) for char, rests in by_first.items() if rests == [""]]
    choices = [
        re.escape(char) + _match_longest(rests) for char, rests in by_first.items() if rests != [""]
    ]
    if letters:
        choices.append(f"[{''.join(letters)}]")
    if ends:
        choices.append("")
    return f"(?:{'|'.join(choices)})" if choices else "(?!)"
