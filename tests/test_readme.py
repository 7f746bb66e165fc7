"""The commands that README.md and docs/ give for a trained model run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
from made_runs import make_data, train, write_config

from trainer.cli import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
USING = re.compile(r"^### Using what was trained\n(.*?)^###? ", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MADE = {
    "evaluate": ["scores.json"],
    "plot": ["curves.png", "curves.svg"],
    "import": ["further/vocab.txt", "further/checkpoints"],
    "train": ["further/train.csv"],
}


def commands_of(text):
    """Returns the arguments of the commands of the trainer in its blocks of shell commands."""
    lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
    assert all(line.startswith("python -m trainer ") for line in lines)
    return [shlex.split(line)[3:] for line in lines]


IN_README = commands_of(USING.search((ROOT / "README.md").read_text("utf-8"))[1])
IN_DOCS = commands_of((ROOT / "docs/exports.md").read_text("utf-8"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data and a run of it, in which commands run."""
    make_data(tmp_path / "out/tfrecords", held_out=[("news2016zh", [8]), ("wiki2019zh", [8])])
    assert train(tmp_path / "model", tmp_path / "out/tfrecords", "--quiet") == 0
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_readme_run_one_after_the_other(folder, capsys):
    write_config(folder / "small.json")
    for command in IN_README:
        if command[0] == "train":
            command = [*command, f"--config={folder}/small.json"]  # instead of days
        assert main(command) == 0, command
        [output] = [flag[9:] for flag in command if flag.startswith("--output=")][:1] or [""]
        made = MADE.get(command[0], [output])
        assert all((folder / name).exists() for name in made), command
    assert [command[0] for command in IN_README] == [
        *("fill-mask", "evaluate", "plot", "export", "export", "export", "import", "train")
    ]
    printed = capsys.readouterr()
    assert "他在[MASK][MASK]工作\n  [MASK] 1 of 2\n" in printed.out
    assert re.search(r"^ +16  wiki2019zh +8 ", printed.out, re.MULTILINE)
    assert "Beginning with the imported weights in further/checkpoints/0-0-" in printed.err


def test_commands_of_docs_are_among_them():
    assert IN_DOCS and all(command in IN_README for command in IN_DOCS)
