"""Pure: an account -> a picture of where its characters went."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from pipeline.report.accounts import Account
from pipeline.report.charts import drawing, text
from pipeline.report.markup import Html, element, join, number, number_and_share

_HEIGHT: Final = 230.0
"""Of the bar of all characters, in units of the drawing."""

_LEAST: Final = 1.5
"""Height at which a flow can just be seen."""

_COLUMNS: Final = (0, 300, 600)
_BAR_WIDTH: Final = 14
_LABEL_HEIGHT: Final = 38
_TOP: Final = 34
_LEAST_ROOM: Final = 50
"""For a bar that is labelled inside the flow that leaves it."""

_FLOW_WIDTH: Final = 850


class Flow(NamedTuple):
    """A bar of the flow chart.

    Attributes:
      name: what the characters are.
      chars: how many.
      kind: names its colour.
    """

    name: str
    chars: int
    kind: str


class _Bar(NamedTuple):
    flow: Flow
    top: float
    height: float


def flow_chart(account: Account) -> Html:
    """Draws where all characters of an account went, as a Sankey diagram."""
    total = account.came
    first = [Flow("read", account.read, "read"), Flow("added", account.added.total(), "added")]
    second = [
        Flow("kept", account.kept, "kept"),
        Flow("removed by rules", account.removed.total(), "removed"),
        Flow("rejected documents", account.rejected.total(), "rejected"),
        Flow("duplicates", account.duplicates.total(), "duplicates"),
    ]
    third = [
        Flow("in instances", max(account.in_instances.values(), default=0), "instances"),
        Flow("white space", account.white_space, "blank"),
        Flow("dropped by the tokenizer", account.dropped, "dropped"),
    ]
    columns = [_stack(first, total, _TOP), _stack(second, total, _TOP, _LABEL_HEIGHT, _LEAST_ROOM)]
    ribbons = _ribbons(_TOP, columns[1], 0)
    if account.in_instances:
        columns.append(_stack(third, total, 16, _LABEL_HEIGHT))
        ribbons = join(ribbons, _ribbons(columns[1][0].top, columns[2], 1))
    bars = join(*(_draw_bar(bar, place) for place, column in enumerate(columns) for bar in column))
    labels = [*_label_sources(columns[0], total), *_label_column(columns[1][1:], 1, total)]
    if account.in_instances:
        labels += [_label_inside(columns[1][0], 1, total), *_label_column(columns[2], 2, total)]
    else:
        labels += _label_column(columns[1][:1], 1, total)
    lowest = max(bar.top + bar.height for column in columns for bar in column)
    bottom = max(lowest, 2 * _LEAST_ROOM) + _LABEL_HEIGHT
    return drawing(
        f"Flow of {number(total)} characters",
        *(_FLOW_WIDTH, bottom, "flow"),
        join(ribbons, bars, *labels),
    )


def _stack(
    flows: Sequence[Flow], total: int, top: float, gap: float = 0, first_room: float = 0
) -> list[_Bar]:
    """Places bars below each other; what is empty is left out, unless it is the first."""
    bars: list[_Bar] = []
    for flow in flows:
        if flow.chars or not bars:
            height = max(_LEAST, _HEIGHT * flow.chars / total) if total else _LEAST
            room = height if bars else max(height, first_room)
            bars.append(_Bar(flow, top, height))
            top += room + gap
    return bars


def _ribbons(top: float, targets: Sequence[_Bar], column: int) -> Html:
    tops = accumulate((bar.height for bar in targets), initial=top)
    left, right = _COLUMNS[column] + _BAR_WIDTH, _COLUMNS[column + 1]
    return join(
        *(_ribbon(left, start, right, bar) for start, bar in zip(tops, targets, strict=False))
    )


def _ribbon(left: float, start: float, right: float, bar: _Bar) -> Html:
    middle, end = (left + right) / 2, bar.top
    there = f"M{left:.1f} {start:.1f}C{middle:.1f} {start:.1f} {middle:.1f} {end:.1f} {right:.1f} "
    start, low = start + bar.height, end + bar.height
    back = f"{middle:.1f} {low:.1f} {middle:.1f} {start:.1f} {left:.1f} {start:.1f}Z"
    path = f"{there}{end:.1f}V{low:.1f}C{back}"
    return element("path", d=path, class_=f"ribbon of-{bar.flow.kind}")


def _draw_bar(bar: _Bar, column: int) -> Html:
    return element(
        "rect",
        x=_COLUMNS[column],
        y=bar.top,
        width=_BAR_WIDTH,
        height=bar.height,
        class_=f"of-{bar.flow.kind}",
    )


def _label_sources(bars: Sequence[_Bar], total: int) -> list[Html]:
    left, top = _COLUMNS[0] + _BAR_WIDTH + 10, bars[0].top + 68
    return [
        _label_inside(bars[0], 0, total),
        *(
            join(
                text(f"+ {bar.flow.name}", left, top, class_=f"strong of-{bar.flow.kind}"),
                text(number_and_share(bar.flow.chars, total), left, top + 18),
            )
            for bar in bars[1:]
        ),
    ]


def _label_inside(bar: _Bar, column: int, total: int) -> Html:
    left = _COLUMNS[column] + _BAR_WIDTH + 10
    return join(
        text(bar.flow.name, left, bar.top + 24, class_="strong"),
        text(number_and_share(bar.flow.chars, total), left, bar.top + 42),
    )


def _label_column(bars: Sequence[_Bar], column: int, total: int) -> list[Html]:
    """Labels bars to their right, at their height."""
    left = _COLUMNS[column] + _BAR_WIDTH + 8
    return [
        join(
            text(bar.flow.name, left, bar.top + bar.height / 2 - 2, class_="strong"),
            text(number_and_share(bar.flow.chars, total), left, bar.top + bar.height / 2 + 14),
        )
        for bar in bars
    ]
