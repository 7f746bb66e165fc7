"""The page as a whole."""

import re
from html.parser import HTMLParser
from pathlib import Path

import made_outputs
import pytest

from pipeline.errors import RunError, UsageError
from pipeline.report import write_report
from pipeline.report.page import MAX_BYTES

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>&lt;\"</p></details>\u202e"
WEB_ID = f"webtext2019zh/train/{made_outputs.WEB}"


class Page(HTMLParser):
    """Checks that elements are nested; notes them with their attributes, texts and table rows."""

    def __init__(self, layout):
        super().__init__()
        write_report(layout)
        self.bytes = Path(layout.report).read_bytes()
        self.open, self.elements, self.rows, self.texts = [], [], [], []
        self.feed(self.bytes.decode())
        self.close()
        assert self.open == []
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def values_of(self, attribute):
        return [found[attribute] for _, found in self.elements if attribute in found]

    def texts_within(self, tag):
        pattern = rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>"
        return [re.sub("<.*?>", "", found) for found in re.findall(pattern, self.bytes.decode())]


@pytest.fixture
def layout(tmp_path):
    return made_outputs.make_outputs(tmp_path, made_outputs.info())


def test_ledger_stands_in_tables_with_its_balance(layout):
    page = Page(layout)
    assert [
        *("webtext2019zh", "train", "60", "2", "21 (33.87 %)", "2 (3.23 %)", "8 (12.90 %)"),
        *("31 (50.00 %)", "✓ 0"),
    ] in page.rows
    assert [
        *("wiki2019zh", "held out", "17", "0", "0 (0.00 %)", "7 (41.18 %)", "0 (0.00 %)"),
        *("10 (58.82 %)", "✓ 0"),
    ] in page.rows
    assert [
        *("all", "", "67", "61", "61", "8 (13.11 %)", "4 (5.97 %)", "2 (2.99 %)", "✓ 0"),
    ] in page.rows
    assert "balanced" in page.texts and "unbalanced" not in page.texts


def test_ledger_that_does_not_balance_shows_by_how_much(layout):
    wrong = {**made_outputs.LEDGER["webtext2019zh"]["train"], "read": 1060}
    wrong["in_instances"] = {"128": 28, "512": 27}
    made_outputs.write_ledger(layout, {"webtext2019zh": {"train": wrong}})
    page = Page(layout)
    assert "unbalanced" in page.texts
    assert {"off by +1,000", "off by +0, +1"} <= set(page.texts)


def test_rules_show_counts_and_samples_before_and_after(layout):
    page = Page(layout)
    summaries = page.texts_within("summary")
    assert summaries[:3] == ["inline_tags6250", "field_joiner202", "wide_spaces110"]
    assert ["webtext2019zh", "5", "20", "0"] in page.rows
    assert {
        "窗外<del>&lt;b&gt;</del>下雨<del>&lt;/b&gt;</del>了",
        "窗外<ins></ins>下雨<ins></ins>了",
        '晚饭<del><span class="unseen">⟨U+3000⟩</span></del>吃',
        '晚饭<ins><span class="unseen">␣</span></ins>吃',
    } <= excerpts_of(page)


def excerpts_of(page):
    return set(re.findall('<p lang="zh" class="excerpt">(.*?)</p>', page.bytes.decode()))


def test_rejections_show_counts_and_samples(layout):
    page = Page(layout)
    assert page.texts_within("summary")[3:] == [
        "too_short216.67 %2",
        "duplicate18.33 %-",
        "not_json18.33 %-",
        "too_little_chinese18.33 %7",
    ]
    assert {"嗯", "abc def"} <= excerpts_of(page)
    assert ["all", "6 (5.45 %)", "0 (0.00 %)", "2 (1.82 %)"] in page.rows


def test_duplicates_of_one_document_stand_together_beside_it(layout):
    rows = [
        made_outputs.rejected_sample(
            made_outputs.LOST[0][2], doc_id=f"near:{n}", text=text, chars=6, similarity=0.875
        )
        for n, text in enumerate(("早饭吃什么？", "晚饭吃啥？"))
    ]
    made_outputs.write_samples(layout, rejected={"duplicate": rows})
    page = Page(layout)
    assert page.texts.count(f"stays: {WEB_ID}:90") == 1
    assert "near:0 (6 characters, 0.88 alike)" in page.texts
    assert {"晚饭吃什么？", "<del>早</del>饭吃什么？", "晚饭吃<del>啥</del>？"} <= excerpts_of(page)


