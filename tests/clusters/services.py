"""Programs that run while something is tested, each with all that it starts, and their end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

_SECONDS_TO_START = 90
_SECONDS_TO_END = 15


class FailedError(Exception):
    """Says in one message what went wrong."""


def end_on_signals() -> None:
    """Lets SIGTERM and SIGHUP end this program as Ctrl-C does, with all that it has started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def free_port() -> int:
    """Returns a port of the loopback interface that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    folder: Path,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Runs a program until the block ends.

    Args:
      name: of its log, `<folder>/<name>.log`.
      command: the program; what it starts in its process group ends with it.
      folder: its current directory; made, and expected to be empty.
      port: the block begins when it listens there.
      environment: added to this program's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(port, process, name, log)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], first: signal.Signals = signal.SIGTERM) -> None:
    """Ends a program and all of its process group; returns when they are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_END)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    give_up = time.monotonic() + _SECONDS_TO_START
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > give_up:
            told = log.read_text(errors="replace")[-2000:]
            raise FailedError(f"{name} does not listen at port {port}; {log} ends with\n{told}")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False
