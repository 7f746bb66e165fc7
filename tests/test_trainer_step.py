import dataclasses
import functools
import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import tensorflow as tf
from made_steps import DROPPING, SMALL, OneTable, make_batch, make_training, real

from trainer.batch import Batch
from trainer.config import MODELS
from trainer.step import HeldOutStep, score_sequences

pytestmark = pytest.mark.slow

JIT = pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
EPSILON = np.finfo(np.float32).eps


def twice(batch):
    return Batch(*(np.concatenate([feature, feature]) for feature in batch))


def score_by_hand(logits, labels, weights):
    """Returns loss and accuracy of each sequence, in double precision, token by token."""
    losses, accuracies = [], []
    for row in range(len(labels)):
        of_tokens = []
        for logit, label, weight in zip(logits[row], labels[row], weights[row], strict=True):
            if weight:
                logit = logit.astype(np.float64)
                chance = np.exp(logit[label] - logit.max()) / np.exp(logit - logit.max()).sum()
                of_tokens.append((-np.log(chance), float(logit.argmax() == label)))
        loss, accuracy = np.mean(of_tokens, axis=0) if of_tokens else (0.0, 0.0)
        losses.append(loss)
        accuracies.append(accuracy)
    return np.array(losses), np.array(accuracies)


def predict(training, batch):
    return training.model.predict_masked(batch.token_ids, batch.positions, training=False).numpy()


def sum_gradients(training, batch):
    """Returns loss, accuracy and gradients of a step, none of them applied."""
    compute = tf.function(training.step._sum_gradients, autograph=False)
    loss, accuracy, gradients = compute(Batch(*map(tf.constant, batch)))
    return float(loss), float(accuracy), gradients


def test_scores_of_a_sequence_are_means_over_its_masked_tokens():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (5, 4, 11)).astype(np.float32)
    labels = np.where(rng.random((5, 4)) < 0.5, logits.argmax(-1), rng.integers(0, 11, (5, 4)))
    weights = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    losses, accuracies = score_sequences(
        logits, labels.astype(np.int32), weights.astype(np.float32)
    )
    expected = score_by_hand(logits, labels, weights)
    np.testing.assert_allclose(losses, expected[0], rtol=4 * EPSILON)
    np.testing.assert_allclose(accuracies, expected[1], rtol=EPSILON)
    assert float(losses[2]) == float(accuracies[2]) == 0 and 0 < np.mean(accuracies) < 1


@JIT
def test_metrics_of_a_step_are_means_over_the_global_batch_before_its_update(jit_compile):
    training = make_training(grad_accum_steps=2, jit_compile=jit_compile)
    batch = make_batch()
    batch.weights[3] = 0  # A sequence without a masked token still counts in the divisor.
    logits = predict(training, batch)
    batch.labels[:, 0] = logits[:, 0].argmax(-1)
    losses, accuracies = score_by_hand(logits, batch.labels, batch.weights)
    metrics = training.step.run(training.iterate([batch]), 1)
    assert metrics.loss.dtype == metrics.accuracy.dtype == np.float32
    assert metrics.loss.shape == metrics.accuracy.shape == (1,)
    # Single precision, and XLA's own exp and log.
    np.testing.assert_allclose(metrics.loss, losses.sum() / 8, rtol=1e-6)
    np.testing.assert_allclose(metrics.accuracy, accuracies.sum() / 8, rtol=1e-6)
    assert accuracies.sum() > 0


