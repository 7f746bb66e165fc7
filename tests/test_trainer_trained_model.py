import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from made_models import BASE_LIKE, TINY_LIKE, TOKENS, assert_equal_models, make_trained

from trainer.checkpoints import CheckpointStore, Position
from trainer.released import export_released
from trainer.trained_model import load_model
from vocab.vocab_file import format_vocab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained():
    return make_trained()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("exported") / "released"
    export_released(trained, str(folder))
    return folder


@pytest.fixture
def released(tmp_path, exported):
    """A released folder to be spoilt."""
    return shutil.copytree(exported, tmp_path / "released")


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory, trained):
    """Two models, and the output of a run that saved one after the other."""
    folder = tmp_path_factory.mktemp("run")
    store = CheckpointStore(f"{folder}/checkpoints", 3, pytest.fail)
    models = [make_trained(seed=1), trained]
    for step, model in zip((900, 1000), models, strict=True):
        position = Position(stage=1, max_seq_length=128, step=step, data_position=8 * step)
        store.save(position, {"model": TINY_LIKE.to_json()}, model=model.model.full)
    (folder / "vocab.txt").write_bytes(format_vocab(TOKENS))
    return models, folder


@pytest.fixture
def run(tmp_path, trained_run):
    """The output of a run to be spoilt."""
    return shutil.copytree(trained_run[1], tmp_path / "run")


def change_config(folder, **changes):
    config = dataclasses.replace(TINY_LIKE, **changes)
    (folder / "t5s_config.json").write_text(json.dumps(config.to_json()))


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("end", ["", "/"])
def test_released_folder_is_loaded(trained, exported, end):
    assert_equal_models(load_model(f"{exported}{end}"), trained)


def test_model_without_mapping_and_with_dropout_is_loaded(tmp_path):
    trained = make_trained(BASE_LIKE, seed=3)
    export_released(trained, f"{tmp_path}/released")
    assert_equal_models(load_model(f"{tmp_path}/released"), trained)


def test_weights_inside_a_whole_keras_model_are_loaded(trained, released):
    with h5py.File(released / "model.h5", "r") as old, h5py.File(released / "new", "w") as new:
        group = new.create_group("model_weights")
        group.attrs["layer_names"] = old.attrs["layer_names"]
        for name in old.attrs["layer_names"]:
            old.copy(name, group)
    (released / "new").rename(released / "model.h5")
    assert_equal_models(load_model(str(released)), trained)


def test_names_that_keras_spread_over_attributes_are_read(trained, released):
    with h5py.File(released / "model.h5", "a") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:5], names[5:]
        group = file["MLM-Dense"]
        names = group.attrs["weight_names"]
        del group.attrs["weight_names"]
        group.attrs["weight_names0"], group.attrs["weight_names1"] = names[:1], names[1:]
    assert_equal_models(load_model(str(released)), trained)


@pytest.mark.parametrize("end", ["", "/"])
def test_newest_checkpoint_of_a_run_is_loaded(trained_run, end):
    models, folder = trained_run
    assert_equal_models(load_model(f"{folder}{end}"), models[1])


@pytest.mark.parametrize(("place", "step"), [(0, 900), (1, 1000)])
def test_checkpoint_folder_is_loaded(trained_run, monkeypatch, place, step):
    models, folder = trained_run
    name = f"1-128-{step:08d}"
    assert_equal_models(load_model(f"{folder}/checkpoints/{name}/"), models[place])
    monkeypatch.chdir(folder / "checkpoints")
    assert_equal_models(load_model(name), models[place])


@pytest.mark.parametrize("noted", [{}, {"cased": False}, {"cased": True}])
def test_checkpoint_says_itself_whether_case_is_kept(run, trained, noted):
    store = CheckpointStore(f"{run}/checkpoints", 3, pytest.fail)
    position = Position(stage=1, max_seq_length=128, step=1100, data_position=0)
    store.save(position, {"model": TINY_LIKE.to_json(), **noted}, model=trained.model.full)
    is_cased = noted.get("cased", False)
    assert load_model(str(run)).cased == is_cased
    if is_cased:
        assert load_model(str(run), cased=True).cased
    else:
        message = (
            r"checkpoints/1-128-00001100/checkpoint\.json: was trained without case and accents"
        )
        with pytest.raises(ValueError, match=message):
            load_model(str(run), cased=True)


def test_damaged_newest_checkpoint_is_passed_over_with_a_warning(trained_run, run, capsys):
    (data,) = (run / "checkpoints/1-128-00001000").glob("variables.data-*")
    spoil(data)
    assert_equal_models(load_model(str(run)), trained_run[0][0])
    assert capsys.readouterr().err == (
        f"warning: {run}/checkpoints/1-128-00001000: {data.name} is damaged; "
        "going on from an older checkpoint\n"
    )


def test_damaged_checkpoint_is_refused(run):
    folder = run / "checkpoints/1-128-00001000"
    (data,) = folder.glob("variables.data-*")
    spoil(data)
    with pytest.raises(ValueError, match=rf"{folder}: is damaged \("):
        load_model(str(folder))


