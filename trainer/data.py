"""Shards -> batches of masked sequences, in the order of `order`, of static shapes.

An instance has a number that counts (cycle, copy, shard, record), a cycle being one epoch of every
copy. It travels with the record: it seeds the dynamic mask, and an error names file and record.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfrecords_schema import features
from trainer.batch import Batch
from trainer.dynamic_masking import draw_mask_ids, make_instance_keys
from trainer.order import GROUP_SHARDS, Group, groups_from
from trainer.shards import Dataset, Shard

_READ_BYTES: Final = 1 << 20
_PARALLEL_BATCHES: Final = 2
_BATCHES_AHEAD: Final = 2
"""Few are enough: a core makes tens of thousands of sequences of 128 in a second."""

_GROUP_SPEC: Final = (
    tf.TensorSpec([None], tf.string),
    *(tf.TensorSpec([None], tf.int64) for _ in range(3)),
)

Batches = Any
"""A tf.data.Dataset of `Batch`; the stubs of TensorFlow do not know of what."""

Tensor = Any
_Masked = tuple[Tensor, Tensor]
"""token_ids and mask_ids, int64 [B, L]."""


def make_train_dataset(
    dataset: Dataset,
    *,
    seed: int,
    masking: str,
    vocab_size: int,
    batch_size: int,
    position: int = 0,
    host: int = 0,
    hosts: int = 1,
) -> Batches:
    """Makes the endless training batches of one host.

    Args:
      dataset: the shards.
      seed: seeds data order and dynamic masks.
      masking: "static" or "dynamic".
      vocab_size: entries of the vocabulary.
      batch_size: B.
      position: instances that this host has read before.
      host: number of this host, from 0.
      hosts: that share the shards.

    Returns:
      Elements are `Batch`; a batch may span two epochs. Iterating raises
      tf.errors.InvalidArgumentError for a record that has too many masked tokens or an id outside
      the vocabulary, and names it; DataLossError for a damaged file, FailedPreconditionError for
      one with more or fewer records than it should have, which `shards.find_damage` names.

    Raises:
      ValueError: a host would get no shard, or dynamic masking of shards without word starts.
    """
    if masking == "dynamic" and not dataset.has_word_starts:
        raise ValueError(
            f"{dataset.folder}: its records do not say where words begin, so they cannot be masked "
            'dynamically; set masking to "static"'
        )
    catalog = _make_catalog([shard for copy in dataset.copies for shard in copy])
    records = [[shard.records for shard in copy] for copy in dataset.copies]
    groups_from(records, seed, position, host, hosts)

    def plan() -> Iterator[tuple[Any, ...]]:
        groups = groups_from(records, seed, position, host, hosts)
        return map(partial(_locate, dataset, catalog), groups)

    mask: Callable[..., _Masked] = partial(_read_masks, dataset)
    if masking == "dynamic":
        mask = partial(_draw_masks, dataset, seed, vocab_size)
    return (
        tf.data.Dataset.from_generator(plan, output_signature=_GROUP_SPEC)
        .flat_map(_read_round_robin)
        .batch(batch_size, drop_remainder=True)
        .map(
            partial(_make_batch, dataset, catalog, mask, vocab_size),
            num_parallel_calls=_PARALLEL_BATCHES,
        )
        .prefetch(_BATCHES_AHEAD)
    )


def make_held_out_datasets(dataset: Dataset, batch_size: int, sequences: int) -> dict[str, Batches]:
    """Makes batches of the first held-out sequences of each corpus, masked as the shards say.

    Args:
      dataset: the shards.
      batch_size: B.
      sequences: most sequences of each corpus.

    Returns:
      By corpus, elements are `Batch`; the last one is filled up with [PAD] of weight 0.
    """

    def make(shards: Sequence[Shard]) -> Batches:
        catalog = _make_catalog(shards)
        make_batch = partial(_make_batch, dataset, catalog, partial(_read_masks, dataset), None)
        starts, left = catalog.starts[:-1], np.diff(catalog.starts)
        return (
            tf.data.Dataset.from_tensor_slices((catalog.paths, np.zeros_like(left), left, starts))
            .flat_map(_read_shard)
            .take(sequences)
            .batch(batch_size)
            .map(lambda *batch: _fill_up(make_batch(*batch), batch_size))
            .prefetch(_BATCHES_AHEAD)
        )

    return {corpus: make(shards) for corpus, shards in dataset.held_out.items()}


# --- Which records, and in which order ---


class _Catalog(NamedTuple):
    """Shards one behind the other, records numbered through.

    Attributes:
      paths: of S shards.
      starts: number of the first record of each, and of all records, int64 [S + 1].
    """

    paths: list[str]
    starts: npt.NDArray[np.int64]


def _make_catalog(shards: Sequence[Shard]) -> _Catalog:
    records = [shard.records for shard in shards]
    return _Catalog([shard.path for shard in shards], np.cumsum([0, *records], dtype=np.int64))


def _locate(dataset: Dataset, catalog: _Catalog, group: Group) -> tuple[Any, ...]:
    """Returns paths, records to skip, records left, and number of the first of these."""
    cycle, copy = divmod(group.epoch, len(dataset.copies))
    first_shard = sum(map(len, dataset.copies[:copy]))
    places = first_shard + np.array(group.shards)
    skipped = np.array(group.skipped, np.int64)
    starts = catalog.starts[places]
    return (
        [catalog.paths[place] for place in places],
        skipped,
        catalog.starts[places + 1] - starts - skipped,
        cycle * catalog.starts[-1] + starts + skipped,
    )


def _read_round_robin(*group: Tensor) -> Any:
    shards = tf.data.Dataset.from_tensor_slices(group)
    return shards.interleave(_read_shard, cycle_length=GROUP_SHARDS, block_length=1)


def _read_shard(*shard: Tensor) -> Any:
    path, skipped, left, number = shard
    records = tf.data.TFRecordDataset(path, buffer_size=_READ_BYTES).skip(skipped)
    return records.apply(tf.data.experimental.assert_cardinality(left)).enumerate(number)


# --- What becomes of a batch of records ---


def _make_batch(
    dataset: Dataset,
    catalog: _Catalog,
    mask: Callable[..., _Masked],
    vocab_size: int | None,
    instances: Tensor,
    records: Tensor,
) -> Batch:
    token_ids, mask_ids = mask(instances, records)
    visible = tf.where(mask_ids != 0, mask_ids - 1, token_ids)
    most = dataset.max_predictions_per_seq
    checks = [_check_masked(mask_ids, most, catalog, instances)]
    if vocab_size:
        checks += [_check_ids(ids, vocab_size, catalog, instances) for ids in (token_ids, visible)]
    with tf.control_dependencies(checks):
        return _gather_masked(token_ids, mask_ids != 0, visible, most)


def _parse(dataset: Dataset, records: Tensor, other: str, spec: Any) -> _Masked:
    """Returns token_ids and another feature."""
    length = dataset.max_seq_length
    ids_spec = tf.io.FixedLenFeature([length], tf.int64)
    parsed = tf.io.parse_example(records, {features.TOKEN_IDS: ids_spec, other: spec or ids_spec})
    return parsed[features.TOKEN_IDS], parsed[other]


def _read_masks(dataset: Dataset, _instances: Tensor, records: Tensor) -> _Masked:
    return _parse(dataset, records, features.MASK_IDS, None)


def _draw_masks(
    dataset: Dataset, seed: int, vocab_size: int, instances: Tensor, records: Tensor
) -> _Masked:
    spec = tf.io.FixedLenFeature([], tf.string)
    token_ids, packed = _parse(dataset, records, features.WORD_STARTS, spec)
    mask_ids = draw_mask_ids(
        token_ids,
        unpack_word_starts(packed, dataset.max_seq_length),
        make_instance_keys(seed, instances),
        masked_lm_prob=dataset.masked_lm_prob,
        max_predictions_per_seq=dataset.max_predictions_per_seq,
        vocab_size=vocab_size,
    )
    return token_ids, mask_ids


def unpack_word_starts(packed: Tensor, max_seq_length: int) -> Tensor:
    """Does what `features.unpack_word_starts` does: strings [B] -> 0 or 1, int64 [B, L]."""
    octets = tf.io.decode_raw(packed, tf.uint8)
    bits = tf.bitwise.right_shift(octets[:, :, tf.newaxis], np.arange(8, dtype=np.uint8)) & 1
    return tf.cast(tf.reshape(bits, [-1, max_seq_length]), tf.int64)


def _gather_masked(token_ids: Tensor, is_masked: Tensor, visible: Tensor, most: int) -> Batch:
    length = token_ids.shape[1]
    from_end = tf.where(is_masked, tf.range(length, 0, -1), 0)
    places = tf.math.top_k(from_end, most).values
    positions = tf.where(places > 0, length - places, 0)
    labels = tf.gather(tf.cast(token_ids, tf.int32), positions, batch_dims=1)
    return Batch(
        token_ids=tf.cast(visible, tf.int32),
        positions=positions,
        labels=tf.where(places > 0, labels, 0),
        weights=tf.cast(places > 0, tf.float32),
    )


def _fill_up(batch: Batch, batch_size: int) -> Batch:
    def fill_up(values: Tensor) -> Tensor:
        missing: Any = batch_size - tf.shape(values)[0]
        filled = tf.pad(values, [[0, missing], [0, 0]])
        return tf.ensure_shape(filled, [batch_size, values.shape[1]])

    return Batch(*map(fill_up, batch))


# --- Records that cannot be used ---


def _check_masked(
    mask_ids: Tensor, most: int, catalog: _Catalog, instances: Tensor
) -> tf.Operation:
    masked = tf.math.count_nonzero(mask_ids, axis=1)
    complaint = f"masked tokens, more than max_predictions_per_seq = {most}; raise it"
    return _require(masked <= most, catalog, instances, masked, complaint)


def _check_ids(ids: Tensor, vocab_size: int, catalog: _Catalog, instances: Tensor) -> tf.Operation:
    smallest, largest = tf.reduce_min(ids, axis=1), tf.reduce_max(ids, axis=1)
    worst = tf.where(smallest < 0, smallest, largest)
    complaint = (
        f"as an id, outside the vocabulary of {vocab_size:,} entries; give the model the "
        "vocab_size of the data"
    )
    holds = (worst >= 0) & (worst < vocab_size)
    return _require(holds, catalog, instances, worst, complaint)


def _require(
    holds: Tensor, catalog: _Catalog, instances: Tensor, figures: Tensor, complaint: str
) -> tf.Operation:
    """Stops at the first instance that does not hold: names its file, record and figure."""
    all_hold = tf.reduce_all(holds)

    def complain() -> Tensor:
        place = tf.argmin(tf.cast(holds, tf.int32))
        number = instances[place] % catalog.starts[-1]
        shard = tf.searchsorted(catalog.starts, [number], side="right")[0] - 1
        record = number - tf.gather(catalog.starts, shard)
        return tf.strings.join(
            [
                *(tf.gather(catalog.paths, shard), ": record ", tf.as_string(record), " has "),
                *(tf.as_string(figures[place]), " ", complaint),
            ]
        )

    message = tf.cond(all_hold, lambda: tf.constant(""), complain)
    return tf.debugging.Assert(all_hold, [message])
