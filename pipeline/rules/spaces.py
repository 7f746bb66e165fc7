"""Edits of spaces: those that separate the words of segmented text, and those too many."""

import re
from typing import Final

from pipeline.rules.classes import CHINESE, CHINESE_MARKS, LINE_ENDS, WIDE_SPACES
from pipeline.rules.kinds import Applied, Edit, Span, Trigger

# --- Spaces between words ---

_HEAD_CHARS: Final = 1000
"""The beginning of a text tells whether it is segmented."""

_MIN_SPACE_FRACTION: Final = 0.2
_MIN_CHARACTERS: Final = 3
_MIN_SINGLE_FRACTION: Final = 0.9
_MIN_WORDS: Final = 6
_MAX_WORD_CHARS: Final = 2.5
_MIN_ALONE_FRACTION: Final = 0.1
_ALONE: Final = frozenset(
    "，。、；：！？“”《》（）,.的了是在和与及有为也不我你他她这那就都对将并等中上"
)
"""Marks and words that never stand alone in a list, but in every segmented sentence."""

_CHINESE_SPACE: Final = re.compile(f"[{CHINESE}] ")
_CHINESE_CHARACTER: Final = re.compile(f"[{CHINESE}]")
_NUMERALS: Final = frozenset("零〇一二三四五六七八九十百千甲乙丙丁戊己庚辛壬癸")
_BETWEEN_CHARACTERS: Final = re.compile(r" (?<=\S ) *(?=\S)")
_CHINESE_OR_MARK: Final = rf"{CHINESE}{CHINESE_MARKS},.:;!?()%"
_BETWEEN_WORDS: Final = re.compile(rf" (?<=[{_CHINESE_OR_MARK}] ) *(?=[{_CHINESE_OR_MARK}])")


def _find_chinese_spaces(text: str) -> list[Span]:
    """Finds the spaces of a text in which each character, or each word, stands by itself."""
    head = text[:_HEAD_CHARS]
    if head.count(" ") < _MIN_SPACE_FRACTION * len(head) or not _CHINESE_SPACE.search(head):
        return []
    tokens = head.split()
    if _are_characters(tokens):
        pattern = _BETWEEN_CHARACTERS
    elif _are_words(tokens):
        pattern = _BETWEEN_WORDS
    else:
        return []
    return [Span(*gap.span(), "") for gap in pattern.finditer(text)]


def _are_characters(tokens: list[str]) -> bool:
    singles = [token for token in tokens if len(token) == 1]
    if len(singles) < max(_MIN_CHARACTERS, _MIN_SINGLE_FRACTION * len(tokens)):
        return False
    chinese = _CHINESE_CHARACTER.findall("".join(singles))
    return 2 * len(chinese) >= len(singles) and not _NUMERALS.issuperset(chinese)


def _are_words(tokens: list[str]) -> bool:
    if len(tokens) < _MIN_WORDS or sum(map(len, tokens)) > _MAX_WORD_CHARS * len(tokens):
        return False
    return sum(map(_ALONE.__contains__, tokens)) >= _MIN_ALONE_FRACTION * len(tokens)


# --- White space ---

_TO_BECOME_WHITE_SPACE: Final = f" \n{LINE_ENDS}{WIDE_SPACES}"


class _WhiteSpace(Edit):
    """Keeps of white space at the ends nothing, of a run with a line end that, of others a space.

    Of all edits this one finds most: `apply` finds nothing one by one.
    """

    _run = re.compile("[ \n][ \n]+")
    _line_ends = re.compile(r"\n[ \n]+")
    _line_ends_after_spaces = re.compile(r"\n[ \n]+| (?<!  ) *+\n[ \n]*")
    _spaces = re.compile("  +")

    def __init__(self) -> None:
        trigger = Trigger(_TO_BECOME_WHITE_SPACE, _TO_BECOME_WHITE_SPACE)
        super().__init__("white_space", trigger, self._find_runs)

    def _find_runs(self, text: str) -> list[Span]:
        end = len(text.rstrip(" \n"))
        start = len(text) - len(text.lstrip(" \n")) if end else 0
        inner = [
            Span(*run.span(), "\n" if "\n" in run[0] else " ")
            for run in self._run.finditer(text, start, end)
        ]
        ends = [Span(0, start, "")], [Span(end, len(text), "")]
        return ends[0][: start > 0] + inner + ends[1][: end < len(text)]

    def apply(self, text: str) -> Applied:
        """Returns the changed text, and counts."""
        bare = text.strip(" \n")
        if not bare:
            return Applied("", int(text != ""), len(text), 0)
        ends = (text[0] in " \n") + (text[-1] in " \n")
        line_ends = self._line_ends_after_spaces if " \n" in bare else self._line_ends
        lines, runs = line_ends.subn("\n", bare)
        changed, gaps = self._spaces.subn(" ", lines)
        removed = len(text) - len(changed) + runs + gaps
        return Applied(changed, ends + runs + gaps, removed, runs + gaps)


CHINESE_SPACES: Final = Edit(
    "chinese_spaces", Trigger(CHINESE, f" {WIDE_SPACES}"), _find_chinese_spaces
)
WHITE_SPACE: Final = _WhiteSpace()
