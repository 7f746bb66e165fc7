import json

import numpy as np
import orjson
import pytest
from in_process import encode_lines, make_units

from pipeline import dedup, files, near_duplicates, reading
from pipeline.blocks import FRAME, read_frame, read_rows
from pipeline.config import DocumentsConfig
from pipeline.dedup import number_document
from pipeline.layout import Layout
from pipeline.records import HELD_OUT, TEST, TRAIN
from pipeline.samples import SAMPLE_SIZE, Sample, samples_from_bytes
from pipeline.stages import clean as clean_stages
from pipeline.stages.clean import SIZE, Cleaned, clean_unit
from pipeline.units import is_held_out

GOOD = "今天天气很好，我们去公园散步吧。"
ARTICLE = "".join(chr(0x4E00 + at * 7_919 % 20_000) for at in range(260))
PLAIN = "plain", TRAIN, "a.jsonl"


class Bench:
    """Cleans the one unit of a few lines."""

    def __init__(self, folder, lines, place=PLAIN, unit_bytes=1 << 20, **config):
        self.layout = Layout(str(folder / "out"))
        self.config = DocumentsConfig(unit_bytes=unit_bytes, **config)
        self.units = make_units(folder, {place: lines}, unit_bytes, self.layout)
        self.results = [clean_unit(u, self.config, self.layout, False) for u in self.units]

    @property
    def cleaned(self) -> Cleaned:
        (result,) = self.results
        return result

    @property
    def samples(self) -> list[Sample]:
        return samples_from_bytes(files.read_bytes(self.layout.cleaned_samples(0, 1)))

    @property
    def ledger(self) -> dict:
        """Entries of the unit, without its corpus, and those that are nothing."""
        return {key[1:]: number for key, number in self.cleaned.ledger.items() if number}

    def rows(self, path_of, unit=0) -> list[dict]:
        return list(read_rows(path_of(unit, len(self.units))))

    def array(self, path_of, dtype, unit=0) -> list[tuple]:
        data = files.read_bytes(path_of(unit, len(self.units)))
        return np.frombuffer(data, dtype).tolist()

    def keys(self, path_of, dtype, unit=0) -> list[tuple]:
        with files.open_for_reading(path_of(unit, len(self.units))) as file:
            return sorted(dedup.read_key_file(file, dtype, 0, dedup.KEY_PARTITIONS).tolist())


@pytest.fixture
def clean(tmp_path):
    return lambda lines, *place, **config: Bench(tmp_path, lines, *place, **config)


def halves_of(text):
    return tuple(np.frombuffer(dedup.hash_text(text.encode()), "<u8").tolist())


def offsets_of(lines):
    ends = np.cumsum([len(encode_lines([line])) for line in lines]).tolist()
    return [0, *ends[:-1]]


# --- What is kept ---


def test_documents_are_written_in_order_with_ids_splits_and_the_ids_of_upstream(clean):
    lines = [{"id": 7, "text": GOOD}, {"text": "短"}, {"id": "x", "text": f"  <b>{GOOD}</b>\u3000"}]
    bench = clean(lines)
    first, _, last = offsets_of(lines)
    of_all = {"corpus": "plain", "split": "train", "text": GOOD}
    assert bench.rows(bench.layout.cleaned) == [
        {"doc_id": f"plain/train/a.jsonl:{first}", "upstream_id": "7"} | of_all,
        {"doc_id": f"plain/train/a.jsonl:{last}", "upstream_id": "x"} | of_all,
    ]
    assert bench.cleaned.unit == bench.units[0] and bench.cleaned.skipped == []


def test_document_of_little_but_white_space_is_kept_where_the_rules_are_off(clean):
    text = "文" + " " * 300 + "字"
    off = "white_space", "too_short", "repeated_ngrams"
    bench = clean([{"text": text}], rules_off=off)
    assert [row["text"] for row in bench.rows(bench.layout.cleaned)] == [text]
    assert bench.keys(bench.layout.bands, dedup.BAND) == []


def test_sizes_are_those_of_the_cleaned_texts(clean):
    lines = [{"text": f"<b>{GOOD}</b>"}, {"text": "短"}, {"text": f"a{GOOD}"}]
    bench = clean(lines)
    first, _, last = offsets_of(lines)
    assert bench.array(bench.layout.sizes, SIZE) == [
        (number_document(TRAIN, 0, first), 48, 16),
        (number_document(TRAIN, 0, last), 49, 17),
    ]


