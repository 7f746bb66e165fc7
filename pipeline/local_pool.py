"""Worker processes of a local run: Beam's bundle feeds them, results come back as they are ready.

One pool serves all stages of a run, so that workers start once and keep their dictionaries.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

from pipeline.errors import PipelineError, RunError

_WAITING_PER_WORKER: Final = 2

_pool: ProcessPoolExecutor | None = None
_first_error: PipelineError | None = None


def start(num_workers: int) -> None:
    """Makes the pool of this process; one worker means that units run in place."""
    global _pool, _first_error
    stop()
    _first_error = None
    if num_workers > 1:
        # Spawned, not forked: Beam runs threads, which a fork would not survive.
        context = multiprocessing.get_context("spawn")
        _pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_follow_launcher)


def _follow_launcher() -> None:
    """Leaves Ctrl-C to the launcher, which ends its workers, and ends when it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_launcher, daemon=True).start()


def _end_with_launcher() -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os._exit(1)


def stop() -> None:
    """Ends the workers as soon as the units that they are at are done."""
    global _pool
    if _pool is not None:
        _pool.shutdown(wait=True, cancel_futures=True)
        _pool = None


def first_error() -> PipelineError | None:
    """Returns the first error of a unit that a user can mend; Beam itself only keeps its text."""
    return _first_error


class BoundedRun:
    """Runs one stage's units in the pool, a bounded number of them at a time."""

    def __init__(self, run_unit: Callable[..., Any], *arguments: Any) -> None:
        """Runs `run_unit(unit, *arguments)`; a function that workers can import by its name."""
        self._run_unit = run_unit
        self._arguments = arguments
        self._running: dict[Future[Any], Any] = {}

    def submit(self, unit: Any) -> Iterator[tuple[Any, Any]]:
        """Starts a unit; yields (unit, result) of those that are ready, in any order."""
        if _pool is None:
            yield unit, _noting_errors(lambda: self._run_unit(unit, *self._arguments))
            return
        running = self._running
        running[_pool.submit(self._run_unit, unit, *self._arguments)] = unit
        workers = _pool._max_workers  # pyright: ignore[reportAttributeAccessIssue]
        while len(running) >= workers * _WAITING_PER_WORKER:
            yield from self._collect()

    def finish(self) -> Iterator[tuple[Any, Any]]:
        """Yields (unit, result) of all that are still running."""
        while self._running:
            yield from self._collect()

    def _collect(self) -> Iterator[tuple[Any, Any]]:
        ready, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in ready:
            unit = self._running.pop(future)
            yield unit, _noting_errors(future.result)


def _noting_errors(get_result: Callable[[], Any]) -> Any:
    global _first_error
    try:
        return get_result()
    except PipelineError as error:
        failure = error
    except OSError as error:
        failure = RunError(str(error))
    except BrokenProcessPool:
        failure = RunError(
            "a worker process ended abruptly (out of memory, or killed); start again, with a "
            "smaller --num_workers if memory was short"
        )
    _first_error = _first_error or failure
    # A copy: Beam adds to the message of what passes through it.
    raise type(failure)(*failure.args)
