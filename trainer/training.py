"""Trains all stages of a run, and goes on where an earlier process stopped."""

import contextlib
import dataclasses
import json
import re
import signal
import sys
from collections.abc import Generator, Mapping
from types import FrameType
from typing import Any, Final, NamedTuple

import tensorflow as tf

from trainer import devices, guard_rails
from trainer.checkpoints import Checkpoint, CheckpointStore
from trainer.config import TrainingConfig
from trainer.damage import naming_damage
from trainer.identity import identify, refuse_other_run
from trainer.model import build_model
from trainer.shards import Dataset, open_dataset
from trainer.stage import StageTrainer
from trainer.train_log import TrainLog
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
      overwrite: whether what the output folder holds of an earlier run is deleted.
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
    store = CheckpointStore(f"{output}/checkpoints", config.checkpoints_kept, _warn)
    log = TrainLog(f"{output}/train.csv")
    identity = identify(config, datasets)
    newest = _take_up(store, log, identity, options.overwrite)
    _write_beginnings(config, options)

    precision = devices.resolve_precision(config.precision, strategy)
    with strategy.scope():
        model = build_model(config.model, config.seed, precision)
    say = _Teller(options.quiet)
    parameters = model.full.count_params()
    device = f"{devices.describe(strategy)}, {precision}"
    say(guard_rails.describe_run(config, datasets, parameters, device))
    if newest:
        say(f"Going on from stage {newest.position.stage}, step {newest.position.step:,}")
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
    store: CheckpointStore, log: TrainLog, identity: dict[str, Any], overwrite: bool
) -> Checkpoint | None:
    """Returns the checkpoint to go on from; the log is cut back to it."""
    if overwrite:
        store.delete_all()
    newest = store.find_newest()
    if newest:
        refuse_other_run(newest.identity, identity, newest.folder)
        log.read_until(newest.position.stage, newest.position.step)
    return newest


def _write_beginnings(config: TrainingConfig, options: RunOptions) -> None:
    """Writes what a run begins with: its configuration and its vocabulary."""
    output = options.output.rstrip("/")
    tf.io.gfile.makedirs(output)
    with tf.io.gfile.GFile(f"{output}/config.json", "w") as file:
        file.write(json.dumps(config.to_json(), indent=2) + "\n")
    vocab = options.vocab or f"{options.data.rstrip('/')}/vocab.txt"
    if options.vocab or tf.io.gfile.exists(vocab):
        with tf.io.gfile.GFile(vocab, "rb") as file:
            content = file.read()
        parse_vocab(content, vocab, config.model.vocab_size)
        with tf.io.gfile.GFile(f"{output}/vocab.txt", "wb") as file:
            file.write(content)


def _train_stages(
    stage_trainer: StageTrainer,
    datasets: Mapping[int, Dataset],
    newest: Checkpoint | None,
    output: str,
) -> None:
    """Trains what is left of some stages, one after the other, until a signal comes."""
    stages = stage_trainer.config.stages
    for number, dataset in datasets.items():
        stage, done = newest.position.stage if newest else 1, newest.position.step if newest else 0
        steps = stages[stage - 1].optimizer_steps
        if number < stage or (number == stage and done == steps):
            continue
        if number > stage + 1 or (number > stage and done < steps):
            raise ValueError(
                f"--stage={stages[number - 1].max_seq_length}: stage {stage} has done {done:,} of "
                f"its {steps:,} steps in {output}; leave --stage out to train it first"
            )
        newest = stage_trainer.train(number, dataset, newest)
        if stage_trainer.received:
            return


@contextlib.contextmanager
def _saving_on_signals() -> Generator[list[int]]:
    """Collects SIGTERM and Ctrl-C instead of dying of them; a second Ctrl-C interrupts at once."""
    received: list[int] = []

    def receive(number: int, _frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        print("Saving; Ctrl-C once more ends without.", file=sys.stderr)

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
