"""What all command lines do when nobody reads what they print any more."""

import contextlib
import io
import os
import select
import sys
from collections.abc import Generator
from typing import TextIO


@contextlib.contextmanager
def until_reader_leaves() -> Generator[None]:
    """Ends the program quietly when whoever reads what it prints, such as `head`, has seen enough.

    All else has to be done before it prints: the program ends as if it were. A connection that
    breaks elsewhere remains the error that it is.

    Raises:
      SystemExit: nobody reads standard output any more; its code is 0.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_abandoned(sys.stdout):
            raise
        # What is still in the buffer goes nowhere, or Python would complain of it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _is_abandoned(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:  # in a notebook
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
