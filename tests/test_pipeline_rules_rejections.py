import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import MIN_CHARS, DocumentsConfig
from pipeline.rules.rejections import (
    NGRAM_CHARS,
    REJECTIONS,
    Batch,
    find_reasons,
    has_blocked_words,
    has_mojibake,
    has_repeated_lines,
    has_repeated_ngrams,
)

GOOD = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。寒来暑往，秋收冬藏。闰余成岁，律吕调阳。"
texts = st.lists(st.text(st.sampled_from("甲乙丙a1，\n é"), max_size=40), min_size=1, max_size=6)


def reason_of(text, corpus="plain", **fields):
    (reason,) = find_reasons([text], corpus, DocumentsConfig(**fields))
    return reason


@given(texts)
def test_batch_counts_the_characters_of_each_text(texts):
    batch = Batch.of(texts)
    assert batch.lengths.tolist() == [len(text) for text in texts]
    assert batch.visible.tolist() == [
        len(text) - text.count(" ") - text.count("\n") for text in texts
    ]
    assert batch.line_ends.tolist() == [text.count("\n") for text in texts]
    for counted, chars in (
        (batch.chinese, "甲乙丙"),
        (batch.letters, "甲乙丙aé"),
        (batch.odd, "é"),
    ):
        assert counted.tolist() == [sum(map(text.count, chars)) for text in texts]


@pytest.mark.parametrize(("corpus", "min_chars"), MIN_CHARS.items())
def test_too_short_at_the_threshold_of_every_corpus(corpus, min_chars):
    text = (GOOD * 3)[:min_chars]
    assert reason_of(text, corpus) is None
    assert reason_of(f"{text[:-1]} \n", corpus) == "too_short"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲乙丙丁" + "abcdefgh" * 2, None),
        ("甲乙丙丁" + "abcdefgh" * 2 + "i", "too_little_chinese"),
        ("㐀䶿一豈" + "abcdefgh \n" * 2, None),
        ("あア한ㄅabcdef", "too_little_chinese"),
    ],
)
def test_too_little_chinese_below_a_fifth(text, expected):
    assert reason_of(text, min_chinese_fraction=0.2) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲乙丙 1234567", None),
        ("甲乙丙 12345678", "mostly_digits_or_signs"),
        ("甲乙丙a ，。：+☎1２", None),
        ("甲乙丙a ，。：+☎1２😀+-", "mostly_digits_or_signs"),
    ],
)
def test_mostly_digits_or_signs_above_seven_tenths(text, expected):
    assert reason_of(text, max_digit_sign_fraction=0.7) == expected


def ngram_fraction(text):
    ngrams = [text[at : at + NGRAM_CHARS] for at in range(len(text) - NGRAM_CHARS + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text(st.sampled_from("甲乙丙"), max_size=12), st.integers(0, 8)).map(
            lambda part: part[0] * part[1]
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
)
def test_repeated_ngrams_are_those_equal_to_one_before(texts, max_fraction):
    found = has_repeated_ngrams(Batch.of(texts), max_fraction)
    assert found.tolist() == [ngram_fraction(text) > max_fraction for text in texts]


def test_repeated_ngrams_are_counted_within_one_text_alone():
    assert not has_repeated_ngrams(Batch.of([GOOD] * 20), 0.0).any()
    assert has_repeated_ngrams(Batch.of([GOOD, GOOD * 2, GOOD]), 0.4).tolist() == [
        False,
        True,
        False,
    ]


def line_fraction(text):
    lines = text.split("\n")
    chars = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / chars if chars else 0


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("甲a\n"), max_size=20), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.25, 0.5]),
)
def test_repeated_lines_are_those_equal_to_one_before(texts, max_fraction):
    found = has_repeated_lines(Batch.of(texts), max_fraction)
    assert found.tolist() == [line_fraction(text) > max_fraction for text in texts]