@JIT
def test_accumulation_equals_a_larger_micro_batch(jit_compile):
    batch = make_batch()
    whole, parts = (
        make_training(real(), grad_accum_steps=steps, jit_compile=jit_compile) for steps in (1, 4)
    )
    for one, other in zip(
        sum_gradients(whole, batch)[2], sum_gradients(parts, batch)[2], strict=True
    ):
        difference = np.abs(one - other).max()
        assert np.abs(one).max() > 0 and difference < 1e-5 * np.abs(one).max()
    before = whole.weights()
    for training in (whole, parts):
        training.step.run(training.iterate([batch]), 1)
    for start, one, other in zip(before, whole.weights(), parts.weights(), strict=True):
        assert np.abs(one - start).max() > 0
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(one)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_are_dense_float32_and_those_of_the_mean_loss(precision):
    training = make_training(real(SMALL, precision), grad_accum_steps=2)
    batch = make_batch()
    loss, _, gradients = sum_gradients(training, batch)
    with tf.GradientTape() as tape:
        logits = training.model.predict_masked(batch.token_ids, batch.positions, training=True)
        expected_loss = tf.reduce_mean(score_sequences(logits, batch.labels, batch.weights)[0])
    variables = training.model.trainable_variables
    # Sums in another order; in bfloat16 of numbers of 8 bits.
    tolerance = {"float32": 1e-5, "bfloat16": 2e-2}[precision]
    assert loss == pytest.approx(float(expected_loss), rel=tolerance)
    for gradient, expected, variable in zip(
        gradients, tape.gradient(expected_loss, variables), variables, strict=True
    ):
        assert gradient.dtype == variable.dtype == tf.float32
        assert gradient.shape == variable.shape
        expected = tf.convert_to_tensor(expected)
        assert np.linalg.norm(gradient - expected) <= tolerance * np.linalg.norm(expected)


