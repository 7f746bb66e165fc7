"""One tqdm bar a stage of a local run: bytes done and in all, MB/s, time left."""

import sys
from typing import Any

from tqdm import tqdm

_bar: "tqdm[Any] | None" = None
_quiet = False


def start(quiet: bool) -> None:
    """Begins a run, with or without bars."""
    global _quiet
    stop()
    _quiet = quiet


def advance(stage: str, done_bytes: int, total_bytes: int) -> None:
    """Moves the bar of a stage; its first step closes the bar of the stage before."""
    global _bar
    if _bar is None or _bar.desc != stage:
        stop()
        _bar = tqdm(
            total=total_bytes,
            desc=stage,
            unit="B",
            unit_scale=True,
            disable=_quiet,
            mininterval=0.5,
        )
        _bar.desc = stage
    _bar.update(done_bytes)


def announce(step: str) -> None:
    """Names a step that has no bar."""
    if not _quiet:
        stop()
        tqdm.write(step, file=sys.stderr)


def stop() -> None:
    """Closes the bar, if there is one."""
    global _bar
    if _bar is not None:
        _bar.close()
        _bar = None
