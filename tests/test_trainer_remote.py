"""The trainer from gs:// to gs://, through TensorFlow's own file system, against an emulator."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from made_models import WHOLE_VOCAB

from pipeline.cli import main as run_pipeline
from tests import cloud_storage
from trainer.checkpoints import CheckpointStore
from trainer.config import StageConfig, TrainingConfig

pytestmark = pytest.mark.slow

SMALL = dataclasses.replace(WHOLE_VOCAB, num_hidden_layers=1)
FIRST = StageConfig(
    max_seq_length=128,
    optimizer_steps=4,
    learning_rate=1e-3,
    warmup_steps=1,
    global_batch_size=4,
    micro_batch_size=4,
)
SECOND = dataclasses.replace(FIRST, max_seq_length=512, optimizer_steps=2)
CONFIG = TrainingConfig(
    model=SMALL,
    stages=(FIRST, SECOND),
    log_steps=2,
    held_out_steps=4,
    held_out_sequences=4,
    save_steps=2,
    jit_compile=False,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory, bundled_corpus):
    folder = tmp_path_factory.mktemp("out")
    flags = [f"--input_dir={bundled_corpus}", f"--output_dir={folder}", "--num_workers=1"]
    assert run_pipeline([*flags, "--quiet"]) == 0
    return folder / "tfrecords"


def train(folder, data, output, *flags, environment=None):
    """Trains in a process of its own; returns what it says."""
    config = folder / "given.json"
    config.write_text(json.dumps(CONFIG.to_json()))
    command = [f"--config={config}", f"--data={data}", f"--output={output}", *flags]
    ended = subprocess.run(
        [sys.executable, "-m", "trainer", "train", *command],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def values_of(folder):
    """Returns all saved values of the newest checkpoint, by name."""
    import tensorflow as tf

    newest = CheckpointStore(f"{folder}/checkpoints", 1, pytest.fail).find_newest()
    reader = tf.train.load_checkpoint(f"{newest.folder}/variables")
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if not name.startswith("_CHECK")}


def test_training_in_the_cloud_stops_and_goes_on_as_a_local_one_bit_for_bit(data, tmp_path):
    train(tmp_path, data, tmp_path / "local")
    with cloud_storage.running_for_tensorflow(tmp_path) as (emulator, environment):
        remote = emulator.copy_folder(data, "tfrecords"), "gs://bucket/model"
        train(tmp_path, *remote, "--stage=128", environment=environment)
        said = train(tmp_path, *remote, environment=environment)
        found = emulator.read_folder("model")
    assert "Going on from stage 1, step 4" in said
    for name in found:
        is_mark = not name or name.endswith("/")
        if is_mark or any(other.startswith(f"{name}/") for other in found):
            continue  # no file, but what shows that there is a folder
        path = tmp_path / "fetched" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found[name])
    fetched = tmp_path / "fetched"
    for name in ("train.csv", "vocab.txt", "config.json"):
        assert (fetched / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    expected, values = values_of(tmp_path / "local"), values_of(fetched)
    assert list(values) == list(expected)
    assert [name for name in values if not np.array_equal(values[name], expected[name])] == []
    assert not any(".unfinished" in name for name in found)
