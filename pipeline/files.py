"""Files on local disks and in Cloud Storage (`gs://bucket/...`, see cloud.py).

Local paths never import Beam, so that worker processes start fast.
"""

import hashlib
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple, cast

from pipeline.errors import RunError, UsageError

TEMPORARY_SUFFIX = ".tmp"

FETCH_BYTES: Final = 4 << 20
"""Of a remote file at once: so much that waiting for answers, some 30 ms each, takes little."""

FEW_BYTES: Final = 64 << 10
"""Likewise, where a file is read here and there."""

_READ_AT_ONCE: Final = 8  # the client keeps ten connections

_REMOTE: Final = re.compile(r"gs://[^/]+(/.*)?", re.DOTALL)

_written: ContextVar["dict[str, int] | None"] = ContextVar("_written", default=None)


class FoundFile(NamedTuple):
    """A file below a folder.

    Attributes:
      path: where it is.
      size_bytes: its size.
      modified: when it was last written, or which generation of it it is.
    """

    path: str
    size_bytes: int
    modified: int = 0


def is_remote(path: str) -> bool:
    """Tells whether a path names cloud storage."""
    return "://" in path


def check(path: str) -> None:
    """Refuses what names neither a local path nor one in Cloud Storage.

    Raises:
      ValueError: names the path.
    """
    if path.startswith("gs:") and not _REMOTE.fullmatch(path):
        raise ValueError(f"{path}: is no place in Cloud Storage; give it as gs://bucket/folder")
    if is_remote(path) and not _REMOTE.fullmatch(path):
        raise ValueError(f"{path}: only local paths and gs://bucket/folder can be read and written")


def join(folder: str, *names: str) -> str:
    """Joins a local or remote folder and names below it."""
    return posixpath.join(folder, *names)


def open_for_reading(path: str, fetch_bytes: int = FETCH_BYTES) -> BinaryIO:
    """Opens a file for reading bytes; it can seek.

    Args:
      path: local or remote.
      fetch_bytes: how much is fetched of a remote one at least, in one request.
    """
    if is_remote(path):
        return cast("BinaryIO", _cloud().CloudFile(path, fetch_bytes))
    return Path(path).open("rb")


def read_bytes(path: str) -> bytes:
    """Returns all bytes of a file."""
    if is_remote(path):
        return _cloud().read_bytes(path)
    with open_for_reading(path) as file:
        return file.read()


def read_each(read: Callable[[Any], Any], sources: Iterable[Any], folder: str) -> Iterator[Any]:
    """Calls a function that reads one file for each source, in order.

    Below a remote folder several are read at once: it is waiting for answers that takes the time.
    """
    if not is_remote(folder):
        yield from map(read, sources)
        return
    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        yield from threads.map(read, sources)


def sha256_of(data: bytes) -> str:
    """Returns a file's digest, in hex."""
    return hashlib.sha256(data).hexdigest()


def read_unchanged(path: str, sha256: str) -> bytes:
    """Returns the bytes of a file that must be as it was when the run began.

    Raises:
      RunError: it has another digest.
    """
    data = read_bytes(path)
    if sha256_of(data) != sha256:
        raise RunError(f"{path}: has changed since the run began; start again")
    return data


def write_bytes(path: str, data: bytes) -> None:
    """Writes a whole file or nothing."""
    with finished_or_absent(path) as file:
        file.write(data)


@contextmanager
def finished_or_absent(path: str) -> Generator[IO[bytes]]:
    """Opens a file that appears under its name only when it is complete.

    A local one is written beside its place and renamed at the end, a remote one sent at the end;
    after an error nothing is left.
    """
    write = _cloud().written_whole if is_remote(path) else _write_local
    with write(path) as file:
        yield file
        size = file.tell()
    written = _written.get()
    if written is not None:
        written[path] = size


@contextmanager
def _write_local(path: str) -> Generator[IO[bytes]]:
    temporary = f"{path}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
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
        return _cloud().size_of(path)
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def exists(path: str) -> bool:
    """Tells whether a file or, locally, a folder is there."""
    return size_of(path) >= 0 if is_remote(path) else os.path.exists(path)


def delete(path: str) -> None:
    """Deletes a file or folder with all it holds, if it is there."""
    if is_remote(path):
        _cloud().delete(path)
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
        return [FoundFile(*found) for found in _cloud().list_files(join(folder, ""))]
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
    """Returns the local files whose paths begin so, in the folder that the last slash ends."""
    folder, _, name = prefix.rpartition("/")
    if not os.path.isdir(folder):
        return []
    return [join(folder, found) for found in os.listdir(folder) if found.startswith(name)]


def _raise(error: OSError) -> None:
    raise error


def _cloud() -> Any:
    """Returns the module that knows Cloud Storage, which imports Beam."""
    try:
        from pipeline import cloud
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("google"):
            raise
        raise UsageError(
            "gs:// needs Beam's extra for Google Cloud; run `pip install 'chinese-t5s[gcp]'`, or "
            f"`pip install 'apache-beam[gcp]'` (there is no {error.name})"
        ) from error
    return cloud
