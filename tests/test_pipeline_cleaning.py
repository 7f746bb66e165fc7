import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import cleaning
from pipeline.cleaning import (
    EDITS,
    TOO_LITTLE_CHINESE,
    TOO_SHORT,
    clean_text,
    collapse_white_space,
    count_visible_chars,
    drop_invisible_characters,
    find_reason_to_reject,
    has_too_little_chinese,
    is_too_short,
    narrow_latin,
    normalise_line_ends,
    strip_tags,
    unescape_entities,
)
from pipeline.config import MIN_CHARS, DocumentsConfig

PIECES = (
    *("&", "amp;", "lt;", "gt;", "nbsp", ";", "#60;", "#x3c;", "#0;", "#55296;", "copy", "lt"),
    *("<", ">", "/", "br", "p", "b", "a", "script", "style", " x='1'", "!--", "--", "="),
    *("\r", "\n", "\t", " ", "  ", "\u3000", "\xa0", "\v", "\f", "\x85", "\u2028", "\u2029"),
    *("\0", "\x1c", "\u200b", "\u202e", "\ue000", "\ufffd", "\ufeff"),
    *("Ａ", "ｚ", "０", "＜", "＆", "，", "中", "文", "𠮷", "😀", "A", "1"),
)
html_like = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
texts = st.one_of(html_like, st.text(max_size=40))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("甲&amp;乙", "甲&乙"),
        ("&lt;&gt;&quot;&#39;", "<>\"'"),
        ("&#20013;&#x6587;&#X6587;", "中文文"),
        ("&hellip;&mdash;&ldquo;&rdquo;&middot;", "…—“”·"),
        ("&nbsp;", "\xa0"),
        ("甲&nbsp乙&nbsp&nbsp;丙", "甲\xa0乙\xa0\xa0丙"),
        ("&amp;lt;", "<"),
        ("&amp;amp;nbsp;", "\xa0"),
        ("&amp;nbsp", "\xa0"),
        ("&#38;#60;", "<"),
        ("&#0;&#55296;&#1114112;", "\ufffd\ufffd\ufffd"),
    ],
)
def test_unescape_entities_replaces_entities_also_doubly_escaped(text, expected):
    assert unescape_entities(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "R&D",
        "AT&T；甲 & 乙",
        "&",
        "&;",
        "&#;",
        "&#x;",
        "http://例.cn/?a=1&copy=1&lt=2&amp=3",
        "&lt",
        "&amp",
        "&unknown;",
        "＆ｌｔ；",
        "http://例.cn/?a=1&region;b=2",
    ],
)
def test_unescape_entities_keeps_what_is_no_entity(text):
    assert unescape_entities(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲<br>乙<br/>丙<br />丁<BR>", "甲\n乙\n丙\n丁\n"),
        ("<p>甲</p><div class='x'>乙</div>", "\n甲\n\n乙\n"),
        ("<h1>甲</h1><li>乙", "\n甲\n\n乙"),
        ('<b>甲</b><SPAN style="color:red">乙</SPAN>', "甲乙"),
        ('<a href="http://例.cn/?a=1&b=2">甲</a><img src=x/>', "甲"),
        ("<a\nhref=x>甲</a\n>", "甲"),
        ("甲<script>if (a<b) x();</script>乙", "甲乙"),
        ("甲<SCRIPT src='x'>\nx\n</Script >乙<style>p{}</style>丙", "甲乙丙"),
        ("甲<!-- <b>不</b>\n见 -->乙<!---->丙", "甲乙丙"),
        ("<scr<b>ipt>甲</scr</b>ipt>乙", "乙"),
        ("<<b>br>", "\n"),
        ("甲</p>", "甲\n"),
    ],
)
def test_strip_tags_drops_tags_and_breaks_lines_at_blocks(text, expected):
    assert strip_tags(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a<b",
        "a<b，c>d",
        "1<2 且 3>2",
        "<三体>",
        "《三体》〈序〉＜br＞",
        "<三体>与<b2>",
        "<brr>",
        "< br>",
        "<br",
        "<!-- 没有结尾",
        "<http://例.cn>",
        "<小明@例.cn>",
        "->_<-",
        "List<String>",
    ],
)
def test_strip_tags_keeps_what_is_no_tag(text):
    assert strip_tags(text) == text


def test_strip_tags_keeps_text_after_script_without_end():
    assert strip_tags("甲<script>乙") == "甲<script>乙"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲\r\n乙", "甲\n乙"),
        ("甲\r乙", "甲\n乙"),
        ("甲\r\r乙", "甲\n\n乙"),
        ("甲\r\r\n乙", "甲\n\n乙"),
        ("甲\n\r乙", "甲\n\n乙"),
        ("甲\v乙\f丙\x85丁", "甲\n乙\n丙\n丁"),
        ("甲\u2028乙\u2029丙", "甲\n乙\n丙"),
        ("甲\n乙\n", "甲\n乙\n"),
    ],
)
def test_normalise_line_ends_makes_every_line_end_a_line_feed(text, expected):
    assert normalise_line_ends(text) == expected


