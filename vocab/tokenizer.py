"""Text -> ids over whole arrays, and back: BERT's WordPiece tokenizer.

The ids of a text are those of the whole text; words only say where mask units may begin.

A single CJK character or punctuation mark is one gather from a table of code points. The stretches
between them, Latin words, numbers and kana, are looked up whole among the stretches seen before.
"""

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab import basic_tokens
from vocab.basic_tokens import BoolArray, CodeArray, IntArray, Kind
from vocab.pieces import MAX_WORD_CHARS, IdArray, PieceTable
from vocab.special_tokens import UNK_ID
from vocab.spelling import Spelling

# What the table of code points says, beside ids.
_SPACE: Final = -1
_LETTER: Final = -2
_INTRICATE: Final = -3  # dropped, or folded to several code points or to a special order
_UNSEEN: Final = -4


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
        self._pieces = PieceTable(self._ids, cased)
        self._by_code = np.full(0x110000, _UNSEEN, np.int32)

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(list(self._ids))

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
          Hangul syllable all have the place of the syllable in which they begin. A mark that
          canonical order puts behind a later one has that one's place, and its own is in no token:
          Hangul tone marks before musical ones.
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
        codes = basic_tokens.encode_codes(text)
        ids_of_chars = self._look_up_chars(codes)
        is_space = ids_of_chars == _SPACE
        starts, stretches = basic_tokens.find_stretches(codes, ids_of_chars <= _LETTER)
        dropped = self._find_dropped(ids_of_chars == _INTRICATE, starts, stretches)
        extra, continuing = self._place_stretches(starts, stretches, ids_of_chars)
        is_token = ids_of_chars >= 0
        positions = np.flatnonzero(is_token)
        ids = ids_of_chars[positions]
        word_starts = _find_word_starts(word_lengths, is_token, positions, continuing)
        fates = _count_fates(ids, positions, is_space, dropped)
        return _insert_tokens(Tokens(ids, positions, word_starts, fates), extra)

    def _look_up_chars(self, codes: CodeArray) -> IdArray:
        """Returns the id of each character that is a token, else what it is, shape [C]."""
        found = self._by_code[codes]
        unseen = np.flatnonzero(found == _UNSEEN)
        if len(unseen):
            new = codes[unseen]
            for code in np.unique(new).tolist():
                self._by_code[code] = self._classify(code)
            found[unseen] = self._by_code[new]
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
        counts, ids, places, continues = self._pieces.look_up(stretches)
        positions = np.repeat(starts, counts) + places
        shares_character = np.zeros(len(ids), np.bool_)
        shares_character[1:] = positions[1:] == positions[:-1]
        ids_of_chars[positions[~shares_character]] = ids[~shares_character]
        extra = _Extra(ids[shares_character], positions[shares_character])
        return extra, positions[continues & ~shares_character]


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
    word_starts = begins[positions]
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
    unknown = np.flatnonzero(ids == UNK_ID)
    begins = positions[unknown]
    ends = np.append(positions, len(is_space))[unknown + 1]
    spans = basic_tokens.list_runs(begins, ends - begins)
    is_gap = is_space.copy()
    is_gap[dropped] = True
    under_unknown = len(spans) - int(np.count_nonzero(is_gap[spans]))
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