@JIT
def test_a_run_of_steps_equals_runs_of_one_step_and_traces_nothing_anew(jit_compile):
    """Bit for bit, dropout included; likewise a second process would repeat it."""
    batches = [make_batch(seed=seed) for seed in range(4)]
    at_once, one_by_one = (
        make_training(real(DROPPING), grad_accum_steps=2, jit_compile=jit_compile) for _ in range(2)
    )
    metrics = at_once.step.run(at_once.iterate(batches), 3)
    iterator = one_by_one.iterate(batches)
    single = [one_by_one.step.run(iterator, 1) for _ in range(3)]
    np.testing.assert_array_equal(metrics.loss, np.concatenate([m.loss for m in single]))
    np.testing.assert_array_equal(metrics.accuracy, np.concatenate([m.accuracy for m in single]))
    for one, other in zip(at_once.weights(), one_by_one.weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(at_once.optimizer.iterations) == int(one_by_one.optimizer.iterations) == 3
    for training in (at_once, one_by_one):
        training.step.run(training.iterate(batches), 2)
        assert training.step._run.experimental_get_tracing_count() == 1


DROP = functools.partial(OneTable, 0.5)


def losses_of(build, batch, steps=1, **settings):
    """Returns the losses of steps over the same batch, too small to change a weight."""
    training = make_training(build, sequences=len(batch.weights), learning_rate=1e-30, **settings)
    return training.step.run(training.iterate([batch]), steps).loss.tolist()


@JIT
def test_dropout_is_another_at_every_step(jit_compile):
    assert len(set(losses_of(DROP, make_batch(), 4, jit_compile=jit_compile))) == 4
    assert len(set(losses_of(OneTable, make_batch(), 4, jit_compile=jit_compile))) == 1


def test_dropout_is_another_in_every_stage():
    batch = make_batch()
    first, again, second = (losses_of(DROP, batch, stage_number=stage) for stage in (1, 1, 2))
    assert first == again != second


def test_dropout_is_another_in_every_micro_step():
    """Two equal micro batches lose as much as one exactly if they drop the same."""
    batch = make_batch(4)
    for build, is_same in ((OneTable, True), (DROP, False)):
        once = losses_of(build, batch)
        assert (losses_of(build, twice(batch), grad_accum_steps=2) == once) == is_same


def test_no_two_forward_passes_share_a_dropout_number():
    training = make_training()
    numbers = []
    for stage in (1, 2, 31):
        training.step._stage_number = stage
        for iterations in (0, 1, 249_999, 2**28 - 1):
            training.optimizer.iterations.assign(iterations)
            for micro_step in (0, 1, 2**18 - 1):
                numbers.append(int(training.step._number_dropout(micro_step)))
    assert len(set(numbers)) == len(numbers) == 36
    assert all(0 < number <= 2**63 - 2**12 for number in numbers)


def test_bfloat16_lowers_the_loss_of_float32_weights():
    batch = make_batch()
    training = make_training(real(SMALL, "bfloat16"), learning_rate=0.1)
    expected = score_by_hand(predict(make_training(real()), batch), batch.labels, batch.weights)
    losses = training.step.run(training.iterate([batch]), 30).loss
    # The same weights, computed with 8 bits instead of 24.
    assert losses[0] == pytest.approx(expected[0].mean(), rel=2e-3)
    assert np.isfinite(losses).all() and losses[-1] < 0.8 * losses[0]
    assert all(weight.dtype == np.float32 for weight in training.weights())


def test_steps_without_xla_can_be_repeated():
    """At this size, TensorFlow's graph optimizer spoils a loop that it can look into."""
    config = dataclasses.replace(MODELS["tiny"], num_hidden_layers=2)
    training = make_training(real(config), sequences=4)
    iterator = training.iterate([make_batch(4, 128, 24, config.vocab_size)])
    losses = [training.step.run(iterator, steps).loss for steps in (1, 2)]
    assert np.isfinite(np.concatenate(losses)).all()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
@JIT
def test_memory_does_not_grow(jit_compile):
    def resident_bytes():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    training = make_training(DROP, grad_accum_steps=2, jit_compile=jit_compile)
    iterator = training.iterate([make_batch(seed=seed) for seed in range(4)])
    for _ in range(10):
        training.step.run(iterator, 10)
    before = resident_bytes()
    for _ in range(100):
        training.step.run(iterator, 10)
    # A gradient kept by each of 1,000 steps would be 13.5 MB; the allocator needs some room.
    assert resident_bytes() - before < 4e6


def test_the_end_of_the_data_is_an_error():
    training = make_training()
    dataset = tf.data.Dataset.from_tensors(make_batch()).repeat(2)
    iterator = iter(dataset)
    training.step.run(iterator, 2)
    with pytest.raises(tf.errors.OutOfRangeError):
        training.step.run(iterator, 1)


def test_batches_of_another_size_are_refused():
    training = make_training(grad_accum_steps=2)
    with pytest.raises(ValueError, match=r"must be of 8 sequences .* got shape \(4, 16\)"):
        training.step.run(training.iterate([make_batch(4)]), 1)


def test_batches_of_no_fixed_size_are_refused():
    training = make_training()
    dataset = tf.data.Dataset.from_tensor_slices(make_batch()).batch(8)
    with pytest.raises(ValueError, match=r"got shape \(None, 16\).*drop_remainder=True"):
        training.step.run(iter(dataset), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grad_accum_steps": 3}, "global_batch_size 8 must be a multiple of 1 replicas x"),
        ({"stage_number": 0}, "stage_number must be from 1 to 31, got 0"),
        ({"stage_number": 32}, "stage_number must be from 1 to 31, got 32"),
    ],
)
def test_wrong_arithmetic_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_training(**settings)


@JIT
def test_held_out_sums_are_those_of_its_sequences_without_dropout(jit_compile):
    training = make_training(DROP)
    batch = make_batch(12)
    batch.weights[[2, 7]] = 0
    logits = predict(training, batch)
    batch.labels[:, 0] = logits[:, 0].argmax(-1)
    step = HeldOutStep(training.model, training.strategy, jit_compile=jit_compile)
    sums = step.run(batch)
    losses, accuracies = score_by_hand(logits, batch.labels, batch.weights)
    assert sums.sequences == 10 and isinstance(sums.sequences, int)
    # Single precision, and XLA's own exp and log.
    assert sums.loss == pytest.approx(losses.sum(), rel=1e-6)
    assert sums.accuracy == pytest.approx(accuracies.sum(), rel=1e-6) and accuracies.sum() > 0
    assert step.run(Batch(*map(tf.constant, batch))) == sums


