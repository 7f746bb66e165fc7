"""Counts -> the ordered list of exactly so many tokens that is a vocabulary.

Characters, by the number of documents that hold them, and word pieces, by the learner's order,
share the places that are not taken. A character left out makes an [UNK] wherever it occurs; a
piece left out makes words longer. How many places the pieces get is what makes

    tokens + UNKNOWN_WEIGHT * [UNK]

least over the counted text.
"""

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from vocab.basic_tokens import is_cjk
from vocab.counting import TokenCounts
from vocab.special_tokens import CONTINUATION, SPECIAL_TOKENS, VOCAB_SIZE
from vocab.words import most_frequent

UNKNOWN_WEIGHT: Final = 30
"""Tokens that an [UNK] is worth: about those of the sentence that it may spoil.

What comes of other weights is in docs/vocabulary.md.
"""

_LISTED: Final = 10
_SPLITS: Final = 64
"""Splits that are tried, one more than this."""

PieceLearner = Callable[[Mapping[str, int], int], list[str]]


class Selection(NamedTuple):
    """A vocabulary, and what was on its borders.

    Attributes:
      tokens: its entries in order: those that are always there, characters, pieces, filling.
      characters: characters of the corpus that could be in it, best first.
      pieces: pieces that were learned for it, best first.
      characters_admitted: how many of the first it has; likewise `pieces_admitted`.
      filling: Chinese characters beyond those of the corpus.
    """

    tokens: list[str]
    characters: list[str]
    pieces: list[str]
    characters_admitted: int
    pieces_admitted: int
    filling: int


class Border(NamedTuple):
    """Which candidates of one kind just were admitted to a vocabulary, and which not.

    Attributes:
      kind: what they are.
      admitted: how many are in it.
      last: the last of these, best first.
      left_out: the first of the others.
    """

    kind: str
    admitted: int
    last: list[str]
    left_out: list[str]


def select_tokens(
    counts: TokenCounts, learn_pieces: PieceLearner, size: int = VOCAB_SIZE
) -> list[str]:
    """Returns the tokens of `select`."""
    return select(counts, learn_pieces, size).tokens


def select(counts: TokenCounts, learn_pieces: PieceLearner, size: int = VOCAB_SIZE) -> Selection:
    """Chooses the tokens of a vocabulary.

    Special tokens come first, then printable ASCII with and without `##`, then characters by the
    number of documents that hold them, then word pieces, then Chinese characters that fill a small
    corpus's list up.

    Args:
      counts: characters and words of the corpus.
      learn_pieces: counted words and a size -> at most so many word pieces, best first.
      size: number of entries.

    Returns:
      Exactly `size` different tokens; ties are broken by code point.

    Raises:
      ValueError: `size` has no room for the entries that are always there, or is larger than
        the corpus and the Chinese inventory together can fill.
    """
    always = [*SPECIAL_TOKENS, *_printable_ascii()]
    room = size - len(always)
    if room < 0:
        raise ValueError(f"size must be at least {len(always)}, got {size}")
    known = set(always)
    characters = [char for char in _by_documents(counts) if char not in known]
    known.update(characters)
    pieces = _learn_new_pieces(learn_pieces, counts.words, room, known)
    filling = [char for char in dict.fromkeys(chinese_inventory()) if char not in known]
    occurrences = [counts.characters[char] for char in characters]
    places = choose_places(counts.words, occurrences, pieces, room)
    if places < len(pieces):
        # Learned for just so many places, they are better than the first of a longer list.
        best = _learn_new_pieces(learn_pieces, counts.words, places, known)
        pieces = list(dict.fromkeys([*best, *pieces]))
    admitted = characters[: room - places]
    of_corpus = [*always, *admitted, *pieces[:places]]
    tokens = [*of_corpus, *filling[: size - len(of_corpus)]]
    if len(tokens) < size:
        raise ValueError(f"size must be at most {len(tokens)} for this corpus, got {size}")
    filled = len(tokens) - len(of_corpus)
    return Selection(tokens, characters, pieces, len(admitted), places, filled)