def test_frames_are_where_the_documents_lie(clean, monkeypatch):
    monkeypatch.setattr(clean_stages, "_BATCH_LINES", 4)
    monkeypatch.setattr(clean_stages, "_FRAME_BYTES", 300)
    bench = clean([{"text": f"{number}{GOOD}"} for number in range(7)])
    frames = bench.array(bench.layout.frames, FRAME)
    # Three rows are more than 300 bytes, so that frames end within a batch and reach into others.
    assert [first_row for first_row, _, _ in frames] == [0, 3, 6]
    found = []
    with files.open_for_reading(bench.layout.cleaned(0, 1)) as file:
        for first_row, offset, length in frames:
            assert first_row == len(found)
            found += map(orjson.loads, read_frame(file, offset, length))
    assert found == bench.rows(bench.layout.cleaned) and len(found) == 7


def test_keys_are_hashes_of_the_cleaned_texts(clean):
    lines = [{"text": f"<i>{GOOD}</i>"}, {"text": f"另{GOOD}"}]
    bench = clean(lines)
    numbers = [number_document(TRAIN, 0, offset) for offset in offsets_of(lines)]
    assert bench.keys(bench.layout.keys, dedup.KEY) == sorted(
        (*halves_of(text), number)
        for text, number in zip([GOOD, f"另{GOOD}"], numbers, strict=True)
    )


def test_paragraphs_are_the_long_lines_by_their_places(clean):
    texts = [f"短\n{GOOD}\n短\n{GOOD * 2}", GOOD, f"{GOOD[:-1]}\n{GOOD[:-2]}"]
    lines = [{"text": text} for text in texts]
    bench = clean(lines, min_paragraph_chars=len(GOOD))
    first, second, _ = (number_document(TRAIN, 0, offset) for offset in offsets_of(lines))
    assert bench.keys(bench.layout.paragraphs, dedup.PARAGRAPH) == sorted(
        [
            (*halves_of(GOOD), first, 1),
            (*halves_of(GOOD * 2), first, 3),
            (*halves_of(GOOD), second, 0),
        ]
    )


def test_bands_are_of_texts_that_are_long_enough(clean):
    least = near_duplicates.MIN_CHARS
    lines = [{"text": ARTICLE[: least - 1]}, {"text": ARTICLE[:least]}, {"text": ARTICLE}]
    bench = clean(lines)
    expected = [
        (key, halves_of(text)[0] & 0xFFFFFFFF, number_document(TRAIN, 0, offset))
        for text, offset in zip([ARTICLE[:least], ARTICLE], offsets_of(lines)[1:], strict=True)
        for key in near_duplicates.band_keys([text])[0].tolist()
    ]
    assert bench.keys(bench.layout.bands, dedup.BAND) == sorted(expected)


@pytest.mark.parametrize("lines", [[], [b"", b"  "], [{"text": "短"}]])
def test_unit_of_nothing_leaves_all_files_empty_but_whole(clean, lines):
    bench = clean(lines)
    layout = bench.layout
    assert bench.rows(layout.cleaned) == []
    assert bench.array(layout.sizes, SIZE) == []
    for path_of, dtype in (
        *((layout.keys, dedup.KEY), (layout.bands, dedup.BAND)),
        (layout.paragraphs, dedup.PARAGRAPH),
    ):
        assert bench.keys(path_of, dtype) == []


def test_units_of_one_file_number_documents_within_the_unit_and_name_them_within_the_file(clean):
    lines = [{"text": f"{number}{GOOD}"} for number in range(6)]
    bench = clean(lines, unit_bytes=150)
    assert len(bench.units) > 2
    rows = [bench.rows(bench.layout.cleaned, unit.number) for unit in bench.units]
    assert [row["doc_id"] for of_unit in rows for row in of_unit] == [
        f"plain/train/a.jsonl:{offset}" for offset in offsets_of(lines)
    ]
    for unit, of_unit in zip(bench.units, rows, strict=True):
        offsets = [int(row["doc_id"].rpartition(":")[2]) for row in of_unit]
        assert [size[0] for size in bench.array(bench.layout.sizes, SIZE, unit.number)] == [
            number_document(TRAIN, unit.number, offset - unit.start) for offset in offsets
        ]


def test_lines_of_files_without_a_split_choose_theirs_by_their_bytes(clean):
    lines = [{"text": f"{number}{GOOD}"} for number in range(40)]
    bench = clean(lines, ("plain", "", "a.jsonl"), held_out_fraction=0.3)
    rows = bench.rows(bench.layout.cleaned)
    expected = [
        HELD_OUT if is_held_out(encode_lines([line])[:-1], 0.3) else TRAIN for line in lines
    ]
    assert set(expected) == {HELD_OUT, TRAIN}
    assert [row["split"] for row in rows] == expected
    assert [row["doc_id"].split("/")[1] for row in rows] == expected
    numbers = np.array([size[0] for size in bench.array(bench.layout.sizes, SIZE)])
    splits = [(TRAIN, HELD_OUT, TEST)[rank] for rank in dedup.ranks_of(numbers)]
    assert splits == expected
    assert bench.ledger[TRAIN, "documents", "read"] == expected.count(TRAIN)
    assert bench.ledger[HELD_OUT, "documents", "read"] == expected.count(HELD_OUT)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\r"])