def nested_functions(graph, operation):
    """Yields the graphs of the functions that an operation calls: loops, branches, calls."""
    for attribute in operation.node_def.attr.values():
        kind = attribute.WhichOneof("value")
        functions = [attribute.func] if kind == "func" else attribute.list.func
        for function in functions:
            yield graph._functions[function.name].graph


def operations_below(graph):
    for operation in graph.get_operations():
        yield operation
        for nested in nested_functions(graph, operation):
            yield from operations_below(nested)


def with_unknown_shape(operations):
    """Returns what is used and has no fixed shape; references to variables have none."""
    return [
        (operation.type, tensor.name, tensor.shape)
        for operation in operations
        for tensor in operation.outputs
        if tensor.consumers() and tensor.dtype != tf.resource
        if not tensor.shape.is_fully_defined()
    ]


LENGTHS = {128: 24, 512: 88}
"""Tokens of a sequence and at most masked ones, as the pipeline makes them."""

ALL_WAYS = tuple(itertools.product(LENGTHS, (1, 2), ("float32", "bfloat16")))
PAIRWISE = (
    *((128, 1, "float32"), (128, 2, "bfloat16")),
    *((512, 1, "bfloat16"), (512, 2, "float32")),
)
"""Every length with every accumulation and precision, and these with each other."""


@pytest.mark.parametrize(
    ("name", "length", "grad_accum_steps", "precision"),
    [*(("tiny", *way) for way in ALL_WAYS), *(("base", *way) for way in PAIRWISE)],
)
def test_released_models_are_lowered_to_xla_with_static_shapes_only(
    name, length, grad_accum_steps, precision
):
    # Layers repeat each other; below, all of them are compiled.
    training = make_training(
        real(dataclasses.replace(MODELS[name], num_hidden_layers=2), precision),
        sequences=grad_accum_steps,
        grad_accum_steps=grad_accum_steps,
        jit_compile=True,
    )
    batch = make_batch(grad_accum_steps, length, LENGTHS[length], MODELS[name].vocab_size)
    batch = Batch(*map(tf.constant, batch))
    on_replica = training.step._step_on_replica
    operations = list(operations_below(on_replica.get_concrete_function(batch).graph))
    assert {"While", "MatMul", "AssignVariableOp"} <= {operation.type for operation in operations}
    assert with_unknown_shape(operations) == []
    program = on_replica.experimental_get_compiler_ir(batch)(stage="hlo")
    assert "<=" not in program  # An HLO shape with a bound is a dynamic one.
    assert ("bf16[" in program) == (precision == "bfloat16")


@pytest.mark.parametrize(
    ("name", "length", "precision"),
    [
        *(("tiny", 128, "float32"), ("tiny", 512, "bfloat16")),
        *(("base", 128, "bfloat16"), ("base", 512, "float32")),
    ],
)
def test_released_models_train_compiled(name, length, precision):
    if name != "base":
        check_training(name, length, precision)
        return
    # In a process of its own, since compiled programs are never freed.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(check_training, name, length, precision).result()


def check_training(name, length, precision):
    config = MODELS[name]
    training = make_training(
        real(config, precision), sequences=2, grad_accum_steps=2, jit_compile=True
    )
    batch = make_batch(2, length, LENGTHS[length], config.vocab_size)
    metrics = training.step.run(training.iterate([batch]), 2)
    # Fresh weights guess evenly, but for what they are drawn as.
    assert metrics.loss[0] == pytest.approx(np.log(config.vocab_size), abs=0.3)
    assert metrics.loss[1] < metrics.loss[0]
