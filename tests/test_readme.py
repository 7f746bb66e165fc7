"""What README.md and docs/ give to type runs as it stands there, and both READMEs say the same."""

import json
import re
import shlex
import subprocess
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
from conftest import BUNDLED
from fenced_blocks import FENCED
from packaging.requirements import Requirement
from test_layers import MAY_IMPORT

import pipeline.cli
import trainer.cli
import vocab.cli
from vocab import derivation
from vocab.derivation import derive_tokens
from vocab.vocab_file import digest_vocab, format_vocab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README, CHINESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
MORE = [(ROOT / "docs" / name).read_text("utf-8") for name in ("pipeline.md", "training.md")]

PROGRAMS = {
    ("python", "-m", "pipeline"): pipeline.cli.main,
    ("python", "-m", "trainer"): trainer.cli.main,
    ("build-vocab",): vocab.cli.main,
}

# Instead of days on an accelerator; the last of equal flags counts.
SMALL = {
    "model": {
        "attention_head_size": 8,
        "hidden_dropout_prob": 0.1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
    },
    "stages": [
        {
            "max_seq_length": 128,
            "optimizer_steps": 2,
            "learning_rate": 0.01,
            "global_batch_size": 8,
            "micro_batch_size": 8,
        }
    ],
    "optimizer": {"name": "adamw"},
    "held_out_sequences": 8,
    "jit_compile": False,
}


def blocks(text, language):
    return [block for of, block in FENCED.findall(text) if of == language]


def commands(text):
    """Returns the words of each command in the blocks of shell commands."""
    found = []
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            found += [shlex.split(part, comments=True) for part in line.split(" && ")]
    return [words for words in found if words]


def program_of(words):
    return next(
        (main for start, main in PROGRAMS.items() if (*words[: len(start)],) == start), None
    )


def arguments_of(words):
    start = next(start for start in PROGRAMS if (*words[: len(start)],) == start)
    return [word.replace("gs://BUCKET", "bucket") for word in words[len(start) :]]


