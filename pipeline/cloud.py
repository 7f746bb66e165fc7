"""Files in Cloud Storage (`gs://bucket/name`), through the client of Beam's file system for it.

The client and not the file system itself, which fetches 16 MiB to read a block and asks three times
to delete a file. Every request is repeated until it is answered or `RETRY` has had enough.
"""

import errno
import io
import os
import re
import tempfile
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any, Final

import google.auth
from apache_beam.io.gcp import gcsio
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import (
    Forbidden,
    GoogleAPIError,
    NotFound,
    RequestRangeNotSatisfiable,
    Unauthorized,
)
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage.blob import Blob
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import Response
from requests.exceptions import RequestException

from pipeline.errors import RunError, UsageError

RETRY: Final = DEFAULT_RETRY.with_delay(initial=0.2, multiplier=2, maximum=30).with_timeout(600)
"""Starts sooner and lasts longer than the client's own (1 s, 120 s)."""

_KEPT_IN_MEMORY_BYTES: Final = 32 << 20
"""Of a file that is being written; a larger one waits on the local disk."""

_DELETED_AT_ONCE: Final = 8  # the client keeps ten connections

_EMULATOR: Final = "STORAGE_EMULATOR_HOST"


class CloudFile(io.BufferedIOBase):
    """A file that is read by ranges, one request each; opening it asks for nothing."""

    def __init__(self, path: str, fetch_bytes: int) -> None:
        """Fetches at least so many bytes at once."""
        self._path = path
        self._fetch_bytes = fetch_bytes
        self._position = 0
        self._begins, self._fetched = 0, b""
        self._size: int | None = None

    def readable(self) -> bool:
        """Says yes."""
        return True

    def seekable(self) -> bool:
        """Says yes."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves the position; only from the end this costs a request, the first time."""
        if whence == io.SEEK_END and self._size is None:
            self._size = size_of(self._path)
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}
        self._position = max(0, starts[whence] + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns so many bytes, fewer only at the end."""
        if size is None or size < 0:
            data = self._fetch(self._position, None)
        else:
            start = self._position - self._begins
            data = self._fetched[start : start + size] if start >= 0 else b""
            if len(data) < size:
                data += self._fetch(self._position + len(data), size - len(data))
        self._position += len(data)
        return data

    def _fetch(self, begins: int, wanted: int | None) -> bytes:
        """Returns so many bytes from a place on, or all; keeps what it gets beyond them."""
        if self._size is not None and begins >= self._size:
            return b""
        if wanted is None:
            return _download(self._path, begins, None)
        length = max(wanted, self._fetch_bytes)
        self._begins, self._fetched = begins, _download(self._path, begins, length)
        if len(self._fetched) < length:
            self._size = begins + len(self._fetched)
        return self._fetched[:wanted]


def read_bytes(path: str) -> bytes:
    """Returns all bytes of a file.

    Raises:
      FileNotFoundError: there is none.
    """
    return _download(path, 0, None)


def _download(path: str, begins: int, length: int | None) -> bytes:
    arguments: dict[str, Any] = {}
    if begins or length is not None:
        last = None if length is None else begins + length - 1
        # Of a part no checksum is known.
        arguments = {"start": begins, "end": last, "checksum": None}
    with explained(path):
        try:
            # Raw: else what was uploaded with a content encoding would come unpacked.
            return blob_of(path).download_as_bytes(raw_download=True, retry=RETRY, **arguments)
        except RequestRangeNotSatisfiable:  # at the end, or of an empty file
            return b""


@contextmanager
def written_whole(path: str) -> Generator[IO[bytes]]:
    """Opens a file that is sent when it is complete; after an error, nothing is."""
    with tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY_BYTES) as file:
        yield file
        size = file.tell()
        with explained(path, missing_bucket=True):
            blob_of(path).upload_from_file(file, rewind=True, size=size, retry=RETRY)


def size_of(path: str) -> int:
    """Returns the size of a file in bytes; -1 if there is none."""
    with explained(path):
        blob = blob_of(path)
        found = blob.bucket.get_blob(blob.name, retry=RETRY)
    return -1 if found is None or found.size is None else found.size


def list_files(prefix: str) -> Iterator[tuple[str, int, int]]:
    """Yields path, size and generation of every file whose path begins so.

    Raises:
      UsageError: there is no such bucket.
    """
    bucket, name = gcsio.parse_gcs_path(prefix, object_optional=True)
    with explained(prefix, missing_bucket=True):
        for blob in client().list_blobs(bucket, prefix=name, retry=RETRY):
            if not blob.name.endswith("/"):  # what consoles make to show an empty folder
                yield f"gs://{bucket}/{blob.name}", blob.size, int(blob.generation or 0)


def delete(path: str) -> None:
    """Deletes a file, and all below it as a folder, if there are any."""
    found = [name for name, *_ in list_files(path) if name == path or name.startswith(f"{path}/")]
    if found:
        with ThreadPoolExecutor(_DELETED_AT_ONCE) as threads:
            list(threads.map(_delete_file, found))


def _delete_file(path: str) -> None:
    with explained(path):
        try:
            blob_of(path).delete(retry=RETRY)
        except NotFound:  # by an earlier try whose answer was lost
            return


def blob_of(path: str) -> Blob:
    """Returns the client's view of a file; asks for nothing."""
    bucket, name = gcsio.parse_gcs_path(path)
    return client().bucket(bucket).blob(name)


@lru_cache(maxsize=1)
def client() -> Any:
    """Returns the client of this process, with the credentials that Beam's flags ask for.

    Raises:
      UsageError: there are no credentials; says how to get some.
    """
    # It would ask for the bucket's place, for traces that nobody collects.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    is_emulated = _EMULATOR in os.environ
    if not is_emulated:
        # Beam would look for half a minute, and then go on without any.
        try:
            google.auth.default()
        except DefaultCredentialsError as error:
            raise UsageError(
                "no credentials of Google Cloud were found; run `gcloud auth application-default "
                "login`, or name the key of a service account in GOOGLE_APPLICATION_CREDENTIALS"
            ) from error
    made = gcsio.create_storage_client(PipelineOptions(), use_credentials=not is_emulated)
    session = made._http  # pyright: ignore[reportPrivateUsage]  # no other way to it
    session.hooks["response"].append(_read_refusal)
    return made


def _read_refusal(response: Response, **_options: Any) -> None:
    """Reads what a download is refused with; unread it would keep its connection."""
    if not response.ok:
        _ = response.content


@contextmanager
def explained(path: str, missing_bucket: bool = False) -> Generator[None]:
    """Says in one line what a request failed for; `missing_bucket`: what alone can be missing.

    Raises:
      FileNotFoundError: there is no such file.
      UsageError: there is no such bucket, or no permission.
      RunError: Cloud Storage does not answer as it should.
    """
    bucket = f"gs://{gcsio.parse_gcs_path(path, object_optional=True)[0]}"
    try:
        yield
    except NotFound as error:
        if not missing_bucket:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        raise UsageError(
            f"{bucket}: no such bucket; correct the name, or make it with "
            f"`gcloud storage buckets create {bucket}`"
        ) from error
    except (Unauthorized, Forbidden) as error:
        raise UsageError(
            f"{path}: no permission ({_first_line(error)}); ask the owner of {bucket} for the role "
            "Storage Object Admin (Viewer for what is only read), or log in as somebody else with "
            "`gcloud auth application-default login`"
        ) from error
    except GoogleAuthError as error:
        raise UsageError(
            f"{path}: the credentials are not accepted ({_first_line(error)}); renew them with "
            "`gcloud auth application-default login`"
        ) from error
    except (GoogleAPIError, RequestException, InvalidResponse, DataCorruption) as error:
        # Were this an OSError, a broken line would pass for a broken file.
        raise RunError(
            f"{path}: Cloud Storage does not answer as it should ({_first_line(error)}); give the "
            "same command again later, without --overwrite: what is done is kept"
        ) from error


def _first_line(error: Exception) -> str:
    """Returns what an error says, without the address that was asked."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return re.sub(r"[A-Z]+ https?://\S+: ", "", line)
