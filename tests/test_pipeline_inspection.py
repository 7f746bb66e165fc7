"""What inspection shows in a terminal."""

from pathlib import Path

import made_outputs
import pytest

from pipeline.errors import UsageError
from pipeline.inspection import inspect
from pipeline.terminal import columns_of

WEB_ID = f"webtext2019zh/train/{made_outputs.WEB}"
WIKI_ID = f"wiki2019zh/train/{made_outputs.WIKI}"


@pytest.fixture
def layout(tmp_path):
    return made_outputs.make_outputs(tmp_path)


def test_overview_lists_reasons_rules_and_some_documents_of_each_corpus(layout):
    lines = list(inspect(layout, limit=4, width=40))
    assert [line.split() for line in lines] == [
        ["--reason=", "documents"],
        ["too_short", "2"],
        ["duplicate", "1"],
        ["not_json", "1"],
        ["too_little_chinese", "1"],
        [],
        ["--rule=", "times,", "characters", "removed,", "added"],
        ["inline_tags", "6", "25", "0"],
        ["field_joiner", "2", "0", "2"],
        ["wide_spaces", "1", "1", "0"],
        [],
        ["--doc_id=", "kept", "documents,", "some", "of", "each", "corpus", "and", "split"],
        [f"{WEB_ID}:0"],
        ["窗外下雨了，我们在家看书。"],
        ["wiki2019zh/held_out/AA/wiki_00:120"],
        ["木桥"],
        [f"{WIKI_ID}:0"],
        ["石桥"],
    ]


def test_rule_shows_its_edits_side_by_side(layout):
    assert list(inspect(layout, rule="inline_tags", width=53)) == [
        f"{WEB_ID}:0",
        "窗外[-<b>-]下雨[-</b>-]了 | 窗外下雨了",
        "",
    ]
    assert list(inspect(layout, rule="wide_spaces", width=53)) == [
        f"{WEB_ID}:90",
        "晚饭[-⟨U+3000⟩-]吃        | 晚饭{+␣+}吃",
        "",
    ]


def test_colour_marks_on_a_terminal(layout):
    lines = list(inspect(layout, rule="inline_tags", width=53, colour=True))
    assert lines[1].startswith("窗外\x1b[31m<b>\x1b[0m下雨\x1b[31m</b>\x1b[0m了")


@pytest.mark.parametrize("width", [20, 33, 80])
def test_text_is_no_wider_than_the_terminal_and_ids_stay_whole(layout, width):
    for wanted in ({"rule": "inline_tags"}, {"reason": "duplicate"}, {"doc_id": f"{WIKI_ID}:0"}):
        lines = list(inspect(layout, width=width, **wanted))
        assert any(f"{WEB_ID}:" in line or f"{WIKI_ID}:" in line for line in lines)
        assert all(columns_of(line) <= width for line in lines if "2019zh/" not in line)


def test_reason_shows_samples_and_then_others_up_to_the_limit(layout):
    sampled = [f"{WEB_ID}:300 (1 characters)", "嗯", ""]
    assert list(inspect(layout, reason="too_short", limit=1)) == sampled
    assert list(inspect(layout, reason="too_short", limit=9)) == [
        *sampled,
        *(f"{WEB_ID}:150 (1 characters)", "好", ""),
    ]


def test_reason_reads_no_rejections_when_the_samples_are_all(layout):
    for part in range(3):
        Path(layout.rejected_part(part, 3)).write_bytes(b"damaged")
    assert list(inspect(layout, reason="too_little_chinese", limit=20)) == [
        "wiki2019zh/held_out/AA/wiki_00:400 (7 characters)",
        "abc def",
        "",
    ]


def test_sample_that_is_a_beginning_only_says_so(layout):
    row = made_outputs.rejected_sample(made_outputs.LOST[0][1], text="开头", chars=1234)
    made_outputs.write_samples(layout, rejected={"too_short": [row]})
    assert list(inspect(layout, reason="too_short", limit=1)) == [
        f"{WEB_ID}:300 (1,234 characters)",
        "开头…",
        "",
    ]


