"""Trains t5s on masked-LM TFRecords.

`train` goes through the stages of a configuration; given again, it goes on where it stopped.
`config` prints a configuration, to be changed and given to `train` as a file.
"""

import argparse
import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Sequence
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 when done, 1 when it failed, 2 for wrong usage."""
    arguments = _make_parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (UsageError, ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("trainer: interrupted; the same command goes on from the last checkpoint")
        return 130


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


def _train(arguments: argparse.Namespace) -> int:
    config = make_config(arguments)
    # Its notices about CPU features and CUDA say nothing to whoever trains.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from trainer.training import RunOptions, train

    options = RunOptions(
        data=arguments.data,
        output=arguments.output,
        vocab=arguments.vocab,
        max_predictions_per_seq=arguments.max_predictions_per_seq,
        only_stage=arguments.stage,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    return train(config, options)


def _print_config(arguments: argparse.Namespace) -> int:
    print(json.dumps(make_config(arguments).to_json(), indent=2))
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="train | config")
    train = commands.add_parser("train", help="trains, or goes on", allow_abbrev=False)
    train.set_defaults(run=_train)
    flag = train.add_argument
    path = os.path.expanduser
    flag(
        "--data",
        type=path,
        required=True,
        help="tfrecords/ of the pipeline, or a folder of "
        "other *.tfrecord files with token_ids and mask_ids; local or gs://",
    )
    flag("--output", type=path, required=True, help="folder to write to; local or gs://")
    flag("--vocab", type=path, help="vocab.txt of data that has none beside it")
    flag("--stage", type=int, metavar="LENGTH", help="train only the stage of this length")
    flag(
        "--max_predictions_per_seq",
        type=int,
        help="most masked tokens of a sequence, for data without dataset_info.json",
    )
    how = train.add_mutually_exclusive_group()
    how.add_argument(
        "--resume",
        action="store_true",
        default=True,
        help="go on from the newest checkpoint in --output (default)",
    )
    how.add_argument(
        "--overwrite", action="store_true", help="delete the checkpoints in --output, start afresh"
    )
    flag("--quiet", action="store_true", help="print nothing but warnings")
    printed = commands.add_parser("config", help="prints a configuration", allow_abbrev=False)
    printed.set_defaults(run=_print_config)
    for command in (train, printed):
        _add_config_flags(command)
    return parser


def _add_config_flags(parser: argparse.ArgumentParser) -> None:
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
