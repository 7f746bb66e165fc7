"""Multi-frame zstd JSON lines: documents -> frames of a file and back.

A frame (of documents/ one block) can be read by itself; all together are one valid zstd file.
"""

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, BinaryIO, Final, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import zstandard

from pipeline import files
from pipeline.errors import RunError
from pipeline.records import SPLITS, Block, Document, Rejected

_LEVEL = 3
_READ_BYTES: Final = 256 << 10

DAMAGE: Final = (zstandard.ZstdError, orjson.JSONDecodeError, OverflowError, MemoryError)
"""What reading a damaged file raises; the last two of sizes that cannot be."""

Taken = TypeVar("Taken")

FRAME: Final = np.dtype([("first_row", "<u4"), ("offset", "<u8"), ("length", "<u4")])
"""Where a frame lies in its file, in bytes, and the number of its first row."""


class FrameWriter:
    """Writes rows as JSON lines, a zstd frame whenever enough of them have come."""

    def __init__(self, file: IO[bytes], frame_bytes: int, level: int = _LEVEL) -> None:
        """Starts a file.

        Args:
          file: open for writing bytes, at its beginning or behind other frames.
          frame_bytes: size of rows, before compression, that makes a frame.
          level: of zstd.
        """
        self._file = file
        self._frame_bytes = frame_bytes
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._offset = 0
        self._rows = 0
        self._frames: list[tuple[int, int, int]] = []

    @property
    def frames(self) -> npt.NDArray[np.void]:
        """The frames written so far, of dtype FRAME, shape [F]."""
        return np.array(self._frames, FRAME)

    def write(self, row: Document | Rejected) -> None:
        """Adds one row."""
        self.write_lines([encode_row(row)])

    def write_lines(self, lines: Sequence[bytes]) -> None:
        """Adds rows that are JSON lines already, line feeds included."""
        begin = 0
        for end, size in enumerate(map(len, lines), 1):
            self._bytes += size
            if self._bytes >= self._frame_bytes:
                self._lines += lines[begin:end]
                self.end_frame()
                begin = end
        self._lines += lines[begin:]

    def end_frame(self) -> tuple[int, int]:
        """Writes the rows so far as one frame; returns its offset and length in bytes."""
        frame = self._compressor.compress(b"".join(self._lines))
        self._file.write(frame)
        place = self._offset, len(frame)
        self._frames.append((self._rows, *place))
        self._offset += len(frame)
        self._rows += len(self._lines)
        self._lines, self._bytes = [], 0
        return place

    def close(self) -> None:
        """Writes the last rows; a file without rows gets one empty frame and stays readable."""
        if self._lines or not self._offset:
            self.end_frame()


class BlockWriter:
    """Writes kept documents of one corpus as blocks of one split each."""

    def __init__(self, file: IO[bytes], part: int, corpus: str, block_text_bytes: int) -> None:
        """Starts the documents file of a number; a block holds about so much text."""
        self.blocks: list[Block] = []
        self._frames = FrameWriter(file, 1 << 62)
        self._part = part
        self._corpus = corpus
        self._block_text_bytes = block_text_bytes
        self._waiting: dict[str, list[bytes]] = defaultdict(list)
        self._text_bytes: dict[str, int] = defaultdict(int)

    def write(self, split: str, line: bytes, text_bytes: int) -> None:
        """Adds a document as `encode_row` gives it, with the UTF-8 bytes of its text."""
        self._waiting[split].append(line)
        self._text_bytes[split] += text_bytes
        if self._text_bytes[split] >= self._block_text_bytes:
            self._end_block(split)

    def close(self) -> None:
        """Writes the last blocks."""
        for split in SPLITS:
            if self._waiting[split]:
                self._end_block(split)
        self._frames.close()

    def _end_block(self, split: str) -> None:
        lines = self._waiting.pop(split)
        self._frames.write_lines(lines)
        offset, length = self._frames.end_frame()
        text_bytes = self._text_bytes.pop(split)
        self.blocks.append(
            Block(self._part, offset, length, self._corpus, split, len(lines), text_bytes)
        )


