"""`make demo` does what the quick start of README.md says, and prints what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
QUICK_START = re.compile(
    r"^## Quick start\n.*?ends with\n\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL
)

# What another processor adds up in another order.
VARYING = re.compile(r"(?<=loss )[\d.]+|(?<=accuracy )[\d.]+|^  \S+  0\.\d{4}$", re.MULTILINE)


def make_demo(folder):
    """Runs it with the packages of these tests; returns what it prints as if into demo/."""
    output, packages, installed = folder / "out", folder / "packages", folder / "installed"
    packages.touch()
    installed.touch()
    command = ["make", "demo", f"BIN={Path(sys.executable).parent}"]
    command += [f"PACKAGES={packages}", f"INSTALLED={installed}"]
    # As if no other make had called it, which would have it say so.
    of_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    finished = subprocess.run(
        [*command, f"OUTPUT={output}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout.replace(str(output), "demo")


def read_lines(text):
    """Returns the lines, without what may vary."""
    return VARYING.sub("*", text).splitlines()


def test_demo_prints_what_the_quick_start_shows(tmp_path):
    shown = QUICK_START.search((ROOT / "README.md").read_text("utf-8"))[1]
    printed = read_lines(make_demo(tmp_path))
    places = [printed.index(line) for line in read_lines(shown) if line not in ("", "...")]
    assert places == sorted(places)
    assert places[-1] == len(printed) - 1
