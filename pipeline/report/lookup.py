"""Finds one document or rejection by its id, reading a few rows and not the whole output.

Documents of one corpus and split lie in blocks ordered by (file name, offset), rejections in parts
ordered by (corpus, file name, offset): a bisection over their first rows finds the right one.
"""

import io
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple, cast

import orjson
import zstandard

from pipeline import files
from pipeline.blocks import DAMAGE, damaged, find_document, read_block, read_rows
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import Block, Document, Rejected

_READ_BYTES: Final = 16 << 10
"""Enough compressed bytes for the first row of most frames."""


class Place(NamedTuple):
    """Where a document comes from; sorts as parts do."""

    corpus: str
    name: str
    offset: int


_BEFORE_ALL: Final = Place("", "", -1)


def parse_id(doc_id: str) -> tuple[str, Place] | None:
    """Returns split and place that an id names, None if it is no id: <corpus>/<split>/<name>:<n>.

    >>> parse_id("wiki2019zh/train/AA/wiki_00:512")
    ('train', Place(corpus='wiki2019zh', name='AA/wiki_00', offset=512))
    """
    corpus, _, rest = doc_id.partition("/")
    split, _, rest = rest.partition("/")
    name, _, offset = rest.rpartition(":")
    if not (corpus and split and name and offset.isascii() and offset.isdigit()):
        return None
    return split, Place(corpus, name, int(offset))


class Library:
    """The documents and rejections of one output directory, by id."""

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        """Opens nothing yet."""
        self._layout = layout
        self._manifest = manifest
        self._first_of_block = lru_cache(None)(self._read_first_of_block)
        self._first_rejected_in = lru_cache(None)(self._read_first_rejected)

    def find_document(self, doc_id: str) -> Document | None:
        """Returns the kept document of an id."""
        block = self._block_of(doc_id)
        if block is None:
            return None
        with files.open_for_reading(self._part_of(block), block.length) as file:
            return find_document(file, block, doc_id)

    def find_rejected(self, doc_id: str) -> Rejected | None:
        """Returns the rejected document or line of an id."""
        parsed = parse_id(doc_id)
        parts = self._manifest.parts
        if parsed is None or parts == 0:
            return None
        after = bisect_right(range(parts), parsed[1], key=lambda n: self._first_of_part(n)[0])
        part = self._first_of_part(after - 1)[1] if after else 0
        # The first row of a part need not be its first line: what is looked for may lie behind it.
        filled = (n for n in range(after, parts) if self._first_rejected_in(n) is not None)
        candidates = dict.fromkeys([part, *islice(filled, 1)])
        rows = (row for number in candidates for row in self._rejected_in(number))
        return next((row for row in rows if row.doc_id == doc_id), None)

    def neighbours(self, doc_id: str) -> list[Document]:
        """Returns the documents of the block in which a document would lie; none if nowhere."""
        block = self._block_of(doc_id)
        return self.read(block) if block else []

    def read(self, block: Block) -> list[Document]:
        """Returns the documents of a block."""
        with files.open_for_reading(self._part_of(block), block.length) as file:
            return read_block(file, block)

    def rejections(self) -> Iterator[Rejected]:
        """Yields all rejections, part after part."""
        for part in range(self._manifest.parts):
            yield from self._rejected_in(part)

    @cached_property
    def blocks(self) -> dict[tuple[str, str], list[Block]]:
        """Blocks by corpus and split, in the order of their documents."""
        found: dict[tuple[str, str], list[Block]] = {}
        for block in sorted(self._manifest.blocks):
            found.setdefault((block.corpus, block.split), []).append(block)
        return found

    def _block_of(self, doc_id: str) -> Block | None:
        """Returns the block in which a document would lie."""
        parsed = parse_id(doc_id)
        if parsed is None:
            return None
        split, place = parsed
        blocks = self.blocks.get((place.corpus, split), [])
        after = bisect_right(blocks, place, key=self._first_of_block)
        return blocks[after - 1] if after else None

    def _rejected_in(self, part: int) -> Iterator[Rejected]:
        path = self._layout.rejected_part(part, self._manifest.parts)
        return (Rejected(**row) for row in read_rows(path))

    def _read_first_of_block(self, block: Block) -> Place:
        return _place_of(_read_first_row(self._part_of(block), block.offset))

    def _first_of_part(self, part: int) -> tuple[Place, int]:
        """Returns where the rejections of a part begin, and the part.

        One without any answers for the nearest one before it that has some.
        """
        for number in range(part, -1, -1):
            first = self._first_rejected_in(number)
            if first is not None:
                return first, number
        return _BEFORE_ALL, 0

    def _read_first_rejected(self, part: int) -> Place | None:
        row = _read_first_row(self._layout.rejected_part(part, self._manifest.parts), 0)
        return _place_of(row) if row else None

    def _part_of(self, block: Block) -> str:
        return self._layout.part(block.part, self._manifest.parts)


def _read_first_row(path: str, offset: int) -> dict[str, Any] | None:
    """Reads the first row of the frame at an offset; None if it is empty."""
    try:
        with files.open_for_reading(path, _READ_BYTES) as file:
            file.seek(offset)
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_size=_READ_BYTES)
            line = io.BufferedReader(cast("Any", reader), _READ_BYTES).readline()
            return orjson.loads(line) if line else None
    except DAMAGE as error:
        raise damaged(path, error) from error


def _place_of(row: dict[str, Any] | None) -> Place:
    parsed = parse_id(row["doc_id"]) if row else None
    return parsed[1] if parsed else _BEFORE_ALL