def encode_row(row: Document | Rejected) -> bytes:
    """Returns a row as one JSON line."""
    return orjson.dumps(row._asdict(), option=orjson.OPT_APPEND_NEWLINE)


def encode_document(doc_id: str, corpus: str, split: str, upstream_id: str, text: str) -> bytes:
    """Returns what `encode_row` returns of a document, in a third of the time."""
    fields = {
        "doc_id": doc_id,
        "corpus": corpus,
        "split": split,
        "upstream_id": upstream_id,
        "text": text,
    }
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def read_block(file: BinaryIO, block: Block) -> list[Document]:
    """Returns the documents of one block of an open documents file.

    Raises:
      RunError: the file is damaged.
    """
    return _read(file, block, lambda row: Document(**row))


def read_texts(file: BinaryIO, block: Block) -> list[str]:
    """Returns the texts of the documents of one block; raises what `read_block` does."""
    return _read(file, block, lambda row: row["text"])


def find_document(file: BinaryIO, block: Block, doc_id: str) -> Document | None:
    """Returns the document of an id, if the block has it; raises what `read_block` does."""
    documents = _read(file, block, lambda row: Document(**row), holding=orjson.dumps(doc_id))
    return next((document for document in documents if document.doc_id == doc_id), None)


def _read(
    file: BinaryIO, block: Block, take: Callable[[Any], Taken], holding: bytes = b""
) -> list[Taken]:
    """Returns what is taken of each row of a block, or of those whose line holds some bytes."""
    try:
        lines = read_frame(file, block.offset, block.length)
        if holding:
            lines = [line for line in lines if holding in line]
        return [take(row) for row in map(orjson.loads, lines)]
    except (*DAMAGE, KeyError, TypeError) as error:
        raise RunError(
            f"documents/ is damaged: part {block.part}, byte {block.offset:,} ({error}); start "
            "afresh with --overwrite"
        ) from error


def read_frame(file: BinaryIO, offset: int, length: int) -> list[bytes]:
    """Returns the JSON lines of one frame of an open file, line feeds included.

    Raises:
      zstandard.ZstdError: it is damaged; likewise the others of DAMAGE.
    """
    file.seek(offset)
    # Not all at once: a damaged frame may claim any size.
    return _cut_lines(b"".join(_decompress(io.BytesIO(file.read(length)))))


def read_rows(path: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a whole file.

    Raises:
      RunError: the file is damaged.
    """
    try:
        yield from map(orjson.loads, _read_lines(path))
    except DAMAGE as error:
        raise damaged(path, error) from error


def read_row_lines(path: str) -> Iterator[bytes]:
    """Yields the JSON lines of a whole file, line feeds included.

    Raises:
      RunError: the file is damaged.
    """
    try:
        yield from _read_lines(path)
    except DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: str, error: Exception) -> RunError:
    """Returns what to raise of a damaged file of rows."""
    return RunError(f"{path}: is damaged ({error}); start afresh with --overwrite")


def _read_lines(path: str) -> Iterator[bytes]:
    rest = b""
    with files.open_for_reading(path) as file:
        for piece in _decompress(file):
            lines = _cut_lines(rest + piece)
            rest = b"" if piece.endswith(b"\n") or not lines else lines.pop()
            yield from lines
    if rest:
        yield rest


def _cut_lines(data: bytes) -> list[bytes]:
    """Returns lines, line feeds included; `bytes.splitlines` takes twice as long."""
    return io.BytesIO(data).readlines()


def _decompress(file: BinaryIO) -> Iterator[bytes]:
    """Yields the content of frames, piece by piece.

    Raises:
      zstandard.ZstdError: a frame is damaged or cut off.
    """
    decompressor = zstandard.ZstdDecompressor()
    frame = None
    while data := file.read(_READ_BYTES):
        while data:
            frame = frame or decompressor.decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data
            if frame.eof:
                frame = None
    if frame:
        raise zstandard.ZstdError("cut off")
