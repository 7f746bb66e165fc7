"""Unpacks input files and reads them by units: files -> chunks -> lines."""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, Final, NamedTuple, cast

import zstandard

from pipeline import files, units
from pipeline.config import DocumentsConfig
from pipeline.errors import BrokenFileError, RunError
from pipeline.layout import Layout
from pipeline.records import InputFile, Skipped, Unit

PIECE_BYTES: Final = 1 << 16
"""Small: an error in a packed file tells its place only by how much was read before."""

MAX_LINE_BYTES: Final = 16 << 20
"""Longer lines are no documents: a whole novel in one line has 5 MB."""

MAX_EXPANSION: Final = 200
"""Text never packs so well (the corpora: 2 to 6 times); deflate reaches 1,032, zip bombs more."""

SMALL_BYTES: Final = 64 << 20
"""What any packed file may become, however well it is packed."""

_CHUNK_LEVEL: Final = 1  # chunks are read once and deleted
_BEGINNING_BYTES: Final = 4096
_BROKEN: Final = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,  # a compression method that zipfile does not know
    UnicodeDecodeError,  # the name of a zip member
)


class RawLine(NamedTuple):
    """One line of an input file.

    Attributes:
      offset: where it begins in the decompressed file, in bytes.
      data: its bytes without the line feed; only the beginning if it is too long.
      length: its bytes.
    """

    offset: int
    data: bytes
    length: int

    @property
    def is_too_long(self) -> bool:
        """Tells whether `data` is only the beginning."""
        return self.length > MAX_LINE_BYTES


