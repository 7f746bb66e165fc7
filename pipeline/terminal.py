"""Pure: text in columns of a terminal, where a Chinese character takes two."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from pipeline.report.marks import Piece, show


class Style(NamedTuple):
    """How a stretch of text is marked: between signs, or in colour."""

    opening: str
    closing: str
    colour: str


OLD: Final = Style("[-", "-]", "\x1b[31m")
NEW: Final = Style("{+", "+}", "\x1b[32m")

_RESET: Final = "\x1b[0m"

# Colours begin and end in text as controls without width: it has no controls of its own by then.
_ON: Final = "\x01"
_OFF: Final = "\x02"


def mark_pieces(pieces: Sequence[Piece], columns: int, style: Style, colour: bool) -> list[str]:
    """Returns pieces as lines of at most so many columns, with what changed marked."""
    opening, closing = (_ON, _OFF) if colour else (style.opening, style.closing)
    text = "".join(_between(piece, opening, closing) for piece in pieces)
    return _colour_lines(wrap(text, columns), style.colour)


def _between(piece: Piece, opening: str, closing: str) -> str:
    text = show(piece)
    return f"{opening}{text}{closing}" if piece.is_changed and piece.text else text


def _colour_lines(lines: Iterable[str], colour: str) -> list[str]:
    """Turns marks into colours; a mark that goes on in the next line is closed and opened again."""
    coloured: list[str] = []
    is_open = False
    for line in lines:
        opened = colour if is_open else ""
        is_open = line.rfind(_ON) > line.rfind(_OFF) or (is_open and _OFF not in line)
        closed = _RESET if is_open else ""
        coloured.append(opened + line.replace(_ON, colour).replace(_OFF, _RESET) + closed)
    return coloured


def wrap(text: str, columns: int) -> list[str]:
    """Cuts text at line feeds and wherever a line would be wider than so many columns.

    Nothing is lost. At least one character stands in a line.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        ends = list(accumulate(map(_columns_of_char, line)))
        start = reached = 0
        while len(line) - start > 0:
            end = max(start + 1, bisect_right(ends, reached + columns))
            lines.append(line[start:end])
            start, reached = end, ends[end - 1]
        if not line:
            lines.append("")
    return lines


def columns_of(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    return sum(map(_columns_of_char, text))


@lru_cache(1 << 16)
def _columns_of_char(char: str) -> int:
    """Returns 2 for wide characters, 0 for those that stand on another, such as accents.

    Source: Unicode Standard Annex 11; ambiguous ones are narrow.
    """
    if char in (_ON, _OFF) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def pad(line: str, columns: int) -> str:
    """Returns a line, which may be coloured, with spaces behind it up to so many columns."""
    bare = line.replace(_RESET, "").replace(OLD.colour, "").replace(NEW.colour, "")
    return line + " " * (columns - columns_of(bare))
