"""Edits of what is left of HTML: entities, elements, tags.

Markup within back quotes is what a text is about, and stays: `<br>` breaks lines.
"""

import bisect
import html
import re
from collections.abc import Callable
from html.entities import html5
from operator import itemgetter
from typing import Final

from pipeline.rules.kinds import Applied, Edit, Span, Substitution, Trigger, find_matches

# --- Entities ---

_ENTITY: Final = re.compile(
    r"&(?P<again>(?: ?amp;)*)"
    r"(?P<name>#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};"
    r"| (?:nbsp|lt|gt|quot);|nbsp|(?:lt|gt|quot|amp)(?:；|(?![A-Za-z0-9=_'`])))?"
)


def _decode_entity(match: re.Match[str]) -> str:
    """Returns the character of an entity; what is none stays, but escaped once."""
    name = match["name"]
    if not name:
        return "&"
    if name.startswith("#"):
        return html.unescape(f"&{name}")
    # Not html.unescape: it would read the longest known beginning of an unknown name.
    return html5.get(name.strip(" ;；") + ";", f"&{name}")


# --- Elements and tags ---

_BLOCK_TAGS: Final = (
    "address|article|aside|blockquote|br|center|dd|div|dl|dt|figcaption|figure|footer|h[1-6]|"
    "header|hr|li|main|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|tr|ul"
)
_INLINE_TAGS: Final = (
    "a|abbr|b|bdi|bdo|big|body|button|caption|cite|code|col|del|em|embed|font|form|head|html|i|"
    "iframe|img|input|ins|kbd|label|link|map|mark|math|meta|noscript|nowiki|object|option|param|q|"
    "ref|rp|rt|ruby|s|samp|select|small|source|span|strike|strong|sub|sup|svg|textarea|title|tt|u|"
    "var|video"
)
"""Elements of HTML Living Standard, chapter 4, the usual obsolete ones, `nowiki` and `ref`."""

_CODE: Final = re.compile(r"```[\s\S]*?(?:```|\Z)|``[^`\n]+``|`[^`\n]+`")
_OPENING: Final = re.compile(r"<(?:script|style)\b[^<>]*>|<!--", re.IGNORECASE | re.ASCII)
_CLOSINGS: Final = {
    "<sc": re.compile(r"</script\s*>", re.IGNORECASE | re.ASCII),
    "<st": re.compile(r"</style\s*>", re.IGNORECASE | re.ASCII),
    "<!-": re.compile("-->"),
}


def _find_whole_elements(text: str) -> list[Span]:
    """Finds scripts, styles and comments; those that never end stay. Takes linear time."""
    spans: list[Span] = []
    endless: set[str] = set()
    end = 0
    for opening in _OPENING.finditer(text):
        kind = opening[0][:3].lower()
        if opening.start() < end or kind in endless:
            continue
        closing = _CLOSINGS[kind].search(text, opening.end())
        if closing is None:
            endless.add(kind)
        else:
            end = closing.end()
            spans.append(Span(opening.start(), end, ""))
    return spans


def _outside_code(find: Callable[[str], list[Span]]) -> Callable[[str], list[Span]]:
    """Returns the function that finds only what does not begin within back quotes."""

    def find_outside(text: str) -> list[Span]:
        spans = find(text)
        if not spans or "`" not in text:
            return spans
        codes = [code.span() for code in _CODE.finditer(text)]
        return [span for span in spans if not _is_inside(span.start, codes)]

    return find_outside


def _is_inside(position: int, ranges: list[tuple[int, int]]) -> bool:
    after = bisect.bisect(ranges, position, key=itemgetter(0))
    return after > 0 and position < ranges[after - 1][1]


class _Tags(Substitution):
    """Puts a constant in the place of tags, but not within back quotes."""

    def find_spans(self, text: str) -> list[Span]:
        """Returns what `apply` changes."""
        return _outside_code(super().find_spans)(text)

    def apply(self, text: str) -> Applied:
        """Returns the changed text, and counts."""
        return Edit.apply(self, text) if "`" in text else super().apply(text)


_RUBY: Final = re.compile(
    r"<r(?:p>[^<>]{0,9}</rp>\s?<r)?t>(?P<ruby>[^<>]{1,200})</rt>(?:\s?<rp>[^<>]{0,9}</rp>)?",
    re.IGNORECASE | re.ASCII,
)
_BLOCK_TAG: Final = rf"(?ia)</?(?:{_BLOCK_TAGS})(?:\s[^<>]*)?/?>"
_INLINE_TAG: Final = rf"(?ia)</?(?:{_INLINE_TAGS})(?:\s[^<>]*)?/?>"
_TAG: Final = Trigger("<", "!/A-Za-z")

MARKUP_EDITS: Final = (
    Edit("html_entities", Trigger("&", " #A-Za-z"), find_matches(_ENTITY, _decode_entity)),
    Edit("html_elements", Trigger("<", "!sS"), _outside_code(_find_whole_elements)),
    Edit(
        "ruby_annotations",
        Trigger("<", "rR"),
        _outside_code(find_matches(_RUBY, lambda found: f"（{found['ruby']}）")),
    ),
    _Tags("block_tags", _TAG, _BLOCK_TAG, "\n"),
    _Tags("inline_tags", _TAG, _INLINE_TAG, ""),
)
