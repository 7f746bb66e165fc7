"""Reads the shards of a finished run back with plain TensorFlow and proves what they promise.

    python -m benchmarks.proof OUTPUT_DIR

Checked against the documents, which are segmented and tokenized again one by one: every token of
every kept document stands in exactly one sequence of every copy, no mask unit is cut between two
sequences, and the word_starts are right. Checked of the ledger: it balances, and as many characters
are in instances as these documents have that the tokenizer makes tokens of. Measured: fill, and the
statistics of masking. The exit code is 1 if a bound does not hold.
"""

import json
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.blocks import read_block
from pipeline.layout import Layout, shard_name
from pipeline.manifest import Manifest, read_manifest
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


class ExpectedDocument(NamedTuple):
    """What the sequences of a shard are to hold of one document.

    Attributes:
      corpus: that it belongs to; likewise split.
      chars: characters that the tokenizer makes tokens of.
      ids: of its tokens, shape [T], T > 0.
      starts: True where a mask unit begins, shape [T].
    """

    corpus: str
    split: str
    chars: int
    ids: Array
    starts: Array


class Matched(NamedTuple):
    """What was found in the sequences of shards.

    Attributes:
      tokens: of documents.
      chars: under these tokens, by corpus and split.
    """

    tokens: int
    chars: Counter[tuple[str, str]]


def expected_documents(
    manifest: Manifest, shard: Shard, seed: int, layout: Layout, segmenter: str, vocab: Tokenizer
) -> Iterator[ExpectedDocument]:
    """Yields what is expected of each document of a shard, made one at a time."""
    segment = load_segmenter(segmenter)
    for block in deal_blocks(manifest.blocks, shard, seed):
        with open(layout.part(block.part, manifest.parts), "rb") as file:
            documents = read_block(file, block)
        for document in documents:
            *lengths, line_feed = segment([document.text]).tolist()
            if (sum(lengths), line_feed) != (len(document.text), 1):
                raise SystemExit(f"{document.doc_id}: words do not join to the text")
            tokens = vocab.tokenize(document.text, np.array(lengths, np.int32))
            starts: list[bool] = []
            run = 0
            for begins in tokens.word_starts.tolist():
                run = 0 if begins or run == MAX_UNIT_TOKENS else run
                starts.append(run == 0)
                run += 1
            if len(tokens.ids):
                chars = count_chars_of_tokens(document.text)
                yield ExpectedDocument(
                    *(document.corpus, document.split, chars, tokens.ids, np.array(starts))
                )


def count_chars_of_tokens(text: str) -> int:
    """Counts the characters that stand under a token, by the rules of BERT's tokenizer alone."""
    return sum(number for char, number in Counter(text).items() if _leaves_token(char))


@cache
def _leaves_token(char: str) -> bool:
    """Tells whether anything but accents, white space and control characters is left of it."""
    folded = unicodedata.normalize("NFD", char.lower())
    categories = {unicodedata.category(part) for part in folded.replace("\ufffd", "")}
    return bool(categories - {"Mn", "Cc", "Cf", "Zs", "Zl", "Zp"})


def match_sequences(documents: Iterable[ExpectedDocument], ids: Array, starts: Array) -> Matched:
    """Finds every sequence in the documents' tokens, in order.

    Raises:
      SystemExit: a token is missing, doubled or changed, or a unit is cut.
    """
    contents: dict[bytes, list[int]] = defaultdict(list)
    lengths = np.count_nonzero(ids, axis=1) - 2
    for row, length in enumerate(lengths.tolist()):
        contents[ids[row, 1 : 1 + min(KEY_TOKENS, length)].tobytes()].append(row)
    stream_ids: list[Array] = []
    stream_starts: list[Array] = []
    matched = Matched(0, Counter())
    for document in documents:
        matched.chars[document.corpus, document.split] += document.chars
        matched = matched._replace(tokens=matched.tokens + len(document.ids))
        if stream_ids:
            stream_ids.append(np.array([SEP_ID]))
            stream_starts.append(np.array([True]))
        stream_ids.append(document.ids)
        stream_starts.append(document.starts)
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


# --- The ledger ---


