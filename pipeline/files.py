"""Files on local disks and, through Beam's FileSystems, in cloud storage (`gs://...`).

Local paths never import Beam, so that worker processes start fast.
"""

import os
import posixpath
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast


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
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    if is_remote(path):
        systems = _file_systems()
        try:
            with systems.create(
                temporary, compression_type=_compression_types().UNCOMPRESSED
            ) as file:
                yield cast("IO[bytes]", file)
            if systems.exists(path):
                systems.delete([path])
            systems.rename([temporary], [path])
        except BaseException:
            if systems.exists(temporary):
                systems.delete([temporary])
            raise
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        with Path(temporary).open("wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def exists(path: str) -> bool:
    """Tells whether a file or, locally, a folder is there."""
    return _file_systems().exists(path) if is_remote(path) else os.path.exists(path)


def delete(path: str) -> None:
    """Deletes a file or folder with all it holds, if it is there."""
    if is_remote(path):
        found = [name for name, _ in list_files(path)]
        if found:
            _file_systems().delete(found)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def list_files(folder: str) -> list[tuple[str, int]]:
    """Returns path and size in bytes of every file below a folder, none if it is missing.

    Links are followed, once each; what is neither file nor folder, such as a pipe, is left out.

    Raises:
      OSError: a folder cannot be read.
    """
    if is_remote(folder):
        matches = _file_systems().match([join(folder, "**")])
        return [(found.path, found.size_in_bytes) for found in matches[0].metadata_list]
    if not os.path.isdir(folder):
        return []
    found: list[tuple[str, int]] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        paths = [os.path.join(parent, name) for name in names]
        found += [(path, os.path.getsize(path)) for path in paths if os.path.isfile(path)]
    return found


def _raise(error: OSError) -> None:
    raise error


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _compression_types() -> Any:
    from apache_beam.io.filesystem import CompressionTypes

    return CompressionTypes
