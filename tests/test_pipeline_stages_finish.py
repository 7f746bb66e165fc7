from collections import Counter

import numpy as np
import orjson
import pytest
import zstandard
from in_process import make_units

from pipeline import dedup, files
from pipeline.blocks import read_block, read_rows
from pipeline.config import DocumentsConfig
from pipeline.dedup import Loser
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.records import HELD_OUT, TRAIN, Document
from pipeline.samples import Sample, samples_from_bytes, samples_to_bytes
from pipeline.stages.clean import SIZE, clean_unit
from pipeline.stages.finish import Finished, Goings, finish_unit, read_samples

GOOD = "今天天气很好，我们去公园散步吧。"
LONG = "我们去公园的路上遇见了一位卖花的老人，他说春天来得比往年都要早。"
LEAST = 30
"""min_paragraph_chars: LONG has more, GOOD has not."""


class Bench:
    """One cleaned unit, from which documents and lines go."""

    def __init__(self, folder, texts, split=TRAIN, **config):
        self.layout = Layout(str(folder / "out"))
        self.config = DocumentsConfig(**{"min_paragraph_chars": LEAST} | config)
        contents = {("plain", split, "a.jsonl"): [{"text": text} for text in texts]}
        (self.unit,) = make_units(folder, contents, 1 << 20, self.layout)
        self.cleaned = clean_unit(self.unit, self.config, self.layout, False)
        sizes = files.read_bytes(self.layout.sizes(0, 1))
        self.numbers = np.frombuffer(sizes, SIZE)["document"].tolist()
        self.ids = [row["doc_id"] for row in read_rows(self.layout.cleaned(0, 1))]

    def finish(self, losers=(), repeats=()) -> Finished:
        """Finishes; `losers`: (place of the document, reason, id, similarity); `repeats`: places
        of documents and of lines in them."""
        gone = [Loser(self.numbers[place], *rest) for place, *rest in losers]
        lines = [(self.numbers[place], line) for place, line in repeats]
        packed = np.array(lines, dedup.REPEAT).tobytes()
        goings = Goings(self.unit, list(dedup.losers_by_unit(gone).values()), [packed])
        return finish_unit(goings, self.config, self.layout)

    @property
    def kept(self) -> list[tuple]:
        return [(r["doc_id"], r["text"]) for r in read_rows(self.layout.part(0, 1))]

    @property
    def rejected(self) -> list[dict]:
        return list(read_rows(self.layout.rejected_part(0, 1)))

    @property
    def samples(self) -> list[Sample]:
        return samples_from_bytes(files.read_bytes(self.layout.finished_samples(0, 1)))


@pytest.fixture
def bench(tmp_path):
    return lambda texts, *split, **config: Bench(tmp_path, texts, *split, **config)


def entries(finished):
    """Entries of the ledger, without their corpus, and those that are nothing."""
    return {key[1:]: number for key, number in finished.ledger.items() if number}


def kept_entries(*texts):
    lengths = Counter(("train", "lengths", str(len(text).bit_length() - 1)) for text in texts)
    return lengths | {
        ("train", "kept", ""): sum(map(len, texts)),
        ("train", "documents", "kept"): len(texts),
    }


# --- Nothing goes ---


def test_unit_from_which_nothing_goes_keeps_its_documents_as_they_are(bench):
    of = bench([GOOD, "短", LONG])
    finished = of.finish()
    assert files.read_bytes(of.layout.part(0, 1)) != b""
    assert list(read_rows(of.layout.part(0, 1))) == list(read_rows(of.layout.cleaned(0, 1)))
    assert of.rejected == list(read_rows(of.layout.cleaned_rejected(0, 1)))
    assert [row["reason"] for row in of.rejected] == ["too_short"]
    assert entries(finished) == kept_entries(GOOD, LONG)
    assert of.samples == []


def test_unit_without_documents_leaves_files_that_can_be_read(bench):
    of = bench([])
    finished = of.finish()
    assert (of.kept, of.rejected) == ([], [])
    assert finished == Finished(Counter(), [])
    for path in (of.layout.part(0, 1), of.layout.rejected_part(0, 1)):
        with zstandard.open(path, "rb") as file:
            assert file.read() == b""


