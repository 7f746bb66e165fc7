"""Pure: what changed in an excerpt, as pieces, and symbols for what cannot be seen."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

MAX_CHARS: Final = 400
"""Longest excerpt and longest replacement that are shown; the rest becomes one ellipsis."""

_UNSEEN: Final = (
    "\0-\x09\x0b-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u180b-\u180f\u2000-\u200f\u2028-"
    "\u202f\u205f-\u206f\u3000\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufdd0-\ufdef\ufff0-\ufffc\ufffe\uffff\U000e0000-\U0010ffff"
)
INVISIBLE: Final = re.compile(f"[{_UNSEEN}]")
"""Characters that show nothing, or no more than a blank, but are no plain space or line feed."""

INVISIBLE_OR_BLANK: Final = re.compile(f"[ \n{_UNSEEN}]")
"""The same and plain blanks: where they are what changed, they must be seen."""

_BLANKS: Final = {" ": "␣", "\n": "↵\n", "\t": "⇥"}


class Piece(NamedTuple):
    """A stretch of an excerpt.

    Attributes:
      text: as it stands there.
      is_changed: whether it stands there in one of two texts only.
    """

    text: str
    is_changed: bool


def symbol_of(found: re.Match[str]) -> str:
    """Returns what stands for a character that cannot be seen, such as ␣ and ⟨U+200B⟩.

    Not the control pictures of Unicode, such as U+2400: many fonts lack them.
    """
    char = found[0]
    return _BLANKS.get(char) or f"⟨U+{ord(char):04X}⟩"


def show(piece: Piece) -> str:
    """Returns the text of a piece with symbols for what cannot be seen."""
    return (INVISIBLE_OR_BLANK if piece.is_changed else INVISIBLE).sub(symbol_of, piece.text)


def clip(text: str) -> str:
    """Returns the beginning of a text, with an ellipsis if that is not all."""
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"


def split_edit(
    before: str, spans: Sequence[tuple[int, int, str]]
) -> tuple[list[Piece], list[Piece]]:
    """Returns an excerpt before and after an edit, with what goes and what comes marked.

    Args:
      before: the excerpt.
      spans: start, end and replacement of what changes, ascending and apart from each other.
    """
    old: list[Piece] = []
    new: list[Piece] = []
    position = 0
    for start, end, replacement in spans:
        if start >= MAX_CHARS:
            break
        old += [Piece(before[position:start], False), Piece(clip(before[start:end]), True)]
        new += [Piece(before[position:start], False), Piece(clip(replacement), True)]
        position = end
    rest = before[position:MAX_CHARS] + ("…" if len(before) > max(position, MAX_CHARS) else "")
    return _tidy([*old, Piece(rest, False)]), _tidy([*new, Piece(rest, False)])


def split_difference(first: str, second: str) -> tuple[list[Piece], list[Piece]]:
    """Returns two excerpts, with what stands in one only marked.

    Where an excerpt is cut, its end may stand in the other one further on: it is not marked.
    """
    is_cut = max(len(first), len(second)) >= MAX_CHARS
    excerpts = first[:MAX_CHARS], second[:MAX_CHARS]
    opcodes = difflib.SequenceMatcher(None, *excerpts, autojunk=False).get_opcodes()
    old: list[Piece] = []
    new: list[Piece] = []
    for number, (tag, start, end, other_start, other_end) in enumerate(opcodes, 1):
        differs = tag != "equal" and not (is_cut and number == len(opcodes))
        old.append(Piece(first[start:end], differs))
        new.append(Piece(second[other_start:other_end], differs))
    if is_cut:
        old.append(Piece("…", False))
        new.append(Piece("…", False))
    return _drop_empty(old), _drop_empty(new)


def _tidy(pieces: Iterable[Piece]) -> list[Piece]:
    """Drops what is empty, but for the places where something was or comes."""
    return [piece for piece in pieces if piece.text or piece.is_changed]


def _drop_empty(pieces: Iterable[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.text]
