import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.segmentation import load_segmenter

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
