"""train.csv of one or more runs -> curves of loss and accuracy, stage by stage."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.files import write_file
from trainer.train_log import TRAIN, LogLine

METRICS: Final = {
    "mlm_loss": "masked-LM loss (nats)",
    "mlm_acc": "masked-LM accuracy",
}
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Distinct to the colour-blind, too (Okabe and Ito 2008)."""
_GREY: Final = "#555555"
_MARKERS: Final = "osD^vP*X"
_WINDOWS: Final = 40
"""A smoothed line averages over this part of the lines."""
_HELD_OUT: Final = "held out, {}"
_LEGEND_CHAR_INCHES: Final = 0.075
_LEGEND_MARK_INCHES: Final = 0.55
"""What an entry takes: each character, of 9 points, and what stands before and behind it."""

_WITHOUT_DATE: Final[dict[str, dict[str, None]]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""Kinds of pictures, and what keeps out of them when they were made."""

FloatArray = npt.NDArray[np.float64]
Runs = Mapping[str, Sequence[LogLine]]


def plot_runs(
    runs: Runs, paths: Sequence[str], baselines: Mapping[str, float] | None = None
) -> None:
    """Draws loss and accuracy over steps, as `draw_runs` does, into files.

    Args:
      runs: lines of train.csv, by the name of the run.
      paths: files to write; their endings say how: .png, .svg or .pdf. Local or gs://.
      baselines: losses to draw as dashed lines, by name.

    Raises:
      ValueError: a run has no line, or a file's ending is of no kind of picture.
    """
    import matplotlib as mpl

    for path in paths:
        if _ending(path) not in _WITHOUT_DATE:
            raise ValueError(f"{path}: must end in {', '.join(_WITHOUT_DATE)}")
    # A fixed salt keeps the ids in an SVG, and so its bytes, the same.
    with mpl.rc_context({"svg.hashsalt": "t5s", "svg.fonttype": "none", "font.size": 9}):
        figure = draw_runs(runs, baselines or {})
        for path in paths:
            picture = io.BytesIO()
            ending = _ending(path)
            figure.savefig(picture, format=ending[1:], dpi=200, metadata=_WITHOUT_DATE[ending])
            write_file(path, picture.getvalue())


def draw_runs(runs: Runs, baselines: Mapping[str, float]) -> Any:
    """Draws loss and accuracy over steps: a column a stage, a row a metric.

    Faint points are the lines of the log, the line through them a running mean, open markers
    held-out data by corpus.

    Args:
      runs: lines of train.csv, by the name of the run.
      baselines: losses to draw as dashed lines, by name.

    Returns:
      A matplotlib figure.

    Raises:
      ValueError: a run has no line.
    """
    from matplotlib.figure import Figure

    for name, lines in runs.items():
        if not lines:
            raise ValueError(f"{name}: has no line yet")
    stages = sorted({(line.stage, line.max_seq_length) for of in runs.values() for line in of})
    figure = Figure(figsize=(1.2 + 4.2 * len(stages), 5.6), layout="constrained")
    panels: Any = figure.subplots(len(METRICS), len(stages), squeeze=False, sharex="col")
    for column, stage in enumerate(stages):
        for row, metric in enumerate(METRICS):
            _draw_panel(panels[row, column], runs, stage, metric)
        panels[0, column].set_title(f"Stage {stage[0]}, sequences of {stage[1]} tokens")
        panels[-1, column].set_xlabel("optimizer steps")
        for name, loss in baselines.items():
            panels[0, column].axhline(loss, color=_GREY, ls="--", lw=1, label=name)
    for row, label in enumerate(METRICS.values()):
        panels[row, 0].set_ylabel(label)
    figure.align_ylabels()
    _add_legend(figure, runs)
    return figure


def smooth(values: FloatArray, window: int) -> FloatArray:
    """Returns the running mean over `window` values around each, fewer at both ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    begins = np.maximum(places - (window - 1) // 2, 0)
    ends = np.minimum(places + window // 2 + 1, len(values))
    return (sums[ends] - sums[begins]) / (ends - begins)


def _draw_panel(panel: Any, runs: Runs, stage: tuple[int, int], metric: str) -> None:
    from matplotlib.ticker import PercentFormatter

    only_run = len(runs) == 1
    for number, (name, lines) in enumerate(runs.items()):
        colour = _colour(number)
        steps, values = _points(lines, stage, TRAIN, metric)
        label = "training" if only_run else name
        panel.plot(steps, values, ".", color=colour, alpha=0.25, ms=3, mew=0)
        window = max(1, len(values) // _WINDOWS)
        panel.plot(steps, smooth(values, window), color=colour, lw=1.6, label=label)
        for place, corpus in enumerate(_corpora_of(runs)):
            panel.plot(
                *_points(lines, stage, corpus, metric),
                **_held_out_style(place),
                color=_colour(place + 1) if only_run else colour,
                label=_HELD_OUT.format(corpus) if only_run else "",
            )
    panel.grid(color="#dddddd", lw=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_formatter("{x:,.0f}")
    if metric == "mlm_acc":
        panel.yaxis.set_major_formatter(PercentFormatter(1))


def _add_legend(figure: Any, runs: Runs) -> None:
    """Puts one legend below all panels; with several runs, markers are grey: colours are runs."""
    from matplotlib.lines import Line2D

    handles: dict[str, Any] = {}
    for panel in figure.axes:
        drawn, labels = panel.get_legend_handles_labels()
        handles.update(zip(labels, drawn, strict=True))
    if len(runs) > 1:
        for place, corpus in enumerate(_corpora_of(runs)):
            style = _held_out_style(place)
            handles[_HELD_OUT.format(corpus)] = Line2D([], [], color=_GREY, **style)
    inches = _LEGEND_MARK_INCHES + _LEGEND_CHAR_INCHES * max(map(len, handles))
    figure.legend(
        *(handles.values(), handles.keys()),
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() / inches)),
        frameon=False,
    )


def _corpora_of(runs: Runs) -> list[str]:
    return sorted({line.data for lines in runs.values() for line in lines} - {TRAIN})


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _held_out_style(place: int) -> dict[str, Any]:
    marker = _MARKERS[place % len(_MARKERS)]
    return {"marker": marker, "mfc": "white", "ms": 4.5, "ls": ":", "lw": 0.8}


def _points(
    lines: Sequence[LogLine], stage: tuple[int, int], data: str, metric: str
) -> tuple[FloatArray, FloatArray]:
    pairs = [
        (line.step, getattr(line, metric))
        for line in lines
        if (line.stage, line.max_seq_length) == stage and line.data == data
    ]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()