def test_blocks_hold_documents_of_one_split_each_and_know_their_size(bench):
    texts = [f"{number}{GOOD}" for number in range(30)]
    of = bench(texts, "", held_out_fraction=0.4, block_text_bytes=200)
    finished = of.finish()
    splits = {doc_id.split("/")[1] for doc_id in of.ids}
    assert splits == {TRAIN, HELD_OUT} == {block.split for block in finished.blocks}
    found = []
    with files.open_for_reading(of.layout.part(0, 1)) as file:
        for block in finished.blocks:
            documents = read_block(file, block)
            assert {document.split for document in documents} == {block.split}
            assert len(documents) == block.documents
            assert sum(len(document.text.encode()) for document in documents) == block.text_bytes
            found += documents
    assert {block.part for block in finished.blocks} == {0}
    assert sorted(document.doc_id for document in found) == sorted(of.ids)
    for split in splits:
        of_split = [document.text for document in found if document.split == split]
        assert finished.ledger["plain", split, "kept", ""] == sum(map(len, of_split))
        assert finished.ledger["plain", split, "documents", "kept"] == len(of_split)


# --- Duplicates ---

ELSEWHERE = "plain/train/b.jsonl:7"


def test_copy_goes_without_its_text_and_near_duplicate_with_it(bench):
    of = bench([GOOD, LONG, GOOD * 2])
    finished = of.finish(
        [
            (0, "duplicate_of_training", ELSEWHERE, None),
            (2, "near_duplicate", ELSEWHERE, 0.875),
        ]
    )
    assert of.kept == [(of.ids[1], LONG)]
    place = {"corpus": "plain", "split": "train", "upstream_id": "", "stage": "dedup"}
    assert of.rejected == [
        place
        | {"doc_id": of.ids[0], "reason": "duplicate_of_training", "text": ""}
        | {"duplicate_of": ELSEWHERE, "similarity": 1.0},
        place
        | {"doc_id": of.ids[2], "reason": "near_duplicate", "text": GOOD * 2}
        | {"duplicate_of": ELSEWHERE, "similarity": 0.875},
    ]
    assert entries(finished) == kept_entries(LONG) | {
        ("train", "duplicates", "exact"): 16,
        ("train", "duplicates", "near"): 32,
        ("train", "documents", "duplicate_of_training"): 1,
        ("train", "documents", "near_duplicate"): 1,
    }


def test_samples_of_duplicates_show_text_and_what_stays(bench):
    of = bench([GOOD, LONG])
    of.finish(
        [(0, "duplicate", ELSEWHERE, None), (1, "near_duplicate_of_training", ELSEWHERE, 0.9)]
    )
    rows = {sample.name: sample.row for sample in of.samples}
    place = {"corpus": "plain", "split": "train", "duplicate_of": ELSEWHERE}
    assert rows == {
        "duplicate": place | {"doc_id": of.ids[0], "text": GOOD, "chars": 16, "similarity": None},
        "near_duplicate_of_training": place
        | {"doc_id": of.ids[1], "text": LONG, "chars": len(LONG), "similarity": 0.9},
    }
    assert {sample.kind for sample in of.samples} == {"rejected"}


@pytest.mark.parametrize("turn", [1, -1])
def test_document_that_goes_in_two_ways_goes_as_a_copy(bench, turn):
    of = bench([GOOD, LONG])
    losers = [(0, "duplicate", ELSEWHERE, None), (0, "near_duplicate", ELSEWHERE, 0.9)]
    finished = of.finish(losers[::turn])
    assert [row["reason"] for row in of.rejected] == ["duplicate"]
    assert entries(finished) == kept_entries(LONG) | {
        ("train", "duplicates", "exact"): 16,
        ("train", "documents", "duplicate"): 1,
    }


def test_lines_of_a_document_that_goes_are_not_counted_as_repeated(bench):
    of = bench([f"{GOOD}\n{LONG}", LONG])
    finished = of.finish([(0, "duplicate", ELSEWHERE, None)], [(0, 1)])
    assert entries(finished) == kept_entries(LONG) | {
        ("train", "duplicates", "exact"): 16 + 1 + len(LONG),
        ("train", "documents", "duplicate"): 1,
    }


# --- Repeated lines ---

OTHER = "那天傍晚下了一场小雨，河边的柳树刚刚发芽，孩子们在桥上数着经过的船。"
THIRD = "火车站旁边的小店开到很晚，灯光照在湿漉漉的石板路上，像一条细长的河流。"


