"""What works where TensorFlow, tensorflow-text and Beam are not, and what says what to install."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import digest_vocab, format_vocab
from vocab.wordpieces import INSTALL_HINT

# None there: importing it raises ModuleNotFoundError, and looking for it finds nothing.
HIDE = (
    "import sys\n"
    "hidden = 'tensorflow', 'tensorflow_text', 'apache_beam'\n"
    "sys.modules.update(dict.fromkeys(hidden))\n"
)
CALL_CLI = "from {package}.cli import main\nsys.exit(main(sys.argv[1:]))"
TOKENS = [*SPECIAL_TOKENS, "世", "界", "，", "hello", "##s"]


def run_without(code, *arguments):
    command = [sys.executable, "-c", HIDE + code, *arguments]
    return subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)


@pytest.fixture
def vocab_path(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(format_vocab(TOKENS))
    return path


def test_hidden_packages_cannot_be_imported():
    code = "import importlib.util\nprint([importlib.util.find_spec(name) for name in hidden])\n"
    done = run_without(code + "import tensorflow_text")
    assert done.stdout == "[None, None, None]\n"
    assert "ModuleNotFoundError: import of tensorflow_text halted" in done.stderr


def test_encode_and_decode_work(vocab_path):
    code = (
        "from pathlib import Path\n"
        "from vocab import Tokenizer\n"
        "from vocab.vocab_file import parse_vocab\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "tokenizer = Tokenizer(parse_vocab(data, 'vocab.txt'))\n"
        "ids, offsets = tokenizer.encode_with_offsets('Hellos，世界')\n"
        "print(ids, offsets.tolist(), ascii(tokenizer.decode(ids)))\n"
    )
    done = run_without(code, str(vocab_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"[109, 110, 108, 106, 107] [[0, 5], [5, 6], [6, 7], [7, 8], [8, 9]] {'hellos，世界'!a}\n"
    )


def test_derive_works(tmp_path):
    bert, output = tmp_path / "bert.txt", tmp_path / "derived.txt"
    bert.write_bytes(format_vocab([*TOKENS, "世界"]))
    code = f"from vocab import derivation\nderivation.DERIVED_SHA256 = {digest_vocab(TOKENS)!r}\n"
    done = run_without(
        code + CALL_CLI.format(package="vocab"),
        *("derive", f"--bert_vocab={bert}", f"--output={output}"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert output.read_bytes() == format_vocab(TOKENS)


def test_report_works(tmp_path, vocab_path):
    row = {"corpus": "wiki", "split": "train", "text": "Hello，世界"}
    packed = zstandard.ZstdCompressor().compress(json.dumps(row).encode())
    (tmp_path / "a.jsonl.zst").write_bytes(packed)
    given = f"--documents={tmp_path}", f"--vocab={vocab_path}"
    done = run_without(CALL_CLI.format(package="vocab"), "report", *given)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[:6] == ["wiki", "train", "1", "1", "8", "100.0000%"]


def test_learn_says_what_to_install_before_it_looks_for_documents(tmp_path):
    given = f"--documents={tmp_path}/missing", f"--output={tmp_path}/vocab.txt"
    done = run_without(CALL_CLI.format(package="vocab"), "learn", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"build-vocab: {INSTALL_HINT}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["all", "plan"])
def test_pipeline_says_what_to_install_before_it_looks_for_its_input(tmp_path, stage):
    given = f"--input_dir={tmp_path}/missing", f"--output_dir={tmp_path}/out"
    done = run_without(CALL_CLI.format(package="pipeline"), stage, *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"pipeline: {INSTALL_HINT}\n"
    assert list(tmp_path.iterdir()) == []
