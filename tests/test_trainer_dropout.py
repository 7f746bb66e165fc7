import math
import threading

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.dropout import StatelessDropout, dropout_number

pytestmark = pytest.mark.slow

RATE = 0.25
COUNT = 4096

# What seed 1, layer Output-Dropout and number 2 drop of the first 32 values.
MASK = [0, 1, 11, 12, 16, 18, 19, 22, 27]


def number_of(value):
    return tf.constant(value, tf.int64)


def dropped(number, seed=1, name="Output-Dropout", count=COUNT, rate=RATE):
    """Returns where a layer drops ones."""
    with dropout_number(number_of(number)):
        outputs = StatelessDropout(rate, seed=seed, name=name)(tf.ones([count]), training=True)
    return outputs.numpy() == 0


def test_mask_is_a_function_of_seed_name_and_number():
    # Fails if a mask ever changes: a run could no longer be resumed by another version.
    assert np.flatnonzero(dropped(2, seed=1, name="Output-Dropout", count=32)).tolist() == MASK


@settings(max_examples=20, deadline=None)
@given(
    first=st.tuples(st.integers(0, 2**62), st.integers(0, 2**40), st.sampled_from("abc")),
    second=st.tuples(st.integers(0, 2**62), st.integers(0, 2**40), st.sampled_from("abc")),
)
def test_masks_repeat_for_the_same_three_numbers_and_are_unrelated_for_others(first, second):
    mask = dropped(*first)
    assert (mask == dropped(*first)).all()
    if first != second:
        # Two independent masks agree in a share that is binomial; 6 of its deviations.
        agreement = RATE**2 + (1 - RATE) ** 2
        deviation = math.sqrt(agreement * (1 - agreement) / COUNT)
        assert abs((mask == dropped(*second)).mean() - agreement) < 6 * deviation


def test_masks_of_consecutive_numbers_do_not_overlap_shifted():
    draws = [dropped(number, count=128).tobytes() for number in range(200)]
    windows = {draw[start : start + 100] for draw in draws for start in range(29)}
    assert len(windows) == 200 * 29


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dropout_drops_its_share_and_scales_up_the_rest(rate, dtype):
    count = 100_000
    inputs = tf.fill([count], tf.cast(3, dtype))
    with dropout_number(number_of(0)):
        outputs = StatelessDropout(rate, seed=0, name="a", dtype=dtype)(inputs, training=True)
    assert outputs.dtype == dtype
    values = tf.cast(outputs, "float32").numpy()
    # A binomial share; 5 of its standard deviations.
    assert abs((values == 0).mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / count)
    kept = float(tf.cast(tf.cast(3, dtype) / (1 - rate), "float32"))
    assert set(np.unique(values)) == {0.0, kept}
    assert ((values == 0) == dropped(0, seed=0, name="a", count=count, rate=rate)).all()


def test_layer_that_does_not_train_or_has_rate_0_returns_its_inputs():
    inputs = tf.range(5.0)
    layer = StatelessDropout(RATE, seed=0)
    assert layer(inputs).numpy().tolist() == [0, 1, 2, 3, 4]
    assert layer(inputs, training=False).numpy().tolist() == [0, 1, 2, 3, 4]
    never = StatelessDropout(0.0, seed=0)
    assert never(inputs, training=True).numpy().tolist() == [0, 1, 2, 3, 4]


def test_training_without_a_number_is_an_error_that_says_what_to_do():
    layer = StatelessDropout(RATE, seed=0, name="Output-Dropout")
    with pytest.raises(RuntimeError, match=r"Output-Dropout.*with dropout_number\(number\)"):
        layer(tf.ones([3]), training=True)


def test_number_ends_with_its_block_also_after_an_error_and_returns_to_the_outer_one():
    layer = StatelessDropout(RATE, seed=1, name="Output-Dropout")
    ones = tf.ones([COUNT])
    with dropout_number(number_of(1)):
        with pytest.raises(ZeroDivisionError), dropout_number(number_of(2)):
            assert ((layer(ones, training=True).numpy() == 0) == dropped(2)).all()
            raise ZeroDivisionError
        assert ((layer(ones, training=True).numpy() == 0) == dropped(1)).all()
    with pytest.raises(RuntimeError):
        layer(ones, training=True)


def test_threads_have_numbers_of_their_own():
    both_inside = threading.Barrier(2, timeout=60)
    masks = {}

    def drop(number):
        layer = StatelessDropout(RATE, seed=1, name="Output-Dropout")
        with dropout_number(number_of(number)):
            both_inside.wait()
            masks[number] = layer(tf.ones([COUNT]), training=True).numpy() == 0
            both_inside.wait()

    threads = [threading.Thread(target=drop, args=[number]) for number in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (masks[3] == dropped(3)).all() and (masks[4] == dropped(4)).all()


def summed_over_three_numbers(layer):
    """Returns a function that sums up the outputs for three numbers in a loop of the graph."""

    def add(index, total, first):
        with dropout_number(first + index):
            return index + 1, total + layer(tf.ones([COUNT]), training=True), first

    def run(first):
        start = (number_of(0), tf.zeros([COUNT]), first)
        return tf.while_loop(lambda index, *_: index < 3, add, start)[1]

    return run


def test_loop_in_a_graph_numbers_each_of_its_rounds():
    layer = StatelessDropout(RATE, seed=1, name="Output-Dropout")
    total = tf.function(summed_over_three_numbers(layer))(number_of(7))
    expected = np.sum([~dropped(number) for number in (7, 8, 9)], axis=0) / np.float32(1 - RATE)
    # Sums of at most three equal float32 numbers.
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_compiled_masks_repeat_and_differ_between_numbers_and_rounds():
    layer = StatelessDropout(RATE, seed=1, name="Output-Dropout")

    @tf.function(jit_compile=True)
    def mask(number):
        with dropout_number(number):
            return layer(tf.ones([COUNT]), training=True)

    rows = np.array([mask(number_of(number)) for number in (7, 8, 9, 7)])
    assert (rows[0] == rows[3]).all()
    assert all((rows[i] != rows[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))
    run = tf.function(summed_over_three_numbers(layer), jit_compile=True)
    np.testing.assert_allclose(run(number_of(7)), rows[:3].sum(axis=0), rtol=1e-6)