def test_one_duplicate_marks_both_sides(layout):
    row = made_outputs.rejected_sample(made_outputs.LOST[0][2], text="早饭吃什么？", chars=6)
    made_outputs.write_samples(layout, rejected={"duplicate": [row]})
    assert {"<ins>晚</ins>饭吃什么？", "<del>早</del>饭吃什么？"} <= excerpts_of(Page(layout))


def test_duplicate_of_a_document_that_is_not_there_is_shown_alone(layout):
    row = made_outputs.rejected_sample(made_outputs.LOST[0][1], duplicate_of="gone/train/a:0")
    made_outputs.write_samples(layout, rejected={"duplicate": [row]})
    page = Page(layout)
    assert "This document is not in documents/." in page.texts
    assert "嗯" in excerpts_of(page)


def test_documents_show_lengths(layout):
    page = Page(layout)
    assert ["webtext2019zh", "train", "8", "4 (50.00 %)", "8"] in page.rows
    assert "webtext2019zh: kept documents by length" in page.texts
    assert {"4: 1 (25.00 %)", "8: 2 (50.00 %)"} <= set(page.texts)


def test_vocabulary_shows_what_it_knows_what_it_is_made_of_and_where_it_ends(layout):
    page = Page(layout)
    assert "111 entries, learned from the training documents." in page.text
    assert [
        *("webtext2019zh", "train", "28", "7", "25.00 %", "75.00 %", "21", "0.7500"),
    ] in page.rows
    assert [
        *("wiki2019zh", "held out", "9", "0", "0.00 %", "100.00 %", "9", "1.0000"),
    ] in page.rows
    assert ["all", "", "61", "8", "13.11 %", "86.89 %", "48", "0.7869"] in page.rows
    assert ["special", "106", "95.50 %"] in page.rows
    assert ["Chinese characters", "2", "1.80 %"] in page.rows
    assert ["characters", "国 。", "龘 ##か", "3"] in page.rows
    assert ["word pieces", "the", "-", "2"] in page.rows


def test_vocabulary_that_was_given_says_so(layout):
    made_outputs.write_run(layout, learned_from=None, borders=[])
    page = Page(layout)
    assert "111 entries, given." in page.text
    assert "left out first" not in page.text


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (None, UsageError(r"tfrecords/vocab\.txt is missing")),
        (b"x\n", RunError(r"vocab\.txt, line 1: must be \[PAD\]")),
    ],
)
def test_vocabulary_that_is_missing_or_damaged_is_named(layout, data, error):
    Path(layout.shard_vocab).unlink()
    if data:
        Path(layout.shard_vocab).write_bytes(data)
    with pytest.raises(type(error), match=str(error)):
        write_report(layout)


def test_instances_show_fill_and_masks(layout):
    page = Page(layout)
    assert [
        *("128", "train", "1,234", "90.00 %", "15.00 %", "80.00 %", "10.00 %", "10.00 %"),
        "0.99 %",
    ] in page.rows
    assert "replaced by [MASK] 80.00 %, expected 80 %" in page.texts_within("li")
    assert {"15: 1,290 (100.00 %)", "100: 1,288 (99.84 %)", "85: 2 (0.16 %)"} <= set(page.texts)


def test_masked_share_of_several_copies_is_of_each(layout, tmp_path):
    info = made_outputs.info(dupe_factor=2)
    other = made_outputs.make_outputs(tmp_path / "other", info)
    assert any(row[:2] == ["128", "train"] and row[4] == "7.50 %" for row in Page(other).rows)


def test_page_without_shards_says_what_makes_them(tmp_path):
    layout = made_outputs.make_outputs(tmp_path)
    corpora = {
        corpus: {
            split: {
                name: figure
                for name, figure in figures.items()
                if name not in made_outputs.OF_INSTANCES
            }
            for split, figures in splits.items()
        }
        for corpus, splits in made_outputs.LEDGER.items()
    }
    made_outputs.write_ledger(layout, corpora)
    page = Page(layout)
    assert "python -m pipeline instances --output_dir=DIR" in page.texts
    assert "balanced" in page.texts and "in instances" not in page.texts
    assert "None was used yet." in page.texts
    assert ["dedup", "exact"] in page.rows


