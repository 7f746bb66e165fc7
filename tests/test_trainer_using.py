"""The commands for what was trained, as far as they are not tested with what they call."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from made_models import assert_equal_models, make_trained

from trainer.cli import main
from trainer.train_log import TRAIN, LogLine, TrainLog
from trainer.using import FORMATS, SPLITS, name_runs

TEXTS = ["今天[MASK]气很[MASK]", "你[MASK]"]


@pytest.fixture(scope="module")
def trained():
    return make_trained()


@pytest.fixture(scope="module")
def released(tmp_path_factory, trained):
    from trainer.released import export_released

    folder = tmp_path_factory.mktemp("exported") / "released"
    export_released(trained, str(folder))
    return folder


def write_log(folder, seed=0, held_out=()):
    """Writes the log of a run that learns."""
    folder.mkdir(parents=True, exist_ok=True)
    log = TrainLog(f"{folder}/train.csv")
    for step in range(10, 110, 10):
        log.add(LogLine(1, 128, step, TRAIN, 9.5 - step / 30 - seed, step / 500, 1e-3))
    for corpus in held_out:
        log.add(LogLine(1, 128, 50, corpus, 8.0, 0.1, 1e-3))
    log.save()
    return folder


# --- fill-mask ---


def expected_of(trained, top):
    from trainer.fill_mask import fill_mask, format_candidates

    filled = fill_mask(trained, TEXTS, top)
    return "\n".join(map(format_candidates, TEXTS, filled)) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "top"), [([], 5), (["--top=2"], 2)])
def test_candidates_of_texts_are_printed(trained, released, capsys, flags, top):
    assert main(["fill-mask", f"--model={released}", *TEXTS, *flags]) == 0
    assert capsys.readouterr().out == expected_of(trained, top)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_texts_come_from_standard_input(trained, released, capsys, monkeypatch, end):
    lines = f"\ufeff{TEXTS[0]}{end}{end}{TEXTS[1]}{end}".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines), "ascii"))
    assert main(["fill-mask", f"--model={released}"]) == 0
    assert capsys.readouterr().out == expected_of(trained, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [(b"\n", "no text; give one with [MASK]"), (b"\xff\n", "standard input: is not UTF-8")],
)
def test_standard_input_without_a_text_is_refused(capsys, monkeypatch, given, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert main(["fill-mask", "--model=none"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"trainer: {message}") and printed.count("\n") == 1


def test_terminal_is_asked(capsys, monkeypatch):
    terminal = SimpleNamespace(isatty=lambda: True, buffer=io.BytesIO(b""))
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["fill-mask", "--model=none"]) == 2
    assert "A text with [MASK] a line, then Ctrl-D:" in capsys.readouterr().err


@pytest.mark.slow
def test_text_without_a_mask_is_refused(released, capsys):
    assert main(["fill-mask", f"--model={released}", TEXTS[0], "你好"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("trainer: text 2 ('你好') has no [MASK]")


# --- export, import ---


@pytest.mark.slow
@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_is_written(released, tmp_path, capsys, output_format):
    command = ["export", f"--model={released}", f"--format={output_format}"]
    assert main([*command, f"--output={tmp_path}/made"]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/made: written; docs/exports.md says how to load it\n"
    )
    marks = {
        "released": "model.h5",
        "saved_model": "saved_model.pb",
        "huggingface": "model.safetensors",
    }
    assert marks[output_format] in os.listdir(tmp_path / "made")
    assert main([*command, f"--output={tmp_path}/made"]) == 1
    assert f"trainer: {tmp_path}/made: is not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_case_is_kept_where_asked(released, tmp_path, capsys):
    command = ["export", f"--model={released}", "--format=huggingface", "--cased"]
    assert main([*command, f"--output={tmp_path}/made"]) == 0
    tokenizer = json.loads((tmp_path / "made" / "tokenizer_config.json").read_text("utf-8"))
    assert tokenizer["do_lower_case"] is False
    command = ["fill-mask", f"--model={released}", "The[MASK]"]
    printed = []
    for flags in ([], ["--cased"]):
        capsys.readouterr()
        assert main([*command, *flags]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] != printed[1]  # its vocabulary has no capitals: T is [UNK]


@pytest.mark.slow
def test_import_and_export_give_back_the_released_model(trained, released, tmp_path, capsys):
    from trainer.trained_model import load_model

    assert main(["import", f"--model={released}", f"--output={tmp_path}/run"]) == 0
    assert f"`train --output={tmp_path}/run` goes on from there" in capsys.readouterr().out
    command = ["export", f"--model={tmp_path}/run", "--format=released"]
    assert main([*command, f"--output={tmp_path}/again"]) == 0
    assert_equal_models(load_model(f"{tmp_path}/again"), trained)
    for name in ("vocab.txt", "t5s_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (released / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["fill-mask", "[MASK]"],
        ["evaluate", "--data=none"],
        ["export", "--format=released", "--output={}/made"],
        ["import", "--output={}/made"],
    ],
)
def test_missing_and_damaged_models_are_refused_by_one_line(tmp_path, capfd, released, command):
    command = [part.format(tmp_path) for part in command]
    (tmp_path / "damaged").mkdir()
    for path in released.iterdir():
        content = path.read_bytes()
        is_weights = path.suffix == ".h5"
        (tmp_path / "damaged" / path.name).write_bytes(content[:1000] if is_weights else content)
    for model, message in (("none", "holds no model"), ("damaged", "is no HDF5 file, or damaged")):
        assert main([*command, f"--model={tmp_path}/{model}"]) == 1
        printed = [line for line in capfd.readouterr().err.splitlines() if "trainer" in line]
        assert len(printed) == 1
        assert printed[0].startswith(f"trainer: {tmp_path}/{model}") and message in printed[0]
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_output_that_cannot_be_made_is_refused_by_one_line(released, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    command = ["export", f"--model={released}", "--format=released"]
    assert main([*command, f"--output={tmp_path}/file/made"]) == 1
    [printed] = [line for line in capsys.readouterr().err.splitlines() if "trainer: " in line]
    assert printed == f"trainer: {tmp_path}/file is not a directory"


# --- Wrong usage ---


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export --model=m --format=onnx --output=o", "'onnx' (choose from"),
        ("export --model=m --output=o", "required: --format"),
        ("import --output=o", "required: --model"),
        ("fill-mask --model=m --top=0 [MASK]", "0: must be at least 1"),
        ("evaluate --model=m --data=d --lengths=128,x", "--lengths: invalid"),
        ("evaluate --model=m --data=d --batch_size=0", "0: must be at least 1"),
        ("evaluate --model=m --data=d --split=train", "'train' (choose from"),
        ("plot --output=a.png", "required: RUN"),
        ("plot run", "required: --output"),
    ],
)
def test_wrong_usage_is_named(capsys, command, message):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_splits_are_those_of_evaluation():
    from trainer import evaluation

    assert SPLITS == evaluation.SPLITS


# --- plot ---


def test_runs_of_logs_are_drawn_without_tensorflow(tmp_path):
    for seed, name in enumerate(("one", "two")):
        write_log(tmp_path / name, seed, ["wiki2019zh"])
    program = (
        "import sys; from trainer.cli import main\n"
        "code = main(sys.argv[1:]); sys.exit(2 if 'tensorflow' in sys.modules else code)"
    )
    flags = ["plot", "one", "two/train.csv", "--output=made/a.png", "--output", "made/a.svg"]
    subprocess.run([sys.executable, "-c", program, *flags], cwd=tmp_path, check=True)
    assert (tmp_path / "made/a.png").read_bytes().startswith(b"\x89PNG\r\n")
    picture = (tmp_path / "made/a.svg").read_text("utf-8")
    for text in (">one<", ">two<", ">held out, wiki2019zh<", ">masked-LM accuracy<"):
        assert text in picture


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/tiny/train.csv", "b/base/train.csv"], ["tiny", "base"]),
        (
            ["a/m/train.csv", "b/m/train.csv", "c/train.csv"],
            ["a/m/train.csv", "b/m/train.csv", "c"],
        ),
        (["gs://a/m/train.csv"], ["m"]),
        (["logs/tiny.csv", "logs/base.csv"], ["tiny", "base"]),
    ],
)
def test_runs_are_named_by_their_folders(paths, names):
    assert name_runs(paths) == dict(zip(names, paths, strict=True))


def test_run_in_the_current_folder_has_its_name(tmp_path, monkeypatch):
    write_log(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert list(name_runs(["./train.csv"])) == ["mine"]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["none", "--output=a.png"], 2, "none/train.csv: missing; give the output of a training"),
        (["none.csv", "--output=a.png"], 2, "none.csv: missing; give"),
        (["run", "--output=a.gif"], 1, "a.gif: must end in .png, .svg, .pdf"),
        (["run", "--output=a"], 1, "a: must end in .png, .svg, .pdf"),
        (["empty", "--output=a.png"], 1, "empty: has no line yet"),
        (["other.csv", "--output=a.png"], 1, "other.csv: line 1 must be stage,max_seq"),
        (["run", "--output=run/train.csv/a.png"], 1, "run/train.csv"),
    ],
)
def test_what_cannot_be_drawn_is_named(tmp_path, monkeypatch, capsys, flags, code, message):
    write_log(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    TrainLog(f"{tmp_path}/empty/train.csv").save()
    (tmp_path / "other.csv").write_text("a,b\n")
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["plot", *flags]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("trainer: ") and message in printed and printed.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
