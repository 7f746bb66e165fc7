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

CHARACTER_EDITS: Final[tuple[Edit, ...]] = (
    Substitution("line_ends", Trigger(LINE_ENDS), f"\r\n|[{LINE_ENDS}]", "\n"),
    Substitution("invisible", Trigger(INVISIBLE), f"[{INVISIBLE}][{INVISIBLE}]*", ""),
    Substitution("private_use", Trigger(PRIVATE_USE), f"[{PRIVATE_USE}][{PRIVATE_USE}]*", ""),
    Substitution(
        "replacement_characters", Trigger(REPLACEMENT), f"[{REPLACEMENT}][{REPLACEMENT}]*", ""
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
