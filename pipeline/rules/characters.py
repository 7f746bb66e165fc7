"""Edits of single characters, each by its class."""

import re
from typing import Final

from pipeline.rules.classes import (
    FULL_WIDTH,
    INVISIBLE,
    LINE_ENDS,
    PRIVATE_USE,
    REPLACEMENT,
    WIDE_SPACES,
)
from pipeline.rules.kinds import Edit, Substitution, Trigger, find_matches

_NARROW: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""Unicode 16, block Halfwidth and Fullwidth Forms: full width stands 0xFEE0 above ASCII."""

_SYMBOLS: Final = frozenset(map(chr, range(0xF000, 0xF100)))
"""Where Windows puts the characters of symbol fonts: bullets, which part words."""

_QUOTES: Final = "'\"`“‘"
"""What stands behind one is what a text is about."""

CHARACTER_EDITS: Final[tuple[Edit, ...]] = (
    Substitution("line_ends", Trigger(LINE_ENDS), f"\r\n|[{LINE_ENDS}]", "\n"),
    Substitution("invisible", Trigger(INVISIBLE), f"[{INVISIBLE}][{INVISIBLE}]*", ""),
    Edit(
        "private_use",
        Trigger(PRIVATE_USE),
        find_matches(
            re.compile(f"[{PRIVATE_USE}][{PRIVATE_USE}]*"),
            lambda run: " " if run[0][0] in _SYMBOLS else "",
        ),
    ),
    Substitution(
        "replacement_characters",
        Trigger(REPLACEMENT),
        rf"[{REPLACEMENT}](?<![{_QUOTES}{REPLACEMENT}].)[{REPLACEMENT}]*",
        "",
    ),
    Edit(
        "full_width_latin",
        Trigger(FULL_WIDTH),
        find_matches(
            re.compile(f"[{FULL_WIDTH}][{FULL_WIDTH}]*"), lambda run: run[0].translate(_NARROW)
        ),
    ),
    Substitution("wide_spaces", Trigger(WIDE_SPACES), f"[{WIDE_SPACES}]", " "),
)
