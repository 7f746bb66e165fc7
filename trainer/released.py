"""The layout in which T5s are released: model.h5, t5s_config.json and vocab.txt, out and in."""

import hashlib
import json
import os
import tempfile
from typing import Any

import tensorflow as tf

from trainer.checkpoints import BEFORE_TRAINING, CheckpointStore
from trainer.files import write_in_new_folder
from trainer.identity import identify_imported
from trainer.initialization import weight_names
from trainer.new_folder import new_folder
from trainer.trained_model import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    VOCAB_FILE,
    WEIGHTS_FILE,
    TrainedModel,
    load_model,
)
from vocab.vocab_file import format_vocab


def export_released(trained: TrainedModel, folder: str) -> None:
    """Writes a model as bert4keras loads it, head included.

    Args:
      trained: the model.
      folder: new or empty; local or gs://.

    Raises:
      FileExistsError: there is something in the folder.
    """
    with new_folder(folder) as unfinished:
        with tempfile.TemporaryDirectory() as local:  # HDF5 is written to local files only
            path = os.path.join(local, WEIGHTS_FILE)
            trained.model.full.save_weights(path)
            tf.io.gfile.copy(path, f"{unfinished}/{WEIGHTS_FILE}")
        write_in_new_folder(f"{unfinished}/{CONFIG_FILE}", format_json(trained.config.to_json()))
        write_in_new_folder(f"{unfinished}/{VOCAB_FILE}", format_vocab(trained.tokens))


def import_released(folder: str, output: str, *, cased: bool = False) -> None:
    """Makes the output folder of a training run that begins with trained weights.

    It holds a checkpoint of stage 0 and the vocabulary. A run of any configuration with a model
    of this shape goes on from there with its first stage.

    Args:
      folder: a released model, or anything else that `load_model` takes.
      output: new or empty; local or gs://.
      cased: whether a released model keeps case and accents, which it does not say.

    Raises:
      FileExistsError: there is something in the output folder.
      FileNotFoundError: there is no model.
      ValueError: the model is damaged.
    """
    with new_folder(output) as unfinished:
        trained = load_model(folder, cased=cased)
        identity = identify_imported(trained.config, trained.cased, digest_weights(trained))
        store = CheckpointStore(f"{unfinished}/{CHECKPOINTS_FOLDER}", kept=1, warn=print)
        store.save(BEFORE_TRAINING, identity, model=trained.model.full)
        write_in_new_folder(f"{unfinished}/{VOCAB_FILE}", format_vocab(trained.tokens))


def digest_weights(trained: TrainedModel) -> str:
    """Returns the BLAKE2b digest of a model's weights and of the tokens they belong to, in hex."""
    digest = hashlib.blake2b(format_vocab(trained.tokens), digest_size=16)
    weights = trained.model.full.weights
    for name, weight in zip(weight_names(trained.model.full), weights, strict=True):
        digest.update(name.encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def format_json(fields: dict[str, Any]) -> bytes:
    """Returns the bytes of a JSON file."""
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
