import gc
import io
import os
import random
import re
import subprocess
import sys
import warnings
import zipfile
from contextlib import redirect_stderr

import pytest

from pipeline import cloud, files
from pipeline.cli import main
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import RunError
from pipeline.options import RunOptions
from pipeline.run import run
from tests import cloud_storage
from tests.cloud_storage import Emulator

pytestmark = pytest.mark.slow

DOCUMENTS = DocumentsConfig(unit_bytes=20_000, block_text_bytes=4_000)
INSTANCES = InstancesConfig(shard_text_bytes=40_000)


@pytest.fixture
def emulator():
    with cloud_storage.running() as emulator:
        yield emulator


# --- Files ---


def test_written_file_is_read_back_listed_and_deleted(emulator):
    path = "gs://bucket/folder/例 file.json"
    files.write_bytes(path, b"content")
    assert files.read_bytes(path) == b"content"
    assert files.size_of(path) == 7 and files.exists(path)
    assert [found[:2] for found in files.list_files("gs://bucket/folder")] == [(path, 7)]
    files.delete(path)
    assert files.size_of(path) == -1 and not files.exists(path)
    assert files.list_files("gs://bucket/folder") == []


def test_file_that_is_written_again_has_another_generation(emulator):
    generations = set()
    for content in (b"old", b"new"):
        files.write_bytes("gs://bucket/a", content)
        (found,) = files.list_files("gs://bucket")
        generations.add(found.modified)
    assert files.read_bytes("gs://bucket/a") == b"new" and len(generations) == 2


def test_file_larger_than_what_is_kept_in_memory_arrives_whole(emulator, monkeypatch):
    monkeypatch.setattr(cloud, "_KEPT_IN_MEMORY_BYTES", 1 << 20)
    content = random.Random(0).randbytes(9 << 20)  # over what is sent in one request
    files.write_bytes("gs://bucket/large", content)
    assert files.read_bytes("gs://bucket/large") == content


def test_nothing_is_sent_of_a_file_whose_writing_failed(emulator):
    with pytest.raises(ZeroDivisionError), files.finished_or_absent("gs://bucket/a") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert emulator.requests == []


def test_recording_notes_sizes_without_asking(emulator):
    with files.recording() as written:
        files.write_bytes("gs://bucket/a", b"12345")
    assert written == {"gs://bucket/a": 5} and len(emulator.requests) == 1


def test_folder_is_deleted_with_all_it_holds_and_nothing_else(emulator):
    for name in ("a/1", "a/b/2", "a", "ab/3"):
        files.write_bytes(f"gs://bucket/{name}", b"")
    files.delete("gs://bucket/a")
    assert [found.path for found in files.list_files("gs://bucket")] == ["gs://bucket/ab/3"]


def test_deleting_what_is_not_there_asks_once(emulator):
    files.delete("gs://bucket/none")
    assert len(emulator.requests) == 1


def test_marks_of_empty_folders_are_not_listed(emulator):
    files.write_bytes("gs://bucket/folder/", b"")
    assert files.list_files("gs://bucket/folder") == []


@pytest.mark.parametrize("fetch_bytes", [1, 7, 64, 5000])
def test_open_file_reads_and_seeks_as_a_local_one(emulator, tmp_path, fetch_bytes):
    rng = random.Random(fetch_bytes)
    content = rng.randbytes(300)
    local = tmp_path / "file"
    local.write_bytes(content)
    files.write_bytes("gs://bucket/file", content)
    opened = files.open_for_reading("gs://bucket/file", fetch_bytes)
    with opened as remote, local.open("rb") as expected:
        for _ in range(60):
            size = rng.choice([-1, 0, 1, 10, 100, 1000])
            assert remote.read(size) == expected.read(size)
            assert remote.tell() == expected.tell()
            whence = rng.choice([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])
            place = {io.SEEK_SET: rng.randrange(320), io.SEEK_CUR: 5, io.SEEK_END: -20}[whence]
            assert remote.seek(place, whence) == expected.seek(place, whence)


