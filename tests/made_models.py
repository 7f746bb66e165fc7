"""Models with a vocabulary, no weight of which is at rest, and sentences for them."""

import dataclasses
import functools
import itertools
import json
import string

import numpy as np

from trainer.config import MODELS, ModelConfig
from trainer.initialization import weight_names
from trainer.model import build_model
from trainer.trained_model import TrainedModel
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.tokenizer import Tokenizer

GB2312_FIRST_LEVEL = [
    bytes([high, low]).decode("gb2312")
    for high in range(0xB0, 0xD8)
    for low in range(0xA1, 0xFF)
    if (high, low) < (0xD7, 0xFA)
]
LETTERS = [*string.ascii_lowercase, *string.digits]
TOKENS = (
    *SPECIAL_TOKENS,
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *string.punctuation,
    *"，。！？：；、（）《》“”…—🤣ςか",
    *("the", "##ing", "##か", "mask"),
    *GB2312_FIRST_LEVEL,
)

WHOLE_VOCAB = ModelConfig(
    attention_head_size=4,
    hidden_dropout_prob=0.1,
    hidden_size=8,
    intermediate_size=16,
    num_attention_heads=2,
    num_hidden_layers=1,
)
"""Of the released number of entries, with dropout; all else is small."""

SMALL = dataclasses.replace(
    MODELS["tiny"],
    attention_head_size=4,
    embedding_size=8,
    hidden_size=16,
    intermediate_size=32,
    num_attention_heads=2,
    num_hidden_layers=2,
    vocab_size=211,
)
TINY_LIKE = dataclasses.replace(SMALL, initializer_range=0.3, vocab_size=len(TOKENS))
BASE_LIKE = dataclasses.replace(
    TINY_LIKE,
    attention_head_size=12,
    embedding_size=None,
    dropout_rate=None,
    hidden_dropout_prob=0.1,
)
"""No mapping; heads wider than hidden_size / num_attention_heads; dropout."""


def make_trained(config=TINY_LIKE, seed=0):
    """Returns a model: no scale is 1, no bias and no relative position 0."""
    model = build_model(config, seed)
    rng = np.random.default_rng(seed)
    for name, weight in zip(weight_names(model.full), model.full.weights, strict=True):
        if "gamma" in name or "bias" in name or "Relative-Position" in name:
            weight.assign_add(rng.normal(0, 0.3, weight.shape))
    return TrainedModel(config, model, TOKENS)


def weights_of(trained):
    return [weight.numpy() for weight in trained.model.full.weights]


def assert_equal_models(one, other):
    assert one.config == other.config and one.tokens == other.tokens
    for left, right in zip(weights_of(one), weights_of(other), strict=True):
        assert left.dtype == right.dtype == np.float32 and np.array_equal(left, right)


@functools.cache
def tokenizer(cased=False):
    return Tokenizer(TOKENS, cased)


def encode(text, max_seq_length=512, cased=False):
    """Returns [CLS] ... [SEP] of a text."""
    ids = tokenizer(cased).encode(text)[: max_seq_length - 2]
    return [TOKENS.index("[CLS]"), *ids, TOKENS.index("[SEP]")]


def hide(trained, ids):
    """Returns the hidden states of one sequence, [L, H]."""
    token_ids = np.array([ids], np.int32)
    return trained.model.encoder([token_ids, np.zeros_like(token_ids)], training=False).numpy()[0]


def sentences_of(corpus, count, longest=64):
    """Returns the first `count` texts, from all files in turn."""
    texts = []
    for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
        lines = path.read_text("utf-8").splitlines()
        fields = [str(field) for line in lines for field in json.loads(line).values()]
        texts.append([text[:longest] for text in fields if len(text) >= 10])
    turns = [text for turn in itertools.zip_longest(*texts) for text in turn if text]
    assert len(turns) >= count
    return turns[:count]
