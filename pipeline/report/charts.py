"""Pure: figures -> drawings in SVG, whose colours are those of the page."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from pipeline.report.markup import EMPTY, Html, element, join, number_and_share, share

# --- Bars ---

_CHART: Final = (340, 200)
_PLOT: Final = (46.0, 12.0, 334.0, 150.0)
"""Left, top, right and bottom of the bars."""


def bar_chart(
    title: str,
    values: Sequence[int],
    labels: Sequence[str],
    axis: str,
    *,
    logarithmic: bool = False,
    marked: int | None = None,
) -> Html:
    """Draws a histogram.

    Args:
      title: what is counted, in which set.
      values: one count a bar.
      labels: one a bar, below the axis and in its tooltip; as many are shown as fit.
      axis: what the labels are, with their unit.
      logarithmic: whether the height is the logarithm of the count; the title says so.
      marked: the bar that is expected to be the highest.
    """
    left, top, right, bottom = _PLOT
    highest = max(values, default=0)
    ticks = _logarithmic_ticks(highest) if logarithmic else _ticks(highest)
    step = (right - left) / max(1, len(values))

    def height(value: int) -> float:
        if not value:
            return 0
        if logarithmic:
            reached = (math.log10(value) + 0.3) / (math.log10(ticks[-1]) + 0.3)
        else:
            reached = value / ticks[-1]
        return max(1.0, reached * (bottom - top))

    total = sum(values)
    bars = [
        element(
            "rect",
            element("title", f"{label}: {number_and_share(value, total)}"),
            x=left + place * step + 0.1 * step,
            y=bottom - height(value),
            width=0.8 * step,
            height=height(value),
            class_="bar marked" if place == marked else "bar",
        )
        for place, (value, label) in enumerate(zip(values, labels, strict=True))
        if value
    ]
    lines = [_tick(bottom - height(tick), tick) for tick in ticks]
    every = max(1, math.ceil(len(labels) / 11))
    below = [
        text(label, left + (place + 0.5) * step, bottom + 15, class_="tick", text_anchor="middle")
        for place, label in enumerate(labels)
        if place % every == 0
    ]
    name = text(axis, (left + right) / 2, bottom + 36, class_="axis", text_anchor="middle")
    picture = drawing(title, *_CHART, "bars", join(*lines, *bars, *below, name))
    note = " (logarithmic scale)" if logarithmic else ""
    return element("figure", element("figcaption", f"{title}{note}"), picture)


def _tick(height: float, value: int) -> Html:
    left, _, right, _ = _PLOT
    line = element("line", x1=left, x2=right, y1=height, y2=height, class_="grid")
    return join(line, text(_short(value), left - 6, height + 4, class_="tick", text_anchor="end"))


def _ticks(highest: int) -> list[int]:
    """Returns round numbers from 0 to the first that is not below the highest."""
    decade = 10 ** (len(str(max(1, highest))) - 1)
    steps = (decade // 5, decade // 2, decade, 2 * decade)
    step = next(step for step in steps if step and highest <= 5 * step)
    return list(range(0, max(1, math.ceil(highest / step)) * step + 1, step))


def _logarithmic_ticks(highest: int) -> list[int]:
    decades = max(1, math.ceil(math.log10(max(1, highest))))
    return [10**power for power in range(decades + 1)]


def _short(value: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return str(value)


# --- Shares ---

_SHARES_WIDTH: Final = 340.0
_SHARES_HEIGHT: Final = 22


def share_bar(title: str, parts: Sequence[tuple[str, int, float]]) -> Html:
    """Draws one bar that is divided into parts, with ticks where they should meet.

    Args:
      title: what is divided.
      parts: name, count, and the share that is expected, as a fraction of 1.
    """
    total = sum(count for _, count, _ in parts)
    edges = [0.0, *accumulate(_SHARES_WIDTH * count / max(1, total) for _, count, _ in parts)]
    stretches = [
        element(
            "rect",
            element("title", f"{name}: {number_and_share(count, total)}"),
            x=start,
            y=4,
            width=end - start,
            height=_SHARES_HEIGHT,
            class_=f"part-{place}",
        )
        for place, ((name, count, _), (start, end)) in enumerate(
            zip(parts, pairwise(edges), strict=True)
        )
    ]
    wanted = list(accumulate(expected for _, _, expected in parts))[:-1]
    ticks = [
        element(
            "line", x1=at * _SHARES_WIDTH, x2=at * _SHARES_WIDTH, y1=0, y2=30, class_="expected"
        )
        for at in wanted
    ]
    legend = element(
        "ul",
        *(
            element(
                "li",
                element("span", EMPTY, class_=f"swatch part-{place}"),
                f"{name} {share(count, total)}, expected {100 * expected:g} %",
            )
            for place, (name, count, expected) in enumerate(parts)
        ),
        class_="legend",
    )
    picture = drawing(title, _SHARES_WIDTH, 30, "shares", join(*stretches, *ticks))
    return element("figure", element("figcaption", title), picture, legend)


# --- Drawings ---


def text(content: str, x: float, y: float, **attributes: str) -> Html:
    """Returns text that stands at a place."""
    return element("text", content, x=x, y=y, **attributes)


def drawing(title: str, width: float, height: float, kind: str, content: Html) -> Html:
    """Returns a picture that is as wide as its place allows."""
    return element(
        "svg",
        content,
        viewBox=f"0 0 {width:.6g} {height:.6g}",
        role="img",
        aria_label=title,
        class_=kind,
    )