@pytest.mark.parametrize(
    "invisible",
    [
        *("\0", "\x01", "\x08", "\x0e", "\x1b", "\x1c", "\x1f", "\x7f", "\x80", "\x84", "\x9f"),
        *("\xad", "\u061c", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\ufeff"),
        *("\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2060", "\u2066", "\u2069"),
        *("\ue000", "\uf8ff", "\U000f0000", "\U0010fffd", "\U0010ffff"),
        *("\ufff9", "\ufffc", "\ufffd", "\ufffe", "\uffff", "\ufdd0", "\U000e0041"),
    ],
)
def test_drop_invisible_characters_drops_character(invisible):
    assert drop_invisible_characters(f"甲{invisible}{invisible}乙{invisible}") == "甲乙"


@pytest.mark.parametrize(
    "text",
    [
        "甲\t乙\n丙 丁\u3000戊\xa0",
        "，：！？（）《》〈〉“”‘’…—·、。",
        "𠮷𪚥\U0003134a龘㐀豈",
        "e\u0301ñ한カガあ😀☎\ufe0f",
        "\ud7ff\uf900\ufdcf\ufdf0\ufff8",
    ],
)
def test_drop_invisible_characters_keeps_text_and_white_space(text):
    assert drop_invisible_characters(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("０９ＡＺａｚ", "09AZaz"),
        ("ＩＰｈｏｎｅ１２", "IPhone12"),
        ("２０１９年，ＡＰＰ：好！", "2019年，APP：好！"),
    ],
)
def test_narrow_latin_makes_letters_and_digits_half_width(text, expected):
    assert narrow_latin(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "，：！？（）；．％＋－／＠＃＆＊＜＞＝［］｛｝～｜＿＂＇｀＄＾＼",
        "、。“”「」『』【】《》…—",
        "\u3000￥￠ｱﾊﾟ",
        "／：＠［｀｛",
        "abc 123",
    ],
)
def test_narrow_latin_keeps_width_of_punctuation_and_everything_else(text):
    assert narrow_latin(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲  乙   丙", "甲 乙 丙"),
        ("甲\n\n\n乙", "甲\n乙"),
        ("甲 \n 乙", "甲\n乙"),
        ("甲 \n  \n \n 乙", "甲\n乙"),
        ("  甲\n  乙", "甲\n乙"),
        (" \n甲 乙\n ", "甲 乙"),
        (" \n  ", ""),
        ("", ""),
    ],
)
def test_collapse_white_space_makes_runs_one_space_or_one_line_feed(text, expected):
    assert collapse_white_space(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲\t乙\xa0丙\u3000丁\u2003戊", "甲 乙 丙 丁 戊"),
        ("甲 \t\u3000\xa0 乙", "甲 乙"),
        ("甲 \n\t\n\u3000\n 乙", "甲\n乙"),
        ("\u3000\u3000甲\n\u3000\u3000乙", "甲\n乙"),
        (" \n\t\u3000", ""),
        ("&lt;p&gt;甲&lt;/p&gt;&lt;br&gt;乙", "甲\n乙"),
        ("&amp;lt;b&amp;gt;甲&amp;lt;/b&amp;gt;", "甲"),
        ("甲&nbsp;&nbsp;乙&nbsp丙", "甲 乙 丙"),
        ("答：\r\r\u3000\u3000一\u200b、２０１９年\r\r二、ＡＰＰ", "答：\n一、2019年\n二、APP"),
        ("甲&#8232;乙&#xfeff;", "甲\n乙"),
        ("甲\x85乙\x84丙", "甲\n乙丙"),
        ("若a<b且c>d，则《三体》<三体>。", "若a<b且c>d，则《三体》<三体>。"),
        ("看http://例.cn/?id=3&copy=1（，：！？）", "看http://例.cn/?id=3&copy=1（，：！？）"),
    ],
)
def test_clean_text_applies_all_edits_in_order(text, expected):
    assert clean_text(text) == expected


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_edit_is_idempotent(edit):
    @settings(max_examples=150, deadline=None)
    @given(texts)
    def edit_is_idempotent(text):
        once = edit(text)
        assert edit(once) == once

    edit_is_idempotent()


@settings(max_examples=150, deadline=None)
@given(texts)
@example("&\u200bamp;")
@example("<\u200bbr>")
def test_clean_text_leaves_no_invisible_wide_or_repeated_white_space(text):
    cleaned = clean_text(text)
    assert cleaned == cleaned.strip()
    assert not {"  ", " \n", "\n ", "\n\n"} & {cleaned[at : at + 2] for at in range(len(cleaned))}
    assert not set(cleaned) & set(
        "\r\t\v\f\x85\u2028\u2029\xa0\u3000\0\x1c\u200b\u202e\ue000\ufffd"
    )
    assert not set(cleaned) & set("Ａｚ０")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="中文，：！？（）《》。“”…𠮷aZ09<>=&;/#", max_size=30))
