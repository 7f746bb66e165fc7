"""Models that are traced fast, batches for them, and steps that train them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import made_models
import numpy as np
import tensorflow as tf

from trainer.batch import Batch
from trainer.config import ModelConfig, OptimizerConfig, StageConfig
from trainer.dropout import StatelessDropout
from trainer.model import build_model
from trainer.optimizer import create_slots, make_optimizer
from trainer.step import TrainStep
from vocab.special_tokens import SPECIAL_TOKENS

SMALL = dataclasses.replace(made_models.SMALL, intermediate_size=24, num_hidden_layers=1)
DROPPING = dataclasses.replace(SMALL, dropout_rate=0.1)


class OneTable:
    """A stand-in for the model: guesses tokens by the token that is seen, with dropout."""

    def __init__(self, dropout_rate: float = 0.0) -> None:
        start = np.random.default_rng(0).normal(0, 1, (SMALL.vocab_size, 16))
        self.trainable_variables = [tf.Variable(start.astype(np.float32), name="table")]
        self._dropout = StatelessDropout(dropout_rate, seed=0, name="Dropout")

    def predict_masked(self, token_ids, positions, training):
        table = self.trainable_variables[0]
        x = tf.gather(table, tf.gather(token_ids, positions, batch_dims=1))
        return tf.matmul(self._dropout(x, training=training), table, transpose_b=True)


class Training(NamedTuple):
    model: Any
    optimizer: Any
    step: TrainStep
    strategy: tf.distribute.Strategy

    def iterate(self, batches):
        """Returns an iterator that gives each replica its part of every batch, over and over."""
        replicas = self.strategy.num_replicas_in_sync
        size = len(batches[0].weights) // replicas
        features = Batch(*map(np.concatenate, zip(*batches, strict=True)))
        dataset = tf.data.Dataset.from_tensor_slices(features).batch(size, drop_remainder=True)
        return iter(self.strategy.distribute_datasets_from_function(lambda _: dataset.repeat()))

    def weights(self):
        return [variable.numpy() for variable in self.model.trainable_variables]


def real(config: ModelConfig = SMALL, precision: str = "float32") -> Callable[[], Any]:
    """Returns what builds a T5s, always with the same weights."""
    return functools.partial(build_model, config, 0, precision)


def make_training(
    build: Callable[[], Any] = OneTable,
    *,
    strategy: tf.distribute.Strategy | None = None,
    sequences: int = 8,
    grad_accum_steps: int = 1,
    jit_compile: bool = False,
    stage_number: int = 1,
    learning_rate: float = 0.01,
) -> Training:
    """Makes a model and a step that trains it with `sequences` at a time."""
    strategy = strategy or tf.distribute.OneDeviceStrategy("/cpu:0")
    stage = StageConfig(
        max_seq_length=16,
        optimizer_steps=1_000,
        learning_rate=learning_rate,
        global_batch_size=sequences,
    )
    with strategy.scope():
        model = build()
        optimizer = make_optimizer(OptimizerConfig(), stage)
        create_slots(optimizer, model.trainable_variables)
    step = TrainStep(
        *(model, optimizer, strategy),
        stage_number=stage_number,
        grad_accum_steps=grad_accum_steps,
        global_batch_size=sequences,
        jit_compile=jit_compile,
    )
    return Training(model, optimizer, step, strategy)


def make_batch(
    sequences: int = 8, length: int = 16, most: int = 4, vocab_size: int = 211, seed: int = 0
) -> Batch:
    """Returns sequences of random tokens, some padded, with 1 to `most` masked tokens each."""
    rng = np.random.default_rng(seed)
    first = len(SPECIAL_TOKENS)
    token_ids = rng.integers(first, vocab_size, (sequences, length), np.int32)
    positions = np.zeros((sequences, most), np.int32)
    labels = np.zeros((sequences, most), np.int32)
    weights = np.zeros((sequences, most), np.float32)
    for row in range(sequences):
        tokens = rng.integers(length // 2, length + 1)
        masked = rng.integers(1, most + 1)
        token_ids[row, tokens:] = 0
        positions[row, :masked] = np.sort(rng.choice(tokens, masked, replace=False))
        labels[row, :masked] = rng.integers(first, vocab_size, masked)
        weights[row, :masked] = 1
    return Batch(token_ids, positions, labels, weights)
