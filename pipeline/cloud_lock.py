"""One run at a time in a folder of Cloud Storage: an object that a run renews while it lives.

Cloud Storage knows no locks, but writes on a condition: that an object's generation is still the
one that was seen, or that there is none (0). No clocks are compared: whoever finds the object
watches it, and takes it over when nothing has renewed it for a while.

Source: https://cloud.google.com/storage/docs/request-preconditions
"""

import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from google.api_core.exceptions import NotFound, PreconditionFailed

from pipeline import cloud
from pipeline.errors import RunError
from pipeline.locking import another_run

RENEWAL_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 60.0
"""As long as a run may be without an answer of the server before another takes its place."""

_LOOK_SECONDS: Final = 5.0


@contextmanager
def leased(folder: str, announce: Callable[[str], None]) -> Generator[None]:
    """Keeps other runs out of a folder; what a killed run has left is waited for and taken over.

    Args:
      folder: a gs:// path.
      announce: called with a line when there is something to wait for.

    Raises:
      UsageError: another run is at it.
      RunError: another run took over meanwhile, since this one could not renew its lock.
    """
    lock = _Lock(folder)
    lock.acquire(announce)
    ended = threading.Event()
    renewal = threading.Thread(target=lock.keep_renewed, args=(ended,), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        lock.release()
    if lock.is_lost:
        raise RunError(
            f"{lock.path}: another run took over, since this one was without an answer of the "
            "server for too long; wait for its end, then give this command again"
        )


class _Lock:
    """The object, and the generation of it that is ours."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.path = f"{folder}/run.lock"
        self.is_lost = False
        self._ours = uuid.uuid4().hex  # tells our writing, of which no answer came, from others'
        self._generation = 0

    def acquire(self, announce: Callable[[str], None]) -> None:
        if self._write(0):
            return
        announce(f"{self.path}: another run is, or was, writing there; watching it")
        seen = self._find_generation()
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            if self._find_generation() != seen:
                raise another_run(self._folder)
        if not self._write(seen):
            raise another_run(self._folder)

    def keep_renewed(self, ended: threading.Event) -> None:
        """Renews until it has ended, or the lock is another's; a server that fails is no reason."""
        while not ended.wait(RENEWAL_SECONDS) and not self.is_lost:
            try:
                self.is_lost = not self._write(self._generation)
            except RunError:  # asked for ten minutes: the pipeline's own requests say it, too
                continue

    def release(self) -> None:
        blob = cloud.blob_of(self.path)
        with cloud.explained(self.path):
            try:
                blob.delete(if_generation_match=self._generation, retry=cloud.RETRY)
            except (NotFound, PreconditionFailed):  # an earlier try's answer was lost; or another's
                return

    def _write(self, expected: int) -> bool:
        """Writes if the generation is as expected (0: there is none); tells whether it did."""
        blob = cloud.blob_of(self.path)
        with cloud.explained(self.path, missing_bucket=True):
            try:
                blob.upload_from_string(self._ours, if_generation_match=expected, retry=cloud.RETRY)
            except PreconditionFailed:
                return self._was_written()
        self._generation = int(blob.generation or 0)
        return True

    def _was_written(self) -> bool:
        """Tells whether the object is ours all the same: the answer to an earlier try was lost."""
        generation = self._find_generation()
        if not generation or cloud.read_bytes(self.path) != self._ours.encode():
            return False
        self._generation = generation
        return True

    def _find_generation(self) -> int:
        """Returns the generation of the object, 0 if there is none."""
        blob = cloud.blob_of(self.path)
        with cloud.explained(self.path):
            found = blob.bucket.get_blob(blob.name, retry=cloud.RETRY)
        return 0 if found is None else int(found.generation or 0)