def test_edits_after_tags_keep_text_of_ordinary_characters(text):
    for edit in EDITS[2:]:
        assert edit(text) == text


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("甲乙", 2), ("甲 乙\n丙", 3), ("𠮷😀a1，", 5), (" \n", 0)]
)
def test_count_visible_chars_counts_all_but_spaces_and_line_feeds(text, expected):
    assert count_visible_chars(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲" * 4, True),
        ("甲" * 5, False),
        ("甲 甲\n甲甲", True),
        ("甲 甲\n甲甲甲", False),
        ("", True),
    ],
)
def test_is_too_short_below_five_visible_characters(text, expected):
    assert is_too_short(text, 5) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("甲" + "a" * 4, False),
        ("甲" + "a" * 5, True),
        ("甲 a a\na a", False),
        ("甲乙丙" + "，" * 12, False),
        ("甲乙丙" + "，" * 13, True),
        ("㐀䶿一鿿豈" + "1" * 20, False),
        ("𠀀\U0003134a" + "1" * 8, False),
        ("あア한ㄅ" + "1", True),
        ("abc", True),
    ],
)
def test_has_too_little_chinese_below_a_fifth(text, expected):
    assert has_too_little_chinese(text, 0.2) is expected


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, False), (1.0, True)])
def test_has_too_little_chinese_at_fractions_0_and_1(fraction, expected):
    assert has_too_little_chinese("甲甲甲，", fraction) is expected
    assert has_too_little_chinese("甲 甲\n甲", fraction) is False


@pytest.mark.parametrize(("corpus", "min_chars"), MIN_CHARS.items())
def test_find_reason_to_reject_at_the_threshold_of_every_corpus(corpus, min_chars):
    config = DocumentsConfig()
    assert find_reason_to_reject("甲" * min_chars, corpus, config) is None
    assert find_reason_to_reject("甲" * (min_chars - 1), corpus, config) == TOO_SHORT


def test_find_reason_to_reject_names_shortness_before_lack_of_chinese():
    config = DocumentsConfig()
    assert find_reason_to_reject("abcdefg", "plain", config) == TOO_SHORT
    assert find_reason_to_reject("abcdefgh", "plain", config) == TOO_LITTLE_CHINESE
    assert find_reason_to_reject("甲乙cdefgh", "plain", config) is None
    assert (TOO_SHORT, TOO_LITTLE_CHINESE) == ("too_short", "too_little_chinese")


def test_find_reason_to_reject_obeys_the_config():
    config = DocumentsConfig(min_chars=dict.fromkeys(MIN_CHARS, 2), min_chinese_fraction=0.5)
    assert find_reason_to_reject("甲a", "wiki2019zh", config) is None
    assert find_reason_to_reject("甲ab", "wiki2019zh", config) == TOO_LITTLE_CHINESE
    assert find_reason_to_reject("甲", "wiki2019zh", config) == TOO_SHORT


@pytest.mark.parametrize(
    ("text", "expected"),
    [("&\u200bamp;", "&"), ("<\u200bbr>甲", "甲"), ("<ｂr>甲", "甲"), ("&<b>amp;", "&")],
)
def test_clean_text_leaves_no_work_that_one_edit_lays_open_for_another(text, expected):
    assert clean_text(text) == expected


@given(
    st.lists(
        st.sampled_from(
            ["&", "amp;", "lt;", "#60;", "<", "br>", "/b>", "\u200b", "ｂ", "甲", " ", "\n"]
        )
    )
)
def test_clean_text_of_cleaned_text_changes_nothing(pieces):
    once = clean_text("".join(pieces))
    assert clean_text(once) == once


def test_character_edits_in_one_pass_equal_one_after_the_other_for_every_code_point():
    for char in [*map(chr, range(0x110000)), "\r\n", "\n\r"]:
        one_by_one = char
        for _, edit in cleaning.CHARACTER_EDITS:
            one_by_one = edit(one_by_one)
        assert cleaning.edit_characters(char) == one_by_one


@given(st.text(st.sampled_from("\r\n\t \x00\x85\u200b\u3000Ａ１，甲a")))
def test_character_edits_in_one_pass_equal_one_after_the_other(text):
    one_by_one = text
    for _, edit in cleaning.CHARACTER_EDITS:
        one_by_one = edit(one_by_one)
    assert cleaning.edit_characters(text) == one_by_one


def test_what_character_edits_look_for_is_exactly_what_they_change():
    for looks_for, edit in cleaning.CHARACTER_EDITS:
        changed = [char for char in map(chr, range(0x110000)) if edit(char) != char]
        assert changed == [char for char in map(chr, range(0x110000)) if looks_for.search(char)]
        assert len(changed) > 5
