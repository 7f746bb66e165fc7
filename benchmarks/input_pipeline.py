"""How many examples the trainer's input pipeline delivers, per second and per CPU second.

    python -m benchmarks.input_pipeline DATA_DIR [--max_seq_length=128] [--masking=dynamic]

DATA_DIR is the folder tfrecords/ of a run of the pipeline. CPU seconds are those of all threads.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tfrecords_schema.dataset_info import FILE_NAME, DatasetInfo
from trainer.config import MASKINGS
from trainer.data import make_train_dataset
from trainer.shards import Dataset, open_dataset

BATCH_SIZES: Final = (64, 512)
_WARM_UP_FRACTION: Final = 0.2


class Rates(NamedTuple):
    """Examples per second of wall time, and of CPU time of all threads."""

    per_second: float
    per_cpu_second: float


def measure(
    dataset: Dataset, vocab_size: int, *, masking: str, batch_size: int, seconds: float
) -> Rates:
    """Reads batches for some seconds, after a fifth of that to warm up."""
    batches = make_train_dataset(
        dataset, seed=0, masking=masking, vocab_size=vocab_size, batch_size=batch_size
    )
    iterator = iter(batches)
    _count_batches(iterator, _WARM_UP_FRACTION * seconds)
    wall, cpu = time.perf_counter(), time.process_time()
    examples = batch_size * _count_batches(iterator, seconds)
    return Rates(examples / (time.perf_counter() - wall), examples / (time.process_time() - cpu))


def _count_batches(batches: Iterator[Any], seconds: float) -> int:
    end = time.perf_counter() + seconds
    count = 0
    while not count or time.perf_counter() < end:
        next(batches)
        count += 1
    return count


def main(argv: Sequence[str] | None = None) -> None:
    """Measures small and large batches and prints what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--masking", choices=MASKINGS, default="dynamic")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args(argv)
    vocab_size = DatasetInfo.from_json((options.data_dir / FILE_NAME).read_text()).vocab_size
    dataset = open_dataset(str(options.data_dir), options.max_seq_length, vocab_size)
    print(f"length {options.max_seq_length}, {options.masking} masking")
    for batch_size in BATCH_SIZES:
        rates = measure(
            *(dataset, vocab_size),
            masking=options.masking,
            batch_size=batch_size,
            seconds=options.seconds,
        )
        print(
            f"batches of {batch_size:3}: {rates.per_second:,.0f} examples/s, "
            f"{rates.per_cpu_second:,.0f} per CPU second"
        )


if __name__ == "__main__":
    main()
