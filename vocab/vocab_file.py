"""vocab.txt: one token a line, its id the number of the line, counted from 0."""

import codecs
import hashlib
from collections.abc import Sequence
from typing import Final

from vocab.special_tokens import SPECIAL_TOKENS

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def format_vocab(tokens: Sequence[str]) -> bytes:
    """Returns the bytes of vocab.txt: UTF-8, a line feed behind every token."""
    return "".join(token + "\n" for token in tokens).encode()


def digest_vocab(tokens: Sequence[str]) -> str:
    """Returns the sha256 of the bytes of vocab.txt, in hex."""
    return hashlib.sha256(format_vocab(tokens)).hexdigest()


def parse_vocab(data: bytes, name: str, size: int | None = None) -> list[str]:
    """Reads and checks a vocabulary file.

    Args:
      data: the bytes of the file.
      name: what error messages call the file.
      size: the number of entries it must have, if any number will not do.

    Returns:
      The tokens; their ids are their places.

    Raises:
      ValueError: the file is no vocabulary of this project; says which line, why and what to do.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            raise ValueError(
                f"{name}, line 1: begins with a byte-order mark ({encoding}); "
                "save it as plain UTF-8"
            )
    first_lines: dict[str, int] = {}
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=1):
        token = _parse_line(line, name, number)
        first = first_lines.setdefault(token, number)
        if first != number:
            raise ValueError(
                f"{name}, line {number}: {token!r} stands in line {first} already; "
                "every token must stand once"
            )
    tokens = list(first_lines)
    _check_special_tokens(tokens, first_lines, name)
    if size is not None:
        _check_size(len(tokens), size, name)
    return tokens


def _parse_line(line: bytes, name: str, number: int) -> str:
    if line.endswith(b"\r"):
        raise ValueError(
            f"{name}, line {number}: ends as on Windows (CR LF); save it with plain line feeds"
        )
    try:
        token = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}, line {number}: is not UTF-8 ({error.reason})") from error
    # Google's Chinese BERT vocabulary has U+2028, alone and behind ##, though it is white space.
    visible = token.replace("\u2028", "-")
    if visible.split() != [visible]:
        raise ValueError(
            f"{name}, line {number}: {token!r} is empty or has white space; one token a line"
        )
    return token


def _check_size(found: int, size: int, name: str) -> None:
    if found != size:
        what = "is missing" if found < size else "is too much"
        raise ValueError(
            f"{name}, line {min(found, size) + 1}: {what}; "
            f"the file has {found} entries, {size} are needed"
        )


def _check_special_tokens(tokens: Sequence[str], first_lines: dict[str, int], name: str) -> None:
    for number, special in enumerate(SPECIAL_TOKENS, start=1):
        if tokens[number - 1 : number] != [special]:
            found = first_lines.get(special)
            where = f"stands in line {found}" if found else "is missing"
            raise ValueError(
                f"{name}, line {number}: must be {special}, which {where}; the first "
                f"{len(SPECIAL_TOKENS)} lines are those of Chinese BERT"
            )
