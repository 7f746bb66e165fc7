import dataclasses
import math
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from made_models import SMALL

from trainer._bert4keras import build_transformer_model, keras
from trainer.config import MODELS
from trainer.dropout import dropout_number
from trainer.initialization import weight_names
from trainer.model import T5sEncoder, build_model

pytestmark = pytest.mark.slow

# Without a mapping, as base; heads wider than hidden_size / heads; with dropout.
DROPPING = dataclasses.replace(
    SMALL, embedding_size=None, attention_head_size=12, dropout_rate=None, hidden_dropout_prob=0.1
)
CONFIGS = pytest.mark.parametrize("config", [SMALL, DROPPING], ids=["tiny-like", "base-like"])

B, L, P = 3, 24, 5


def plain_model(config):
    """Builds the released model from bert4keras' layers alone, as its format describes it."""
    l = sys.modules["bert4keras.layers"]  # noqa: E741
    layers = {"center": False, "epsilon": 1e-6}

    def norm(x, name):
        return l.LayerNormalization(**layers, name=f"{name}-Norm")(x)

    def dropout(x, name):
        rate = config.dropout
        return l.Dropout(rate, name=f"{name}-Dropout")(x) if rate else x

    inputs = [l.Input((None,), name=f"Input-{name}") for name in ("Token", "Segment")]
    width = config.embedding_size or config.hidden_size
    table = l.Embedding(config.vocab_size, width, mask_zero=True, name="Embedding-Token")
    segments = l.Embedding(config.type_vocab_size, width, name="Embedding-Segment")
    x = l.Add(name="Embedding-Token-Segment")([table(inputs[0]), segments(inputs[1])])
    x = dropout(x, "Embedding")
    if width != config.hidden_size:
        x = l.Dense(config.hidden_size, name="Embedding-Mapping")(x)
    positions = l.RelativePositionEmbeddingT5(
        32, config.num_attention_heads, bidirectional=True, name="Embedding-Relative-Position"
    )([x, x])
    for number in range(config.num_hidden_layers):
        name = f"Transformer-{number}-MultiHeadSelfAttention"
        attention = l.MultiHeadAttention(
            heads=config.num_attention_heads,
            head_size=config.attention_head_size,
            out_dim=config.hidden_size,
            use_bias=False,
            attention_scale=False,
            name=name,
        )
        y = norm(x, name)
        y = dropout(attention([y, y, y, positions], p_bias="t5_relative"), name)
        x = l.Add(name=f"{name}-Add")([x, y])
        name = f"Transformer-{number}-FeedForward"
        feed_forward = l.FeedForward(
            config.intermediate_size, activation=["gelu", "linear"], use_bias=False, name=name
        )
        y = dropout(feed_forward(norm(x, name)), name)
        x = l.Add(name=f"{name}-Add")([x, y])
    x = dropout(norm(x, "Output"), "Output")
    scale = l.Lambda(
        lambda x: x / math.sqrt(config.hidden_size), mask=lambda _, mask: mask, name="Output-Scale"
    )
    x = l.Dense(width, activation="gelu", name="MLM-Dense")(scale(x))
    x = l.BiasAdd(name="MLM-Bias")(table(norm(x, "MLM"), mode="dense"))
    return keras.Model(inputs, l.Activation("linear", name="MLM-Activation")(x))


def shapes(model):
    return [(layer.name, [tuple(w.shape) for w in layer.weights]) for layer in model.layers]


def draw_all(model):
    """Leaves no weight of a Keras model at rest: no scale 1, no bias and no position 0."""
    rng = np.random.default_rng(11)
    for name, weight in zip(weight_names(model), model.weights, strict=True):
        center = 1 if "gamma" in name else 0
        weight.assign(rng.normal(center, 0.3, weight.shape))


def built(config, precision="float32"):
    model = build_model(config, seed=7, precision=precision)
    draw_all(model.full)
    return model


def built_plain(config):
    with warnings.catch_warnings():
        # It does: bert4keras gives one initializer to all kernels of a layer.
        warnings.filterwarnings("ignore", r"(?s).*\bunseeded and being called multiple times")
        return plain_model(config)


def padded_ids(config, seed=0):
    """Returns ids [B, L], the last rows ever shorter, and masked positions [B, P] of them."""
    rng = np.random.default_rng(seed)
    lengths = L - 4 * np.arange(B)
    ids = rng.integers(1, config.vocab_size, (B, L))
    ids[np.arange(L) >= lengths[:, None]] = 0
    positions = np.array([rng.permutation(np.arange(1, length))[:P] for length in lengths])
    return ids.astype(np.int32), np.sort(positions).astype(np.int32)


