"""Proves that Flink gives the bytes of a local run, and measures it.

    python -m tests.clusters.flink
    python -m tests.clusters.flink --corpus=DIR --vocab=FILE

Runs all stages locally, on a Flink within the launcher ([local]) and on a cluster of two task
managers with workers of their own clean environment, and compares every output. With a larger
corpus the figures mean something: bytes sent between tasks, and seconds.
"""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.shuffled import input_bytes
from tests.clusters.fetched import job_server
from tests.clusters.flink_cluster import FlinkCluster
from tests.clusters.runs import BUILD, CORPUS, check_equal, main_of, run_pipeline, say
from tests.clusters.services import FailedError

_FOLDER = BUILD / "flink"
_MAX_SENT_SHARE = 0.05
_MIN_MEASURED_BYTES = 10_000_000


def test_flink() -> None:
    """Runs the pipeline in all three ways."""
    corpus, vocab_flags = _read_arguments()
    jar = job_server()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    local, in_process, clustered = (_FOLDER / name for name in ("local", "process", "cluster"))
    say(f"local run: {run_pipeline(local, '--num_workers=2', *vocab_flags, corpus=corpus):.1f} s")
    flink = "--runner=FlinkRunner", "--flink_master=[local]", f"--flink_job_server_jar={jar}"
    say(f"Flink [local]: {run_pipeline(in_process, *flink, *vocab_flags, corpus=corpus):.1f} s")
    say(check_equal(local, in_process))
    with FlinkCluster(_FOLDER / "flink", task_managers=2) as cluster:
        flags = *cluster.flags, *vocab_flags
        seconds = run_pipeline(clustered, *flags, corpus=corpus)
        sent = cluster.sent_bytes()
        say(f"Flink, 2 task managers: {seconds:.1f} s, {cluster.worker_starts()} workers started")
        say(check_equal(local, clustered))
        _check_spread(cluster)
        _check_sent(sent, corpus)
        jobs = len(cluster.jobs())
        run_pipeline(clustered, *flags, corpus=corpus)
        if len(cluster.jobs()) != jobs:
            raise FailedError("a second run of the same command started jobs again")
        small = run_pipeline(_FOLDER / "small", *flags)
        say(f"the same on the bundled corpus, which is start-up: {small:.1f} s")
    say(check_equal(local, clustered))


def _read_arguments() -> tuple[Path, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--vocab", type=Path)
    arguments = parser.parse_args()
    return arguments.corpus.resolve(), (
        [f"--vocab={arguments.vocab.resolve()}"] if arguments.vocab else []
    )


def _check_spread(cluster: FlinkCluster) -> None:
    for job in cluster.jobs():
        used = len(cluster.used_task_managers(job))
        if used != 2:
            raise FailedError(f"job {job['jid']} used {used} of 2 task managers")


def _check_sent(sent: int, corpus: Path) -> None:
    """Raw text never crosses a shuffle: what does must be small beside the input."""
    size = input_bytes(corpus)
    say(f"tasks sent each other {sent:,} bytes, {sent / size:.1%} of the {size:,} of the input")
    if size > _MIN_MEASURED_BYTES and sent > _MAX_SENT_SHARE * size:
        raise FailedError(f"that is more than {_MAX_SENT_SHARE:.0%}")


if __name__ == "__main__":
    sys.exit(main_of(test_flink))
