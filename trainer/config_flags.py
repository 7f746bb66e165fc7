"""The flags of a configuration: what --config names, changed by those beside it."""

import argparse
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, Final

from trainer.config import (
    MASKINGS,
    MODELS,
    OPTIMIZERS,
    PRECISIONS,
    StageConfig,
    TrainingConfig,
    read_config,
)

_STAGE_FLAGS: Final = {
    "optimizer_steps": int,
    "learning_rate": float,
    "warmup_steps": int,
    "global_batch_size": int,
    "micro_batch_size": int,
}
_RUN_FLAGS: Final = {
    "masking": MASKINGS,
    "precision": PRECISIONS,
    "seed": int,
    "steps_per_execution": int,
    "log_steps": int,
    "held_out_steps": int,
    "held_out_sequences": int,
    "save_steps": int,
    "checkpoints_kept": int,
}
_SWITCHES: Final = ("jit_compile", "deterministic")


class UsageError(Exception):
    """Something the user can mend; the message says what and how."""


def make_config(arguments: argparse.Namespace) -> TrainingConfig:
    """Returns the configuration of --config, changed by the flags beside it.

    Raises:
      UsageError: something in it is wrong.
    """
    name = arguments.config
    try:
        if name in MODELS:
            config = TrainingConfig(model=MODELS[name])
        else:
            config = read_config(Path(name).read_text(encoding="utf-8-sig"), name)
        fields: dict[str, Any] = {
            flag: getattr(arguments, flag)
            for flag in (*_RUN_FLAGS, *_SWITCHES)
            if getattr(arguments, flag) is not None
        }
        if arguments.optimizer:
            fields["optimizer"] = dataclasses.replace(config.optimizer, name=arguments.optimizer)
        return dataclasses.replace(config, **fields, stages=_change_stages(config, arguments))
    except OSError as error:
        raise UsageError(
            f"--config={name}: neither {' nor '.join(MODELS)}, nor a file that can be read "
            f"({error.strerror})"
        ) from error
    except ValueError as error:
        raise UsageError(f"--config={name}: {error}") from error


def _change_stages(config: TrainingConfig, arguments: argparse.Namespace) -> tuple[Any, ...]:
    changes: list[dict[str, Any]] = [{} for _ in config.stages]
    for flag, kind in _STAGE_FLAGS.items():
        text = getattr(arguments, flag)
        if text is None:
            continue
        try:
            values = [kind(part) for part in text.split(",")]
        except ValueError as error:
            raise UsageError(f"--{flag}={text}: not numbers joined by commas") from error
        if len(values) not in (1, len(changes)):
            raise UsageError(f"--{flag}={text}: one number, or {len(changes)}, one for each stage")
        for number, change in enumerate(changes):
            change[flag] = values[number if len(values) > 1 else 0]
    return tuple(
        dataclasses.replace(stage, **change)
        for stage, change in zip(config.stages, changes, strict=True)
    )


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --config and what may be changed beside it."""
    flag = parser.add_argument
    flag("--config", required=True, metavar="base|tiny|FILE", help="a released model, or JSON")
    flag("--optimizer", choices=OPTIMIZERS, help="how gradients become updates")
    meanings = describe_fields(TrainingConfig)
    for name in _SWITCHES:
        flag(f"--{name}", action=argparse.BooleanOptionalAction, help=meanings[name])
    for name, kind in _RUN_FLAGS.items():
        takes: dict[str, Any] = {"choices": kind} if isinstance(kind, tuple) else {"type": kind}
        flag(f"--{name}", **takes, metavar=None if "choices" in takes else "N", help=meanings[name])
    meanings = describe_fields(StageConfig)
    for name in _STAGE_FLAGS:
        flag(f"--{name}", metavar="N[,N]", help=f"{meanings[name]} One number, or one a stage.")


def describe_fields(config: type) -> dict[str, str]:
    """Returns what the docstring of a configuration says of its fields, by name."""
    attributes = inspect.cleandoc(config.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.split(r"^  (?=\w+: )", attributes, flags=re.MULTILINE)[1:]
    pairs = (entry.split(": ", 1) for entry in entries)
    return {name: " ".join(meaning.split()).replace("%", "%%") for name, meaning in pairs}
