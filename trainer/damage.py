"""Names the file where TensorFlow meets a damaged shard, and does not say which."""

import contextlib
from collections.abc import Generator, Iterable

import tensorflow as tf

from trainer.shards import Dataset, find_damage


@contextlib.contextmanager
def naming_damage(datasets: Iterable[Dataset]) -> Generator[None]:
    """Says which of the shards that are read inside is damaged.

    Args:
      datasets: their shards are looked through, in order.

    Raises:
      ValueError: a shard is damaged.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.FailedPreconditionError) as error:
        for dataset in datasets:
            if damage := find_damage(dataset):
                raise ValueError(f"{damage}; make the data again, or copy it again") from error
        raise
