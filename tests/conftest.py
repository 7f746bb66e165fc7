"""Corpora for tests: the bundled one, and small ones written on the spot."""

import gc
import gzip
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import settings

from benchmarks.corpus import UPSTREAM_ZIPS
from pipeline import progress

# How long an example takes says more of the machine than of the project.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Files that take longest, first: so two processes end at about the same time.
LONGEST = (
    "trainer_training",
    "trainer_step",
    "contributing",
    "examples",
    "trainer_step_distributed",
)
LONGEST += ("readme", "notebook", "makefile", "docs_outputs", "fuzzing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders files; within a file nothing changes."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


BUNDLED = Path(__file__).parent / "data" / "nlp_chinese_corpus"


@pytest.fixture(autouse=True)
def no_open_bar():
    """Closes the progress bar that a stage run by itself leaves open."""
    yield
    progress.stop()


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open():
    """Lets a file or connection that was never closed fail where it was opened, not at random."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def bundled_corpus() -> Path:
    """The corpus that ships with the project, unpacked."""
    return BUNDLED


@pytest.fixture(scope="session")
def zipped_corpus(tmp_path_factory) -> Path:
    """The same corpus as upstream's five zips."""
    folder = tmp_path_factory.mktemp("zips")
    for corpus, (zip_name, inside) in UPSTREAM_ZIPS.items():
        with zipfile.ZipFile(folder / zip_name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((BUNDLED / corpus).rglob("*")):
                if path.is_file():
                    archive.write(path, inside + path.relative_to(BUNDLED / corpus).as_posix())
    return folder


@pytest.fixture(scope="session")
def mixed_corpus(tmp_path_factory) -> Path:
    """The same corpus under other folder names, partly as .gz."""
    folder = tmp_path_factory.mktemp("mixed")
    for path in sorted(BUNDLED.rglob("*")):
        if path.is_file():
            target = folder / "somewhere" / "else" / path.relative_to(BUNDLED)
            target.parent.mkdir(parents=True, exist_ok=True)
            if "train" in path.name:
                with gzip.open(f"{target}.gz", "wb") as file:
                    file.write(path.read_bytes())
            else:
                shutil.copy(path, target)
    return folder


@pytest.fixture
def write_lines(tmp_path):
    """Writes lines, objects as JSON and bytes as they are, to a file below input/."""

    def write(name: str, lines: list) -> Path:
        path = tmp_path / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = [
            line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
            for line in lines
        ]
        path.write_bytes(b"".join(line + b"\n" for line in encoded))
        return tmp_path / "input"

    return write
