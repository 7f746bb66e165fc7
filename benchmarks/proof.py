"""Reads the shards of a finished run back with plain TensorFlow and proves what they promise.

    python -m benchmarks.proof OUTPUT_DIR

Checked against the documents, which are segmented and tokenized again one by one: every token of
every kept document stands in exactly one sequence of every copy, no mask unit is cut between two
sequences, and the word_starts are right. Measured: fill, and the statistics of masking. The exit
code is 1 if a bound does not hold.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.blocks import read_block
from pipeline.layout import Layout, shard_name
from pipeline.manifest import Manifest, parse_manifest
from pipeline.records import TRAIN, Shard
from pipeline.segmentation import load_segmenter
from pipeline.units import deal_blocks, plan_shards
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import parse_vocab

Array = npt.NDArray[Any]

FIRST_ORDINARY_ID, CLS_ID, SEP_ID, MASK_ID = 106, 101, 102, 103
MAX_UNIT_TOKENS = 8
KEY_TOKENS = 6


def read_shard(path: Path, length: int) -> tuple[Array, Array, Array]:
    """Returns token_ids, mask_ids and word_starts, shape [N, L] each, as TensorFlow reads them."""
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    spec = {
        "token_ids": tf.io.FixedLenFeature([length], tf.int64),
        "mask_ids": tf.io.FixedLenFeature([length], tf.int64),
        "word_starts": tf.io.FixedLenFeature([], tf.string),
    }
    parsed = tf.io.parse_example(records, spec)
    packed = np.array([list(row) for row in parsed["word_starts"].numpy()], np.uint8)
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
    return parsed["token_ids"].numpy(), parsed["mask_ids"].numpy(), bits


# --- Every token once, no unit cut ---


def expected_documents(
    manifest: Manifest, shard: Shard, seed: int, layout: Layout, segmenter: str, vocab: Tokenizer
) -> Iterator[tuple[Array, Array]]:
    """Yields the ids and mask-unit starts of each document of a shard, made one at a time."""
    segment = load_segmenter(segmenter)
    for block in deal_blocks(manifest.blocks, shard, seed):
        with open(layout.part(block.part, manifest.parts), "rb") as file:
            documents = read_block(file, block)
        for document in documents:
            words = segment(document.text)
            if "".join(words) != document.text:
                raise SystemExit(f"{document.doc_id}: words do not join to the text")
            tokens = vocab.tokenize(document.text, np.array([len(word) for word in words]))
            starts: list[bool] = []
            run = 0
            for begins in tokens.word_starts.tolist():
                run = 0 if begins or run == MAX_UNIT_TOKENS else run
                starts.append(run == 0)
                run += 1
            if len(tokens.ids):
                yield tokens.ids, np.array(starts)


def match_sequences(documents: Iterator[tuple[Array, Array]], ids: Array, starts: Array) -> int:
    """Finds every sequence in the documents' tokens, in order; returns how many tokens matched.

    Raises:
      SystemExit: a token is missing, doubled or changed, or a unit is cut.
    """
    contents: dict[bytes, list[int]] = defaultdict(list)
    lengths = np.count_nonzero(ids, axis=1) - 2
    for row, length in enumerate(lengths.tolist()):
        contents[ids[row, 1 : 1 + min(KEY_TOKENS, length)].tobytes()].append(row)
    stream_ids: list[Array] = []
    stream_starts: list[Array] = []
    matched = 0
    for document_ids, document_starts in documents:
        matched += len(document_ids)
        if stream_ids:
            stream_ids.append(np.array([SEP_ID]))
            stream_starts.append(np.array([True]))
        stream_ids.append(document_ids)
        stream_starts.append(document_starts)
    stream, unit_starts = np.concatenate(stream_ids).astype(np.int64), np.concatenate(stream_starts)
    place = used = 0
    while place < len(stream):
        place += int(stream[place] == SEP_ID)
        row = _take_row(contents, (ids, starts), lengths, (stream, unit_starts), place)
        if row is None or not unit_starts[place]:
            raise SystemExit(
                f"token {place} of the shard: no sequence goes on there with the tokens and word "
                "starts of the documents, or it cuts a unit"
            )
        place += int(lengths[row])
        used += 1
    if used != len(ids):
        raise SystemExit(f"{len(ids) - used} sequences hold tokens that no document has")
    return matched


def _take_row(
    contents: dict[bytes, list[int]],
    rows: tuple[Array, Array],
    lengths: Array,
    streams: tuple[Array, Array],
    place: int,
) -> int | None:
    """Takes a sequence that holds the tokens and word starts of the documents from a place on."""
    for key_length in range(KEY_TOKENS, 0, -1):
        candidates = contents.get(streams[0][place : place + key_length].tobytes(), [])
        fitting = [
            row
            for row in candidates
            if all(
                np.array_equal(
                    found[row, 1 : 1 + lengths[row]], wanted[place : place + lengths[row]]
                )
                for found, wanted in zip(rows, streams, strict=True)
            )
        ]
        if fitting:
            # Of equal beginnings the longest: a shorter one would be the end of the shard.
            row = max(fitting, key=lambda row: int(lengths[row]))
            candidates.remove(row)
            return row
    return None


# --- Masking ---


class MaskingCounts:
    """Adds up the statistics of masking over shards of one length."""

    def __init__(self, length: int, cap: int) -> None:
        self.cap = cap
        self.length = length
        self.shares: list[Array] = []
        self.tokens_by_unit = np.zeros(9, np.int64)
        self.masked_by_unit = np.zeros(9, np.int64)
        self.actions = np.zeros(3, np.int64)
        self.wrong = dict.fromkeys(("in_part", "special_masked", "special_drawn", "over_cap"), 0)

    def add(self, ids: Array, mask_ids: Array, starts: Array) -> None:
        """Adds one shard."""
        countable, masked = ids >= FIRST_ORDINARY_ID, mask_ids != 0
        full = ids[:, -1] == SEP_ID
        self.shares.append(masked[full].sum(1) / countable[full].sum(1))
        units = np.cumsum(starts).reshape(starts.shape) - 1
        unit_tokens = np.bincount(units[countable], minlength=units.max() + 1)
        unit_masked = np.bincount(units[masked], minlength=units.max() + 1)
        self.tokens_by_unit += np.bincount(unit_tokens, unit_tokens, 9).astype(np.int64)
        self.masked_by_unit += np.bincount(unit_tokens, unit_masked, 9).astype(np.int64)
        self.wrong["in_part"] += int(np.sum((unit_masked > 0) & (unit_masked < unit_tokens)))
        self.wrong["special_masked"] += int(np.sum(masked & ~countable))
        self.wrong["over_cap"] += int(np.sum(masked.sum(1) > self.cap))
        shown, original = mask_ids[masked] - 1, ids[masked]
        is_mask, is_kept = shown == MASK_ID, shown == original
        self.wrong["special_drawn"] += int(np.sum(~is_mask & (shown < FIRST_ORDINARY_ID)))
        self.actions += [is_mask.sum(), is_kept.sum(), (~is_mask & ~is_kept).sum()]

    def report(self) -> bool:
        """Prints the figures; returns whether all bounds hold."""
        shares = np.concatenate(self.shares)
        rates = self.masked_by_unit[1:5] / self.tokens_by_unit[1:5]
        actions = self.actions / self.actions.sum()
        print(f"  masked share  mean {shares.mean():.4f}  sd {shares.std():.4f}")
        print("  rate by word  " + "  ".join(f"{n}: {r:.4f}" for n, r in enumerate(rates, 1)))
        print("  [MASK]/kept/random  " + " / ".join(f"{100 * part:.2f} %" for part in actions))
        print("  " + "  ".join(f"{name} {count}" for name, count in self.wrong.items()))
        # Three standard errors on top: a small corpus has few words of four tokens.
        words = self.tokens_by_unit[1:5] / np.arange(1, 5)
        rate_errors = 3 * np.sqrt(0.15 * 0.85 / words)
        action_errors = 3 * np.sqrt(0.25 / self.actions.sum())
        return bool(
            abs(shares.mean() - 0.15) <= 0.002 + 3 * shares.std() / np.sqrt(len(shares))
            and shares.std() <= 0.01
            and (np.abs(rates - 0.15) <= 0.01 + rate_errors).all()
            and (np.abs(actions - [0.8, 0.1, 0.1]) <= 0.005 + action_errors).all()
            and not any(self.wrong.values())
        )


def prove(output_dir: str) -> bool:
    """Checks one finished run; prints the figures and returns whether all bounds hold."""
    layout = Layout(output_dir)
    info = json.loads(Path(layout.dataset_info).read_text())
    manifest = parse_manifest(Path(layout.manifest).read_bytes(), layout.manifest)
    vocab = Tokenizer(parse_vocab(Path(layout.shard_vocab).read_bytes(), layout.shard_vocab))
    config = info["config"]
    shards = plan_shards(manifest.blocks, config["shard_text_bytes"])
    holds = True
    for length, cap in sorted(
        (int(key), cap) for key, cap in info["max_predictions_per_seq"].items()
    ):
        counts = MaskingCounts(length, cap)
        positions = padding = last_padding = matched = records = 0
        for shard in shards:
            for copy in range(info["dupe_factor"] if shard.split == TRAIN else 1):
                name = shard_name(shard, length, copy)
                ids, mask_ids, starts = read_shard(Path(layout.tfrecords, name), length)
                if len(ids) != info["records"][name]:
                    raise SystemExit(
                        f"{name}: {len(ids)} records, {info['records'][name]} promised"
                    )
                documents = expected_documents(
                    manifest, shard, config["seed"], layout, config["segmenter"], vocab
                )
                matched += match_sequences(documents, ids, starts)
                paddings = length - np.count_nonzero(ids, axis=1)
                records += len(ids)
                positions += ids.size
                padding += int(paddings.sum())
                last_padding += int(paddings.max())
                if shard.split == TRAIN:
                    counts.add(ids, mask_ids, starts)
        fill, whole_fill = 1 - (padding - last_padding) / positions, 1 - padding / positions
        print(f"length {length}: {records:,} records in {len(shards)} shards, read by TensorFlow")
        print(f"  {matched:,} tokens of documents, each in exactly one sequence; no unit cut")
        print(f"  fill {fill:.2%}, with the last sequence of each shard {whole_fill:.2%}")
        holds = counts.report() and fill >= 0.99 and holds
    print("all bounds hold" if holds else "A BOUND DOES NOT HOLD")
    return holds


if __name__ == "__main__":
    sys.exit(0 if prove(sys.argv[1]) else 1)
