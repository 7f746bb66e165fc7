"""Batches: the order that `order` promises, static and dynamic masks, errors that name a record."""

import os
import shutil
from itertools import islice

import numpy as np
import pytest
import tensorflow as tf
from made_shards import (
    HELD_OUT_COPY,
    LENGTH,
    VOCAB_SIZE,
    P,
    identity,
    make_tfrecords,
    sequences,
    write_shard,
)

from tfrecords_schema.features import pack_word_starts
from trainer.batch import Batch
from trainer.data import make_held_out_datasets, make_train_dataset, unpack_word_starts
from trainer.dynamic_masking import draw_mask_ids, make_instance_keys
from trainer.order import groups_from
from trainer.shards import find_damage, open_dataset

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
RECORDS = [RNG.integers(1, 30, 37).tolist() for _ in range(2)]
RECORDS[1][3] = 250
TOTAL = sum(map(sum, RECORDS))
HELD_OUT = [("wiki2019zh", [3, 2, 4]), ("news2016zh", [4])]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = make_tfrecords(tmp_path_factory.mktemp("made"), RECORDS, HELD_OUT)
    return open_dataset(folder, LENGTH, VOCAB_SIZE)


def make(dataset, batch_size=8, masking="static", seed=0, vocab_size=VOCAB_SIZE, **options):
    return make_train_dataset(
        dataset,
        seed=seed,
        masking=masking,
        vocab_size=vocab_size,
        batch_size=batch_size,
        **options,
    )


def rows_of(batches, count):
    """Returns the first instances of batches, one `Batch` each."""
    rows = (Batch(*row) for batch in batches for row in zip(*map(np.asarray, batch), strict=True))
    return list(islice(rows, count))


def originals(row):
    ids = np.array(row.token_ids)
    masked = row.weights > 0
    ids[row.positions[masked]] = row.labels[masked]
    return ids


def expected(seed, position, count, host=0, hosts=1):
    """Returns (epoch, copy, shard, record) in the order of `order`."""
    found = []
    for group in groups_from(RECORDS, seed, position, host, hosts):
        copy = group.epoch % 2
        left = [
            [(group.epoch, copy, shard, n) for n in range(skipped, RECORDS[copy][shard])]
            for shard, skipped in zip(group.shards, group.skipped, strict=True)
        ]
        while left := [records for records in left if records]:
            found += [records.pop(0) for records in left]
        if len(found) >= count:
            return found[:count]


# --- Order ---


def test_every_record_of_two_epochs_comes_in_the_order_of_order(dataset):
    # A multiple of no batch: the last of an epoch and the first of the next share one.
    rows = rows_of(make(dataset, batch_size=7), TOTAL)
    found = [identity(originals(row)) for row in rows]
    assert found == [instance[1:] for instance in expected(0, 0, TOTAL)]
    epochs = found[: sum(RECORDS[0])], found[sum(RECORDS[0]) :]
    for copy, epoch in enumerate(epochs):
        records = RECORDS[copy]
        assert sorted(epoch) == [
            (copy, s, n) for s in range(len(records)) for n in range(records[s])
        ]


@pytest.mark.parametrize("masking", ["static", "dynamic"])
@pytest.mark.parametrize("position", [1, 16, 333, TOTAL - 3, 2 * TOTAL + 400])
def test_batches_from_a_position_are_those_of_the_run_that_got_there(dataset, masking, position):
    whole = rows_of(make(dataset, masking=masking), position + 40)[position:]
    resumed = rows_of(make(dataset, batch_size=5, masking=masking, position=position), 40)
    assert all_bytes(resumed) == all_bytes(whole)


def all_bytes(rows):
    return [tuple(part.tobytes() for part in row) for row in rows]


@pytest.mark.parametrize("host", [0, 1, 2])
def test_hosts_read_their_shards_each_from_its_position(dataset, host):
    rows = rows_of(make(dataset, position=100, host=host, hosts=3), 900)
    found = [identity(originals(row)) for row in rows]
    assert found == [instance[1:] for instance in expected(0, 100, 900, host, 3)]


def test_another_seed_gives_another_order_of_the_same(dataset):
    one, other = (
        [identity(originals(row)) for row in rows_of(make(dataset, seed=seed), sum(RECORDS[0]))]
        for seed in (0, 1)
    )
    assert one != other
    assert sorted(one) == sorted(other)


@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_batches_do_not_depend_on_threads(dataset, masking):
    found = []
    for threads in (1, 5):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        batches = make(dataset, masking=masking).with_options(options)
        found.append(all_bytes(rows_of(batches, TOTAL)))
    assert found[0] == found[1]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by Linux' /proc")
