"""A folder with trained weights -> the model, its shape and its vocabulary.

Three kinds of folders hold a model:
  model.h5, t5s_config.json, vocab.txt    a released model
  checkpoints/, vocab.txt                 the output of a training run: its newest checkpoint
  checkpoint.json, variables.*            one checkpoint of it; vocab.txt lies two levels above
"""

import os
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import h5py
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords_schema.json_object import parse_object
from trainer.checkpoints import Checkpoint, CheckpointStore, read_checkpoint
from trainer.config import ModelConfig
from trainer.files import read_file
from trainer.model import MaskedLanguageModel, build_model
from vocab.vocab_file import parse_vocab

WEIGHTS_FILE: Final = "model.h5"
CONFIG_FILE: Final = "t5s_config.json"
VOCAB_FILE: Final = "vocab.txt"
CHECKPOINTS_FOLDER: Final = "checkpoints"
_CHECKPOINT_FILE: Final = "checkpoint.json"


class TrainedModel(NamedTuple):
    """A model to be used.

    Attributes:
      config: its shape.
      model: with its weights; computes in float32.
      tokens: the entries of its vocabulary; their ids are their places.
      cased: whether case and accents are kept, as in training.
    """

    config: ModelConfig
    model: MaskedLanguageModel
    tokens: tuple[str, ...]
    cased: bool = False


def load_model(folder: str, *, cased: bool = False) -> TrainedModel:
    """Loads a model, whatever kind of folder it is in.

    Args:
      folder: a released model, the output of a training run, or a checkpoint in it; local or gs://.
      cased: whether a released model keeps case and accents, which it does not say; a checkpoint
        does.

    Raises:
      FileNotFoundError: the folder holds no model, or its vocab.txt is missing.
      ValueError: configuration, vocabulary and weights do not fit each other, or one is damaged;
        or a checkpoint keeps no case.
    """
    folder = folder.rstrip("/")
    if tf.io.gfile.exists(f"{folder}/{WEIGHTS_FILE}"):
        return _load_released(folder, cased)
    if tf.io.gfile.exists(f"{folder}/{_CHECKPOINT_FILE}"):
        run = os.path.dirname(
            os.path.dirname(folder if "://" in folder else os.path.abspath(folder))
        )
        return _load_checkpoint(read_checkpoint(folder), f"{run}/{VOCAB_FILE}", cased)
    if tf.io.gfile.isdir(f"{folder}/{CHECKPOINTS_FOLDER}"):
        store = CheckpointStore(f"{folder}/{CHECKPOINTS_FOLDER}", kept=1, warn=_warn)
        if newest := store.find_newest():
            return _load_checkpoint(newest, f"{folder}/{VOCAB_FILE}", cased)
        raise FileNotFoundError(f"{store.folder}: holds no whole checkpoint; train first")
    raise FileNotFoundError(
        f"{folder}: holds no model: looked for {WEIGHTS_FILE} (a released model), "
        f"{CHECKPOINTS_FOLDER}/ (the output of a training run) and {_CHECKPOINT_FILE} (a "
        "checkpoint)"
    )


def read_h5_weights(path: str, layers: Iterable[Any]) -> list[list[NDArray[np.float32]]]:
    """Reads weights that Keras has written, layer by layer.

    Keras itself, loading by name, passes over layers that it does not find. Here all must fit.

    Args:
      path: an HDF5 file of `save_weights`, or of a whole model.
      layers: Keras layers.

    Returns:
      The weights of each layer, in its order.

    Raises:
      ValueError: not such a file; or it lacks a weight of these layers, has one of another shape
        or weights of other layers: the first is named.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file, h5py.File(file, "r") as content:
            group: Any = content.get("model_weights", default=content)
            weights = [_read_layer(path, group, layer) for layer in layers if layer.weights]
            known = {layer.name for layer in layers}
            for name in _names(group, "layer_names"):
                if name not in known and _names(group[name], "weight_names"):
                    raise ValueError(
                        f"{path}: has weights of a layer {name}, which the model has not; is "
                        f"{CONFIG_FILE} that of another model?"
                    )
            return weights
    except (OSError, KeyError, RuntimeError) as error:  # h5py's, of what cannot be read
        raise ValueError(f"{path}: is no HDF5 file, or damaged ({error})") from error


def _read_layer(path: str, group: Any, layer: Any) -> list[NDArray[np.float32]]:
    names = _names(group[layer.name], "weight_names") if layer.name in group else []
    arrays = [np.asarray(group[layer.name][name], np.float32) for name in names]
    for place, weight in enumerate(layer.weights):
        found = f"shape {arrays[place].shape}" if place < len(arrays) else "nothing"
        if found != f"shape {tuple(weight.shape)}":
            raise ValueError(
                f"{path}: does not fit {CONFIG_FILE}: weight {place} of layer {layer.name} must "
                f"have shape {tuple(weight.shape)}, found {found}"
            )
    if len(arrays) > len(layer.weights):
        raise ValueError(
            f"{path}: does not fit {CONFIG_FILE}: layer {layer.name} has {len(arrays)} weights, "
            f"the model's {len(layer.weights)}"
        )
    return arrays


def _names(group: Any, attribute: str) -> list[str]:
    """Returns a list of names; Keras spreads long ones over attributes with numbers behind."""
    found = group.attrs
    if attribute in found:
        return [_as_text(name) for name in found[attribute]]
    chunks: list[str] = []
    while (key := f"{attribute}{len(chunks)}") in found:
        chunks.append(key)
    return [_as_text(name) for key in chunks for name in found[key]]


def _as_text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _load_released(folder: str, cased: bool) -> TrainedModel:
    path = f"{folder}/{CONFIG_FILE}"
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"{path}: is missing; it must lie beside {WEIGHTS_FILE}")
    config = ModelConfig.from_json(_read_json(path), path)
    tokens = _read_vocab(f"{folder}/{VOCAB_FILE}", config)
    model = build_model(config, seed=0)
    layers = [layer for layer in model.full.layers if layer.weights]
    arrays = read_h5_weights(f"{folder}/{WEIGHTS_FILE}", layers)
    for layer, weights in zip(layers, arrays, strict=True):
        layer.set_weights(weights)
    return TrainedModel(config, model, tokens, cased)


def _load_checkpoint(checkpoint: Checkpoint, vocab: str, cased: bool) -> TrainedModel:
    name = f"{checkpoint.folder}/{_CHECKPOINT_FILE}"
    is_cased = bool(checkpoint.identity.get("cased"))
    if cased and not is_cased:
        raise ValueError(f"{name}: was trained without case and accents; leave --cased out")
    config = ModelConfig.from_json(checkpoint.identity.get("model"), name)
    tokens = _read_vocab(vocab, config)
    model = build_model(config, seed=0)
    try:
        checkpoint.restore(model=model.full)
    except tf.errors.OpError as error:
        raise ValueError(f"{checkpoint.folder}: is damaged ({error.message})") from error
    return TrainedModel(config, model, tokens, is_cased)


def _read_vocab(path: str, config: ModelConfig) -> tuple[str, ...]:
    try:
        content = read_file(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: is missing; put there the vocab.txt that the model was trained with"
        ) from error
    return tuple(parse_vocab(content, path, config.vocab_size))


def _read_json(path: str) -> dict[str, Any]:
    try:
        return parse_object(read_file(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
