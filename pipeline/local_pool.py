"""Worker processes of a local run: Beam's bundle feeds them, results come back as they are ready.

One pool serves all stages of a run, so that workers start once and keep their dictionaries.
"""

import copy
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

from pipeline.errors import PipelineError, RunError, explain_os_error
from pipeline.process import tune_process
from pipeline.resume import Done, Stage, run_or_recall

_WAITING_PER_WORKER: Final = 2

_pool: ProcessPoolExecutor | None = None
_ahead: dict[tuple[str, str], Future[Done]] = {}
_followers: list[threading.Thread] = []
_first_error: PipelineError | None = None


def start(num_workers: int, segmenter: str) -> None:
    """Makes the pool of this process; one worker means that units run in place."""
    global _pool, _first_error
    stop()
    _first_error = None
    if num_workers > 1:
        # Spawned, not forked: Beam runs threads, which a fork would not survive.
        context = multiprocessing.get_context("spawn")
        _pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
        for _ in range(num_workers):
            _pool.submit(_prepare, segmenter)  # while the launcher imports Beam


def _start_worker() -> None:
    """Leaves Ctrl-C to the launcher, which ends its workers, and ends when it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    tune_process()


def _prepare(segmenter: str) -> None:
    """Does what a worker would do at its first units: imports the stages, loads a dictionary."""
    for stage in ("clean", "duplicates", "finish", "count"):
        importlib.import_module(f"pipeline.stages.{stage}")
    importlib.import_module("pipeline.instances").load_segmenter(segmenter)


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
    _let_followers_start()
    _followers.clear()
    _ahead.clear()


def start_ahead(
    stage: Stage, units: Iterable[Any], follow: Callable[[list[Any]], None] | None = None
) -> None:
    """Starts units of a graph's first stages while Beam is imported, or puts the graph together.

    The graph gets their results, or errors, when it comes to them. With one worker, and so on a
    cluster, this is nothing.

    Args:
      stage: that of the units.
      units: all of the stage.
      follow: called with the results of all of them, to start the units of the next stage; not if
        one failed.
    """
    pool = _pool
    if pool is None:
        return
    started: list[Future[Done]] = []
    try:
        for unit in units:
            started.append(pool.submit(run_or_recall, unit, stage))
            _ahead[stage.name, stage.name_of(unit)] = started[-1]
    except RuntimeError:  # the pool was ended, or broke: the graph itself comes to that
        return
    if follow is not None:
        _followers.append(threading.Thread(target=_follow, args=(started, follow)))
        _followers[-1].start()


def _follow(started: Sequence[Future[Done]], follow: Callable[[list[Any]], None]) -> None:
    results: list[Any] = []
    for future in started:
        try:
            if future.exception() is not None:
                return
        except CancelledError:  # by `stop`
            return
        results.append(future.result().result)
    follow(results)


def _let_followers_start() -> None:
    for follower in [*_followers]:
        follower.join()


def first_error() -> PipelineError | None:
    """Returns the first error of a unit that a user can mend; Beam itself only keeps its text."""
    return _first_error


class BoundedRun:
    """Runs one stage's units in the pool, a bounded number of them at a time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: dict[Future[Done], Any] = {}

    def submit(self, unit: Any) -> Iterator[tuple[Any, Done]]:
        """Starts a unit; yields (unit, done) of those that are ready, in any order."""
        if _pool is None:
            yield unit, noting_errors(lambda: run_or_recall(unit, self._stage))
            return
        pool, running, stage = _pool, self._running, self._stage
        name = stage.name, stage.name_of(unit)
        if name not in _ahead:
            _let_followers_start()
        future = _ahead.pop(name, None)
        if future is None:
            future = noting_errors(lambda: pool.submit(run_or_recall, unit, stage))
        running[future] = unit
        workers = pool._max_workers  # pyright: ignore[reportAttributeAccessIssue]
        while len(running) >= workers * _WAITING_PER_WORKER:
            yield from self._collect()

    def finish(self) -> Iterator[tuple[Any, Done]]:
        """Yields (unit, done) of all that are still running."""
        while self._running:
            yield from self._collect()

    def _collect(self) -> Iterator[tuple[Any, Done]]:
        ready, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in ready:
            unit = self._running.pop(future)
            yield unit, noting_errors(future.result)


def noting_errors(get_result: Callable[[], Any]) -> Any:
    """Calls a function inside a graph; keeps the first error that a user can mend."""
    global _first_error
    try:
        return get_result()
    except PipelineError as error:
        failure = error
    except OSError as error:
        failure = RunError(explain_os_error(error))
    except BrokenProcessPool:
        failure = RunError(
            "a worker process ended abruptly (out of memory, or killed); give the same command "
            "again, without --overwrite, and with fewer --num_workers if memory was short: what is "
            "done is kept"
        )
    _first_error = _first_error or failure
    # A copy: Beam adds to the message of what passes through it.
    raise copy.copy(failure)
