import dataclasses
import itertools
import math

import numpy as np
import pytest
from made_models import SMALL

from trainer.config import MODELS
from trainer.initialization import (
    TRUNCATED_SPREAD,
    TRUNCATION,
    draw_weight,
    draw_weights,
    weight_names,
)
from trainer.model import build_model

pytestmark = pytest.mark.slow

TINY = MODELS["tiny"]


def weights_of(model):
    return dict(zip(weight_names(model.full), model.full.get_weights(), strict=True))


@pytest.fixture(scope="module")
def tiny():
    return weights_of(build_model(TINY, seed=0))


def test_drawn_weight_is_a_function_of_seed_name_and_shape():
    # Fails if a draw ever changes: then a seed no longer names a run.
    weight = draw_weight("Embedding-Token/embeddings/0", (4,), TINY, seed=0)
    assert weight.dtype == np.float32
    assert weight.tolist() == [
        0.014644334092736244,
        -0.01848316192626953,
        -0.009579870849847794,
        0.02545851469039917,
    ]


def test_truncated_spread_is_that_of_a_normal_distribution_cut_at_2():
    density = math.exp(-(TRUNCATION**2) / 2) / math.sqrt(2 * math.pi)
    inside = math.erf(TRUNCATION / math.sqrt(2))
    exact = math.sqrt(1 - 2 * TRUNCATION * density / inside)
    assert round(exact, 4) == TRUNCATED_SPREAD


@pytest.mark.parametrize("initializer_range", [0.02, 0.1])
def test_kernel_is_normal_cut_at_two_deviations(initializer_range):
    config = dataclasses.replace(TINY, initializer_range=initializer_range)
    draws = draw_weight("a/kernel/0", (1000, 1000), config, seed=3) / initializer_range
    # A million draws: standard errors of .0009, .0006 and .00045; 5 of them.
    assert abs(draws.mean()) < 0.0045
    assert abs(draws.std() - TRUNCATED_SPREAD) < 0.003
    within_one = math.erf(1 / math.sqrt(2)) / math.erf(TRUNCATION / math.sqrt(2))
    assert abs((np.abs(draws) < 1).mean() - within_one) < 0.00225
    # The very end of the distribution is reached, and by rounding alone passed.
    assert 1.999 < np.abs(draws).max() <= 2 * (1 + 1e-6)


def test_every_weight_of_the_released_tiny_starts_as_described(tiny):
    drawn = 0
    for name, weight in tiny.items():
        layer, kind, _ = name.split("/")
        if kind == "gamma":
            assert (weight == 1).all(), name
        elif kind == "bias" or layer == "Embedding-Relative-Position":
            assert (weight == 0).all(), name
        else:
            drawn += 1
            # At most 5 standard errors of a deviation that n draws estimate.
            spread = TINY.initializer_range * TRUNCATED_SPREAD
            assert abs(weight.std() / spread - 1) < 5 / math.sqrt(2 * weight.size), name
    # Two embeddings, mapping, MLM-Dense, and seven kernels in each of four layers.
    assert drawn == 4 + 4 * 7


def test_no_two_weights_of_a_fresh_model_are_equal_or_alike(tiny):
    kernels = {name: weight for name, weight in tiny.items() if weight.std() > 0}
    for (first, a), (second, b) in itertools.combinations(kernels.items(), 2):
        count = min(a.size, b.size)
        correlation = np.corrcoef(a.ravel()[:count], b.ravel()[:count])[0, 1]
        # Of independent weights it has a deviation of 1 / sqrt(count); some 500 pairs.
        assert abs(correlation) < 6 / math.sqrt(count), (first, second)


def test_weights_depend_on_nothing_that_was_built_before():
    models = [build_model(SMALL, seed=5) for _ in range(2)]
    models.append(build_model(dataclasses.replace(SMALL, dropout_rate=0.1), seed=5))
    models.append(build_model(SMALL, seed=5, precision="bfloat16"))
    first, *others = map(weights_of, models)
    for other in others:
        assert list(other) == list(first)
        assert all((other[name] == first[name]).all() for name in first)


def test_names_are_stable_unique_and_in_the_order_of_the_weights():
    model = build_model(SMALL, seed=5).full
    names = weight_names(model)
    assert names[:9] == [
        "Embedding-Token/embeddings/0",
        "Embedding-Segment/embeddings/0",
        "Embedding-Mapping/kernel/0",
        "Embedding-Mapping/bias/1",
        "Transformer-0-MultiHeadSelfAttention-Norm/gamma/0",
        "Embedding-Relative-Position/embeddings/0",
        "Transformer-0-MultiHeadSelfAttention/kernel/0",
        "Transformer-0-MultiHeadSelfAttention/kernel/1",
        "Transformer-0-MultiHeadSelfAttention/kernel/2",
    ]
    assert names[-5:] == [
        "Output-Norm/gamma/0",
        "MLM-Dense/kernel/0",
        "MLM-Dense/bias/1",
        "MLM-Norm/gamma/0",
        "MLM-Bias/bias/0",
    ]
    assert len(set(names)) == len(names) == len(model.weights)
    by_layer = [weight for layer in model.layers for weight in layer.weights]
    assert [id(weight) for weight in by_layer] == [id(weight) for weight in model.weights]


def test_each_seed_draws_other_weights():
    model = build_model(SMALL, seed=5)
    before = weights_of(model)
    draw_weights(model.full, SMALL, seed=6)
    after = weights_of(model)
    for name, weight in before.items():
        assert (weight != after[name]).any() == (weight.std() > 0), name
    draw_weights(model.full, SMALL, seed=5)
    assert all((weight == before[name]).all() for name, weight in weights_of(model).items())
