"""Trains a small model for some minutes and proves that it learns.

    python -m benchmarks.learning TFRECORDS [--output=benchmarks/learning] [--model=DIR]

TFRECORDS is tfrecords/ of a pipeline run. Held-out loss must end below that of guessing every
masked token by its frequency in the training sequences, and accuracy must have risen. Writes the
figures to OUTPUT.json and the curves to OUTPUT.png.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.config import ModelConfig, OptimizerConfig, StageConfig, TrainingConfig
from trainer.shards import Dataset, open_dataset
from trainer.train_log import TRAIN, LogLine, parse_log

SMALL: Final = ModelConfig(
    attention_head_size=32,
    hidden_dropout_prob=0,
    hidden_size=192,
    embedding_size=128,
    intermediate_size=384,
    num_attention_heads=6,
    num_hidden_layers=2,
)
_SEQ_LENGTH: Final = 128
_BASELINE: Final = "guessing by frequency"


class Outcome(NamedTuple):
    """Loss and accuracy on held-out data, at first and at last, averaged over corpora."""

    first: tuple[float, float]
    last: tuple[float, float]
    baseline: float

    def holds(self) -> bool:
        """Tells whether the model has learnt."""
        return self.last[0] < self.baseline and self.last[1] > self.first[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if the model has learnt."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("tfrecords")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/learning"))
    parser.add_argument("--model", type=Path, help="folder to keep the trained model in")
    parser.add_argument("--optimizer_steps", type=int, default=2_000)
    parser.add_argument("--global_batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--masking", choices=("static", "dynamic"), default="dynamic")
    arguments = parser.parse_args(argv)
    config = make_config(arguments)
    dataset = open_dataset(arguments.tfrecords, _SEQ_LENGTH, config.model.vocab_size)
    baselines = measure_baselines(dataset, config)
    with contextlib.ExitStack() as exits:
        folder = arguments.model or Path(exits.enter_context(tempfile.TemporaryDirectory()))
        wall, cpu = run_training(config, arguments.tfrecords, folder)
        lines = parse_log((folder / "train.csv").read_text(), "train.csv")
    outcome = judge(lines, baselines)
    report = describe(config, lines, baselines, outcome) | {
        "wall_seconds": round(wall),
        "cpu_seconds": round(cpu),
    }
    arguments.output.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    draw(lines, outcome, str(arguments.output.with_suffix(".png")))
    print(json.dumps(report, indent=1))
    return 0 if outcome.holds() else 1


def make_config(arguments: argparse.Namespace) -> TrainingConfig:
    """Returns a run of one stage that a laptop ends within half an hour."""
    steps = arguments.optimizer_steps
    stage = StageConfig(
        max_seq_length=_SEQ_LENGTH,
        optimizer_steps=steps,
        learning_rate=arguments.learning_rate,
        warmup_steps=steps // 20,
        global_batch_size=arguments.global_batch_size,
        micro_batch_size=arguments.global_batch_size,
    )
    return TrainingConfig(
        model=SMALL,
        optimizer=OptimizerConfig(name="adamw"),
        stages=(stage,),
        masking=arguments.masking,
        log_steps=max(1, steps // 100),
        held_out_steps=max(1, steps // 10),
        held_out_sequences=512,
        save_steps=steps,
        steps_per_execution=10,
    )


def run_training(config: TrainingConfig, tfrecords: str, folder: Path) -> tuple[float, float]:
    """Trains in a process of its own; returns its wall and CPU seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "given.json"
    path.write_text(json.dumps(config.to_json()))
    command = [
        *(sys.executable, "-m", "trainer", "train"),
        *(f"--config={path}", f"--data={tfrecords}", f"--output={folder}"),
    ]
    before, started = _cpu_seconds_of_children(), time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
    return time.monotonic() - started, _cpu_seconds_of_children() - before


