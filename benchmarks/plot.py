"""Draws benchmarks/results.json: a whole run beside its peers, and the steps it consists of.

python -m benchmarks.plot benchmarks/results.json benchmarks/results.png
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.steps import DOCUMENT_STEPS, INSTANCE_STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES: Final = 9, 7.6
_DOTS_PER_INCH: Final = 150
_PEER_COLOR: Final = "#bdbdbd"
_REST: Final = "start, Beam, report"
_COLORS: Final = {"documents": "#4c78a8", "instances": "#e1812c", "rest of the run": "#7f7f7f"}

_Bars = Mapping[str, Mapping[str, float]]
"""Name of a bar -> its parts by kind, in milliseconds; a kind without color is a peer."""


def draw(results: dict[str, Any], path: str) -> None:
    """Draws the content of results.json to a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    seconds = results["cpu_seconds_per_mb"]
    steps = _list_steps(seconds)
    figure, (above, below) = pyplot.subplots(
        *(2, 1), figsize=_SIZE_INCHES, height_ratios=(3.4, 18), layout="constrained"
    )
    figure.suptitle(
        "CPU milliseconds per MB of text: Chinese text to TFRecords of 128 and 512 tokens",
        fontsize=12,
    )
    _draw_bars(above, _list_peers(seconds, steps))
    _draw_bars(below, steps)
    bare = 1000 * seconds["rjieba alone"]
    below.axvline(bare, color="#333333", linewidth=1, linestyle="--", label="rjieba alone")
    below.set_xlim(right=max(below.get_xlim()[1], 1.05 * bare))
    above.legend(*below.get_legend_handles_labels(), loc="lower right", ncols=2, fontsize=10)
    figure.supxlabel(_describe(results), fontsize=9, color="#555555")
    figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Software": None})
    pyplot.close(figure)


def _list_steps(seconds: dict[str, Any]) -> dict[str, dict[str, float]]:
    documents, instances, rest = _COLORS
    bars = {step: {documents: 1000 * seconds["steps"][step]} for step in DOCUMENT_STEPS}
    bars |= {step: {instances: 1000 * seconds["steps"][step]} for step in INSTANCE_STEPS}
    # On a corpus of no size, noise may make it negative.
    return bars | {_REST: {rest: max(0.0, 1000 * seconds["rest"])}}


def _list_peers(seconds: dict[str, Any], steps: _Bars) -> dict[str, dict[str, float]]:
    recipes = seconds["usual recipe"].items()
    whole = {kind: sum(bar.get(kind, 0) for bar in steps.values()) for kind in _COLORS}
    return {
        **{f"usual recipe ({segmenter})": {"": 1000 * value} for segmenter, value in recipes},
        "t5s, whole run": whole,
        "rjieba alone": {"": 1000 * seconds["rjieba alone"]},
    }


def _draw_bars(axes: "Axes", bars: _Bars) -> None:
    """Draws one bar below the other, with its whole length in numbers."""
    names = list(bars)
    ends = [0.0] * len(names)
    for kind in dict.fromkeys(kind for parts in bars.values() for kind in parts):
        lengths = [parts.get(kind, 0.0) for parts in bars.values()]
        color = _COLORS.get(kind, _PEER_COLOR)
        axes.barh(names, lengths, left=ends, color=color, label=kind)
        ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    for place, end in enumerate(ends):
        text = f"{end:,.0f}" if end >= 10 else f"{end:.1f}"
        axes.annotate(
            *(text, (end, place), (5, 0)),
            textcoords="offset points",
            va="center",
            fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_xlim(0, 1.1 * max(ends))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _describe(results: dict[str, Any]) -> str:
    machine, versions = results["machine"], results["versions"]
    return (
        f"{results['text']['kept_bytes'] / 1e6:,.0f} MB of text, one worker; {machine['cpu']}, "
        f"{machine['cores']} cores, Python {versions['python']}, {results['day']}"
    )


def main(argv: Sequence[str]) -> int:
    """Draws again what was measured before; returns the exit code."""
    if len(argv) != 2:
        print("usage: python -m benchmarks.plot RESULTS.json RESULTS.png", file=sys.stderr)
        return 2
    draw(json.loads(Path(argv[0]).read_text(encoding="utf-8")), argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
