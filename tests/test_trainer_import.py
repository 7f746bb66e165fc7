"""Runs that begin with imported weights: what they begin with, go on with, refuse and keep."""

import dataclasses
import shutil

import made_models
import numpy as np
import pytest
from made_runs import MODEL, STAGE, TOKENS, make_data, train

from trainer.checkpoints import CheckpointStore
from trainer.cli import main
from trainer.model import build_model
from trainer.released import digest_weights, export_released
from trainer.trained_model import TrainedModel, load_model
from vocab.vocab_file import format_vocab

pytestmark = pytest.mark.slow

OTHER_TOKENS = (*TOKENS[:-2], TOKENS[-1], TOKENS[-2])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("tfrecords"))


@pytest.fixture(scope="module")
def trained():
    """A model that no seed of a run draws."""
    model = build_model(MODEL, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.full.weights:
        weight.assign_add(rng.normal(0, 0.1, weight.shape))
    return TrainedModel(MODEL, model, TOKENS)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, trained):
    """The output folder that `import` makes."""
    folder = tmp_path_factory.mktemp("imported")
    export_released(trained, f"{folder}/released")
    assert main(["import", f"--model={folder}/released", f"--output={folder}/output"]) == 0
    return folder / "output"


@pytest.fixture
def output(tmp_path, begun):
    return shutil.copytree(begun, tmp_path / "output")


def newest_of(output):
    return CheckpointStore(f"{output}/checkpoints", 9, pytest.fail).find_newest()


def weights_of(output):
    return made_models.weights_of(load_model(str(output)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, begun, data):
    """The output of a run that nothing disturbed."""
    output = shutil.copytree(begun, tmp_path_factory.mktemp("finished") / "output")
    assert train(output, data, "--quiet") == 0
    return output


def assert_equal_outputs(one, other):
    assert (one / "train.csv").read_bytes() == (other / "train.csv").read_bytes()
    assert newest_of(one)[1:] == newest_of(other)[1:]
    for left, right in zip(weights_of(one), weights_of(other), strict=True):
        assert np.array_equal(left, right)


def test_run_begins_with_the_imported_weights(output, data, trained, capsys):
    stage = dataclasses.replace(STAGE, optimizer_steps=1, learning_rate=1e-9)
    assert train(output, data, stages=(stage,)) == 0
    assert f"Beginning with the imported weights in {output}/checkpoints/0-0-" in (
        capsys.readouterr().err
    )
    assert newest_of(output).position.step == 1
    for weight, imported in zip(weights_of(output), made_models.weights_of(trained), strict=True):
        np.testing.assert_allclose(weight, imported, rtol=0, atol=1e-6)


def test_checkpoints_say_what_the_run_began_with_and_keep_it(finished, trained):
    newest = newest_of(finished)
    assert (newest.position.stage, newest.position.step) == (1, 4)
    assert newest.identity["initial"] == digest_weights(trained)
    names = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert names == ["0-0-00000000", *(f"1-16-0000000{step}" for step in (2, 3, 4))]


def test_killed_run_goes_on_bit_for_bit(finished, data, tmp_path, capsys):
    output = shutil.copytree(finished, tmp_path / "output")
    for step in (3, 4):  # a kill leaves a log that runs ahead, and a checkpoint that is not whole
        shutil.rmtree(output / f"checkpoints/1-16-0000000{step}")
    (output / "checkpoints/1-16-00000003.unfinished").mkdir()
    assert train(output, data) == 0
    assert "Going on from stage 1, step 2" in capsys.readouterr().err
    assert_equal_outputs(output, finished)


def test_overwrite_begins_again_with_the_imported_weights_and_says_so(
    finished, data, tmp_path, capsys
):
    output = shutil.copytree(finished, tmp_path / "output")
    assert train(output, data, "--overwrite") == 0
    printed = capsys.readouterr().err
    assert "0-0-00000000, which --overwrite keeps; for random weights give another" in printed
    assert_equal_outputs(output, finished)
    # And as any other configuration: the seed draws no weight.
    assert train(output, data, "--overwrite", "--quiet", seed=1) == 0
    assert newest_of(output).identity == newest_of(finished).identity | {"seed": 1}
    assert (output / "train.csv").read_bytes() == (finished / "train.csv").read_bytes()


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
@pytest.mark.parametrize("is_trained", [False, True])
def test_another_model_is_refused_and_nothing_is_deleted(
    output, finished, data, tmp_path, capsys, flags, is_trained
):
    folder = shutil.copytree(finished, tmp_path / "finished") if is_trained else output
    before = sorted(folder.rglob("*"))
    model = dataclasses.replace(MODEL, hidden_size=24)
    assert train(folder, data, "--quiet", *flags, model=model) == 1
    printed = capsys.readouterr().err.splitlines()[-1]
    assert "model.hidden_size was 16, is 24" in printed
    is_of_imported = flags or not is_trained
    assert ("holds imported weights of another model" in printed) == bool(is_of_imported)
    assert sorted(folder.rglob("*")) == before


def test_finished_run_of_imported_weights_is_still_strict(finished, data, capsys):
    assert train(finished, data, "--quiet", seed=1) == 1
    assert "is of another run: seed was 0, is 1" in capsys.readouterr().err


@pytest.mark.parametrize("is_trained", [False, True])
def test_data_of_another_vocabulary_is_refused(output, finished, tmp_path, capsys, is_trained):
    folder = shutil.copytree(finished, tmp_path / "finished") if is_trained else output
    other = make_data(tmp_path / "other", OTHER_TOKENS)
    assert train(folder, other, "--quiet") == 1
    printed = capsys.readouterr().err.splitlines()[-1]
    assert f"{other}/vocab.txt: another vocabulary than {folder}/vocab.txt" in printed
    assert (folder / "vocab.txt").read_bytes() == format_vocab(TOKENS)


def test_damaged_import_is_no_reason_to_begin_with_random_weights(output, data, capsys):
    [variables] = output.glob("checkpoints/0-0-*/variables.data-*")
    variables.write_bytes(b"damaged")
    assert train(output, data, "--quiet") == 1
    assert "is damaged; import the weights again" in capsys.readouterr().err


def test_folder_in_which_a_run_lies_takes_no_import(finished, begun, capsys):
    assert main(["import", f"--model={begun}", f"--output={finished}"]) == 1
    assert f"trainer: {finished}: is not empty" in capsys.readouterr().err
