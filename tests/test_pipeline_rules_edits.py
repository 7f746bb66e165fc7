import sys
import time
import types

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import DocumentsConfig
from pipeline.rules import optional
from pipeline.rules.classes import members
from pipeline.rules.edits import EDITS, OPTIONAL_EDITS, Span, choose_edits
from pipeline.rules.kinds import splice
from pipeline.rules.scanning import Scanner

PIECES = (
    *("&", "amp;", " amp;", "lt;", "lt；", "nbsp", "#60;", "#0;", "copy", "&lt", "；"),
    *("<", ">", "/", "br", "p", "b", "<script>", "</script>", "<!--", "-->", "`", "```"),
    *("<rt>", "</rt>", "<rp>", "</rp>", " x='1'", "="),
    *("\r", "\n", "\t", " ", "  ", "\u3000", "\xa0", "\v", "\x85", "\u2028"),
    *("\0", "\u200b", "\u202e", "\ue000", "\uf06c", "\ufffd", "\ufeff", "\ufffe"),
    *(
        "Ａ",
        "ｚ",
        "０",
        "，",
        "、",
        "；",
        "。",
        "：",
        "（",
        "）",
        "(",
        ")",
        "《",
        "》",
        "「」",
        "号",
    ),
    *("！", "…", "—", ".", "-", "\\", "·", "英语：", "学名："),
    *("中", "文 ", "的 ", "了", "𠮷", "😀", "A", "1", "甲@b.cn", "a@b.cn", "13800138000"),
)
texts = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=40))
ALL_EDITS = (*EDITS, optional.PERSONAL_DATA_EDIT)
by_name = {edit.name: edit for edit in ALL_EDITS}


@pytest.mark.parametrize("edit", ALL_EDITS, ids=lambda edit: edit.name)
def test_edit_applies_its_spans_counts_them_and_has_a_trigger_where_it_changes(edit):
    scanner = Scanner([edit.trigger])

    @settings(max_examples=200, deadline=None)
    @given(texts)
    @example("")
    @example(" \n ")
    def check(text):
        changed, times, removed, added = edit.apply(text)
        spans = edit.find_spans(text)
        assert changed == splice(text, spans)
        assert len(changed) == len(text) - removed + added
        assert times == len(spans)
        assert removed == sum(end - start for start, end, _ in spans)
        assert added == sum(len(replacement) for _, _, replacement in spans)
        assert all(text[start:end] != replacement for start, end, replacement in spans)
        ends = [0, *(end for _, end, _ in spans)]
        assert all(start >= end for (start, _, _), end in zip(spans, ends, strict=False))
        assert scanner.scan([text, "甲"])[0] or not spans
        assert not scanner.scan(["甲", text, "乙"])[0]

    check()


def test_edits_have_the_names_that_configurations_use_in_this_order():
    assert [edit.name for edit in EDITS] == [
        *("html_entities", "html_elements", "ruby_annotations", "block_tags", "inline_tags"),
        *("line_ends", "invisible", "private_use", "replacement_characters"),
        *("full_width_latin", "wide_spaces", "chinese_spaces", "empty_brackets", "stray_commas"),
        *("repeated_punctuation", "white_space"),
    ]
    assert OPTIONAL_EDITS == ("personal_data", "script")


