"""Rules on the fields of a line, which are then joined to one text."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.rules.classes import CHINESE

FIELD_JOINER: Final = "field_joiner"
REPEATED_TITLE: Final = "repeated_title"
SWAPPED_LANGUAGES: Final = "swapped_languages"
REPEATED_DESCRIPTION: Final = "repeated_description"

FIELD_RULES: Final = (REPEATED_TITLE, SWAPPED_LANGUAGES, REPEATED_DESCRIPTION, FIELD_JOINER)

Edits = list[tuple[str, int, int, int]]
"""Rule, times, characters removed and added, of each rule that changed anything."""


class Joined(NamedTuple):
    """A document's text before cleaning.

    Attributes:
      text: its fields, joined.
      read: characters of the fields.
      edits: what rules did. The length of `text` is `read`, less all that was removed, plus all
        that was added.
    """

    text: str
    read: int
    edits: Edits


def join_fields(
    corpus: str, values: Sequence[str], aids: Mapping[str, str], rules_off: Collection[str] = ()
) -> Joined:
    """Joins the fields of one line, one a line.

    Args:
      corpus: name of the corpus, in whose fields a rule may look for what is there twice.
      values: of its text fields, in their order.
      aids: of other fields that rules look at, by key, if they are there.
      rules_off: names of rules that are left out.
    """
    kept = list(values)
    edits: Edits = []
    rule = _RULES_OF.get(corpus)
    if rule is not None:
        rule(kept, aids, edits, rules_off)
    filled = [value for value in kept if value]
    if len(filled) > 1:
        edits.append((FIELD_JOINER, len(filled) - 1, 0, len(filled) - 1))
    return Joined("\n".join(filled), sum(map(len, values)), edits)


# --- wiki2019zh ---


def _drop_repeated_title(
    values: list[str], aids: Mapping[str, str], edits: Edits, rules_off: Collection[str]
) -> None:
    """Drops the title before a text whose first paragraph begins with it again."""
    text, title = values[0], aids.get("title", "").strip()
    if REPEATED_TITLE in rules_off or not title or not text.startswith(title):
        return
    rest = text[len(title) :].lstrip(" \t")
    body = rest.lstrip()
    if rest[:1] in "\r\n" and body.startswith(title):
        edits.append((REPEATED_TITLE, 1, len(text) - len(body), 0))
        values[0] = body


# --- translation2019zh ---

_CHINESE: Final = re.compile(f"[{CHINESE}]")
_MIN_CHINESE_FRACTION: Final = 0.3
"""Of a Chinese sentence with names and figures; no English sentence has as much."""


def _swap_languages(
    values: list[str], aids: Mapping[str, str], edits: Edits, rules_off: Collection[str]
) -> None:
    """Takes the other language where that is the Chinese one."""
    chinese, english = values[0], aids.get("english", "")
    if SWAPPED_LANGUAGES in rules_off or not english or _CHINESE.search(chinese):
        return
    if len(_CHINESE.findall(english)) >= _MIN_CHINESE_FRACTION * len(english):
        edits.append((SWAPPED_LANGUAGES, 1, len(chinese), len(english)))
        values[0] = english


# --- title, description, and content or answer ---

_BLANK: Final = re.compile(r"(?:\s|<br\s*/?>)+", re.IGNORECASE)
_UNFINISHED: Final = " .。…"
_LOOKED_AT: Final = 100
"""White space is squeezed out of this much more than is compared."""


def _drop_repeated_fields(
    values: list[str], _: Mapping[str, str], edits: Edits, rules_off: Collection[str]
) -> None:
    """Drops a description that the title or the text begins with, then such a title."""
    title, description, text = values
    if REPEATED_DESCRIPTION not in rules_off and description and _begins(description, title, text):
        edits.append((REPEATED_DESCRIPTION, 1, len(description), 0))
        values[1] = ""
    if REPEATED_TITLE not in rules_off and title and _begins(title, text):
        edits.append((REPEATED_TITLE, 1, len(title), 0))
        values[0] = ""


def _begins(part: str, *texts: str) -> bool:
    """Tells whether one of the texts begins with a part, white space and ellipses aside."""
    first = _first_character(part)
    # Nearly all differ here.
    alike = [text for text in texts if _first_character(text) in (first, "<") or first == "<"]
    if not alike:
        return False
    beginning = _squeeze(part).rstrip(_UNFINISHED)
    return beginning != "" and any(
        _squeeze(text[: 2 * len(part) + _LOOKED_AT]).startswith(beginning) for text in alike
    )


def _first_character(text: str) -> str:
    """Returns the first character that is no white space; of a `<br>` its bracket."""
    return text[:1] if text[:1] > " " else text.lstrip()[:1]


def _squeeze(text: str) -> str:
    return _BLANK.sub("", text)


# --- Which corpus has which ---

_RULES_OF: Final[
    Mapping[str, Callable[[list[str], Mapping[str, str], Edits, Collection[str]], None]]
] = {
    "wiki2019zh": _drop_repeated_title,
    "translation2019zh": _swap_languages,
    "news2016zh": _drop_repeated_fields,
    "baike2018qa": _drop_repeated_fields,
    "webtext2019zh": _drop_repeated_fields,
}
