"""train.csv."""

import subprocess
import sys

import pytest

from trainer.train_log import TRAIN, LogLine, TrainLog, average, parse_log, read_log

LINES = [
    LogLine(1, 128, 100, TRAIN, 9.5, 0.0, 1e-3),
    LogLine(1, 128, 100, "wiki2019zh", 9.25, 0.125, 1e-3),
    LogLine(1, 128, 200, TRAIN, 8.0, 0.25, 5e-4),
    LogLine(2, 512, 100, TRAIN, 7.0, 0.5, 0.0),
]
HEADER = "stage,max_seq_length,step,data,mlm_loss,mlm_acc,learning_rate\n"


def make_log(path, lines):
    log = TrainLog(str(path))
    for line in lines:
        log.add(line)
    log.save()
    return log


def test_file_has_a_header_and_a_line_each(tmp_path):
    make_log(tmp_path / "train.csv", LINES[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
    assert (tmp_path / "train.csv").read_text() == (
        f"{HEADER}1,128,100,train,9.5,0.0,0.001\n1,128,100,wiki2019zh,9.25,0.125,0.001\n"
    )


def test_lines_survive_the_file(tmp_path):
    make_log(tmp_path / "train.csv", LINES)
    assert parse_log((tmp_path / "train.csv").read_text(), "x") == LINES


@pytest.mark.parametrize(
    ("stage", "step", "left"), [(1, 50, 0), (1, 100, 2), (1, 199, 2), (1, 200, 3), (2, 100, 4)]
)
def test_log_is_cut_back_to_a_step(tmp_path, stage, step, left):
    make_log(tmp_path / "train.csv", LINES)
    log = TrainLog(str(tmp_path / "train.csv"))
    log.read_until(stage, step)
    assert log.lines == LINES[:left]


def test_log_cut_back_and_written_again_has_the_same_bytes(tmp_path):
    numbers = [LogLine(1, 128, n, TRAIN, 10 / (n + 3), 1 / (n + 3), 1e-3 / n) for n in range(1, 50)]
    make_log(tmp_path / "whole.csv", numbers)
    make_log(tmp_path / "train.csv", numbers[:30])
    log = TrainLog(str(tmp_path / "train.csv"))
    log.read_until(1, 20)
    for line in numbers[20:]:
        log.add(line)
    log.save()
    assert (tmp_path / "train.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_missing_log_is_an_empty_one(tmp_path):
    log = TrainLog(str(tmp_path / "train.csv"))
    log.read_until(1, 5)
    assert log.lines == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x: line 1 must be stage,max_seq_length"),
        ("a,b\n", "x: line 1 must be stage,max_seq_length"),
        (f"{HEADER}1,128,100,train,9.5\n", "x: line 2 is none of train.csv"),
        (f"{HEADER}1,128,1,train,9.5,0,0\n1,128,x,train,9.5,0,0\n", "x: line 3 is none of"),
    ],
)
def test_other_files_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_log(text, "x")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"curves.png: is no train.csv \('utf-8'"):
        read_log(str(tmp_path / "curves.png"))
    (tmp_path / "nul").write_text(f"{HEADER}{'x' * 200_000}")
    with pytest.raises(ValueError, match=r"nul: is no train.csv \(field larger than"):
        read_log(str(tmp_path / "nul"))


def test_log_is_read_and_written_without_tensorflow(tmp_path):
    make_log(tmp_path / "train.csv", LINES)
    program = (
        "import sys; from trainer.train_log import *; log = TrainLog(sys.argv[1])\n"
        "log.read_until(2, 200); log.save(); print(len(log.lines), 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "train.csv")]
    assert subprocess.check_output(command, text=True).split() == ["4", "False"]


def test_average_does_not_depend_on_order():
    values = [1e16, 1.0, -1e16, 3.0]
    assert average(values) == average(values[::-1]) == average(sorted(values)) == 1.0