@pytest.mark.parametrize(
    ("text", "repeated", "left", "spans"),
    [
        (f"{LONG}\n{OTHER}", [0], OTHER, [(0, len(LONG), "")]),
        (f"{OTHER}\n{LONG}", [1], OTHER, [(len(OTHER) + 1, len(OTHER) + 1 + len(LONG), "")]),
        (
            f"{OTHER}\n{LONG}\n{GOOD}\n{THIRD}",
            [1, 3],
            f"{OTHER}\n{GOOD}",
            [
                (len(OTHER) + 1, len(OTHER + LONG) + 1, ""),
                (len(OTHER + LONG + GOOD) + 3, len(OTHER + LONG + GOOD + THIRD) + 3, ""),
            ],
        ),
    ],
)
def test_repeated_lines_go_and_the_rest_of_the_document_stays(bench, text, repeated, left, spans):
    of = bench([GOOD, text])
    finished = of.finish(repeats=[(1, line) for line in repeated])
    assert of.kept == [(of.ids[0], GOOD), (of.ids[1], left)]
    assert of.rejected == []
    # Each goes with one of the line feeds beside it.
    assert entries(finished) == kept_entries(GOOD, left) | {
        ("train", "edits", "repeated_paragraph"): len(repeated),
        ("train", "duplicates", "paragraph"): len(text) - len(left),
    }
    (sample,) = of.samples
    assert (sample.kind, sample.name) == ("edits", "repeated_paragraph")
    place = {"doc_id": of.ids[1], "corpus": "plain", "split": "train"}
    assert sample.row == place | {"before": text, "spans": [list(span) for span in spans]}
    assert sum(block.text_bytes for block in finished.blocks) == len((GOOD + left).encode())


def test_other_fields_of_a_document_without_some_lines_stay(tmp_path):
    layout, config = Layout(str(tmp_path / "out")), DocumentsConfig(min_paragraph_chars=LEAST)
    lines = [{"id": "x7", "text": f"{LONG}\n{OTHER}"}]
    (unit,) = make_units(tmp_path, {("plain", TRAIN, "a.jsonl"): lines}, 1 << 20, layout)
    clean_unit(unit, config, layout, False)
    repeats = np.array([(0, 0)], dedup.REPEAT).tobytes()
    (block,) = finish_unit(Goings(unit, [], [repeats]), config, layout).blocks
    with files.open_for_reading(layout.part(0, 1)) as file:
        expected = Document("plain/train/a.jsonl:0", "plain", TRAIN, "x7", OTHER)
        assert read_block(file, block) == [expected]


@pytest.mark.parametrize(
    ("text", "repeated", "left", "config"),
    [
        # Nothing, too little, and nothing long that only this document has.
        (LONG, [0], "", {}),
        (f"短文\n{LONG}", [1], "短文", {}),
        (f"{GOOD}\n{LONG}", [1], GOOD, {}),
        (f"{GOOD}\n{LONG}", [1], GOOD, {"rules_off": ("too_short",)}),
    ],
)
def test_document_of_which_too_little_is_left_is_rejected_with_that(
    bench, text, repeated, left, config
):
    of = bench([OTHER, text], **config)
    finished = of.finish(repeats=[(1, line) for line in repeated])
    assert of.kept == [(of.ids[0], OTHER)]
    assert of.rejected == [
        {"doc_id": of.ids[1], "corpus": "plain", "split": "train", "upstream_id": ""}
        | {"stage": "dedup", "reason": "short_after_dedup", "text": left}
        | {"duplicate_of": "", "similarity": 0.0}
    ]
    expected = kept_entries(OTHER) | {
        ("train", "edits", "repeated_paragraph"): len(repeated),
        ("train", "duplicates", "paragraph"): len(text) - len(left),
        ("train", "rejected", "short_after_dedup"): len(left),
        ("train", "documents", "short_after_dedup"): 1,
    }
    assert entries(finished) == {key: number for key, number in expected.items() if number}
    (sample,) = [s for s in of.samples if s.name == "short_after_dedup"]
    assert (sample.row["text"], sample.row["chars"]) == (left, len(left))


ENGLISH = "an English sentence that stands in a Chinese text, and a second one beside it"


@pytest.mark.parametrize(
    "left",
    [
        # What stands behind the line that goes now follows another one, which an edit would see.
        f"{OTHER}她说\n。是的，就在那里。",
        f"好，{ENGLISH}\n{ENGLISH[:40]}",
    ],
    ids=["would-be-edited", "too-little-chinese"],
)
def test_document_stays_whole_where_its_rest_would_be_no_cleaned_text(bench, left):
    first, second = left.split("\n")
    text = f"{first}\n{LONG}\n{second}"
    of = bench([GOOD, text], min_chinese_fraction=0.2)
    of.finish()
    whole = [(of.ids[0], GOOD), (of.ids[1], text)]
    assert of.kept == whole
    finished = of.finish(repeats=[(1, 1)])
    assert of.kept == whole
    assert of.rejected == []
    assert finished.ledger["plain", "train", "kept", ""] == len(GOOD) + len(text)
    assert finished.ledger["plain", "train", "duplicates", "paragraph"] == 0


# --- Files and notes ---


