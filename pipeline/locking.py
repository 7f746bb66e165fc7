"""One run at a time in an output directory."""

import contextlib
import errno
import os
from collections.abc import Callable, Generator

from pipeline import files, progress
from pipeline.errors import UsageError
from pipeline.layout import Layout


@contextlib.contextmanager
def locked(layout: Layout) -> Generator[None]:
    """Keeps other runs out of an output directory; a killed run holds no lock.

    Raises:
      UsageError: another run is at it, or nothing can be written there.
      RunError: another run took over in Cloud Storage; see cloud_lock.py.
    """
    if files.is_remote(layout.root):
        from pipeline import cloud_lock

        with cloud_lock.leased(layout.root, progress.announce):
            yield
        return
    try:
        os.makedirs(layout.root, exist_ok=True)
        if not os.access(
            layout.root, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), layout.root)
    except OSError as error:
        raise UsageError(
            f"--output_dir={layout.root} cannot be written to ({error.strerror}); choose another"
        ) from error
    try:
        descriptor = os.open(layout.root, os.O_RDONLY)
    except OSError as error:
        raise UsageError(
            f"--output_dir={layout.root} cannot be read ({error.strerror}); choose another"
        ) from error
    try:
        _lock(descriptor, layout.root)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    lock = _find_lock()
    if lock is None:
        return
    try:
        lock(descriptor)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise another_run(path) from error
        # Some network file systems know no such locks.


def another_run(folder: str) -> UsageError:
    """Returns what to raise where another run is at it."""
    return UsageError(
        f"another run is writing to {folder}; wait for its end, or choose another --output_dir"
    )


def _find_lock() -> Callable[[int], None] | None:
    """Returns what locks an open directory, where the system can."""
    try:
        import fcntl
    except ImportError:
        return None
    return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
