"""Hostile and broken input files: one message each, bounded memory and disk.

Each test runs the real command in a process of its own and looks at its peak memory.
"""

import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.blocks import read_rows
from pipeline.cli import main
from pipeline.manifest import parse_manifest
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.vocab_file import format_vocab

pytestmark = pytest.mark.slow

GOOD = "本市今天起试行新的公交线路，方便沿线居民出行，票价保持不变。第{}号通告。"
NAME = "mine_train.jsonl"
NEWS_NAME = "news2016zh_train.json"  # recognised by its name alone
HUGE_LINE_BYTES = 50_000_000


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
      code: its exit code.
      said: what it printed as errors.
      peak_bytes: its peak memory.
    """

    code: int
    said: str
    peak_bytes: int


# A process begins with the peak of the one it was forked from: this one's would be too high.
# Linux counts in KiB, macOS in bytes.
MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
peak *= 1 if sys.platform == "darwin" else 1024
print(json.dumps([done.returncode, done.stderr, peak]))
"""


class Bench:
    """A folder with an input directory, and the command that reads it."""

    def __init__(self, folder: Path) -> None:
        self.input = folder / "input"
        self.out = folder / "out"
        self.input.mkdir()
        self.vocab = folder / "vocab.txt"
        tokens = select_tokens(TokenCounts.empty(), lambda words, size: [])
        self.vocab.write_bytes(format_vocab(tokens))
        self.put("good_train.jsonl", lines(30))

    def put(self, name: str, data: bytes) -> Path:
        (self.input / name).write_bytes(data)
        return self.input / name

    def flags(self, *more: str) -> list[str]:
        paths = f"--input_dir={self.input}", f"--output_dir={self.out}", f"--vocab={self.vocab}"
        return [*paths, "--num_workers=1", "--quiet", *more]

    def run(self, *more: str) -> Ended:
        command = [sys.executable, "-m", "pipeline", *self.flags(*more)]
        measured = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True
        )
        return Ended(*json.loads(measured.stdout))

    def disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())

    def skipped(self) -> list[tuple[str, str]]:
        path = self.out / "documents/manifest.json"
        manifest = parse_manifest(path.read_bytes(), str(path))
        return [(stretch.name, stretch.reason) for stretch in manifest.skipped]

    def kept(self) -> int:
        parts = sorted((self.out / "documents").glob("part-*"))
        return sum(1 for part in parts for _ in read_rows(str(part)))


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def usual_peak(tmp_path_factory) -> int:
    """Peak memory of a run over nothing but a few good lines."""
    ended = Bench(tmp_path_factory.mktemp("usual")).run()
    assert (ended.code, ended.said) == (0, "")
    return ended.peak_bytes


