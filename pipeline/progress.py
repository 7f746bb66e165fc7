"""One tqdm bar a stage of a local run: units and bytes done, MB/s, time left.

On a terminal the bar moves; in a log it is a line now and then.
"""

import sys
from typing import Any, Final

from tqdm import tqdm

_LOG_SECONDS: Final = 15

_quiet = False
_expected: dict[str, tuple[int, int]] = {}
_bar: "_StageBar | None" = None


class _StageBar:
    """The bar of one stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._units, total_bytes = _expected.get(stage, (0, 0))
        self._done = self._recalled = 0
        is_terminal = sys.stderr.isatty()
        self._tqdm: tqdm[Any] = tqdm(
            total=total_bytes or None,
            desc=stage,
            unit="B",
            unit_scale=True,
            disable=_quiet,
            mininterval=0.2 if is_terminal else _LOG_SECONDS,
            file=sys.stderr if is_terminal else _Lines(),
        )

    def advance(self, done_bytes: int, recalled: bool) -> None:
        """Counts one unit."""
        self._done += 1
        self._recalled += recalled
        self._tqdm.set_postfix_str(f"{self._done}/{self._units or '?'} units", refresh=False)
        self._tqdm.update(done_bytes)

    def close(self) -> None:
        """Ends the bar; says how many units an earlier run had done."""
        self._tqdm.close()
        if self._recalled:
            announce(f"{self.stage}: {self._recalled} of {self._done} units were done before")


class _Lines:
    """Takes what tqdm draws over and over as lines of a log."""

    def write(self, drawn: str) -> None:
        """Writes what is not blank as one line."""
        line = drawn.strip()
        if line:
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Writes through."""
        sys.stderr.flush()


def start(quiet: bool) -> None:
    """Begins a run, with or without bars."""
    global _quiet
    stop()
    _quiet = quiet
    _expected.clear()


def expect(stage: str, units: int, total_bytes: int) -> None:
    """Tells how much a stage will have to do."""
    _expected[stage] = units, total_bytes


def advance(stage: str, done_bytes: int, recalled: bool) -> None:
    """Counts a unit of a stage; its first one closes the bar of the stage before."""
    global _bar
    if _bar is None or _bar.stage != stage:
        stop()
        _bar = _StageBar(stage)
    _bar.advance(done_bytes, recalled)


def announce(step: str) -> None:
    """Says something beside the bars."""
    if not _quiet:
        tqdm.write(step, file=sys.stderr)


def warn(change: str) -> None:
    """Says what must be said even to who wants no progress."""
    tqdm.write(change, file=sys.stderr)


def stop() -> None:
    """Closes the bar, if there is one."""
    global _bar
    if _bar is not None:
        _bar.close()
        _bar = None
