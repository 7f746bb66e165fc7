"""Parts of documents/ -> how often each basic token occurs, for a vocabulary."""

import operator
from collections import Counter
from typing import Any, NamedTuple

from pipeline import files
from pipeline.blocks import read_texts
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import TRAIN, Block
from pipeline.resume import Stage
from pipeline.stages.clean import unit_name
from vocab.counting import TokenCounts, count_tokens


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
    """What counting one documents file found out."""

    token_counts: TokenCounts

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return self.token_counts._asdict()

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Counted":
        """Reads what `to_json` returned."""
        return cls(TokenCounts(Counter(fields["characters"]), Counter(fields["words"])))


def count_part(part: PartOfDocuments, layout: Layout) -> Counted:
    """Counts the basic tokens of the training documents of one documents file."""
    with files.open_for_reading(layout.part(part.number, part.total)) as file:
        texts = [text for block in part.training for text in read_texts(file, block)]
    return Counted(count_tokens("\n".join(texts)))


def count_stage(layout: Layout) -> Stage:
    """Parts of documents -> Counted."""
    size_of = operator.attrgetter("text_bytes")
    return Stage("count", count_part, (layout,), Counted, unit_name, size_of, layout)
