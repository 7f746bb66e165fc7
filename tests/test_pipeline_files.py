import pytest

from pipeline import files


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
    assert sorted(files.list_files(str(tmp_path))) == [
        (str(tmp_path / "a"), 0),
        (str(tmp_path / "b.txt"), 2),
        (str(tmp_path / "deep" / "er" / ".c"), 3),
    ]


def test_list_files_of_missing_or_empty_folder_is_empty(tmp_path):
    assert files.list_files(str(tmp_path)) == []
    assert files.list_files(str(tmp_path / "missing")) == []


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
