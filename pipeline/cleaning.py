"""Pure cleaning rules: text -> text or a reason to reject it.

Every edit is a function `str -> str` with a name; `EDITS` is their order. Every rejection is a
function that returns whether its reason holds.
"""

import html
import re
from collections.abc import Callable
from html.entities import html5
from typing import Final

from pipeline.config import DocumentsConfig

TOO_SHORT: Final = "too_short"
TOO_LITTLE_CHINESE: Final = "too_little_chinese"

_MAX_PASSES: Final = 16
"""Bounds the time that tags nested on purpose can cost; real text needs two."""

# --- Edits ---

_ENTITY: Final = re.compile(
    r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|&nbsp"
)


def unescape_entities(text: str) -> str:
    """Replaces HTML entities, also doubly escaped ones: `&amp;lt;` becomes `<`.

    A missing semicolon is forgiven for `&nbsp` only: `&copy=1` in an address is no entity.
    """
    while "&" in text:
        unescaped = _ENTITY.sub(_decode_entity, text)
        if unescaped == text:
            break
        text = unescaped
    return text


def _decode_entity(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    if name.startswith("#"):
        return html.unescape(entity[0])
    # Not html.unescape: it would read the longest known beginning of an unknown name.
    return html5.get(name, entity[0])


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
_OPENING: Final = re.compile(r"<(script|style)\b[^<>]*>|<!--", re.IGNORECASE)
_CLOSINGS: Final = {
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
    "comment": re.compile("-->"),
}
_BLOCK_TAG: Final = re.compile(rf"</?(?:{_BLOCK_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_INLINE_TAG: Final = re.compile(rf"</?(?:{_INLINE_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)


def strip_tags(text: str) -> str:
    """Drops HTML tags; block tags such as `<br>` and `<p>` become line ends.

    Scripts, styles and comments go with what they hold. Only names of HTML elements count, so
    that `a<b` and `<三体>` stay.
    """
    for _ in range(_MAX_PASSES):
        if "<" not in text:
            break
        stripped = _drop_whole_elements(text)
        stripped = _BLOCK_TAG.sub("\n", stripped)
        stripped = _INLINE_TAG.sub("", stripped)
        if stripped == text:
            break
        text = stripped
    return text


def _drop_whole_elements(text: str) -> str:
    """Drops scripts, styles and comments with what they hold; those that never end stay."""
    kept: list[str] = []
    position = 0
    endless: set[str] = set()
    for opening in _OPENING.finditer(text):
        kind = (opening[1] or "comment").lower()
        if opening.start() < position or kind in endless:
            continue
        closing = _CLOSINGS[kind].search(text, opening.end())
        if closing is None:
            endless.add(kind)
        else:
            kept.append(text[position : opening.start()])
            position = closing.end()
    return "".join(kept) + text[position:] if kept else text


# --- Edits of single characters, as tables: what a match becomes ---

_LINE_END: Final = re.compile("[\r\v\f\x85\u2028\u2029]")


def normalise_line_ends(text: str) -> str:
    r"""Turns `\r\n`, bare `\r` and the rarer line and paragraph separators into `\n`."""
    return _LINE_END.sub("\n", text.replace("\r\n", "\n"))


_INVISIBLE: Final = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffd\ufdd0-\ufdef\ue000-\uf8ff\U000e0000-\U000e007f\ufffe\uffff"
    "\U000f0000-\U0010ffff]"
)


def drop_invisible_characters(text: str) -> str:
    """Drops control, zero-width, bidirectional, private-use and replacement characters."""
    return _INVISIBLE.sub("", text)


_FULL_WIDTH: Final = re.compile("[０-９Ａ-Ｚａ-ｚ]")


def narrow_latin(text: str) -> str:
    """Makes full-width Latin letters and digits half-width; punctuation keeps its width."""
    return _FULL_WIDTH.sub(lambda found: chr(ord(found[0]) - 0xFEE0), text)


_WIDE_SPACE: Final = re.compile("[\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def normalise_spaces(text: str) -> str:
    """Turns tabs and the wider and narrower spaces into plain ones."""
    return _WIDE_SPACE.sub(" ", text)


CHARACTER_EDITS: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = (
    (_LINE_END, normalise_line_ends),
    (_INVISIBLE, drop_invisible_characters),
    (_FULL_WIDTH, narrow_latin),
    (_WIDE_SPACE, normalise_spaces),
)
"""What each edit looks for, and the edit. No edit makes a character that another looks for."""

_ANY_CHARACTER_EDIT: Final = re.compile(
    f"[{''.join(found.pattern.strip('[]') for found, _ in CHARACTER_EDITS)}]"
)
_edited_characters: dict[str, str] = {}


def edit_characters(text: str) -> str:
    """Applies all edits of single characters in one pass; most texts need none."""
    if _ANY_CHARACTER_EDIT.search(text) is None:
        return text
    return _ANY_CHARACTER_EDIT.sub(_edit_character, text.replace("\r\n", "\n"))


def _edit_character(found: re.Match[str]) -> str:
    char = found[0]
    edited = _edited_characters.get(char)
    if edited is None:
        edited = char
        for _, edit in CHARACTER_EDITS:
            edited = edit(edited)
        _edited_characters[char] = edited
    return edited


# --- Edits of the whole text ---


def collapse_white_space(text: str) -> str:
    """Makes every run of spaces one space and every run with a line end one line feed."""
    while "  " in text:
        text = text.replace("  ", " ")
    if "\n" in text:
        text = "\n".join([bare for line in text.split("\n") if (bare := line.strip(" "))])
    return text.strip(" ")


EDITS: Final[tuple[Callable[[str], str], ...]] = (
    unescape_entities,
    strip_tags,
    edit_characters,
    collapse_white_space,
)


def clean_text(text: str) -> str:
    """Applies all edits in their order; again where one edit has laid open work for another.

    `&<b>amp;` becomes `&amp;` and then `&`. Without `&` and `<` a second pass changes nothing.
    """
    for _ in range(_MAX_PASSES):
        before = text
        for edit in EDITS:
            text = edit(text)
        if text == before or ("&" not in text and "<" not in text):
            break
    return text


# --- Rejections ---

_CHINESE: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")


def count_visible_chars(text: str) -> int:
    """Counts the characters of a cleaned text that are no white space."""
    return len(text) - text.count(" ") - text.count("\n")


def is_too_short(text: str, min_chars: int) -> bool:
    """Tells whether a cleaned text has fewer visible characters than wanted."""
    return count_visible_chars(text) < min_chars


_SURELY_CHINESE: Final = bytes(range(0xE5, 0xEA))
"""First bytes in UTF-8 of U+5000 to U+9FFF, which stand nowhere else."""

_OTHER_BYTES: Final = bytes(sorted(set(range(0x100)) - set(_SURELY_CHINESE)))


def has_too_little_chinese(text: str, min_fraction: float) -> bool:
    """Tells whether Chinese characters are a smaller share of the visible ones than wanted."""
    wanted = min_fraction * count_visible_chars(text)
    # The first half of a Chinese text has enough of them, and bytes are counted fast.
    if len(text[: len(text) // 2].encode().translate(None, _OTHER_BYTES)) >= wanted:
        return False
    return sum(map(len, _CHINESE.findall(text))) < wanted


def find_reason_to_reject(text: str, corpus: str, config: DocumentsConfig) -> str | None:
    """Returns the first reason for which a cleaned text is not kept, or None."""
    if is_too_short(text, config.min_chars[corpus]):
        return TOO_SHORT
    if has_too_little_chinese(text, config.min_chinese_fraction):
        return TOO_LITTLE_CHINESE
    return None
