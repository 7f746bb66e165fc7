import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rules.classes import CHINESE, encode, members
from pipeline.rules.kinds import RUN_CHARS, Trigger
from pipeline.rules.scanning import Scanner

SINGLE, PAIR, SAME, RUN = (
    Trigger("&x"),
    Trigger("ab", "c\n"),
    Trigger("a\n", "a\n"),
    Trigger("xy", run=True),
)
PATTERNS = {SINGLE: "[&x]", PAIR: "[ab][c\n]", SAME: "[a\n][a\n]", RUN: "x{4}|y{4}"}


def flags_of(texts, triggers):
    scanner = Scanner(triggers)
    return [
        [bool(flags & scanner.flags[trigger]) for trigger in triggers]
        for flags in scanner.scan(texts)
    ]


@given(st.lists(st.text(st.sampled_from("&xyabc\n甲😀"), max_size=9), max_size=6))
def test_scan_finds_in_each_text_what_patterns_find_between_line_feeds(texts):
    triggers = [PAIR, SINGLE, RUN, SAME]
    assert flags_of(texts, triggers) == [
        [re.search(PATTERNS[trigger], f"\n{text}\n") is not None for trigger in triggers]
        for text in texts
    ]


def test_scan_never_looks_across_texts():
    assert flags_of(["a", "c"], [Trigger("a", "c")]) == [[False], [False]]
    assert flags_of(["xx", "xx"], [RUN]) == [[False], [False]]
    assert flags_of(["xxxx", ""], [RUN]) == [[True], [False]]
    assert RUN_CHARS == 4


def test_scan_of_no_texts_and_empty_texts():
    assert flags_of([], [SINGLE]) == []
    assert flags_of(["", ""], [SINGLE, PAIR]) == [[False, False]] * 2


def test_equal_triggers_share_a_flag():
    scanner = Scanner([SINGLE, Trigger("&x"), PAIR])
    assert sorted(scanner.flags.values()) == [1, 2]


def test_scanner_refuses_more_triggers_than_its_table_has_bits():
    Scanner([Trigger(chr(0x4E00 + number), "甲") for number in range(16)])
    with pytest.raises(ValueError, match="34 bits, got 32"):
        Scanner([Trigger(chr(0x4E00 + number), "甲") for number in range(17)])


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5))
def test_encode_puts_a_line_feed_before_and_behind_each_text(texts):
    codes, starts = encode(texts)
    assert codes.tolist() == [ord(char) for text in texts for char in f"\n{text}"] + [10]
    assert starts.tolist() == [
        sum(len(text) + 1 for text in texts[:at]) for at in range(len(texts) + 1)
    ]


def test_members_are_those_of_the_regular_expression():
    every = members(CHINESE)
    assert every.shape == (0x110000,)
    for char, expected in zip("一鿿㐀〇豈\U00020000\U0003ffffあA，", "1111111000", strict=True):
        assert every[ord(char)] == (expected == "1")
