"""Kinds of edits: what one needs to see, where it changes a text, and the text after it."""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple


class Span(NamedTuple):
    """A change: the characters from `start` to before `end` give way to `replacement`."""

    start: int
    end: int
    replacement: str


class Applied(NamedTuple):
    """What an edit made of a text.

    Attributes:
      text: the text after it; its length is that before, less `removed`, plus `added`.
      times: number of changes.
      removed: characters that were changed or went.
      added: characters that stand in their places.
    """

    text: str
    times: int
    removed: int
    added: int


RUN_CHARS: Final = 4


class Trigger(NamedTuple):
    """Characters without which an edit changes nothing.

    Attributes:
      first: a class of characters as between the brackets of a regular expression.
      second: likewise, of the character behind one of the first class; "" if it may be any. A text
        is thought to stand between two line feeds.
      run: whether one character of the first class must stand RUN_CHARS times in a row.
    """

    first: str
    second: str = ""
    run: bool = False


class Edit:
    """A named rule that changes texts.

    Attributes:
      name: of the rule, in counters and configurations.
      trigger: texts without it need not be looked at.
    """

    def __init__(self, name: str, trigger: Trigger, find: Callable[[str], list[Span]]) -> None:
        self.name = name
        self.trigger = trigger
        self._find = find

    def find_spans(self, text: str) -> list[Span]:
        """Returns what `apply` changes, in order; a replacement is never what it replaces."""
        return self._find(text)

    def apply(self, text: str) -> Applied:
        """Returns the changed text, and counts."""
        spans = self.find_spans(text)
        if not spans:
            return Applied(text, 0, 0, 0)
        removed = sum(end - start for start, end, _ in spans)
        added = sum(len(replacement) for _, _, replacement in spans)
        return Applied(splice(text, spans), len(spans), removed, added)


class Substitution(Edit):
    """Puts one constant string in the place of all that a pattern matches.

    The pattern must not match the constant, nor the empty string.
    """

    def __init__(self, name: str, trigger: Trigger, pattern: str, replacement: str) -> None:
        self._pattern = re.compile(pattern)
        self._replacement = replacement
        super().__init__(name, trigger, find_matches(self._pattern, lambda _: replacement))

    def apply(self, text: str) -> Applied:
        """Returns the changed text, and counts."""
        changed, times = self._pattern.subn(self._replacement, text)
        added = times * len(self._replacement)
        return Applied(changed, times, len(text) - len(changed) + added, added)


def find_matches(
    pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]
) -> Callable[[str], list[Span]]:
    """Returns the function that finds matches of a pattern that are replaced by something else."""

    def find(text: str) -> list[Span]:
        return [
            Span(*match.span(), replacement)
            for match in pattern.finditer(text)
            if (replacement := replace(match)) != match[0]
        ]

    return find


def splice(text: str, spans: Sequence[Span]) -> str:
    """Returns the text with all changes made."""
    parts: list[str] = []
    position = 0
    for start, end, replacement in spans:
        parts += text[position:start], replacement
        position = end
    return "".join(parts) + text[position:]