def find_borders(selection: Selection) -> list[Border]:
    """Returns what was admitted last, and left out first."""
    return [
        Border(
            *(kind, admitted, candidates[max(0, admitted - _LISTED) : admitted]),
            candidates[admitted:][:_LISTED],
        )
        for kind, candidates, admitted in (
            ("characters", selection.characters, selection.characters_admitted),
            ("word pieces", selection.pieces, selection.pieces_admitted),
            ("Chinese characters to fill up", [], selection.filling),
        )
    ]


def describe_borders(selection: Selection) -> str:
    """Returns them as lines for a terminal."""
    *borders, filling = find_borders(selection)
    lines = [
        f"{border.admitted:,} {border.kind}; last admitted: {' '.join(border.last) or 'none'}; "
        f"first left out: {' '.join(border.left_out) or 'none'}\n"
        for border in borders
    ]
    return "".join([*lines, f"{filling.admitted:,} {filling.kind}\n"])


def choose_places(
    words: Mapping[str, int], occurrences: Sequence[int], pieces: Sequence[str], room: int
) -> int:
    """Returns how many places pieces get; of equally good numbers, the least.

    Args:
      words: of the corpus, counted.
      occurrences: how often each character occurs, the best one first.
      pieces: best first.
      room: places for characters and pieces.
    """
    most = min(len(pieces), room)
    tried = sorted({most * step // _SPLITS for step in range(_SPLITS + 1)})
    left_out = [0, *accumulate(reversed(occurrences))][::-1]
    words = most_frequent(words)

    def cost(places: int) -> int:
        unknown = left_out[min(room - places, len(occurrences))]
        return count_pieces(words, set(pieces[:places])) + UNKNOWN_WEIGHT * unknown

    return min(tried, key=cost)


def count_pieces(words: Mapping[str, int], pieces: Collection[str]) -> int:
    """Returns how many tokens counted words become, longest piece first; single letters always."""
    longest = max(map(len, pieces), default=1)
    total = 0
    for word, count in words.items():
        start, prefix = 0, ""
        while start < len(word):
            end = min(len(word), start + longest)
            while end > start + 1 and prefix + word[start:end] not in pieces:
                end -= 1
            start, prefix = end, CONTINUATION
            total += count
    return total


def _learn_new_pieces(
    learn_pieces: PieceLearner, words: Mapping[str, int], places: int, known: Collection[str]
) -> list[str]:
    """Learns pieces for some places; letters and digits, known anyhow, take none of them."""
    letters_and_digits = 2 * len(set("".join(words)))
    learned = learn_pieces(words, places + letters_and_digits)
    return [piece for piece in dict.fromkeys(learned) if piece not in known][:places]


def chinese_inventory() -> Iterator[str]:
    """Yields Chinese characters, the commonest sets first.

    GB 2312 level 1 (rows 16 to 55, by pronunciation) and level 2 (rows 56 to 87, by radical),
    then Big5, then the rest of GBK, each in the order of its codes. Characters may come twice.
    """
    encodings = (
        ("gb2312", range(0xB0, 0xF8), range(0xA1, 0xFF)),
        ("big5", range(0xA4, 0xFA), range(0x40, 0xFF)),
        ("gbk", range(0x81, 0xFF), range(0x40, 0xFF)),
    )
    for encoding, leads, trails in encodings:
        for lead in leads:
            for trail in trails:
                char = bytes((lead, trail)).decode(encoding, "ignore")
                # Big5 has two characters twice, of which the tokenizer makes one.
                is_settled = unicodedata.is_normalized("NFD", char)
                if len(char) == 1 and is_cjk(ord(char)) and is_settled:
                    yield char


def _printable_ascii() -> Iterator[str]:
    chars = [chr(code) for code in range(0x21, 0x7F)]
    yield from chars
    yield from (CONTINUATION + char for char in chars)


def _by_documents(counts: TokenCounts) -> list[str]:
    """Ranks characters by documents, then occurrences: one text full of a rare one counts once.

    In five-fold cross-validation, as docs/vocabulary.md has it, 4 % fewer [UNK] than by
    occurrences where there are places for 6,000 to 7,000 characters.
    """

    def rank(char: str) -> tuple[int, int, str]:
        return -counts.documents[char], -counts.characters[char], char

    return sorted(counts.documents, key=rank)
