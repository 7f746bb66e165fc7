"""Writes an output directory by hand, as a run leaves it, for tests of what reads it."""

import json
from collections import Counter

from pipeline.blocks import BlockWriter, FrameWriter, encode_row
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import Document, Rejected, Skipped
from tfrecords_schema.dataset_info import DatasetInfo
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

WEB = "web_text_zh_train.json"
WIKI = "AA/wiki_00"


def document(corpus, split, name, offset, text):
    return Document(f"{corpus}/{split}/{name}:{offset}", corpus, split, f"up{offset}", text)


def rejection(corpus, split, name, offset, reason, text, duplicate_of=""):
    doc_id = f"{corpus}/{split}/{name}:{offset}"
    stage = "dedup" if duplicate_of else "clean"
    similarity = 1.0 if duplicate_of else 0.0
    return Rejected(doc_id, corpus, split, "", stage, reason, text, duplicate_of, similarity)


# One list a part: two units of one file, one of a file with two splits.
KEPT = [
    [
        document("webtext2019zh", "train", WEB, offset, text)
        for offset, text in (
            (0, "窗外下雨了，我们在家看书。"),
            (90, "晚饭吃什么？"),
            (210, "面条。"),
        )
    ],
    [document("webtext2019zh", "train", WEB, 1000, "第二个单元的文档。")],
    [
        document("wiki2019zh", "train", WIKI, 0, "石桥\n石桥是一座用石头砌成的桥。"),
        document("wiki2019zh", "held_out", WIKI, 120, "木桥\n木桥比石桥轻。"),
        document("wiki2019zh", "train", WIKI, 260, "铁桥\n铁桥建于近代。"),
    ],
]
LOST = [
    [
        rejection("webtext2019zh", "train", WEB, 150, "too_short", "好"),
        rejection("webtext2019zh", "train", WEB, 300, "too_short", "嗯"),
        rejection(
            *("webtext2019zh", "train", WEB, 400, "duplicate", ""),
            f"webtext2019zh/train/{WEB}:90",
        ),
    ],
    [],
    [rejection("wiki2019zh", "held_out", WIKI, 400, "too_little_chinese", "abc def")],
]

LEDGER = {
    "webtext2019zh": {
        "train": {
            "read": 60,
            "added": {"field_joiner": 2},
            "removed": {"inline_tags": 20, "wide_spaces": 1},
            "rejected": {"too_short": 2},
            "duplicates": {"exact": 6, "near": 0, "paragraph": 2},
            "kept": 31,
            "white_space": 1,
            "dropped_by_tokenizer": 2,
            "unknown": 7,
            "tokens": 21,
            "in_instances": {"128": 28, "512": 28},
            "edits": {"field_joiner": 2, "inline_tags": 5, "wide_spaces": 1},
            "documents": {"read": 8, "kept": 4, "too_short": 2, "duplicate": 1, "not_json": 1},
            "unreadable_bytes": {"not_json": 1234},
            "lengths": [0, 1, 1, 2],
        }
    },
    "wiki2019zh": {
        "held_out": {
            "read": 17,
            "added": {},
            "removed": {},
            "rejected": {"too_little_chinese": 7},
            "duplicates": {"exact": 0, "near": 0, "paragraph": 0},
            "kept": 10,
            "white_space": 1,
            "dropped_by_tokenizer": 0,
            "unknown": 0,
            "tokens": 9,
            "in_instances": {"128": 9, "512": 9},
            "edits": {},
            "documents": {"read": 2, "kept": 1, "too_little_chinese": 1},
            "unreadable_bytes": {},
            "lengths": [0, 0, 0, 1],
        },
        "train": {
            "read": 31,
            "added": {},
            "removed": {"inline_tags": 5},
            "rejected": {},
            "duplicates": {"exact": 0, "near": 0, "paragraph": 0},
            "kept": 26,
            "white_space": 2,
            "dropped_by_tokenizer": 0,
            "unknown": 1,
            "tokens": 18,
            "in_instances": {"128": 24, "512": 24},
            "edits": {"inline_tags": 1},
            "documents": {"read": 2, "kept": 2},
            "unreadable_bytes": {},
            "lengths": [0, 0, 0, 1, 1],
        },
    },
}
NOT_READ = {"webtext2019zh": ["topic", "star"], "wiki2019zh": ["url"]}
OF_INSTANCES = ("white_space", "dropped_by_tokenizer", "unknown", "tokens", "in_instances")
VOCABULARY = [*SPECIAL_TOKENS, "中", "国", "。", "the", "##ing"]
BORDERS = [["characters", 3, ["国", "。"], ["龘", "##か"]], ["word pieces", 2, ["the"], []]]

