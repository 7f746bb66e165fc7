from pathlib import Path

import pytest

from trainer.new_folder import new_folder

pytestmark = pytest.mark.slow


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize("is_there", [False, True])
def test_folder_takes_its_name_at_the_end(tmp_path, end, is_there):
    target = tmp_path / "above" / "made"
    if is_there:
        target.mkdir(parents=True)
    with new_folder(f"{target}{end}") as unfinished:
        (Path(unfinished) / "file").write_text("content")
        assert not target.exists() or names_in(target) == []
    assert names_in(tmp_path) == ["above", "above/made", "above/made/file"]
    assert (target / "file").read_text() == "content"


def test_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_folder(f"{tmp_path}/made") as unfinished:
        (Path(unfinished) / "file").write_text("content")
        raise KeyError
    assert names_in(tmp_path) == []


def test_what_a_killed_process_left_is_deleted(tmp_path):
    (tmp_path / "made.unfinished").mkdir()
    (tmp_path / "made.unfinished" / "half").write_text("con")
    with new_folder(f"{tmp_path}/made") as unfinished:
        (Path(unfinished) / "file").write_text("content")
    assert names_in(tmp_path) == ["made", "made/file"]


def test_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("content")
    with pytest.raises(FileExistsError, match=r"is not empty; give"), new_folder(str(tmp_path)):
        pytest.fail("must not begin")
    assert names_in(tmp_path) == ["file"]


def test_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("content")
    refused = pytest.raises(FileExistsError, match=r"file: is a file; give a folder")
    with refused, new_folder(f"{tmp_path}/file"):
        pytest.fail("must not begin")
    assert names_in(tmp_path) == ["file"]