CASES = {
    "html_entities": [
        ("甲&amp;乙&lt;&#39;&#20013;&#x6587;", "甲&乙<'中文"),
        ("&hellip;&mdash;&ldquo;", "…—“"),
        ("甲&nbsp乙&nbsp&nbsp;丙", "甲\xa0乙\xa0\xa0丙"),
        ("&amp;lt;&amp;amp;nbsp;&amp;amp;", "<\xa0&"),
        ("& nbsp;& lt;&amp; nbsp;", "\xa0<\xa0"),
        ("P&lt；.05，a&lt甲", "P<.05，a<甲"),
        ("&#0;", "\ufffd"),
        ("?a=1&amp;list=2", "?a=1&list=2"),
    ],
    "html_elements": [
        ("甲<script>if (a<b) x();</script>乙<style>p{}</style>丙", "甲乙丙"),
        ("甲<!-- <b>不</b>\n见 -->乙<!---->丙", "甲乙丙"),
        ("甲<SCRIPT src='x'>\n</Script >乙", "甲乙"),
    ],
    "ruby_annotations": [
        ("<ruby>容器<rt>container</rt></ruby>", "<ruby>容器（container）</ruby>"),
        ("容器<rp>(</rp><rt>c</rt><rp>)</rp>", "容器（c）"),
    ],
    "block_tags": [
        ("甲<br>乙<br/>丙<br />丁<BR>", "甲\n乙\n丙\n丁\n"),
        ("<p class='x'>甲</p><li>乙", "\n甲\n\n乙"),
    ],
    "inline_tags": [
        ('<b>甲</b><SPAN style="color:red">乙</SPAN>', "甲乙"),
        ('<a\nhref="http://例.cn/?a=1&b=2">甲</a\n><img src=x/>', "甲"),
    ],
    "line_ends": [
        ("甲\r\n乙\r丙\r\r丁\n\r", "甲\n乙\n丙\n\n丁\n\n"),
        ("\v\f\x85\u2028\u2029", "\n" * 5),
    ],
    "invisible": [("甲\u200b\u200b乙\0\xad\ufeff\u202e丙\x7f", "甲乙丙")],
    "private_use": [("甲\ue000乙\U000f0000丙", "甲乙丙"), ("甲\uf06c\uf06e乙", "甲 乙")],
    "replacement_characters": [("甲\ufffd\ufffd乙\ufffc\uffff\U0001ffff", "甲乙")],
    "full_width_latin": [("ＩＰ１２，Ａ：！", "IP12，A：！")],
    "wide_spaces": [("甲\t乙\xa0丙\u3000\u3000丁\u2003", "甲 乙 丙  丁 ")],
    "chinese_spaces": [
        ("今 天 不 去 了 ， 8 点 见\n好 的", "今天不去了，8点见\n好的"),
        ("他 说 , 中国 的 电影 很 好 。 tmd 的 人", "他说,中国的电影很好。 tmd 的人"),
    ],
    "empty_brackets": [
        ("甲（）乙（，）丙（ ）", "甲乙丙（ ）"),
        ("羊（学名：；英语：），一种", "羊，一种"),
        ("甲()，乙()丙", "甲，乙丙"),
        ("《》甲「」乙『』丙", "甲乙丙"),
        ("甲（）\nA级", "甲\nA级"),
    ],
    "stray_commas": [
        ("甲，，乙、、、丙；，丁", "甲，乙、丙；丁"),
        ("，甲（，乙、）丙，。", "甲（乙）丙。"),
        ("应于期限内\n，申报\n、丙\n。\n丁", "应于期限内，申报、丙。\n丁"),
        ("甲。\n，乙", "甲。\n乙"),
    ],
    "repeated_punctuation": [
        ("好！！！！！不？？？？", "好！！！不？？？"),
        ("…………——————.........------", "……——......---"),
    ],
    "white_space": [
        ("甲  乙   丙", "甲 乙 丙"),
        ("甲 \n  \n \n 乙\n\n丙", "甲\n乙\n丙"),
        (" \n甲 乙\n ", "甲 乙"),
        (" \n  ", ""),
    ],
    "personal_data": [
        ("邮箱：li.si-1@mail.例.cn或li@qq.com", "邮箱：li.si-1@mail.例.cn或〔邮箱〕"),
        ("电话13800138000，19912345678", "电话〔手机号〕，〔手机号〕"),
        ("证号11010519491231002X。", "证号〔身份证号〕。"),
    ],
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [(name, text, expected) for name, cases in CASES.items() for text, expected in cases],
)
def test_edit_changes(name, text, expected):
    assert by_name[name].apply(text).text == expected


UNTOUCHED = {
    "html_entities": [
        *("R&D", "甲 & 乙", "&", "&;", "&#;", "http://例.cn/?a=1&copy=1&lt=2&amp=3"),
        *("&unknown;", "?a=1&region;b", "``'&lt'``", "&amp'", "＆ｌｔ；"),
    ],
    "html_elements": [
        "<ſcript>甲</ſcript>",
        "<script>甲",
        "<!-- 没有结尾",
        "`<!-- 甲 -->`",
        "```\n<style></style>",
    ],
    "ruby_annotations": ["`<rt>甲</rt>`", "<rt>甲", "<rt></rt>"],
    "block_tags": [
        *("a<b", "<三体>", "《序》＜br＞", "<brr>", "< br>", "<br", "List<String>", "`<br>`"),
        *("```html\n<p>甲</p>\n```", "``<p>``和``<br>``", "```\n没有结尾<p>"),
    ],
    "inline_tags": ["1<2 且 3>2", "<http://例.cn>", "`<b>`", "->_<-", "<小明@例.cn>"],
    "invisible": ["甲\t乙\n丙 丁\u3000戊\xa0", "한カガあ😀☎\ufe0f"],
    "replacement_characters": ["'\ufffd'", '("\ufffd\ufffd")', "甲乙"],
    "full_width_latin": ["，：！？（）；．％＋－／＠＃＆＊＜＞", "\u3000￥ｱ", "abc 123"],
    "chinese_spaces": [
        *("刘德华 张学友", "福州 青海 宾阳 乌镇 湘西 北京 上海", "一 二 三 四", "第 一 章 总则"),
        *("对吧 你呢 贝克特", "妈 醒醒 快醒醒", "a b c d 中", "我 用 python 写 程序"),
    ],
    "empty_brackets": [
        *("main()", "foo（）", "x = []", "a[]", "选出（ ）", "书名号《》", "估计()\n", "`吃()`"),
        *("（英语：甲）", "（甲）", "（学名：Ovis；）"),
        *(
            "正确的是（）\n\nA. 甲",
            "正确的是（）？\nA、甲",
            "正确的是（）①甲：",
            "正确的是()。A．甲",
        ),
        *("可能的原因是？（）\n甲", "式样为「」字"),
    ],
    "stray_commas": [
        "甲，乙、丙。",
        "甲\n。。。乙",
        "甲，\n乙",
        "[,,]",
        "他说：“甲，”乙",
        "甲，。。。",
    ],
    "repeated_punctuation": ["……——", "...", "......", "！！！", "###### 甲", "////", "11111"],
    "white_space": ["甲 乙\n丙", ""],
    "personal_data": [
        *("213800138000", "138001380001", "12800138000", "a13800138000", "/13800138000_b.jpg"),
        *("110105194912310021", "110105194913310026", "x@2x.png", "git@github.com", "甲@乙"),
    ],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, cases in UNTOUCHED.items() for text in cases]
)
def test_edit_keeps(name, text):
    assert by_name[name].apply(text) == (text, 0, 0, 0)


