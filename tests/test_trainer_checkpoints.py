"""Checkpoints: whole or not there, the newest whole one found, old ones deleted."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from trainer.checkpoints import BEFORE_TRAINING, CheckpointStore, Position, read_checkpoint

pytestmark = pytest.mark.slow

IDENTITY = {"seed": 3}


class Part(tf.Module):
    def __init__(self, value, shape=(3, 4)):
        super().__init__()
        self.weights = tf.Variable(np.full(shape, value, np.float32))


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def store(tmp_path, warnings):
    return CheckpointStore(str(tmp_path / "checkpoints"), kept=2, warn=warnings.append)


def position_of(step, stage=1, held_out_loss=None):
    return Position(
        stage=stage,
        max_seq_length=128,
        step=step,
        data_position=step * 32,
        unlogged=[[0.1, 0.2]],
        held_out_loss=held_out_loss,
    )


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "checkpoints").iterdir())


def test_new_run_has_no_checkpoint(store):
    assert store.find_newest() is None


def test_saved_values_come_back(store):
    store.save(position_of(5), IDENTITY, model=Part(7.0))
    found = store.find_newest()
    assert (found.position, found.identity) == (position_of(5), IDENTITY)
    part = Part(0.0)
    found.restore(model=part)
    assert part.weights.numpy().tolist() == np.full((3, 4), 7.0).tolist()


def test_folder_is_named_by_stage_length_and_step(store, tmp_path):
    store.save(position_of(5), IDENTITY, model=Part(7.0))
    assert names(tmp_path) == ["1-128-00000005"]
    info = json.loads((tmp_path / "checkpoints/1-128-00000005/checkpoint.json").read_text())
    assert sorted(info["files"]) == ["variables.data-00000-of-00001", "variables.index"]


def test_newest_is_that_of_the_latest_stage_and_step(tmp_path):
    store = CheckpointStore(str(tmp_path / "checkpoints"), kept=9, warn=pytest.fail)
    for stage, step in [(1, 900), (2, 5), (2, 10), (1, 100_000_000)]:
        store.save(position_of(step, stage), IDENTITY, model=Part(1.0))
    assert store.find_newest().position == position_of(10, 2)


def test_only_the_newest_stay(store, tmp_path):
    for step in range(1, 6):
        store.save(position_of(step), IDENTITY, model=Part(1.0))
    assert names(tmp_path) == ["1-128-00000004", "1-128-00000005"]


def test_best_of_every_stage_stays(store, tmp_path):
    for stage, step, loss in [(1, 1, 3.0), (1, 2, 2.0), (1, 3, 4.0), (1, 4, None), (2, 1, 5.0)]:
        store.save(position_of(step, stage, loss), IDENTITY, model=Part(1.0))
    for step in range(2, 5):
        store.save(position_of(step, 2, 6.0), IDENTITY, model=Part(1.0))
    assert names(tmp_path) == [
        "1-128-00000002",
        "2-128-00000001",
        "2-128-00000003",
        "2-128-00000004",
    ]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("variables.index", cut, "variables.index is damaged"),
        ("variables.data-00000-of-00001", flip, "variables.data-00000-of-00001 is damaged"),
        ("variables.data-00000-of-00001", lambda path: path.unlink(), "of-00001 is missing"),
        ("checkpoint.json", lambda path: path.unlink(), "checkpoint.json is missing"),
        ("checkpoint.json", cut, None),
        ("checkpoint.json", lambda path: path.write_bytes(b'{"a'), "checkpoint.json is damaged"),
        ("checkpoint.json", lambda path: path.write_bytes(b"\xff"), "checkpoint.json is damaged"),
        ("checkpoint.json", lambda path: path.write_bytes(b"{}"), "no format_version"),
    ],
)
def test_damaged_checkpoint_is_passed_over_with_a_warning(
    store, warnings, tmp_path, name, damage, reason
):
    store.save(position_of(1), IDENTITY, model=Part(1.0))
    store.save(position_of(2), IDENTITY, model=Part(2.0))
    damage(tmp_path / "checkpoints/1-128-00000002" / name)
    # A line feed at its end is all that checkpoint.json can lose.
    expected = 2 if reason is None else 1
    assert store.find_newest().position.step == expected
    assert len(warnings) == (reason is not None)
    if reason:
        assert re.search(
            rf"1-128-00000002: .*{reason}.*; going on from an older checkpoint", warnings[0]
        )


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (["files"], [], "'list' object has no attribute 'items'"),
        (["files", "variables.index"], "7", "cannot be interpreted as an integer"),
        (["identity"], 7, "not a mapping"),
        (["position"], {}, "no held_out_loss"),
        (["position", "step"], "2", "cannot be interpreted as an integer"),
        (["position", "unlogged"], [7], "not iterable"),
        (["position", "held_out_loss"], "low", "could not convert"),
        (["position", "held_out_loss"], 10**400, "too large"),
    ],
    ids=str,
)
def test_checkpoint_with_a_value_that_cannot_be_is_passed_over(
    store, warnings, tmp_path, keys, value, reason
):
    for step in (1, 2):
        store.save(position_of(step, held_out_loss=0.5), IDENTITY, model=Part(1.0))
    path = tmp_path / "checkpoints/1-128-00000002/checkpoint.json"
    fields = json.loads(path.read_text())
    *parents, last = keys
    place = fields
    for key in parents:
        place = place[key]
    place[last] = value
    path.write_text(json.dumps(fields))
    assert store.find_newest().position.step == 1
    (warning,) = warnings
    assert warning.startswith(f"{path.parent}: checkpoint.json is damaged (") and reason in warning
    with pytest.raises(ValueError, match=r"checkpoint\.json is damaged"):
        read_checkpoint(str(path.parent))
    # The best of a stage is looked for among the others.
    store.save(position_of(3, held_out_loss=0.9), IDENTITY, model=Part(1.0))
    assert names(tmp_path) == ["1-128-00000001", "1-128-00000002", "1-128-00000003"]


@pytest.mark.parametrize("name", ["", ".", "../1-128-00000001/checkpoint.json"])
def test_checkpoint_that_names_no_file_of_its_own_is_passed_over(store, warnings, tmp_path, name):
    for step in (1, 2):
        store.save(position_of(step), IDENTITY, model=Part(1.0))
    path = tmp_path / "checkpoints/1-128-00000002/checkpoint.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"files": {name: [0, 0]}}))
    assert store.find_newest().position.step == 1
    assert warnings == [f"{path.parent}: {name} is missing; going on from an older checkpoint"]


def test_unfinished_checkpoint_is_none_and_does_not_disturb(store, tmp_path):
    unfinished = tmp_path / "checkpoints/1-128-00000002.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "variables.index").write_bytes(b"half")
    assert store.find_newest() is None
    store.save(position_of(2), IDENTITY, model=Part(2.0))
    assert names(tmp_path) == ["1-128-00000002"]
    assert store.find_newest().position.step == 2


def test_checkpoint_of_the_same_step_is_replaced(store):
    store.save(position_of(2), IDENTITY, model=Part(1.0))
    store.save(position_of(2), IDENTITY, model=Part(2.0))
    part = Part(0.0)
    store.find_newest().restore(model=part)
    assert part.weights.numpy().max() == 2.0


def test_other_format_is_refused(store, tmp_path):
    store.save(position_of(2), IDENTITY, model=Part(1.0))
    path = tmp_path / "checkpoints/1-128-00000002/checkpoint.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 9'))
    with pytest.raises(ValueError, match=r"checkpoint.json: format version 9, this program reads"):
        store.find_newest()


def test_checkpoint_of_another_model_is_refused(store):
    store.save(position_of(2), IDENTITY, model=Part(1.0))
    with pytest.raises(ValueError, match="1-128-00000002: does not fit this model"):
        store.find_newest().restore(model=Part(1.0, shape=(5, 5)))


def test_all_trained_are_deleted(store, tmp_path):
    store.save(position_of(2), IDENTITY, model=Part(1.0))
    (tmp_path / "checkpoints/1-128-00000003.unfinished").mkdir()
    store.delete_trained()
    store.delete_trained()
    assert store.find_newest() is None
    assert names(tmp_path) == []


def test_imported_weights_stay_when_others_are_deleted(store, tmp_path):
    store.save(BEFORE_TRAINING, {"initial": "x"}, model=Part(1.0))
    for step in range(1, 6):
        store.save(position_of(step), IDENTITY, model=Part(2.0))
    assert names(tmp_path) == ["0-0-00000000", "1-128-00000004", "1-128-00000005"]
    store.delete_trained()
    assert names(tmp_path) == ["0-0-00000000"]
    for found in (store.find_newest(), store.find_imported()):
        assert (found.position.stage, found.identity) == (0, {"initial": "x"})


def test_newest_is_never_the_imported_one_if_there_is_another(store):
    store.save(BEFORE_TRAINING, IDENTITY, model=Part(1.0))
    store.save(position_of(1), IDENTITY, model=Part(2.0))
    assert store.find_newest().position == position_of(1)
    assert store.find_imported().position.stage == 0


def test_run_without_imported_weights_has_none(store):
    store.save(position_of(1), IDENTITY, model=Part(2.0))
    assert store.find_imported() is None


def test_damaged_imported_weights_are_an_error(store, warnings, tmp_path):
    store.save(BEFORE_TRAINING, IDENTITY, model=Part(1.0))
    flip(tmp_path / "checkpoints/0-0-00000000/variables.data-00000-of-00001")
    message = "0-0-00000000: variables.data-00000-of-00001 is damaged; import the weights again"
    for find in (store.find_newest, store.find_imported):
        with pytest.raises(ValueError, match=message):
            find()
    assert warnings == []
