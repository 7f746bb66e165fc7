"""Dropout whose mask is a function of three numbers: a run resumed drops what it would have.

Keras' own dropout counts in a generator that no checkpoint holds, and every process counts alike.
"""

import contextlib
import hashlib
import threading
from collections.abc import Generator
from typing import Any, Final

import tensorflow as tf

from trainer._bert4keras import keras


class _Current(threading.local):
    number: Any = None


_current: Final = _Current()


@contextlib.contextmanager
def dropout_number(number: Any) -> Generator[None]:
    """Numbers the masks of every `StatelessDropout` that this thread calls inside.

    A distribution strategy traces each replica in a thread of its own: number inside it.

    Args:
      number: int64 scalar tensor; no two passes of a run through the model may share one, so it
        counts steps, micro batches and replicas.
    """
    outer = _current.number
    _current.number = number
    try:
        yield
    finally:
        _current.number = outer


def _key(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


class StatelessDropout(keras.layers.Dropout):
    """Keras' dropout, with masks that depend on (seed, layer name, dropout_number) and the shape.

    The generator is Philox by name, not the device's choice. XLA's has other bits than
    TensorFlow's, so masks repeat only among steps that are compiled alike. They are drawn in
    float32 in every precision: bfloat16 knows only 128 values from .5 to 1.

    Source: Salmon et al. 2011 (Philox); Srivastava et al. 2014 (dropout).
    """

    def __init__(self, rate: float, seed: int, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Drops values in training, scales up what stays; else returns the inputs.

        Raises:
          RuntimeError: in training outside `dropout_number`.
        """
        if not training or self.rate == 0:
            return inputs
        if _current.number is None:
            raise RuntimeError(
                f"layer {self.name} has no number to draw its mask from: call the model inside "
                "`with dropout_number(number):`"
            )
        seed = tf.stack([tf.constant(_key(self.seed, self.name), tf.int64), _current.number])
        draws = tf.random.stateless_uniform(tf.shape(inputs), seed, alg="philox")
        return tf.where(draws < self.rate, tf.zeros([], inputs.dtype), inputs / (1 - self.rate))
