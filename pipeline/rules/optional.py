"""Edits that a configuration asks for: masks of personal data, simplified characters."""

import importlib
import re
from functools import cache
from typing import Any, Final

import numpy as np

from pipeline.rules.classes import CHINESE, encode
from pipeline.rules.kinds import Edit, Span, Trigger, find_matches

PERSONAL_DATA, SCRIPT = "personal_data", "script"

# --- Personal data ---

EMAIL, MOBILE_NUMBER, IDENTITY_NUMBER = "〔邮箱〕", "〔手机号〕", "〔身份证号〕"
"""The brackets are rare and in the vocabulary: each mask is one clear unit, found again by it."""

_PERSONAL_DATA: Final = re.compile(
    r"(?P<email>(?!(?:git|root|ubuntu)@)[A-Za-z0-9](?<![A-Za-z0-9._%+/*-].)[A-Za-z0-9._%+-]{0,63}"
    r"@(?![0-9]x\.)(?:[A-Za-z0-9-]{1,63}\.){1,8}"
    r"(?:[a-z]{2,24}(?![a-z])|[A-Z]{2,24}(?![A-Za-z])))(?![0-9@])"
    r"|[1-9](?<![0-9A-Za-z_/=.-].)"
    r"(?:(?<=1)(?P<mobile>[3-9][0-9]{9})"
    r"|[0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx])"
    r"(?![0-9A-Za-z_/])"
)
"""Not in addresses of the web, of machines and repositories; `@2x.png` names a picture, too."""

_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS: Final = "10X98765432"
"""GB 11643-1999: ISO 7064 MOD 11-2 over the first 17 digits."""


def _mask(match: re.Match[str]) -> str:
    if match["email"]:
        return EMAIL
    if match["mobile"]:
        return MOBILE_NUMBER
    return IDENTITY_NUMBER if _is_identity_number(match[0]) else match[0]


def _is_identity_number(number: str) -> bool:
    products = [int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False)]
    return _CHECK_DIGITS[sum(products) % 11] == number[-1].upper()


PERSONAL_DATA_EDIT: Final = Edit(
    PERSONAL_DATA, Trigger("@0-9", "0-9A-Za-z-"), find_matches(_PERSONAL_DATA, _mask)
)

# --- Script ---


@cache
def simplifying_edit() -> Edit:
    """Returns the edit that converts traditional to simplified characters.

    Raises:
      ValueError: OpenCC is not installed.
    """
    try:
        opencc: Any = importlib.import_module("opencc")
    except ImportError as error:
        raise ValueError(
            'script="simplified" needs OpenCC; install it: pip install opencc'
        ) from error
    convert = opencc.OpenCC("t2s").convert
    return Edit(SCRIPT, Trigger(CHINESE), lambda text: _find_differences(text, convert(text)))


def _find_differences(text: str, converted: str) -> list[Span]:
    """Returns the characters that a conversion changed; whole lines if it changed their length."""
    if text == converted:
        return []
    if len(text) != len(converted):
        return _find_different_lines(text, converted)
    before, after = (encode([each])[0][1:-1] for each in (text, converted))
    return [Span(at, at + 1, converted[at]) for at in np.flatnonzero(before != after).tolist()]


def _find_different_lines(text: str, converted: str) -> list[Span]:
    spans: list[Span] = []
    position = 0
    for line, new in zip(text.split("\n"), converted.split("\n"), strict=True):
        if len(line) == len(new):
            spans += [
                Span(position + start, position + end, character)
                for start, end, character in _find_differences(line, new)
            ]
        else:
            spans.append(Span(position, position + len(line), new))
        position += len(line) + 1
    return spans