def test_what_was_not_read_is_listed(tmp_path):
    layout = made_outputs.make_outputs(tmp_path, skipped=[made_outputs.skipped_stretch()])
    page = Page(layout)
    assert ["webtext2019zh", "topic, star"] in page.rows
    assert ["webtext2019zh", "train", "not_json", "1", "1,234"] in page.rows
    assert ["AB/wiki_07", "1,000,000", "end", "broken zip at byte 1,000,000"] in page.rows


def test_head_tells_configuration_versions_and_digests(layout):
    page = Page(layout)
    assert ["masked_lm_prob", "0.15"] in page.rows and ["rules_off", "none"] in page.rows
    assert ["numpy", "2.4.6"] in page.rows
    assert ["vocabulary of 13,686 tokens, SHA-256", "ab" * 32] in page.rows
    assert ["tokenizer", "do_lower_case yes, kind BERT WordPiece"] in page.rows


def test_equal_outputs_elsewhere_have_the_same_page_without_path_and_time(layout, tmp_path):
    other = made_outputs.make_outputs(tmp_path / "other", made_outputs.info())
    page = Page(layout)
    assert Page(other).bytes == page.bytes
    assert str(tmp_path) not in page.text and "1999" not in page.text


def hostile_outputs(root, text):
    """Puts text wherever a page takes some."""
    kept = [[made_outputs.document("plain", "train", "a", 0, text)]]
    layout = made_outputs.make_outputs(root, made_outputs.info(), kept=kept, lost=[[]])
    figures = {
        **made_outputs.LEDGER["wiki2019zh"]["train"],
        "documents": {"read": 3, "kept": 2, text: 1},
        "edits": {text: 5},
        "unreadable_bytes": {text: 1},
    }
    made_outputs.write_ledger(layout, {text: {"train": figures}}, {text: [text]})
    edit = {"doc_id": text, "before": text, "spans": [[0, 1, text], [2, 3, ""]]}
    near = made_outputs.rejected_sample(made_outputs.LOST[0][1], text=text[:-3] + "x")
    copy = {**near, "duplicate_of": "plain/train/a:0", "similarity": 0.9}
    made_outputs.write_samples(layout, {text: [edit]}, {text: [near, copy, copy]})
    return layout


def test_hostile_text_stays_text_everywhere(tmp_path):
    page = Page(hostile_outputs(tmp_path, HOSTILE))
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    assert "\u202e" not in page.text
    assert page.text.count("<script>alert('x')</script><img src=x onerror") >= 8


def test_page_needs_nothing_from_elsewhere(layout):
    page = Page(layout)
    assert all(link.startswith("#") for link in page.values_of("href"))
    assert {link[1:] for link in page.values_of("href")} <= set(page.values_of("id"))
    assert not page.values_of("src") and b"url(" not in page.bytes and b"@import" not in page.bytes
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values_of("content")


def test_page_and_samples_name_their_languages(layout):
    page = Page(layout)
    assert ("html", {"lang": "en"}) in page.elements
    assert all(
        found["lang"] == "zh" for _, found in page.elements if found.get("class") == "excerpt"
    )


def test_tables_and_the_flow_scroll_in_their_own_boxes(layout):
    markup = Page(layout).bytes.decode()
    assert markup.count("<table>") == markup.count('<div class="scroll" tabindex="0"><table>')
    assert '<div class="scroll" tabindex="0"><svg ' in markup


def test_page_stays_small_however_much_the_samples_need(layout):
    text = "\u202e" * 400
    edit = {"doc_id": "d", "before": text, "spans": [[n, n + 1, "\u202e"] for n in range(20)]}
    rules = {f"rule_{n:02}": [edit] * 20 for n in range(12)}
    figures = {
        **made_outputs.LEDGER["wiki2019zh"]["train"],
        "edits": dict.fromkeys(rules, 1),
    }
    made_outputs.write_ledger(layout, {"wiki2019zh": {"train": figures}})
    made_outputs.write_samples(layout, rules)
    page = Page(layout)
    assert MAX_BYTES / 4 < len(page.bytes) < MAX_BYTES
    assert "up to 5 documents" in page.text
    assert page.text.count("⟨U+202E⟩") == 12 * 5 * 2 * 400


def test_report_of_an_empty_directory_says_what_to_do(tmp_path):
    layout = made_outputs.make_outputs(tmp_path)
    Path(layout.ledger).unlink()
    with pytest.raises(UsageError, match=r"ledger\.json is missing"):
        write_report(layout)
    assert not Path(layout.report).exists()
