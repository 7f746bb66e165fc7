"""Builds HTML in which text cannot become markup, and writes numbers for people."""

import html
from typing import Final

from pipeline.report.marks import INVISIBLE, symbol_of


class Html(str):
    """Markup. Any other string is text, and is escaped where it enters markup."""

    __slots__ = ()


EMPTY: Final = Html()


def escape(content: str) -> Html:
    """Returns text as markup, with symbols for what cannot be seen; markup as it is."""
    if isinstance(content, Html):
        return content
    return Html(html.escape(INVISIBLE.sub(symbol_of, content)))


def join(*contents: str) -> Html:
    """Returns contents one after the other."""
    return Html("".join(map(escape, contents)))


def element(name: str, *contents: str, **attributes: str | float) -> Html:
    """Returns an element of HTML or SVG.

    Args:
      name: of the element.
      contents: text and markup.
      attributes: by name; `class_` is class, other underscores are hyphens.
    """
    inside = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{inside}>{join(*contents)}</{name}>")


def table(
    head: tuple[str, ...], rows: list[tuple[str, ...]], texts: int = 1, total: bool = False
) -> Html:
    """Returns a table that scrolls in its own box.

    Args:
      head: one title a column.
      rows: one cell a column.
      texts: the first columns, which hold text; the others hold numbers.
      total: whether the last row is the sum of the others.
    """

    def cells(kind: str, row: tuple[str, ...]) -> Html:
        return join(
            *(
                element(kind, cell, class_="text" if place < texts else "number")
                for place, cell in enumerate(row)
            )
        )

    lines = [element("tr", cells("td", row)) for row in rows]
    if total:
        lines[-1] = element("tr", cells("td", rows[-1]), class_="total")
    return element(
        "div",
        element(
            "table", element("thead", element("tr", cells("th", head))), element("tbody", *lines)
        ),
        class_="scroll",
        tabindex="0",
    )


def number(value: int) -> str:
    """Returns a number with separators of thousands: 1,234."""
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """Returns a share in percent, "-" of nothing; tells little from none, and much from all."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.005:
        return "< 0.01 %"
    if 99.995 <= percent < 100:
        return "> 99.99 %"
    return f"{percent:.2f} %"


def number_and_share(part: int, whole: int) -> str:
    """Returns a number and its share: 1,234 (5.60 %)."""
    return f"{part:,} ({share(part, whole)})" if whole else number(part)


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
