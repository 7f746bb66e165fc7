"""Counted words -> word pieces, by tensorflow-text's learner.

The learner is one pure Python file inside tensorflow-text. It is loaded by itself, so that neither
TensorFlow nor its start-up time and memory come along.
"""

import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from vocab.special_tokens import CONTINUATION
from vocab.words import MAX_WORD_CHARS, most_frequent

_LEARNER_FILE: Final = "tools/wordpiece_vocab/wordpiece_tokenizer_learner_lib.py"
_MAX_RARE_WORD_CHARS: Final = 10
"""The learner looks at all substrings: longer rare words would take half of its time."""
_MAX_ALPHABET: Final = 500
_ITERATIONS: Final = 3
"""Two give 0.5 % more tokens per word, four the same within 0.1 %."""
_WHOLE_WORDS_FRACTION: Final = 0.85
"""Frequent words among the pieces that are not letters; the rest is left to endings.

Of 16,000 to 96,000 words, at sizes of 1,000 to 5,474, the learner then makes 0.97 to 1.22 times
the pieces wanted.
"""

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

    The learner makes pieces of words and endings that reach a threshold. Left alone, it searches
    for the threshold that gives `size` pieces, one costly run after the other. Here it runs once,
    with a threshold read off the counts; of too many pieces the rarest are left out, and places
    left over go to the most frequent words that are not pieces yet.

    Args:
      word_counts: how often each word occurs; the 30,000 most frequent of at most 20 characters
        are looked at, ties broken by code point.
      size: pieces wanted; a small corpus gives fewer.

    Returns:
      At most `size` pieces: the alphabet, then what the learner made, the most frequent first,
      then the words that fill up, likewise.

    Raises:
      LearnerMissingError: tensorflow-text is not installed.

    Source: tensorflow-text, `wordpiece_tokenizer_learner_lib.learn`.
    """
    learner = _load_learner(check_learner())
    words = _most_frequent_words(word_counts)
    if not words:
        return []
    max_alphabet = min(_MAX_ALPHABET, size // 4)
    threshold = _choose_threshold(words, size, max_alphabet)
    pieces: list[str] = learner.learn(
        _count_without_long_rare_words(words, threshold),
        size,
        reserved_tokens=[],
        upper_thresh=threshold,
        lower_thresh=threshold,
        num_iterations=_ITERATIONS,
        max_unique_chars=max_alphabet,
    )
    # Letters first, alone and continuing: without them a word cannot be built at all.
    pieces.sort(key=lambda piece: len(piece.removeprefix(CONTINUATION)) > 1)
    return list(dict.fromkeys([*pieces, *(word for word, _ in words)]))[:size]


def _most_frequent_words(word_counts: Mapping[str, int]) -> list[tuple[str, int]]:
    short = {word: count for word, count in word_counts.items() if len(word) <= MAX_WORD_CHARS}
    return list(most_frequent(short).items())


def _choose_threshold(words: list[tuple[str, int]], size: int, max_alphabet: int) -> int:
    """Returns the lowest count, from 2 up, that no more words reach than shall become pieces.

    Words as frequent as the first always reach it.
    """
    letters = min(len(set("".join(word for word, _ in words))), max_alphabet)
    wanted = max(0, int((size - 2 * letters) * _WHOLE_WORDS_FRACTION))
    threshold = words[wanted][1] + 1 if wanted < len(words) else 2
    return min(threshold, words[0][1])


def _count_without_long_rare_words(words: list[tuple[str, int]], threshold: int) -> dict[str, int]:
    """Counts words; of long words below the threshold, only their letters."""
    counts: Counter[str] = Counter()
    for word, count in words:
        if count >= threshold or len(word) <= _MAX_RARE_WORD_CHARS:
            counts[word] += count
        else:
            for letter in word:
                counts[letter] += count
    return counts


def _load_learner(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("wordpiece_tokenizer_learner_lib", path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
