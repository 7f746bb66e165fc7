import re
import sys

import pytest

from pipeline import progress


@pytest.fixture(autouse=True)
def ended():
    """Leaves no bar, and no quiet, to the next test."""
    yield
    progress.start(quiet=True)
    progress.start(quiet=False)


def run_stage(stage, units, recalled=0, size_bytes=1_000_000):
    progress.expect(stage, units, units * size_bytes)
    for number in range(units):
        progress.advance(stage, size_bytes, number < recalled)


def log_of(capsys):
    """What went to the log; nothing went to standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    return err


class Terminal:
    """Looks like the terminal that pytest took away."""

    def __init__(self):
        self.drawn = ""

    def isatty(self):
        return True

    def write(self, drawn):
        self.drawn += drawn

    def flush(self):
        pass


def test_log_gets_lines_without_carriage_returns_that_end_with_all_units(capsys):
    progress.start(quiet=False)
    run_stage("clean", 3)
    progress.stop()
    log = log_of(capsys)
    assert log.endswith("\n") and "\r" not in log and "\x1b" not in log
    lines = log.split("\n")[:-1]
    assert all(line == line.strip() and line.startswith("clean: ") for line in lines)
    assert re.fullmatch(r"clean: 100%.* 3\.00M/3\.00M .*B/s, 3/3 units\]", lines[-1])


def test_log_does_not_get_a_line_for_every_unit(capsys):
    progress.start(quiet=False)
    run_stage("clean", 500)
    progress.stop()
    assert len(log_of(capsys).splitlines()) < 10


def test_log_gets_a_bar_for_every_stage_in_turn(capsys):
    progress.start(quiet=False)
    run_stage("split", 1)
    run_stage("clean", 2)
    progress.stop()
    lines = log_of(capsys).splitlines()
    stages = [line.partition(":")[0] for line in lines]
    assert stages == sorted(stages, key=["split", "clean"].index)
    ends = [line for line in lines if "100%" in line]
    assert "1/1 units" in ends[0] and "2/2 units" in ends[-1]


def test_stage_that_was_not_announced_counts_units_without_a_total(capsys):
    progress.start(quiet=False)
    progress.advance("clean", 2_000_000, False)
    progress.advance("clean", 1_000_000, False)
    progress.stop()
    assert re.fullmatch(r"clean: 3\.00MB \[.*B/s, 2/\? units\]", log_of(capsys).splitlines()[-1])


def test_start_forgets_what_an_earlier_run_expected(capsys):
    progress.start(quiet=False)
    progress.expect("clean", 7, 7)
    progress.start(quiet=False)
    progress.advance("clean", 1, False)
    progress.stop()
    assert "1/? units" in log_of(capsys)


def test_stage_of_no_bytes_is_counted_too(capsys):
    progress.start(quiet=False)
    run_stage("split", 2, size_bytes=0)
    progress.stop()
    assert "2/2 units" in log_of(capsys).splitlines()[-1]


def test_quiet_run_writes_nothing(capsys):
    progress.start(quiet=True)
    run_stage("split", 3, recalled=2)
    progress.announce("vocabulary: learning 13,686 entries")
    run_stage("clean", 3)
    progress.stop()
    assert log_of(capsys) == ""


@pytest.mark.parametrize(
    ("recalled", "expected"), [(0, []), (1, ["1 of 3"]), (3, ["3 of 3"])], ids=str
)
def test_end_of_a_stage_says_how_many_units_were_done_before(capsys, recalled, expected):
    progress.start(quiet=False)
    run_stage("clean", 3, recalled)
    progress.stop()
    lines = [line for line in log_of(capsys).splitlines() if "before" in line]
    assert lines == [f"clean: {said} units were done before" for said in expected]


def test_next_stage_says_what_of_the_last_one_was_done_before(capsys):
    progress.start(quiet=False)
    run_stage("split", 2, recalled=2)
    run_stage("clean", 1)
    lines = log_of(capsys).splitlines()
    said = lines.index("split: 2 of 2 units were done before")
    assert all(line.startswith("clean: ") for line in lines[said + 1 :])
    progress.stop()


def test_announce_writes_one_line_beside_the_bar(capsys):
    progress.start(quiet=False)
    progress.announce("before any bar")
    progress.advance("clean", 1, False)
    progress.announce("beside a bar")
    log = log_of(capsys)
    assert "\r" not in log and "\x1b" not in log
    assert log.splitlines()[0] == "before any bar" and log.endswith("\nbeside a bar\n")


def test_stop_without_a_bar_does_nothing(capsys):
    progress.start(quiet=False)
    progress.stop()
    progress.stop()
    assert log_of(capsys) == ""


def test_terminal_gets_a_bar_that_moves(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress.start(quiet=False)
    run_stage("clean", 2)
    progress.stop()
    frames = terminal.drawn.split("\r")
    assert len(frames) > 2 and "clean: " in frames[1]
    assert "100%" in frames[-1] and "2/2 units" in frames[-1]
    # The bar stays where it ended, and the next output begins a line.
    assert terminal.drawn.endswith("\n")
