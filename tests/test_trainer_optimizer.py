import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import RELEASED_STAGES, OptimizerConfig, StageConfig
from trainer.optimizer import create_slots, learning_rate_at, make_optimizer

pytestmark = pytest.mark.slow

PEAK = 5 / (2**1.5 * 1e3)
STEPS = 12


def stage_of(optimizer_steps, warmup_steps=0, learning_rate=PEAK):
    return StageConfig(
        max_seq_length=128,
        optimizer_steps=optimizer_steps,
        warmup_steps=warmup_steps,
        learning_rate=learning_rate,
    )


def rate_of(optimizer, step):
    """Returns the rate that the optimizer itself uses."""
    optimizer.iterations.assign(step)
    return float(optimizer._decayed_lr(tf.float32))


def full_rate():
    return float(np.float32(PEAK))


@pytest.mark.parametrize(
    ("optimizer_steps", "warmup_steps", "step", "share"),
    [
        (250_000, 0, 0, 1.0),
        (250_000, 0, 125_000, 0.5),
        (250_000, 0, 250_000, 0.0),
        (250_000, 0, 250_001, 0.0),
        (256, 64, 0, 0.0),
        (256, 64, 32, 0.5),
        (256, 64, 64, 1.0),
        (256, 64, 160, 0.5),
        (256, 64, 256, 0.0),
        (256, 256, 0, 0.0),
        (256, 256, 255, 255 / 256),
        (256, 256, 256, 1.0),
        (1, 0, 0, 1.0),
        (1, 1, 0, 0.0),
        (2, 1, 1, 1.0),
    ],
)
def test_learning_rate_is_exact_at_the_corners(optimizer_steps, warmup_steps, step, share):
    stage = stage_of(optimizer_steps, warmup_steps)
    # 1/250,000 is no binary fraction: in single precision half-way is a few 1e-7 off.
    assert learning_rate_at(stage, step) == pytest.approx(full_rate() * share, rel=1e-6, abs=0)
    if share in (0, 1):
        assert learning_rate_at(stage, step) == full_rate() * share
    assert learning_rate_at(stage, step) == rate_of(make_optimizer(OptimizerConfig(), stage), step)


@given(data=st.data(), optimizer_steps=st.integers(1, 300_000))
@settings(max_examples=50, deadline=None)
def test_learning_rate_is_to_the_bit_the_optimizers(data, optimizer_steps):
    warmup_steps = data.draw(st.integers(0, optimizer_steps))
    step = data.draw(st.integers(0, optimizer_steps + 2))
    rate = data.draw(st.floats(1e-7, 1))
    stage = stage_of(optimizer_steps, warmup_steps, rate)
    optimizer = make_optimizer(OptimizerConfig(), stage)
    assert learning_rate_at(stage, step) == rate_of(optimizer, step)


def test_learning_rates_of_the_released_stages():
    first, second = RELEASED_STAGES
    assert learning_rate_at(first, 0) == float(np.float32(PEAK))
    assert learning_rate_at(second, 0) == float(np.float32(PEAK / 10))
    for stage in RELEASED_STAGES:
        assert 0 < learning_rate_at(stage, stage.optimizer_steps - 1) < 1e-7
        assert learning_rate_at(stage, stage.optimizer_steps) == 0


def make_variables():
    """Returns weights of all kinds: adapted, excluded, and at rest."""
    rng = np.random.default_rng(7)
    return [
        tf.Variable(rng.normal(0, 0.02, (5, 7)).astype(np.float32), name="Dense/kernel"),
        tf.Variable(np.ones(7, np.float32), name="Transformer-0-FeedForward-Norm/gamma"),
        tf.Variable(np.zeros(7, np.float32), name="MLM-Bias/bias"),
        tf.Variable(np.zeros((4, 2), np.float32), name="Embedding-Relative-Position/embeddings"),
    ]


def make_gradients(variables):
    rng = np.random.default_rng(8)
    return [
        [rng.normal(0, 0.1, variable.shape).astype(np.float32) for variable in variables]
        for _ in range(STEPS)
    ]


