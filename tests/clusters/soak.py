"""Kills a task manager in the middle of a run on Flink; its bytes must be those of a local run.

    python -m tests.clusters.soak CORPUS VOCAB --copies=18

The corpus is made as many times as large first, without new duplicates (see benchmarks/corpus.py).
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.corpus import multiply_corpus
from tests.clusters.flink_cluster import FlinkCluster
from tests.clusters.runs import (
    BUILD,
    ROOT,
    check_equal,
    main_of,
    pipeline_command,
    run_pipeline,
    say,
)
from tests.clusters.services import FailedError

_FOLDER = BUILD / "soak"


def soak() -> None:
    """Makes the corpus, runs locally and on Flink, kills, compares."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("vocab", type=Path)
    parser.add_argument("--copies", type=int, default=18)
    arguments = parser.parse_args()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    corpus, local, clustered = (_FOLDER / name for name in ("corpus", "local", "cluster"))
    size = multiply_corpus(str(arguments.corpus), str(corpus), arguments.copies, zipped=False)
    say(f"corpus: {size / 1e9:.2f} GB")
    vocab = f"--vocab={arguments.vocab.resolve()}"
    seconds = run_pipeline(local, "--num_workers=2", vocab, corpus=corpus, seconds=6 * 3600)
    units = len(list((local / "documents").glob("part-*")))
    say(f"local run: {seconds:.0f} s, {units} units of documents")
    with FlinkCluster(_FOLDER / "flink", task_managers=2) as cluster:
        command = pipeline_command(clustered, *cluster.flags, vocab, corpus=corpus)
        _run_and_kill(command, clustered / "work" / "done" / "clean", units // 2, cluster)
    say(check_equal(local, clustered))


def _run_and_kill(command: list[str], notes: Path, wanted: int, cluster: FlinkCluster) -> None:
    """Kills a task manager when so many units are cleaned, and starts another one."""
    started = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL) as run:
        try:
            while len(list(notes.glob("*.json"))) < wanted:
                if run.poll() is not None:
                    raise FailedError("the run ended before a task manager could be killed")
                time.sleep(0.5)
            cluster.kill_task_manager()
            say(f"a task manager was killed after {time.monotonic() - started:.0f} s")
            cluster.start_task_manager()
            if run.wait() != 0:
                raise FailedError(f"the run ended with {run.returncode}")
        finally:
            run.terminate()
    say(f"run on Flink: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main_of(soak))
