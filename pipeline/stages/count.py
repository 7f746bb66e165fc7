"""Parts of documents/ -> how often characters and words occur, for a vocabulary."""

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

from pipeline import files
from pipeline.blocks import read_texts
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import TRAIN, Block
from pipeline.resume import Stage
from pipeline.stages.clean import unit_name
from vocab import words
from vocab.counting import TokenCounts, count_tokens

_BYTES_OF_WORD_RANGE: Final = 256 << 20
"""Of text; its different words are some hundred thousand."""


class PartOfDocuments(NamedTuple):
    """One documents file.

    Attributes:
      number: which one.
      total: of how many.
      training: where its blocks of training documents lie.
    """

    number: int
    total: int
    training: list[Block]

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of its training text."""
        return sum(block.text_bytes for block in self.training)


def plan_counting(manifest: Manifest) -> list[PartOfDocuments]:
    """Lists the documents files that hold training documents."""
    training: dict[int, list[Block]] = {}
    for block in manifest.blocks:
        if block.split == TRAIN:
            training.setdefault(block.part, []).append(block)
    return [PartOfDocuments(part, manifest.parts, blocks) for part, blocks in training.items()]


class Counted(NamedTuple):
    """What a unit found out: of a documents file all but words, of a range of words only those."""

    token_counts: TokenCounts

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return list(self.token_counts)

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Counted":
        """Reads what `to_json` returned."""
        return cls(TokenCounts(*map(Counter, fields)))


def count_part(part: PartOfDocuments, layout: Layout, cased: bool) -> Counted:
    """Counts the training documents of one documents file; its words go to a file."""
    counts = TokenCounts.empty()
    with files.open_for_reading(layout.part(part.number, part.total)) as file:
        for block in part.training:
            counts.add(*count_tokens(read_texts(file, block), cased))
    files.write_bytes(layout.words(part.number, part.total), words.pack_words(counts.words))
    return Counted(counts._replace(words=Counter()))


class WordRange(NamedTuple):
    """A run of partitions of words, in the files of all parts of the documents.

    Attributes:
      number: which one.
      total: of how many.
      parts: numbers of the documents files that have training documents.
      total_parts: of how many documents files.
      text_bytes: its share of the text.
    """

    number: int
    total: int
    parts: list[int]
    total_parts: int
    text_bytes: int


def plan_word_ranges(parts: Sequence[PartOfDocuments]) -> list[WordRange]:
    """Cuts the words of all parts into ranges that fit into memory."""
    if not parts:
        return []
    size = sum(part.text_bytes for part in parts)
    total = min(words.PARTITIONS, max(1, -(-size // _BYTES_OF_WORD_RANGE)))
    numbers = sorted(part.number for part in parts)
    share = size // total
    return [WordRange(n, total, numbers, parts[0].total, share) for n in range(total)]


def add_up_words(word_range: WordRange, layout: Layout) -> Counted:
    """Adds up a range of words; finds the most frequent ones of it."""
    found = words.add_up_range(
        _open_word_files(word_range, layout), word_range.number, word_range.total
    )
    return Counted(TokenCounts.empty()._replace(words=Counter(found)))


def _open_word_files(word_range: WordRange, layout: Layout) -> Iterator[BinaryIO]:
    for number in word_range.parts:
        path = layout.words(number, word_range.total_parts)
        with files.open_for_reading(path, files.FEW_BYTES) as file:
            yield file


def count_all(parts: Sequence[PartOfDocuments], layout: Layout, cased: bool) -> TokenCounts:
    """Does what the Beam graph does, for a few parts, in this process."""
    counts = TokenCounts.empty()
    for part in parts:
        counts.add(*count_part(part, layout, cased).token_counts)
    for word_range in plan_word_ranges(parts):
        counts.add(*add_up_words(word_range, layout).token_counts)
    return counts


def count_stage(layout: Layout, cased: bool) -> Stage:
    """Parts of documents -> Counted."""
    size_of = operator.attrgetter("text_bytes")
    return Stage("count", count_part, (layout, cased), Counted, unit_name, size_of, layout)


def words_stage(layout: Layout) -> Stage:
    """Ranges of words -> Counted."""
    size_of = operator.attrgetter("text_bytes")
    return Stage("words", add_up_words, (layout,), Counted, unit_name, size_of, layout)
