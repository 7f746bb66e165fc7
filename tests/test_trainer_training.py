"""Whole runs of a small model: bits after kills, stages, data that is refused, what is printed."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_models import WHOLE_VOCAB

from pipeline.cli import main as run_pipeline
from trainer.checkpoints import CheckpointStore
from trainer.cli import main
from trainer.config import StageConfig, TrainingConfig
from trainer.train_log import TRAIN, parse_log

pytestmark = pytest.mark.slow

FIRST = StageConfig(
    max_seq_length=128,
    optimizer_steps=7,
    learning_rate=1e-3,
    warmup_steps=2,
    global_batch_size=8,
    micro_batch_size=4,
)
SECOND = dataclasses.replace(FIRST, max_seq_length=512, optimizer_steps=5, micro_batch_size=2)
CONFIG = TrainingConfig(
    model=WHOLE_VOCAB,
    stages=(FIRST, SECOND),
    log_steps=2,
    held_out_steps=4,
    held_out_sequences=4,
    save_steps=3,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory, bundled_corpus) -> Path:
    """TFRecords of the bundled corpus in two static maskings."""
    folder = tmp_path_factory.mktemp("out")
    flags = [f"--input_dir={bundled_corpus}", f"--output_dir={folder}", "--dupe_factor=2"]
    assert run_pipeline([*flags, "--num_workers=1", "--quiet"]) == 0
    return folder / "tfrecords"


def write_config(folder, **changes):
    folder.mkdir(exist_ok=True)
    config = dataclasses.replace(CONFIG, **changes)
    path = folder / "given.json"
    path.write_text(json.dumps(config.to_json()))
    return path


def command_of(folder, data, *flags, **changes):
    config = write_config(folder, **changes)
    return [
        *("train", f"--config={config}", f"--data={data}", f"--output={folder}/model"),
        *flags,
    ]


def train_in_a_process(folder, data, *flags, **changes):
    command = command_of(folder, data, *flags, **changes)
    return subprocess.run(
        [sys.executable, "-m", "trainer", *command], capture_output=True, text=True
    )


def results_of(folder):
    """Returns train.csv and all saved values of the last checkpoint, by name."""
    import tensorflow as tf

    newest = CheckpointStore(f"{folder}/model/checkpoints", 1, pytest.fail).find_newest()
    reader = tf.train.load_checkpoint(f"{newest.folder}/variables")
    values = {
        name: reader.get_tensor(name)
        for name in sorted(reader.get_variable_to_shape_map())
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    }
    return (folder / "model/train.csv").read_bytes(), newest.position, values


def assert_equal_results(one, other):
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert list(one[2]) == list(other[2])
    for name, value in one[2].items():
        assert np.array_equal(value, other[2][name]), name


@pytest.fixture(scope="module", params=["static", "dynamic"])
def undisturbed(request, tmp_path_factory, data):
    """Masking, and what a run gives that nothing disturbs."""
    folder = tmp_path_factory.mktemp(request.param)
    finished = train_in_a_process(folder, data, masking=request.param)
    assert finished.returncode == 0, finished.stderr
    return request.param, results_of(folder), finished.stderr, folder


def test_both_stages_are_trained_and_logged(undisturbed):
    _, (log, position, values), _, folder = undisturbed
    assert (position.stage, position.step, position.data_position) == (2, 5, 40)
    lines = parse_log(log.decode(), "train.csv")
    assert [(line.stage, line.step) for line in lines if line.data == TRAIN] == [
        *[(1, 2), (1, 4), (1, 6), (1, 7)],
        *[(2, 2), (2, 4), (2, 5)],
    ]
    held_out = [(line.stage, line.step) for line in lines if line.data == "news2016zh"]
    assert held_out == [(1, 4), (1, 7), (2, 4), (2, 5)]
    # A model that knows nothing: ln 13,686 = 9.52; a step of a small model moves it little.
    assert all(abs(line.mlm_loss - 9.52) < 0.2 for line in lines)
    assert sum(".ATTRIBUTES" in name for name in values) == len(values)
    names = sorted(path.name for path in (folder / "model").iterdir())
    assert names == ["checkpoints", "config.json", "tensorboard", "train.csv", "vocab.txt"]
    assert list((folder / "model/tensorboard").glob("events.out.*"))


def test_run_says_what_it_is(undisturbed):
    masking, _, printed, _ = undisturbed
    assert f"{masking} masking" in printed
    assert "Loss of guessing at random: ln 13,686 = 9.52" in printed
    assert re.search(r"Stage 1: 7 steps of 8 x 128 = 1,024 tokens, 0\.\d\d epochs of 373", printed)
    assert re.search(r"stage 1 \(128\) step 2/7  train: loss 9\.\d+, accuracy", printed)
    assert re.search(r"stage 2 \(512\) step 5  held out, news2016zh: loss", printed)


def start_until(folder, data, seen, *flags, **changes):
    """Starts a run and waits until it has printed something; returns the running process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", *command_of(folder, data, *flags, **changes)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if seen in line:
            return process
    pytest.fail(f"never printed {seen!r}")


