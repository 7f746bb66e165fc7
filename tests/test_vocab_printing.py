"""Whoever reads what a command line prints may go, as `head` does: the program ends quietly."""

import contextlib
import io
import os
import re
import subprocess
import sys

import made_outputs
import pytest
import zstandard

from vocab.printing import until_reader_leaves
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

LINES = 1  # what is printed goes out at the end of each line


@pytest.fixture
def abandoned(monkeypatch):
    """Makes standard output one that nobody reads any more."""
    with contextlib.ExitStack() as streams:

        def leave(buffering):
            reader, writer = os.pipe()
            os.close(reader)
            stream = streams.enter_context(open(writer, "w", buffering))
            monkeypatch.setattr(sys, "stdout", stream)

        yield leave


def test_program_ends_as_if_done_and_prints_no_more(abandoned):
    abandoned(LINES)
    done = []
    with pytest.raises(SystemExit) as stop, until_reader_leaves():
        print("seen by nobody")
        done.append("what comes behind")
    assert stop.value.code == 0 and not done
    print("goes nowhere", flush=True)


def test_what_waits_in_the_buffer_is_printed_before_the_end(abandoned):
    abandoned(io.DEFAULT_BUFFER_SIZE)
    with pytest.raises(SystemExit), until_reader_leaves():
        print("too short to be written at once")


def test_connection_that_breaks_elsewhere_stays_an_error(capfd):
    with pytest.raises(BrokenPipeError, match="a socket"), until_reader_leaves():
        raise BrokenPipeError("a socket")


def test_connection_that_breaks_in_a_notebook_stays_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(BrokenPipeError, match="a socket"), until_reader_leaves():
        raise BrokenPipeError("a socket")


def test_all_is_printed_where_it_is_read(capfd):
    with until_reader_leaves():
        print("read")
    assert capfd.readouterr().out == "read\n"


def report_flags(folder):
    (folder / "vocab.txt").write_bytes(format_vocab([*SPECIAL_TOKENS, "桥"]))
    (folder / "documents").mkdir()
    row = '{"doc_id":"a","corpus":"wiki2019zh","split":"train","text":"石桥"}\n'
    packed = zstandard.compress(row.encode())
    (folder / "documents/part-00000-of-00001.jsonl.zst").write_bytes(packed)
    return ["report", f"--documents={folder}/documents", f"--vocab={folder}/vocab.txt"]


def inspect_flags(folder):
    made_outputs.make_outputs(folder)
    return ["inspect", f"--output_dir={folder}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "make_flags"),
    [
        ("vocab.cli", report_flags),
        ("pipeline", inspect_flags),
        ("trainer", lambda folder: ["config", "--config=tiny"]),
    ],
)
def test_command_line_ends_quietly(tmp_path, module, make_flags):
    command = [sys.executable, "-m", module, *make_flags(tmp_path)]
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as unread:
        ended = subprocess.run(command, stdout=unread, stderr=subprocess.PIPE, timeout=60)
    assert ended.returncode == 0
    assert not re.search("broken|exception|error", ended.stderr.decode(), re.IGNORECASE)
    whole = subprocess.run(command, capture_output=True, timeout=60)
    assert whole.returncode == 0 and whole.stdout
