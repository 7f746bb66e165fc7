"""Text -> ids over whole arrays, and back: BERT's WordPiece tokenizer.

The ids of a text are those of the whole text; words only say where mask units may begin.

A single CJK character or punctuation mark is one gather from a table of code points. The stretches
between them, Latin words, numbers and kana, are looked up whole among the stretches seen before.
"""

import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab import basic_tokens
from vocab.basic_tokens import BoolArray, CodeArray, IntArray, Kind
from vocab.special_tokens import (
    CLS_ID,
    CONTINUATION,
    FIRST_ORDINARY_ID,
    PAD_ID,
    SEP_ID,
    UNK_ID,
)

MAX_WORD_CHARS = 200
"""Longer words become [UNK] (bert4keras 0.9.9, `Tokenizer`, `word_maxlen`)."""

_MAX_KNOWN_STRETCHES = 200_000  # about 40 MB; most are seen once, and frequent ones come again

IdArray = npt.NDArray[np.int32]

# What the table of code points says, beside ids.
_SPACE: Final = -1
_LETTER: Final = -2
_INTRICATE: Final = -3  # dropped, or folded to several code points or to a special order
_UNSEEN: Final = -4

# A piece of a stretch is one number: place in the stretch, whether it continues a word, id.
_PLACE_SHIFT: Final = 33
_CONTINUES: Final = 1 << 32
_ID_MASK: Final = _CONTINUES - 1
_SHORT: Final = [2, 1]

_UNWRITTEN: Final = (PAD_ID, CLS_ID, SEP_ID)
_STOPS: Final = frozenset(",;!?")


class Fates(NamedTuple):
    """What became of the characters of a text, by number.

    Attributes:
      in_tokens: under the span of a token; the other two are the rest.
      white_space: between tokens.
      dropped: by the tokenizer: accents that stand alone, control and format characters.
      unknown: of `in_tokens`, under [UNK].
    """

    in_tokens: int
    white_space: int
    dropped: int
    unknown: int


class Tokens(NamedTuple):
    """The tokens of one text.

    Attributes:
      ids: shape [T].
      positions: index of the character of the text at which each token begins, ascending (a mark
        that canonical order puts before the character it follows shares its place), shape [T].
      word_starts: True where a token begins a word, never inside a run of pieces, shape [T].
      fates: what became of the text's characters.
    """

    ids: IdArray
    positions: IntArray
    word_starts: BoolArray
    fates: Fates


class _Extra(NamedTuple):
    """Tokens that begin inside a character at which another begins; fields as in Tokens."""

    ids: IdArray
    positions: IntArray


