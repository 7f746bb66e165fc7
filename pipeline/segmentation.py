"""Text -> words, as their lengths. The only importer of rjieba and jieba."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_LINE_FEED = bytes([1])

Segmenter = Callable[[str], list[str]]
"""Cuts a text into words; joined, they are the text again."""


@lru_cache
def load_segmenter(name: str) -> Segmenter:
    """Returns a segmenter, its dictionary loaded once per process.

    Args:
      name: "rjieba" (Rust, about twenty times faster) or "jieba" (Python). Both use jieba's
        dictionary and hidden Markov model; they differ in how they cut runs of Latin letters,
        digits and signs.

    Raises:
      ValueError: another name.
    """
    if name == "rjieba":
        import rjieba

        rjieba.cut("词")  # loads the dictionary
        return rjieba.cut
    if name == "jieba":
        import jieba  # pyright: ignore[reportMissingTypeStubs]

        jieba.setLogLevel(logging.WARNING)
        jieba.initialize()
        return jieba.lcut  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    raise ValueError(f"segmenter must be rjieba or jieba, got {name!r}")


def measure_words(texts: Sequence[str], segment: Segmenter) -> npt.NDArray[np.integer]:
    """Returns the length of every word of documents that are joined by line feeds, in characters.

    The line feed behind a document, the last one included, is a word of its own. Shape [W].
    """
    lengths: list[bytes] = []
    try:
        for text in texts:
            lengths += bytes(map(len, segment(text))), _LINE_FEED
    except ValueError:  # a word of more than 255 characters
        words = [[*segment(text), "\n"] for text in texts]
        return np.array([len(word) for of_text in words for word in of_text], np.int64)
    return np.frombuffer(b"".join(lengths), np.uint8)
