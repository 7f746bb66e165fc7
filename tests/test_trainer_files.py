"""Whole files, local and elsewhere."""

import subprocess
import sys

import pytest

from trainer.files import read_file, write_file


@pytest.fixture(params=["local", pytest.param("elsewhere", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """Returns a path, or a URL, through which TensorFlow reaches files."""
    if request.param == "local":
        return str(tmp_path)
    return f"file://{tmp_path}"


def test_what_is_written_is_read(place, tmp_path):
    for content in (b"one\r\n\xff", b""):
        write_file(f"{place}/file", content)
        assert read_file(f"{place}/file") == content == (tmp_path / "file").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folders_are_made(place, tmp_path):
    write_file(f"{place}/a/b/file", b"x")
    assert (tmp_path / "a/b/file").read_bytes() == b"x"


def test_missing_file_is_named(place):
    with pytest.raises(FileNotFoundError, match="No such file or directory") as raised:
        read_file(f"{place}/file")
    assert raised.value.filename == f"{place}/file"


def test_local_files_need_no_tensorflow(tmp_path):
    program = (
        "import sys; from trainer.files import *; write_file(sys.argv[1], b'x')\n"
        "read_file(sys.argv[1]); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, f"{tmp_path}/file"]).returncode == 0
