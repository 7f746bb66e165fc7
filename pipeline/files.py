"""Files on local disks and, through Beam's FileSystems, in cloud storage (`gs://...`).

Local paths never import Beam, so that worker processes start fast.
"""

import os
import posixpath
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

TEMPORARY_SUFFIX = ".tmp"

_written: ContextVar["dict[str, int] | None"] = ContextVar("_written", default=None)


class FoundFile(NamedTuple):
    """A file below a folder.

    Attributes:
      path: where it is.
      size_bytes: its size.
      modified: when it was last written, in the file system's own units; 0 if it does not tell.
    """

    path: str
    size_bytes: int
    modified: int = 0


def is_remote(path: str) -> bool:
    """Tells whether a path names cloud storage."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Joins a local or remote folder and names below it."""
    return posixpath.join(folder, *names)


def open_for_reading(path: str) -> BinaryIO:
    """Opens a file for reading bytes; it can seek."""
    if is_remote(path):
        # Beam takes `.gz` for a wish to decompress unless told otherwise.
        compression = _compression_types().UNCOMPRESSED
        return _file_systems().open(path, compression_type=compression)
    return Path(path).open("rb")


def read_bytes(path: str) -> bytes:
    """Returns all bytes of a file."""
    with open_for_reading(path) as file:
        return file.read()


def write_bytes(path: str, data: bytes) -> None:
    """Writes a whole file or nothing."""
    with finished_or_absent(path) as file:
        file.write(data)


@contextmanager
def finished_or_absent(path: str) -> Generator[IO[bytes]]:
    """Opens a file that appears under its name only when it is complete.

    It is written beside its place and renamed at the end; after an error nothing is left.
    """
    temporary = f"{path}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
    write = _write_remote if is_remote(path) else _write_local
    with write(temporary, path) as file:
        yield file
    written = _written.get()
    if written is not None:
        written[path] = size_of(path)


@contextmanager
def _write_remote(temporary: str, path: str) -> Generator[IO[bytes]]:
    systems = _file_systems()
    try:
        with systems.create(temporary, compression_type=_compression_types().UNCOMPRESSED) as file:
            yield cast("IO[bytes]", file)
        # Cloud Storage replaces what is there; other systems refuse to.
        if not path.startswith("gs://") and systems.exists(path):
            systems.delete([path])
        systems.rename([temporary], [path])
    except BaseException:
        if systems.exists(temporary):
            systems.delete([temporary])
        raise


@contextmanager
def _write_local(temporary: str, path: str) -> Generator[IO[bytes]]:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(temporary).open("wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise


@contextmanager
def recording() -> Generator[dict[str, int]]:
    """Notes path and size in bytes of every file that is finished meanwhile."""
    written: dict[str, int] = {}
    token = _written.set(written)
    try:
        yield written
    finally:
        _written.reset(token)


def size_of(path: str) -> int:
    """Returns the size of a file in bytes; -1 if there is none."""
    if is_remote(path):
        systems = _file_systems()
        found = systems.match([path])[0].metadata_list
        return found[0].size_in_bytes if found else -1
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def exists(path: str) -> bool:
    """Tells whether a file or, locally, a folder is there."""
    return _file_systems().exists(path) if is_remote(path) else os.path.exists(path)


def delete(path: str) -> None:
    """Deletes a file or folder with all it holds, if it is there."""
    if is_remote(path):
        found = [found.path for found in list_files(path)]
        if exists(path):
            found.append(path)
        if found:
            _file_systems().delete(found)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def list_files(folder: str) -> list[FoundFile]:
    """Returns every file below a folder, none if it is missing.

    Links are followed, once each; what is neither file nor folder, such as a pipe, is left out.

    Raises:
      OSError: a folder cannot be read.
    """
    if is_remote(folder):
        matches = _file_systems().match([join(folder, "**")])
        return [
            FoundFile(found.path, found.size_in_bytes, int(found.last_updated_in_seconds or 0))
            for found in matches[0].metadata_list
        ]
    if not os.path.isdir(folder):
        return []
    found: list[FoundFile] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        paths = [os.path.join(parent, name) for name in names]
        found += [_look_at(path) for path in paths if os.path.isfile(path)]
    return found


def _look_at(path: str) -> FoundFile:
    status = os.stat(path)
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def list_beginning(prefix: str) -> list[str]:
    """Returns the files whose paths begin so, in the folder that the last slash ends."""
    if is_remote(prefix):
        return [found.path for found in _file_systems().match([f"{prefix}*"])[0].metadata_list]
    folder, _, name = prefix.rpartition("/")
    if not os.path.isdir(folder):
        return []
    return [join(folder, found) for found in os.listdir(folder) if found.startswith(name)]


def _raise(error: OSError) -> None:
    raise error


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _compression_types() -> Any:
    from apache_beam.io.filesystem import CompressionTypes

    return CompressionTypes
