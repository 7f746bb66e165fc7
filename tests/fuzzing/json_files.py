"""Fuzzes what reads JSON and CSV that this project wrote: what is read can be used."""

import contextlib
import json
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pipeline import state
from pipeline.config import DocumentsConfig, InstancesConfig, describe
from pipeline.errors import PipelineError, RunError, UsageError
from pipeline.inspection import inspect
from pipeline.layout import Layout
from pipeline.manifest import parse_manifest
from pipeline.records import Block
from pipeline.report.facts import read_facts
from tests import made_outputs
from tests.fuzzing.damage import damaged, damaged_json, refuses_clearly
from tests.fuzzing.search import Target
from tfrecords_schema.dataset_info import DatasetInfo
from trainer.config import TrainingConfig, read_config
from trainer.train_log import parse_log

# --- JSON files ---

MANIFEST = made_outputs.Manifest(
    {"dedup": "exact"},
    2,
    Counter({("plain", "train", "read", ""): 3, ("plain", "train", "documents", "kept"): 1}),
    [Block(0, 0, 9, "plain", "train", 1, 3), Block(1, 0, 9, "plain", "test", 1, 3)],
    [made_outputs.skipped_stretch()],
).to_json()
INFO = made_outputs.info(records={"128/train-0-00000-of-00001.tfrecord": 5}).to_json().encode()


def check_manifest(data: bytes) -> None:
    """What is read can be used and written again."""
    manifest = refuses_clearly(RunError, "a.json", lambda: parse_manifest(data, "a.json"))
    if manifest is not None:
        assert parse_manifest(manifest.to_json(), "a.json") == manifest._replace(
            blocks=sorted(manifest.blocks)
        )
        assert sum(manifest.outcomes.values()) is not None


def check_dataset_info(data: bytes) -> None:
    """What is read can be used and written again."""
    info = refuses_clearly(ValueError, "a.json", lambda: DatasetInfo.from_json(data, "a.json"))
    if info is not None:
        assert DatasetInfo.from_json(info.to_json(), "a.json").to_json() == info.to_json()
        assert sum(info.max_predictions_per_seq) + sum(info.records.values()) is not None


CONFIG = json.dumps(TrainingConfig().to_json()).encode()
LOG = (
    b"stage,max_seq_length,step,data,mlm_loss,mlm_acc,learning_rate\n"
    b"1,128,100,train,9.5,0.01,0.001\n1,128,100,wiki2019zh,9.4,0.02,0.001\n"
)


def check_training_config(data: bytes) -> None:
    """A configuration is read, or its fault named."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        config = refuses_clearly(ValueError, "a.json", lambda: read_config(text, "a.json"))
        assert config is None or read_config(json.dumps(config.to_json()), "a.json") is not None


def check_train_log(data: bytes) -> None:
    """A log is read, or its fault named."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        refuses_clearly(ValueError, "a.csv", lambda: parse_log(text, "a.csv"))


# --- Whole output directories ---


@cache
def _outputs() -> tuple[tempfile.TemporaryDirectory[str], dict[str, bytes]]:
    """Returns an output directory, and the files in it that are read back."""
    folder = tempfile.TemporaryDirectory()
    root = Path(folder.name)
    layout = made_outputs.make_outputs(root, made_outputs.info())
    made_with = {
        state.SPLIT: {"unit_bytes": 1, "inputs": {"plain train a": "1 2"}},
        state.CLEAN: describe(DocumentsConfig()),
        state.FINISH: {"dedup": "near"},
        state.VOCAB: {"learned_from": {}, "sha256": "", "borders": made_outputs.BORDERS},
        state.SHARDS: describe(InstancesConfig()),
    }
    state.write_state(layout, made_with, {"python": "3.11.7", "versions": {"numpy": "2.4.6"}})
    read = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return folder, {str(path.relative_to(root)): path.read_bytes() for path in read}


@st.composite
def damaged_outputs(draw: Any) -> tuple[str, bytes]:
    """Returns the name of a file of an output directory, and what stands there now."""
    _, contents = _outputs()
    name = draw(st.sampled_from(sorted(contents)))
    whole = contents[name]
    return name, draw(damaged_json(whole) if name.endswith(".json") else damaged([whole]))


def check_outputs(changed: tuple[str, bytes], asked: dict[str, Any]) -> None:
    """Whatever stands in an output directory is shown, or refused by its name."""
    folder, contents = _outputs()
    layout, (name, data) = Layout(folder.name), changed
    path = Path(folder.name, name)
    path.write_bytes(data)
    refused = (RunError, UsageError)
    try:
        if not name.startswith("tfrecords"):
            # A manifest may name files that are not there.
            shown = (*refused, FileNotFoundError)
            refuses_clearly(shown, "", lambda: list(inspect(layout, limit=9, **asked)))
        refuses_clearly(refused, str(path), lambda: read_facts(layout))
        refuses_clearly(PipelineError, folder.name, lambda: _read_state(layout))
    finally:
        path.write_bytes(contents[name])


def _read_state(layout: Layout) -> None:
    found = state.read_state(layout)
    wanted = {
        state.SPLIT: {"unit_bytes": 2, "inputs": {"plain train a": "1 2"}},
        state.CLEAN: {"script": "keep"},
    }
    stale = state.first_changed(wanted, found)
    if stale in found:
        state.explain_change(wanted[stale], found[stale])
    state.refuse_other_corpus(wanted, found, layout)


ASKED = [{}, {"reason": "too_short"}, {"reason": "duplicate"}, {"rule": "inline_tags"}]
ASKED += [
    {"doc_id": row.doc_id} for rows in (*made_outputs.KEPT, *made_outputs.LOST) for row in rows
]


# --- Checkpoints ---


def check_checkpoint(data: bytes) -> None:
    """A checkpoint is read, passed over with a warning, or refused."""
    from trainer.checkpoints import CheckpointStore

    warnings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder, 3, warnings.append)
        for step in (1, 2):
            path = Path(folder, f"1-128-{step:08d}", "checkpoint.json")
            path.parent.mkdir()
            path.write_bytes(data)
        refuses_clearly(ValueError, folder, store.find_newest)
        refuses_clearly(ValueError, folder, store._delete_old)
    assert all(folder in warning and "\n" not in warning for warning in warnings)


CHECKPOINT = json.dumps(
    {
        "format_version": 1,
        "position": {
            **{"stage": 1, "max_seq_length": 128, "step": 2, "data_position": 9},
            **{"unlogged": [[9.5, 0.1]], "held_out_loss": 9.4},
        },
        "identity": {"config": {"seed": 0}},
        "files": {},
    }
).encode()

TARGETS = (
    Target("manifests", check_manifest, (damaged_json(MANIFEST),)),
    Target("dataset_info", check_dataset_info, (damaged_json(INFO),)),
    Target("outputs", check_outputs, (damaged_outputs(), st.sampled_from(ASKED))),
    Target("training configs", check_training_config, (damaged_json(CONFIG),)),
    Target("train.csv", check_train_log, (damaged([LOG]),)),
    Target("checkpoints", check_checkpoint, (damaged_json(CHECKPOINT),)),
)
