"""What a run is made of: a checkpoint is only gone on from by the run that wrote it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from trainer.config import ModelConfig, TrainingConfig
from trainer.shards import Dataset

_SHAPING: Final = ("model", "optimizer", "masking", "seed", "jit_compile")
"""XLA draws other bits for dropout than TensorFlow's own kernels do."""
_SHAPING_OF_STAGES: Final = (
    *("max_seq_length", "optimizer_steps", "learning_rate", "warmup_steps"),
    "global_batch_size",
)

_OF_IMPORTED: Final = {"model", "cased", "initial", "data"}


def identify(
    config: TrainingConfig, datasets: Mapping[int, Dataset], imported: str | None = None
) -> dict[str, Any]:
    """Returns what shapes the weights, by name, as JSON values.

    What only decides how fast a machine gets there is left out: a run may go on with other micro
    batches, another precision or on another device, though then not bit for bit.

    Args:
      config: the run.
      datasets: of the stages that are to be trained, by their numbers, from 1.
      imported: digest of the weights that the run begins with; None of random ones.
    """
    fields = config.to_json()
    identity: dict[str, Any] = {name: fields[name] for name in _SHAPING}
    identity["cased"] = any(dataset.cased for dataset in datasets.values())
    identity["initial"] = imported
    identity["stages"] = [
        {name: stage[name] for name in _SHAPING_OF_STAGES} for stage in fields["stages"]
    ]
    identity["data"] = {
        f"stage {number}": _digest_dataset(dataset) for number, dataset in datasets.items()
    }
    return identity


def identify_imported(model: ModelConfig, cased: bool, digest: str) -> dict[str, Any]:
    """Returns what is known of imported weights: they belong to any run with this model.

    Args:
      model: their shape.
      cased: whether case and accents were kept in training.
      digest: of the weights.
    """
    return {"model": model.to_json(), "cased": cased, "initial": digest, "data": {}}


def refuse_other_run(saved: Mapping[str, Any], identity: Mapping[str, Any], folder: str) -> None:
    """Checks that a checkpoint is this run's, or holds imported weights for its model.

    Data is compared of stages that both know.

    Args:
      saved: what the checkpoint's run was made of.
      identity: what this run is made of.
      folder: where the checkpoint lies.

    Raises:
      ValueError: they differ; the message names every field that does.
    """
    saved = {"cased": False, **saved}  # older ones do not say it
    is_imported = set(saved) == _OF_IMPORTED
    both = saved["data"].keys() & identity["data"].keys()
    old, new = (
        {**fields, "data": {stage: fields["data"][stage] for stage in both}}
        for fields in (saved, identity)
    )
    if is_imported:
        new = {name: new[name] for name in _OF_IMPORTED}
    differences = "; ".join(_compare("", old, new))
    if differences and is_imported:
        raise ValueError(
            f"{folder} holds imported weights of another model: {differences}. Give their model "
            "in --config (if it is `cased`, import them again with or without --cased), or another "
            "--output, to begin there with random weights"
        )
    if differences:
        raise ValueError(
            f"{folder} is of another run: {differences}. Give what it was begun with, "
            "another --output, or --overwrite to delete it and start afresh"
        )


def _compare(name: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _compare(f"{name}.{key}" if name else key, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (old_item, new_item) in enumerate(zip(old, new, strict=True), 1):
            yield from _compare(f"{name}[{number}]", old_item, new_item)
    elif old != new:
        yield f"{name} was {json.dumps(old)}, is {json.dumps(new)}"


def _digest_dataset(dataset: Dataset) -> str:
    """Names data by the names and sizes of its files, wherever they lie."""
    shards = [
        [[shard.path.removeprefix(dataset.folder), shard.records] for shard in copy]
        for copy in dataset.copies
    ]
    text = json.dumps([dataset.max_seq_length, dataset.max_predictions_per_seq, shards])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
