"""Runs Beam graphs, here or on a cluster; reads Beam's flags.

With beam_graph.py the only file that imports Beam for more than cloud storage.
"""

import contextlib
import io
import logging
import re
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    TypeOptions,
    _BeamArgumentParser,  # pyright: ignore[reportPrivateUsage]
)
from apache_beam.runners.runner import PipelineState
from apache_beam.runners.worker import statesampler
from apache_beam.transforms import userstate

from pipeline import local_pool
from pipeline.clusters import LOCAL
from pipeline.errors import PipelineError, RunError, UsageError

_LONGEST_JOB_SECONDS: Final = 90 * 24 * 3600
_DOFNS_OF_A_GRAPH: Final = 100
_USUAL_SAMPLING_PERIOD_MS, _SAMPLING_PERIOD_MS = 200, 10


def run_graph(build: Callable[[beam.Pipeline], None], runner: str, beam_flags: list[str]) -> None:
    """Builds and runs one graph, and waits for its end.

    Args:
      build: adds the transforms.
      runner: `LOCAL`, or a runner's name as Beam knows it.
      beam_flags: flags for Beam, checked before.

    Raises:
      PipelineError: what a unit of a local run found wrong.
      RunError: the runner ended in another state than done.
    """
    # FnApiRunner by name: Beam's default runner would first try to download another one.
    name = "FnApiRunner" if runner == LOCAL else runner
    options = _make_options(beam_flags)
    if runner == LOCAL:
        _hasten_beam()
        # Beam infers types to choose coders for a cluster; here that only takes time, .2 s a run.
        options.view_as(TypeOptions).pipeline_type_check = False
    pipeline = beam.Pipeline(runner=name, options=options)
    build(pipeline)
    # They would log every error of a unit several times over; what is raised says it once.
    noisy = ("apache_beam",) if runner == LOCAL else ("apache_beam", "root")
    try:
        with _silenced(noisy):
            state = _run_to_end(pipeline)
    except (RuntimeError, PipelineError) as error:
        # Beam adds to the message of what passes through it, or keeps nothing but its text.
        known = local_pool.first_error() or find_error(str(error))
        if known is not None:
            raise known from error
        if str(error).startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt from error
        if runner != LOCAL and "Traceback" not in str(error):
            raise RunError(
                f"the {name} job failed: {error}; give the same command again, without "
                "--overwrite: what is done is kept"
            ) from error
        raise
    if str(state) != PipelineState.DONE:
        raise RunError(f"the {name} job ended as {state}; its own log says why")


def _hasten_beam() -> None:
    """Spares what Beam waits for, or finds out again and again."""
    # The end of every bundle waits for the sampler of states, which sleeps up to 200 ms.
    if statesampler.StateSampler.__init__.__defaults__ == (_USUAL_SAMPLING_PERIOD_MS,):
        statesampler.StateSampler.__init__.__defaults__ = (_SAMPLING_PERIOD_MS,)
    # All methods of a DoFn are looked through for state and timers, some ten times: .2 s a run.
    if not hasattr(userstate.get_dofn_specs, "cache_info"):
        userstate.get_dofn_specs = lru_cache(_DOFNS_OF_A_GRAPH)(userstate.get_dofn_specs)


@contextlib.contextmanager
def _silenced(names: Sequence[str]) -> Generator[None]:
    """Lets loggers say only what is critical."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _make_options(beam_flags: Sequence[str]) -> PipelineOptions:
    options = PipelineOptions(list(beam_flags))
    if "job_server_timeout" not in options.get_all_options(drop_default=True):
        # Beam's own limit of 300 s holds for the stream of a job's states, too: longer jobs fail.
        options.view_as(PortableOptions).job_server_timeout = _LONGEST_JOB_SECONDS
    return options


def _run_to_end(pipeline: beam.Pipeline) -> Any:
    """Runs a graph; a job that is interrupted is ended on its cluster, too."""
    result = pipeline.run()
    # A runner may have put a handler of its own here, which ends the way to the cluster first.
    handler = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return result.wait_until_finish()
    except KeyboardInterrupt:
        result.cancel()
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)


_ERROR_IN_LOG: Final = re.compile(
    r"pipeline\.errors\.(?:UsageError|RunError|BrokenFileError): (.+?)(?: \[while running|$)", re.M
)


def find_error(log: str) -> RunError | None:
    """Returns the first error in a worker's log that a user can mend."""
    found = _ERROR_IN_LOG.search(log)
    return RunError(found[1]) if found else None


def read_beam_flags(beam_flags: Sequence[str]) -> dict[str, Any]:
    """Returns the values of flags that were given, by name.

    Raises:
      UsageError: a value is none that Beam understands.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return PipelineOptions(list(beam_flags)).get_all_options(drop_default=True)
    except SystemExit as error:
        # Behind the names of all of Beam's flags.
        raise UsageError(said.getvalue().strip().rpartition("error: ")[2]) from error


def known_beam_flags() -> dict[str, bool]:
    """Returns all flags that Beam's options understand, and whether a value follows them."""
    flags: dict[str, bool] = {}
    for options in PipelineOptions.__subclasses__():
        parser = _BeamArgumentParser(add_help=False)
        options._add_argparse_args(parser)  # pyright: ignore[reportPrivateUsage]
        for action in parser._actions:
            flags |= dict.fromkeys(action.option_strings, action.nargs != 0)
    return flags
