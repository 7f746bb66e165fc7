import json
import os

import h5py
import numpy as np
import pytest
from made_models import (
    BASE_LIKE,
    TINY_LIKE,
    TOKENS,
    assert_equal_models,
    encode,
    make_trained,
    sentences_of,
)
from released_code import load_released

from trainer.checkpoints import CheckpointStore, Position
from trainer.released import digest_weights, export_released, import_released
from trainer.trained_model import load_model
from vocab.vocab_file import format_vocab

pytestmark = pytest.mark.slow

CONFIGS = pytest.mark.parametrize("config", [TINY_LIKE, BASE_LIKE], ids=["tiny-like", "base-like"])


@pytest.fixture(scope="module")
def trained():
    return make_trained()


@pytest.fixture(scope="module")
def released(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("exported") / "released"
    export_released(trained, str(folder))
    return folder


def h5_weights(path):
    with h5py.File(path, "r") as file:
        return {
            layer: [file[layer][name][()] for name in file[layer].attrs["weight_names"]]
            for layer in file.attrs["layer_names"]
        }


def batch_of(corpus):
    """Returns ids [B, L] of real sentences, padded, and their segments: all three kinds."""
    rows = [encode(text) for text in sentences_of(corpus, 8)]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids, np.arange(ids.size).reshape(ids.shape) % 3


@CONFIGS
def test_released_code_gives_the_same_hidden_states_and_logits(tmp_path, bundled_corpus, config):
    trained = make_trained(config, seed=2)
    export_released(trained, f"{tmp_path}/released")
    inputs = batch_of(bundled_corpus)
    pairs = [
        (load_released(f"{tmp_path}/released"), trained.model.encoder),
        (load_released(f"{tmp_path}/released", with_mlm="linear"), trained.model.full),
    ]
    for released, ours in pairs:
        expected = released.predict(inputs, verbose=0)
        found = ours(inputs, training=False).numpy()
        assert expected.std() > 0.05
        # float32, summed in another order.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_folder_holds_the_three_files_and_nothing_else(released):
    assert sorted(os.listdir(released)) == ["model.h5", "t5s_config.json", "vocab.txt"]
    assert json.loads((released / "t5s_config.json").read_text()) == TINY_LIKE.to_json()
    assert (released / "vocab.txt").read_bytes() == format_vocab(TOKENS)
    layers = h5_weights(released / "model.h5")
    assert {"Embedding-Mapping", "Transformer-1-FeedForward", "MLM-Bias"} < layers.keys()


def test_released_imported_and_released_again_has_the_same_weights(tmp_path, trained, released):
    import_released(str(released), f"{tmp_path}/output")
    imported = load_model(f"{tmp_path}/output")
    assert_equal_models(imported, trained)
    export_released(imported, f"{tmp_path}/again")
    old, new = h5_weights(released / "model.h5"), h5_weights(tmp_path / "again/model.h5")
    assert list(old) == list(new)
    for layer, weights in old.items():
        assert [w.tobytes() for w in weights] == [w.tobytes() for w in new[layer]], layer
    for name in ("t5s_config.json", "vocab.txt"):
        assert (released / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_import_makes_a_checkpoint_of_stage_0(tmp_path, trained, released):
    import_released(f"{released}/", f"{tmp_path}/output/")
    found = CheckpointStore(f"{tmp_path}/output/checkpoints", 3, pytest.fail).find_newest()
    assert found.folder == f"{tmp_path}/output/checkpoints/0-0-00000000"
    position = Position(stage=0, max_seq_length=0, step=0, data_position=0, unlogged=[])
    assert found.position == position
    assert found.identity == {
        "model": TINY_LIKE.to_json(),
        "cased": False,
        "data": {},
        "initial": digest_weights(trained),
    }
    assert sorted(os.listdir(tmp_path / "output")) == ["checkpoints", "vocab.txt"]


def test_checkpoint_of_a_run_can_be_imported(tmp_path, trained, released):
    import_released(str(released), f"{tmp_path}/one")
    import_released(f"{tmp_path}/one/checkpoints/0-0-00000000", f"{tmp_path}/other")
    assert_equal_models(load_model(f"{tmp_path}/other"), trained)


def test_what_is_imported_keeps_case_from_then_on(tmp_path, released):
    import_released(str(released), f"{tmp_path}/one", cased=True)
    import_released(f"{tmp_path}/one", f"{tmp_path}/other")
    assert load_model(f"{tmp_path}/one").cased and load_model(f"{tmp_path}/other").cased
    assert not load_model(str(released)).cased and load_model(str(released), cased=True).cased


@pytest.mark.parametrize("export", [export_released, lambda _, folder: import_released("", folder)])
def test_folder_that_is_not_empty_is_refused(tmp_path, trained, released, export):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="is not empty"):
        export(trained, str(tmp_path))
    assert os.listdir(tmp_path) == ["config.json"]


def test_failed_export_leaves_nothing(tmp_path, trained):
    with pytest.raises(UnicodeEncodeError):
        export_released(trained._replace(tokens=("\ud800",)), f"{tmp_path}/released")
    assert os.listdir(tmp_path) == []


def test_digest_tells_weights_and_vocabularies_apart(trained):
    other = make_trained(seed=1)
    assert digest_weights(trained) == digest_weights(make_trained())
    assert digest_weights(trained) != digest_weights(other)
    turned = trained._replace(tokens=trained.tokens[:-2] + trained.tokens[-1:-3:-1])
    assert digest_weights(trained) != digest_weights(turned)