def lines(count: int, first: int = 0) -> bytes:
    texts = [GOOD.format(number) for number in range(first, first + count)]
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def huge_line() -> bytes:
    """A document of 50 MB in one line, as badly compressible as text is."""
    text = "".join(GOOD.format(number) for number in range(HUGE_LINE_BYTES // 100))
    line = json.dumps({"text": text}, ensure_ascii=False).encode()
    assert len(line) > HUGE_LINE_BYTES
    return line + b"\n"


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


# --- A line of 50 MB ---


@pytest.mark.parametrize("packed", ["plain", "gz", "zip"])
def test_line_of_50_mb_is_rejected_and_recorded_in_bounded_memory(bench, usual_peak, packed):
    data = lines(5, 100) + huge_line() + lines(5, 200)
    if packed == "plain":
        bench.put(NAME, data)
    elif packed == "gz":
        bench.put(f"{NAME}.gz", gzip.compress(data, 1))
    else:
        bench.put("mine.zip", zip_of({NAME: data}))
    size = len(data)
    del data
    ended = bench.run()
    assert (ended.code, ended.said) == (0, "")
    assert bench.kept() == 40
    (row,) = [
        row for part in (bench.out / "rejected").glob("part-*") for row in read_rows(str(part))
    ]
    assert (row["stage"], row["reason"]) == ("read", "line_too_long")
    assert row["text"].startswith('{"text": "本市今天起试行') and len(row["text"]) == 1000
    # At most the 16 MiB that make a line too long, twice: as pieces and joined.
    assert ended.peak_bytes < usual_peak + (64 << 20)
    assert bench.disk_bytes() < size


# --- Broken files: named with their offset, or left out and listed ---


def broken_middle(data: bytes) -> bytes:
    """Damages a packed file in the middle of its compressed data."""
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


def encrypted() -> bytes:
    packed = bytearray(zip_of({NAME: lines(9)}))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


LINES = lines(20_000, 1_000)
BROKEN = {
    "truncated zip": ("mine.zip", zip_of({NAME: LINES})[:-200], "is no zip file or cut off"),
    "no zip at all": ("mine.zip", b"<html>404</html>", "is no zip file or cut off"),
    "damaged zip": ("mine.zip", broken_middle(zip_of({NAME: LINES})), "cannot be unpacked"),
    "encrypted zip": ("mine.zip", encrypted(), "is encrypted"),
    "member outside": ("mine.zip", zip_of({f"../{NAME}": LINES}), "points out of the archive"),
    "absolute member": ("mine.zip", zip_of({f"/etc/{NAME}": LINES}), "points out of the archive"),
    "zip bomb": ("mine.zip", zip_of({NAME: bytes(300_000_000)}), "as those of a zip bomb"),
    "truncated gz": (f"{NAME}.gz", gzip.compress(LINES)[:-5_000], "cannot be unpacked"),
    "damaged gz": (f"{NAME}.gz", broken_middle(gzip.compress(LINES)), "cannot be unpacked"),
    "gz bomb": (f"{NEWS_NAME}.gz", gzip.compress(bytes(300_000_000)), "as a bomb does"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_file_is_named_with_its_offset_and_fails_the_run(bench, usual_peak, kind):
    name, data, fault = BROKEN[kind]
    path = bench.put(name, data)
    ended = bench.run()
    assert ended.code == 1
    assert ended.said.startswith(f"pipeline: {path}")
    assert fault in ended.said and ", byte " in ended.said
    assert ended.said.endswith("or leave it out with --skip_broken_files\n")
    assert ended.said.count("\n") == 1
    assert not (bench.out / "documents/manifest.json").exists()
    assert ended.peak_bytes < usual_peak + (64 << 20)
    assert not list(bench.out.rglob("*.tmp"))
    # No more is written than 64 MiB of a bomb, compressed.
    assert not bench.out.exists() or bench.disk_bytes() < 2 * len(LINES)


@pytest.mark.parametrize("kind", BROKEN)
def test_skipped_broken_file_is_accounted_for_and_the_rest_is_read(bench, usual_peak, kind):
    name, data, fault = BROKEN[kind]
    bench.put(name, data)
    ended = bench.run("--skip_broken_files")
    assert (ended.code, ended.said) == (0, "")
    ((skipped, reason),) = bench.skipped()
    assert skipped in (name, NAME, NEWS_NAME)
    assert fault in reason and reason.startswith("byte ")
    assert bench.kept() == 30
    assert ended.peak_bytes < usual_peak + (64 << 20)


def test_skipped_file_is_read_when_it_has_been_mended(bench, capsys):
    bench.put("mine.zip", BROKEN["truncated zip"][1])
    assert main(bench.flags("--skip_broken_files")) == 0
    assert "mine.zip" in capsys.readouterr().out
    assert bench.kept() == 30
    bench.put("mine.zip", zip_of({NAME: lines(20, 500)}))
    assert main(bench.flags("--skip_broken_files")) == 0
    assert bench.kept() == 50 and bench.skipped() == []


def test_skipped_file_fails_the_next_run_without_the_flag(bench, capsys):
    bench.put(f"{NAME}.gz", BROKEN["damaged gz"][1])
    assert main(bench.flags("--skip_broken_files")) == 0
    assert main(bench.flags()) == 1
    assert "cannot be unpacked" in capsys.readouterr().err


# --- A file that changes while it is read ---


def shrink_after_listing(monkeypatch, path: Path, size: int) -> None:
    from pipeline.inputs import find_inputs

    def find_and_shrink(*arguments):
        found = find_inputs(*arguments)
        os.truncate(path, size)
        return found

    monkeypatch.setattr("pipeline.run.find_inputs", find_and_shrink)


def test_file_that_shrinks_is_named_with_where_it_ends(bench, monkeypatch, capsys):
    path = bench.put(NAME, LINES)
    shrink_after_listing(monkeypatch, path, 1_000)
    assert main(bench.flags()) == 1
    assert capsys.readouterr().err == (
        f"pipeline: {path}, byte 1,000: the file ends here and had at least {len(LINES):,} bytes "
        "when the run began; stop what changes it and start again, or leave it out with "
        "--skip_broken_files\n"
    )


def test_stretch_of_a_file_that_shrinks_can_be_left_out(bench, monkeypatch):
    path = bench.put(NAME, LINES)
    shrink_after_listing(monkeypatch, path, 1_000)
    assert main(bench.flags("--skip_broken_files")) == 0
    ((name, reason),) = bench.skipped()
    assert name == NAME and reason.startswith("byte 1,000: the file ends here")
    assert bench.kept() == 30


# --- The disk ---


def test_full_disk_is_told_and_the_next_run_goes_on(bench, tmp_path):
    """A limit on file sizes stands in for a small disk: the system refuses to write on."""
    program = (
        "import errno, os, sys\n"
        "from pipeline import files\n"
        "from pipeline.cli import main\n"
        "fsync = files.os.replace\n"
        "done = [0]\n"
        "def replace(source, target):\n"
        "    done[0] += 1\n"
        "    if done[0] == 10:\n"
        "        raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "    fsync(source, target)\n"
        "files.os.replace = replace\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *bench.flags()], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"pipeline: {bench.out}/")
    assert ended.stderr.endswith(
        ": no space is left on the disk; free some and give the same command again, without "
        "--overwrite: what is done is kept\n"
    )
    assert not list(bench.out.rglob("*.tmp"))
    assert main(bench.flags()) == 0
    assert bench.kept() == 30


def test_memory_of_a_run_is_measured(usual_peak):
    assert 100 << 20 < usual_peak < 400 << 20
