"""Files for those who work on the project say what the others say."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
HOOKS = ".pre-commit-config.yaml"


def test_hooks_are_the_commands_of_lint_and_download_nothing():
    (repository,) = yaml.safe_load((ROOT / HOOKS).read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    commands = recipe.replace("$(BIN)", ".venv/bin").split("\n\t")
    hooks = repository["hooks"]
    assert [hook["entry"] for hook in hooks] == [command.strip() for command in commands]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert not any(hook["pass_filenames"] for hook in hooks)


def test_hooks_are_valid():
    command = sys.executable, "-m", "pre_commit", "validate-config", HOOKS
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_newest_release_of_the_changelog_is_the_version_of_the_package():
    releases = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$",
        (ROOT / "CHANGELOG.md").read_text("utf-8"),
        re.MULTILINE,
    )
    version = re.search(r'version="(.*)"', (ROOT / "setup.py").read_text("utf-8"))[1]
    assert releases[0] == version
    assert len(set(releases)) == len(releases)


def test_links_of_the_guide_lead_to_files_and_headings():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    links = re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text)
    assert links
    for name, heading in links:
        headings = re.findall(r"^#+ (.*)$", (ROOT / (name or "CONTRIBUTING.md")).read_text(), re.M)
        anchors = [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]
        assert not heading or heading in anchors


def test_contributing_names_targets_of_the_makefile_and_all_checks():
    named = set(re.findall(r"`make ([\w-]+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    assert named <= targets
    assert {name for name in targets if name.startswith("test")} | {"lint"} <= named
