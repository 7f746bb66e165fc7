"""What flows through the pipeline: inputs, units, documents and rejections."""

from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_origin

Row = TypeVar("Row", bound=NamedTuple)

TRAIN, HELD_OUT, TEST = "train", "held_out", "test"
SPLITS = (TRAIN, HELD_OUT, TEST)
"""The order in which a duplicate between splits keeps its copy: the training one stays."""


class InputFile(NamedTuple):
    """One file of a corpus, plain or packed.

    Attributes:
      corpus: name of a schema in `corpora.CORPORA`.
      split: one of SPLITS, or "" where each document's line chooses its split.
      name: normalised file name, the same for zipped and unpacked input.
      path: where it is.
      compression: "" (plain), "gz" or "zip".
      member: name inside the zip, else "".
      size_bytes: decompressed size; compressed size for gz, which does not tell.
      fingerprint: changes when the file does, so that a later run notices; equal content may have
        several.
    """

    corpus: str
    split: str
    name: str
    path: str
    compression: str
    member: str
    size_bytes: int
    fingerprint: str = ""


class Unit(NamedTuple):
    """The lines of one input file whose first bytes lie in one range of it.

    Attributes:
      corpus: as in InputFile; likewise split and name.
      ordinal: the how manieth range of its file, from 0.
      path: the plain file, or the chunk that holds just these lines; "" if there are none.
      start: offset of the range in the decompressed file.
      end: offset behind the range.
      chunk_offset: offset in the decompressed file of the first line of a chunk; None for a
        plain file.
      number: place among all units in the order of document ids; -1 until all are known.
      total: number of all units.
    """

    corpus: str
    split: str
    name: str
    ordinal: int
    path: str
    start: int
    end: int
    chunk_offset: int | None
    number: int = -1
    total: int = 0

    @property
    def order(self) -> tuple[str, str, int]:
        """Sorts units as the ids of their documents do within a split."""
        return self.corpus, self.name, self.ordinal


class Skipped(NamedTuple):
    """A broken stretch of input that was left out.

    Attributes:
      corpus: as in InputFile, "" if the file was not opened far enough to tell; likewise split.
      name: as in InputFile; of a packed file that cannot be opened, its own.
      start: offset of the stretch in the decompressed file, in bytes.
      end: offset behind it, 0 if unknown.
      reason: what is wrong, and at which offset.
    """

    corpus: str
    split: str
    name: str
    start: int
    end: int
    reason: str


class Document(NamedTuple):
    """One line of a corpus as text.

    Attributes:
      doc_id: corpus, split, normalised file name and the offset of its line in the decompressed
        file, in bytes.
      corpus: as in InputFile.
      split: one of SPLITS.
      upstream_id: the corpus's own id, "" if it has none.
      text: cleaned.
    """

    doc_id: str
    corpus: str
    split: str
    upstream_id: str
    text: str


class Rejected(NamedTuple):
    """A document or line that is not kept, and why.

    Nothing is None: readers that guess the types of columns by the first rows guess right.

    Attributes:
      doc_id: as of a document; likewise corpus, split and upstream_id.
      stage: what rejected it.
      reason: its rule or level.
      text: as far as it was cleaned; "" of a copy, whose text stays elsewhere.
      duplicate_of: id of the document that it goes for, "" if for none. That one can go too: a
        copy's as a near-duplicate, any as `short_after_dedup`; its lines then stand in others.
      similarity: to that document, from 0 to 1; 1 of a copy, 0 of no duplicate.
    """

    doc_id: str
    corpus: str
    split: str
    upstream_id: str
    stage: str
    reason: str
    text: str
    duplicate_of: str = ""
    similarity: float = 0.0


class Block(NamedTuple):
    """One zstd frame of a documents file: documents of one corpus and split.

    Attributes:
      part: number of the documents file.
      offset: where its frame begins in the file, in bytes.
      length: bytes of its frame.
      corpus: of all its documents; likewise split.
      documents: how many it holds.
      text_bytes: UTF-8 bytes of their text.
    """

    part: int
    offset: int
    length: int
    corpus: str
    split: str
    documents: int
    text_bytes: int


class Shard(NamedTuple):
    """One unit of instances: a share of the blocks of a split.

    Attributes:
      split: one of SPLITS.
      corpus: the corpus of a held-out or test shard; "" for training, which mixes all.
      ordinal: the how manieth of `total`.
      total: number of shards of this split and corpus.
      text_bytes: UTF-8 bytes of its text, about.
    """

    split: str
    corpus: str
    ordinal: int
    total: int
    text_bytes: int


def document_id(corpus: str, split: str, name: str, offset: int) -> str:
    """Returns the id of the document whose line begins at a byte offset of a file."""
    return f"{corpus}/{split}/{name}:{offset}"


def check_types(row: Row) -> Row:
    """Returns a row that was read from a file, if its fields are of the types that they must be.

    Raises:
      TypeError: one is not; what a list or an object holds is not looked at.
    """
    kinds: dict[str, Any] = type(row).__annotations__
    for (field, kind), value in zip(kinds.items(), row, strict=True):
        if not isinstance(value, kind if isinstance(kind, UnionType) else get_origin(kind) or kind):
            raise TypeError(f"{field} cannot be {value!r}")
    return row
