"""Text -> words. The only importer of rjieba and jieba."""

import logging
from collections.abc import Callable
from functools import lru_cache

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

        return rjieba.cut
    if name == "jieba":
        import jieba  # pyright: ignore[reportMissingTypeStubs]

        jieba.setLogLevel(logging.WARNING)
        jieba.initialize()
        return jieba.lcut  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    raise ValueError(f"segmenter must be rjieba or jieba, got {name!r}")