@pytest.mark.parametrize(("name", "parameters"), [("base", 96_072_438), ("tiny", 8_946_550)])
def test_released_models_have_their_number_of_parameters(name, parameters):
    model = build_model(MODELS[name], seed=0)
    assert model.full.count_params() == parameters
    assert sum(math.prod(w.shape) for w in model.trainable_variables) == parameters
    assert [id(w) for w in model.trainable_variables] == [id(w) for w in model.full.weights]


def test_released_tiny_has_its_layers_weights_and_shapes_in_order():
    attention, feed_forward = [(384, 384)] * 4, [(384, 1024)] * 2 + [(1024, 384)]
    blocks = [
        [
            (f"Transformer-{number}-MultiHeadSelfAttention-Norm", [(384,)]),
            *([("Embedding-Relative-Position", [(32, 12)])] if number == 0 else []),
            (f"Transformer-{number}-MultiHeadSelfAttention", attention),
            (f"Transformer-{number}-MultiHeadSelfAttention-Add", []),
            (f"Transformer-{number}-FeedForward-Norm", [(384,)]),
            (f"Transformer-{number}-FeedForward", feed_forward),
            (f"Transformer-{number}-FeedForward-Add", []),
        ]
        for number in range(4)
    ]
    assert shapes(build_model(MODELS["tiny"], seed=0).full) == [
        ("Input-Token", []),
        ("Input-Segment", []),
        ("Embedding-Token", [(13_686, 128)]),
        ("Embedding-Segment", [(3, 128)]),
        ("Embedding-Token-Segment", []),
        ("Embedding-Mapping", [(128, 384), (384,)]),
        *(layer for block in blocks for layer in block),
        ("Output-Norm", [(384,)]),
        ("Output-Scale", []),
        ("MLM-Dense", [(384, 128), (128,)]),
        ("MLM-Norm", [(128,)]),
        ("MLM-Bias", [(13_686,)]),
        ("MLM-Activation", []),
    ]


@CONFIGS
def test_plain_bert4keras_loads_our_weights_by_name_and_gives_the_same_logits(config, tmp_path):
    model, plain = built(config), built_plain(config)
    assert shapes(model.full) == shapes(plain)
    model.full.save_weights(tmp_path / "model.h5")
    plain.load_weights(tmp_path / "model.h5", by_name=True)
    for ours, theirs in zip(model.full.get_weights(), plain.get_weights(), strict=True):
        assert (ours == theirs).all()
    ids, _ = padded_ids(config)
    segments = np.random.default_rng(1).integers(0, config.type_vocab_size, ids.shape)
    logits = model.full.predict([ids, segments], verbose=0)
    assert logits.dtype == np.float32 and logits.std() > 0.5
    # The same operations but for the order of the sums of the last product.
    np.testing.assert_allclose(logits, plain.predict([ids, segments], verbose=0), atol=1e-5)


def test_released_weights_saved_by_plain_bert4keras_load_into_ours(tmp_path):
    plain, model = built_plain(DROPPING), build_model(DROPPING, seed=0)
    draw_all(plain)
    plain.save_weights(tmp_path / "model.h5")
    model.full.load_weights(tmp_path / "model.h5", by_name=True)
    for ours, theirs in zip(model.full.get_weights(), plain.get_weights(), strict=True):
        assert (ours == theirs).all()


def loss_of(logits, labels, weights):
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_mean(tf.reduce_sum(losses * weights, 1) / tf.reduce_sum(weights, 1))


def loss_and_gradients(model, predict, labels, weights):
    with tf.GradientTape() as tape:
        loss = loss_of(predict(), labels, weights)
    gradients = tape.gradient(loss, model.trainable_variables)
    return float(loss), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


