"""TPU if there is one, else GPUs, else CPU -> the tf.distribute strategy to train on.

Only CPUs were at hand to run this on: what is done with a TPU or a GPU follows TensorFlow's
documentation, and only the decisions are tested.
"""

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import tensorflow as tf

_TPU_HINTS: Final = ("TPU_WORKER_ID", "TPU_SKIP_MDS_QUERY", "TPU_ACCELERATOR_TYPE")
"""Set on TPU VMs and in notebooks on them."""

_FIRST_CAPABILITY_WITH_BFLOAT16: Final = (8, 0)
"""NVIDIA's Ampere."""


def make_strategy() -> tf.distribute.Strategy:
    """Chooses where to train: a TPU, else all GPUs, else the CPU.

    Raises:
      ValueError: there is a TPU that this TensorFlow cannot use.
    """
    tpu = find_tpu(os.environ, [*glob.glob("/dev/accel[0-9]*"), *glob.glob("/dev/vfio/[0-9]*")])
    if tpu is not None:
        return _connect_to_tpu(tpu)
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def find_tpu(environment: Mapping[str, str], device_files: Sequence[str]) -> str | None:
    """Tells where the TPU is, without asking the network, which could hang.

    Args:
      environment: variables of the process.
      device_files: those that a TPU may have: /dev/accel0 up to TPU v4, /dev/vfio/0 since.

    Returns:
      The `tpu` that TPUClusterResolver takes: "local" on the machine that holds it, the name or
      address of an older TPU node; None if there is no TPU.
    """
    if name := environment.get("TPU_NAME"):
        return name
    if address := environment.get("COLAB_TPU_ADDR"):
        return f"grpc://{address.removeprefix('grpc://')}"
    if any(file.startswith("/dev/accel") for file in device_files):
        return "local"
    # Any machine that hands devices to virtual ones has /dev/vfio.
    if device_files and any(hint in environment for hint in _TPU_HINTS):
        return "local"
    return None


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns the devices in words, such as "2 GPUs (Tesla T4)"."""
    kind, count = _kind_of(strategy), strategy.num_replicas_in_sync
    if kind == "TPU":
        return f"TPU with {count} cores"
    if kind == "CPU":
        return "CPU" if count == 1 else f"{count} virtual CPUs"
    names = {str(details.get("device_name", "unknown")) for details in _gpu_details()}
    return f"{count} GPU{'s' if count > 1 else ''} ({', '.join(sorted(names))})"


def resolve_precision(precision: str, strategy: tf.distribute.Strategy) -> str:
    """Returns the precision to compute in: "auto" is bfloat16 where all devices have it."""
    capabilities = [details.get("compute_capability", (0, 0)) for details in _gpu_details()]
    return choose_precision(precision, _kind_of(strategy), capabilities)


def choose_precision(precision: str, kind: str, capabilities: Sequence[tuple[int, int]]) -> str:
    """Decides for `resolve_precision`.

    Args:
      precision: "float32", "bfloat16" or "auto".
      kind: "TPU", "GPU" or "CPU".
      capabilities: NVIDIA's compute capability of each GPU.
    """
    if precision != "auto":
        return precision
    fast_gpus = kind == "GPU" and min(capabilities) >= _FIRST_CAPABILITY_WITH_BFLOAT16
    return "bfloat16" if kind == "TPU" or fast_gpus else "float32"


def set_determinism(seed: int) -> None:
    """Has TensorFlow give the same bits every time on the same device, for the whole process.

    It then uses only kernels that do, keeps the order of tf.data, and refuses random operations
    that have no seed; `seed` gives them one, though training draws nothing without its own.
    """
    tf.random.set_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _connect_to_tpu(tpu: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu)
    except tf.errors.NotFoundError as error:
        raise ValueError(
            f"there is a TPU ({tpu}), but TensorFlow {tf.__version__} cannot use it: install "
            f"tensorflow-tpu of this version in place of tensorflow ({error.message})"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _kind_of(strategy: tf.distribute.Strategy) -> str:
    device: str = strategy.extended.worker_devices[0]
    return tf.DeviceSpec.from_string(device).device_type


def _gpu_details() -> list[Any]:
    return [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
