import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpora import CORPORA
from pipeline.rules.fields import FIELD_RULES, join_fields

words = st.text(st.sampled_from("甲乙a \n\r。.…<br>"), max_size=12)


@st.composite
def lines(draw):
    corpus = draw(st.sampled_from(sorted(CORPORA)))
    title = draw(words)
    values = [
        draw(st.one_of(words, words.map(lambda rest: title + rest), st.just(title)))
        for _ in CORPORA[corpus].text_fields
    ]
    keys = draw(st.lists(st.sampled_from(["title", "english"]), unique=True))
    return corpus, values, {key: draw(st.one_of(words, st.just(title))) for key in keys}


@given(lines())
def test_join_fields_accounts_for_every_character(line):
    corpus, values, aids = line
    text, read, edits = join_fields(corpus, values, aids)
    assert read == sum(map(len, values))
    assert len(text) == read - sum(edit[2] for edit in edits) + sum(edit[3] for edit in edits)
    assert {edit[0] for edit in edits} <= set(FIELD_RULES)
    assert all(times > 0 and removed >= 0 <= added for _, times, removed, added in edits)


@pytest.mark.parametrize(
    ("corpus", "values", "aids", "rule"),
    [
        ("wiki2019zh", ["甲乙\n\n甲乙，人名。"], {"title": "甲乙"}, "repeated_title"),
        ("translation2019zh", ["a b"], {"english": "甲乙"}, "swapped_languages"),
        ("baike2018qa", ["甲", "乙乙", "乙乙丙"], {}, "repeated_description"),
        ("baike2018qa", ["甲甲", "乙", "甲甲丙"], {}, "repeated_title"),
    ],
)
def test_rule_of_fields_that_is_off_does_nothing(corpus, values, aids, rule):
    assert rule in {edit[0] for edit in join_fields(corpus, values, aids).edits}
    joined = join_fields(corpus, values, aids, rules_off=(rule,))
    assert joined.text == "\n".join(values)
    assert rule not in {edit[0] for edit in joined.edits}


@pytest.mark.parametrize(
    ("corpus", "values", "text", "edits"),
    [
        ("plain", ["甲"], "甲", []),
        ("plain", [""], "", []),
        ("news2016zh", ["题", "述", "文"], "题\n述\n文", [("field_joiner", 2, 0, 2)]),
        ("news2016zh", ["题", "", "文"], "题\n文", [("field_joiner", 1, 0, 1)]),
        ("baike2018qa", ["", "", "答"], "答", []),
        ("webtext2019zh", ["", "", ""], "", []),
    ],
)
def test_join_fields_puts_line_feeds_between_fields_that_are_not_empty(corpus, values, text, edits):
    assert join_fields(corpus, values, {}) == (text, sum(map(len, values)), edits)


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("甲乙\n\n甲乙，人名。", "甲乙", "甲乙，人名。"),
        ("甲乙 \r\n\u3000甲乙，人名。", " 甲乙", "甲乙，人名。"),
        ("甲乙\n\n又作甲乙。", "甲乙", "甲乙\n\n又作甲乙。"),
        ("甲乙甲乙\n\n丙", "甲乙", "甲乙甲乙\n\n丙"),
        ("甲乙", "甲乙", "甲乙"),
        ("甲乙\n\n甲乙，人名。", "", "甲乙\n\n甲乙，人名。"),
        ("甲乙\n\n甲乙，人名。", "乙", "甲乙\n\n甲乙，人名。"),
    ],
)
def test_title_of_wiki_goes_where_the_first_paragraph_begins_with_it(text, title, expected):
    joined = join_fields("wiki2019zh", [text], {"title": title})
    removed = len(text) - len(expected)
    assert joined == (expected, len(text), [("repeated_title", 1, removed, 0)] if removed else [])
    assert join_fields("wiki2019zh", [text], {}).text == text
    assert join_fields("plain", [text], {"title": title}).text == text


@pytest.mark.parametrize(
    ("chinese", "english", "expected"),
    [
        ("He is here.", "他在这里。", "他在这里。"),
        ("", "他在这里。", "他在这里。"),
        ("他在这里。", "He is here.", "他在这里。"),
        ("他 is here.", "他在这里。", "他 is here."),
        ("Beijing", "The city of 北京 is here", "Beijing"),
        ("Linux 5.0", "", "Linux 5.0"),
    ],
)
def test_languages_of_translation_are_swapped_where_only_english_is_chinese(
    chinese, english, expected
):
    joined = join_fields("translation2019zh", [chinese], {"english": english})
    swapped = [("swapped_languages", 1, len(chinese), len(english))]
    assert joined == (expected, len(chinese), swapped if expected != chinese else [])
    assert join_fields("translation2019zh", [chinese], {}).text == chinese


@pytest.mark.parametrize(
    ("values", "text", "rules"),
    [
        (["怎么办？", "怎么办", "多喝水。"], "怎么办？\n多喝水。", ["repeated_description"]),
        (
            ["题", "今天<br>晴 天……", "今天晴天，有风。"],
            "题\n今天晴天，有风。",
            ["repeated_description"],
        ),
        (["怎么办？", "怎么办？我很急。", "水"], "怎么办？\n怎么办？我很急。\n水", []),
        (["题", "有风", "今天有风。"], "题\n有风\n今天有风。", []),
        (["今天晴天", "", "今天\n晴天，有风。"], "今天\n晴天，有风。", ["repeated_title"]),
        (
            ["今天", "今天晴", "今天晴，有风。"],
            "今天晴，有风。",
            ["repeated_description", "repeated_title"],
        ),
        (["题", "…", "文"], "题\n…\n文", []),
    ],
)
@pytest.mark.parametrize("corpus", ["news2016zh", "baike2018qa", "webtext2019zh"])
def test_fields_that_another_begins_with_go(corpus, values, text, rules):
    joined = join_fields(corpus, values, {})
    assert joined.text == text
    assert [rule for rule, *_ in joined.edits if rule != "field_joiner"] == rules


def test_description_is_compared_with_long_texts_that_hold_more_white_space():
    description = "今天晴天有风" * 40
    spaced = "今天 晴天 有风" * 40 + "。"
    assert join_fields("news2016zh", ["", description, spaced], {}).text == spaced
