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
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    tokens: list[str] = []
    first_lines: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        token = _parse_line(line, f"{name}, line {number}")
        if token in first_lines:
            raise ValueError(
                f"{name}, line {number}: {token!r} stands in line {first_lines[token]} already; "
                "every token must stand once"
            )
        first_lines[token] = number
        tokens.append(token)
    _check_special_tokens(tokens, first_lines, name)
    if size is not None:
        _check_size(len(tokens), size, name)
    return tokens


def _parse_line(line: bytes, place: str) -> str:
    if line.endswith(b"\r"):
        raise ValueError(f"{place}: ends as on Windows (CR LF); save it with plain line feeds")
    try:
        token = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: is not UTF-8 ({error.reason})") from error
    # Google's Chinese BERT vocabulary has U+2028, alone and behind ##, though it is white space.
    visible = token.replace("\u2028", "-")
    if visible.split() != [visible]:
        raise ValueError(f"{place}: {token!r} is empty or has white space; one token a line")
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
