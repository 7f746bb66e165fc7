"""docs/outputs.md against the outputs of real runs: its tables, its examples, its snippets."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import made_outputs
import numpy as np
import pytest
from fenced_blocks import FENCED
from made_runs import make_data, train

from pipeline import cli, dedup
from pipeline.blocks import read_rows
from pipeline.config import DocumentsConfig, InstancesConfig, describe
from pipeline.corpora import CORPORA, LINE_FAULTS
from pipeline.manifest import parse_manifest
from pipeline.records import SPLITS, Block, Skipped
from pipeline.stages.finish import SHORT_AFTER_DEDUP
from tfrecords_schema.framing import read_records
from trainer.train_log import LogLine
from vocab.vocab_file import parse_vocab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
READERS = Path(sys.prefix, "readers")
"""Where make setup puts pandas and datasets: apart, as Beam imports pandas wherever it is."""

TITLED = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(TITLED.findall((ROOT / "docs/outputs.md").read_text("utf-8")))
PART_OF_KEY = re.compile(r"<\w+>|\[\d*\]|\w+")

JSON_FILES = {
    "manifest.json": "documents/manifest.json",
    "samples.json": "documents/samples.json",
    "ledger.json": "ledger.json",
    "run.json": "run.json",
    "dataset_info.json": "tfrecords/dataset_info.json",
}
# What differs between runs, machines and versions.
VARYING = {
    *("started", "seconds", "input_dir", "num_workers", "python", "versions.<package>"),
    *("made_with.split.inputs.<file>", "made_with.shards.segmenter_version"),
}
NULL = type(None)
TYPES = {
    "string": (str,),
    "string or null": (str, NULL),
    "int": (int,),
    "float": (float,),
    "float or null": (float, NULL),
    "bool": (bool,),
    "list": (list,),
    "object": (dict,),
}
NAMES = {
    "<corpus>": CORPORA.keys(),
    "<split>": SPLITS,
    "<length>": ("128", "512"),
    "<level>": ("exact", "near", "paragraph"),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, bundled_corpus):
    """A folder with out/, of the bundled corpus, and model/, of a small run."""
    folder = tmp_path_factory.mktemp("outputs")
    flags = [f"--input_dir={bundled_corpus}", f"--output_dir={folder}/out"]
    assert cli.main([*flags, "--num_workers=1", "--quiet"]) == 0
    make_data(folder / "data", held_out=[("news2016zh", [8]), ("wiki2019zh", [8])])
    assert train(folder / "model", folder / "data", "--quiet", held_out_steps=2) == 0
    return folder


def rows_in(outputs, folder):
    parts = sorted((outputs / "out" / folder).glob("part-*"))
    return [row for part in parts for row in read_rows(str(part))]


def json_in(outputs, section):
    return json.loads((outputs / "out" / JSON_FILES[section]).read_bytes())


# --- Tables ---


def rows_of(section, first="key"):
    """Returns the rows of the table of a section that begins with a column of this name."""
    rows, inside = [], False
    for line in SECTIONS[section].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        inside = line.startswith("|") and (inside or cells[0] == first)
        if inside and cells[0] != first and not cells[0].startswith("---"):
            rows.append([cells[0].strip("`"), *cells[1:]])
    assert rows
    return rows


def leaves_of(value, path=()):
    """Yields the path of every value that holds no other, and the value."""
    if value and isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves_of(inner, (*path, key))
    else:
        yield path, value


def fits(part, key):
    """Tells whether a key of an object or a place in a list is what a part of a key stands for."""
    if part == "[]" or isinstance(key, int):
        return isinstance(key, int) and part in ("[]", f"[{key}]")
    return key in NAMES.get(part, (key,)) if part.startswith("<") else part == key


class Key(NamedTuple):
    """A row of a table of keys."""

    name: str
    kind: str
    example: str

    @property
    def parts(self):
        return PART_OF_KEY.findall(self.name)

    def is_of(self, path):
        """Tells whether the row describes a value; one of settings describes all settings there."""
        rest = path[len(self.parts) :]
        is_whole = rest[:1] and rest[0] in SETTINGS if self.kind == "settings" else not rest
        return len(path) >= len(self.parts) and self.begins_with(path) and is_whole

    def begins_with(self, path):
        return all(map(fits, self.parts, path))


def compare(section, leaves):
    """Holds what was written against the table of a section, and the other way round."""
    keys = [Key(name, kind, example) for name, kind, *_, example in rows_of(section)]
    keys.sort(key=lambda key: key.name.count("<"))  # `read` before `<reason>`
    found = defaultdict(list)
    for path, value in leaves:
        key = next((key for key in keys if key.is_of(path)), None)
        is_empty = value in ([], {}) and any(key.begins_with(path) for key in keys)
        assert key or is_empty, (section, path)
        found[key].append(value)
    # What has no example does not happen in the bundled corpus, or is a group of settings.
    shown = {key for key in keys if key.example}
    assert found.keys() - {None} == shown | {key for key in keys if key.kind == "settings"}
    for key in shown:
        example = json.loads(key.example.strip("`"))
        assert {type(value) for value in [example, *found[key]]} <= set(TYPES[key.kind]), key
        assert example in found[key] or key.name in VARYING, key


SETTINGS = {name for name, *_ in rows_of("Settings")}


@pytest.mark.parametrize("section", JSON_FILES)
def test_table_of_json_file_is_complete_and_its_examples_are_real(outputs, section):
    compare(section, leaves_of(json_in(outputs, section)))


@pytest.mark.parametrize("section", ["documents", "rejected"])
def test_table_of_lines_is_complete_and_its_examples_are_real(outputs, section):
    rows = rows_in(outputs, section)
    columns = [key for key, *_ in rows_of(section)]
    assert all(list(row) == columns for row in rows)
    compare(section, (leaf for row in rows for leaf in leaves_of(row)))


def test_what_no_run_shows_has_its_real_names():
    skipped = [key for key, *_ in rows_of("manifest.json") if key.startswith("skipped")]
    assert skipped == [f"skipped[].{name}" for name in Skipped._fields]
    blocks = [row[3] for row in rows_of("manifest.json") if row[0].startswith("blocks")]
    assert [re.findall("`(.+?)`", meaning)[0] for meaning in blocks] == list(Block._fields)


def test_settings_are_those_that_there_are_with_their_defaults():
    rows = rows_of("Settings")
    shown = {name: json.loads(example.strip("`")) for name, *_, example in rows}
    assert shown == describe(DocumentsConfig(), InstancesConfig())
    assert all(type(shown[name]) in TYPES[kind] for name, kind, *_ in rows)


def test_reasons_are_those_that_there_are():
    reasons = defaultdict(list)
    for stage, cell, _ in rows_of("rejected", "stage"):
        reasons[stage] += re.findall("`(.+?)`", cell)
    assert reasons.pop("read") == list(LINE_FAULTS)
    assert reasons.pop("dedup") == [
        *(dedup.DUPLICATE, dedup.DUPLICATE_OF_TRAINING),
        *(dedup.NEAR_DUPLICATE, dedup.NEAR_DUPLICATE_OF_TRAINING, SHORT_AFTER_DEDUP),
    ]
    assert reasons == {"clean": []}


def test_table_of_features_is_that_of_the_records(outputs):
    from tensorflow.train import Example

    rows = rows_of("TFRecords", "feature")
    paths = sorted((outputs / "out/tfrecords").rglob("*.tfrecord"))
    assert len(paths) == 12
    for path in paths:
        length = int(path.parent.name)
        lengths = {"int64[L]": ("int64_list", length), "bytes[L/8]": ("bytes_list", length // 8)}
        with path.open("rb") as file:
            record = next(read_records(file, path.name))
        features = Example.FromString(record).features.feature
        found = {}
        for name, feature in features.items():
            kind = feature.WhichOneof("kind")
            value = getattr(feature, kind).value
            found[name] = (kind, len(value[0] if kind == "bytes_list" else value))
        assert found == {name: lengths[kind] for name, kind, _ in rows}


def test_table_of_train_csv_is_that_of_its_columns(outputs):
    rows = rows_of("train.csv", "column")
    assert [name for name, *_ in rows] == list(LogLine._fields)
    kinds = {"int": int, "float": float, "string": str}
    with (outputs / "model/train.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["data"] for line in lines} == {"train", "news2016zh", "wiki2019zh"}
    for name, kind, *_, example in rows:
        assert kinds[kind] is LogLine.__annotations__[name]
        for value in (example.strip("`"), *(line[name] for line in lines)):
            kinds[kind](value)


# --- Snippets ---

RUNNER = """
import json, runpy, sys
results = []
for path, expressions in json.load(sys.stdin):
    names = runpy.run_path(path)
    results.append([eval(expression, names) for expression in expressions])
