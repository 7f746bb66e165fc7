"""Marks of what changed, and symbols for what cannot be seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.marks import (
    INVISIBLE,
    INVISIBLE_OR_BLANK,
    MAX_CHARS,
    Piece,
    clip,
    show,
    split_difference,
    split_edit,
)


@st.composite
def edits(draw):
    text = draw(st.text(max_size=60))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    return text, [(start, end, draw(st.text(max_size=3))) for start, end in spans]


def splice(text, spans):
    for start, end, replacement in reversed(spans):
        text = text[:start] + replacement + text[end:]
    return text


def join(pieces):
    return "".join(piece.text for piece in pieces)


@given(edits())
def test_pieces_of_an_edit_join_to_the_texts_before_and_after(edit):
    text, spans = edit
    before, after = split_edit(text, spans)
    assert join(before) == text
    assert join(after) == splice(text, spans)


@given(edits())
def test_what_is_not_marked_is_the_same_on_both_sides(edit):
    before, after = split_edit(*edit)
    same = [[piece for piece in pieces if not piece.is_changed] for pieces in (before, after)]
    assert same[0] == same[1]


def test_edit_marks_what_goes_and_where_it_was():
    before, after = split_edit("窗外<b>下雨", [(2, 5, "")])
    assert before == [Piece("窗外", False), Piece("<b>", True), Piece("下雨", False)]
    assert after == [Piece("窗外", False), Piece("", True), Piece("下雨", False)]


def test_long_excerpt_and_long_replacement_are_clipped():
    before, after = split_edit("雨" * 500, [(0, 1, "雪" * 500), (450, 451, "风")])
    assert join(before) == "雨" * MAX_CHARS + "…"
    assert join(after) == "雪" * MAX_CHARS + "…" + "雨" * (MAX_CHARS - 1) + "…"


def test_span_beyond_the_clip_is_clipped_itself():
    before, after = split_edit("雨" * 1000, [(1, 999, "")])
    assert join(before) == "雨" * (1 + MAX_CHARS) + "……"
    assert join(after) == "雨…"


@given(st.text(max_size=40), st.text(max_size=40))
def test_pieces_of_a_difference_join_to_both_texts(first, second):
    old, new = split_difference(first, second)
    assert (join(old), join(new)) == (first, second)
    same = [join(piece for piece in of if not piece.is_changed) for of in (old, new)]
    assert same[0] == same[1]


def test_difference_marks_what_stands_in_one_only():
    assert split_difference("红色的石桥", "红色之石桥") == (
        [Piece("红色", False), Piece("的", True), Piece("石桥", False)],
        [Piece("红色", False), Piece("之", True), Piece("石桥", False)],
    )


def test_end_of_a_cut_excerpt_is_not_marked():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + MAX_CHARS)))
    old, new = split_difference(text + "后", text[10:] + "后来还有更多")
    assert old == [Piece(text[:10], True), Piece(text[10:], False), Piece("…", False)]
    assert new == [Piece(text[10:], False), Piece("后来还有更多", False), Piece("…", False)]


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("\0", "⟨U+0000⟩"),
        ("\x1b", "⟨U+001B⟩"),
        ("\t", "⇥"),
        ("\r", "⟨U+000D⟩"),
        ("\x7f", "⟨U+007F⟩"),
        ("\x85", "⟨U+0085⟩"),
        ("\xa0", "⟨U+00A0⟩"),
        ("\u200b", "⟨U+200B⟩"),
        ("\u202e", "⟨U+202E⟩"),
        ("\u2028", "⟨U+2028⟩"),
        ("\u3000", "⟨U+3000⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("\ue000", "⟨U+E000⟩"),
        ("\ufeff", "⟨U+FEFF⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\U0010ffff", "⟨U+10FFFF⟩"),
    ],
)
def test_invisible_character_is_shown_wherever_it_stands(char, shown):
    assert show(Piece(f"石{char}桥", False)) == show(Piece(f"石{char}桥", True)) == f"石{shown}桥"


@pytest.mark.parametrize("char", ["石", "a", "，", "é", "😀", "\U00020000", "�"])
def test_visible_character_is_left(char):
    assert show(Piece(char, True)) == char


def test_blanks_are_shown_only_where_they_changed():
    assert show(Piece("石 桥\n", False)) == "石 桥\n"
    assert show(Piece("石 桥\n", True)) == "石␣桥↵\n"


@given(st.text())
def test_nothing_invisible_is_left(text):
    assert INVISIBLE.search(show(Piece(text, False))) is None
    assert INVISIBLE_OR_BLANK.search(show(Piece(text, True)).replace("↵\n", "")) is None


def test_clip_says_that_there_is_more():
    assert clip("桥" * MAX_CHARS) == "桥" * MAX_CHARS
    assert clip("桥" * (MAX_CHARS + 1)) == "桥" * MAX_CHARS + "…"
