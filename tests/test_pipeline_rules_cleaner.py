import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DocumentsConfig
from pipeline.rules import (
    EDITS,
    FIELD_RULES,
    OPTIONAL_EDITS,
    REJECTIONS,
    Change,
    CleanedBatch,
    Cleaner,
    Span,
    find_spans,
)
from pipeline.rules.cleaner import MAX_PASSES

PIECES = (
    *("&", "amp;", " amp;", "lt;", "nbsp", "#60;", "<", ">", "/", "br", "b", "<!--", "-->", "`"),
    *("<rt>", "</rt>", "\r", "\n", "\t", " ", "\u3000", "\0", "\u200b", "\ue000", "\ufffd"),
    *(
        "Ａ",
        "ｂ",
        "０",
        "，",
        "、",
        "。",
        "（",
        "）",
        "(",
        ")",
        "《",
        "》",
        "！",
        "…",
        "—",
        "英语：",
    ),
    *("中", "文 ", "的 ", "了", "𠮷", "😀", "A", "1", "a@b.cn", "13800138000"),
)
texts = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=40))
batches = st.lists(texts, max_size=5)
CONFIGS = (DocumentsConfig(), DocumentsConfig(mask_personal_data=True))


def clean(texts, **fields):
    return Cleaner("plain", DocumentsConfig(**fields)).clean(texts)


@pytest.mark.parametrize("config", CONFIGS)
def test_cleaned_texts_stay_as_they_are_and_every_character_is_accounted_for(config):
    cleaner = Cleaner("plain", config)

    @settings(max_examples=300, deadline=None)
    @given(batches)
    def check(texts):
        cleaned = cleaner.clean(texts)
        again = cleaner.clean(cleaned.texts)
        assert again.changes == [] and again.texts == cleaned.texts
        assert again.reasons == cleaned.reasons
        for document, (before, after) in enumerate(zip(texts, cleaned.texts, strict=True)):
            changes = [change for change in cleaned.changes if change.document == document]
            assert len(after) == len(before) + sum(each.added - each.removed for each in changes)
            assert not changes or changes[0].before == before

    check()


@settings(max_examples=100, deadline=None)
@given(batches)
def test_every_document_is_cleaned_as_it_is_alone(texts):
    cleaner = Cleaner("plain", DocumentsConfig())
    together = cleaner.clean(texts)
    alone = [cleaner.clean([text]) for text in texts]
    assert together.texts == [text for batch in alone for text in batch.texts]
    assert together.reasons == [reason for batch in alone for reason in batch.reasons]
    for document, batch in enumerate(alone):
        changes = [
            each._replace(document=0) for each in together.changes if each.document == document
        ]
        assert changes == batch.changes


@settings(max_examples=100, deadline=None)
@given(texts)
def test_cleaned_text_holds_nothing_that_an_edit_would_change(text):
    (cleaned,) = clean([text]).texts
    assert [edit.name for edit in EDITS if edit.apply(cleaned).times] == []


def test_changes_tell_rule_counts_and_text_before():
    assert clean(["甲", "<b>Ａ</b>\n\n乙", "丙  丁"], rules_off=REJECTIONS) == CleanedBatch(
        ["甲", "A\n乙", "丙 丁"],
        [None, None, None],
        [
            Change(1, "inline_tags", 2, 7, 0, "<b>Ａ</b>\n\n乙"),
            Change(1, "full_width_latin", 1, 1, 1, "Ａ\n\n乙"),
            Change(1, "white_space", 1, 2, 1, "A\n\n乙"),
            Change(2, "white_space", 1, 2, 1, "丙  丁"),
        ],
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("&\u200bamp;", "&"),
        ("<\u200bbr>甲", "甲"),
        ("<ｂr>甲", "甲"),
        ("&<b>amp;", "&"),
        ("&lt;p&gt;甲&lt;/p&gt;&lt;br&gt;乙", "甲\n乙"),
        ("答：\r\r\u3000\u3000一\u200b、２０１９年\r\r二、ＡＰＰ", "答：\n一、2019年\n二、APP"),
        ("如、、、（，）、等人", "如、等人"),
        ("若a<b且c>d，则《三体》<三体>。", "若a<b且c>d，则《三体》<三体>。"),
    ],
)
def test_edits_are_applied_until_none_changes_anything(text, expected):
    assert clean([text]).texts == [expected]


def test_document_that_edits_still_change_after_the_last_pass_is_unsettled():
    nested = [f"{'<' * depth}b>{'b>' * (depth - 1)}天地玄黄宇宙洪荒" for depth in (15, 17)]
    cleaned = clean(nested)
    assert cleaned.reasons == [None, "unsettled"]
    assert cleaned.texts[0] == "天地玄黄宇宙洪荒"
    assert sum(change.document == 1 for change in cleaned.changes) == MAX_PASSES == 16
    assert clean(nested, rules_off=("unsettled",)).reasons == [None, None]


def test_rejected_documents_keep_their_cleaned_text():
    assert clean(["Ａ", "天地玄黄，宇宙洪荒。"]) == (
        ["A", "天地玄黄，宇宙洪荒。"],
        ["too_short", None],
        [Change(0, "full_width_latin", 1, 1, 1, "Ａ")],
    )


def test_corpora_have_their_own_thresholds():
    config = DocumentsConfig()
    assert Cleaner("translation2019zh", config).clean(["天地玄黄宇"]).reasons == [None]
    assert Cleaner("wiki2019zh", config).clean(["天地玄黄宇"]).reasons == ["too_short"]


def test_rules_that_are_off_do_nothing():
    names = tuple(edit.name for edit in EDITS)
    text = "<p>甲&lt;\r\n\u200b\ue000\ufffdＡ\u3000\u3000（），，！！！！</p>" * 3
    assert clean([text], rules_off=names).changes == []
    assert {change.rule for change in clean([text], rules_off=names[1:]).changes} == {names[0]}


@pytest.mark.parametrize(
    ("rule", "nearest"), [("white_spaces", "white_space"), ("field_joiner", ""), ("short", "")]
)
def test_unknown_rules_are_refused(rule, nearest):
    with pytest.raises(ValueError, match=f"no rule '{rule}'; do you mean '{nearest}"):
        clean([], rules_off=(rule,))


def test_find_spans_returns_what_the_edit_of_a_change_did():
    config = DocumentsConfig(mask_personal_data=True)
    assert find_spans("invisible", "甲\u200b乙", config) == [Span(1, 2, "")]
    assert find_spans("personal_data", "致a@b.cn", config) == [Span(1, 7, "〔邮箱〕")]
    with pytest.raises(ValueError, match="'personal_data' is none of the edits html_entities"):
        find_spans("personal_data", "", DocumentsConfig())


def test_documentation_has_one_row_for_each_rule_in_order():
    page = Path(__file__).parent.parent / "docs" / "rules.md"
    rows = re.findall(r"^\| `(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    edits = [edit.name for edit in EDITS]
    after = edits.index("chinese_spaces")
    edits[after:after] = OPTIONAL_EDITS
    assert rows == [*FIELD_RULES, *edits, *REJECTIONS]


def test_text_before_is_told_once_a_rule_and_document():
    # The entity lays a tag open, which lays another entity open.
    cleaned = clean(["天&lt;b>地&<i>amp;玄黄宇宙洪荒"])
    assert cleaned.texts == ["天地&玄黄宇宙洪荒"]
    rules = [each.rule for each in cleaned.changes]
    assert rules == ["html_entities", "inline_tags", "html_entities"]
    told = [each.rule for each in cleaned.changes if each.before is not None]
    assert told == list(dict.fromkeys(rules))