def test_checkpoint_of_another_format_is_refused(run):
    path = run / "checkpoints/1-128-00001000/checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 9}))
    with pytest.raises(ValueError, match=rf"{path}: format version 9, this program reads 1; "):
        load_model(str(path.parent))


def test_folder_without_model_is_refused_and_told_what_is_looked_for(tmp_path):
    expected = (
        rf"{tmp_path}: holds no model: looked for model\.h5 \(a released model\), checkpoints/ "
        r"\(the output of a training run\) and checkpoint\.json \(a checkpoint\)"
    )
    with pytest.raises(FileNotFoundError, match=expected):
        load_model(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nothing: holds no model"):
        load_model(f"{tmp_path}/nothing")


def test_run_without_whole_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoints/1-128-00000100.unfinished").mkdir(parents=True)
    expected = f"{tmp_path}/checkpoints: holds no whole checkpoint; train first"
    with pytest.raises(FileNotFoundError, match=expected):
        load_model(str(tmp_path))


@pytest.mark.parametrize("inside", ["", "checkpoints/1-128-00000900"])
def test_run_without_vocabulary_is_refused(run, inside):
    (run / "vocab.txt").unlink()
    expected = rf"{run}/vocab\.txt: is missing; put there the vocab\.txt that the model was"
    with pytest.raises(FileNotFoundError, match=expected):
        load_model(f"{run}/{inside}")


def test_released_folder_without_vocabulary_or_configuration_is_refused(released):
    (released / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{released}/vocab\.txt: is missing"):
        load_model(str(released))
    (released / "t5s_config.json").unlink()
    expected = rf"{released}/t5s_config\.json: is missing; it must lie beside model\.h5"
    with pytest.raises(FileNotFoundError, match=expected):
        load_model(str(released))


def test_vocabulary_of_another_size_is_refused(released):
    (released / "vocab.txt").write_bytes(format_vocab(TOKENS[:-1]))
    expected = rf"vocab\.txt, line {len(TOKENS)}: is missing; .* {len(TOKENS)} are needed"
    with pytest.raises(ValueError, match=expected):
        load_model(str(released))


def test_configuration_that_is_no_json_or_unknown_is_refused(released):
    path = released / "t5s_config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=rf"{path}: not JSON: Expecting"):
        load_model(str(released))
    path.write_text(json.dumps(TINY_LIKE.to_json() | {"max_position": 512}))
    with pytest.raises(ValueError, match=rf"{path}: unknown field max_position; fields are"):
        load_model(str(released))


def test_first_weight_of_another_shape_is_named(released):
    change_config(released, intermediate_size=48)
    expected = (
        r"model\.h5: does not fit t5s_config\.json: weight 0 of layer Transformer-0-FeedForward "
        r"must have shape \(16, 48\), found shape \(16, 32\)"
    )
    with pytest.raises(ValueError, match=expected):
        load_model(str(released))


def test_first_missing_layer_is_named(released):
    change_config(released, num_hidden_layers=4)
    expected = (
        r"weight 0 of layer Transformer-2-MultiHeadSelfAttention-Norm must have shape \(16,\), "
        "found nothing"
    )
    with pytest.raises(ValueError, match=expected):
        load_model(str(released))


def test_weights_without_head_are_refused(released):
    with h5py.File(released / "model.h5", "a") as file:
        del file["MLM-Bias"]
    expected = rf"weight 0 of layer MLM-Bias must have shape \({len(TOKENS)},\), found nothing"
    with pytest.raises(ValueError, match=expected):
        load_model(str(released))


def test_weights_of_a_deeper_model_are_refused(released):
    change_config(released, num_hidden_layers=1)
    expected = "has weights of a layer Transformer-1-MultiHeadSelfAttention-Norm, which the model"
    with pytest.raises(ValueError, match=expected):
        load_model(str(released))


def test_layer_with_a_weight_too_much_is_refused(released):
    with h5py.File(released / "model.h5", "a") as file:
        group = file["MLM-Norm"]
        group["beta"] = np.zeros(8, np.float32)
        names = [str(name).encode() for name in group.attrs["weight_names"]]
        group.attrs["weight_names"] = [*names, b"beta"]
    expected = "layer MLM-Norm has 2 weights, the model's 1"
    with pytest.raises(ValueError, match=expected):
        load_model(str(released))


def test_file_that_lacks_what_it_names_is_refused(released):
    with h5py.File(released / "model.h5", "a") as file:
        (name,) = file["MLM-Bias"].attrs["weight_names"]
        del file["MLM-Bias"][name]
    with pytest.raises(ValueError, match=r"model\.h5: is no HDF5 file, or damaged \("):
        load_model(str(released))


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_file_that_is_cut_is_refused(released, share):
    content = (released / "model.h5").read_bytes()
    (released / "model.h5").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"model\.h5: is no HDF5 file, or damaged \("):
        load_model(str(released))