EDITS = {
    "inline_tags": [
        {
            "doc_id": f"webtext2019zh/train/{WEB}:0",
            "corpus": "webtext2019zh",
            "split": "train",
            "before": "窗外<b>下雨</b>了",
            "spans": [[2, 5, ""], [7, 11, ""]],
        }
    ],
    "wide_spaces": [
        {
            "doc_id": f"webtext2019zh/train/{WEB}:90",
            "corpus": "webtext2019zh",
            "split": "train",
            "before": "晚饭\u3000吃",
            "spans": [[2, 3, " "]],
        }
    ],
}


def rejected_sample(row, **changed):
    return {
        "doc_id": row.doc_id,
        "corpus": row.corpus,
        "split": row.split,
        "text": row.text,
        "chars": len(row.text),
        "duplicate_of": row.duplicate_of or None,
        "similarity": None,
        **changed,
    }


REJECTED = {
    "too_short": [rejected_sample(LOST[0][1])],
    "duplicate": [rejected_sample(LOST[0][2], text="晚饭吃什么？", chars=6)],
    "too_little_chinese": [rejected_sample(LOST[2][0])],
}


def histogram(length, counts):
    return [counts.get(place, 0) for place in range(length)]


def statistics(sequences):
    counts = {
        "sequences": sequences,
        "positions": 1000,
        "padding": 100,
        "unknown_tokens": 8,
        "countable_tokens": 800,
        "masked_tokens": 120,
        "masked_as_mask_token": 96,
        "masked_kept": 12,
        "masked_at_random": 12,
        "histograms": {
            "masked_percent": histogram(31, {15: sequences}),
            "fill_percent": histogram(101, {89: 1, 100: sequences - 1}),
        },
    }
    return {"128": counts, "512": counts}


def info(**changed):
    fields = {
        "max_predictions_per_seq": {128: 24, 512: 88},
        "dupe_factor": 1,
        "records": {},
        "vocab_size": 13_686,
        "vocab_sha256": "ab" * 32,
        "tokenizer": {"kind": "BERT WordPiece", "do_lower_case": True},
        "config": {"masked_lm_prob": 0.15, "seed": 0, "rules_off": []},
        "config_digest": "cd" * 16,
        "statistics": {"train": statistics(1234), "eval-wiki2019zh": statistics(56)},
    }
    return DatasetInfo(**{**fields, **changed})


def write_json(path, fields):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(fields, file, ensure_ascii=False)


def write_ledger(layout, corpora=LEDGER, not_read=NOT_READ):
    fields = {"format_version": 1, "corpora": corpora, "not_read": not_read}
    write_json(layout.ledger, fields)


def write_samples(layout, edits=EDITS, rejected=REJECTED):
    write_json(layout.samples, {"format_version": 1, "edits": edits, "rejected": rejected})


def write_run(layout, **vocab):
    run = {"started": "1999-12-31T23:59:59Z", "python": "3.11.7", "versions": {"numpy": "2.4.6"}}
    write_json(layout.run, run | {"made_with": {"vocab": vocab}})


def write_documents(layout, kept=KEPT, lost=LOST, skipped=(), block_text_bytes=30):
    """Writes documents/ and rejected/: small blocks, so that a part has several."""
    blocks = []
    for part, documents in enumerate(kept):
        path, rejected_path = (of(part, len(kept)) for of in (layout.part, layout.rejected_part))
        with open(path, "wb") as file:
            corpus = documents[0].corpus if documents else ""
            writer = BlockWriter(file, part, corpus, block_text_bytes)
            for row in documents:
                writer.write(row.split, encode_row(row), len(row.text.encode()))
            writer.close()
            blocks += writer.blocks
        with open(rejected_path, "wb") as file:
            frames = FrameWriter(file, 100)
            for row in lost[part]:
                frames.write(row)
            frames.close()
    manifest = Manifest({"dedup": "exact"}, len(kept), Counter(), blocks, list(skipped))
    with open(layout.manifest, "wb") as file:
        file.write(manifest.to_json())


def make_outputs(root, dataset_info=None, **documents) -> Layout:
    """Writes everything that a report is made of; shards only if told what they hold."""
    layout = Layout(str(root))
    for folder in ("documents", "rejected", "tfrecords"):
        (root / folder).mkdir(parents=True)
    write_documents(layout, **documents)
    write_ledger(layout)
    write_samples(layout)
    write_run(layout, learned_from={}, borders=BORDERS)
    if dataset_info:
        with open(layout.shard_vocab, "wb") as file:
            file.write(format_vocab(VOCABULARY))
        with open(layout.dataset_info, "w", encoding="utf-8") as file:
            file.write(dataset_info.to_json())
    return layout


def skipped_stretch():
    return Skipped("wiki2019zh", "", "AB/wiki_07", 1_000_000, 0, "broken zip at byte 1,000,000")