def test_rejections_of_both_stages_make_one_file(bench):
    of = bench(["短", GOOD, "好", LONG], block_text_bytes=1)
    of.finish([(0, "duplicate", ELSEWHERE, None), (1, "near_duplicate", ELSEWHERE, 0.9)])
    assert [(row["stage"], row["reason"]) for row in of.rejected] == [
        ("clean", "too_short"),
        ("clean", "too_short"),
        ("dedup", "duplicate"),
        ("dedup", "near_duplicate"),
    ]


@pytest.mark.parametrize("known", [0, 1, 3])
def test_cleaned_documents_that_are_more_or_fewer_than_known_are_refused(bench, known):
    of = bench([GOOD, LONG])
    sizes = files.read_bytes(of.layout.sizes(0, 1)) * 2
    files.write_bytes(of.layout.sizes(0, 1), sizes[: known * SIZE.itemsize])
    with pytest.raises(RunError) as raised:
        of.finish()
    assert str(raised.value) == (
        f"{of.layout.cleaned(0, 1)}: is damaged; start afresh with --overwrite"
    )
    assert not files.exists(of.layout.part(0, 1))


def test_result_comes_back_from_its_note(bench):
    of = bench([GOOD, f"{OTHER}\n{LONG}", LONG])
    finished = of.finish([(2, "near_duplicate", ELSEWHERE, 0.9)], [(1, 1)])
    fields = orjson.loads(orjson.dumps(finished.to_json()))
    again = Finished.from_json(fields)
    assert (again.ledger, again.blocks) == (+finished.ledger, finished.blocks)
    assert orjson.loads(orjson.dumps(again.to_json())) == fields


def test_samples_of_a_run_are_those_of_both_stages(bench):
    of = bench([f"<b>{GOOD}</b>", f"{OTHER}\n{LONG}", LONG, "短"])
    of.finish([(2, "near_duplicate", ELSEWHERE, 0.9)], [(1, 1)])
    assert [(sample.kind, sample.name) for sample in read_samples(1, of.layout)] == [
        *(("edits", "inline_tags"), ("rejected", "too_short")),
        *(("edits", "repeated_paragraph"), ("rejected", "near_duplicate")),
    ]
    assert list(read_samples(0, of.layout)) == []


def test_samples_of_many_units_are_read_in_their_order(tmp_path):
    layout = Layout(str(tmp_path))
    for number in (1, 0):
        for path_of, kind in (
            (layout.finished_samples, "rejected"),
            (layout.cleaned_samples, "edits"),
        ):
            sample = Sample(kind, "name", number, {})
            files.write_bytes(path_of(number, 2), samples_to_bytes([sample]))
    assert [sample[:3] for sample in read_samples(2, layout)] == [
        *(("edits", "name", 0), ("rejected", "name", 0)),
        *(("edits", "name", 1), ("rejected", "name", 1)),
    ]


def test_damaged_samples_are_named(bench):
    of = bench([GOOD])
    of.finish()
    path = of.layout.cleaned_samples(0, 1)
    files.write_bytes(path, b"[[]]")
    with pytest.raises(RunError) as raised:
        list(read_samples(1, of.layout))
    assert str(raised.value).startswith(f"{path}: is damaged (")
    assert str(raised.value).endswith("); start afresh with --overwrite")


@pytest.mark.parametrize("batch_bytes", [1, 150, 1 << 20])
def test_documents_are_finished_alike_however_many_at_once(bench, monkeypatch, batch_bytes):
    monkeypatch.setattr("pipeline.stages.clean._BATCH_BYTES", batch_bytes)
    texts = [f"{number}{GOOD}" for number in range(8)]
    texts[3] = f"{OTHER}\n{LONG}"
    of = bench(texts)
    finished = of.finish([(5, "duplicate", ELSEWHERE, None)], [(3, 1)])
    assert [text for _, text in of.kept] == [*texts[:3], OTHER, texts[4], *texts[6:]]
    expected = kept_entries(*(text for _, text in of.kept)) | {
        ("train", "edits", "repeated_paragraph"): 1,
        ("train", "duplicates", "paragraph"): len(LONG) + 1,
        ("train", "duplicates", "exact"): len(texts[5]),
        ("train", "documents", "duplicate"): 1,
    }
    assert entries(finished) == expected


def test_finishing_again_writes_the_same_bytes(bench):
    of = bench([GOOD, f"{OTHER}\n{LONG}", LONG, "短"])

    def finish():
        finished = of.finish([(2, "near_duplicate", ELSEWHERE, 0.9)], [(1, 1)])
        layout = of.layout
        paths = layout.part(0, 1), layout.rejected_part(0, 1), layout.finished_samples(0, 1)
        return finished, *map(files.read_bytes, paths)

    assert finish() == finish()
