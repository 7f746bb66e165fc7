import copy
import errno
import os
import pickle

import pytest

from pipeline.errors import (
    BrokenFileError,
    PipelineError,
    RunError,
    UsageError,
    explain_os_error,
)

BROKEN = ("in/a.zip:x/a.json", "cannot be unpacked (Bad CRC)", 1_234_567, "download it again")


def pickled(error):
    return pickle.loads(pickle.dumps(error))


def test_broken_file_error_says_place_byte_fault_remedy_and_flag():
    assert str(BrokenFileError(*BROKEN)) == (
        "in/a.zip:x/a.json, byte 1,234,567: cannot be unpacked (Bad CRC); download it again, or "
        "leave it out with --skip_broken_files"
    )


def test_broken_file_error_keeps_fault_and_offset():
    error = BrokenFileError(*BROKEN)
    assert (error.fault, error.offset) == ("cannot be unpacked (Bad CRC)", 1_234_567)
    assert isinstance(error, RunError)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, pickled])
def test_broken_file_error_comes_whole_from_another_process(clone):
    error = BrokenFileError(*BROKEN)
    other = clone(error)
    assert other is not error
    assert type(other) is BrokenFileError
    assert (str(other), other.fault, other.offset) == (str(error), error.fault, error.offset)
    # And once more: the launcher copies what a worker sent.
    assert str(clone(other)) == str(error)


@pytest.mark.parametrize("clone", [copy.copy, pickled])
@pytest.mark.parametrize("kind", [PipelineError, UsageError, RunError])
def test_other_errors_come_whole_from_another_process(clone, kind):
    other = clone(kind("what; where; what to do"))
    assert (type(other), str(other)) == (kind, "what; where; what to do")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_explain_os_error_of_a_full_disk_says_file_and_remedy(code):
    error = OSError(code, os.strerror(code), "out/a.zst")
    assert explain_os_error(error) == (
        "out/a.zst: no space is left on the disk; free some and give the same command again, "
        "without --overwrite: "
        "what is done is kept"
    )


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ENOENT])
def test_explain_os_error_of_other_kinds_is_what_the_system_says(code):
    error = OSError(code, os.strerror(code), "in/a.json")
    assert explain_os_error(error) == f"[Errno {code}] {os.strerror(code)}: 'in/a.json'"


def test_explain_os_error_takes_an_error_without_number():
    assert explain_os_error(OSError("odd")) == "odd"
