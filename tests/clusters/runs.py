"""Runs of the pipeline, local and on clusters, whose outputs are compared byte by byte."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.kills import digest
from tests.clusters.services import FailedError, end_on_signals

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "clusters"
CORPUS = ROOT / "tests" / "data" / "nlp_chinese_corpus"

_SECONDS = 900


def run_pipeline(
    output: Path, *flags: str, corpus: Path = CORPUS, seconds: float = _SECONDS
) -> float:
    """Runs all stages from the project's folder; returns how many seconds that took."""
    command = pipeline_command(output, *flags, corpus=corpus)
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, timeout=seconds, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise FailedError(
            f"{' '.join(command)}\nended with {done.returncode}\n{done.stderr[-6000:]}"
        )
    return time.monotonic() - started


def pipeline_command(output: Path, *flags: str, corpus: Path = CORPUS) -> list[str]:
    """Returns the command of a run."""
    paths = f"--input_dir={corpus}", f"--output_dir={output}"
    return [sys.executable, "-m", "pipeline", *paths, "--quiet", *flags]


def check_equal(expected: Path, found: Path) -> str:
    """Returns a digest of two equal outputs and says how many files they have.

    Raises:
      FailedError: they differ; names the files.
    """
    wanted, made = digest(expected), digest(found)
    different = sorted(name for name in wanted | made if wanted.get(name) != made.get(name))
    kinds = ("documents/", "tfrecords/", "vocab.txt", "ledger.json")
    missing = [kind for kind in kinds if not any(name.startswith(kind) for name in wanted)]
    if different or missing:
        raise FailedError(f"{found} differs from {expected}: {different or missing}")
    total = hashlib.sha256(repr(sorted(made.items())).encode()).hexdigest()
    return f"{len(made)} files equal, sha256 {total[:16]}"


def say(line: str) -> None:
    """Tells how far a test is."""
    print(line, flush=True)


def main_of(test: Callable[[], None]) -> int:
    """Runs a test to its end and returns the exit code; what it started ends with it."""
    end_on_signals()
    try:
        test()
    except FailedError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
