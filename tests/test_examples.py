"""The examples run on the bundled corpus as a user runs them, and hold the model that was given."""

import dataclasses
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_models import WHOLE_VOCAB

from trainer.config import MODELS
from trainer.model import build_model
from trainer.released import export_released
from trainer.trained_model import TrainedModel
from vocab.special_tokens import FIRST_ORDINARY_ID, PAD_ID, SPECIAL_TOKENS

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples/sentence_classification.py"

# Runs the example without training and saves what its encoder and its classifier give.
UNTRAINED = """
import os, runpy, sys
os.environ |= {"TF_KERAS": "1", "TF_USE_LEGACY_KERAS": "1"}
import numpy as np, tf_keras
tf_keras.Model.fit = lambda *args, **kwargs: None
of_example = runpy.run_path(sys.argv.pop(1))
ids = np.load("ids.npy")
np.save("hidden.npy", of_example["encoder"].model.predict(ids, verbose=0))
np.save("chances.npy", of_example["classifier"].predict(ids, verbose=0))
np.save("wider.npy", of_example["classifier"].predict(np.pad(ids, [(0, 0), (0, 5)]), verbose=0))
"""


def release(folder, corpus, shape):
    """Writes a model, all its weights random, as it would be released; returns it."""
    texts = "".join(path.read_text() for path in corpus.rglob("*.json"))
    chars = sorted(char for char in set(texts.lower()) if char.isalnum())
    tokens = [*SPECIAL_TOKENS, *chars]
    config = dataclasses.replace(shape, vocab_size=len(tokens))
    model = build_model(config, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.full.weights:
        scale = 0.3 if weight.shape.rank == 1 else shape.hidden_size**-0.5
        weight.assign(rng.normal(1 if "gamma" in weight.name else 0, scale, weight.shape))
    export_released(TrainedModel(config, model, tuple(tokens)), str(folder))
    return model


def run(folder, *command):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    finished = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_sentence_classification_is_short():
    assert len(EXAMPLE.read_text().splitlines()) < 60


def test_sentence_classification_takes_under_two_minutes_with_tiny(tmp_path, bundled_corpus):
    release(tmp_path / "released", bundled_corpus, MODELS["tiny"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    *_, last = run(tmp_path, EXAMPLE, "released").splitlines()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.fullmatch(
        r"accuracy (\d\.\d{3}) on 98 sentences, always the same class 0\.439", last
    )
    assert found, last
    assert 0 <= float(found[1]) <= 1
    # Of 2 cores: what a busy machine makes of the time on the wall says nothing.
    cpu_seconds = sum(after[:2]) - sum(before[:2])
    assert cpu_seconds < 2 * 120


@pytest.mark.parametrize("embedding_size", [None, 6])
def test_sentence_classification_starts_from_the_given_encoder(
    tmp_path, bundled_corpus, embedding_size
):
    shape = dataclasses.replace(WHOLE_VOCAB, embedding_size=embedding_size)
    model = release(tmp_path / "model", bundled_corpus, shape)
    ids = np.random.default_rng(1).integers(FIRST_ORDINARY_ID, 200, (3, 12)).astype(np.int32)
    ids[1, 7:] = PAD_ID
    np.save(tmp_path / "ids.npy", ids)
    run(tmp_path, "-c", UNTRAINED, EXAMPLE, "model")
    hidden, chances, wider = (
        np.load(tmp_path / f"{name}.npy") for name in ("hidden", "chances", "wider")
    )
    expected = model.encoder([ids, np.zeros_like(ids)]).numpy() * np.sqrt(model.config.hidden_size)
    assert np.ptp(expected) > 1
    # Float32 sums of values around 1, here and below in another order.
    np.testing.assert_allclose(hidden[ids != PAD_ID], expected[ids != PAD_ID], atol=1e-5)
    np.testing.assert_allclose(wider, chances, atol=1e-6)