@pytest.mark.parametrize(
    "name", ["line_ends", "invisible", "private_use", "replacement_characters", "full_width_latin"]
)
def test_trigger_of_edit_of_characters_is_exactly_what_it_changes(name):
    edit = by_name[name]
    changed = [char for char in map(chr, range(0x110000)) if edit.apply(char).times]
    assert changed == [chr(code) for code in members(edit.trigger.first).nonzero()[0]]


def test_find_spans_says_where_and_by_what():
    assert by_name["html_entities"].find_spans("甲&lt;乙&nbsp") == [
        Span(1, 5, "<"),
        Span(6, 11, "\xa0"),
    ]
    assert by_name["white_space"].find_spans(" 甲\n\n乙 ") == [
        *(Span(0, 1, ""), Span(2, 4, "\n"), Span(5, 6, ""))
    ]
    assert by_name["chinese_spaces"].find_spans("你 真 的") == [Span(1, 2, ""), Span(3, 4, "")]


@pytest.mark.parametrize("edit", ALL_EDITS, ids=lambda edit: edit.name)
@pytest.mark.parametrize(
    "hostile",
    [
        *("<", "<!--", "<script>", "<p ", "<rt>", "`", "``", "```", "&", "& amp;", "&amp;", "&lt"),
        *(" ", " \n", "\n", "，", "\n，", "（", "（，", "（英语：", "《", "-", "。", "中 ", "的 "),
        *("a@", "a.", "1", "a@b.", "\u200b", "\r"),
    ],
)
def test_edit_takes_linear_time(edit, hostile):
    text = hostile * (200_000 // len(hostile))
    start = time.process_time()
    edit.apply(text)
    assert time.process_time() - start < 2  # quadratic time would be hours


# --- Configuration ---


def names_of(**fields):
    return [edit.name for edit in choose_edits(DocumentsConfig(**fields))]


def test_choose_edits_returns_all_but_the_optional_and_those_off():
    every = [edit.name for edit in EDITS]
    assert names_of() == every
    assert names_of(rules_off=("invisible", "white_space", "personal_data")) == [
        name for name in every if name not in ("invisible", "white_space")
    ]
    masked = names_of(mask_personal_data=True)
    after = every.index("chinese_spaces")
    assert masked == [*every[:after], "personal_data", *every[after:]]


@pytest.fixture
def fake_opencc(monkeypatch):
    """OpenCC of two characters and one word that gets longer."""
    module = types.ModuleType("opencc")

    class OpenCC:
        def __init__(self, name):
            assert name == "t2s"

        def convert(self, text):
            return text.replace("漢", "汉").replace("龍", "龙").replace("麵", "面条")

    module.OpenCC = OpenCC
    monkeypatch.setitem(sys.modules, "opencc", module)
    optional.simplifying_edit.cache_clear()
    yield
    optional.simplifying_edit.cache_clear()


def test_script_converts_and_counts_changed_characters(fake_opencc):
    assert "script" in names_of(script="simplified")
    edit = optional.simplifying_edit()
    assert edit.apply("漢字與龍") == ("汉字與龙", 2, 2, 2)
    assert edit.find_spans("漢字與龍") == [Span(0, 1, "汉"), Span(3, 4, "龙")]
    assert edit.apply("漢\n麵\n龍") == ("汉\n面条\n龙", 3, 3, 4)
    assert edit.apply("汉字") == ("汉字", 0, 0, 0)


def test_script_without_opencc_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opencc", None)
    optional.simplifying_edit.cache_clear()
    with pytest.raises(ValueError, match="pip install opencc"):
        choose_edits(DocumentsConfig(script="simplified"))
    assert "script" not in names_of(script="keep")


def test_script_with_opencc_knows_words():
    pytest.importorskip("opencc")
    optional.simplifying_edit.cache_clear()
    assert optional.simplifying_edit().apply("乾隆吃乾麵").text == "乾隆吃干面"