assert not {"pipeline", "tfrecords_schema", "trainer", "vocab"} & sys.modules.keys()
print(json.dumps(results))
"""


class Snippet(NamedTuple):
    """One snippet of the page."""

    section: str
    language: str
    source: str

    @property
    def tool(self):
        tools = ("tensorflow", "datasets", "pandas", "zstandard")
        imported = [tool for tool in tools if f" {tool}" in self.source]
        return imported[0] if self.language == "python" and imported else self.language


SNIPPETS = [
    Snippet(section, *fence)
    for section, text in SECTIONS.items()
    for fence in FENCED.findall(text)
    if fence[0] in ("python", "sh")
]
"""All that can be run, in the order of the page."""


def snippets_of(*tools):
    return [snippet for snippet in SNIPPETS if snippet.tool in tools]


def check_python(folder, snippets, wanted, **environment):
    """Runs snippets in a process that knows nothing of ours; checks what expressions are then."""
    expected = [wanted[snippet.section, snippet.tool] for snippet in snippets]
    assert len(snippets) == len(wanted)
    given = []
    for number, (snippet, expressions) in enumerate(zip(snippets, expected, strict=True)):
        path = folder / f"snippet_{snippet.tool}_{number}.py"
        path.write_text(snippet.source, "utf-8")
        given.append((str(path), list(expressions)))
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    for snippet, values, expressions in zip(snippets, found, expected, strict=True):
        assert values == list(expressions.values()), (snippet.section, snippet.tool)


def test_every_snippet_is_run_here():
    assert [(snippet.section, snippet.tool) for snippet in SNIPPETS] == [
        *(("documents", "sh"), ("documents", "pandas"), ("documents", "datasets")),
        *(("rejected", "sh"), ("rejected", "pandas"), ("rejected", "datasets")),
        *(("manifest.json", "pandas"), ("manifest.json", "zstandard")),
        *(("samples.json", "sh"), ("samples.json", "pandas")),
        *(("ledger.json", "sh"), ("ledger.json", "pandas")),
        ("run.json", "sh"),
        *(("dataset_info.json", "sh"), ("dataset_info.json", "pandas")),
        *(("TFRecords", "tensorflow"), ("vocab.txt", "python")),
        *(("train.csv", "pandas"), ("checkpoints", "tensorflow")),
    ]


needs_readers = pytest.mark.skipif(
    not READERS.is_dir(), reason="pandas and datasets are where make setup puts them"
)
READ_TEXTS = {
    "pandas": [
        "{}['text'].tolist()",
        "[text for rows in pd.read_json(parts[0], lines=True, dtype=False, chunksize=7)"
        " for text in rows['text']]",
    ],
    "datasets": [
        "{}['text'][:]",
        "[row['text'] for row in load_dataset("
        "'json', data_files='out/{}/part-*.zst', split='train', streaming=True)]",
    ],
}
"""All at once, and bit by bit."""


@needs_readers
def test_snippets_of_pandas_and_datasets_read_all_that_is_there(outputs):
    kept, lost = rows_in(outputs, "documents"), rows_in(outputs, "rejected")
    wanted = {
        ("documents", "pandas"): {'documents.to_dict("records")': kept},
        ("documents", "datasets"): {
            "documents.to_list()": kept,
            "held_out.to_list()": [row for row in kept if row["split"] == "held_out"],
        },
        ("rejected", "pandas"): {
            'rejected.drop(columns="similarity").to_dict("records")': [
                {key: value for key, value in row.items() if key != "similarity"} for row in lost
            ],
            # As pandas reads numbers, the last digit may be another.
            'rejected["similarity"].round(9).tolist()': [
                round(row["similarity"], 9) for row in lost
            ],
            'int(reasons["news2016zh", "mojibake"])': 1,
        },
        ("rejected", "datasets"): {"rejected.to_list()": lost},
        ("manifest.json", "pandas"): {
            "blocks.values.tolist()": json_in(outputs, "manifest.json")["blocks"],
            'int(sizes["documents"].sum())': len(kept),
        },
        ("samples.json", "pandas"): {
            'near["similarity"].tolist()': [
                *(row["similarity"] for row in lost if row["reason"] == "near_duplicate")
            ]
        },
        ("ledger.json", "pandas"): {
            'int(accounts["documents.kept"].sum())': len(kept),
            'int(removed["removed.repeated_title"])': sum(
                account["removed"].get("repeated_title", 0)
                for account in json_in(outputs, "ledger.json")["corpora"]["wiki2019zh"].values()
            ),
        },
        ("dataset_info.json", "pandas"): {
            'int(statistics.query("length == 128")["sequences"].sum())': sum(
                number
                for name, number in json_in(outputs, "dataset_info.json")["records"].items()
                if name.startswith("128/")
            ),
            'bool(statistics["fill"].between(0.3, 1).all())': True,
        },
        ("train.csv", "pandas"): {
            'training["step"].tolist()': [1, 2, 3, 4],
            "held_out.columns.tolist()": ["news2016zh", "wiki2019zh"],
            "held_out.index.tolist()": [[1, 2], [1, 4]],
        },
    }
    check_readers(outputs, snippets_of("pandas", "datasets"), wanted)


def check_readers(folder, snippets, wanted):
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    check_python(folder, snippets, wanted, PYTHONPATH=str(READERS), **environment)


@needs_readers
def test_pandas_and_datasets_read_files_of_many_frames_whole(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(0x4E00, 0x9FA6, 2_000))) for _ in range(300)]
    place = ("webtext2019zh", "train", made_outputs.WEB)
    kept = [made_outputs.document(*place, number, text) for number, text in enumerate(texts)]
    lost = [
        made_outputs.rejection(*place, number, "too_short", text)
        for number, text in enumerate(texts)
    ]
    layout = made_outputs.make_outputs(tmp_path / "out", kept=[kept], lost=[lost])
    assert len(parse_manifest(Path(layout.manifest).read_bytes(), "").blocks) == len(texts)
    wanted = {
        (section, tool): {expression.format(section): texts for expression in expressions}
        for section in ("documents", "rejected")
        for tool, expressions in READ_TEXTS.items()
    }
    snippets = [of for of in snippets_of("pandas", "datasets") if (of.section, of.tool) in wanted]
    check_readers(tmp_path, snippets, wanted)


def test_snippets_of_tensorflow_and_python_read_all_that_is_there(outputs):
    info = json_in(outputs, "dataset_info.json")
    kept, blocks = rows_in(outputs, "documents"), json_in(outputs, "manifest.json")["blocks"]
    tokens = parse_vocab((outputs / "out/vocab.txt").read_bytes(), "vocab.txt")
    masked = "int(tf.math.count_nonzero(batch['weights']))"
    wanted = {
        ("manifest.json", "zstandard"): {"documents": kept[-blocks[-1][5] :]},
        ("vocab.txt", "python"): {"tokens": tokens},
        ("TFRecords", "tensorflow"): {
            "[batch[name].shape.as_list() for name in batch]": [[32, 128]] * 4,
            "sum(1 for _ in dataset.unbatch())": sum(
                number for name, number in info["records"].items() if name.startswith("128/train-0")
            ),
            f"0.14 < {masked} / int(tf.math.count_nonzero(batch['targets'] > 105)) < 0.16": True,
            # Every sequence begins with [CLS], which begins a unit; no [PAD] does.
            "int(tf.reduce_min(batch['word_starts'][:, 0]))": 1,
            "int(tf.reduce_sum(tf.where(batch['targets'] == 0, batch['word_starts'], 0)))": 0,
        },
        ("checkpoints", "tensorflow"): {
            "newest": "model/checkpoints/1-16-00000004/",
            "len(shapes) > 20": True,
        },
    }
    check_python(outputs, snippets_of("zstandard", "python", "tensorflow"), wanted)


@pytest.mark.skipif(
    not (shutil.which("jq") and shutil.which("zstdcat")), reason="jq or zstd is not installed"
)
def test_snippets_of_shell_read_all_that_is_there(outputs):
    kept, lost = rows_in(outputs, "documents"), rows_in(outputs, "rejected")
    held_out = [row["text"] for row in kept if row["split"] == "held_out"]
    short = json_in(outputs, "samples.json")["rejected"]["too_short"]
    corpora = json_in(outputs, "ledger.json")["corpora"]
    reasons = Counter(row["reason"] for row in lost)
    printed = {
        snippet.section: subprocess.run(
            ["bash", "-c", snippet.source], cwd=outputs, capture_output=True, text=True, check=True
        ).stdout
        for snippet in snippets_of("sh")
    }
    assert printed.pop("documents").splitlines() == "\n".join(held_out).split("\n")[:10]
    counted = [line.split() for line in printed.pop("rejected").splitlines()]
    assert {reason: int(number) for number, reason in counted} == reasons
    assert printed.pop("samples.json").splitlines() == [
        f"{row['doc_id']}\t{json.dumps(row['text'], ensure_ascii=False)[1:-1]}" for row in short
    ]
    assert printed.pop("ledger.json").splitlines() == [
        f"{corpus}\t{split}\t{account['read']}\t{account['kept']}"
        for corpus, splits in corpora.items()
        for split, account in splits.items()
    ]
    run = json_in(outputs, "run.json")
    wanted = {name: run[name] for name in ("started", "seconds", "versions")}
    assert json.loads(printed.pop("run.json")) == wanted
    assert (
        json.loads(printed.pop("dataset_info.json"))
        == (json_in(outputs, "dataset_info.json")["records"])
    )
    assert not printed
