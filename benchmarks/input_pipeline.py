"""How many examples the trainer's input pipeline delivers, per second and per CPU second.

    python -m benchmarks.input_pipeline DATA_DIR [--max_seq_length=128] [--masking=dynamic]

DATA_DIR is the folder tfrecords/ of a run of the pipeline. CPU seconds are those of all threads.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tfrecords_schema.dataset_info import FILE_NAME, DatasetInfo
from trainer.config import MASKINGS
from trainer.data import make_train_dataset
from trainer.shards import Dataset, open_dataset


class Rates(NamedTuple):
    """Examples per second of wall time, and of CPU time of all threads."""

    per_second: float
    per_cpu_second: float


def measure(
    dataset: Dataset, vocab_size: int, masking: str, batch_size: int, seconds: float
) -> Rates:
    """Reads batches for some seconds, after two seconds of the same."""
    batches: Any = make_train_dataset(
        dataset, seed=0, masking=masking, vocab_size=vocab_size, batch_size=batch_size
    )
    iterator = iter(batches)
    _read_for(iterator, 2)
    wall, cpu = time.perf_counter(), time.process_time()
    examples = _read_for(iterator, seconds) * batch_size
    return Rates(examples / (time.perf_counter() - wall), examples / (time.process_time() - cpu))


def _read_for(batches: Any, seconds: float) -> int:
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        next(batches)
        count += 1
    return count


def main(argv: Sequence[str] | None = None) -> None:
    """Measures batches of 64 and 512 and prints what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("data_dir")
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--masking", choices=MASKINGS, default="dynamic")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args(argv)
    with open(f"{options.data_dir}/{FILE_NAME}", encoding="utf-8") as file:
        vocab_size = DatasetInfo.from_json(file.read()).vocab_size
    dataset = open_dataset(options.data_dir, options.max_seq_length, vocab_size)
    print(f"length {options.max_seq_length}, {options.masking} masking")
    for batch_size in (64, 512):
        rates = measure(dataset, vocab_size, options.masking, batch_size, options.seconds)
        print(
            f"batch size {batch_size:4}: {rates.per_second:,.0f} examples/s, "
            f"{rates.per_cpu_second:,.0f} per CPU second"
        )


if __name__ == "__main__":
    main()