SHOWN = dict.fromkeys(tuple(words) for text in (README, *MORE) for words in commands(text))
TO_RUN = [words for words in SHOWN if program_of(words)]
OTHERS = [words for words in SHOWN if not program_of(words)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which one command after the other was given; each ended well."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "corpus").symlink_to(BUNDLED)
    for name in (".", "bucket"):  # as copied to Colab, or into a bucket
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "tfrecords").symlink_to(folder / "out/tfrecords")
    (folder / "small.json").write_text(json.dumps(SMALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in TO_RUN:
            arguments = arguments_of(words)
            if arguments[0] == "train":
                arguments += ["--config=small.json", "--quiet"]
            if arguments[0] == "derive":
                have_bert_vocabulary(folder, patch)
            assert program_of(words)(arguments) == 0, words
    return folder


def have_bert_vocabulary(folder, patch):
    """Puts a vocabulary there that stands in for Google's."""
    tokens = (folder / "out/tfrecords/vocab.txt").read_text("utf-8").split()
    (folder / "bert").mkdir()
    (folder / "bert/vocab.txt").write_bytes(format_vocab(tokens))
    patch.setattr(derivation, "DERIVED_SHA256", digest_vocab(derive_tokens(tokens)))


def test_commands_make_what_they_say(folder):
    outputs = [
        word.partition("=")[2].replace("gs://BUCKET", "bucket")
        for words in TO_RUN
        for word in words
        if word.startswith(("--output", "--json"))
    ]
    assert len(set(outputs)) >= 12
    assert all((folder / name).exists() for name in outputs)
    assert (folder / "out/report.html").exists() and (folder / "model/train.csv").exists()


def test_all_programs_and_their_commands_are_shown():
    shown = {tuple(words[2:4]) if words[0] == "python" else tuple(words[:2]) for words in TO_RUN}
    of_trainer = ("train", "fill-mask", "evaluate", "plot", "export", "import")
    of_vocab = ("learn", "derive", "report")
    assert shown == {
        *[("trainer", command) for command in of_trainer],
        *[("build-vocab", command) for command in of_vocab],
        *[("pipeline", command) for command in ("--input_dir=corpus", "plan", "inspect")],
    }


def test_python_of_readme_runs(folder, monkeypatch):
    tokenizing, parsing = blocks(README, "python")
    monkeypatch.chdir(folder)
    names = {}
    exec(tokenizing, names)
    assert len(names["ids"]) == len(names["offsets"]) and len(names["ids"]) > 2

    import tensorflow as tf

    shard = next((folder / "out/tfrecords/128").glob("train-*"))
    names = {"tf": tf, "serialized": list(tf.data.TFRecordDataset(str(shard)).take(3))}
    exec(parsing, names)
    assert names["inputs"].shape == (3, 128)
    masked = names["parsed"]["mask_ids"] != 0
    assert bool(tf.reduce_all(names["inputs"][~masked] == names["parsed"]["token_ids"][~masked]))


def test_what_is_not_run_here_is_make_and_pip():
    assert {tuple(words[:2]) for words in OTHERS} == {("make", "demo"), ("pip", "install")}


@pytest.mark.parametrize(
    "words", [words for words in OTHERS if words[0] == "pip"], ids=lambda words: " ".join(words)
)
def test_what_pip_is_told_to_install_fits_the_packaging(words):
    packaging = metadata("chinese-t5s")
    wanted = {found.name: found for found in map(Requirement, packaging.get_all("Requires-Dist"))}
    wanted["tensorflow-tpu"] = wanted["tensorflow"]  # what Colab's TPUs have instead
    wanted["libtpu"] = Requirement("libtpu~=0.0.14")  # as tensorflow-tpu 2.20 asks
    wanted["bert4keras"] = Requirement(f"bert4keras=={version('bert4keras')}")
    for word in (word for word in words[2:] if word not in ("-q", "--no-deps")):
        if word.startswith("."):  # this project
            extras = re.findall(r"\w+", word.partition("[")[2])
            assert set(extras) <= set(packaging.get_all("Provides-Extra"))
        else:
            asked = Requirement(word)
            for part in asked.specifier:
                lowest = part.version.replace("*", "0")
                assert wanted[asked.name].specifier.contains(lowest), word
            assert asked.name in wanted, word


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_make_knows_the_targets(text):
    found = re.findall(r"`(make [^`]+)`", text)
    assert len(found) >= 6
    for command in found:
        subprocess.run(
            [*shlex.split(command), "-n"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )


@pytest.mark.parametrize("text", [README, CHINESE, *MORE], ids=["en", "zh", "pipeline", "training"])
def test_links_lead_to_files(text):
    base = ROOT if text in (README, CHINESE) else ROOT / "docs"
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links and all((base / link).exists() for link in links)


# --- Both languages ---


def test_both_languages_give_the_same_to_type_and_to_see():
    for language in ("sh", "python", ""):
        assert blocks(README, language) == blocks(CHINESE, language)


def test_both_languages_have_the_same_parts():
    for pattern in (r"^(#+) ", r"^(\|)", r"^(- )", r"(!\[)"):
        found = [re.findall(pattern, text, re.MULTILINE) for text in (README, CHINESE)]
        assert found[0] == found[1], pattern


def test_both_languages_give_the_same_figures():
    outside = [FENCED.sub("", text) for text in (README, CHINESE)]
    tables = [re.findall(r"^\|.*", text, re.MULTILINE) for text in outside]
    for row, chinese in zip(*tables, strict=True):
        figures = re.compile(r"`[^`]+`|[\d.,]*\d")
        assert sorted(figures.findall(row)) == sorted(figures.findall(chinese)), row


# --- What README says of the project ---


def test_flow_names_files_that_exist():
    [flow] = [block for block in blocks(README, "") if "raw .json" in block]
    before, behind = flow.split("trainer/")
    named = [f"pipeline/{name}" for name in re.findall(r"[\w/]+\.py|rules/", before)]
    named += [f"trainer/{name}" for name in re.findall(r"\w+\.py", behind)]
    assert len(named) >= 12 and all((ROOT / name).exists() for name in named)


def test_table_of_packages_is_that_of_the_imports():
    rows = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", README, re.MULTILINE)
    table = {package: set(re.findall(r"\w+", others)) | {package} for package, others in rows}
    assert {package: table[package] for package in MAY_IMPORT} == MAY_IMPORT
