import builtins
import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline import files
from pipeline.errors import UsageError


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_finished_or_absent_shows_file_only_when_complete(tmp_path):
    path = tmp_path / "a" / "b" / "out.bin"
    with files.finished_or_absent(str(path)) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names_below(tmp_path) == ["a", "a/b", "a/b/out.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_finished_or_absent_leaves_nothing_after_an_error(tmp_path, error):
    with (
        pytest.raises(error),
        files.finished_or_absent(str(tmp_path / "out.bin")) as file,
    ):
        file.write(b"half")
        raise error
    assert names_below(tmp_path) == []


def test_finished_or_absent_replaces_an_existing_file(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old and longer")
    with files.finished_or_absent(str(path)) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old and longer"
    assert path.read_bytes() == b"new"
    assert names_below(tmp_path) == ["out.bin"]


def test_finished_or_absent_keeps_existing_file_after_an_error(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(ValueError), files.finished_or_absent(str(path)) as file:
        file.write(b"half")
        raise ValueError
    assert path.read_bytes() == b"old"
    assert names_below(tmp_path) == ["out.bin"]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "out.bin"
    with files.finished_or_absent(str(path)) as first:
        with files.finished_or_absent(str(path)) as second:
            first.write(b"first")
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names_below(tmp_path) == ["out.bin"]


def test_write_bytes_and_read_bytes_round_trip(tmp_path):
    path = str(tmp_path / "new" / "out.bin")
    files.write_bytes(path, b"\x00\r\n\xff")
    assert files.read_bytes(path) == b"\x00\r\n\xff"


def test_open_for_reading_does_not_unpack_and_can_seek(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b no gzip at all")
    with files.open_for_reading(str(tmp_path / "a.gz")) as file:
        file.seek(3)
        assert file.read() == b"no gzip at all"


def test_list_files_returns_path_and_size_of_every_file_below_a_folder(tmp_path):
    for name, data in {"a": b"", "b.txt": b"12", "deep/er/.c": b"123"}.items():
        files.write_bytes(str(tmp_path / name), data)
    (tmp_path / "empty").mkdir()
    found = sorted(files.list_files(str(tmp_path)))
    assert [(path, size_bytes) for path, size_bytes, _ in found] == [
        (str(tmp_path / "a"), 0),
        (str(tmp_path / "b.txt"), 2),
        (str(tmp_path / "deep" / "er" / ".c"), 3),
    ]
    assert [file.modified for file in found] == [os.stat(file.path).st_mtime_ns for file in found]


def test_list_files_tells_a_file_that_was_written_again(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, ns=(0, 1_700_000_000_000_000_001))
    assert files.list_files(str(tmp_path)) == [
        files.FoundFile(str(path), 1, 1_700_000_000_000_000_001)
    ]
    os.utime(path, ns=(0, 1_700_000_000_000_000_002))
    assert files.list_files(str(tmp_path))[0].modified == 1_700_000_000_000_000_002


def test_list_files_of_missing_or_empty_folder_is_empty(tmp_path):
    assert files.list_files(str(tmp_path)) == []
    assert files.list_files(str(tmp_path / "missing")) == []


def test_list_files_follows_links_once_and_leaves_out_what_is_no_file(tmp_path):
    files.write_bytes(str(tmp_path / "real" / "a"), b"1")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "other").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    (tmp_path / "linked").symlink_to(tmp_path / "real" / "a")
    os.mkfifo(tmp_path / "pipe")
    found = [file.path for file in files.list_files(str(tmp_path))]
    assert str(tmp_path / "linked") in found
    assert len(found) == 2 and {os.path.realpath(path) for path in found} == {
        str(tmp_path / "real" / "a")
    }


def test_recording_notes_path_and_size_of_files_that_are_finished_meanwhile(tmp_path):
    one, two, three, four = (str(tmp_path / name) for name in ("one", "a/two", "three", "four"))
    files.write_bytes(one, b"1")
    with files.recording() as written:
        files.write_bytes(two, b"22")
        assert written == {two: 2}
        with files.finished_or_absent(three) as file:
            file.write(b"333")
            assert written == {two: 2}
        with pytest.raises(ValueError), files.finished_or_absent(four) as file:
            raise ValueError
        files.write_bytes(two, b"")
    files.write_bytes(one, b"4444")
    assert written == {two: 0, three: 3}


def test_recording_inside_another_notes_its_files_alone(tmp_path):
    one, two, three = (str(tmp_path / name) for name in ("one", "two", "three"))
    with files.recording() as outer:
        files.write_bytes(one, b"")
        with files.recording() as inner:
            files.write_bytes(two, b"")
        files.write_bytes(three, b"")
    assert (set(outer), set(inner)) == ({one, three}, {two})


def test_recording_ends_with_an_error(tmp_path):
    with pytest.raises(ValueError), files.recording() as written:
        raise ValueError
    files.write_bytes(str(tmp_path / "one"), b"")
    assert written == {}


def test_recordings_of_two_threads_do_not_meet(tmp_path):
    paths = [str(tmp_path / name) for name in "ab"]
    both_record = threading.Barrier(2, timeout=60)

    def write(path):
        with files.recording() as written:
            both_record.wait()
            files.write_bytes(path, b"12")
            both_record.wait()
        return written

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, paths)) == [{path: 2} for path in paths]


def test_size_of_gives_bytes_of_a_file_and_minus_one_where_there_is_none(tmp_path):
    files.write_bytes(str(tmp_path / "a"), b"123")
    files.write_bytes(str(tmp_path / "empty"), b"")
    names = ("a", "empty", "missing", "a/below")
    assert [files.size_of(str(tmp_path / name)) for name in names] == [3, 0, -1, -1]


def test_os_error_without_a_file_name_gets_that_of_the_file_that_was_written(tmp_path):
    path = str(tmp_path / "out.bin")
    with pytest.raises(OSError) as raised, files.finished_or_absent(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == path
    assert str(raised.value) == f"[Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}: {path!r}"


def test_os_error_with_a_file_name_keeps_it(tmp_path):
    with (
        pytest.raises(FileNotFoundError) as raised,
        files.finished_or_absent(str(tmp_path / "out.bin")),
    ):
        files.read_bytes(str(tmp_path / "missing"))
    assert raised.value.filename == str(tmp_path / "missing")


def test_os_error_of_two_files_names_the_one_that_was_written_last(tmp_path):
    outer, inner = str(tmp_path / "outer"), str(tmp_path / "inner")
    with (
        pytest.raises(OSError) as raised,
        files.finished_or_absent(outer),
        files.finished_or_absent(inner),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == inner
    assert names_below(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_told_by_the_name_of_the_file(tmp_path, monkeypatch):
    path, real_open = tmp_path / "out.bin", Path.open
    monkeypatch.setattr(Path, "open", lambda _, mode: real_open(Path("/dev/full"), mode))
    with pytest.raises(OSError) as raised:
        files.write_bytes(str(path), b"data")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert names_below(tmp_path) == []


def test_write_that_cannot_make_its_folder_names_it(tmp_path):
    files.write_bytes(str(tmp_path / "file"), b"")
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "file"))):
        files.write_bytes(str(tmp_path / "file" / "below"), b"")


def test_exists_knows_files_and_folders(tmp_path):
    files.write_bytes(str(tmp_path / "folder" / "file"), b"")
    assert files.exists(str(tmp_path / "folder"))
    assert files.exists(str(tmp_path / "folder" / "file"))
    assert not files.exists(str(tmp_path / "folder" / "other"))


def test_delete_removes_file_or_folder_and_takes_a_missing_one(tmp_path):
    for name in ("one", "folder/two", "folder/deeper/three", "stays"):
        files.write_bytes(str(tmp_path / name), b"")
    for name in ("one", "folder", "missing"):
        files.delete(str(tmp_path / name))
    assert names_below(tmp_path) == ["stays"]


@pytest.mark.parametrize(
    ("folder", "names", "expected"),
    [
        ("/out", ("documents", "a.zst"), "/out/documents/a.zst"),
        ("/out/", ("a",), "/out/a"),
        ("out", ("a",), "out/a"),
        ("gs://bucket/out", ("documents", "a.zst"), "gs://bucket/out/documents/a.zst"),
    ],
)
def test_join_puts_slashes_between_local_and_remote_names(folder, names, expected):
    assert files.join(folder, *names) == expected


@pytest.mark.parametrize(
    ("path", "expected"), [("gs://bucket/a", True), ("/a/b", False), ("a", False), ("C:/a", False)]
)
def test_is_remote_knows_schemes(path, expected):
    assert files.is_remote(path) is expected


def test_list_beginning_finds_files_of_one_folder_by_the_beginning_of_their_names(tmp_path):
    for name in ("run.json", "run.json.1.tmp", "run.json.2.tmp", "other", "below/run.json.3.tmp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found = files.list_beginning(f"{tmp_path}/run.json.")
    assert sorted(found) == [f"{tmp_path}/run.json.1.tmp", f"{tmp_path}/run.json.2.tmp"]
    assert files.list_beginning(f"{tmp_path}/missing/run.json.") == []


@pytest.mark.parametrize("path", ["", "a/b", "/a", "gs://bucket", "gs://bucket/", "gs://bucket/a"])
def test_check_takes_local_paths_and_cloud_storage(path):
    files.check(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gs:bucket/a", "gs:bucket/a: is no place in Cloud Storage; give it as gs://bucket/folder"),
        ("gs://", "gs://: is no place in Cloud Storage; give it as gs://bucket/folder"),
        ("s3://b/a", "s3://b/a: only local paths and gs://bucket/folder can be read and written"),
    ],
)
def test_check_refuses_other_places(path, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        files.check(path)


@pytest.mark.parametrize(
    ("missing", "error"), [("google.api_core", UsageError), ("x", ImportError)]
)
def test_cloud_storage_without_its_packages_is_refused(monkeypatch, missing, error):
    def import_none(name, *_):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(builtins, "__import__", import_none)
    try:
        with pytest.raises(error) as raised:
            files.exists("gs://bucket/a")
    finally:
        monkeypatch.undo()
    assert missing in str(raised.value)
    assert error is ImportError or "chinese-t5s[gcp]" in str(raised.value)
