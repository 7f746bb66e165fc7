"""Counts the bytes that a run passes from one stage to the next: what a cluster would shuffle.

    python -m benchmarks.shuffled CORPUS VOCAB

Runs all stages as on a cluster, in one process, and counts what Beam's runner keeps between stages:
lists of units, duplicates, counts and blocks. Side inputs are among it.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest import mock

from apache_beam.runners.portability.fn_api_runner import execution

from pipeline.run import RunOptions, run


@contextlib.contextmanager
def counting() -> Generator[list[int]]:
    """Gives the sizes of all that goes into a buffer between two stages."""
    sizes: list[int] = []

    def counted(append: Any) -> Any:
        def append_counted(buffer: Any, data: bytes) -> None:
            sizes.append(len(data))
            append(buffer, data)

        return append_counted

    with contextlib.ExitStack() as patches:
        for kind in (execution.ListBuffer, execution.GroupingBuffer):
            patches.enter_context(mock.patch.object(kind, "append", counted(kind.append)))
        yield sizes


def main() -> None:
    """Runs, counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("vocab", type=Path)
    arguments = parser.parse_args()
    size = sum(path.stat().st_size for path in arguments.corpus.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder, counting() as sizes:
        options = RunOptions(
            input_dir=str(arguments.corpus),
            output_dir=f"{folder}/out",
            vocab=str(arguments.vocab),
            runner="FnApiRunner",
            quiet=True,
        )
        run(options)
    passed = sum(sizes)
    print(f"{passed:,} bytes between stages, {passed / size:.2%} of the {size:,} of the input")


if __name__ == "__main__":
    main()
