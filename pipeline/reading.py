"""Inputs -> lines: finds and recognises the files of a corpus, unpacks and reads them by units."""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, Final, NamedTuple, cast

import orjson
import zstandard

from pipeline import corpora, files, units
from pipeline.errors import RunError, UsageError
from pipeline.layout import Layout
from pipeline.records import InputFile, Unit

_PIECE_BYTES: Final = 1 << 20
_CHUNK_LEVEL: Final = 1  # chunks are read once and deleted
_TEXT_SUFFIXES: Final = (".json", ".jsonl", ".txt", ".ndjson")
_PROBE_LINE_BYTES: Final = 1 << 24
_ENCRYPTED: Final = 1  # general purpose bit 0 of a zip member
_BROKEN: Final = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,  # a compression method that zipfile does not know
)
_PROBE_LINES: Final = 20


class Inputs(NamedTuple):
    """What an input directory holds.

    Attributes:
      recognised: the files of corpora, biggest first: packed ones cannot be split.
      ignored: names of all other files, hidden ones left out.
    """

    recognised: list[InputFile]
    ignored: list[str]


def find_inputs(input_dir: str) -> Inputs:
    """Finds the files of all corpora below a directory.

    Raises:
      UsageError: no such directory, nothing in it, nothing recognised, or two files that would
        give their documents the same ids.
    """
    if not files.is_remote(input_dir) and not files.exists(input_dir):
        raise UsageError(f"--input_dir={input_dir}: no such directory")
    listed = sorted(files.list_files(input_dir))
    if not listed:
        raise UsageError(
            f"--input_dir={input_dir}: is empty or no directory; it should hold "
            "the zips or unpacked files of nlp_chinese_corpus"
        )
    recognised: list[InputFile] = []
    ignored: list[str] = []
    for path, size in listed:
        name = path[len(input_dir) :].lstrip("/").replace("\\", "/")
        for candidate in _candidates(path, name, size):
            found = _recognise(candidate)
            if found:
                recognised.append(found)
            else:
                ignored.append(f"{name}:{candidate.member}" if candidate.member else name)
    if not recognised:
        raise UsageError(
            f"--input_dir={input_dir}: none of {len(ignored)} files is of a known corpus "
            f"({', '.join(ignored[:5])}); known are the files of nlp_chinese_corpus, by name or "
            'by keys, and JSON lines with a "text" field'
        )
    _refuse_doubles(recognised)
    recognised.sort(key=lambda found: (-found.size_bytes, found.corpus, found.name))
    return Inputs(recognised, ignored)


def _candidates(path: str, name: str, size: int) -> Iterator[InputFile]:
    """Yields the plain files that a file is or holds, their corpora still unknown."""
    if _is_hidden(name):
        return
    if name.endswith(".zip"):
        try:
            with files.open_for_reading(path) as file, zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except zipfile.BadZipFile as error:
            raise RunError(
                f"{path}: is no zip file or cut off ({error}); download it again"
            ) from error
        for member in members:
            inner = member.filename.removeprefix("./")
            if not member.is_dir() and not _is_hidden(inner):
                yield InputFile("", "", inner, path, "zip", member.filename, member.file_size)
    elif name.endswith(".gz"):
        yield InputFile("", "", name.removesuffix(".gz"), path, "gz", "", size)
    else:
        yield InputFile("", "", name, path, "", "", size)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _recognise(candidate: InputFile) -> InputFile | None:
    """Fills in corpus, split and normalised name; None if the file is of no corpus."""
    corpus = corpora.recognise_name(candidate.name) or _recognise_by_keys(candidate)
    if corpus is None:
        return None
    try:
        candidate.name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{candidate.path!r}: its name is not UTF-8, and document ids are made of names; "
            "rename it"
        ) from error
    split = "" if corpus.name == "wiki2019zh" else corpora.split_of_name(candidate.name)
    name = corpora.normalise_name(candidate.name, corpus)
    return candidate._replace(corpus=corpus.name, split=split, name=name)


def _recognise_by_keys(candidate: InputFile) -> corpora.Corpus | None:
    """Looks at the first lines of a file that might be JSON lines."""
    last_part = candidate.name.rpartition("/")[2]
    if "." in last_part and not last_part.lower().endswith(_TEXT_SUFFIXES):
        return None
    with open_decompressed(candidate) as stream:
        for _ in range(_PROBE_LINES):
            line = stream.readline(_PROBE_LINE_BYTES)
            try:
                record = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                corpus = corpora.recognise_keys(cast("dict[str, Any]", record))
                if corpus:
                    return corpus
    return None