def find_faults(
    corpora: Mapping[str, Any], chars: Mapping[int, Mapping[tuple[str, str], int]]
) -> Iterator[str]:
    """Yields what is wrong with a ledger, a sentence each.

    Args:
      corpora: the accounts of ledger.json, by corpus and split.
      chars: characters under tokens that were found in the shards of each length, by corpus and
        split.
    """
    places = {(corpus, split) for corpus, splits in corpora.items() for split in splits}
    for corpus, split in sorted(places.union(*chars.values())):
        accounts = corpora.get(corpus, {}).get(split)
        if accounts is None:
            yield f"{corpus}, {split}: is in shards, but not in the ledger"
            continue
        came = accounts["read"] + sum(accounts["added"].values())
        went = accounts["kept"] + sum(
            number
            for account in ("removed", "rejected", "duplicates")
            for number in accounts[account].values()
        )
        if came != went:
            yield f"{corpus}, {split}: {came:,} characters came, {went:,} went"
        for length, found in chars.items():
            inside = accounts["in_instances"].get(str(length), 0)
            went = inside + accounts["white_space"] + accounts["dropped_by_tokenizer"]
            if went != accounts["kept"]:
                yield (
                    f"{corpus}, {split}, length {length}: {accounts['kept']:,} characters were "
                    f"kept, {went:,} became something"
                )
            if inside != found.get((corpus, split), 0):
                yield (
                    f"{corpus}, {split}, length {length}: {inside:,} characters are said to be in "
                    f"instances, {found.get((corpus, split), 0):,} are"
                )


# --- A whole run ---


class FinishedRun:
    """The outputs of a run, and what its shards were made of."""

    def __init__(self, output_dir: str) -> None:
        layout = self.layout = Layout(output_dir)
        self.info: dict[str, Any] = json.loads(Path(layout.dataset_info).read_text())
        self.ledger: dict[str, Any] = json.loads(Path(layout.ledger).read_text())
        self._manifest = read_manifest(layout.manifest)
        vocab = Path(layout.shard_vocab).read_bytes()
        self._vocab = Tokenizer(parse_vocab(vocab, layout.shard_vocab))
        self._config = self.info["config"]
        self.shards = plan_shards(self._manifest.blocks, self._config["shard_text_bytes"])

    def read(self, shard: Shard, length: int, copy: int) -> tuple[Array, Array, Array]:
        """Does what `read_shard` does.

        Raises:
          SystemExit: the shard holds more or fewer records than dataset_info.json says.
        """
        name = shard_name(shard, length, copy)
        rows = read_shard(Path(self.layout.tfrecords, name), length)
        found, promised = len(rows[0]), self.info["records"][name]
        if found != promised:
            raise SystemExit(f"{name}: {found} records, {promised} promised")
        return rows

    def match(self, shard: Shard, ids: Array, starts: Array) -> Matched:
        """Does what `match_sequences` does."""
        config = self._config
        documents = expected_documents(
            *(self._manifest, shard, config["seed"], self.layout, config["segmenter"], self._vocab)
        )
        return match_sequences(documents, ids, starts)


def prove(output_dir: str) -> bool:
    """Checks one finished run; prints the figures and returns whether all bounds hold."""
    run = FinishedRun(output_dir)
    lengths = sorted((int(key), cap) for key, cap in run.info["max_predictions_per_seq"].items())
    holds = True
    chars: dict[int, Counter[tuple[str, str]]] = {}
    for length, cap in lengths:
        chars[length], length_holds = _prove_length(run, length, cap)
        holds = length_holds and holds
    faults = list(find_faults(run.ledger["corpora"], chars))
    print("\n".join(["ledger:", *(f"  {fault}" for fault in faults or [_sum_up(chars)])]))
    holds = holds and not faults
    print("all bounds hold" if holds else "A BOUND DOES NOT HOLD")
    return holds


def _prove_length(run: FinishedRun, length: int, cap: int) -> tuple[Counter[tuple[str, str]], bool]:
    """Returns the characters under tokens, by corpus and split, and whether all bounds hold."""
    masking = MaskingCounts(length, cap)
    chars: Counter[tuple[str, str]] = Counter()
    positions = padding = last_padding = tokens = records = 0
    for shard in run.shards:
        for copy in range(run.info["dupe_factor"] if shard.split == TRAIN else 1):
            ids, mask_ids, starts = run.read(shard, length, copy)
            matched = run.match(shard, ids, starts)
            tokens += matched.tokens
            if not copy:
                chars.update(matched.chars)
            paddings = length - np.count_nonzero(ids, axis=1)
            records += len(ids)
            positions += ids.size
            padding += int(paddings.sum())
            last_padding += int(paddings.max())
            if shard.split == TRAIN:
                masking.add(ids, mask_ids, starts)
    fill, whole_fill = 1 - (padding - last_padding) / positions, 1 - padding / positions
    print(f"length {length}: {records:,} records in {len(run.shards)} shards, read by TensorFlow")
    print(f"  {tokens:,} tokens of documents, each in exactly one sequence; no unit cut")
    print(f"  fill {fill:.2%}, with the last sequence of each shard {whole_fill:.2%}")
    return chars, masking.report() and fill >= 0.99


def _sum_up(chars: Mapping[int, Counter[tuple[str, str]]]) -> str:
    totals = ", ".join(f"{found.total():,} at length {length}" for length, found in chars.items())
    return f"balances; characters under tokens, counted in the shards: {totals}"


if __name__ == "__main__":
    sys.exit(0 if prove(sys.argv[1]) else 1)
