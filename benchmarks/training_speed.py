"""Examples per CPU second of the trainer and of the reference notebook's method, in alternation.

    python -m benchmarks.training_speed TFRECORDS [--model=tiny] [--max_seq_length=128]

TFRECORDS is tfrecords/ of a pipeline run. Each method has a process of its own, is warmed up, and
then they take turns; CPU seconds are those of all threads of the process, reading included. Both
read static masks, use LAMB and float32, and update once a batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from trainer.config import MODELS, StageConfig, TrainingConfig

REFERENCE, TRAINER = "reference", "trainer"
_WARM_UP_STEPS: Final = 4
_OPTIMIZER_STEPS: Final = 100_000  # more than are taken, so that the rate is never 0


class Setting(NamedTuple):
    """What both methods train."""

    tfrecords: str
    model: str
    max_seq_length: int
    batch_size: int
    jit_compile: bool

    @property
    def stage(self) -> StageConfig:
        """One stage without accumulation."""
        return StageConfig(
            max_seq_length=self.max_seq_length,
            optimizer_steps=_OPTIMIZER_STEPS,
            learning_rate=1e-3,
            global_batch_size=self.batch_size,
            micro_batch_size=self.batch_size,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("tfrecords")
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--jit_compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--steps", type=int, default=10, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    setting = Setting(
        options.tfrecords,
        options.model,
        options.max_seq_length,
        options.batch_size,
        options.jit_compile,
    )
    print(
        f"{setting.model}, length {setting.max_seq_length}, batches of {setting.batch_size}, "
        f"trainer {'with' if setting.jit_compile else 'without'} XLA"
    )
    rates = measure(setting, options.steps, options.rounds)
    for method, of_rounds in rates.items():
        print(f"{method}: {statistics.median(of_rounds):.1f} examples per CPU second")
    ratios = [ours / theirs for ours, theirs in zip(rates[TRAINER], rates[REFERENCE], strict=True)]
    print(
        f"trainer / reference: median {statistics.median(ratios):.2f}, "
        f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
    )


def measure(setting: Setting, steps: int, rounds: int) -> dict[str, list[float]]:
    """Returns examples per CPU second of each method in each round."""
    spawn = get_context("spawn")
    makers = {REFERENCE: _make_reference, TRAINER: _make_trainer}
    processes = {
        method: ProcessPoolExecutor(1, spawn, _start, (make, setting))
        for method, make in makers.items()
    }
    try:
        rates: dict[str, list[float]] = {method: [] for method in processes}
        for _ in range(rounds):
            for method, process in processes.items():
                seconds = process.submit(_measure_turn, steps).result()
                rates[method].append(steps * setting.batch_size / seconds)
        return rates
    finally:
        for process in processes.values():
            process.shutdown()


def _make_trainer(setting: Setting) -> Callable[[int], object]:
    from trainer import devices
    from trainer.data import make_train_dataset
    from trainer.model import build_model
    from trainer.optimizer import create_slots, make_optimizer
    from trainer.shards import open_dataset
    from trainer.step import TrainStep

    stage, defaults = setting.stage, TrainingConfig(model=MODELS[setting.model])
    devices.set_determinism(defaults.seed)
    strategy = devices.make_strategy()
    with strategy.scope():
        model = build_model(defaults.model, defaults.seed, "float32")
        optimizer = make_optimizer(defaults.optimizer, stage)
        create_slots(optimizer, model.trainable_variables)
    step = TrainStep(
        *(model, optimizer, strategy),
        stage_number=1,
        grad_accum_steps=1,
        global_batch_size=stage.global_batch_size,
        jit_compile=setting.jit_compile,
    )
    vocab_size = defaults.model.vocab_size
    batches = iter(
        make_train_dataset(
            open_dataset(setting.tfrecords, stage.max_seq_length, vocab_size),
            seed=defaults.seed,
            masking=defaults.masking,
            vocab_size=vocab_size,
            batch_size=stage.global_batch_size,
        )
    )
    return lambda steps: step.run(batches, steps)


def _make_reference(setting: Setting) -> Callable[[int], object]:
    from benchmarks.reference_trainer import ReferenceTrainer
    from trainer.shards import open_dataset

    model, stage = MODELS[setting.model], setting.stage
    dataset = open_dataset(setting.tfrecords, stage.max_seq_length, model.vocab_size)
    paths = [shard.path for shard in dataset.copies[0]]
    return ReferenceTrainer(model, stage, paths).run


_run: Any = None
"""The method of this process."""


def _start(make: Callable[[Setting], Callable[[int], object]], setting: Setting) -> None:
    global _run
    _run = make(setting)
    _run(_WARM_UP_STEPS)


def _measure_turn(steps: int) -> float:
    """Returns the CPU seconds that some steps take."""
    started = time.process_time()
    _run(steps)
    return time.process_time() - started


if __name__ == "__main__":
    main()
