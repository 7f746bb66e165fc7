"""Classes of characters, as between the brackets of a regular expression, and tables of them."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

CHINESE: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Ideographs: the blocks of Unicode 16, and the zero."""

CHINESE_MARKS: Final = "，。、；：！？…—·“”‘’（）《》〈〉「」『』【】〔〕"
LINE_ENDS: Final = "\r\v\f\x85\u2028\u2029"
WIDE_SPACES: Final = "\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
INVISIBLE: Final = (
    "\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
"""Control, zero-width, bidirectional and tag characters (Unicode 16, chapter 23)."""

PRIVATE_USE: Final = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
REPLACEMENT: Final = "\ufffc\ufffd\ufdd0-\ufdef" + "".join(
    f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17)
)
"""The replacement characters, and the code points that are no characters."""

FULL_WIDTH: Final = "０-９Ａ-Ｚａ-ｚ"

CODE_POINTS: Final = 0x110000


@cache
def members(char_class: str) -> npt.NDArray[np.bool_]:
    """Returns which code points are in a class, shape [0x110000]."""
    found = np.zeros(CODE_POINTS, np.bool_)
    if char_class.startswith("^") or "\\" in char_class:
        for run in re.finditer(f"[{char_class}]+", _all_characters()):
            found[run.start() : run.end()] = True
    else:  # the same, some ten times faster
        for part in re.finditer("(?s)(.)-(.)|.", char_class):
            first, last = part.groups() if part[1] else (part[0], part[0])
            found[ord(first) : ord(last) + 1] = True
    return found


@cache
def _all_characters() -> str:
    codes = np.arange(CODE_POINTS, dtype="<u4")
    return codes.tobytes().decode("utf-32-le", errors="surrogatepass")


def encode(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Returns the code points of texts, one after the other, a line feed before and behind each.

    Returns:
      Code points, shape [C]; where the line feed before each text stands and, last, the one behind
      all, shape [D + 1].
    """
    joined = "\n".join(["", *texts, ""])
    codes = np.frombuffer(joined.encode("utf-32-le", errors="surrogatepass"), np.uint32)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) + 1 for text in texts], out=starts[1:])
    return codes, starts
