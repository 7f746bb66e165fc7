"""`vocab.Tokenizer` by itself, over documents: does its text come back, and what does it cost?"""

import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.steps import cut_bare
from pipeline.config import DocumentsConfig
from pipeline.segmentation import load_segmenter
from vocab.basic_tokens import Kind, kind_of
from vocab.special_tokens import UNK_ID
from vocab.tokenizer import Tokenizer


class RoundTrip(NamedTuple):
    """What became of documents that were encoded and decoded.

    Attributes:
      compared: documents without [UNK].
      differing: of these, not given back.
      with_unknown: documents with [UNK], not compared.
    """

    compared: int = 0
    differing: int = 0
    with_unknown: int = 0

    def __add__(self, other: Any) -> "RoundTrip":
        return RoundTrip(*(left + right for left, right in zip(self, other, strict=True)))

    def __str__(self) -> str:
        return (
            f"round trip: {self.differing:,} of {self.compared:,} documents differ; "
            f"{self.with_unknown:,} with [UNK] are not compared"
        )


class Cost(NamedTuple):
    """CPU seconds for the same documents, in blocks as a run has them.

    Attributes:
      bare: cutting them into words with rjieba alone.
      segment: finding the same words as a run does.
      cold: tokenizing the words with a new tokenizer, as in a run.
      warm: tokenizing them again.
    """

    bare: float
    segment: float
    cold: float
    warm: float

    def __str__(self) -> str:
        shares = "; ".join(
            f"{self.cold / seconds:.3f} of {name}, {self.warm / seconds:.3f} the second time"
            for name, seconds in (("rjieba alone", self.bare), ("segmenting", self.segment))
        )
        return (
            f"tokenizing takes {shares} ({self.bare:.2f}, {self.segment:.2f}, {self.cold:.2f}, "
            f"{self.warm:.2f} CPU seconds)"
        )


def check_round_trip(texts: Iterable[str], tokenizer: Tokenizer) -> RoundTrip:
    """Encodes and decodes texts, and compares with `normalize` what comes back."""
    total = RoundTrip()
    normalize = Normalizer(tokenizer.cased)
    for text in texts:
        ids = tokenizer.encode(text)
        if UNK_ID in ids:
            total += RoundTrip(with_unknown=1)
        else:
            differs = normalize(tokenizer.decode(ids)) != normalize(text)
            total += RoundTrip(compared=1, differing=differs)
    return total


class Normalizer(dict[int, str | None]):
    """Leaves of a text what `decode` is to give back.

    White space goes, and control and format characters, which no tokenizer of BERT's keeps. If not
    cased, what is left is in lower case and without accents: NFD without nonspacing marks (Mn).
    """

    def __init__(self, cased: bool) -> None:
        super().__init__()
        self._cased = cased

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        is_accent = not self._cased and unicodedata.category(char) == "Mn"
        goes = is_accent or kind_of(char) in (Kind.SPACE, Kind.DROP)
        self[code] = None if goes else char
        return self[code]

    def __call__(self, text: str) -> str:
        """Returns what is left of a text."""
        folded = text if self._cased else unicodedata.normalize("NFD", text.lower())
        return folded.translate(self)


def measure_cost(texts: Iterable[str], tokens: Sequence[str], cased: bool) -> Cost:
    """Segments and tokenizes texts, a block at a time in turn, then tokenizes them again."""
    segment = load_segmenter("rjieba")
    tokenizer = Tokenizer(tokens, cased)
    cut_bare(["今天下雨"])  # the dictionary is there from now on
    bare = segmenting = cold = 0.0
    blocks: list[tuple[str, Any]] = []
    for block in _make_blocks(texts):
        before = time.process_time()
        cut_bare(block)
        start = time.process_time()
        bare += start - before
        word_lengths = segment(block)
        between = time.process_time()
        text = "\n".join([*block, ""])
        tokenizer.tokenize(text, word_lengths)
        cold += time.process_time() - between
        segmenting += between - start
        blocks.append((text, word_lengths))
    start = time.process_time()
    for text, word_lengths in blocks:
        tokenizer.tokenize(text, word_lengths)
    return Cost(bare, segmenting, cold, time.process_time() - start)


def _make_blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yields texts in blocks of the size that a run's have."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text.encode())
        if size >= DocumentsConfig().block_text_bytes:
            yield block
            block, size = [], 0
    if block:
        yield block