MOMENTS = "stage 1 (128) step 4/7", "stage 1 (128) step 7  held out", "stage 2 (512) step 2/5"


def test_killed_run_goes_on_bit_for_bit(undisturbed, data, tmp_path):
    masking, expected, _, _ = undisturbed
    for moment in MOMENTS:
        process = start_until(tmp_path, data, moment, masking=masking)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finished = train_in_a_process(tmp_path, data, masking=masking)
    assert finished.returncode == 0, finished.stderr
    assert_equal_results(results_of(tmp_path), expected)


@pytest.mark.parametrize("undisturbed", ["dynamic"], indirect=True)
def test_sigterm_saves_and_the_run_goes_on_bit_for_bit(undisturbed, data, tmp_path):
    masking, expected, _, _ = undisturbed
    process = start_until(tmp_path, data, "stage 1 (128) step 2/7", masking=masking)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate()
    assert process.returncode == 0, printed
    assert "Saved; the same command goes on from here." in printed
    finished = train_in_a_process(tmp_path, data, masking=masking)
    assert finished.returncode == 0, finished.stderr
    assert "Going on from stage 1, step " in finished.stderr
    assert_equal_results(results_of(tmp_path), expected)


def test_interrupt_saves_and_exits_130(data, tmp_path):
    process = start_until(tmp_path, data, "stage 1 (128) step 2/7")
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate()
    assert process.returncode == 130, printed
    assert CheckpointStore(f"{tmp_path}/model/checkpoints", 1, pytest.fail).find_newest()


@pytest.mark.parametrize("undisturbed", ["dynamic"], indirect=True)
def test_stages_one_by_one_are_the_same_run(undisturbed, data, tmp_path):
    masking, expected, _, _ = undisturbed
    for stage in (128, 512):
        assert main(command_of(tmp_path, data, f"--stage={stage}", "--quiet", masking=masking)) == 0
    assert_equal_results(results_of(tmp_path), expected)


def test_many_steps_per_execution_and_none_compiled_train_too(data, tmp_path):
    flags = ["--steps_per_execution=3", "--no-jit_compile", "--quiet", "--stage=128"]
    assert main(command_of(tmp_path, data, *flags)) == 0
    assert results_of(tmp_path)[1].step == 7


@pytest.mark.parametrize("undisturbed", ["dynamic"], indirect=True)
def test_damaged_checkpoint_is_passed_over(undisturbed, data, tmp_path, capsys):
    masking, expected, _, folder = undisturbed
    shutil.copytree(folder / "model", tmp_path / "model")
    newest = max((tmp_path / "model/checkpoints").iterdir())
    (newest / "variables.data-00000-of-00001").write_bytes(b"damaged")
    assert main(command_of(tmp_path, data, "--quiet", masking=masking)) == 0
    assert "warning: " in (printed := capsys.readouterr().err)
    assert "2-512-00000005: variables.data-00000-of-00001 is damaged" in printed
    assert_equal_results(results_of(tmp_path), expected)


