"""Text -> basic tokens, as BERT's models cut it, over whole arrays of code points.

A basic token is a single CJK character or punctuation mark, or a word: a longest run of other
characters. Lower-casing, canonical decomposition and the dropping of accents, control and format
characters happen on the way, and every code point remembers the character it came from. Where
`cased` is True, only control and format characters are dropped; all else stays as it is.

Source of the rules: bert4keras 0.9.9, `Tokenizer._tokenize` with `do_lower_case=not cased`, which
follows google-research/bert, `tokenization.py`, `BasicTokenizer`.
"""

import unicodedata
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.uint32]
BoolArray = npt.NDArray[np.bool_]

CAPITAL_SIGMA: Final = "Σ"
"""The only letter whose lower case hangs on its neighbours: σ, or ς at the end of a word."""


class Kind(IntEnum):
    """What a folded character is: SINGLE is always a token of its own, LETTER part of a word."""

    DROP = 1
    SPACE = 2
    SINGLE = 3
    LETTER = 4


_ONE_TO_MANY: Final = 0x110000
_REORDERED: Final = 0x110001
_NOTHING: Final = 0x110002
FIRST_CJK, LAST_CJK = 0x4E00, 0x9FFF
"""The block of nearly all Chinese characters; none of them is folded."""

_CJK_RANGES: Final = (
    (FIRST_CJK, LAST_CJK),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class BasicTokens(NamedTuple):
    """Folded code points, in order, and which of them are basic tokens; the rest is white space.

    Attributes:
      codes: folded code points, shape [C].
      positions: index of the character of the text that each came from, shape [C].
      starts: index into `codes` at which each basic token begins, shape [B].
      ends: index into `codes` behind each basic token, shape [B].
      is_word: False for a single CJK character or punctuation mark, shape [B].
    """

    codes: CodeArray
    positions: IntArray
    starts: IntArray
    ends: IntArray
    is_word: BoolArray

    def words(self) -> list[str]:
        """Returns the basic tokens that are words, as strings, in order."""
        folded = decode_codes(self.codes)
        starts, ends = self.starts[self.is_word], self.ends[self.is_word]
        return [
            folded[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]


def split_basic_tokens(text: str, cased: bool = False) -> BasicTokens:
    """Cuts a text into basic tokens."""
    codes, positions = _keep_text(text) if cased else fold_text(text)
    kinds = _look_up_kinds(codes)
    kept = kinds != Kind.DROP
    codes, positions, kinds = codes[kept], positions[kept], kinds[kept]
    is_letter = kinds == Kind.LETTER
    continues = np.zeros(len(codes), np.bool_)
    continues[1:] = is_letter[1:] & is_letter[:-1]
    starts_word = is_letter & ~continues
    begins = starts_word | (kinds == Kind.SINGLE)
    ends_word = is_letter.copy()
    ends_word[:-1] &= ~continues[1:]
    finishes = ends_word | (kinds == Kind.SINGLE)
    starts = np.flatnonzero(begins)
    return BasicTokens(codes, positions, starts, np.flatnonzero(finishes) + 1, is_letter[starts])


def encode_codes(text: str) -> CodeArray:
    """Returns the code points of a text, shape [C]; lone surrogates stand for themselves."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def decode_codes(codes: CodeArray) -> str:
    """Undoes `encode_codes`."""
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def is_cjk(code: int) -> bool:
    """Tells whether a code point is a CJK ideograph, which is always a token of its own."""
    return any(first <= code <= last for first, last in _CJK_RANGES)


def is_punctuation(char: str) -> bool:
    """Tells whether a character is punctuation, which is always a token of its own."""
    ascii_sign = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return ascii_sign or unicodedata.category(char).startswith("P")


# --- Folding: lower case, canonical decomposition, nonspacing marks dropped ---

# Filled as code points turn up: most of Unicode never does.
_folded = np.zeros(0x110000, np.uint32)
_is_folded = np.zeros(0x110000, np.bool_)
_expansions: dict[int, CodeArray] = {}


def _keep_text(text: str) -> tuple[CodeArray, IntArray]:
    codes = encode_codes(text)
    return codes, np.arange(len(codes))


def fold_text(text: str) -> tuple[CodeArray, IntArray]:
    """Returns folded code points and the index of the character each one came from."""
    original = encode_codes(settle_final_sigma(text))
    unseen = original[~_is_folded[original]]
    if len(unseen):
        for code in np.unique(unseen).tolist():
            _folded[code] = _fold_code(code)
            _is_folded[code] = True
    codes = _folded[original]
    positions = np.arange(len(codes))
    if codes.max(initial=0) < _ONE_TO_MANY:
        return codes, positions
    if not (codes == _REORDERED).any():
        return _expand(original, codes, positions)
    folded = [
        _fold_in_canonical_order(original[run], positions[run])
        if (codes[run] == _REORDERED).any()
        else _expand(original[run], codes[run], positions[run])
        for run in _cut_behind_marks(original, codes == _REORDERED)
    ]
    return (
        np.concatenate([codes for codes, _ in folded]),
        np.concatenate([places for _, places in folded]),
    )


def settle_final_sigma(text: str) -> str:
    """Puts the right lower case, σ or ς, for each capital sigma; all else stays as it is."""
    if CAPITAL_SIGMA not in text:
        return text
    codes = encode_codes(text)
    # İ is the only character whose lower case is longer; i stands in for it to keep the places.
    lowered = encode_codes(text.replace("İ", "i").lower())
    return decode_codes(np.where(codes == ord(CAPITAL_SIGMA), lowered, codes))


def classify(code: int, cased: bool = False) -> tuple[Kind, str]:
    """Tells what a character is before folding, and the one character that it becomes.

    DROP stands for all that is not so simple, too: what becomes several characters or none, or
    changes places with its neighbours; `is_intricate` tells which. The stretch around such a
    character has to go through `split_basic_tokens`, what is around the stretch does not matter.
    """
    if FIRST_CJK <= code <= LAST_CJK:
        return Kind.SINGLE, chr(code)
    folded = code if cased else _fold_code(code)
    if folded >= _ONE_TO_MANY:
        return Kind.DROP, ""
    return kind_of(chr(folded)), chr(folded)


def is_intricate(code: int) -> bool:
    """Tells whether a character becomes several when folded, or changes places."""
    return _fold_code(code) in (_ONE_TO_MANY, _REORDERED)


_NOT_SO_SIMPLE: Final = "\0"


class _Folding(dict[int, str]):
    """For `str.translate`: the folded character of each letter that becomes one letter."""

    def __init__(self, cased: bool) -> None:
        super().__init__()
        self._cased = cased

    def __missing__(self, code: int) -> str:
        kind, folded = classify(code, self._cased)
        self[code] = folded if kind == Kind.LETTER else _NOT_SO_SIMPLE
        return self[code]


_foldings = {cased: _Folding(cased) for cased in (False, True)}


def fold_letters(stretch: str, cased: bool = False) -> str | None:
    """Returns a stretch folded, character by character; None if it needs `split_basic_tokens`."""
    if stretch.isascii() and stretch.isalnum():
        return stretch if cased else stretch.lower()
    folded = stretch.translate(_foldings[cased])
    return None if _NOT_SO_SIMPLE in folded else folded


def find_stretches(codes: CodeArray, is_letter: BoolArray) -> tuple[IntArray, list[str]]:
    """Finds the longest runs of characters that `classify` calls LETTER or DROP.

    Args:
      codes: code points of a text, shape [C].
      is_letter: True for such characters, shape [C].

    Returns:
      Where each stretch begins, shape [S], and the stretches.
    """
    begins, taken = is_letter.copy(), is_letter.copy()
    begins[1:] &= ~is_letter[:-1]
    taken[1:] |= is_letter[:-1]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return starts, []
    # The character behind each stretch becomes a blank, which is in none; so all are cut at once.
    places = np.flatnonzero(taken)
    spaced = np.where(is_letter[places], codes[places], ord(" ")).astype(np.uint32)
    return starts, decode_codes(spaced).rstrip(" ").split(" ")


def _fold_code(code: int) -> int:
    """Returns the one folded code point, or a mark that there are none, many or a special order."""
    decomposed = unicodedata.normalize("NFD", chr(code).lower())
    folded = [char for char in decomposed if unicodedata.category(char) != "Mn"]
    if any(unicodedata.combining(char) for char in folded):
        return _REORDERED
    if not folded:
        return _NOTHING
    if len(folded) > 1:
        _expansions[code] = encode_codes("".join(folded))
        return _ONE_TO_MANY
    return ord(folded[0])


def _cut_behind_marks(original: CodeArray, is_mark: BoolArray) -> list[slice]:
    """Cuts a text around marks that may change places, so that few characters are with them.

    Nothing moves over a character that is CJK or ASCII; from the last such before marks to the next
    one behind them is a run of its own, as is what is between two such runs.
    """
    is_plain = (original < 0x80) | ((original >= FIRST_CJK) & (original <= LAST_CJK))
    plain = np.flatnonzero(is_plain)
    marks = np.flatnonzero(is_mark)
    borders = np.concatenate(([0], plain, [len(original)]))
    places = np.searchsorted(borders, marks, side="right")
    cuts = np.unique(np.concatenate((borders[places - 1], borders[places], [0, len(original)])))
    return [slice(begin, end) for begin, end in pairwise(cuts.tolist())]


def _expand(
    original: CodeArray, codes: CodeArray, positions: IntArray
) -> tuple[CodeArray, IntArray]:
    """Drops what folds to nothing and puts the several code points of others in, as of Hangul."""
    kept = codes != _NOTHING
    original, codes, positions = original[kept], codes[kept], positions[kept]
    many = np.flatnonzero(codes == _ONE_TO_MANY)
    expansions = [_expansions[code] for code in original[many].tolist()]
    counts = np.ones(len(codes), np.int64)
    counts[many] = [len(expansion) for expansion in expansions]
    expanded = np.repeat(codes, counts)
    if expansions:
        expanded[expanded == _ONE_TO_MANY] = np.concatenate(expansions)
    return expanded, np.repeat(positions, counts)


def _fold_in_canonical_order(
    original: CodeArray, positions: IntArray
) -> tuple[CodeArray, IntArray]:
    """Folds a text with marks that are kept but change places, by the definition, slowly.

    Canonical order (The Unicode Standard, section 3.11): runs of characters whose combining class
    is not 0 are sorted by it, stably. Such texts are very rare: Hangul tone marks, musical signs.
    """
    ordered: list[tuple[str, int]] = []
    run: list[tuple[str, int]] = []
    for position, code in zip(positions.tolist(), original.tolist(), strict=True):
        for char in unicodedata.normalize("NFD", chr(code).lower()):
            if not unicodedata.combining(char):
                ordered += sorted(run, key=lambda pair: unicodedata.combining(pair[0]))
                run.clear()
                ordered.append((char, position))
            else:
                run.append((char, position))
    ordered += sorted(run, key=lambda pair: unicodedata.combining(pair[0]))
    kept = [pair for pair in ordered if unicodedata.category(pair[0]) != "Mn"]
    return encode_codes("".join(char for char, _ in kept)), np.array(
        [position for _, position in kept], np.int64
    )


# --- Kinds of folded code points ---

_UNSEEN: Final = 0
_kinds = np.zeros(0x110000, np.uint8)


def _look_up_kinds(codes: CodeArray) -> npt.NDArray[np.uint8]:
    kinds = _kinds[codes]
    unseen = codes[kinds == _UNSEEN]
    if len(unseen):
        for code in np.unique(unseen).tolist():
            _kinds[code] = kind_of(chr(code))
        kinds = _kinds[codes]
    return kinds


def kind_of(char: str) -> Kind:
    """Tells what a folded character is."""
    if is_cjk(ord(char)) or is_punctuation(char):
        return Kind.SINGLE
    category = unicodedata.category(char)
    if char in " \n\r\t" or category == "Zs":
        return Kind.SPACE
    if char in "\0\ufffd" or category in ("Cc", "Cf"):
        return Kind.DROP
    # What str.split() takes for white space beyond that: line and paragraph separators.
    return Kind.SPACE if char.isspace() else Kind.LETTER