class Tokenizer:
    """Turns text into the ids of a vocabulary.

    Equal to bert4keras 0.9.9's `Tokenizer(vocab, do_lower_case=not cased)` without [CLS] and [SEP].

    Attributes:
      cased: whether case and accents are kept.
    """

    def __init__(self, tokens: Sequence[str], cased: bool = False) -> None:
        """Prepares the look-ups.

        Args:
          tokens: the entries of vocab.txt in order, as `vocab_file.parse_vocab` returns them.
          cased: keeps case and accents, as BERT's cased models do.
        """
        self.cased = cased
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        self._first_pieces = _Pieces.of(self._ids)
        self._next_pieces = _Pieces.of(
            {
                token.removeprefix(CONTINUATION): token_id
                for token, token_id in self._ids.items()
                if token.startswith(CONTINUATION)
            }
        )
        self._by_code = np.full(0x110000, _UNSEEN, np.int32)
        self._stretches = _Stretches(self._split_stretch)

    @cached_property
    def _spelling(self) -> "_Spelling":
        return _Spelling(list(self._ids))

    @property
    def size(self) -> int:
        """Entries of the vocabulary."""
        return len(self._ids)

    @property
    def recipe(self) -> dict[str, Any]:
        """How text becomes ids, for dataset_info.json."""
        return {
            "kind": "BERT WordPiece",
            "do_lower_case": not self.cased,
            "strip_accents": not self.cased,
            "max_word_chars": MAX_WORD_CHARS,
        }

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without [CLS] and [SEP]."""
        return self.tokenize(text, np.array([len(text)])).ids.tolist()

    def encode_with_offsets(self, text: str) -> tuple[list[int], IntArray]:
        """Returns the ids of a text and where each token stands in it.

        Returns:
          The ids as `encode` gives them; and of each token its first character and the one behind
          its last, shape [T, 2], so that `text[start:end]` is what became the token. A token
          reaches to the next one or to white space: accents and invisible characters that are
          dropped belong to the token they follow; behind white space, to none. The parts of a
          Hangul syllable all have the place of the syllable in which they begin.
        """
        tokens = self.tokenize(text, np.array([len(text)]))
        starts = tokens.positions
        spaces = np.flatnonzero(self._look_up_chars(basic_tokens.encode_codes(text)) == _SPACE)
        stops = np.sort(np.concatenate((starts, spaces, [len(text)])))
        ends = stops[np.searchsorted(stops, starts, side="right")]
        return tokens.ids.tolist(), np.stack((starts, ends), axis=1)

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """Turns ids back into text.

        A blank goes between two words, and behind `,`, `;`, `!` and `?` before a Latin letter;
        none around Chinese characters and other punctuation. So what `encode` gives, [UNK] aside,
        it gives again for the text of it. [PAD], [CLS] and [SEP] are left out; other special
        tokens stand as they are named, with a blank before and behind them where a word is.

        Args:
          ids: shape [T].

        Raises:
          ValueError: one is no id of the vocabulary; names it.
        """
        text = self._spelling.join(np.asarray(ids, np.int64))
        # Puts Hangul syllables together again.
        return text if self.cased else unicodedata.normalize("NFC", text)

    def tokenize(self, text: str, word_lengths: npt.NDArray[np.integer]) -> Tokens:
        """Tokenizes a text that a segmenter has cut into words.

        Args:
          text: any string; several documents may be joined by line feeds.
          word_lengths: characters of each word of the text, shape [W]; their sum is the text's.

        Returns:
          The tokens. A token begins a word where the words of it and of the token before differ,
          unless it is a piece that continues (`##`).
        """
        if not self.cased and basic_tokens.CAPITAL_SIGMA in text:
            text = basic_tokens.settle_final_sigma(text)
        ids_of_chars = self._look_up_chars(basic_tokens.encode_codes(text))
        is_space = ids_of_chars == _SPACE
        starts, stretches = basic_tokens.find_stretches(text, ids_of_chars <= _LETTER)
        dropped = self._find_dropped(ids_of_chars == _INTRICATE, starts, stretches)
        extra, continuing = self._place_stretches(starts, stretches, ids_of_chars)
        is_token = ids_of_chars >= 0
        positions = np.flatnonzero(is_token)
        ids = ids_of_chars[is_token]
        word_starts = _find_word_starts(word_lengths, is_token, positions, continuing)
        fates = _count_fates(ids, positions, is_space, dropped)
        return _insert_tokens(Tokens(ids, positions, word_starts, fates), extra)

    def _look_up_chars(self, codes: CodeArray) -> IdArray:
        """Returns the id of each character that is a token, else what it is, shape [C]."""
        found = self._by_code[codes]
        unseen = found == _UNSEEN
        if unseen.any():
            for code in np.unique(codes[unseen]).tolist():
                self._by_code[code] = self._classify(code)
            found = self._by_code[codes]
        return found

    def _classify(self, code: int) -> int:
        kind, folded = basic_tokens.classify(code, self.cased)
        if kind == Kind.SINGLE:
            return self._ids.get(folded, UNK_ID)
        return {Kind.SPACE: _SPACE, Kind.LETTER: _LETTER, Kind.DROP: _INTRICATE}[kind]

    def _find_dropped(
        self, is_intricate: BoolArray, starts: IntArray, stretches: Sequence[str]
    ) -> IntArray:
        """Returns where characters stand that leave nothing in any token, ascending.

        What is around a stretch does not matter to its basic tokens.
        """
        dropped = [np.empty(0, np.int64)]
        with_some = np.searchsorted(starts, np.flatnonzero(is_intricate), side="right") - 1
        numbers: list[int] = np.unique(with_some).tolist()
        for number in numbers:
            stretch = stretches[number]
            left = basic_tokens.split_basic_tokens(stretch, self.cased).positions
            dropped.append(starts[number] + np.setdiff1d(np.arange(len(stretch)), left))
        return np.concatenate(dropped)

    def _place_stretches(
        self, starts: IntArray, stretches: list[str], ids_of_chars: IdArray
    ) -> tuple[_Extra, IntArray]:
        """Puts the pieces of all stretches of letters at the characters where they begin.

        Returns:
          Tokens that begin inside a character at which another begins, such as the parts of a
          Hangul syllable; and the positions of pieces that continue a word.
        """
        if len(self._stretches) > _MAX_KNOWN_STRETCHES:
            self._stretches.forget()
        known = np.fromiter(map(self._stretches.__getitem__, stretches), np.int64, len(stretches))
        is_one = known >= 0
        ids_of_chars[starts[is_one]] = known[is_one]
        counts, flat = self._stretches.pieces_of(-1 - known[~is_one])
        positions = np.repeat(starts[~is_one], counts) + (flat >> _PLACE_SHIFT)
        ids = (flat & _ID_MASK).astype(np.int32)
        shares_character = np.zeros(len(flat), np.bool_)
        shares_character[1:] = positions[1:] == positions[:-1]
        ids_of_chars[positions[~shares_character]] = ids[~shares_character]
        extra = _Extra(ids[shares_character], positions[shares_character])
        return extra, positions[((flat & _CONTINUES) != 0) & ~shares_character]

    def _split_stretch(self, stretch: str) -> tuple[int, ...]:
        """Cuts a stretch of letters into pieces, each coded as place, continuation and id."""
        word = basic_tokens.fold_letters(stretch, self.cased)
        if word is not None:
            return self._split_word(word, range(len(word)))
        basic = basic_tokens.split_basic_tokens(stretch, self.cased)
        folded = basic_tokens.decode_codes(basic.codes)
        # Marks in canonical order may come before characters that stand before them.
        places = np.maximum.accumulate(basic.positions).tolist()
        pieces: list[int] = []
        for start, end in zip(basic.starts.tolist(), basic.ends.tolist(), strict=True):
            pieces += self._split_word(folded[start:end], places[start:end])
        return tuple(pieces)

    def _split_word(self, word: str, places: Sequence[int]) -> tuple[int, ...]:
        """Cuts one word into pieces, longest first; a word that cannot be cut is one [UNK]."""
        unknown = (places[0] << _PLACE_SHIFT | UNK_ID,)
        if len(word) > MAX_WORD_CHARS:
            return unknown
        pieces: list[int] = []
        start, (ids, lengths), continues = 0, self._first_pieces, 0
        while start < len(word):
            for length in lengths.get(word[start : start + 3], _SHORT):
                # At the end of the word this may be shorter: then it is all that is left.
                piece = word[start : start + length]
                token_id = ids.get(piece)
                if token_id is not None:
                    pieces.append(places[start] << _PLACE_SHIFT | continues | token_id)
                    start += len(piece)
                    break
            else:
                return unknown
            (ids, lengths), continues = self._next_pieces, _CONTINUES
        return tuple(pieces)


class _Pieces(NamedTuple):
    """Word pieces that may stand at one kind of place.

    Attributes:
      ids: by their text.
      lengths: by their first three characters, longest first, and at last 2 and 1.
    """

    ids: dict[str, int]
    lengths: dict[str, list[int]]

    @classmethod
    def of(cls, ids: dict[str, int]) -> "_Pieces":
        """Sorts pieces by how they begin."""
        lengths: defaultdict[str, set[int]] = defaultdict(lambda: set(_SHORT))
        for piece in ids:
            lengths[piece[:3]].add(len(piece))
        return cls(ids, {head: sorted(found, reverse=True) for head, found in lengths.items()})


class _Spelling:
    """How the tokens of a vocabulary are written beside each other."""

    def __init__(self, tokens: Sequence[str]) -> None:
        texts = [token.removeprefix(CONTINUATION) or token for token in tokens]
        kinds = np.array([basic_tokens.kind_of(text[0]) for text in texts])
        self._texts = [*texts, *(" " + text for text in texts)]
        self._is_special = np.arange(len(tokens)) < FIRST_ORDINARY_ID
        self._is_single = (kinds == Kind.SINGLE) & ~self._is_special
        self._continues = np.array([token.startswith(CONTINUATION) for token in tokens])
        self._is_stop = np.array([text in _STOPS for text in texts])
        self._is_latin = np.array([text[0].isascii() and text[0].isalpha() for text in texts])

    def join(self, ids: IntArray) -> str:
        """Writes tokens one behind the other, blanks where they belong."""
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


class _Stretches(dict[str, int]):
    """Stretches of letters seen before: the id of one that is one token, else -1 - number."""

    def __init__(self, split: Callable[[str], Sequence[int]]) -> None:
        super().__init__()
        self._split = split
        # Of stretch n, from place begins[n] to place begins[n + 1]: arrays, as tuples take ten
        # times the memory.
        self._pieces = array("q")
        self._begins = array("q", [0])

    def __missing__(self, stretch: str) -> int:
        pieces = self._split(stretch)
        if len(pieces) == 1 and pieces[0] <= _ID_MASK:
            value = pieces[0]
        else:
            self._pieces.extend(pieces)
            self._begins.append(len(self._pieces))
            value = 1 - len(self._begins)
        self[stretch] = value
        return value

    def pieces_of(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Returns how many pieces each of some stretches has, shape [S], and all pieces."""
        begins = np.frombuffer(self._begins, np.int64)
        firsts = begins[numbers]
        counts = begins[numbers + 1] - firsts
        before = np.cumsum(counts) - counts
        places = np.repeat(firsts - before, counts) + np.arange(counts.sum())
        return counts, np.frombuffer(self._pieces, np.int64)[places]

    def forget(self) -> None:
        """Starts over."""
        self.clear()
        self._pieces = array("q")
        self._begins = array("q", [0])


