"""Errors that a user can cause and mend.

PipelineError
├── UsageError    wrong flags or paths; nothing was started (exit code 2)
└── RunError      the run could not be finished (exit code 1)
    └── BrokenFileError   an input file is damaged; --skip_broken_files leaves it out
"""

import errno
import re
from typing import Final

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class PipelineError(Exception):
    """Says in one message what is wrong, where, and what to do."""


class UsageError(PipelineError):
    """Wrong flags or paths; nothing was started."""


class RunError(PipelineError):
    """The run was started and could not be finished."""


class BrokenFileError(RunError):
    """An input file is damaged.

    Attributes:
      fault: what is wrong with it, without path and remedy; the same wherever the file lies.
      offset: byte at which that was noticed, in the decompressed content once that is read.
    """

    def __init__(self, place: str, fault: str, offset: int, remedy: str) -> None:
        super().__init__(
            f"{in_one_line(place)}, byte {offset:,}: {fault}; {remedy}, or leave it out with "
            "--skip_broken_files"
        )
        self.fault = fault
        self.offset = offset
        self._arguments = place, fault, offset, remedy

    def __reduce__(self) -> tuple[type["BrokenFileError"], tuple[str, str, int, str]]:
        return type(self), self._arguments


def in_one_line(name: str) -> str:
    """Returns the name of a file, whatever characters it has, as it can stand in a message."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], name)


def explain_os_error(error: OSError) -> str:
    """Says what an operating system's error means for a run, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{error.filename or 'an output'}: no space is left on the disk; free some and give "
            "the same command again, without --overwrite: what is done is kept"
        )
    return str(error)
