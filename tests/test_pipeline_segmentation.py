import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.segmentation import load_segmenter, measure_words

# jieba 0.42.1 has regular expressions in plain strings; compiling it for the first time says so.
# Where setuptools still has it, it also imports pkg_resources, which calls itself deprecated.
JIEBA_WARNINGS = (
    pytest.mark.filterwarnings("ignore:invalid escape sequence"),
    pytest.mark.filterwarnings("ignore:pkg_resources is deprecated"),
    pytest.mark.filterwarnings(r"ignore:Deprecated call to `pkg_resources\."),
)
SEGMENTERS = ["rjieba", pytest.param("jieba", marks=JIEBA_WARNINGS)]

mixed = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "我来到北京清华大学的人民，。！（）《》aZ09.+-#&_%@ \t\r\n\u3000\u2028\0\x85"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_words_joined_are_the_text_again(name):
    segment = load_segmenter(name)

    @settings(max_examples=150, deadline=None)
    @given(mixed)
    @example("")
    @example("甲\r\n乙\r丙\n\n丁")
    @example("𠮷野家😀e\u0301\u200b\ufffe\U0010ffff")
    @example("3.14% a.b+c#d&e_f@g １２ａｂ")
    def joined_words_are_the_text(text):
        words = segment(text)
        assert "".join(words) == text
        assert "" not in words

    joined_words_are_the_text()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenter_cuts_a_sentence_into_the_words_of_the_dictionary(name):
    assert load_segmenter(name)("我来到北京清华大学，买了一台iPhone。") == [
        *("我", "来到", "北京", "清华大学", "，", "买", "了", "一台", "iPhone", "。")
    ]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenter_finds_words_that_are_in_no_dictionary(name):
    assert load_segmenter(name)("他来到了网易杭研大厦") == [
        *("他", "来到", "了", "网易", "杭研", "大厦")
    ]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_load_segmenter_loads_once(name):
    assert load_segmenter(name) is load_segmenter(name)


@pytest.mark.parametrize("name", ["", "pkuseg", "Jieba"])
def test_load_segmenter_refuses_unknown_name(name):
    with pytest.raises(ValueError, match=f"^segmenter must be rjieba or jieba, got '{name}'$"):
        load_segmenter(name)


def measure_plainly(texts, segment):
    return [length for text in texts for length in [*map(len, segment(text)), 1]]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_measure_words_equals_plain_version_and_adds_up_to_the_joined_texts(name):
    segment = load_segmenter(name)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(mixed, max_size=5))
    @example([])
    @example([""])
    @example(["", "\n", ""])
    @example(["甲\n\n乙", "我来到北京清华大学"])
    @example(["a" * 300, "我"])
    def lengths_are_those_of_the_words(texts):
        lengths = measure_words(texts, segment)
        assert lengths.tolist() == measure_plainly(texts, segment)
        assert lengths.sum(dtype=np.int64) == len("\n".join([*texts, ""]))

    lengths_are_those_of_the_words()


def finding(lengths):
    """A segmenter that finds words of the lengths listed for each text."""

    def segment(text):
        return [text[:length] for length in lengths[text]]

    return segment


word_lengths = st.lists(
    st.one_of(st.integers(1, 9), st.integers(253, 258), st.sampled_from([300, 512, 70_000])),
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(word_lengths, max_size=4))
@example([[255]])
@example([[256]])
@example([[255, 255], [1], []])
@example([[1, 2], [300], [3]])
@example([[], [256, 1], []])
def test_measure_words_of_any_lengths_equals_plain_version(of_texts):
    # Texts of their own letter each, so that the segmenter knows them apart.
    texts = [chr(ord("a") + at) * sum(lengths) for at, lengths in enumerate(of_texts)]
    found = measure_words(texts, finding(dict(zip(texts, of_texts, strict=True))))
    assert found.tolist() == [length for of_text in of_texts for length in [*of_text, 1]]


@pytest.mark.parametrize("length", [255, 256, 300])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_measure_words_of_a_long_latin_word_among_others(name, length):
    texts = ["我", f"他{'a' * length}", "好"]
    assert measure_words(texts, load_segmenter(name)).tolist() == [1, 1, 1, length, 1, 1, 1]


@pytest.mark.parametrize(("texts", "expected"), [([], []), ([""], [1]), (["", "", ""], [1, 1, 1])])
def test_measure_words_of_texts_without_words_counts_their_line_feeds(texts, expected):
    lengths = measure_words(texts, load_segmenter("rjieba"))
    assert lengths.tolist() == expected
    assert np.issubdtype(lengths.dtype, np.integer)
