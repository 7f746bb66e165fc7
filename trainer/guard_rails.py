"""What is looked at before the first step, and said: errors at once, not after days."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from trainer.config import StageConfig, TrainingConfig
from trainer.shards import Dataset

_LAMB_RATE: Final = 5e-3
_LAMB_BATCH: Final = 32_768
"""Learning rate and batch of LAMB's square-root rule (You et al. 2019, table 4)."""

_ADAMW_RATE: Final = 1e-3
"""Ten times that of BERT (Devlin et al. 2019, appendix A.2); above it training diverges."""

_WARMUP_FRACTION_PER_SEQUENCE: Final = 1 / 163_840
"""Its warm-up: 1/320 of the steps at batch 512, 1/40 at 4,096, 1/5 at 32,768 (ibid.)."""

_MOST_VIEWS: Final = 4
"""Times that RoBERTa's static masking shows a sequence in one masking (Liu et al. 2019, 4.1)."""


def check_run(config: TrainingConfig, datasets: Mapping[int, Dataset], replicas: int) -> None:
    """Checks what would stop or spoil a run.

    Args:
      config: the run.
      datasets: of the stages that are to be trained, by their numbers, from 1.
      replicas: devices that share a batch.

    Raises:
      ValueError: batch arithmetic that does not come out, too little data, or dynamic masking of
        data without word starts.
    """
    for number, dataset in datasets.items():
        stage = config.stages[number - 1]
        try:
            stage.grad_accum_steps(replicas)
        except ValueError as error:
            raise ValueError(f"stage {number}: {error}") from error
        fewest = min(count_records(dataset))
        if fewest < stage.global_batch_size:
            raise ValueError(
                f"stage {number}: {dataset.folder} has {fewest:,} training sequences of length "
                f"{stage.max_seq_length}, fewer than one batch of {stage.global_batch_size:,}; "
                "lower global_batch_size, or make more data"
            )
        if config.masking == "dynamic" and not dataset.has_word_starts:
            raise ValueError(
                f'{dataset.folder}: has no word_starts, which masking "dynamic" needs; '
                'use "static", or make the data with the pipeline'
            )


def find_doubts(config: TrainingConfig, datasets: Mapping[int, Dataset]) -> Iterator[str]:
    """Yields what may be meant but often is not."""
    for number, dataset in datasets.items():
        stage = config.stages[number - 1]
        if stage.warmup_steps == 0:
            yield (
                f"stage {number}: warmup_steps is 0: it starts at the full learning rate, as the "
                f"released models did; LAMB's paper would warm up for {usual_warmup_steps(stage):,}"
            )
        usual = usual_learning_rate(config.optimizer.name, stage.global_batch_size)
        if stage.learning_rate > 2 * usual:
            yield (
                f"stage {number}: learning_rate {stage.learning_rate:.3g} is high for "
                f"{config.optimizer.name} at global_batch_size {stage.global_batch_size:,}; "
                f"usual is up to {usual:.3g}"
            )
        views = count_epochs(stage, dataset) / len(dataset.copies)
        if config.masking == "static" and views > _MOST_VIEWS:
            yield (
                f"stage {number}: every masking of a sequence is seen {views:,.1f} times; "
                "--masking=dynamic masks anew in every epoch"
            )


def usual_learning_rate(optimizer: str, global_batch_size: int) -> float:
    """Returns the largest rate that is usual for an optimizer at a batch size, by its name."""
    if optimizer == "lamb":
        return _LAMB_RATE * math.sqrt(global_batch_size / _LAMB_BATCH)
    return _ADAMW_RATE


def usual_warmup_steps(stage: StageConfig) -> int:
    """Returns how many steps LAMB's paper would warm up for, at most a fifth."""
    fraction = min(stage.global_batch_size * _WARMUP_FRACTION_PER_SEQUENCE, 0.2)
    return math.ceil(stage.optimizer_steps * fraction)


def describe_run(
    config: TrainingConfig, datasets: Mapping[int, Dataset], parameters: int, device: str
) -> str:
    """Returns what a run is, in a few lines: sizes, products, and the loss to expect at first."""
    lines = [
        f"{device}; {parameters:,} parameters, seed {config.seed}, {config.masking} masking",
        f"Loss of guessing at random: ln {config.model.vocab_size:,} = "
        f"{math.log(config.model.vocab_size):.2f}",
    ]
    for number, dataset in datasets.items():
        stage = config.stages[number - 1]
        tokens = stage.global_batch_size * stage.max_seq_length
        lines.append(
            f"Stage {number}: {stage.optimizer_steps:,} steps of {stage.global_batch_size:,} x "
            f"{stage.max_seq_length} = {tokens:,} tokens, "
            f"{count_epochs(stage, dataset):,.2f} epochs of {max(count_records(dataset)):,} "
            f"sequences, {config.optimizer.name} at {stage.learning_rate:.4g}"
        )
    return "\n".join(lines)


def count_epochs(stage: StageConfig, dataset: Dataset) -> float:
    """Returns how often a stage sees the training sequences."""
    records = count_records(dataset)
    return stage.optimizer_steps * stage.global_batch_size * len(records) / sum(records)


def count_records(dataset: Dataset) -> list[int]:
    """Returns the training sequences of each copy."""
    return [sum(shard.records for shard in copy) for copy in dataset.copies]