def _find_word_starts(
    word_lengths: npt.NDArray[np.integer],
    is_token: BoolArray,
    positions: IntArray,
    continuing: IntArray,
) -> BoolArray:
    """Finds the tokens between which and the one before them a word begins, shape [T]."""
    begins = np.zeros(len(is_token) + 1, np.bool_)
    begins[np.cumsum(word_lengths, dtype=np.int64)] = True
    # A word that begins at a character without token, such as a space, is the next token's.
    behind = np.flatnonzero(begins[:-1] & ~is_token) + 1
    begins[behind] = True
    further = behind[~np.append(is_token, True)[behind]]
    if len(further):
        next_tokens = np.searchsorted(positions, further)
        begins[positions[next_tokens[next_tokens < len(positions)]]] = True
    begins[continuing] = False
    word_starts = begins[:-1][is_token]
    word_starts[:1] = True
    return word_starts


def _count_fates(
    ids: IdArray, positions: IntArray, is_space: BoolArray, dropped: IntArray
) -> Fates:
    """Counts characters by what became of them.

    A token spans the characters from its own to before the next token's, without white space and
    dropped ones.
    """
    white_space = int(np.count_nonzero(is_space))
    under_unknown = 0
    unknown = np.flatnonzero(ids == UNK_ID)
    if len(unknown):
        # One more, as `reduceat` needs places before the end.
        is_covered = np.append(~is_space, False)
        is_covered[dropped] = False
        spans = np.append(positions, len(is_space))[np.stack([unknown, unknown + 1], axis=1)]
        covered = np.add.reduceat(is_covered.view(np.uint8), spans.ravel(), dtype=np.int64)
        under_unknown = int(covered[::2].sum())
    in_tokens = len(is_space) - white_space - len(dropped)
    return Fates(in_tokens, white_space, len(dropped), under_unknown)


def _insert_tokens(tokens: Tokens, extra: _Extra) -> Tokens:
    """Puts further tokens, which begin no word, behind those that begin at the same character."""
    if not len(extra.ids):
        return tokens
    places = np.searchsorted(tokens.positions, extra.positions, side="right")
    return tokens._replace(
        ids=np.insert(tokens.ids, places, extra.ids),
        positions=np.insert(tokens.positions, places, extra.positions),
        word_starts=np.insert(tokens.word_starts, places, False),
    )
