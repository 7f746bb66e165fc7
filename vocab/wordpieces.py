"""Counted words -> word pieces, by tensorflow-text's learner.

The learner is one pure Python file inside tensorflow-text. It is loaded by itself, so that neither
TensorFlow nor its start-up time and memory come along.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from vocab.special_tokens import CONTINUATION

_LEARNER_FILE: Final = "tools/wordpiece_vocab/wordpiece_tokenizer_learner_lib.py"
_MAX_INPUT_WORDS: Final = 30_000
_MAX_WORD_CHARS: Final = 20
"""The learner's time grows with the square of a word's length; longer runs are addresses, codes."""
_MAX_ALPHABET: Final = 500

INSTALL_HINT: Final = (
    "learning a vocabulary needs tensorflow-text; install it with\n"
    "    pip install 'chinese-t5s[vocab]'\n"
    "or give a finished vocabulary with --vocab=vocab.txt (build-vocab derive makes one from "
    "Google's Chinese BERT vocabulary)"
)


class LearnerMissingError(Exception):
    """tensorflow-text is not installed; the message says what to do."""


def check_learner() -> Path:
    """Returns where the learner is, without importing anything.

    Raises:
      LearnerMissingError: tensorflow-text is not installed.
    """
    spec = importlib.util.find_spec("tensorflow_text")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / _LEARNER_FILE
        if path.is_file():
            return path
    raise LearnerMissingError(INSTALL_HINT)


def learn_pieces(word_counts: Mapping[str, int], size: int) -> list[str]:
    """Learns about `size` word pieces.

    Args:
      word_counts: how often each word occurs; the 30,000 most frequent of at most 20 characters
        are looked at.
      size: pieces wanted; a small corpus gives fewer.

    Returns:
      At most `size` pieces, the alphabet first, then the others, the most frequent first.

    Raises:
      LearnerMissingError: tensorflow-text is not installed.

    Source: tensorflow-text, `wordpiece_tokenizer_learner_lib.learn`.
    """
    learner = _load_learner(check_learner())
    short = (item for item in word_counts.items() if len(item[0]) <= _MAX_WORD_CHARS)
    words = sorted(short, key=_most_frequent_first)[:_MAX_INPUT_WORDS]
    if not words:
        return []
    # A threshold so high that fewer than a quarter of the pieces are whole words is too high.
    highest_threshold = words[min(size // 4, len(words) - 1)][1]
    pieces: Iterable[str] = learner.learn(
        words,
        size,
        reserved_tokens=[],
        upper_thresh=highest_threshold,
        lower_thresh=min(2, highest_threshold),
        max_unique_chars=min(_MAX_ALPHABET, size // 4),
    )
    # Letters first, alone and continuing: without them a word cannot be built at all.
    letters_first = sorted(pieces, key=lambda piece: len(piece.removeprefix(CONTINUATION)) > 1)
    return letters_first[:size]


def _most_frequent_first(item: tuple[str, int]) -> tuple[int, str]:
    token, count = item
    return -count, token


def _load_learner(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("wordpiece_tokenizer_learner_lib", path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