@pytest.mark.parametrize("undisturbed", ["dynamic"], indirect=True)
def test_finished_run_trains_nothing_more(undisturbed, data, capsys):
    masking, expected, _, folder = undisturbed
    assert main(command_of(folder, data, masking=masking)) == 0
    assert_equal_results(results_of(folder), expected)
    assert "All stages are trained" in capsys.readouterr().err


def test_other_configuration_is_refused_and_overwrite_starts_afresh(data, tmp_path, capsys):
    assert main(command_of(tmp_path, data, "--quiet", "--stage=128")) == 0
    before = results_of(tmp_path)
    assert main(command_of(tmp_path, data, "--quiet", "--stage=128", seed=1)) == 1
    assert "is of another run: seed was 0, is 1" in capsys.readouterr().err
    assert_equal_results(results_of(tmp_path), before)
    assert main(command_of(tmp_path, data, "--quiet", "--stage=128", "--overwrite", seed=1)) == 0
    assert results_of(tmp_path)[0] != before[0]


@pytest.mark.parametrize(
    ("flags", "changes", "message"),
    [
        (["--stage=256"], {}, "--stage=256: the stages of this configuration are of length 128, "),
        (["--stage=512"], {}, "stage 1 has done 0 of its 7 steps"),
        (["--data=/nowhere"], {}, "/nowhere"),
        ([], {"stages": (dataclasses.replace(FIRST, max_seq_length=64),)}, "64"),
        ([], {"model": dataclasses.replace(WHOLE_VOCAB, vocab_size=500)}, "13686"),
        ([], {"stages": (dataclasses.replace(FIRST, global_batch_size=7),)}, "multiple of 4"),
        ([], {"stages": (dataclasses.replace(FIRST, global_batch_size=4000),)}, "fewer than one"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_one_line(
    data, tmp_path, capsys, flags, changes, message
):
    assert main(command_of(tmp_path, data, *flags, "--quiet", **changes)) == 1
    printed = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert len(printed) == 1
    assert printed[0].startswith("trainer: ") and message in printed[0]
    assert not list(tmp_path.glob("model/checkpoints/*"))


def test_diverging_run_ends_with_a_message(data, tmp_path, capsys):
    stage = dataclasses.replace(FIRST, learning_rate=1e30, warmup_steps=0)
    assert main(command_of(tmp_path, data, "--quiet", stages=(stage,))) == 1
    assert re.search(r"trainer: stage 1, step \d: the loss is (nan|inf)", capsys.readouterr().err)


def test_damaged_shard_is_named(data, tmp_path, capsys):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(data), str(copy)], check=True)
    for shard in (copy / "128").glob("train-*"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(bytes(content))
    stage = dataclasses.replace(FIRST, optimizer_steps=60)
    assert main(command_of(tmp_path, copy, "--quiet", stages=(stage,))) == 1
    assert re.search(r"trainer: .*train-.*tfrecord: damaged", capsys.readouterr().err)


def test_foreign_records_train_with_static_masks(data, tmp_path, capsys):
    import tensorflow as tf

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    kept = ("token_ids", "mask_ids")
    with tf.io.TFRecordWriter(str(foreign / "corpus.0.tfrecord")) as writer:
        for path in sorted((data / "128").glob("train-0-*")):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                features = tf.train.Example.FromString(record).features.feature
                example = tf.train.Example()
                for name in kept:
                    example.features.feature[name].CopyFrom(features[name])
                writer.write(example.SerializeToString())
    assert main(command_of(tmp_path, foreign, "--quiet", stages=(FIRST,))) == 0
    assert results_of(tmp_path)[1].step == 7
    assert main(command_of(tmp_path, foreign, "--quiet", stages=(FIRST,), masking="dynamic")) == 1
    assert "has no word_starts" in capsys.readouterr().err


def test_home_directory_is_found(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    command = command_of(tmp_path, data, "--quiet", stages=(FIRST,))
    command[3] = "--output=~/model"
    assert main(command) == 0
    assert os.listdir(tmp_path / "model")
