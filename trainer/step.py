"""Batches -> updated weights, loss and accuracy: one call into TensorFlow for many steps.

An optimizer step takes global_batch_size sequences. Each replica gets an equal part of them and
works on it in grad_accum_steps micro batches, whose gradients it sums up; the sums of all replicas
are added and applied once. All shapes are static, all gradients dense and float32.

The loss of a step is the mean over its sequences of the mean over a sequence's masked tokens, in
nats, as in the training of the released models; accuracy is averaged likewise. A sequence without
a masked token adds 0 to the sum and still counts as one in training, so that the divisor is known
beforehand; where held-out data is looked at, it counts for nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.batch import Batch
from trainer.dropout import dropout_number
from trainer.model import MaskedLanguageModel

_STEPS: Final = 1 << 28
_MICRO_STEPS: Final = 1 << 18
_REPLICAS: Final = 1 << 12
"""More than there can be; with 31 stages they fill the 63 bits of a dropout number."""


class StepMetrics(NamedTuple):
    """Averages over the global batch, float32 [steps], in the order of the steps."""

    loss: np.ndarray
    accuracy: np.ndarray


class HeldOutSums(NamedTuple):
    """Sums over the sequences of a batch that have a masked token, and their number."""

    loss: float
    accuracy: float
    sequences: int


class TrainStep:
    """Trains a model with an optimizer; both are made in the strategy's scope.

    Args:
      model: what is trained.
      optimizer: of `make_optimizer`; its slots are created.
      strategy: the devices.
      stage_number: from 1 to 31; tells the dropout of one stage from that of another.
      grad_accum_steps: micro batches per replica and optimizer step.
      global_batch_size: sequences of one optimizer step.
      jit_compile: whether XLA compiles the step. For a TPU it always does, for several GPUs never:
        what they exchange in the middle of a step cannot be compiled.

    Raises:
      ValueError: global_batch_size is no multiple of replicas x grad_accum_steps, or a number is
        out of range.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        optimizer: Any,
        strategy: tf.distribute.Strategy,
        *,
        stage_number: int,
        grad_accum_steps: int,
        global_batch_size: int,
        jit_compile: bool,
    ) -> None:
        replicas = strategy.num_replicas_in_sync
        if global_batch_size % (replicas * grad_accum_steps):
            raise ValueError(
                f"global_batch_size {global_batch_size} must be a multiple of {replicas} replicas "
                f"x grad_accum_steps {grad_accum_steps}"
            )
        _require_at_most("stage_number", stage_number, 31)
        _require_at_most("grad_accum_steps", grad_accum_steps, _MICRO_STEPS)
        _require_at_most("replicas", replicas, _REPLICAS)
        self._model = model
        self._optimizer = optimizer
        self._strategy = strategy
        self._stage_number = stage_number
        self._grad_accum_steps = grad_accum_steps
        self._global_batch_size = global_batch_size
        self._micro_batch_size = global_batch_size // (replicas * grad_accum_steps)
        self._step_on_replica: Callable[..., Any] = self._take_step
        self._differentiate: Callable[..., Any] = self._differentiate_micro_batch
        if jit_compile and replicas == 1:
            self._step_on_replica = _compile(self._take_step, strategy, jit_compile)
        else:
            self._differentiate = _compile(self._differentiate_micro_batch, strategy, jit_compile)
        self._run = tf.function(self._take_steps, autograph=False)

    def run(self, iterator: Iterator[Batch], steps: int) -> StepMetrics:
        """Takes optimizer steps, without returning from TensorFlow between them.

        Args:
          iterator: of a dataset that the strategy has distributed, or with one replica of any;
            every replica gets global_batch_size / replicas sequences a step.
          steps: how many; another number of them compiles nothing anew.

        Raises:
          ValueError: batches are of another or of no fixed size.
          tf.errors.OutOfRangeError: the data has ended.
        """
        loss, accuracy = self._run(iterator, tf.constant(steps))
        return StepMetrics(loss.numpy(), accuracy.numpy())

    def _take_steps(self, iterator: Iterator[Batch], steps: tf.Tensor) -> tuple[Any, Any]:
        def goes_on(step: Any, *_: Any) -> Any:
            return step < steps

        def take_one(step: Any, losses: Any, accuracies: Any) -> tuple[Any, Any, Any]:
            sums = self._strategy.run(self._step_on_replica, args=(next(iterator),))
            loss, accuracy = (_sum_over_replicas(self._strategy, part) for part in sums)
            return step + 1, losses.write(step, loss), accuracies.write(step, accuracy)

        metrics = [tf.TensorArray(tf.float32, steps, element_shape=[]) for _ in StepMetrics._fields]
        _, losses, accuracies = tf.while_loop(
            goes_on, take_one, (0, *metrics), parallel_iterations=1
        )
        return losses.stack(), accuracies.stack()

    def _take_step(self, batch: Batch) -> tuple[Any, Any]:
        """One optimizer step as one replica sees it; returns its part of loss and accuracy."""
        loss, accuracy, gradients = self._sum_gradients(batch)
        self._optimizer.apply_gradients(
            zip(gradients, self._model.trainable_variables, strict=True)
        )
        return loss, accuracy

    def _sum_gradients(self, batch: Batch) -> tuple[Any, Any, list[Any]]:
        micro_batches = Batch(*map(self._split, batch))

        def goes_on(micro_step: Any, *_: Any) -> Any:
            return micro_step < self._grad_accum_steps

        def add_micro_batch(micro_step: Any, *sums: Any) -> Any:
            micro_batch = Batch(*(tf.gather(feature, micro_step) for feature in micro_batches))
            parts = self._differentiate(micro_batch, micro_step)
            return micro_step + 1, *tf.nest.map_structure(tf.add, sums, parts)

        variables = self._model.trainable_variables
        zeros = [tf.zeros(variable.shape) for variable in variables]
        _, loss, accuracy, gradients = tf.while_loop(
            goes_on,
            add_micro_batch,
            (0, tf.zeros([]), tf.zeros([]), zeros),
            maximum_iterations=self._grad_accum_steps,
            parallel_iterations=1,
        )
        return loss, accuracy, gradients

    def _split(self, feature: tf.Tensor) -> tf.Tensor:
        expected = self._grad_accum_steps * self._micro_batch_size
        if not feature.shape.is_fully_defined() or feature.shape[0] != expected:
            raise ValueError(
                f"batches must be of {expected} sequences per replica, all shapes static, got "
                f"shape {feature.shape}; batch the dataset with drop_remainder=True"
            )
        shape = [self._grad_accum_steps, self._micro_batch_size, *feature.shape[1:]]
        return tf.reshape(feature, shape)

    def _differentiate_micro_batch(
        self, batch: Batch, micro_step: Any
    ) -> tuple[Any, Any, list[Any]]:
        """Returns the micro batch's part of loss, accuracy and gradients."""
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape, dropout_number(self._number_dropout(micro_step)):
            logits = self._model.predict_masked(batch.token_ids, batch.positions, training=True)
            losses, accuracies = score_sequences(logits, batch.labels, batch.weights)
            loss = tf.reduce_sum(losses) / self._global_batch_size
        gradients = map(_densify, tape.gradient(loss, variables), variables)
        return loss, tf.reduce_sum(accuracies) / self._global_batch_size, list(gradients)

    def _number_dropout(self, micro_step: Any) -> tf.Tensor:
        """Returns a number that no other forward pass of the run has, int64 []."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        number = self._stage_number * _STEPS + tf.cast(self._optimizer.iterations, tf.int64)
        number = number * _MICRO_STEPS + tf.cast(micro_step, tf.int64)
        return number * _REPLICAS + tf.cast(replica, tf.int64)


class HeldOutStep:
    """Scores a model on held-out data, without dropout.

    Args:
      model: what is scored; made in the strategy's scope.
      strategy: the devices.
      jit_compile: whether XLA compiles it; as for `TrainStep`.
    """

    def __init__(
        self, model: MaskedLanguageModel, strategy: tf.distribute.Strategy, *, jit_compile: bool
    ) -> None:
        self._model = model
        self._strategy = strategy
        self._score_on_replica = _compile(self._score, strategy, jit_compile)
        self._run = tf.function(self._score_on_all, autograph=False)

    def run(self, batch: Batch) -> HeldOutSums:
        """Scores one batch, each replica an equal part of it.

        Sequences whose weights are all 0 count for nothing, and may fill a batch up.

        Raises:
          ValueError: the batch is no multiple of the replicas.
        """
        replicas = self._strategy.num_replicas_in_sync
        sequences = len(batch.weights)
        if sequences % replicas:
            raise ValueError(f"{sequences} sequences must be a multiple of {replicas} replicas")
        size = sequences // replicas

        def part_of(context: tf.distribute.ReplicaContext) -> Batch:
            first = context.replica_id_in_sync_group * size
            return Batch(*(feature[first : first + size] for feature in batch))

        parts = self._strategy.experimental_distribute_values_from_function(part_of)
        return HeldOutSums(*(number.numpy().item() for number in self._run(parts)))

    def _score_on_all(self, batch: Batch) -> list[Any]:
        sums = self._strategy.run(self._score_on_replica, args=(batch,))
        return [_sum_over_replicas(self._strategy, part) for part in sums]

    def _score(self, batch: Batch) -> tuple[Any, Any, Any]:
        logits = self._model.predict_masked(batch.token_ids, batch.positions, training=False)
        losses, accuracies = score_sequences(logits, batch.labels, batch.weights)
        scored = tf.reduce_any(batch.weights > 0, axis=-1)
        sequences = tf.reduce_sum(tf.cast(scored, tf.int32))
        return tf.reduce_sum(losses), tf.reduce_sum(accuracies), sequences


def score_sequences(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Averages loss and accuracy over the masked tokens of each sequence.

    Args:
      logits: float32 [B, P, V].
      labels: original ids, int32 [B, P].
      weights: 1 for a masked token, else 0, float32 [B, P].

    Returns:
      Loss in nats and accuracy as a fraction, float32 [B] each; 0 where no token is masked.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    guessed = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, tf.float32)
    masked = tf.reduce_sum(weights, axis=-1)
    loss, accuracy = (
        tf.math.divide_no_nan(tf.reduce_sum(weights * scores, axis=-1), masked)
        for scores in (losses, guessed)
    )
    return loss, accuracy


def _densify(gradient: Any, variable: Any) -> Any:
    """Returns a dense gradient: those of embeddings come as rows."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, variable.shape[0])
    return gradient


def _compile(
    function: Callable[..., Any], strategy: tf.distribute.Strategy, jit_compile: bool
) -> Callable[..., Any]:
    """Returns a part of the step as a function of its own, compiled by XLA if asked for.

    Without XLA that keeps TensorFlow's graph optimizer from drawing it into the loop around it,
    where it sums gradients in temporary variables and then fails in the second step, as they are
    still there (AlreadyExistsError; TensorFlow 2.21).
    """
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return function
    return tf.function(
        function,
        jit_compile=(jit_compile and strategy.num_replicas_in_sync == 1) or None,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def _sum_over_replicas(strategy: tf.distribute.Strategy, parts: Any) -> Any:
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)


def _require_at_most(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise ValueError(f"{name} must be from 1 to {limit:,}, got {value:,}")
