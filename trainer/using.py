"""The commands for what was trained: fill-mask, evaluate, plot, export, import."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from trainer.config import TrainingConfig
from trainer.config_flags import UsageError

FORMATS: Final = ("released", "saved_model", "huggingface")
SPLITS: Final = ("held_out", "test")
_LOG_FILE: Final = "train.csv"
_MODEL_HELP: Final = (
    "a released model, the output of a training run, or a checkpoint in it; local or gs://"
)
_CASED_HELP: Final = "a released model that keeps case and accents; checkpoints say so"
_PATH = os.path.expanduser


def add_using_commands(commands: Any) -> None:
    """Adds the commands to those of a parser."""
    for name, run, add_flags, help_ in (
        ("fill-mask", _fill_mask, _add_fill_mask_flags, "finds what stands at each [MASK]"),
        ("evaluate", _evaluate, _add_evaluate_flags, "scores a model on held-out sequences"),
        ("plot", _plot, _add_plot_flags, "draws the curves of one or more runs"),
        ("export", _export, _add_export_flags, "writes a model for others"),
        ("import", _import, _add_import_flags, "begins a run with a released model"),
    ):
        parser = commands.add_parser(name, help=help_, allow_abbrev=False)
        parser.set_defaults(run=run)
        add_flags(parser)


# --- fill-mask ---


def _add_fill_mask_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=_PATH, required=True, metavar="DIR", help=_MODEL_HELP)
    parser.add_argument(
        "--top", type=_read_count, default=5, metavar="N", help="candidates of a mask"
    )
    parser.add_argument("--cased", action="store_true", help=_CASED_HELP)
    parser.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="with one [MASK] or more; without any, each line of standard input is one",
    )


def _fill_mask(arguments: argparse.Namespace) -> int:
    texts = arguments.texts or _read_texts()
    from trainer.fill_mask import fill_mask, format_candidates
    from trainer.trained_model import load_model

    model = load_model(arguments.model, cased=arguments.cased)
    filled = fill_mask(model, texts, arguments.top)
    print("\n".join(map(format_candidates, texts, filled)))
    return 0


def _read_texts() -> list[str]:
    """Returns the lines of standard input that are not blank."""
    if sys.stdin.isatty():
        print("A text with [MASK] a line, then Ctrl-D:", file=sys.stderr)
    try:
        lines = sys.stdin.buffer.read().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input: is not UTF-8 ({error})") from error
    if texts := [line for line in lines if line.strip()]:
        return texts
    raise UsageError("no text; give one with [MASK] in it, or a line each on standard input")


# --- evaluate ---


def _add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag("--model", type=_PATH, required=True, metavar="DIR", help=_MODEL_HELP)
    flag("--data", type=_PATH, required=True, help="tfrecords/ of the pipeline; local or gs://")
    flag(
        "--lengths",
        type=_read_counts,
        default=(),
        metavar="N[,N]",
        help="of the sequences (default: all that the data has)",
    )
    flag("--split", choices=SPLITS, default=SPLITS[0], help="which (default: %(default)s)")
    flag(
        "--batch_size",
        type=_read_count,
        default=32,
        metavar="N",
        help="sequences that go through the model at once (default: %(default)s)",
    )
    flag(
        "--held_out_sequences",
        type=_read_count,
        default=TrainingConfig.held_out_sequences,
        metavar="N",
        help="the first so many of each length and corpus (default: %(default)s)",
    )
    flag("--json", type=_PATH, metavar="FILE", help="write all figures there, too")
    flag("--quiet", action="store_true", help="show no bar")


def _evaluate(arguments: argparse.Namespace) -> int:
    from trainer.evaluation import evaluate
    from trainer.files import write_file
    from trainer.trained_model import load_model

    evaluation = evaluate(
        load_model(arguments.model),
        arguments.data,
        lengths=sorted({*arguments.lengths}),
        split=arguments.split,
        batch_size=arguments.batch_size,
        sequences=arguments.held_out_sequences,
        quiet=arguments.quiet,
    )
    if arguments.json:
        write_file(arguments.json, evaluation.to_json().encode())
    print(evaluation.to_table())
    return 0


# --- plot ---


def _add_plot_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        type=_PATH,
        metavar="RUN",
        help=f"output of a training run, or its {_LOG_FILE}; local or gs://",
    )
    parser.add_argument(
        "--output",
        type=_PATH,
        action="append",
        required=True,
        metavar="FILE",
        help="picture to write: .png, .svg or .pdf; may be given several times",
    )


def _plot(arguments: argparse.Namespace) -> int:
    from trainer.plots import plot_runs
    from trainer.train_log import read_log

    paths = [
        run if run.endswith(".csv") else f"{run.rstrip('/')}/{_LOG_FILE}" for run in arguments.runs
    ]
    try:
        runs = {name: read_log(path) for name, path in name_runs(paths).items()}
    except FileNotFoundError as error:
        raise UsageError(
            f"{error.filename}: missing; give the output of a training run, or its {_LOG_FILE}"
        ) from error
    plot_runs(runs, arguments.output)
    return 0


def name_runs(paths: Sequence[str]) -> dict[str, str]:
    """Returns paths of train.csv by the names of their folders; by the paths where names meet."""
    names: list[str] = []
    for path in paths:
        folder, file = os.path.split(path if "://" in path else os.path.abspath(path))
        is_usual = file == _LOG_FILE
        names.append(os.path.basename(folder) if is_usual else file.removesuffix(".csv"))
    pairs = zip(names, paths, strict=True)
    return {path if names.count(name) > 1 else name: path for name, path in pairs}


# --- export, import ---


def _add_export_flags(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag("--model", type=_PATH, required=True, metavar="DIR", help=_MODEL_HELP)
    flag("--format", choices=FORMATS, required=True, help="see docs/exports.md")
    flag("--output", type=_PATH, required=True, help="folder, new or empty; local or gs://")
    flag("--cased", action="store_true", help=_CASED_HELP)


def _export(arguments: argparse.Namespace) -> int:
    # Only what the format needs: tensorflow-text and safetensors may be missing.
    module = importlib.import_module(f"trainer.{arguments.format}")
    export = getattr(module, f"export_{arguments.format}")
    from trainer.trained_model import load_model

    export(load_model(arguments.model, cased=arguments.cased), arguments.output)
    print(f"{arguments.output}: written; docs/exports.md says how to load it")
    return 0


def _add_import_flags(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag("--model", type=_PATH, required=True, metavar="DIR", help=_MODEL_HELP)
    flag("--output", type=_PATH, required=True, help="folder, new or empty; local or gs://")
    flag("--cased", action="store_true", help=_CASED_HELP)


def _import(arguments: argparse.Namespace) -> int:
    from trainer.released import import_released

    import_released(arguments.model, arguments.output, cased=arguments.cased)
    print(f"{arguments.output}: written; `train --output={arguments.output}` goes on from there")
    return 0


# --- Numbers ---


def _read_count(text: str) -> int:
    """Reads a whole number, at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number


def _read_counts(text: str) -> list[int]:
    """Reads whole numbers joined by commas."""
    return [_read_count(part) for part in text.split(",")]