class Split(NamedTuple):
    """What splitting one input file made: its units, or a note that it was left out."""

    units: list[Unit]
    skipped: list[Skipped]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds; no path: directories can be moved."""
        return [(unit.start, unit.end, unit.chunk_offset, bool(unit.path)) for unit in self.units]

    @classmethod
    def from_json(
        cls, fields: Any, input_file: InputFile, config: DocumentsConfig, layout: Layout, *_: Any
    ) -> "Split":
        """Reads what `to_json` returned."""
        units: list[Unit] = []
        corpus, split, name = input_file[:3]
        for ordinal, (start, end, chunk_offset, has_path) in enumerate(fields):
            is_chunk = chunk_offset is not None
            path = layout.chunk(input_file, ordinal) if is_chunk else input_file.path
            units.append(
                Unit(
                    *(corpus, split, name, ordinal, path if has_path else "", start, end),
                    chunk_offset,
                )
            )
        return cls(units, [])


# --- Unpacking ---


def read_pieces(input_file: InputFile) -> Generator[bytes]:
    """Yields the decompressed content of a plain or packed file, piece by piece.

    Raises:
      BrokenFileError: the file is damaged, encrypted or a bomb; says at which byte.
    """
    place = f"{input_file.path}:{input_file.member}" if input_file.member else input_file.path
    position = 0
    try:
        with open_decompressed(input_file) as stream:
            while piece := stream.read(PIECE_BYTES):
                position += len(piece)
                if input_file.compression == "gz" and position > max(
                    MAX_EXPANSION * input_file.size_bytes, SMALL_BYTES
                ):
                    fault = f"grows over {MAX_EXPANSION} times its size, as a bomb does"
                    raise BrokenFileError(place, fault, position, "unpack it by hand")
                yield piece
        # zipfile itself takes a member that claims no packed bytes and their checksum for whole.
        if input_file.compression == "zip" and position != input_file.size_bytes:
            fault = f"ends here and should have {input_file.size_bytes:,} bytes"
            raise BrokenFileError(place, fault, position, "download it again")
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise BrokenFileError(
            place, f"cannot be unpacked ({error})", position, "download it again"
        ) from error
    except RuntimeError as error:  # what zipfile raises for a missing password
        raise BrokenFileError(
            place, f"is encrypted ({error})", position, "unpack it with its password"
        ) from error


@contextmanager
def open_decompressed(input_file: InputFile) -> Generator[IO[bytes]]:
    """Opens a plain file, a gz file or a zip member as a stream of decompressed bytes."""
    with files.open_for_reading(input_file.path) as file:
        if input_file.compression == "zip":
            with (
                zipfile.ZipFile(file) as archive,
                archive.open(input_file.member) as stream,
            ):
                yield stream
        elif input_file.compression == "gz":
            with gzip.open(file) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield file


def split_into_chunks(
    input_file: InputFile, unit_bytes: int, layout: Layout, skip_broken_files: bool
) -> Split:
    """Unpacks a file into one chunk a unit, cut where a plain file would be read by range.

    Returns:
      As many units as the decompressed size makes; those in which no line begins have no chunk.
      None of a broken file, if it may be skipped.

    Raises:
      BrokenFileError: the file is broken and must not be skipped.
    """
    try:
        chunks, size = _write_chunks(read_pieces(input_file), input_file, unit_bytes, layout)
    except BrokenFileError as error:
        if not skip_broken_files:
            raise
        reason = f"byte {error.offset:,}: {error.fault}"
        corpus, split, name = input_file[:3]
        return Split([], [Skipped(corpus, split, name, 0, 0, reason)])
    return Split(
        [
            unit._replace(path=path, chunk_offset=offset)
            for unit in units.ranges_of(input_file, size, unit_bytes)
            for path, offset in [chunks.get(unit.ordinal, ("", unit.start))]
        ],
        [],
    )


def _write_chunks(
    pieces: Iterator[bytes], input_file: InputFile, unit_bytes: int, layout: Layout
) -> tuple[dict[int, tuple[str, int]], int]:
    """Returns path and first offset of each chunk by ordinal, and the decompressed size."""
    chunks: dict[int, tuple[str, int]] = {}
    compressor = zstandard.ZstdCompressor(level=_CHUNK_LEVEL, write_checksum=True)
    position = 0
    rest = next(pieces, b"")
    while rest:
        ordinal = position // unit_bytes
        path = layout.chunk(input_file, ordinal)
        chunks[ordinal] = path, position
        with (
            files.finished_or_absent(path) as file,
            compressor.stream_writer(file, closefd=False) as chunk,
        ):
            rest, position = _copy_lines(
                pieces, rest, position, (ordinal + 1) * unit_bytes, cast("IO[bytes]", chunk)
            )
    return chunks, position


def _copy_lines(
    pieces: Iterator[bytes], piece: bytes, position: int, end: int, chunk: IO[bytes]
) -> tuple[bytes, int]:
    """Copies the lines that begin before `end`; returns what was read beyond, and its offset."""
    while piece:
        cut = piece.find(b"\n", max(0, end - 1 - position))
        if cut >= 0:
            chunk.write(piece[: cut + 1])
            rest = piece[cut + 1 :] or next(pieces, b"")
            return rest, position + cut + 1
        chunk.write(piece)
        position += len(piece)
        piece = next(pieces, b"")
    return b"", position


# --- Lines ---


def read_lines(unit: Unit) -> Iterator[RawLine]:
    """Yields the lines that begin in the range of a unit, in order.

    Raises:
      BrokenFileError: a plain file ends before the range does: it has shrunk.
      RunError: a chunk is damaged.
    """
    if not unit.path or unit.start >= unit.end:
        return
    # Of a plain file all that is wanted at once, and what may be left of its last line.
    wanted = unit.end - unit.start + PIECE_BYTES
    with files.open_for_reading(unit.path, wanted) as file:
        if unit.chunk_offset is None:
            # The byte before the range tells whether a line begins with the range.
            first = min(max(0, unit.start - 1), file.seek(0, io.SEEK_END))
            file.seek(first)
            pieces = iter(lambda: file.read(PIECE_BYTES), b"")
            position = yield from cut_lines(pieces, first, unit.start, unit.end)
            if position < unit.end:
                raise BrokenFileError(
                    unit.path,
                    f"the file ends here and had at least {unit.end:,} bytes when the run began",
                    position,
                    "stop what changes it and start again",
                )
        else:
            pieces = _read_chunk(file, unit)
            position = yield from cut_lines(pieces, unit.chunk_offset, unit.start, unit.end)
            if position < unit.end:
                raise RunError(
                    f"{unit.path}: is cut off; delete it and give the same command again"
                )


def _read_chunk(file: BinaryIO, unit: Unit) -> Iterator[bytes]:
    try:
        yield from zstandard.ZstdDecompressor().read_to_iter(file, write_size=PIECE_BYTES)
    except zstandard.ZstdError as error:
        raise RunError(
            f"{unit.path}: is damaged ({error}); delete it and give the same command again"
        ) from error


def cut_lines(
    pieces: Iterable[bytes], position: int, start: int, end: int
) -> Generator[RawLine, None, int]:
    """Cuts a stream into the lines that begin in a range of a file.

    Of a line that is too long only the beginning is kept, so memory stays bounded.

    Args:
      pieces: the stream.
      position: offset of the first piece in the decompressed file.
      start: of the range; if `position` is before it, the first line is not of the range.
      end: offset behind the range.

    Returns:
      Where the reading ended: before `end` only where the stream did.
    """
    is_foreign = position < start
    begins = position
    kept: list[bytes] = []
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for line in ended:
            position += len(line)
            if kept:
                line = b"".join([*kept, line])
                kept.clear()
            if not is_foreign:
                yield _make_line(begins, position - begins, line)
            position += 1
            begins, is_foreign = position, False
            if begins >= end:
                return position
        position += len(rest)
        if is_foreign and position >= end:
            return position
        if position - begins <= MAX_LINE_BYTES or not kept:
            kept.append(rest)
    if position > begins and not is_foreign:
        yield _make_line(begins, position - begins, b"".join(kept))
    return position


def _make_line(begins: int, length: int, data: bytes) -> RawLine:
    return RawLine(begins, data[:_BEGINNING_BYTES] if length > MAX_LINE_BYTES else data, length)
