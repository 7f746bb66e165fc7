"""What is compiled is what the C files say, and is called with what they take."""

import ctypes
import gc
import importlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from vocab import compiled, pieces

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "tfrecords_schema", "vocab")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("_*.c"))
NAMES = [path.relative_to(ROOT).as_posix() for path in SOURCES]

FUNCTION = re.compile(r"^(void|int64_t) (\w+)\(([^)]*)\) \{", re.MULTILINE)
TYPES = {"double": "float64"}


def type_of(declared):
    """Returns what a type of C is called in NumPy, with a star if it is an array's."""
    name = re.sub(r"\bconst\b|\w+$", "", " ".join(declared.split())).strip()
    star = "*" if "*" in name else ""
    name = name.replace("*", "").strip()
    return TYPES.get(name, name.removesuffix("_t")) + star


def loaded_type_of(argument):
    """Returns the same of what ctypes checks an argument with."""
    if hasattr(argument, "_dtype_"):
        return f"{argument._dtype_.name}*"
    return np.dtype(argument).name


def library_of(source):
    module = source.with_name(source.stem.removeprefix("_")).relative_to(ROOT).as_posix()
    return importlib.import_module(module.replace("/", "."))._library


def test_all_that_is_compiled_is_found():
    assert {name.partition("/")[0] for name in NAMES} == set(PACKAGES)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_functions_are_called_with_the_types_of_their_declarations(source):
    functions = FUNCTION.findall(source.read_text("utf-8"))
    assert functions
    library = library_of(source)
    for result, name, arguments in functions:
        function = getattr(library, name)
        expected = [type_of(argument) for argument in arguments.split(",")]
        assert [loaded_type_of(argument) for argument in function.argtypes] == expected, name
        assert function.restype == (None if result == "void" else ctypes.c_int64)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_sources_compile_without_a_warning(source, tmp_path):
    compiler = os.environ.get("CC", sysconfig.get_config_var("CC").split()[0])
    flags = "-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-O2"
    command = [compiler, *flags, "-c", str(source), "-o", str(tmp_path / "object")]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def load_add_edges():
    signature = "int64* int64* int32* int64 uint64* int32* uint64"
    return compiled.load_compiled(pieces.__file__, add_edges=signature).add_edges


@pytest.mark.parametrize("wrong", [np.zeros(4, np.int32), np.zeros(8, np.int64)[::2], [1], None])
def test_arrays_of_another_type_or_layout_are_refused(wrong):
    keys, children = np.zeros(4, np.uint64), np.zeros(4, np.int32)
    nodes, to = np.zeros(1, np.int64), np.full(1, 7, np.int32)
    add_edges = load_add_edges()
    assert add_edges(nodes, nodes + 1, to, 1, keys, children, 3) is None
    assert np.count_nonzero(keys) == 1 and children.max() == 7
    with pytest.raises(ctypes.ArgumentError):
        add_edges(wrong, nodes, to, 1, keys, children, 3)


def test_calls_leave_no_cyclic_garbage():
    add_edges = load_add_edges()
    keys, children = np.zeros(4, np.uint64), np.zeros(4, np.int32)
    nodes, to = np.zeros(1, np.int64), np.zeros(1, np.int32)
    gc.collect()
    for _ in range(10):
        add_edges(nodes, nodes + 1, to, 1, keys, children, 3)
    assert gc.collect() == 0


def test_what_is_not_compiled_is_named_with_the_remedy():
    path = ROOT / "vocab" / "nonesuch.py"
    with pytest.raises(ImportError, match=r"_nonesuch\.c is not compiled: install the package"):
        compiled.load_compiled(str(path))


def test_what_has_changed_since_it_was_compiled_is_not_called(tmp_path):
    for suffix, time in ((".c", 2), (".so", 1)):
        (tmp_path / f"_name{suffix}").touch()
        os.utime(tmp_path / f"_name{suffix}", (time, time))
    with pytest.raises(ImportError, match=r"_name\.c has changed since it was compiled: install"):
        compiled.load_compiled(str(tmp_path / "name.py"))


@pytest.mark.slow
def test_without_a_compiler_its_absence_is_named(tmp_path):
    folders = "--build-lib", str(tmp_path), "--build-temp", str(tmp_path)
    finished = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--force", *folders],
        cwd=ROOT,
        env=os.environ | {"CC": "nonesuch"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 1
    assert "_masking.c was not compiled: " in finished.stderr
    assert finished.stderr.endswith("apt-get install gcc`, on macOS `xcode-select --install`.\n")