def test_files_are_closed_behind_their_group(dataset):
    batches = iter(make(dataset))
    most = 0
    for _ in range(10 * TOTAL // 8):
        next(batches)
        names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        most = max(most, sum(links_to_shard(name) for name in names))
    assert 0 < most <= 16


def links_to_shard(name):
    try:
        return os.readlink(name).endswith(".tfrecord")
    except FileNotFoundError:
        return False


# --- What is in a batch ---


@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_shapes_are_static_and_types_are_those_of_batch(dataset, masking):
    spec = Batch(
        token_ids=tf.TensorSpec([6, LENGTH], tf.int32),
        positions=tf.TensorSpec([6, P], tf.int32),
        labels=tf.TensorSpec([6, P], tf.int32),
        weights=tf.TensorSpec([6, P], tf.float32),
    )
    assert make(dataset, batch_size=6, masking=masking).element_spec == spec
    held_out = make_held_out_datasets(dataset, 6, 5)
    assert [batches.element_spec for batches in held_out.values()] == [spec, spec]


def test_static_masks_are_those_of_the_shards(dataset):
    for row in rows_of(make(dataset), TOTAL):
        copy, shard, record = identity(originals(row))
        ids, masks, _ = sequences(copy, shard, RECORDS[copy][shard])
        assert_row(row, ids[record], masks[record])


def assert_row(row, ids, masks):
    columns = np.flatnonzero(masks)
    padding = [0] * (P - len(columns))
    assert row.token_ids.tolist() == np.where(masks, masks - 1, ids).tolist()
    assert row.positions.tolist() == columns.tolist() + padding
    assert row.labels.tolist() == ids[columns].tolist() + padding
    assert row.weights.tolist() == [1.0] * len(columns) + [0.0] * len(padding)


@pytest.mark.parametrize("seed", [0, 5])
def test_dynamic_masks_are_drawn_by_the_number_of_the_instance(dataset, seed):
    count = 2 * TOTAL
    rows = rows_of(make(dataset, masking="dynamic", seed=seed, batch_size=32), count)
    parts = [
        [sequences(copy, shard, n) for shard, n in enumerate(RECORDS[copy])] for copy in (0, 1)
    ]
    starts = np.cumsum([0, *RECORDS[0], *RECORDS[1]])
    ids, word_starts, numbers = [], [], []
    for epoch, copy, shard, record in expected(seed, 0, count):
        ids.append(parts[copy][shard][0][record])
        word_starts.append(parts[copy][shard][2][record])
        shards_before = copy * len(RECORDS[0]) + shard
        numbers.append(epoch // 2 * TOTAL + starts[shards_before] + record)
    mask_ids = draw_mask_ids(
        tf.constant(np.array(ids)),
        tf.constant(np.array(word_starts), tf.int64),
        make_instance_keys(seed, tf.constant(numbers, tf.int64)),
        masked_lm_prob=0.15,
        max_predictions_per_seq=P,
        vocab_size=VOCAB_SIZE,
    )
    for row, row_ids, masks in zip(rows, ids, mask_ids.numpy(), strict=True):
        assert_row(row, row_ids, masks)


def test_dynamic_masks_differ_between_epochs_and_seeds(dataset):
    def masks_by_identity(epoch, seed):
        records = sum(RECORDS[0])
        batches = make(dataset, masking="dynamic", seed=seed, position=epoch // 2 * TOTAL)
        rows = rows_of(batches, records)
        return {identity(originals(row)): row.positions.tolist() for row in rows}

    first, again, later, other = (
        masks_by_identity(*place) for place in ((0, 0), (0, 0), (2, 0), (0, 1))
    )
    assert first == again
    for masks in (later, other):
        assert masks.keys() == first.keys()
        # One or two of 11 tokens: two masks are equal by chance in about one of 10 sequences.
        assert sum(masks[name] == first[name] for name in masks) < len(masks) / 3


@pytest.mark.parametrize("length", [8, 128, 512])
def test_unpack_word_starts_undoes_pack_word_starts(length):
    flags = np.random.default_rng(length).random((5, length)) < 0.5
    packed = [row.tobytes() for row in pack_word_starts(flags)]
    assert unpack_word_starts(tf.constant(packed), length).numpy().tolist() == flags.tolist()


# --- Held-out data ---


def test_held_out_batches_are_the_first_sequences_in_the_order_of_the_files(dataset):
    held_out = make_held_out_datasets(dataset, batch_size=4, sequences=7)
    assert list(held_out) == ["news2016zh", "wiki2019zh"]
    batches = list(held_out["wiki2019zh"])
    assert len(batches) == 2
    rows = rows_of(batches, 8)
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)]
    for row, (shard, record) in zip(rows, places, strict=False):
        ids, masks, _ = sequences(HELD_OUT_COPY, shard, [3, 2, 4][shard])
        assert_row(row, ids[record], masks[record])
    assert_row(rows[7], np.zeros(LENGTH, int), np.zeros(LENGTH, int))
    assert all_bytes(rows_of(held_out["wiki2019zh"], 8)) == all_bytes(rows)


def test_held_out_batches_of_few_sequences_end_with_them(dataset):
    held_out = make_held_out_datasets(dataset, batch_size=3, sequences=2_048)
    weights = {
        corpus: [int(batch.weights.numpy().any(axis=1).sum()) for batch in batches]
        for corpus, batches in held_out.items()
    }
    assert weights == {"news2016zh": [3, 1], "wiki2019zh": [3, 3, 3]}


# --- What is wrong with data ---


def test_dynamic_masking_without_word_starts_is_refused(dataset):
    foreign = dataset._replace(has_word_starts=False)
    with pytest.raises(
        ValueError, match=r"do not say where words begin, so .* set masking to .static"
    ):
        make(foreign, masking="dynamic")


def test_more_hosts_than_shards_are_refused(dataset):
    with pytest.raises(ValueError, match="37 training shards cannot be shared by 38 hosts"):
        make(dataset, hosts=38)


@pytest.fixture
def broken(tmp_path):
    """One shard of six records, and a function that writes it again and opens it."""
    make_tfrecords(tmp_path, [[4, 6]], [("wiki2019zh", [6])])

    def write(change, name="train-0-00001-of-00002"):
        parts = sequences(0, 1, 6)
        change(*parts)
        path = tmp_path / f"16/{name}.tfrecord"
        write_shard(path, *parts)
        return open_dataset(str(tmp_path), LENGTH, VOCAB_SIZE), path

    return write


def read_all(batches):
    with pytest.raises(tf.errors.OpError) as caught:
        for _ in islice(batches, 20):
            pass
    return caught.value


@pytest.mark.parametrize("position", [0, 7, 10_000_000])
def test_record_with_too_many_masked_tokens_is_named(broken, position):
    def change(ids, masks, starts):
        masks[3, 1:6] = 104

    dataset, path = broken(change)
    error = read_all(make(dataset, batch_size=3, position=position))
    assert isinstance(error, tf.errors.InvalidArgumentError)
    complaint = "masked tokens, more than max_predictions_per_seq = 4; raise it"
    assert f"{path}: record 3 has 5 {complaint}" in error.message


def test_held_out_record_with_too_many_masked_tokens_is_named(broken):
    def change(ids, masks, starts):
        masks[5, 1:7] = 104

    dataset, path = broken(change, "eval-wiki2019zh-00000-of-00001")
    error = read_all(make_held_out_datasets(dataset, 4, 100)["wiki2019zh"])
    assert f"{path}: record 5 has 6 masked tokens, more than max_pred" in error.message


@pytest.mark.parametrize("part", ["ids", "masks"])
def test_id_outside_the_vocabulary_is_named(broken, part):
    def change(ids, masks, starts):
        ids[4, 6] = VOCAB_SIZE if part == "ids" else 200
        masks[4, 7] = 1 + VOCAB_SIZE if part == "masks" else 0

    dataset, path = broken(change)
    error = read_all(make(dataset, batch_size=2))
    assert isinstance(error, tf.errors.InvalidArgumentError)
    complaint = "as an id, outside the vocabulary of 306 entries; give the model the vocab_size"
    assert f"{path}: record 4 has 306 {complaint}" in error.message


def test_negative_id_is_named(dataset, tmp_path):
    ids, masks, _ = sequences(0, 0, 3)
    ids[1, 7] = -5
    path = tmp_path / "corpus.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for parts in zip(ids, masks, strict=True):
            example = tf.train.Example()
            for name, values in zip(("token_ids", "mask_ids"), parts, strict=True):
                example.features.feature[name].int64_list.value.extend(values)
            writer.write(example.SerializeToString())
    error = read_all(make(open_dataset(str(tmp_path), LENGTH, VOCAB_SIZE), batch_size=3))
    assert f"{path}: record 1 has -5 as an id, outside" in error.message


def test_damaged_shard_is_an_error_and_found(broken):
    dataset, path = broken(lambda *parts: None)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert isinstance(read_all(make(dataset)), tf.errors.DataLossError)
    assert find_damage(dataset).startswith(f"{path}: damaged record data at byte ")


@pytest.mark.parametrize("records", [5, 7])
def test_shard_with_another_number_of_records_is_an_error_and_found(broken, tmp_path, records):
    dataset, path = broken(lambda *parts: None)
    write_shard(path, *sequences(0, 1, records))
    assert isinstance(read_all(make(dataset)), tf.errors.FailedPreconditionError)
    assert find_damage(dataset) == f"{path}: {records} records, 6 expected"


def test_shard_that_went_away_is_an_error_that_names_it(broken):
    dataset, path = broken(lambda *parts: None)
    path.unlink()
    error = read_all(make(dataset))
    assert isinstance(error, tf.errors.NotFoundError)
    assert str(path) in error.message


def test_foreign_shards_are_read(dataset, tmp_path):
    for number in range(2):
        source = f"{dataset.folder}/16/train-0-{number:05d}-of-00037.tfrecord"
        shutil.copy(source, tmp_path / f"corpus.{number}.tfrecord")
    foreign = open_dataset(str(tmp_path), LENGTH, VOCAB_SIZE)
    count = sum(RECORDS[0][:2])
    rows = rows_of(make(foreign), count)
    assert rows[0].positions.shape == (LENGTH // 2,)
    found = sorted(identity(originals(row)) for row in rows)
    assert found == [(0, shard, n) for shard in (0, 1) for n in range(RECORDS[0][shard])]
