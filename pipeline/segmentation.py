"""Texts -> the lengths of their words, by jieba's dictionary and hidden Markov model; compiled."""

import logging
import math
import pickle
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from vocab.basic_tokens import CodeArray, encode_codes
from vocab.compiled import load_compiled

_FIRST_CODES: Final = 0x10000
_FIRST_HAN, _LAST_HAN = 0x4E00, 0x9FD5
_STATES: Final = "BEMS"
_IMPOSSIBLE: Final = -3.14e100
"""Logarithm of a probability that the model does not list (jieba 0.42.1, finalseg, MIN_FLOAT)."""

_DECIMALS: Final = 6
"""Of the logarithms for characters in jieba-rs' copy of the model; decides on `常在此`."""

_WORDS, _SUM_OF_FREQUENCIES = 349_046, 60_101_967
"""Of the dictionary of jieba 0.42.1; with another one texts would be cut otherwise."""

Lengths = npt.NDArray[np.int32]
Segmenter = Callable[[Sequence[str]], Lengths]
"""Texts -> the length of every word of all, in characters, shape [W].

Behind each text, the last one included, stands a line feed, a word of its own.
"""


def version_of(name: str) -> str:
    """Returns the version of the package whose words those of a segmenter are."""
    return "0.2.2" if name == "rjieba" else version(name)


@lru_cache
def load_segmenter(name: str) -> Segmenter:
    """Returns a segmenter, its dictionary loaded once per process.

    Args:
      name: "rjieba" cuts as rjieba 0.2.2 does, in a third of its time, "jieba" as that does, in
        Python. Both use jieba's dictionary and hidden Markov model; they differ in how they cut
        runs of Latin letters, digits and signs.

    Raises:
      ValueError: another name; or jieba's dictionary is another one.
    """
    if name == "rjieba":
        return _CompiledSegmenter().measure_words
    if name == "jieba":
        cut = load_jieba()
        return lambda texts: np.array(
            [len(word) for text in texts for word in [*cut(text), "\n"]], np.int32
        )
    raise ValueError(f"segmenter must be rjieba or jieba, got {name!r}")


def load_jieba() -> Callable[[str], list[str]]:
    """Returns jieba's own function that cuts a text into words, its dictionary loaded."""
    import jieba  # pyright: ignore[reportMissingTypeStubs]

    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba.lcut  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class _CompiledSegmenter:
    """Cuts Chinese into the words of a dictionary that are most probable together.

    What these leave as single characters is cut by a hidden Markov model whose states say where in
    a word a character stands; letters and digits stay together.

    Source: jieba 0.42.1 (dictionary, model, method); jieba-rs 0.11 (Latin, ties).
    """

    def __init__(self) -> None:
        folder = _folder_of_jieba()
        self._build_tree(encode_codes((folder / "dict.txt").read_text(encoding="utf-8")))
        model = {
            name: pickle.loads((folder / "finalseg" / f"prob_{name}.p").read_bytes())
            for name in ("start", "trans", "emit")
        }
        self._initial = _as_array(model["start"], _STATES)
        self._transitions = np.stack([_as_array(model["trans"][s], _STATES) for s in _STATES])
        han = [chr(code) for code in range(_FIRST_HAN, _LAST_HAN + 1)]
        emissions = np.stack([_as_array(model["emit"][state], han) for state in _STATES], axis=1)
        listed = emissions > _IMPOSSIBLE
        emissions[listed] = [round(chance, _DECIMALS) for chance in emissions[listed].tolist()]
        self._emissions = emissions

    def _build_tree(self, dictionary: CodeArray) -> None:
        count = len(dictionary)
        begins, lengths, frequencies = (np.empty(count // 4 + 1, np.int64) for _ in range(3))
        words = _library.parse_dictionary(dictionary, count, begins, lengths, frequencies)
        frequencies = frequencies[: max(0, words)]
        if (words, frequencies.sum()) != (_WORDS, _SUM_OF_FREQUENCIES):
            raise ValueError("dict.txt of jieba is not that of version 0.42.1; install that one")
        different, weights = np.unique(frequencies, return_inverse=True)
        log_total = math.log(frequencies.sum())
        self._weights = np.array([math.log(number) for number in different.tolist()]) - log_total
        self._unknown = 0.0 - log_total
        slots = 1 << int(lengths[:words].sum()).bit_length()
        self._first = np.zeros(_FIRST_CODES, np.uint64)
        self._slots = np.zeros(2 * slots, np.uint64)
        self._mask = slots - 1
        _library.build_tree(
            *(dictionary, begins, lengths, weights.astype(np.uint16), words),
            *(self._first, self._slots, self._mask),
        )

    def measure_words(self, texts: Sequence[str]) -> Lengths:
        """Returns the lengths of words; see Segmenter."""
        codes = encode_codes("\n".join([*texts, ""]))
        ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64) - 1
        lengths = np.empty(len(codes), np.int32)
        words = _library.cut_texts(
            *(codes, ends, len(texts), self._first, self._slots, self._mask),
            *(self._weights, self._unknown, self._initial, self._transitions, self._emissions),
            lengths,
        )
        if words < 0:
            raise MemoryError("no memory to cut a text into words")
        return lengths[:words]


def _folder_of_jieba() -> Path:
    """Finds jieba's files; it is not imported, which takes long and says something."""
    spec = find_spec("jieba")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jieba is not installed: pip install jieba")
    return Path(spec.origin).parent


def _as_array(chances: dict[str, float], names: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([chances.get(name, _IMPOSSIBLE) for name in names])


_library: Final = load_compiled(
    __file__,
    parse_dictionary="uint32* int64 int64* int64* int64* -> int64",
    build_tree="uint32* int64* int64* uint16* int64 uint64* uint64* uint64",
    cut_texts="uint32* int64* int64 uint64* uint64* uint64 float64* float64"
    " float64* float64* float64* int32* -> int64",
)
