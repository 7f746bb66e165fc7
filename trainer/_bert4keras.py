"""The names of bert4keras 0.9.9 that the trainer uses, on legacy Keras: its only importer.

bert4keras runs on legacy Keras (tf_keras), yet imports whatever `keras` and `tf.keras` are, reads
TF_KERAS, and derives its optimizers from the legacy base class. While it is imported, and only
then, all of these point at tf_keras; afterwards the process has the Keras it had. A bert4keras
that is there already may sit on another Keras or be half imported: a new one takes its place.

Two things stay: tf_keras knows bert4keras' layers, activations and optimizers as custom objects,
as after any import of bert4keras, and its attention masks take the dtype of what they mask.
"""

import contextlib
import importlib
import os
import sys
import types
import warnings
from collections.abc import Callable, Generator
from typing import Any, Final

import tensorflow as tf
import tf_keras

VERSION: Final = "0.9.9"
_INSTALL: Final = f"pip install --no-deps bert4keras=={VERSION}"


@contextlib.contextmanager
def _changed(mapping: Any, changes: dict[str, Any]) -> Generator[None]:
    before = {key: mapping[key] for key in changes if key in mapping}
    mapping.update(changes)
    try:
        yield
    finally:
        for key in changes:
            mapping.pop(key, None)
        mapping.update(before)


def _is_true(text: str) -> bool:
    return text.lower() in {"y", "yes", "t", "true", "on", "1"}


def _distutils() -> dict[str, types.ModuleType]:
    """Returns what bert4keras imports of distutils, which Python 3.12 no longer has."""
    package, util = types.ModuleType("distutils"), types.ModuleType("distutils.util")
    vars(util)["strtobool"] = _is_true
    return {"distutils": package, "distutils.util": util}


@contextlib.contextmanager
def _legacy_keras() -> Generator[None]:
    modules = {
        "keras": tf_keras,
        "keras.layers": tf_keras.layers,
        "keras.models": tf_keras.models,
        "tensorflow.keras": tf_keras,
        "tensorflow.keras.backend": tf_keras.backend,
    }
    optimizers = tf_keras.optimizers
    with (
        _changed(os.environ, {"TF_KERAS": "1", "RECOMPUTE": "0"}),
        _changed(sys.modules, modules | _distutils()),
        _changed(vars(tf), {"keras": tf_keras}),
        _changed(vars(optimizers), {"Optimizer": optimizers.legacy.Optimizer}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # invalid escapes in its regular expressions, and the like
        yield


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "bert4keras"]:
        del sys.modules[name]


def _masking_in_dtype_of_input(masking: Callable[..., Any]) -> Callable[..., Any]:
    """Returns bert4keras' `sequence_masking` for any dtype: its own mask is always float32."""

    def sequence_masking(x: Any, mask: Any, mode: int = 0, axis: int | None = None) -> Any:
        return masking(x, None if mask is None else tf.cast(mask, x.dtype), mode, axis)

    return sequence_masking


def _check_installed() -> None:
    try:
        version = importlib.import_module("bert4keras").__version__
    except ModuleNotFoundError as error:
        raise ImportError(f"The trainer needs bert4keras {VERSION}: `{_INSTALL}`") from error
    if version != VERSION:
        raise ImportError(
            f"The trainer needs bert4keras {VERSION}, not {version}: `{_INSTALL}`",
        )


def _import() -> tuple[Any, ...]:
    _forget()
    with contextlib.ExitStack() as if_it_fails, _legacy_keras():
        if_it_fails.callback(_forget)
        _check_installed()
        backend: Any = importlib.import_module("bert4keras.backend")
        backend.sequence_masking = _masking_in_dtype_of_input(backend.sequence_masking)
        names = ("bert4keras.layers", "bert4keras.models", "bert4keras.optimizers")
        modules = tuple(map(importlib.import_module, names))
        if_it_fails.pop_all()
        return backend, *modules


_backend, _layers, _models, _optimizers = _import()

keras: Any = tf_keras
K: Any = _backend.K

Activation: Any = _layers.Activation
Add: Any = _layers.Add
BiasAdd: Any = _layers.BiasAdd
Dense: Any = _layers.Dense
Dropout: Any = _layers.Dropout
Embedding: Any = _layers.Embedding
FeedForward: Any = _layers.FeedForward
Input: Any = _layers.Input
Lambda: Any = _layers.Lambda
LayerNormalization: Any = _layers.LayerNormalization
MultiHeadAttention: Any = _layers.MultiHeadAttention
RelativePositionEmbeddingT5: Any = _layers.RelativePositionEmbeddingT5

Transformer: Any = _models.Transformer
build_transformer_model: Any = _models.build_transformer_model

Adam: Any = _optimizers.Adam
extend_with_layer_adaptation: Any = _optimizers.extend_with_layer_adaptation
extend_with_piecewise_linear_lr: Any = _optimizers.extend_with_piecewise_linear_lr
extend_with_weight_decay: Any = _optimizers.extend_with_weight_decay