@CONFIGS
def test_gathered_head_has_loss_and_gradients_of_the_full_head(config):
    model = built(config)
    ids, positions = padded_ids(config)
    labels = np.random.default_rng(2).integers(1, config.vocab_size, (B, P)).astype(np.int32)
    weights = np.ones((B, P), np.float32)
    # Rows of five, four and one masked tokens; what is left repeats position 0 with weight 0.
    for row, masked in enumerate((5, 4, 1)):
        positions[row, masked:] = labels[row, masked:] = weights[row, masked:] = 0
    at_all = np.zeros((2, B, L), np.float32)
    for row, column in np.argwhere(weights):
        at_all[:, row, positions[row, column]] = labels[row, column], 1
    loss, gradients = loss_and_gradients(
        model, lambda: model.predict_masked(ids, positions, training=False), labels, weights
    )
    full_loss, full_gradients = loss_and_gradients(
        model, lambda: model.full([ids, np.zeros_like(ids)]), at_all[0].astype(np.int32), at_all[1]
    )
    assert loss == pytest.approx(full_loss, abs=1e-6)
    for name, one, other in zip(weight_names(model.full), gradients, full_gradients, strict=True):
        # float32 sums in another order: within 1e-5 of a weight's largest gradient.
        assert np.abs(other).max() > 0, name
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max(), name


def test_predicted_logits_are_those_of_the_full_head_at_the_positions_in_their_order():
    model = built(SMALL)
    ids, positions = padded_ids(SMALL)
    positions = positions[:, ::-1].copy()
    positions[:, 1] = positions[:, 3]
    logits = model.predict_masked(ids, positions, training=False)
    full = model.full.predict([ids, np.zeros_like(ids)], verbose=0)
    expected = np.take_along_axis(full, positions[:, :, None], axis=1)
    assert logits.shape == (B, P, SMALL.vocab_size)
    np.testing.assert_allclose(logits, expected, atol=1e-5)  # float32 sums in another order


def test_encoder_is_the_full_model_up_to_its_scaled_hidden_states():
    model = built(SMALL)
    ids, _ = padded_ids(SMALL)
    hidden = model.encoder([ids, np.zeros_like(ids)])
    assert hidden.shape == (B, L, SMALL.hidden_size)
    assert (hidden._keras_mask.numpy() == (ids != 0)).all()
    # Normed by the root mean square, scaled by gamma, divided by the root of the width.
    gamma = model.full.get_layer("Output-Norm").gamma.numpy()
    squares = (hidden.numpy() / gamma) ** 2
    np.testing.assert_allclose(squares.sum(-1), 1, rtol=1e-4)  # epsilon, and float32
    model.full.get_layer("Output-Norm").gamma.assign(2 * gamma)
    np.testing.assert_allclose(model.encoder([ids, np.zeros_like(ids)]), 2 * hidden, rtol=1e-6)


@CONFIGS
def test_padding_does_not_reach_other_tokens(config):
    model = built(config)
    ids, _ = padded_ids(config)
    for row in ids:
        length = np.count_nonzero(row)
        short, padded = row[None, :length], np.pad(row[None, :length], [(0, 0), (0, 9)])
        alone = model.full.predict([short, np.zeros_like(short)], verbose=0)
        # Segments may differ at padding: no other token sees it.
        segments = np.where(padded == 0, 2, 0)
        beside = model.full.predict([padded, segments], verbose=0)[:, :length]
        np.testing.assert_allclose(beside, alone, atol=1e-5)  # float32 sums of other lengths


def test_each_token_and_its_place_reach_the_others():
    model = built(SMALL)
    ids, _ = padded_ids(SMALL)
    row = ids[:1]
    logits = model.full.predict([row, np.zeros_like(row)], verbose=0)
    other, swapped = row.copy(), row.copy()
    other[0, 3] = 1 + other[0, 3] % (SMALL.vocab_size - 1)
    swapped[0, [3, 17]] = swapped[0, [17, 3]]
    for changed in (other, swapped):
        difference = model.full.predict([changed, np.zeros_like(row)], verbose=0) - logits
        assert np.abs(difference[0]).max(axis=-1).min() > 1e-4


@CONFIGS
def test_bfloat16_keeps_float32_weights_and_gives_float32_logits_near_those_of_float32(config):
    reference, model = built(config), built(config, "bfloat16")
    assert {weight.dtype for weight in model.full.weights} == {tf.float32}
    assert model.full.get_layer("MLM-Dense").compute_dtype == "bfloat16"
    assert keras.mixed_precision.global_policy().name == "float32"
    ids, positions = padded_ids(config)
    near = model.predict_masked(ids, positions, training=False)
    exact = reference.predict_masked(ids, positions, training=False)
    full = model.full.predict([ids, np.zeros_like(ids)], verbose=0)
    assert near.dtype == tf.float32 and full.dtype == np.float32
    difference = (near - exact).numpy()
    # bfloat16 has 8 bits: errors of 2^-9 each, added up over two layers of products.
    assert 0 < np.sqrt((difference**2).mean()) < 0.03 * exact.numpy().std()


