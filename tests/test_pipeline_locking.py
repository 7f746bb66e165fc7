import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.layout import Layout
from pipeline.locking import locked


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "out"))


HOLD = """
import sys
from pipeline.layout import Layout
from pipeline.locking import locked
with locked(Layout(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""


@contextlib.contextmanager
def holder_of(layout):
    """A process that holds the lock until it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, layout.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_locked_makes_the_directory_and_can_be_taken_one_after_the_other(layout):
    for _ in range(2):
        with locked(layout):
            assert Path(layout.root).is_dir()
    assert not list(Path(layout.root).iterdir())


def test_locked_refuses_a_second_run_while_the_first_goes_on(layout):
    with holder_of(layout) as holder:
        for _ in range(2):
            with pytest.raises(UsageError) as raised, locked(layout):
                raise AssertionError
            assert str(raised.value) == (
                f"another run is writing to {layout.root}; wait for its end, or choose another "
                "--output_dir"
            )
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "free\n"
        with locked(layout):
            pass


def test_locked_is_free_after_its_holder_was_killed(layout):
    with holder_of(layout) as holder:
        holder.kill()
        holder.wait()
        with locked(layout):
            pass


def test_locked_does_not_mind_runs_in_other_directories(layout, tmp_path):
    with holder_of(layout), locked(Layout(str(tmp_path / "other"))):
        pass


def test_locked_is_free_after_an_error(layout):
    with pytest.raises(ZeroDivisionError), locked(layout):
        raise ZeroDivisionError
    with locked(layout):
        pass


def test_locked_refuses_a_place_where_no_directory_can_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UsageError) as raised, locked(Layout(str(root))):
            raise AssertionError
        assert str(raised.value).startswith(f"--output_dir={root} cannot be written to (")
        assert str(raised.value).endswith("); choose another")


TRY = """
import fcntl, os, sys
from pipeline.errors import UsageError
from pipeline.layout import Layout
from pipeline.locking import locked
if os.geteuid() == 0:
    os.seteuid(65534)  # nobody, who may import no more: root may write anywhere
try:
    with locked(Layout(sys.argv[1])):
        print("locked")
except UsageError as error:
    print(error)
"""


@pytest.fixture
def public_folder():
    """A folder that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize("name", ["", "below"])
def test_locked_refuses_a_directory_that_cannot_be_written_to(public_folder, name):
    os.chmod(public_folder, 0o555)
    root = os.path.join(public_folder, name) if name else str(public_folder)
    done = subprocess.run([sys.executable, "-c", TRY, root], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (
        f"--output_dir={root} cannot be written to (Permission denied); choose another\n",
        "",
    )
    os.chmod(public_folder, 0o755)
    assert list(public_folder.iterdir()) == []


def test_locked_takes_a_directory_that_the_effective_user_may_write_to(public_folder):
    os.chmod(public_folder, 0o777)
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(public_folder)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("locked\n", "")


def refuse(error):
    def fail(*_, **__):
        raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize(
    ("name", "replaced", "why"),
    [
        ("access", lambda *_, **__: False, "cannot be written to (Permission denied)"),
        ("open", refuse(errno.EMFILE), "cannot be read (Too many open files)"),
    ],
)
def test_locked_refuses_what_the_system_refuses(layout, monkeypatch, name, replaced, why):
    monkeypatch.setattr(os, name, replaced)
    if name == "access":
        monkeypatch.setattr(os, "supports_effective_ids", set())
    with pytest.raises(UsageError) as raised, locked(layout):
        raise AssertionError
    assert str(raised.value) == f"--output_dir={layout.root} {why}; choose another"


def test_locked_tells_another_run_from_a_file_system_without_locks(layout, monkeypatch):
    for error, is_free in ((errno.EWOULDBLOCK, False), (errno.EACCES, False), (errno.ENOLCK, True)):
        monkeypatch.setattr(fcntl, "flock", refuse(error))
        expected = contextlib.nullcontext() if is_free else pytest.raises(UsageError, match="anoth")
        with expected, locked(layout):
            assert is_free


def test_locked_locks_nothing_where_the_system_has_no_locks(layout, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(layout), locked(layout):
        pass
