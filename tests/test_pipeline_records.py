import re
from collections import Counter
from typing import NamedTuple

import pytest

from pipeline.manifest import Manifest
from pipeline.records import Block, Rejected, check_types


class Row(NamedTuple):
    words: list[str]
    share: float | None
    is_kept: bool


@pytest.mark.parametrize(
    "row",
    [
        Row([], None, True),
        Row(["a"], 0.5, False),
        Block(0, 1, 2, "plain", "train", 3, 4),
        Rejected("plain/train/a:0", "plain", "train", "", "clean", "too_short", ""),
        Manifest({}, 1, Counter(), [], []),
    ],
)
def test_check_types_returns_a_row_that_is_as_its_class_says(row):
    assert check_types(row) is row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row((), None, True), "words cannot be ()"),
        (Row([], "0.5", True), "share cannot be '0.5'"),
        (Row([], None, 1), "is_kept cannot be 1"),
        (Block(0, 1, 2.0, "plain", "train", 3, 4), "length cannot be 2.0"),
        (Manifest({}, 1, Counter(), {}, []), "blocks cannot be {}"),
    ],
)
def test_check_types_refuses_any_other(row, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        check_types(row)
