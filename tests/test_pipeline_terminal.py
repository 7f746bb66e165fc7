"""Text in columns of a terminal."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.marks import Piece
from pipeline.terminal import NEW, OLD, columns_of, mark_pieces, pad, wrap

PLAIN = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=80)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("abc", 3),
        ("石桥", 4),
        ("石a，。", 7),
        ("ＡＢ", 4),
        ("…“”", 3),
        ("e\u0301", 1),
        ("\u200b", 0),
        ("\U00020000", 2),
        ("한글", 4),
        ("😀", 2),
    ],
)
def test_wide_characters_take_two_columns_and_accents_none(text, columns):
    assert columns_of(text) == columns


@given(PLAIN, st.integers(2, 20))
def test_wrapping_loses_nothing_and_no_line_is_too_wide(text, columns):
    lines = wrap(text, columns)
    assert "".join(lines) == text.replace("\n", "")
    assert all(columns_of(line) <= columns for line in lines)
    assert all(columns_of(line + after[0]) > columns for line, after in pairwise(lines))


def test_wide_character_is_not_cut_in_two():
    assert wrap("石桥a木桥", 5) == ["石桥a", "木桥"]
    assert wrap("a石桥", 4) == ["a石", "桥"]


def test_one_character_stands_in_a_line_that_is_too_narrow_for_it():
    assert wrap("石桥", 1) == ["石", "桥"]


def test_line_feeds_end_lines_and_empty_lines_stay():
    assert wrap("石\n\n桥\n", 10) == ["石", "", "桥", ""]


PIECES = (Piece("红色", False), Piece("的", True), Piece("桥", False), Piece("", True))


def test_marks_are_signs_without_colour():
    assert mark_pieces(PIECES, 40, OLD, colour=False) == ["红色[-的-]桥"]
    assert mark_pieces(PIECES, 40, NEW, colour=False) == ["红色{+的+}桥"]


def test_marks_are_colours_that_take_no_columns():
    assert mark_pieces(PIECES, 8, OLD, colour=True) == ["红色\x1b[31m的\x1b[0m桥"]
    assert mark_pieces(PIECES, 8, NEW, colour=True) == ["红色\x1b[32m的\x1b[0m桥"]


def test_colour_that_goes_on_is_closed_and_opened_again_in_each_line():
    pieces = [Piece("一", False), Piece("二三四五", True), Piece("六七", False)]
    assert mark_pieces(pieces, 4, OLD, colour=True) == [
        "一\x1b[31m二\x1b[0m",
        "\x1b[31m三四\x1b[0m",
        "\x1b[31m五\x1b[0m六",
        "七",
    ]


def test_padding_counts_columns_and_not_colours():
    assert pad("石桥", 6) == "石桥  "
    assert pad("\x1b[31m石\x1b[0m", 4) == "\x1b[31m石\x1b[0m  "
    assert pad("石桥", 2) == "石桥"
