"""Trains all stages of a run, and goes on where an earlier process stopped."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, NamedTuple

import tensorflow as tf

from trainer import devices, guard_rails
from trainer.checkpoints import BEFORE_TRAINING, Checkpoint, CheckpointStore
from trainer.config import StageConfig, TrainingConfig
from trainer.damage import naming_damage
from trainer.files import read_file, write_file
from trainer.identity import identify, refuse_other_run
from trainer.model import build_model
from trainer.shards import Dataset, open_dataset
from trainer.stage import StageTrainer
from trainer.train_log import TrainLog
from trainer.trained_model import CHECKPOINTS_FOLDER, VOCAB_FILE
from vocab.vocab_file import parse_vocab

_EXIT_CODES: Final[dict[int, int]] = {signal.SIGTERM: 0, signal.SIGINT: 130}
"""Of runs that save and end because of these signals."""

_RECORD_ERROR: Final = re.compile(r"\[b?[\"']?([^\[\]]*: record \d+ has [^\[\]]*?)[\"']?\]")
"""How TensorFlow passes on what `data` says of a record."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run lies and how much of it is done now.

    Attributes:
      data: folder of the training data; local or gs://.
      vocab: vocab.txt of data that has none beside it; or None.
      output: folder of checkpoints and logs; local or gs://.
      max_predictions_per_seq: most masked tokens of one sequence, for data that does not say.
      only_stage: sequence length of the stage to do; None for all.
      overwrite: whether what the output folder holds of an earlier run is deleted; weights that
        were imported into it stay, and it begins with them.
      quiet: whether nothing but warnings is printed.
    """

    data: str
    output: str
    vocab: str | None = None
    max_predictions_per_seq: int | None = None
    only_stage: int | None = None
    overwrite: bool = False
    quiet: bool = False


def train(config: TrainingConfig, options: RunOptions) -> int:
    """Trains, resuming by itself.

    Args:
      config: the run.
      options: where it lies.

    Returns:
      The exit code: 0 when all is done, or SIGTERM came and all is saved; 130 after Ctrl-C.

    Raises:
      ValueError: something does not fit; the message names it and the remedy.
      FileNotFoundError: data is missing.
      FloatingPointError: the loss is no number any more.
    """
    datasets = _open_datasets(config, options)
    if config.deterministic:
        devices.set_determinism(config.seed)
    strategy = devices.make_strategy()
    guard_rails.check_run(config, datasets, strategy.num_replicas_in_sync)
    output = options.output.rstrip("/")
    store = CheckpointStore(f"{output}/{CHECKPOINTS_FOLDER}", config.checkpoints_kept, _warn)
    log = TrainLog(f"{output}/train.csv")
    newest, identity = _take_up(config, options, datasets, store, log)

    precision = devices.resolve_precision(config.precision, strategy)
    with strategy.scope():
        model = build_model(config.model, config.seed, precision)
    say = _Teller(options.quiet)
    parameters = model.full.count_params()
    device = f"{devices.describe(strategy)}, {precision}"
    say(guard_rails.describe_run(config, datasets, parameters, device))
    if newest:
        say(_describe_beginning(newest, options))
    for doubt in guard_rails.find_doubts(config, datasets):
        _warn(doubt)
    with _saving_on_signals() as received:
        stage_trainer = StageTrainer(
            config=config,
            strategy=strategy,
            model=model,
            store=store,
            log=log,
            identity=identity,
            tensorboard=f"{output}/tensorboard",
            quiet=options.quiet,
            received=received,
        )
        with _explaining(datasets):
            _train_stages(stage_trainer, datasets, newest, options.output)
    say("Saved; the same command goes on from here." if received else "All stages are trained.")
    return _EXIT_CODES[received[0]] if received else 0


def _open_datasets(config: TrainingConfig, options: RunOptions) -> dict[int, Dataset]:
    """Returns the data of the stages that are asked for, by their numbers, from 1."""
    lengths = [stage.max_seq_length for stage in config.stages]
    if options.only_stage not in (None, *lengths):
        raise ValueError(
            f"--stage={options.only_stage}: the stages of this configuration are of length "
            f"{', '.join(map(str, lengths))}"
        )
    return {
        number: open_dataset(
            *(options.data, length, config.model.vocab_size),
            max_predictions_per_seq=options.max_predictions_per_seq,
        )
        for number, length in enumerate(lengths, 1)
        if options.only_stage in (None, length)
    }


def _take_up(
    config: TrainingConfig,
    options: RunOptions,
    datasets: Mapping[int, Dataset],
    store: CheckpointStore,
    log: TrainLog,
) -> tuple[Checkpoint | None, dict[str, Any]]:
    """Makes the output folder ready; returns the checkpoint to go on from and what the run is."""
    newest = store.find_imported() if options.overwrite else store.find_newest()
    identity = identify(config, datasets, newest.identity.get("initial") if newest else None)
    if newest:
        refuse_other_run(newest.identity, identity, newest.folder)
    vocab = _read_vocab(config, options, newest)
    if options.overwrite:
        store.delete_trained()
    elif newest:
        log.read_until(newest.position.stage, newest.position.step)
    output = options.output.rstrip("/")
    write_file(f"{output}/config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
    if vocab is not None:
        write_file(f"{output}/{VOCAB_FILE}", vocab)
    return newest, identity


def _read_vocab(
    config: TrainingConfig, options: RunOptions, newest: Checkpoint | None
) -> bytes | None:
    """Returns the vocabulary of the data, if it has one; refuses another than the weights have."""
    path = options.vocab or f"{options.data.rstrip('/')}/{VOCAB_FILE}"
    if not options.vocab and not tf.io.gfile.exists(path):
        return None
    content = read_file(path)
    tokens = parse_vocab(content, path, config.model.vocab_size)
    ours = f"{options.output.rstrip('/')}/{VOCAB_FILE}"
    if newest and tf.io.gfile.exists(ours) and parse_vocab(read_file(ours), ours) != tokens:
        raise ValueError(
            f"{path}: another vocabulary than {ours}, which belongs to the weights in "
            f"{newest.folder}; make the data with that one, or give another --output"
        )
    return content


def _describe_beginning(newest: Checkpoint, options: RunOptions) -> str:
    if newest.position.stage > BEFORE_TRAINING.stage:
        return f"Going on from stage {newest.position.stage}, step {newest.position.step:,}"
    text = f"Beginning with the imported weights in {newest.folder}"
    if options.overwrite:
        text += ", which --overwrite keeps; for random weights give another --output"
    return text


def _train_stages(
    stage_trainer: StageTrainer,
    datasets: Mapping[int, Dataset],
    newest: Checkpoint | None,
    output: str,
) -> None:
    """Trains what is left of some stages, one after the other, until a signal comes."""
    stages = stage_trainer.config.stages
    for number, dataset in datasets.items():
        unfinished, done = _find_unfinished(newest, stages)
        if number < unfinished:
            continue
        if number > unfinished:
            steps = stages[unfinished - 1].optimizer_steps
            raise ValueError(
                f"--stage={stages[number - 1].max_seq_length}: stage {unfinished} has done "
                f"{done:,} of its {steps:,} steps in {output}; leave --stage out to train it first"
            )
        newest = stage_trainer.train(number, dataset, newest)
        if stage_trainer.received:
            return


def _find_unfinished(newest: Checkpoint | None, stages: Sequence[StageConfig]) -> tuple[int, int]:
    """Returns the number of the first stage that is not finished, and its steps that are done."""
    position = newest.position if newest else BEFORE_TRAINING
    steps = [0, *(stage.optimizer_steps for stage in stages)]  # stage 0 is what was before
    if position.step < steps[position.stage]:
        return position.stage, position.step
    return position.stage + 1, 0


@contextlib.contextmanager
def _saving_on_signals() -> Generator[list[int]]:
    """Collects SIGTERM and Ctrl-C instead of dying of them; a second Ctrl-C interrupts at once."""
    received: list[int] = []

    def receive(number: int, _frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        # Not `print`, in the midst of which the signal may have come.
        os.write(2, b"Saving; Ctrl-C once more ends without.\n")

    before = {number: signal.signal(number, receive) for number in _EXIT_CODES}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _explaining(datasets: Mapping[int, Dataset]) -> Generator[None]:
    """Says what TensorFlow's errors mean that data or a small device lead to."""
    try:
        with naming_damage(datasets.values()):
            yield
    except tf.errors.InvalidArgumentError as error:
        if found := _RECORD_ERROR.search(error.message):
            raise ValueError(found[1]) from error
        raise
    except tf.errors.ResourceExhaustedError as error:
        raise ValueError(
            "the device has too little memory; lower micro_batch_size (the global batch, and so "
            "what is learnt, stays the same)"
        ) from error


class _Teller(NamedTuple):
    """Says what is not needed when all goes well."""

    quiet: bool

    def __call__(self, text: str) -> None:
        """Prints to the log."""
        if not self.quiet:
            print(text, file=sys.stderr)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
