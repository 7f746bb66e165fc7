from collections import Counter

import pytest

from pipeline.ledger import DOCUMENTS, KEPT, READ
from pipeline.manifest import Manifest
from pipeline.records import HELD_OUT, TRAIN, Skipped
from pipeline.report.accounts import parse_account
from pipeline.report.facts import Vocabulary
from pipeline.table import format_documents, format_shards, format_skipped, format_vocabulary
from tfrecords_schema.dataset_info import DatasetInfo


def test_format_documents_aligns_corpora_splits_counts_and_reasons():
    ledger = Counter(
        {
            ("wiki2019zh", TRAIN, DOCUMENTS, READ): 1_234_567,
            ("wiki2019zh", TRAIN, DOCUMENTS, KEPT): 1_200_000,
            ("wiki2019zh", TRAIN, DOCUMENTS, "too_short"): 34_560,
            ("wiki2019zh", TRAIN, DOCUMENTS, "not_json"): 7,
            ("wiki2019zh", HELD_OUT, DOCUMENTS, READ): 12,
            ("wiki2019zh", HELD_OUT, DOCUMENTS, KEPT): 12,
            ("plain", TRAIN, DOCUMENTS, READ): 3,
            ("plain", TRAIN, DOCUMENTS, "duplicate"): 3,
        }
    )
    assert format_documents(Manifest({}, 1, ledger, [], [])).splitlines() == [
        "corpus      split          read       kept  rejected by reason",
        "------------------------------------------------------------------------",
        "plain       train             3          0  duplicate 3",
        "wiki2019zh  held_out         12         12  -",
        "wiki2019zh  train     1,234,567  1,200,000  not_json 7, too_short 34,560",
    ]


def test_format_documents_of_nothing_is_the_head_alone():
    assert format_documents(Manifest({}, 0, Counter(), [], [])).splitlines() == [
        "corpus  split  read  kept  rejected by reason",
        "---------------------------------------------",
    ]


def test_format_skipped_names_what_was_left_out_and_why():
    skipped = [
        Skipped("", "", "wiki_zh_2019.zip", 0, 0, "byte 9: is no zip file"),
        Skipped("plain", TRAIN, "a.jsonl", 1_000, 20_000, "byte 15,000: the file ends here"),
    ]
    assert format_skipped(skipped).splitlines() == [
        "left out          bytes            why",
        "------------------------------------------------------------------",
        "wiki_zh_2019.zip  all              byte 9: is no zip file",
        "a.jsonl           1,000 to 20,000  byte 15,000: the file ends here",
    ]


def counts_of(sequences, positions, padding, unknown, countable, masked):
    return {
        "sequences": sequences,
        "positions": positions,
        "padding": padding,
        "unknown_tokens": unknown,
        "countable_tokens": countable,
        "masked_tokens": masked,
    }


def test_format_shards_counts_files_and_divides_masks_by_copies():
    info = DatasetInfo(
        max_predictions_per_seq={128: 24, 512: 88},
        dupe_factor=2,
        records={
            "128/train-0-00000-of-00001.tfrecord": 1_000,
            "128/train-1-00000-of-00001.tfrecord": 1_000,
            "128/eval-plain-00000-of-00001.tfrecord": 2,
            "512/train-0-00000-of-00001.tfrecord": 250,
            "512/train-1-00000-of-00001.tfrecord": 250,
            "512/eval-plain-00000-of-00001.tfrecord": 0,
        },
        vocab_size=13_686,
        vocab_sha256="",
        tokenizer={},
        config={},
        config_digest="",
        statistics={
            "train": {
                "128": counts_of(1_000, 128_000, 640, 1_000, 99_000, 29_700),
                "512": counts_of(250, 128_000, 0, 0, 100_000, 30_010),
            },
            "eval-plain": {
                "128": counts_of(2, 256, 64, 0, 200, 30),
                "512": counts_of(0, 0, 0, 0, 0, 0),
            },
        },
    )
    assert format_shards(info).splitlines() == [
        "length  set         files  sequences      fill   masked   [UNK]",
        "---------------------------------------------------------------",
        "   128  eval-plain      1          2   75.00 %  15.00 %  0.00 %",
        "   128  train           2      1,000   99.50 %  15.00 %  1.00 %",
        "   512  eval-plain      1          0         -        -       -",
        "   512  train           2        250  100.00 %  15.01 %  0.00 %",
    ]


@pytest.mark.parametrize(
    ("learned", "origin"), [(True, "learned from the training documents"), (False, "given")]
)
def test_format_vocabulary_adds_all_corpora_up(learned, origin):
    accounts = [
        parse_account(corpus, TRAIN, {"unknown": unknown, "tokens": 700, "in_instances": inside})
        for corpus, unknown, inside in (("a", 5, {"128": 900, "512": 900}), ("b", 0, {"128": 100}))
    ]
    assert format_vocabulary(Vocabulary(["x"] * 1234, learned, []), accounts) == (
        f"Vocabulary: 1,234 entries, {origin}; 0.50 % of the characters under [UNK], "
        "1.40 tokens a character"
    )
