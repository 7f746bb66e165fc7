"""Strategies of damaged files: what was whole, with some bytes or some JSON values changed."""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

PATCHES = (
    b"\0" * 8,
    b"\xff" * 8,
    b"\xff\xff\xff\x7f",
    b"\n",
    b'"',
    b"{}",
    b"[",
    b"0",
    b"-1",
    b"9e9",
)


class Edit(NamedTuple):
    """A change of bytes.

    Attributes:
      kind: which one.
      place: where, a fraction of the whole.
      patch: what is put there; its length is that of what goes, too.
    """

    kind: str
    place: float
    patch: bytes

    def apply(self, data: bytes) -> bytes:
        """Returns the changed bytes."""
        at = int(self.place * len(data))
        behind = at + len(self.patch)
        if self.kind == "overwrite":
            return data[:at] + self.patch + data[behind:]
        if self.kind == "flip":
            bit = 1 << self.patch[0] % 8
            return data[:at] + bytes(byte ^ bit for byte in data[at : at + 1]) + data[at + 1 :]
        if self.kind == "insert":
            return data[:at] + self.patch + data[at:]
        if self.kind == "remove":
            return data[:at] + data[behind:]
        return data[:at]


def edits(*kinds: str) -> st.SearchStrategy[list[Edit]]:
    """Returns some changes of these kinds."""
    patches = st.binary(min_size=1, max_size=8) | st.sampled_from(PATCHES)
    edit = st.builds(Edit, st.sampled_from(kinds), st.floats(0, 1, exclude_max=True), patches)
    return st.lists(edit, min_size=1, max_size=3)


def damaged(wholes: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Returns damaged files, whole ones and bytes of no meaning."""
    kinds = "overwrite", "overwrite", "flip", "flip", "insert", "remove", "cut off"
    whole = st.sampled_from(wholes)
    return st.builds(_apply_all, whole, edits(*kinds)) | whole | st.binary(max_size=200)


def _apply_all(data: bytes, changes: Sequence[Edit]) -> bytes:
    for change in changes:
        data = change.apply(data)
    return data


_names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.integers() | st.floats() | _names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=5,
)

TOO_DEEP = b"[" * 5_000


@st.composite
def warped_json(draw: Callable[..., Any], whole: Any) -> bytes:
    """Returns JSON in which some values are others, or are missing."""
    warped = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        warped = _warp(warped, draw)
    return json.dumps(warped).encode()


def _warp(value: Any, draw: Callable[..., Any]) -> Any:
    places = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    if not places or draw(st.integers(0, 5)) == 0:
        return draw(json_values)
    place = draw(st.sampled_from(places))
    if draw(st.integers(0, 5)) == 0:
        del value[place]
    else:
        value[place] = _warp(value[place], draw)
    return value


def damaged_json(data: bytes) -> st.SearchStrategy[bytes]:
    """Returns a JSON file, changed as JSON or as bytes."""
    warped = warped_json(json.loads(data))
    return warped | warped | damaged([data]) | st.sampled_from([TOO_DEEP, b"[1" * 9, b"9" * 5_000])


def refuses_clearly(
    errors: type[Exception] | tuple[type[Exception], ...], place: str, read: Callable[[], Any]
) -> Any:
    """Returns what is read, None where it is refused: by these errors, in a line that names it."""
    try:
        return read()
    except errors as error:
        message = str(error)
        assert place in message and "\n" not in message, message
        return None
