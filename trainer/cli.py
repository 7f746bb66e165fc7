"""Trains t5s on masked-LM TFRecords, and uses what was trained.

`train` goes through the stages of a configuration; given again, it goes on where it stopped.
`config` prints a configuration, to be changed and given to `train` as a file.
`fill-mask` says what a trained model would put in the place of each [MASK] of a text,
`evaluate` how well it does on sequences that it has not seen,
`plot` draws what a run has logged.
`export` writes a model for bert4keras, TensorFlow or Hugging Face,
`import` makes the beginning of a run of a released one.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from trainer.config_flags import UsageError, add_config_flags, make_config
from trainer.using import add_using_commands
from vocab.printing import until_reader_leaves

_OURS = ("trainer", "tfrecords_schema", "vocab")
_PATH = os.path.expanduser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 when done, 1 when it failed, 2 for wrong usage."""
    arguments = _make_parser().parse_args(argv)
    # TensorFlow's notices about CPU features and CUDA say nothing to whoever trains.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with until_reader_leaves():
            return arguments.run(arguments)
    except UsageError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OURS:
            raise
        print(
            f"trainer: the package {package} is missing: pip install '.[train]' in a clone of "
            "the project; README.md says what else a TPU needs",
            file=sys.stderr,
        )
        return 1
    except (ValueError, OSError, ImportError, FloatingPointError, *_tensorflow_errors()) as error:
        print(f"trainer: {_describe(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("trainer: interrupted; the same command trains on from the last checkpoint")
        return 130


def _tensorflow_errors() -> tuple[type[Exception], ...]:
    """Returns what TensorFlow raises of files that cannot be read or written."""
    if "tensorflow" not in sys.modules:
        return ()
    import tensorflow as tf

    errors = tf.errors
    return (errors.NotFoundError, errors.PermissionDeniedError, errors.FailedPreconditionError)


def _describe(error: Exception) -> str:
    """Returns one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(getattr(error, "message", error))


def _train(arguments: argparse.Namespace) -> int:
    config = make_config(arguments)
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="trains, or goes on", allow_abbrev=False)
    train.set_defaults(run=_train)
    _add_train_flags(train)
    printed = commands.add_parser("config", help="prints a configuration", allow_abbrev=False)
    printed.set_defaults(run=_print_config)
    for command in (train, printed):
        add_config_flags(command)
    add_using_commands(commands)
    return parser


def _add_train_flags(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag(
        "--data",
        type=_PATH,
        required=True,
        help="tfrecords/ of the pipeline, or a folder of "
        "other *.tfrecord files with token_ids and mask_ids; local or gs://",
    )
    flag("--output", type=_PATH, required=True, help="folder to write to; local or gs://")
    flag("--vocab", type=_PATH, help="vocab.txt of data that has none beside it")
    flag("--stage", type=int, metavar="LENGTH", help="train only the stage of this length")
    flag(
        "--max_predictions_per_seq",
        type=int,
        help="most masked tokens of a sequence, for data without dataset_info.json",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--resume",
        action="store_true",
        default=True,
        help="go on from the newest checkpoint in --output (default)",
    )
    how.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the checkpoints in --output, but for imported weights, and start afresh",
    )
    flag("--quiet", action="store_true", help="print nothing but warnings")
