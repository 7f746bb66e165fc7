import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

from trainer import devices

pytestmark = pytest.mark.slow

NO_ACCELERATOR = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU")),
    reason="there is an accelerator",
)


@pytest.fixture(autouse=True)
def no_tpu_node(monkeypatch):
    for name in ("TPU_NAME", "COLAB_TPU_ADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "device_files", "tpu"),
    [
        ({}, [], None),
        ({"TPU_NAME": ""}, [], None),
        ({"TPU_NAME": "my-node"}, [], "my-node"),
        ({"TPU_NAME": "local"}, ["/dev/accel0"], "local"),
        ({"TPU_NAME": "grpc://10.0.0.2:8470"}, [], "grpc://10.0.0.2:8470"),
        ({"COLAB_TPU_ADDR": "10.0.0.2:8470"}, [], "grpc://10.0.0.2:8470"),
        ({"COLAB_TPU_ADDR": "grpc://10.0.0.2:8470"}, [], "grpc://10.0.0.2:8470"),
        ({}, ["/dev/accel0", "/dev/accel1"], "local"),
        ({"TPU_WORKER_ID": "0"}, ["/dev/vfio/0"], "local"),
        ({"TPU_ACCELERATOR_TYPE": "v5litepod-1"}, ["/dev/vfio/0"], "local"),
        ({"TPU_SKIP_MDS_QUERY": "1"}, ["/dev/vfio/0"], "local"),
        ({}, ["/dev/vfio/0"], None),
        ({"TPU_WORKER_ID": "0"}, [], None),
    ],
)
def test_find_tpu(environment, device_files, tpu):
    assert devices.find_tpu(environment, device_files) == tpu


@pytest.mark.parametrize(
    ("precision", "kind", "capabilities", "chosen"),
    [
        ("auto", "TPU", [], "bfloat16"),
        ("auto", "GPU", [(8, 0)], "bfloat16"),
        ("auto", "GPU", [(9, 0), (8, 6)], "bfloat16"),
        ("auto", "GPU", [(7, 5)], "float32"),
        ("auto", "GPU", [(8, 0), (7, 5)], "float32"),
        ("auto", "CPU", [], "float32"),
        ("float32", "TPU", [], "float32"),
        ("bfloat16", "CPU", [], "bfloat16"),
        ("bfloat16", "GPU", [(7, 5)], "bfloat16"),
    ],
)
def test_choose_precision(precision, kind, capabilities, chosen):
    assert devices.choose_precision(precision, kind, capabilities) == chosen


@NO_ACCELERATOR
def test_without_accelerator_the_cpu_computes_in_float32():
    strategy = devices.make_strategy()
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert strategy.num_replicas_in_sync == 1
    assert devices.describe(strategy) == "CPU"
    assert devices.resolve_precision("auto", strategy) == "float32"
    assert devices.resolve_precision("bfloat16", strategy) == "bfloat16"


@NO_ACCELERATOR
def test_a_tpu_that_tensorflow_cannot_use_is_an_error_that_names_the_package(monkeypatch):
    monkeypatch.setenv("TPU_NAME", "local")
    with pytest.raises(ValueError, match=r"TPU \(local\).*install tensorflow-tpu"):
        devices.make_strategy()


DETERMINED = """
    import tensorflow as tf
    from trainer import devices

    def draw():
        return tf.random.uniform([4]).numpy().tolist()

    tf.config.experimental.enable_op_determinism()
    try:
        draw()
    except RuntimeError:
        print("refused")
    devices.set_determinism(2**70)
    first = draw()
    devices.set_determinism(2**70)
    print(draw() == first)
    devices.set_determinism(3)
    print(draw() == first)
    double = tf.function(lambda x: tf.math.unsorted_segment_sum(x, [0, 1, 0], 2), jit_compile=True)
    print(double(tf.constant([1.0, 2.0, 3.0])).numpy().tolist())
    numbers = tf.data.Dataset.range(8).map(lambda x: x * x, num_parallel_calls=tf.data.AUTOTUNE)
    print([int(number) for number in numbers])
"""


def test_determinism_seeds_what_has_no_seed_and_leaves_xla_and_data_working():
    program = [sys.executable, "-c", textwrap.dedent(DETERMINED)]
    result = subprocess.run(program, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [
        *("refused", "True", "False"),
        *("[4.0, 2.0]", "[0, 1, 4, 9, 16, 25, 36, 49]"),
    ]