def test_duplicate_stands_beside_what_stays(layout):
    row = made_outputs.rejected_sample(
        made_outputs.LOST[0][2], text="早饭吃什么？", chars=6, similarity=0.9
    )
    made_outputs.write_samples(layout, rejected={"duplicate": [row]})
    assert list(inspect(layout, reason="duplicate", width=60)) == [
        f"{WEB_ID}:400 (6 characters, 0.90 alike)",
        f"stays: {WEB_ID}:90",
        "[-早-]饭吃什么？             | {+晚+}饭吃什么？",
        "",
    ]


def test_duplicate_of_nothing_that_is_there_names_it(layout):
    row = made_outputs.rejected_sample(made_outputs.LOST[0][1], duplicate_of="gone/train/a:0")
    made_outputs.write_samples(layout, rejected={"duplicate": [row]})
    assert list(inspect(layout, reason="duplicate")) == [
        f"{WEB_ID}:300 (1 characters, stays: gone/train/a:0)",
        "嗯",
        "",
    ]


def test_id_of_a_kept_document_shows_all_of_it_and_its_edits(layout):
    assert list(inspect(layout, doc_id=f"{WIKI_ID}:0")) == [
        f"{WIKI_ID}:0 (kept, 16 characters, upstream's id up0)",
        "石桥",
        "石桥是一座用石头砌成的桥。",
        "",
    ]
    lines = list(inspect(layout, doc_id=f"{WEB_ID}:90"))
    assert lines[1:4] == ["晚饭吃什么？", "", "rule wide_spaces"]
    assert lines[4] == f"{WEB_ID}:90"


def test_id_of_a_rejected_document_shows_why(layout):
    assert list(inspect(layout, doc_id=f"{WEB_ID}:150")) == [
        "rejected by clean: too_short",
        f"{WEB_ID}:150 (1 characters)",
        "好",
        "",
    ]


def test_id_of_a_copy_without_text_shows_what_it_copies(layout):
    lines = list(inspect(layout, doc_id=f"{WEB_ID}:400", width=43))
    assert lines == [
        "rejected by dedup: duplicate",
        f"{WEB_ID}:400 (6 characters)",
        f"stays: {WEB_ID}:90",
        "晚饭吃什么？         | 晚饭吃什么？",
        "",
    ]


def test_controls_in_a_document_do_not_reach_the_terminal(tmp_path):
    document = made_outputs.document("plain", "train", "a", 0, "石\x1b[2J桥\x01\x02\r")
    layout = made_outputs.make_outputs(tmp_path, kept=[[document]], lost=[[]])
    shown = list(inspect(layout, doc_id="plain/train/a:0", colour=True))
    assert shown[1] == "石⟨U+001B⟩[2J桥⟨U+0001⟩⟨U+0002⟩⟨U+000D⟩"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"reason": "nope"},
            "no reason 'nope' here; there are: duplicate, not_json, too_little_chinese, too_short",
        ),
        ({"rule": "x"}, "no rule 'x' here; there are: field_joiner, inline_tags, wide_spaces"),
        (
            {"doc_id": f"{WIKI_ID}:1"},
            f"no document '{WIKI_ID}:1' here, kept or rejected; ids are CORPUS/SPLIT/FILE:BYTE, "
            f"such as {WIKI_ID}:0",
        ),
        (
            {"doc_id": "x"},
            "no document 'x' here, kept or rejected; ids are CORPUS/SPLIT/FILE:BYTE, such as "
            f"{WEB_ID}:0",
        ),
        ({"reason": "too_short", "rule": "x"}, "give one of --reason, --rule and --doc_id"),
        ({"limit": 0}, "--limit must be at least 1, got 0"),
        ({"width": 5}, "--width must be at least 20, got 5"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_shown(layout, wanted, message):
    with pytest.raises(UsageError) as error:
        inspect(layout, **wanted)
    assert str(error.value) == message


def test_rule_without_samples_shows_nothing(layout):
    assert list(inspect(layout, rule="field_joiner")) == []