@pytest.mark.parametrize("precision", ["float16", "mixed_bfloat16", ""])
def test_other_precision_is_refused(precision):
    with pytest.raises(
        ValueError, match=f"precision must be float32 or bfloat16, got '{precision}'"
    ):
        build_model(SMALL, seed=0, precision=precision)


def dimensions_unknown(graph):
    tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    known = (tf.resource, tf.variant)
    return [t for t in tensors if t.dtype not in known and not t.shape.is_fully_defined()]


def training_pass(model, jit_compile):
    @tf.function(jit_compile=jit_compile, reduce_retracing=False)
    def run(ids, positions, labels, number):
        with tf.GradientTape() as tape, dropout_number(number):
            logits = model.predict_masked(ids, positions, training=True)
            loss = loss_of(logits, labels, tf.ones(labels.shape))
        gradients = tape.gradient(loss, model.trainable_variables)
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    return run


@CONFIGS
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_pass_has_static_shapes_throughout(config, precision):
    ids, batch = (tf.TensorSpec(shape, tf.int32) for shape in ((B, L), (B, P)))
    run = training_pass(build_model(config, seed=0, precision=precision), jit_compile=False)
    graph = run.get_concrete_function(ids, batch, batch, tf.TensorSpec([], tf.int64)).graph
    assert len(graph.get_operations()) > 500
    assert dimensions_unknown(graph) == []


def test_training_pass_compiled_by_xla_equals_the_one_that_is_not():
    model = built(SMALL)
    ids, positions = padded_ids(SMALL)
    batch = (ids, positions, positions, np.int64(0))
    loss, gradients = training_pass(model, jit_compile=False)(*batch)
    compiled_loss, compiled = training_pass(model, jit_compile=True)(*batch)
    assert float(compiled_loss) == pytest.approx(float(loss), rel=1e-5)
    for one, other in zip(compiled, gradients, strict=True):
        # XLA fuses and reorders float32 sums: within 1e-4 of a weight's largest gradient.
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_training_drops_by_number_and_repeats_to_the_bit(jit_compile):
    ids, positions = padded_ids(DROPPING)
    losses = []
    for model in (built(DROPPING), built(DROPPING)):
        run = training_pass(model, jit_compile)
        for number in (1, 2):
            losses.append(float(run(ids, positions, positions, tf.constant(number, tf.int64))[0]))
    assert losses[:2] == losses[2:]
    logits = model.predict_masked(ids, positions, training=False)
    without = float(loss_of(logits, positions, tf.ones([B, P])))
    assert len({*losses, without}) == 3


def test_training_drops_in_every_dropout_layer_of_the_released_names():
    model = build_model(DROPPING, seed=0).full
    blocks = [f"Transformer-{number}" for number in range(2)]
    parts = [
        f"{block}-{part}" for block in blocks for part in ("MultiHeadSelfAttention", "FeedForward")
    ]
    expected = ["Embedding-Dropout", *(f"{part}-Dropout" for part in parts), "Output-Dropout"]
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.name for layer in layers] == expected
    assert {layer.rate for layer in layers} == {0.1}
    ones = tf.ones([1, 1, 4096])
    with dropout_number(tf.constant(0, tf.int64)):
        masks = {layer(ones, training=True).numpy().tobytes() for layer in layers}
    assert len(masks) == len(layers)


def test_training_outside_dropout_number_is_an_error():
    ids, positions = padded_ids(DROPPING)
    with pytest.raises(RuntimeError, match=r"Embedding-Dropout.*dropout_number"):
        build_model(DROPPING, seed=0).predict_masked(ids, positions, training=True)


@pytest.mark.parametrize("with_mlm", [False, "linear", True])
def test_encoder_class_builds_each_form_of_the_released_one(with_mlm):
    full = build_model(DROPPING, seed=0).full
    model = build_transformer_model(model=T5sEncoder, with_mlm=with_mlm, **DROPPING.to_json())
    assert shapes(model) == (shapes(full) if with_mlm else shapes(full)[:-4])
    outputs = model.predict([np.array([[5, 6]]), np.array([[0, 0]])], verbose=0)
    if with_mlm is True:
        np.testing.assert_allclose(outputs.sum(-1), 1, rtol=1e-5)  # softmax in float32
    else:
        assert (outputs == 0).all()  # kernels start at 0, until they are drawn
