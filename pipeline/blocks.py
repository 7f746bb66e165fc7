"""Multi-frame zstd JSON lines: documents -> frames of a file and back.

A frame is one block and can be read by itself; all frames together are one valid zstd file.
"""

import io
from collections import defaultdict
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

import orjson
import zstandard

from pipeline import files
from pipeline.records import SPLITS, Block, Document, Rejected

_LEVEL = 3


class FrameWriter:
    """Writes rows as JSON lines, a zstd frame whenever enough of them have come."""

    def __init__(self, file: IO[bytes], frame_bytes: int) -> None:
        """Starts a file.

        Args:
          file: open for writing bytes, at its beginning.
          frame_bytes: size of rows, before compression, that makes a frame.
        """
        self._file = file
        self._frame_bytes = frame_bytes
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._offset = 0

    def write(self, row: Document | Rejected) -> None:
        """Adds one row."""
        line = orjson.dumps(row._asdict(), option=orjson.OPT_APPEND_NEWLINE)
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= self._frame_bytes:
            self.end_frame()

    def end_frame(self) -> tuple[int, int]:
        """Writes the rows so far as one frame; returns its offset and length in bytes."""
        frame = self._compressor.compress(b"".join(self._lines))
        self._file.write(frame)
        place = self._offset, len(frame)
        self._offset += len(frame)
        self._lines, self._bytes = [], 0
        return place

    def close(self) -> None:
        """Writes the last rows; a file without rows gets one empty frame and stays readable."""
        if self._lines or not self._offset:
            self.end_frame()


class BlockWriter:
    """Writes kept documents as blocks of one corpus and split each."""

    def __init__(self, file: IO[bytes], part: int, block_text_bytes: int) -> None:
        """Starts the documents file of a number; a block holds about so much text."""
        self.blocks: list[Block] = []
        self._frames = FrameWriter(file, 1 << 62)
        self._part = part
        self._block_text_bytes = block_text_bytes
        self._waiting: dict[str, list[Document]] = defaultdict(list)
        self._text_bytes: dict[str, int] = defaultdict(int)

    def write(self, document: Document) -> list[Document]:
        """Adds a document; returns the documents of the block that it completes, if it does."""
        self._waiting[document.split].append(document)
        self._text_bytes[document.split] += len(document.text.encode())
        if self._text_bytes[document.split] >= self._block_text_bytes:
            return self._end_block(document.split)
        return []

    def close(self) -> Iterator[list[Document]]:
        """Writes the last blocks; yields their documents."""
        for split in SPLITS:
            if self._waiting[split]:
                yield self._end_block(split)
        self._frames.close()

    def _end_block(self, split: str) -> list[Document]:
        documents = self._waiting.pop(split)
        for document in documents:
            self._frames.write(document)
        offset, length = self._frames.end_frame()
        text_bytes = self._text_bytes.pop(split)
        corpus = documents[0].corpus
        self.blocks.append(
            Block(self._part, offset, length, corpus, split, len(documents), text_bytes)
        )
        return documents


def read_block(file: BinaryIO, block: Block) -> list[Document]:
    """Returns the documents of one block of an open documents file."""
    file.seek(block.offset)
    data = zstandard.ZstdDecompressor().decompress(file.read(block.length))
    return [Document(**orjson.loads(line)) for line in data.splitlines()]


def read_rows(path: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a whole file."""
    with (
        files.open_for_reading(path) as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream,
    ):
        yield from map(orjson.loads, lines_of(stream))


def lines_of(stream: Any) -> Iterator[bytes]:
    """Yields the lines of a decompressing stream, line ends included."""
    yield from io.BufferedReader(stream, buffer_size=1 << 20)
