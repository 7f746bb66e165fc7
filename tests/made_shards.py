"""Writes small shards whose records say by their tokens which they are."""

import hashlib

import numpy as np

from tfrecords_schema.dataset_info import DatasetInfo
from tfrecords_schema.examples import encode_examples
from tfrecords_schema.framing import frame_records
from vocab.special_tokens import CLS_ID, FIRST_ORDINARY_ID, SEP_ID, SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

LENGTH = 16
P = 4
VOCAB_SIZE = 306
HELD_OUT_COPY = 9


def sequences(copy, shard, records):
    """Token ids of a shard: which copy, shard and record it is, then random words.

    The last three of 16 columns stay empty. Also mask ids that hide column 2, and column 5 in every
    second record, and the word starts.
    """
    number = np.arange(records)
    rng = np.random.default_rng([copy, shard])
    ids = np.zeros((records, LENGTH), np.int64)
    ids[:, 0], ids[:, -4] = CLS_ID, SEP_ID
    ids[:, 1], ids[:, 2] = FIRST_ORDINARY_ID + copy, FIRST_ORDINARY_ID + shard
    ids[:, 3] = FIRST_ORDINARY_ID + number // 100
    ids[:, 4] = FIRST_ORDINARY_ID + number % 100
    ids[:, 5:12] = rng.integers(FIRST_ORDINARY_ID, VOCAB_SIZE, (records, 7))
    masks = np.zeros_like(ids)
    masks[:, 2] = 104
    masks[number % 2 == 1, 5] = 1 + ids[number % 2 == 1, 5]
    starts = rng.random(ids.shape) < 0.6
    starts[:, [0, 1, -4]], starts[:, -3:] = True, False
    return ids, masks, starts


def identity(token_ids):
    """Returns copy, shard and record of the original tokens of a sequence."""
    copy, shard, hundreds, ones = (int(token) - FIRST_ORDINARY_ID for token in token_ids[1:5])
    return copy, shard, 100 * hundreds + ones


def write_shard(path, ids, masks, starts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(frame_records(encode_examples(ids, masks, starts)))


def make_tfrecords(folder, copies, held_out=(), **changed):
    """Writes a folder as the pipeline does.

    Args:
      folder: where to.
      copies: records of each shard of each copy.
      held_out: pairs of a corpus and the records of each of its shards.
      changed: fields of dataset_info.json.
    """
    shards = {
        f"{LENGTH}/train-{copy}-{shard:05d}-of-{len(records):05d}.tfrecord": (copy, shard, count)
        for copy, records in enumerate(copies)
        for shard, count in enumerate(records)
    }
    for corpus, records in held_out:
        for shard, count in enumerate(records):
            name = f"{LENGTH}/eval-{corpus}-{shard:05d}-of-{len(records):05d}.tfrecord"
            shards[name] = (HELD_OUT_COPY, shard, count)
    for name, (copy, shard, count) in shards.items():
        write_shard(folder / name, *sequences(copy, shard, count))
    ordinary = (chr(ord("一") + number) for number in range(VOCAB_SIZE - FIRST_ORDINARY_ID))
    vocab = format_vocab([*SPECIAL_TOKENS, *ordinary])
    (folder / "vocab.txt").write_bytes(vocab)
    fields = {
        "max_predictions_per_seq": {LENGTH: P},
        "dupe_factor": len(copies),
        "records": {name: count for name, (_, _, count) in shards.items()},
        "vocab_size": VOCAB_SIZE,
        "vocab_sha256": hashlib.sha256(vocab).hexdigest(),
        "tokenizer": {},
        "config": {"masked_lm_prob": 0.15},
        "config_digest": "",
        "statistics": {},
        **changed,
    }
    (folder / "dataset_info.json").write_text(DatasetInfo(**fields).to_json())
    return str(folder)
