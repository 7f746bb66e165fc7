"""Masked-LM training as the reference notebook does it, to measure the trainer against.

One Keras model in graph mode whose outputs are loss and accuracy: the logits of every position go
through the vocabulary and the softmax, those of tokens that are not masked are then multiplied by
0. Records are parsed one by one and shuffled in a buffer of a thousand batches.

Source: pretraining/pretraining.py and data_utils.py of bojone/bert4keras. Differs: no gradient
accumulation, which is wrong there; weights and optimizer are those of the trainer.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrecords_schema.features import MASK_IDS, TOKEN_IDS
from trainer._bert4keras import keras
from trainer.config import ModelConfig, OptimizerConfig, StageConfig
from trainer.model import build_model
from trainer.optimizer import make_optimizer

_SHUFFLED_BATCHES = 1_000


class ReferenceTrainer:
    """Trains a t5s the reference's way.

    Args:
      config: the model's shape.
      stage: sequence length, batch and learning rate; there are no micro batches.
      paths: TFRecord files.
    """

    def __init__(self, config: ModelConfig, stage: StageConfig, paths: Sequence[str]) -> None:
        self.model = _make_train_model(config)
        self.model.compile(
            loss={"mlm_loss": _pass_on, "mlm_acc": _pass_on_without_gradient},
            optimizer=make_optimizer(OptimizerConfig(), stage),
        )
        self._take_step = self.model.make_train_function()
        dataset = make_dataset(paths, stage.max_seq_length, stage.global_batch_size)
        self._batches = iter(dataset.prefetch(tf.data.AUTOTUNE))

    def run(self, steps: int) -> float:
        """Takes optimizer steps; returns Keras' running loss, of which accuracy is a part."""
        logs = {}
        for _ in range(steps):
            logs = self._take_step(self._batches)
        return float(logs["loss"])


def make_dataset(paths: Sequence[str], max_seq_length: int, batch_size: int) -> Any:
    """Returns the reference's endless batches, of inputs and targets by name."""

    def parse(serialized: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        spec = {
            name: tf.io.FixedLenFeature([max_seq_length], tf.int64)
            for name in (TOKEN_IDS, MASK_IDS)
        }
        record = tf.io.parse_single_example(serialized, spec)
        token_ids, mask_ids = record[TOKEN_IDS], record[MASK_IDS]
        is_masked = tf.not_equal(mask_ids, 0)
        inputs = {
            "Input-Token": tf.where(is_masked, mask_ids - 1, token_ids),
            "Input-Segment": tf.zeros_like(token_ids),
            "token_ids": token_ids,
            "is_masked": tf.cast(is_masked, tf.float32),
        }
        return inputs, {"mlm_loss": tf.zeros([1]), "mlm_acc": tf.zeros([1])}

    return (
        tf.data.TFRecordDataset(list(paths))
        .map(parse)
        .repeat()
        .shuffle(batch_size * _SHUFFLED_BATCHES)
        .batch(batch_size)
    )


def _pass_on(_: Any, output: Any) -> Any:
    return output


def _pass_on_without_gradient(_: Any, output: Any) -> Any:
    return tf.stop_gradient(output)


def _make_train_model(config: ModelConfig) -> Any:
    model = build_model(config, 0, "float32").full
    token_ids = keras.layers.Input((None,), dtype="int64", name="token_ids")
    is_masked = keras.layers.Input((None,), name="is_masked")
    scored = [token_ids, model.output, is_masked]
    loss = keras.layers.Lambda(_average_loss, name="mlm_loss")(scored)
    accuracy = keras.layers.Lambda(_average_accuracy, name="mlm_acc")(scored)
    return keras.models.Model([*model.inputs, token_ids, is_masked], [loss, accuracy])


def _average_loss(scored: Sequence[Any]) -> Any:
    labels, logits, weights = scored
    losses = keras.backend.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return _average(losses, weights)


def _average_accuracy(scored: Sequence[Any]) -> Any:
    labels, logits, weights = scored
    guessed = keras.metrics.sparse_categorical_accuracy(labels, logits)
    return _average(tf.cast(guessed, tf.float32), weights)


def _average(scores: Any, weights: Any) -> Any:
    """Averages over the masked tokens of each sequence, float32 [B]."""
    masked = tf.reduce_sum(weights, axis=1) + keras.backend.epsilon()
    return tf.reduce_sum(scores * weights, axis=1) / masked