def test_byte_order_mark_and_carriage_returns_are_no_part_of_a_line(clean, bom, end):
    line = json.dumps({"text": GOOD}).encode()
    bench = clean([bom + line + end, line + end])
    assert [row["text"] for row in bench.rows(bench.layout.cleaned)] == [GOOD, GOOD]


# --- The ledger ---


def test_ledger_of_a_few_lines_is_exact(clean):
    lines = [
        {"text": GOOD},
        {"text": f"<b>{GOOD}</b>\r\n\u3000完"},
        {"text": "短\u200b"},
        b"{",
        b"",
        {"text": 7},
    ]
    bench = clean(lines)
    assert bench.ledger == {
        ("train", "documents", "read"): 5,
        ("train", "documents", "too_short"): 1,
        ("train", "documents", "not_json"): 1,
        ("train", "documents", "not_text"): 1,
        ("train", "unreadable_bytes", "not_json"): 1,
        ("train", "unreadable_bytes", "not_text"): len(b'{"text": 7}'),
        ("train", "read", ""): 16 + (7 + 16 + 4) + 2,
        ("train", "rejected", "too_short"): 1,
        ("train", "edits", "inline_tags"): 2,
        ("train", "removed", "inline_tags"): 7,
        ("train", "edits", "line_ends"): 1,
        ("train", "removed", "line_ends"): 2,
        ("train", "added", "line_ends"): 1,
        ("train", "edits", "wide_spaces"): 1,
        ("train", "removed", "wide_spaces"): 1,
        ("train", "added", "wide_spaces"): 1,
        # A line feed and a space become a line feed.
        ("train", "edits", "white_space"): 1,
        ("train", "removed", "white_space"): 2,
        ("train", "added", "white_space"): 1,
        ("train", "edits", "invisible"): 1,
        ("train", "removed", "invisible"): 1,
    }


NEWS = "news2016zh", HELD_OUT, "news2016zh_valid.json"
TITLE = "公园里的早晨"


def test_ledger_counts_what_rules_on_fields_do(clean):
    lines = [
        {"title": TITLE, "desc": GOOD, "content": f"{GOOD}又{GOOD}"},
        {"title": "", "desc": "", "content": GOOD * 2},
    ]
    bench = clean(lines, NEWS)
    assert bench.ledger == {
        ("held_out", "documents", "read"): 2,
        ("held_out", "read", ""): 6 + 16 + 33 + 32,
        ("held_out", "edits", "repeated_description"): 1,
        ("held_out", "removed", "repeated_description"): 16,
        ("held_out", "edits", "field_joiner"): 1,
        ("held_out", "added", "field_joiner"): 1,
    }
    assert [row["text"] for row in bench.rows(bench.layout.cleaned)] == [
        f"{TITLE}\n{GOOD}又{GOOD}",
        GOOD * 2,
    ]


def test_rules_that_are_off_change_nothing_and_count_nothing(clean):
    lines = [{"title": TITLE, "desc": GOOD, "content": f"{GOOD}<b>又</b>"}]
    off = "repeated_description", "inline_tags"
    bench = clean(lines, NEWS, rules_off=off)
    (row,) = bench.rows(bench.layout.cleaned)
    assert row["text"] == f"{TITLE}\n{GOOD}\n{GOOD}<b>又</b>"
    assert {key[2] for key in bench.ledger if key[1] == "edits"} == {"field_joiner"}


# --- What is rejected ---


def test_rejected_rows_hold_the_text_as_far_as_it_was_cleaned(clean):
    lines = [{"id": 5, "text": "<b>短</b>"}, {"text": GOOD}, {"text": "no Chinese at all, sorry"}]
    bench = clean(lines)
    offsets = offsets_of(lines)
    of_all = {"corpus": "plain", "split": "train", "stage": "clean"}
    of_all |= {"duplicate_of": "", "similarity": 0.0}
    assert bench.rows(bench.layout.cleaned_rejected) == [
        of_all
        | {"doc_id": "plain/train/a.jsonl:0", "upstream_id": "5"}
        | {"reason": "too_short", "text": "短"},
        of_all
        | {"doc_id": f"plain/train/a.jsonl:{offsets[2]}", "upstream_id": ""}
        | {"reason": "too_little_chinese", "text": "no Chinese at all, sorry"},
    ]


