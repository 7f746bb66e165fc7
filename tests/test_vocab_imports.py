import subprocess
import sys
from pathlib import Path

import pytest

import vocab

HEAVY = {"numpy", "tensorflow", "tensorflow_text", "apache_beam", "zstandard", "orjson"}


def output_of(code):
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def test_import_vocab_imports_nothing_heavy():
    code = f"import sys, vocab; print({HEAVY} & set(sys.modules))"
    assert output_of(code) == "set()\n"


def test_import_tokenizer_from_vocab_needs_neither_tensorflow_nor_beam():
    code = (
        "import sys\n"
        "from vocab import Tokenizer\n"
        "print(Tokenizer.__module__, {'tensorflow', 'apache_beam'} & set(sys.modules))"
    )
    assert output_of(code) == "vocab.tokenizer set()\n"


def test_build_vocab_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from vocab.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        f"    print(end.code, {HEAVY} & set(sys.modules))"
    )
    printed = output_of(code)
    assert printed.startswith("usage: build-vocab ")
    assert printed.endswith("\n0 set()\n")


def test_vocab_unknown_attribute_raises_and_names_it():
    with pytest.raises(AttributeError, match=r"^module 'vocab' has no attribute 'Nothing'$"):
        _ = vocab.Nothing
