"""One tqdm bar a stage of a local run: bytes done and in all, MB/s, time left."""

from tqdm import tqdm

_bars: dict[str, "tqdm[None]"] = {}
_quiet = False


def start(quiet: bool) -> None:
    """Forgets the bars of an earlier run."""
    global _quiet
    stop()
    _quiet = quiet


def advance(stage: str, done_bytes: int, total_bytes: int) -> None:
    """Moves the bar of a stage, which its first step opens."""
    bar = _bars.get(stage)
    if bar is None:
        bar = tqdm(
            total=total_bytes,
            desc=stage,
            unit="B",
            unit_scale=True,
            disable=_quiet,
            mininterval=0.5,
        )
        _bars[stage] = bar
    bar.update(done_bytes)
    if bar.total is not None and bar.n >= bar.total:
        bar.close()


def stop() -> None:
    """Closes all bars."""
    for bar in _bars.values():
        bar.close()
    _bars.clear()