def textbook(weight, gradients, rates, config, is_excluded):
    """Algorithm 2 of You et al. 2019, or with no trust ratio AdamW; in double precision."""
    weight = weight.astype(np.float64)
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        mean = config.beta_1 * mean + (1 - config.beta_1) * gradient
        square = config.beta_2 * square + (1 - config.beta_2) * gradient.astype(np.float64) ** 2
        correction = (1 - config.beta_1**step, 1 - config.beta_2**step)
        if not config.bias_correction:
            correction = (1, 1)
        update = mean / correction[0] / (np.sqrt(square / correction[1]) + config.epsilon)
        if not is_excluded:
            update = update + config.weight_decay_rate * weight
        norms = np.linalg.norm(weight), np.linalg.norm(update)
        is_adapted = config.name == "lamb" and not is_excluded and min(norms) > 0
        weight = weight - rate * (norms[0] / norms[1] if is_adapted else 1) * update
    return weight


@pytest.mark.parametrize("warmup_steps", [0, 4])
@pytest.mark.parametrize(
    "config",
    [
        OptimizerConfig(),
        OptimizerConfig(name="adamw"),
        OptimizerConfig(bias_correction=False, weight_decay_rate=0.1, beta_1=0.8, beta_2=0.99),
        OptimizerConfig(excluded=()),
        OptimizerConfig(name="adamw", excluded=("kernel",), weight_decay_rate=0.3, epsilon=1e-4),
    ],
    ids=["lamb", "adamw", "lamb uncorrected", "lamb on all", "adamw but kernels"],
)
def test_twelve_steps_equal_the_textbook(config, warmup_steps):
    stage = stage_of(STEPS, warmup_steps, learning_rate=0.01)
    optimizer = make_optimizer(config, stage)
    variables = make_variables()
    starts = [variable.numpy() for variable in variables]
    gradients = make_gradients(variables)
    for step_gradients in gradients:
        optimizer.apply_gradients(zip(step_gradients, variables, strict=True))
    rates = [learning_rate_at(stage, step) for step in range(STEPS)]
    of_weights = zip(*gradients, strict=True)
    for variable, start, of_weight in zip(variables, starts, of_weights, strict=True):
        is_excluded = any(part in variable.name for part in config.excluded)
        expected = textbook(start, of_weight, rates, config, is_excluded)
        assert np.abs(expected - start).max() > 1e-4
        # Single precision: each step rounds weights of at most 1 to 6e-8.
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lamb", "adamw"])
def test_a_rate_of_zero_changes_no_weight(name):
    optimizer = make_optimizer(OptimizerConfig(name=name), stage_of(1))
    variables = make_variables()
    gradients = make_gradients(variables)
    optimizer.apply_gradients(zip(gradients[0], variables, strict=True))
    before = [variable.numpy() for variable in variables]
    assert int(optimizer.iterations) == 1 and learning_rate_at(stage_of(1), 1) == 0
    optimizer.apply_gradients(zip(gradients[1], variables, strict=True))
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_lambs_rates_below_1e_7_move_weights_as_1e_7():
    """Of a weight of norm 1, three elements at 0 take equal parts of an update of norm 1e-7."""
    for rate in (1e-8, 1e-9):
        optimizer = make_optimizer(OptimizerConfig(weight_decay_rate=0), stage_of(9, 0, rate))
        variable = tf.Variable([1.0, 0.0, 0.0, 0.0], name="kernel")
        optimizer.apply_gradients([(tf.ones(4), variable)])
        # At 1e-8 the first element's share, 1e-8 of 1, is lost in single precision.
        np.testing.assert_allclose(variable.numpy()[1:], -1e-7 / math.sqrt(3), rtol=1e-5)


def test_a_gradient_of_zero_changes_only_what_decays():
    optimizer = make_optimizer(OptimizerConfig(), stage_of(9))
    variables = make_variables()
    before = [variable.numpy() for variable in variables]
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in variables])
    assert (np.abs(variables[0].numpy()) < np.abs(before[0])).all()
    for variable, value in zip(variables[1:], before[1:], strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_slots_are_there_before_the_first_step():
    optimizer = make_optimizer(OptimizerConfig(), stage_of(9))
    variables = make_variables()
    create_slots(optimizer, variables)
    assert int(optimizer.iterations) == 0
    assert optimizer.get_slot_names() == ["m", "v"]
    before = [weight.ref() for weight in optimizer.weights]
    for variable in variables:
        for name in optimizer.get_slot_names():
            slot = optimizer.get_slot(variable, name)
            assert slot.dtype == tf.float32
            np.testing.assert_array_equal(slot.numpy(), np.zeros(variable.shape))
    optimizer.apply_gradients(zip(make_gradients(variables)[0], variables, strict=True))
    assert [weight.ref() for weight in optimizer.weights] == before