def test_many_lines_are_compared_exactly():
    # 3,000 different lines, of which the last is there twice.
    text = "\n".join([*map(str, range(10_000, 13_000)), "12999"])
    assert has_repeated_lines(Batch.of([text]), 0.9 / 3001).tolist() == [True]
    assert has_repeated_lines(Batch.of([text]), 1.0 / 3001).tolist() == [False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲乙\n甲乙\n丙丁", True),
        ("甲乙\n甲乙\n丙丁\n戊", False),
        ("甲乙\n丙丁", False),
        ("甲甲甲甲", False),
        ("甲\n甲\n乙乙乙乙乙", False),
        ("\n\n", False),
    ],
)
def test_repeated_lines_above_three_tenths_of_characters(text, expected):
    assert has_repeated_lines(Batch.of([text, GOOD]), 0.3).tolist() == [expected, False]


def wrong(text, encoding):
    return text.encode().decode(encoding, errors="ignore")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "gbk"])
def test_mojibake_of_utf8_read_as_another_encoding(encoding):
    damaged = "".join(filter(str.isprintable, wrong(GOOD * 2, encoding)))
    assert has_mojibake(Batch.of([damaged, GOOD]), 0.05).tolist() == [True, False]


@pytest.mark.parametrize(
    "text", ["锟斤拷锟斤拷锟斤拷", "烫烫烫烫烫烫", "屯屯屯屯屯屯", "甲乙锟斤拷锟斤拷丙丁"]
)
def test_mojibake_of_lost_characters(text):
    assert has_mojibake(Batch.of([text]), 0.05).tolist() == [True]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "zhōng guó nǐ hǎo là hé",
            "Café à Genève où naïve",
            "温度25°C±1°，3×4",
            "水很烫，屯粮，斤两",
        ),
        *("臺灣鐵路", "甲····乙", "×××"),
    ],
)
def test_mojibake_is_not_pinyin_french_signs_or_single_characters(text):
    assert has_mojibake(Batch.of([text]), 0.0).tolist() == [False]


def test_blocked_words_are_found_anywhere_and_exactly():
    batch = Batch.of(["甲乙丙", "乙丙", "乙", "a.c", "abc", ""])
    assert has_blocked_words(batch, ("乙丙", "a.c")).tolist() == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    assert has_blocked_words(batch, ()).tolist() == [False] * 6


@given(st.lists(st.text("甲乙丙", min_size=1, max_size=3), max_size=5), texts)
def test_blocked_words_are_found_as_one_by_one(words, texts):
    found = has_blocked_words(Batch.of(texts), words)
    assert found.tolist() == [any(word in text for word in words) for text in texts]


def test_find_reasons_names_the_first_that_holds():
    assert find_reasons([], "plain", DocumentsConfig()) == []
    many = ["甲" * 7, "a" * 30, "甲" * 30, GOOD, f"{GOOD}乙"]
    config = DocumentsConfig(blocklist=("甲", "a", "乙"))
    expected = ["too_short", "too_little_chinese", "repeated_ngrams", None, "blocklisted"]
    assert find_reasons(many, "plain", config) == expected


def test_find_reasons_leaves_out_rules_that_are_off():
    off = ("too_short", "repeated_ngrams", "repeated_lines")
    assert reason_of("甲") == "too_short"
    assert reason_of("甲", rules_off=off) is None
    assert reason_of("甲" * 30, rules_off=off) is None
    assert reason_of("a" * 30, rules_off=off) == "too_little_chinese"


@pytest.mark.parametrize(
    ("text", "reason", "fields"),
    [
        (f"{GOOD}\n{GOOD}", "repeated_lines", {"max_repeated_ngram_fraction": 1.0}),
        ("锟斤拷" * 9, "mojibake", {"max_repeated_ngram_fraction": 1.0}),
    ],
)
def test_find_reasons_obeys_the_thresholds(text, reason, fields):
    assert reason_of(text, max_repeated_line_fraction=0.4, **fields) == reason
    loose = {"max_repeated_line_fraction": 1.0, "max_mojibake_fraction": 1.0}
    assert reason_of(text, **fields, **loose) is None


def test_rejections_are_those_that_find_reasons_and_the_cleaner_give():
    assert list(REJECTIONS) == [
        *("unsettled", "too_short", "too_little_chinese", "mostly_digits_or_signs"),
        *("repeated_ngrams", "repeated_lines", "mojibake", "blocklisted"),
    ]


def test_counts_do_not_overflow_in_long_texts():
    batch = Batch.of(["甲" * 3_000_000])
    assert int(batch.chinese[0]) == 3_000_000
    assert batch.chinese.dtype == np.uint32