def test_lines_that_cannot_be_read_are_recorded_with_all_that_can_be_shown(clean, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 5_000)
    long = b'{"text": "' + b"x" * 6_000 + b'"}'
    lines = [b"\xff{", b'["' + b"y" * 3_000 + b'"]', long, {"text": GOOD}]
    bench = clean(lines)
    offsets = offsets_of(lines)
    rows = bench.rows(bench.layout.cleaned_rejected)
    assert [(row["stage"], row["reason"], row["doc_id"]) for row in rows] == [
        ("read", "invalid_utf8", f"plain/train/a.jsonl:{offsets[0]}"),
        ("read", "not_an_object", f"plain/train/a.jsonl:{offsets[1]}"),
        ("read", "line_too_long", f"plain/train/a.jsonl:{offsets[2]}"),
    ]
    texts = [row["text"] for row in rows]
    assert texts == ["\\xff{", lines[1].decode(), long[:1_000].decode()]
    assert bench.ledger["train", "unreadable_bytes", "line_too_long"] == len(long)
    # None of their characters were read.
    assert bench.ledger["train", "read", ""] == len(GOOD)


# --- Samples ---


def samples_of(bench, kind, name):
    return [s.row for s in bench.samples if (s.kind, s.name) == (kind, name)]


def test_samples_show_what_an_edit_was_given_and_what_it_changed(clean):
    bench = clean([{"text": f"<b>{GOOD}</b>\u200b"}])
    place = {"doc_id": "plain/train/a.jsonl:0", "corpus": "plain", "split": "train"}
    assert samples_of(bench, "edits", "inline_tags") == [
        place | {"before": f"<b>{GOOD}</b>\u200b", "spans": [[0, 3, ""], [19, 23, ""]]}
    ]
    assert samples_of(bench, "edits", "invisible") == [
        place | {"before": f"{GOOD}\u200b", "spans": [[16, 17, ""]]}
    ]


def test_samples_show_what_rules_on_fields_change_but_for_joining(clean):
    bench = clean([{"title": TITLE, "desc": GOOD, "content": f"{GOOD}又{GOOD}"}], NEWS)
    assert {sample.name for sample in bench.samples} == {"repeated_description"}
    (row,) = samples_of(bench, "edits", "repeated_description")
    assert row["before"] == f"{TITLE}\n{GOOD}\n{GOOD}又{GOOD}"
    ((start, end, replacement),) = row["spans"]
    changed = row["before"][:start] + replacement + row["before"][end:]
    assert changed == f"{TITLE}\n{GOOD}又{GOOD}"


def test_samples_show_the_beginning_of_what_was_rejected(clean):
    english = "no Chinese at all, sorry; " * 40
    bench = clean([{"text": english}, b"{"])
    (row,) = samples_of(bench, "rejected", "too_little_chinese")
    assert row["text"] == english.strip()[:400] and row["chars"] == len(english.strip())
    (row,) = samples_of(bench, "rejected", "not_json")
    assert (row["text"], row["chars"]) == ("{", 1)


def test_samples_are_few_however_many_documents_a_rule_meets(clean):
    lines = [{"text": f"<b>{number}</b>{GOOD}"} for number in range(3 * SAMPLE_SIZE)]
    bench = clean([*lines, *[{"text": "短"}] * 3 * SAMPLE_SIZE])
    assert bench.ledger["train", "edits", "inline_tags"] == 6 * SAMPLE_SIZE
    for kind, name in (("edits", "inline_tags"), ("rejected", "too_short")):
        ids = [row["doc_id"] for row in samples_of(bench, kind, name)]
        assert len(ids) == len(set(ids)) == SAMPLE_SIZE


def test_result_comes_back_from_its_note(clean):
    cleaned = clean([{"text": f"<b>{GOOD}</b>"}, {"text": "短"}, b"{"]).cleaned
    fields = orjson.loads(orjson.dumps(cleaned.to_json()))
    again = Cleaned.from_json(fields, cleaned.unit, None, None, False)
    assert again.ledger == +cleaned.ledger and again.unit == cleaned.unit
    assert orjson.loads(orjson.dumps(again.to_json())) == fields and again.skipped == []


def test_cleaning_again_writes_the_same_bytes(tmp_path):
    lines = [{"text": f"<b>{number}</b>{GOOD}\u3000"} for number in range(30)] + [b"{"]
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name, lines, block_text_bytes=300)
        root = tmp_path / name / "out"
        made.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()})
        made.append(bench.cleaned.to_json())
    assert made[:2] == made[2:]
    assert len(made[0]) == 8