def test_open_file_fetches_once_what_is_read_in_pieces(emulator):
    files.write_bytes("gs://bucket/file", bytes(1000))
    emulator.requests.clear()
    with files.open_for_reading("gs://bucket/file", 600) as file:
        assert len(b"".join(iter(lambda: file.read(64), b""))) == 1000
    assert len(emulator.requests) == 2


def test_block_is_fetched_by_one_request_of_its_size(emulator):
    files.write_bytes("gs://bucket/file", bytes(range(200)))
    emulator.requests.clear()
    with files.open_for_reading("gs://bucket/file", 10) as file:
        file.seek(100)
        assert file.read(10) == bytes(range(100, 110))
    assert len(emulator.requests) == 1


def test_zip_is_read_by_few_requests(emulator):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("member", bytes(300_000))
    files.write_bytes("gs://bucket/a.zip", packed.getvalue())
    emulator.requests.clear()
    with (
        files.open_for_reading("gs://bucket/a.zip") as file,
        zipfile.ZipFile(file) as archive,
    ):
        assert archive.read("member") == bytes(300_000)
    assert len(emulator.requests) <= 5


def test_missing_file_is_told_by_its_path(emulator):
    with pytest.raises(FileNotFoundError, match="gs://bucket/none"):
        files.read_bytes("gs://bucket/none")
    with (
        pytest.raises(FileNotFoundError, match="gs://bucket/none"),
        files.open_for_reading("gs://bucket/none") as file,
    ):
        file.read(1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_requests_are_repeated_until_they_are_answered(emulator, status):
    emulator.refuse_every, emulator.status = 2, status
    files.write_bytes("gs://bucket/a", b"content")
    assert files.read_bytes("gs://bucket/a") == b"content"
    assert files.size_of("gs://bucket/a") == 7
    assert len(files.list_files("gs://bucket")) == 1
    files.delete("gs://bucket/a")
    assert files.list_files("gs://bucket") == []
    answered = [n for n in range(1, len(emulator.requests) + 1) if n % 2]
    assert len(emulator.requests) - len(answered) >= 4


def test_refused_download_leaves_no_connection_open(emulator):
    files.write_bytes("gs://bucket/a", b"content")
    gc.collect()
    emulator.refuse_every = 2
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert [files.read_bytes("gs://bucket/a") for _ in range(4)] == [b"content"] * 4
        gc.collect()
    assert not found


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(cloud, "RETRY", cloud.RETRY.with_timeout(0.2))


@pytest.mark.parametrize(
    "use",
    [
        lambda: files.read_bytes("gs://bucket/a"),
        lambda: files.write_bytes("gs://bucket/a", b""),
        lambda: files.size_of("gs://bucket/a"),
        lambda: files.list_files("gs://bucket/a"),
    ],
)
def test_server_that_never_answers_is_no_broken_file(emulator, impatient, use):
    emulator.refuse_every = 1
    with pytest.raises(RunError, match=r"gs://bucket/a.*503.*same command again later"):
        use()


def test_unreachable_server_is_no_broken_file(emulator, impatient, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    cloud.client.cache_clear()
    with pytest.raises(RunError, match="Cloud Storage does not answer"):
        files.read_bytes("gs://bucket/a")


# --- Errors that a user can mend ---


def fails(*flags: str) -> str:
    """Runs the pipeline with flags that are wrong; returns what it says, one line."""
    said = io.StringIO()
    with redirect_stderr(said):
        assert main(["documents", "--quiet", *flags]) == 2
    (line,) = said.getvalue().splitlines()
    return line


@pytest.mark.parametrize(
    ("input_dir", "output_dir", "message"),
    [
        ("gs://bucket/in", "gs://none/out", "gs://none: no such bucket.* make it with `gcloud"),
        ("gs://none/in", "gs://bucket/out", "gs://none: no such bucket"),
        ("gs://bucket/in", "gs://bucket/out", "--input_dir=gs://bucket/in: is empty or no dir"),
        ("gs://", "gs://bucket/out", "--input_dir=gs://: is no place .* gs://bucket/folder"),
        ("in", "gs:/bucket/out", "--output_dir=gs:/bucket/out: is no place"),
        ("in", "s3://bucket/out", "--output_dir=s3://bucket/out: only local paths and gs://"),
    ],
)
def test_wrong_place_is_told_in_one_line(emulator, input_dir, output_dir, message):
    line = fails(f"--input_dir={input_dir}", f"--output_dir={output_dir}")
    assert re.search(message, line)


def test_missing_permission_is_told_in_one_line(emulator):
    emulator.refuse_every, emulator.status = 1, 403
    line = fails("--input_dir=gs://bucket/in", "--output_dir=gs://bucket/out")
    assert "no permission (403" in line and "Storage Object Admin" in line


RUN_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({missing}))
from pipeline.cli import main
sys.exit(main(["documents", "--input_dir=gs://bucket/in", "--output_dir=gs://bucket/out"]))
"""


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["google.auth"], "gs:// needs Beam's extra for Google Cloud; run `pip install"),
        ([], "no credentials of Google Cloud were found; run `gcloud auth application-default"),
    ],
)
def test_what_is_missing_here_is_told_in_one_line(tmp_path, missing, message):
    names = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    found = subprocess.run(
        [sys.executable, "-c", RUN_WITHOUT.format(missing=missing)],
        env=environment | {"HOME": str(tmp_path), "NO_GCE_CHECK": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"pipeline: {message}")


# --- Whole runs ---


def run_small(input_dir: str, output_dir: str, **changes) -> None:
    run(
        RunOptions(
            input_dir=input_dir,
            output_dir=output_dir,
            documents=DOCUMENTS,
            instances=INSTANCES,
            quiet=True,
            **changes,
        )
    )


@pytest.fixture(scope="module")
def reference(bundled_corpus, tmp_path_factory) -> dict[str, bytes]:
    """What a local run makes of the bundled corpus."""
    folder = tmp_path_factory.mktemp("reference")
    run_small(str(bundled_corpus), str(folder))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def corpus(emulator, bundled_corpus) -> str:
    return emulator.copy_folder(bundled_corpus, "corpus")


def assert_same(
    emulator: Emulator, reference: dict[str, bytes], may_differ: tuple[str, ...] = ("run.json",)
) -> None:
    found = emulator.read_folder("out")
    assert sorted(found) == sorted(reference)
    differing = {name for name in found if found[name] != reference[name]}
    assert differing - {*may_differ} == set()


GIVEN = ("run.json", "report.html")
"""What says whether the vocabulary was learned or given."""


def test_run_in_the_cloud_makes_the_same_bytes_and_goes_on(emulator, corpus, reference):
    run_small(corpus, "gs://bucket/out")
    assert {"documents/manifest.json", "ledger.json", "vocab.txt"} < set(reference)
    assert_same(emulator, reference)

    made = {found.path: found.modified for found in files.list_files("gs://bucket/out/tfrecords")}
    emulator.requests.clear()
    run_small(corpus, "gs://bucket/out")
    again = {found.path: found.modified for found in files.list_files("gs://bucket/out/tfrecords")}
    assert again == made and len(made) > 10
    assert_same(emulator, reference)

    run_small(corpus, "gs://bucket/out", overwrite=True, vocab="gs://bucket/out/vocab.txt")
    renewed = {f.path: f.modified for f in files.list_files("gs://bucket/out/tfrecords")}
    assert renewed.keys() == made.keys() and not set(renewed.values()) & set(made.values())
    assert_same(emulator, reference, GIVEN)


def test_run_with_a_failing_server_makes_the_same_bytes(emulator, corpus, reference):
    vocab = emulator.write("vocab.txt", reference["vocab.txt"])
    emulator.requests.clear()
    emulator.refuse_every = 20
    run_small(corpus, "gs://bucket/out", vocab=vocab)
    assert len(emulator.requests) > 400
    emulator.refuse_every = 0
    assert_same(emulator, reference, GIVEN)


def test_worker_processes_make_the_same_bytes(emulator, corpus, reference):
    vocab = emulator.write("vocab.txt", reference["vocab.txt"])
    run_small(corpus, "gs://bucket/out", vocab=vocab, num_workers=2)
    assert_same(emulator, reference, GIVEN)
