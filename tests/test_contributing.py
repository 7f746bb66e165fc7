"""The examples of CONTRIBUTING.md, made and run in a copy of the project, work as they stand."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fenced_blocks import FENCED

from benchmarks.kills import digest
from pipeline.blocks import read_rows
from pipeline.rules.classes import CHINESE
from pipeline.rules.edits import EDITS, Trigger
from pipeline.rules.optional import PERSONAL_DATA_EDIT
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.vocab_file import format_vocab

ROOT = Path(__file__).parents[1]
COPIED = ("pipeline", "vocab", "tfrecords_schema", "trainer", "benchmarks", "tests", "docs")
HEADING = re.compile(r"^#{2,3} (.*)\n", re.MULTILINE)
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
_, *PARTS = HEADING.split(GUIDE)
SECTIONS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))
CORPUS, RUNNER = "How to add a corpus", "How to add a runner"
EXAMPLES = (CORPUS, "An edit", "A rejection", RUNNER)

# What --prism_location names where there is no Prism: the same service, Beam's own in Python.
PRISM = f"""#!{sys.executable}
import sys
from apache_beam.runners.portability import local_job_service_main
local_job_service_main.run(["-p", sys.argv[sys.argv.index("--job_port") + 1]])
"""


def blocks_of(section, kind):
    return [block for found, block in FENCED.findall(SECTIONS[section]) if found == kind]


def read_change(diff):
    """Returns the name of a file, and the parts of its change: lines with their marks."""
    name, *parts = diff.split("@@\n")
    return name.removeprefix("--- ").strip(), [part.splitlines() for part in parts]


def make_change(lines, part):
    """Returns the lines of a file with one part of a change made."""
    stands = [line[1:] for line in part if not line.startswith("+")]
    (start,) = (place for place in range(len(lines)) if fits(lines[place:], stands))
    place, made = start, []
    for line in part:
        if line.startswith("+"):
            made.append(line[1:])
        else:
            made += [] if line.startswith("-") else [lines[place]]
            place += 1
    return [*lines[:start], *made, *lines[place:]]


def fits(lines, wanted):
    """Tells whether lines begin with those that are wanted; `…` stands for the rest of one."""
    return len(lines) >= len(wanted) and all(
        line.startswith(each[:-1]) if each.endswith("…") else line == each
        for line, each in zip(lines, wanted, strict=False)
    )


@pytest.mark.parametrize("section", EXAMPLES)
def test_example_touches_at_most_two_files_beside_its_test(section):
    names = [read_change(diff)[0] for diff in blocks_of(section, "diff")]
    assert all((ROOT / name).is_file() for name in names)
    tests = [name for name in names if name.startswith("tests/")]
    assert len(tests) == 1
    assert 1 <= len(names) - 1 <= 2
    assert len(set(names)) == len(names)


def test_guide_says_how_much_of_the_table_of_triggers_is_taken():
    triggers = {edit.trigger for edit in (*EDITS, PERSONAL_DATA_EDIT)} | {Trigger(CHINESE)}
    taken = sum(1 + bool(trigger.second) for trigger in triggers)
    assert f"{taken} are taken" in SECTIONS["An edit"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which all examples are made."""
    folder = tmp_path_factory.mktemp("project")
    passed_over = shutil.ignore_patterns("__pycache__", "data")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=passed_over)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for section in EXAMPLES:
        for name, parts in map(read_change, blocks_of(section, "diff")):
            lines = (folder / name).read_text("utf-8").split("\n")
            for part in parts:
                lines = make_change(lines, part)
            (folder / name).write_text("\n".join(lines), "utf-8")
    return folder


@pytest.fixture(scope="module")
def made(project):
    """The same with a finished vocabulary, the lines of the example, and what stands for Prism."""
    lines = blocks_of(CORPUS, "json")[0].splitlines()
    code = "如果{x=1;}否则{y=2;}"
    lines.append(json.dumps({"thread": 18, "post": 1, "subject": "程序", "body": code}))
    (project / "forum").mkdir()
    (project / "forum/forum2020zh_train.json").write_text("\n".join(lines), "utf-8")
    tokens = select_tokens(TokenCounts.empty(), lambda words, size: [])
    (project / "vocab.txt").write_bytes(format_vocab(tokens))
    (project / "prism").write_text(PRISM)
    (project / "prism").chmod(0o755)
    run(project, pipeline_command(CORPUS))
    return project


def commands_of(section):
    return [line for block in blocks_of(section, "sh") for line in block.splitlines()]


def pipeline_command(section):
    (command,) = (line for line in commands_of(section) if line.startswith("python -m pipeline "))
    return command


def run(folder, command):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    finished = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout


@pytest.mark.slow
def test_changed_project_is_formatted_and_without_faults(project):
    run(project, "ruff format --check .")
    run(project, "ruff check .")
    changed = {read_change(diff)[0] for section in EXAMPLES for diff in blocks_of(section, "diff")}
    of_package = " ".join(sorted(name for name in changed if name.startswith("pipeline/")))
    run(project, f"pyright --pythonpath={sys.executable} {of_package}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [line for section in EXAMPLES for line in commands_of(section) if " -m pytest " in line],
)
def test_tests_of_the_example_pass(project, command):
    run(project, command)


@pytest.mark.slow
def test_lines_of_the_example_become_documents_by_its_rules(made):
    documents, rejected = (
        [row for part in (made / "out" / name).glob("part-*") for row in read_rows(str(part))]
        for name in ("documents", "rejected")
    )
    assert documents == [
        {
            "doc_id": "forum2020zh/train/forum2020zh_train.json:0",
            "corpus": "forum2020zh",
            "split": "train",
            "upstream_id": "17-3",
            "text": "去哪里看雪\n哈尔滨的冬天很长，雪也很大。",
        }
    ]
    assert {row["upstream_id"]: row["reason"] for row in rejected} == {
        "17-4": "too_short",
        "18-1": "program_code",
    }


@pytest.mark.slow
def test_ledger_of_the_example_balances(made):
    ledger = json.loads((made / "out/ledger.json").read_bytes())
    accounts = ledger["corpora"]["forum2020zh"]["train"]
    assert ledger["not_read"] == {"forum2020zh": ["board", "likes"]}
    assert accounts["read"] == 22 + 2 + 18
    assert accounts["added"] == {"field_joiner": 2}
    assert accounts["removed"] == {"citation_marks": 3}
    assert accounts["rejected"] == {"too_short": 2, "program_code": 19}
    assert accounts["kept"] == 20
    assert accounts["in_instances"] == {"128": 19, "512": 19}
    assert accounts["white_space"] == 1


@pytest.mark.slow
def test_runner_of_the_example_gives_the_bytes_of_a_local_run(made):
    run(made, pipeline_command(RUNNER))
    expected = digest(made / "out")
    assert "tfrecords/dataset_info.json" in expected
    assert digest(made / "out_prism") == expected
