"""A Flink cluster of processes on this machine, with a pool of Python workers, and its REST API."""

import json
import os
import shutil
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.clusters.fetched import flink_home, job_server, worker_python
from tests.clusters.services import FailedError, end, free_port, running

_SECONDS_TO_START: Final = 60

_MANAGER_OPTIONS: Final = {
    "jobmanager.memory.process.size": "1g",
    "taskmanager.memory.process.size": "1280m",
    "taskmanager.numberOfTaskSlots": "1",
    # What a lost task manager was at is done again; units that it had ended are recalled.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "10",
    "restart-strategy.fixed-delay.delay": "2 s",
    "heartbeat.interval": "1 s",
    "heartbeat.timeout": "10 s",
}


class FlinkCluster:
    """One job manager, task managers of one slot, one pool of workers; ends with its block.

    Workers have the light core of the package and nothing else, and start in an empty folder.

    Attributes:
      flags: what the pipeline needs to run on it.
    """

    def __init__(self, folder: Path, task_managers: int) -> None:
        self._folder = folder
        self._wanted = task_managers
        self._started = 0
        self._services = ExitStack()
        self._task_managers: list[Any] = []
        self._rest, self._rpc, self._pool = free_port(), free_port(), free_port()
        self.flags = [
            *("--runner=FlinkRunner", f"--flink_master=localhost:{self._rest}"),
            *(f"--flink_job_server_jar={job_server()}", f"--parallelism={task_managers}"),
            *("--environment_type=EXTERNAL", f"--environment_config=localhost:{self._pool}"),
        ]

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self._services = starting
            self._configure()
            starting.enter_context(self._running_pool())
            starting.enter_context(self._running_flink("jobmanager", "jobmanager", self._rest))
            for _ in range(self._wanted):
                self.start_task_manager()
            self._wait_for_task_managers()
            self._services = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._services.close()

    def start_task_manager(self) -> None:
        """Adds a task manager, which the cluster takes when it is ready."""
        self._started += 1
        name, port = f"taskmanager-{self._started}", free_port()
        service = self._running_flink(name, "taskmanager", port, f"-Dtaskmanager.rpc.port={port}")
        self._task_managers.append(self._services.enter_context(service))

    def kill_task_manager(self) -> None:
        """Kills the task manager that was started last, as a machine that fails would."""
        end(self._task_managers.pop(), first=9)

    def worker_starts(self) -> int:
        """Returns how often a Python worker was started so far."""
        log = self._folder / "pool.log"
        return log.read_text(errors="replace").count("Starting worker with command")

    def jobs(self) -> list[dict[str, Any]]:
        """Returns what the job manager knows of each job, in the order of their start."""
        known = [self._ask(f"/jobs/{job['id']}") for job in self._ask("/jobs")["jobs"]]
        return sorted(known, key=lambda job: job["start-time"])

    def sent_bytes(self) -> int:
        """Returns how many bytes tasks have sent each other in all jobs so far."""
        return sum(
            vertex["metrics"]["write-bytes"] for job in self.jobs() for vertex in job["vertices"]
        )

    def used_task_managers(self, job: dict[str, Any]) -> set[str]:
        """Returns the ids of the task managers that had a part in a job."""
        paths = [f"/jobs/{job['jid']}/vertices/{vertex['id']}" for vertex in job["vertices"]]
        return {
            subtask["taskmanager-id"] for path in paths for subtask in self._ask(path)["subtasks"]
        }

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://localhost:{self._rest}{path}", timeout=30) as answer:
            return json.load(answer)

    def _wait_for_task_managers(self) -> None:
        give_up = time.monotonic() + _SECONDS_TO_START
        while len(self._ask("/taskmanagers")["taskmanagers"]) < self._wanted:
            if time.monotonic() > give_up:
                raise FailedError(f"task managers do not register; see {self._folder}")
            time.sleep(0.2)

    def _running_pool(self) -> Any:
        python = worker_python()
        command = "apache_beam.runners.worker.worker_pool_main", f"--service_port={self._pool}"
        # The pool starts workers as `python`.
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, "PYTHONPATH": ""}
        folder = self._folder / "pool"
        return running(
            "worker pool", [str(python), "-m", *command], folder, self._pool, environment
        )

    def _configure(self) -> None:
        """Writes Flink's configuration: as it ships, with our options in place of their own."""
        shutil.copytree(flink_home() / "conf", self._folder / "conf")
        options = _MANAGER_OPTIONS | {
            "rest.port": self._rest,
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": self._rpc,
            "io.tmp.dirs": str(self._folder),
        }
        config = self._folder / "conf" / "config.yaml"
        java = [line for line in config.read_text().splitlines() if "--add-opens" in line]
        lines = [f"env.java.opts.{java[0].strip()}", *(f"{k}: {v}" for k, v in options.items())]
        config.write_text("\n".join(lines) + "\n")

    def _running_flink(self, name: str, kind: str, port: int, *more: str) -> Any:
        folder = self._folder / name
        # Without this folder Flink's scripts end and say nothing.
        (flink_home() / "log").mkdir(exist_ok=True)
        command = ["bash", str(flink_home() / "bin" / f"{kind}.sh"), "start-foreground", *more]
        environment = {
            "FLINK_CONF_DIR": str(self._folder / "conf"),
            "FLINK_LOG_DIR": str(folder),
            "FLINK_PID_DIR": str(folder),
        }
        return running(name, command, folder, port, environment)
