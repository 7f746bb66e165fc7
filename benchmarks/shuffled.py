"""Counts the bytes that a run passes through shuffles, and between stages in all.

    python -m benchmarks.shuffled CORPUS VOCAB

Runs all stages as on a cluster, in one process, and counts what Beam's runner groups by key
(reshuffles are among it), and what else it keeps between stages: results that go to several
transforms, side inputs. There is no text in it.
"""

import argparse
import contextlib
import tempfile
import zipfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest import mock

from apache_beam.runners.portability.fn_api_runner import execution

from pipeline.options import RunOptions
from pipeline.run import run

_KINDS = execution.GroupingBuffer, execution.ListBuffer


@contextlib.contextmanager
def counting() -> Generator[Counter[type]]:
    """Gives the bytes that go into buffers between stages, by the kind of buffer."""
    sizes: Counter[type] = Counter()

    def counted(append: Any) -> Any:
        def append_counted(buffer: Any, data: bytes) -> None:
            sizes[type(buffer)] += len(data)
            append(buffer, data)

        return append_counted

    with contextlib.ExitStack() as patches:
        for kind in _KINDS:
            patches.enter_context(mock.patch.object(kind, "append", counted(kind.append)))
        yield sizes


def input_bytes(corpus: Path) -> int:
    """Returns the size of all files of a corpus, of zips when they are unpacked."""
    return sum(_unpacked_size(path) for path in corpus.rglob("*") if path.is_file())


def _unpacked_size(path: Path) -> int:
    if path.suffix != ".zip":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def main() -> None:
    """Runs, counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("vocab", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, counting() as sizes:
        options = RunOptions(
            input_dir=str(arguments.corpus),
            output_dir=f"{folder}/out",
            vocab=str(arguments.vocab),
            runner="FnApiRunner",
            quiet=True,
        )
        run(options)
    size = input_bytes(arguments.corpus)
    grouped, kept = (sizes[kind] for kind in _KINDS)
    print(f"input: {size:,} bytes")
    print(f"shuffled: {grouped:,} bytes, {grouped / size:.2%}")
    print(f"kept between stages besides: {kept:,} bytes, {kept / size:.2%}")


if __name__ == "__main__":
    main()
