"""Training on several devices is training on one; on two virtual CPUs, in their own process."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import tensorflow as tf
from made_steps import make_batch, make_training, real

from trainer.step import HeldOutStep

pytestmark = pytest.mark.slow

STEPS = 6
MIRRORED, ONE_DEVICE = "mirrored", "one device"


def train(devices: str, grad_accum_steps: int):
    """Returns losses, weights after training, and held-out sums."""
    names = ["/cpu:0", "/cpu:1"]
    strategy = {
        MIRRORED: lambda: tf.distribute.MirroredStrategy(names),
        ONE_DEVICE: lambda: tf.distribute.OneDeviceStrategy(names[0]),
    }[devices]()
    training = make_training(real(), strategy=strategy, grad_accum_steps=grad_accum_steps)
    batches = [make_batch(seed=seed) for seed in range(3)]
    metrics = training.step.run(training.iterate(batches), STEPS)
    held_out = HeldOutStep(training.model, strategy, jit_compile=False)
    return metrics.loss, metrics.accuracy, training.weights(), held_out.run(batches[0])


def train_everywhere():
    """Trains in every way, in a process that has no TensorFlow device yet."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    virtual = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, virtual)
    return {
        (devices, accumulated): train(devices, accumulated)
        for devices in (MIRRORED, ONE_DEVICE)
        for accumulated in (1, 2)
    }


@pytest.fixture(scope="module")
def trained():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(train_everywhere).result()


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
def test_two_devices_give_the_losses_and_weights_of_one(trained, grad_accum_steps):
    two, one = (trained[devices, grad_accum_steps] for devices in (MIRRORED, ONE_DEVICE))
    assert len(one[0]) == STEPS and one[0][-1] < one[0][0]
    # Sums of half batches are added up in another order.
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
    np.testing.assert_allclose(two[1], one[1], rtol=1e-5)
    for of_two, of_one in zip(two[2], one[2], strict=True):
        np.testing.assert_allclose(of_two, of_one, rtol=1e-3, atol=1e-5)


def test_held_out_data_is_scored_the_same(trained):
    two, one = (trained[devices, 1][3] for devices in (MIRRORED, ONE_DEVICE))
    assert two.sequences == one.sequences == 8
    assert two.loss == pytest.approx(one.loss, rel=1e-5)
    assert two.accuracy == pytest.approx(one.accuracy, rel=1e-5)
