from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rjieba
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import segmentation
from pipeline.segmentation import load_jieba, load_segmenter

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
chinese = st.text(
    st.one_of(
        st.sampled_from("的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可常此A1-.%"),
        st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
    ),
    max_size=30,
)


CASES = [
    "",
    "甲\r\n乙\r丙\n\n丁\r",
    "𠮷野家😀e\u0301\u200b\ufffe\U0010ffff",
    "3.14% a.b+c#d&e_f@g １２ａｂ",
    "WES-5.4.5、ISU-CNS24093、a--b、a_b%c、.a.b.、50%%、AT&T、C++、a-中-b",
    "卡拉OK里的T恤和AA制，B超",
    "巴金常在此会见中外宾客",  # two ways to cut 常在此 are all but equally probable
    "㐀㐁一㐂丁七\u9fd6万丈\u9fef三",  # characters that the model does not know
    "南京市长江大桥欢迎您，研究生命起源。他说的确实在理",
]


def plain_lengths(texts, cut):
    return [length for text in texts for length in [*map(len, cut(text)), 1]]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(mixed, chinese), max_size=5))
@example(CASES)
@example(["a" * 300, "我" * 70_000])
def test_rjieba_words_are_those_of_rjieba(texts):
    lengths = load_segmenter("rjieba")(texts)
    assert lengths.tolist() == plain_lengths(texts, rjieba.cut)
    assert lengths.dtype == np.int32


def test_rjieba_words_are_those_of_rjieba_for_pairs_of_all_characters_of_the_model():
    # 20,950 characters with others of all kinds, so that the model has to decide each time.
    codes = np.arange(0x4E00, 0x9FD6)
    others = np.random.default_rng(1).permutation(codes)
    texts = [chr(a) + chr(b) for a, b in zip(codes.tolist(), others.tolist(), strict=True)]
    assert load_segmenter("rjieba")(texts).tolist() == plain_lengths(texts, rjieba.cut)


def test_every_word_of_the_dictionary_is_cut_as_by_rjieba():
    lines = (Path(jieba_folder()) / "dict.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split(" ")[0] for line in lines[::7]]
    assert load_segmenter("rjieba")(texts).tolist() == plain_lengths(texts, rjieba.cut)


def jieba_folder():
    return find_spec("jieba").submodule_search_locations[0]


def test_jieba_lengths_are_those_of_the_words_of_jieba():
    for text in CASES:
        assert load_segmenter("jieba")([text, "甲"]).tolist() == plain_lengths(
            [text, "甲"], load_jieba()
        )


@pytest.mark.parametrize("name", SEGMENTERS)
def test_lengths_add_up_to_the_joined_texts(name):
    segment = load_segmenter(name)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(mixed, max_size=5))
    @example(["", "\n", ""])
    @example(["a" * 300, "我"])
    def lengths_add_up(texts):
        lengths = segment(texts)
        assert lengths.sum() == len("\n".join([*texts, ""]))
        assert (lengths > 0).all()

    lengths_add_up()


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        # Those of the dictionary, and Latin ones.
        ("我来到北京清华大学，买了一台iPhone。", "我 来到 北京 清华大学 ， 买 了 一台 iPhone 。"),
        # One that is in no dictionary.
        ("他来到了网易杭研大厦", "他 来到 了 网易 杭研 大厦"),
    ],
)
def test_segmenter_finds_words(name, text, words):
    lengths = load_segmenter(name)([text])
    assert lengths.tolist() == [*map(len, words.split()), 1]
    assert "".join(words.split()) == text


@pytest.mark.parametrize("name", SEGMENTERS)
def test_texts_without_words_have_their_line_feeds(name):
    for texts, expected in (([], []), ([""], [1]), (["", "", ""], [1, 1, 1])):
        assert load_segmenter(name)(texts).tolist() == expected


@pytest.mark.parametrize("name", SEGMENTERS)
def test_load_segmenter_loads_once(name):
    assert load_segmenter(name) is load_segmenter(name)


@pytest.mark.parametrize("name", ["", "pkuseg", "Jieba"])
def test_load_segmenter_refuses_unknown_name(name):
    with pytest.raises(ValueError, match=f"^segmenter must be rjieba or jieba, got '{name}'$"):
        load_segmenter(name)


def test_version_of_rjieba_is_the_one_it_is_compared_with():
    assert segmentation.version_of("rjieba") == version("rjieba")
    assert segmentation.version_of("jieba") == version("jieba")


@pytest.mark.parametrize(
    "dictionary",
    ["", "我 1 r\n", "我 r\n", "我\n", " 1 r\n", "我 0 r\n", "我 60101967 r\n" * 2],
)
def test_another_dictionary_is_refused(tmp_path, monkeypatch, dictionary):
    (tmp_path / "dict.txt").write_text(dictionary, encoding="utf-8")
    monkeypatch.setattr(segmentation, "_folder_of_jieba", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"dict\.txt of jieba is not that of version 0\.42\.1"):
        segmentation._CompiledSegmenter()


def test_without_jieba_its_absence_is_named(monkeypatch):
    monkeypatch.setattr(segmentation, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="jieba is not installed"):
        segmentation._CompiledSegmenter()