def measure_baselines(dataset: Dataset, config: TrainingConfig) -> dict[str, float]:
    """Returns, by corpus, the held-out loss in nats of guessing by training frequency."""
    from trainer.data import make_held_out_datasets

    log_shares = np.log(count_tokens(dataset, config.model.vocab_size))
    log_shares -= np.logaddexp.reduce(log_shares)
    losses: dict[str, float] = {}
    for corpus, batches in make_held_out_datasets(dataset, 64, config.held_out_sequences).items():
        sums = np.zeros(2)
        for batch in batches.as_numpy_iterator():
            sums += score_by_frequency(log_shares, batch.labels, batch.weights)
        losses[corpus] = float(sums[0] / sums[1])
    return losses


def score_by_frequency(
    log_shares: npt.NDArray[np.float64], labels: Any, weights: Any
) -> tuple[float, int]:
    """Returns the summed loss of a batch's sequences and their number, as training counts them.

    Args:
      log_shares: log probability of each entry of the vocabulary, shape [V].
      labels: original ids of the masked tokens, shape [B, P].
      weights: 1 where there is one, else 0, shape [B, P].
    """
    masked = weights.sum(axis=1)
    losses = -(log_shares[labels] * weights).sum(axis=1)[masked > 0] / masked[masked > 0]
    return float(losses.sum()), len(losses)


def count_tokens(dataset: Dataset, vocab_size: int) -> npt.NDArray[np.int64]:
    """Returns how often each id occurs in the training sequences, plus one; specials do not."""
    import tensorflow as tf

    from tfrecords_schema.features import TOKEN_IDS
    from vocab.special_tokens import FIRST_ORDINARY_ID

    counts = np.ones(vocab_size, np.int64)
    spec = {TOKEN_IDS: tf.io.FixedLenFeature([dataset.max_seq_length], tf.int64)}
    for shard in dataset.copies[0]:
        for records in tf.data.TFRecordDataset(shard.path).batch(4096).as_numpy_iterator():
            ids = tf.io.parse_example(records, spec)[TOKEN_IDS].numpy()
            counts += np.bincount(ids.ravel(), minlength=vocab_size)
    counts[:FIRST_ORDINARY_ID] = 1
    return counts


def judge(lines: Sequence[LogLine], baselines: Mapping[str, float]) -> Outcome:
    """Compares the first and the last look at held-out data with guessing by frequency."""
    held_out = [line for line in lines if line.data != TRAIN]
    first, last = (
        _average([line for line in held_out if line.step == step])
        for step in (held_out[0].step, held_out[-1].step)
    )
    return Outcome(first, last, sum(baselines.values()) / len(baselines))


def describe(
    config: TrainingConfig,
    lines: Sequence[LogLine],
    baselines: Mapping[str, float],
    outcome: Outcome,
) -> dict[str, Any]:
    """Returns the figures, as JSON."""
    last_step = max(line.step for line in lines)
    return {
        "model": config.model.to_json(),
        "stage": dataclasses.asdict(config.stages[0]),
        "masking": config.masking,
        "held_out": {
            line.data: {
                "loss": round(line.mlm_loss, 4),
                "accuracy": round(line.mlm_acc, 4),
                "loss of guessing by frequency": round(baselines[line.data], 4),
            }
            for line in lines
            if line.step == last_step and line.data != TRAIN
        },
        "mean": {
            "first accuracy": round(outcome.first[1], 4),
            "accuracy": round(outcome.last[1], 4),
            "loss": round(outcome.last[0], 4),
            "loss of guessing by frequency": round(outcome.baseline, 4),
        },
        "learnt": outcome.holds(),
    }


def draw(lines: Sequence[LogLine], outcome: Outcome, path: str) -> None:
    """Draws the curves with the baseline to a file."""
    from trainer.plots import plot_runs

    plot_runs({"small": lines}, [path], {_BASELINE: outcome.baseline})


def _average(lines: Sequence[LogLine]) -> tuple[float, float]:
    count = len(lines)
    losses, accuracies = ([line.mlm_loss for line in lines], [line.mlm_acc for line in lines])
    return sum(losses) / count, sum(accuracies) / count


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
