"""Text -> ids, a whole text at once, and back: BERT's WordPiece tokenizer.

The ids of a text are those of the whole text; words only say where mask units may begin.

What a character is stands in a table by code point, filled as scripts turn up: most of Unicode
never does. A text with a character that folds to several, as Hangul syllables do, is folded first.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab import basic_tokens
from vocab.basic_tokens import BoolArray, CodeArray, IntArray, Kind
from vocab.pieces import (
    DROP,
    MAX_WORD_CHARS,
    SPACE,
    CodeTokens,
    IdArray,
    KindArray,
    PieceTree,
    UnknownKindError,
)
from vocab.special_tokens import UNK_ID
from vocab.spelling import Spelling

# What a table of kinds says beside what pieces.py knows.
_INTRICATE: Final = -3
_UNSEEN: Final = -4

_PAGE: Final = 256
"""Codes that are looked at together: scripts lie in blocks, so the next ones are neighbours."""


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


class Tokenizer:
    """Turns text into the ids of a vocabulary.

    Equal to bert4keras 0.9.9's `Tokenizer(vocab, do_lower_case=not cased)` without [CLS] and [SEP].
    It serves one thread at a time, as its tables are filled on the way.

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
        self._of_characters = self._start_table()
        self._of_folded = self._of_characters.copy()

    @cached_property
    def _tree(self) -> PieceTree:
        return PieceTree(self._ids)

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
        codes = basic_tokens.encode_codes(text)
        _fill(self._of_characters, codes, self._kind_of)
        spaces = np.flatnonzero(self._of_characters[codes] == SPACE)
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

        Raises:
          ValueError: the words together are not as long as the text.
        """
        if word_lengths.sum(dtype=np.int64) != len(text):
            raise ValueError(
                f"a text of {len(text)} characters was cut into words of "
                f"{word_lengths.sum(dtype=np.int64)}"
            )
        if not self.cased and basic_tokens.CAPITAL_SIGMA in text:
            text = basic_tokens.settle_final_sigma(text)
        codes = basic_tokens.encode_codes(text)
        try:
            found = self._tokenize(
                codes, np.arange(len(codes)), word_lengths, self._of_characters, self._kind_of
            )
        except UnknownKindError:  # intricate
            found = self._tokenize_folded(text, word_lengths)
        in_tokens = len(codes) - found.white_space - found.dropped
        fates = Fates(in_tokens, found.white_space, found.dropped, found.unknown)
        return Tokens(found.ids, found.positions, found.word_starts, fates)

    def _tokenize_folded(self, text: str, word_lengths: npt.NDArray[np.integer]) -> CodeTokens:
        codes, positions = basic_tokens.fold_text(text)
        # Marks in canonical order may come before characters that stand before them.
        places = np.maximum.accumulate(positions)
        found = self._tokenize(codes, places, word_lengths, self._of_folded, self._kind_of_folded)
        kinds = self._of_folded[codes]
        is_left, in_tokens = np.zeros(len(text), np.bool_), np.zeros(len(text), np.bool_)
        is_left[positions[kinds != DROP]] = True
        in_tokens[positions[(kinds != DROP) & (kinds != SPACE)]] = True
        return found._replace(
            dropped=len(text) - int(np.count_nonzero(is_left)),
            unknown=_count_unknown(found, in_tokens),
        )

    def _tokenize(
        self,
        codes: CodeArray,
        positions: IntArray,
        word_lengths: npt.NDArray[np.integer],
        kinds: KindArray,
        kind_of: Callable[[int], int],
    ) -> CodeTokens:
        """Tokenizes codes; fills the table of kinds where it says nothing of them."""
        try:
            return self._tree.tokenize(codes, kinds, positions, word_lengths)
        except UnknownKindError as error:
            if error.kind != _UNSEEN:
                raise
        _fill(kinds, codes, kind_of)
        return self._tree.tokenize(codes, kinds, positions, word_lengths)

    def _start_table(self) -> KindArray:
        """Returns a table of kinds that knows the CJK characters, which are never folded."""
        kinds = np.full(0x110000, _UNSEEN, np.int32)
        kinds[basic_tokens.FIRST_CJK : basic_tokens.LAST_CJK + 1] = UNK_ID
        for token, token_id in self._ids.items():
            if len(token) == 1 and basic_tokens.FIRST_CJK <= ord(token) <= basic_tokens.LAST_CJK:
                kinds[ord(token)] = token_id
        return kinds

    def _kind_of(self, code: int) -> int:
        """Returns what a table says of a character."""
        kind, folded = basic_tokens.classify(code, self.cased)
        if kind == Kind.DROP and not self.cased and basic_tokens.is_intricate(code):
            return _INTRICATE
        return self._number_of(kind, folded)

    def _kind_of_folded(self, code: int) -> int:
        """Returns what a table says of a folded character."""
        return self._number_of(basic_tokens.kind_of(chr(code)), chr(code))

    def _number_of(self, kind: Kind, folded: str) -> int:
        if kind == Kind.SINGLE:
            return self._ids.get(folded, UNK_ID)
        if kind == Kind.LETTER:
            return self._tree.kind_of_letter(folded)
        return SPACE if kind == Kind.SPACE else DROP


def _fill(kinds: KindArray, codes: CodeArray, kind_of: Callable[[int], int]) -> None:
    """Fills a table of kinds where it says nothing of some codes: all of their neighbourhood."""
    unseen = codes[kinds[codes] == _UNSEEN]
    for page in np.unique(unseen // _PAGE).tolist():
        for code in range(page * _PAGE, (page + 1) * _PAGE):
            kinds[code] = kind_of(code)


def _count_unknown(found: CodeTokens, in_tokens: BoolArray) -> int:
    """Counts the characters in tokens from each [UNK] to before the next token."""
    before = np.append(0, np.cumsum(in_tokens))
    ends = np.append(found.positions, len(in_tokens))[1:]
    is_unknown = found.ids == UNK_ID
    return int((before[ends] - before[found.positions])[is_unknown].sum())
