"""Runs a command and measures time and memory of all its processes together. Linux only.

    python -m benchmarks.memory -- command ...

Memory is PSS: what a process shares with others counts for each in part, so that the sum over
processes is what they really take. Reading it costs some 10 ms a gigabyte, too much for every
sample. So RSS, which costs little, is sampled about every 50 ms; PSS is read whenever RSS rises
above all it has been, and otherwise as often as a hundredth of a core allows.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

PAUSE_SECONDS: Final = 0.05
PAUSE_PER_COST: Final = 100  # so much time must pass for the time that sampling takes
RSS_RISE: Final = 1.05  # so far must RSS rise above its highest for PSS to be read at once

_GONE: Final = (FileNotFoundError, ProcessLookupError)  # a process may end at any time


class Usage(NamedTuple):
    """What a command used.

    Attributes:
      wall_seconds: from start to end.
      cpu_seconds: user and system time of all its processes; those that nobody waited for are
        not in it.
      peak_bytes: the highest PSS seen, summed over all its processes; a peak of less than a second
        may be a twentieth higher.
      exit_code: as the shell has it, but -N for a process that signal N ended.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    exit_code: int


def measure(command: Sequence[str]) -> Usage:
    """Runs a command to its end.

    Args:
      command: a program, looked for on the PATH, and its arguments.

    Raises:
      RuntimeError: this is not Linux.
      FileNotFoundError: there is no such program.
    """
    if sys.platform != "linux":
        raise RuntimeError("benchmarks.memory reads /proc and runs on Linux only")
    start = time.monotonic()
    root = os.posix_spawnp(command[0], list(command), os.environ)
    ended = os.pidfd_open(root)
    try:
        peak_bytes = _watch(root, ended)
    except BaseException:
        os.kill(root, signal.SIGTERM)
        os.waitpid(root, 0)
        raise
    finally:
        os.close(ended)
    wall_seconds = time.monotonic() - start
    _, status, usage = os.wait4(root, 0)
    return Usage(
        wall_seconds,
        usage.ru_utime + usage.ru_stime,
        peak_bytes,
        os.waitstatus_to_exitcode(status),
    )


def _watch(root: int, ended: int) -> int:
    """Samples a process and all below it until it has ended; returns the highest PSS."""
    began = time.monotonic()
    peak = highest_rss = 0
    pause = pss_cost = 0.0
    while not select.select([ended], [], [], pause)[0]:
        start = time.process_time()
        processes = list(_tree(root))
        rss = sum(map(_rss_bytes, processes))
        sampled = time.process_time()
        pause = max(PAUSE_SECONDS, PAUSE_PER_COST * (sampled - start))
        is_due = PAUSE_PER_COST * pss_cost <= time.monotonic() - began
        if is_due or rss > RSS_RISE * highest_rss:
            highest_rss = max(highest_rss, rss)
            peak = max(peak, sum(map(_pss_bytes, processes)))
            pss_cost += time.process_time() - sampled
    return peak


def _tree(process: int) -> Iterator[int]:
    """Yields a process and all below it; each thread lists the processes it started."""
    yield process
    try:
        threads = os.listdir(f"/proc/{process}/task")
    except _GONE:
        return
    for thread in threads:
        for child in _read(f"/proc/{process}/task/{thread}/children").split():
            yield from _tree(int(child))


def _rss_bytes(process: int) -> int:
    fields = _read(f"/proc/{process}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _pss_bytes(process: int) -> int:
    for line in _read(f"/proc/{process}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> bytes:
    """Returns what a file of /proc says; nothing if the process has ended."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except _GONE:
        return b""


def main(argv: Sequence[str]) -> int:
    """Measures the command behind `--`; returns its exit code."""
    if not argv or argv[0] != "--" or not argv[1:]:
        print("usage: python -m benchmarks.memory -- command ...", file=sys.stderr)
        return 2
    usage = measure(argv[1:])
    print(
        f"wall {usage.wall_seconds:.2f} s  CPU {usage.cpu_seconds:.2f} s  "
        f"peak memory {usage.peak_bytes / 1e6:,.0f} MB  exit code {usage.exit_code}",
        file=sys.stderr,
    )
    return usage.exit_code if usage.exit_code >= 0 else 128 - usage.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
