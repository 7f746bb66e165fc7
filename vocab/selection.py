"""Counts -> the ordered list of exactly so many tokens that is a vocabulary."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from vocab.basic_tokens import is_cjk
from vocab.counting import TokenCounts
from vocab.special_tokens import CONTINUATION, SPECIAL_TOKENS, VOCAB_SIZE

PIECES_FRACTION: Final = 0.4
"""Most of the vocabulary that word pieces may take; the released one has 0.45 outside CJK."""

PieceLearner = Callable[[Mapping[str, int], int], list[str]]


def select_tokens(
    counts: TokenCounts, learn_pieces: PieceLearner, size: int = VOCAB_SIZE
) -> list[str]:
    """Chooses the tokens of a vocabulary.

    Special tokens come first, then printable ASCII with and without `##`, then characters by
    frequency, then word pieces, then Chinese characters that fill a small corpus's list up.

    Args:
      counts: basic tokens of the corpus.
      learn_pieces: counted words and a size -> word pieces, best first.
      size: number of entries.

    Returns:
      Exactly `size` different tokens; ties are broken by code point.

    Raises:
      ValueError: `size` has no room for the entries that are always there, or is larger than
        the corpus and the Chinese inventory together can fill.
    """
    always = [*SPECIAL_TOKENS, *_printable_ascii()]
    if size < len(always):
        raise ValueError(f"size must be at least {len(always)}, got {size}")
    pieces = learn_pieces(counts.words, min(int(size * PIECES_FRACTION), size - len(always)))
    characters_end = max(len(always), size - len(set(pieces).difference(always)))
    tokens = dict.fromkeys(always)
    _fill(tokens, _by_frequency(counts.characters), characters_end)
    _fill(tokens, pieces, size)
    _fill(tokens, chinese_inventory(), size)
    if len(tokens) < size:
        raise ValueError(f"size must be at most {len(tokens)} for this corpus, got {size}")
    return list(tokens)


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
                if len(char) == 1 and is_cjk(ord(char)):
                    yield char


def _printable_ascii() -> Iterator[str]:
    chars = [chr(code) for code in range(0x21, 0x7F)]
    yield from chars
    yield from (CONTINUATION + char for char in chars)


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda token: (-counts[token], token))


def _fill(tokens: dict[str, None], candidates: Iterable[str], size: int) -> None:
    for token in candidates:
        if len(tokens) >= size:
            return
        tokens.setdefault(token)
