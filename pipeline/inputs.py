"""Finds and recognises the files of the corpora below a directory."""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple, cast

import orjson

from pipeline import corpora, files, reading
from pipeline.errors import BrokenFileError, UsageError, in_one_line
from pipeline.files import FoundFile
from pipeline.records import InputFile, Skipped

_TEXT_SUFFIXES: Final = (".json", ".jsonl", ".txt", ".ndjson")
_PROBE_LINES: Final = 20


class Inputs(NamedTuple):
    """What an input directory holds.

    Attributes:
      recognised: the files of corpora, biggest first: packed ones cannot be split.
      ignored: names of all other files, hidden ones left out.
      skipped: broken files that were left out.
    """

    recognised: list[InputFile]
    ignored: list[str]
    skipped: list[Skipped]


def find_inputs(input_dir: str, skip_broken_files: bool = False) -> Inputs:
    """Finds the files of all corpora below a directory.

    Args:
      input_dir: local or gs:// directory.
      skip_broken_files: lists broken files as skipped instead of raising.

    Raises:
      UsageError: no such directory, nothing in it, nothing recognised, or two files that would
        give their documents the same ids.
      BrokenFileError: a packed file cannot be opened or is not safe to unpack.
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
    skipped: list[Skipped] = []
    for found_file in listed:
        name = found_file.path[len(input_dir) :].lstrip("/").replace("\\", "/")
        try:
            for candidate in _candidates(found_file, name):
                found = _recognise(candidate)
                if found:
                    recognised.append(found)
                else:
                    ignored.append(f"{name}:{candidate.member}" if candidate.member else name)
        except BrokenFileError as error:
            if not skip_broken_files:
                raise
            # All that a broken zip holds is left out: what of it is whole, nobody knows.
            recognised = [found for found in recognised if found.path != found_file.path]
            skipped.append(Skipped("", "", name, 0, 0, f"byte {error.offset:,}: {error.fault}"))
    if not recognised:
        names = [stretch.name for stretch in skipped] + ignored
        shown = in_one_line(", ".join(names[:5]))
        raise UsageError(
            f"--input_dir={input_dir}: none of {len(names)} files is whole and of a known corpus "
            f"({shown}); known are the files of nlp_chinese_corpus, by name or "
            'by keys, and JSON lines with a "text" field'
        )
    _refuse_doubles(recognised)
    recognised.sort(key=lambda found: (-found.size_bytes, found.corpus, found.name))
    return Inputs(recognised, ignored, skipped)


def _candidates(found: FoundFile, name: str) -> Iterator[InputFile]:
    """Yields the plain files that a file is or holds, their corpora still unknown."""
    path, size, modified = found
    if _is_hidden(name):
        return
    if name.endswith(".zip"):
        for member in _list_members(path, size):
            inner = member.filename.removeprefix("./")
            if not member.is_dir() and not _is_hidden(inner):
                mark = f"{modified} {size} {member.CRC:08x}"
                yield InputFile("", "", inner, path, "zip", member.filename, member.file_size, mark)
    elif name.endswith(".gz"):
        inner = name.removesuffix(".gz")
        yield InputFile("", "", inner, path, "gz", "", size, f"{modified} {size}")
    else:
        yield InputFile("", "", name, path, "", "", size, f"{modified} {size}")


def _list_members(path: str, size: int) -> list[zipfile.ZipInfo]:
    """Lists a zip file that is whole and safe to unpack."""
    try:
        with files.open_for_reading(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise BrokenFileError(
            path, f"is no zip file or cut off here ({error})", size, "download it again"
        ) from error
    for member in members:
        if not member.filename or member.header_offset < 0:
            fault = f"lacks its beginning, or a member ({member.filename!r}) has no place or name"
            raise BrokenFileError(path, fault, 0, "download it again")
        if member.filename.startswith("/") or ".." in member.filename.split("/"):
            fault = f"its member {member.filename!r} points out of the archive"
            raise BrokenFileError(path, fault, member.header_offset, "unpack it by hand")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(reading.MAX_EXPANSION * size, reading.SMALL_BYTES):
        fault = f"its {size:,} bytes would become {unpacked:,}, as those of a zip bomb"
        raise BrokenFileError(path, fault, 0, "unpack it by hand")
    return members


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
    split = corpora.split_of_name(candidate.name) if corpus.has_splits else ""
    name = corpora.normalise_name(candidate.name, corpus)
    return candidate._replace(corpus=corpus.name, split=split, name=name)


def _recognise_by_keys(candidate: InputFile) -> corpora.Corpus | None:
    """Looks at the first lines of a file that might be JSON lines."""
    last_part = candidate.name.rpartition("/")[2]
    if "." in last_part and not last_part.lower().endswith(_TEXT_SUFFIXES):
        return None
    lines = _read_beginning(candidate).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for line in lines[:_PROBE_LINES]:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict):
            corpus = corpora.recognise_keys(cast("dict[str, Any]", record))
            if corpus:
                return corpus
    return None


def _read_beginning(candidate: InputFile) -> bytes:
    """Returns some lines of a file; more than one line as long as lines may be."""
    beginning = bytearray()
    with closing(reading.read_pieces(candidate)) as pieces:
        for piece in pieces:
            beginning += piece
            if beginning.count(b"\n") >= _PROBE_LINES or len(beginning) > reading.MAX_LINE_BYTES:
                break
    return bytes(beginning)


def _refuse_doubles(inputs: list[InputFile]) -> None:
    """Document ids are made of names: two files of one name would share them."""
    seen: dict[tuple[str, str], InputFile] = {}
    for found in inputs:
        other = seen.setdefault((found.corpus, found.name), found)
        if other is not found:
            raise UsageError(
                in_one_line(
                    f"{other.path} and {found.path} both hold {found.corpus}'s {found.name}; "
                    "remove or rename one of them"
                )
            )