def _refuse_doubles(inputs: list[InputFile]) -> None:
    """Document ids are made of names: two files of one name would share them."""
    seen: dict[tuple[str, str], InputFile] = {}
    for found in inputs:
        other = seen.setdefault((found.corpus, found.name), found)
        if other is not found:
            raise UsageError(
                f"{other.path} and {found.path} both hold {found.corpus}'s {found.name}; "
                "remove or rename one of them"
            )


@contextmanager
def open_decompressed(input_file: InputFile) -> Generator[IO[bytes]]:
    """Opens an input file, a gz file or a zip member as a stream of plain bytes.

    Raises:
      RunError: the file is broken; says where.
    """
    with files.open_for_reading(input_file.path) as file:
        place = f"{input_file.path}:{input_file.member}" if input_file.member else input_file.path
        try:
            if input_file.compression == "zip":
                with zipfile.ZipFile(file) as archive:
                    if archive.getinfo(input_file.member).flag_bits & _ENCRYPTED:
                        raise RunError(f"{place}: is encrypted; unpack it with its password first")
                    with archive.open(input_file.member) as stream:
                        yield stream
            elif input_file.compression == "gz":
                with gzip.open(file) as stream:
                    yield cast("IO[bytes]", stream)
            else:
                yield file
        except _BROKEN as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the file's
            raise RunError(f"{place}: cannot be unpacked ({error}); download it again") from error


def split_into_chunks(input_file: InputFile, unit_bytes: int, layout: Layout) -> list[Unit]:
    """Unpacks a file into one chunk a unit, cut where a plain file would be read by range.

    Returns:
      As many units as the decompressed size makes; those in which no line begins have no chunk.
    """
    with open_decompressed(input_file) as stream:
        chunks, size = _write_chunks(stream, input_file, unit_bytes, layout)
    return [
        unit._replace(path=path, chunk_offset=offset)
        for unit in units.ranges_of(input_file, size, unit_bytes)
        for path, offset in [chunks.get(unit.ordinal, ("", unit.start))]
    ]


def _write_chunks(
    stream: IO[bytes], input_file: InputFile, unit_bytes: int, layout: Layout
) -> tuple[dict[int, tuple[str, int]], int]:
    """Returns path and first offset of each chunk by ordinal, and the decompressed size."""
    chunks: dict[int, tuple[str, int]] = {}
    compressor = zstandard.ZstdCompressor(level=_CHUNK_LEVEL)
    position = 0
    rest = stream.read(_PIECE_BYTES)
    while rest:
        ordinal = position // unit_bytes
        path = layout.chunk(input_file, ordinal)
        chunks[ordinal] = path, position
        with files.finished_or_absent(path) as file, compressor.stream_writer(file) as chunk:
            rest, position = _copy_lines(
                stream, rest, position, (ordinal + 1) * unit_bytes, cast("IO[bytes]", chunk)
            )
    return chunks, position


def _copy_lines(
    stream: IO[bytes], piece: bytes, position: int, end: int, chunk: IO[bytes]
) -> tuple[bytes, int]:
    """Copies the lines that begin before `end`; returns what was read beyond, and its offset."""
    while piece:
        cut = piece.find(b"\n", max(0, end - 1 - position))
        if cut >= 0:
            chunk.write(piece[: cut + 1])
            rest = piece[cut + 1 :] or stream.read(_PIECE_BYTES)
            return rest, position + cut + 1
        chunk.write(piece)
        position += len(piece)
        piece = stream.read(_PIECE_BYTES)
    return b"", position


def read_lines(unit: Unit) -> Iterator[tuple[int, bytes]]:
    """Yields the offset in the file and the bytes of every line of a unit."""
    if not unit.path:
        return
    with files.open_for_reading(unit.path) as file:
        if unit.chunk_offset is None:
            position = _seek_line(file, unit.start)
            lines = file
        else:
            stream = zstandard.ZstdDecompressor().stream_reader(file)
            lines = io.BufferedReader(cast("Any", stream), _PIECE_BYTES)
            position = unit.chunk_offset
        # Every line of a chunk begins inside its range, and so does the end of this loop.
        while position < unit.end:
            line = lines.readline()
            if not line:
                return
            yield position, line
            position += len(line)


def _seek_line(file: BinaryIO, start: int) -> int:
    """Moves to the first line that begins at `start` or behind it; returns its offset."""
    if start == 0:
        return 0
    file.seek(start - 1)
    return start - 1 + len(file.readline())
