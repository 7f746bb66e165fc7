"""The edits in their order: text -> text."""

from typing import Final

from pipeline.config import DocumentsConfig
from pipeline.rules.characters import CHARACTER_EDITS
from pipeline.rules.kinds import Applied, Edit, Span, Substitution, Trigger
from pipeline.rules.markup import MARKUP_EDITS
from pipeline.rules.optional import PERSONAL_DATA, PERSONAL_DATA_EDIT, SCRIPT, simplifying_edit
from pipeline.rules.punctuation import PUNCTUATION_EDITS
from pipeline.rules.spaces import CHINESE_SPACES, WHITE_SPACE

__all__ = [
    "EDITS",
    "OPTIONAL_EDITS",
    "Applied",
    "Edit",
    "Span",
    "Substitution",
    "Trigger",
    "choose_edits",
]

_FIRST: Final[tuple[Edit, ...]] = (*MARKUP_EDITS, *CHARACTER_EDITS)
_LAST: Final[tuple[Edit, ...]] = (CHINESE_SPACES, *PUNCTUATION_EDITS, WHITE_SPACE)

EDITS: Final = (*_FIRST, *_LAST)
"""Those that are on by default, in their order."""

OPTIONAL_EDITS: Final = (PERSONAL_DATA, SCRIPT)
"""Names of the others; they come after the edits of single characters."""


def choose_edits(config: DocumentsConfig) -> list[Edit]:
    """Returns the edits that a configuration asks for, in their order.

    Raises:
      ValueError: it asks for a conversion that is not installed.
    """
    edits = [
        *_FIRST,
        *([PERSONAL_DATA_EDIT] if config.mask_personal_data else []),
        *([simplifying_edit()] if config.script == "simplified" else []),
        *_LAST,
    ]
    return [edit for edit in edits if edit.name not in config.rules_off]
