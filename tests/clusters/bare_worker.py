"""Proves that `--setup_file=./setup.py` brings workers all that they need.

    python -m tests.clusters.bare_worker

A worker starts as in a container (see boot.py): in an empty folder, with a Python that has nothing
but what was staged. All stages run on it, through Beam's own job service; every output must be that
of a local run.
"""

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.clusters.fetched import bare_python, wheels
from tests.clusters.runs import BUILD, ROOT, check_equal, main_of, run_pipeline, say
from tests.clusters.services import free_port, running

_FOLDER = BUILD / "packaging"


def test_packaging() -> None:
    """Runs the pipeline locally and on a worker of that kind."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    local, portable = _FOLDER / "local", _FOLDER / "portable"
    say(f"local run: {run_pipeline(local):.0f} s")
    with ExitStack() as services:
        flags = start_services(services)
        seconds = run_pipeline(portable, *flags, "--setup_file=./setup.py")
        say(f"run on a bare worker: {seconds:.0f} s")
    say(check_equal(local, portable))
    say(f"workers: {_check_workers()}, each of what was staged")


def start_services(services: ExitStack) -> list[str]:
    """Starts a job service and a pool of bare workers; returns the flags that name them."""
    job_port, pool_port = free_port(), free_port()
    jobs = "apache_beam.runners.portability.local_job_service_main", f"-p{job_port}"
    pool = "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"
    boot = f"--container_executable={ROOT / 'tests' / 'clusters' / 'boot.py'}"
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BOOT_PYTHON": str(bare_python()),
        "BOOT_FOLDER": str(_FOLDER),
        "PIP_FIND_LINKS": str(wheels()),
        "PIP_NO_INDEX": "1",
    }
    start = sys.executable, "-m"
    services.enter_context(running("job service", [*start, *jobs], _FOLDER / "jobs", job_port))
    services.enter_context(
        running("worker pool", [*start, *pool, boot], _FOLDER / "pool", pool_port, environment)
    )
    return [
        *("--runner=PortableRunner", f"--job_endpoint=localhost:{job_port}"),
        *("--environment_type=EXTERNAL", f"--environment_config=localhost:{pool_port}"),
    ]


def _check_workers() -> int:
    """Checks that workers had our package and no TensorFlow, and deletes them; returns how many."""
    workers = sorted(_FOLDER.glob("worker-*"))
    for worker in workers:
        assert (worker / "packages" / "pipeline" / "run.py").is_file(), worker
        assert not (worker / "packages" / "tensorflow").exists(), worker
        assert not any((worker / "empty").iterdir()), worker
    assert workers
    for worker in workers:
        shutil.rmtree(worker)
    return len(workers)


if __name__ == "__main__":
    sys.exit(main_of(test_packaging))
