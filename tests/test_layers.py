"""Who may import whom: data moves one way, and so do imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("pipeline", "tfrecords_schema", "trainer", "vocab")
MAY_IMPORT = {
    "pipeline": {"pipeline", "tfrecords_schema", "vocab"},
    "tfrecords_schema": {"tfrecords_schema", "vocab"},
    "trainer": {"trainer", "tfrecords_schema", "vocab"},
    "vocab": {"vocab"},
}
# Beam stays at the rim; cloud.py asks it for its client of Cloud Storage only.
MAY_IMPORT_BEAM = {f"pipeline/{name}.py" for name in ("beam_graph", "beam_run", "cloud")}
WITHOUT_TENSORFLOW = {
    *(f"trainer/{name}.py" for name in ("batch", "config", "config_flags", "order", "plots")),
    *(f"trainer/{name}.py" for name in ("scores", "train_log", "using")),
}
SEGMENTERS = {"rjieba", "jieba"}


def imports_of(path: Path) -> set[str]:
    """Returns the top-level packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in OURS for path in (ROOT / package).rglob("*.py")
)


def test_all_packages_have_modules():
    assert {module.partition("/")[0] for module in MODULES} == set(OURS)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_allowed_packages(module):
    found = imports_of(ROOT / module)
    assert found & set(OURS) <= MAY_IMPORT[module.partition("/")[0]]
    # Workers have no TensorFlow; configurations and the command line answer at once.
    if module.partition("/")[0] != "trainer" or module in WITHOUT_TENSORFLOW:
        assert "tensorflow" not in found and "tensorflow_text" not in found
    assert "apache_beam" not in found or module in MAY_IMPORT_BEAM
    assert not found & SEGMENTERS or module == "pipeline/segmentation.py"


def test_beam_is_where_it_is_expected():
    assert {m for m in MODULES if "apache_beam" in imports_of(ROOT / m)} == MAY_IMPORT_BEAM


# What turns values into values: no file is opened, no path known.
PURE = {
    *(f"pipeline/{name}.py" for name in ("config", "corpora", "dedup", "ledger", "masking")),
    *(f"pipeline/{name}.py" for name in ("near_duplicates", "packing", "records", "samples")),
    *("pipeline/terminal.py", "pipeline/units.py"),
    *(module for module in MODULES if module.startswith("pipeline/rules/")),
    *(f"pipeline/report/{name}.py" for name in ("accounts", "charts", "flow", "marks", "markup")),
}
MAY_IMPORT_OF_PIPELINE = PURE | {"pipeline/errors.py"}


def modules_imported_by(module: str) -> set[str]:
    """Returns the files of our packages that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            paths = {f"{name.replace('.', '/')}.py" for name in names}
            paths |= {f"{name.replace('.', '/')}/__init__.py" for name in names}
            found |= {path for path in paths if path in MODULES}
    return found


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_module_imports_pure_modules_and_opens_nothing(module):
    ours = {path for path in modules_imported_by(module) if path.startswith("pipeline/")}
    assert ours - {"pipeline/__init__.py", "pipeline/report/__init__.py"} <= MAY_IMPORT_OF_PIPELINE
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "open" not in called
    assert not imports_of(ROOT / module) & {"os", "pathlib", "time", "random", "tempfile"}
