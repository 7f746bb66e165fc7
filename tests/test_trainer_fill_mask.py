"""What stands at masks: the model's softmax, ranked; which texts are refused; how it is printed."""

import dataclasses
import re

import numpy as np
import pytest
from made_models import WHOLE_VOCAB

from trainer.fill_mask import Candidate, fill_mask, format_candidates
from trainer.model import build_model
from trainer.trained_model import TrainedModel
from vocab.special_tokens import (
    CLS_ID,
    FIRST_ORDINARY_ID,
    MASK_ID,
    SEP_ID,
    SPECIAL_TOKENS,
    UNK_ID,
)

pytestmark = pytest.mark.slow

TOKENS = (*SPECIAL_TOKENS, *"今天气很好我们去公园，。", "the", "##e", "e", "[", "]")
ORDINARY = len(TOKENS) - FIRST_ORDINARY_ID
BIAS_OF_UNK = 3.0


@pytest.fixture(scope="module")
def trained():
    """A small model, its weights random and larger than fresh ones, that likes [UNK]."""
    config = dataclasses.replace(WHOLE_VOCAB, vocab_size=len(TOKENS), num_hidden_layers=2)
    model = build_model(config, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.full.weights:
        weight.assign(rng.normal(1 if "gamma" in weight.name else 0, 0.5, weight.shape))
    bias = model.full.get_layer("MLM-Bias").weights[0]
    bias.assign(np.eye(len(TOKENS))[UNK_ID] * BIAS_OF_UNK)
    return TrainedModel(config, model, TOKENS)


def softmax_at_masks(trained, ids):
    """Returns what all of the model gives for one sequence, shape [masks, V]."""
    token_ids = np.array([[CLS_ID, *ids, SEP_ID]], np.int32)
    logits = trained.model.full([token_ids, np.zeros_like(token_ids)]).numpy().astype(float)
    shares = np.exp(logits[0, token_ids[0] == MASK_ID])
    return shares / shares.sum(axis=-1, keepdims=True)


def ids_of(*tokens):
    return [TOKENS.index(token) for token in tokens]


MASK = "[MASK]"
CASES = [
    ("今天[MASK]气", ["今", "天", MASK, "气"]),
    ("[MASK]", [MASK]),
    ("[MASK][MASK]天[MASK]", [MASK, MASK, "天", MASK]),
    ("The[MASK]e thee", ["the", MASK, "e", "the", "##e"]),
    ("好猫[mask][MASK]", ["好", "[UNK]", "[", "[UNK]", "]", MASK]),
    (" [MASK] [ MASK]", [MASK, "[", "[UNK]", "]"]),
]


@pytest.mark.parametrize(("text", "tokens"), CASES)
def test_candidates_are_the_likeliest_ordinary_tokens_of_the_full_softmax(trained, text, tokens):
    expected = softmax_at_masks(trained, ids_of(*tokens))
    [masks] = fill_mask(trained, [text], top=ORDINARY)
    assert len(masks) == len(expected) == tokens.count(MASK)
    for candidates, shares in zip(masks, expected, strict=True):
        ranked = sorted(range(FIRST_ORDINARY_ID, len(TOKENS)), key=lambda i: -shares[i])
        assert [candidate.token for candidate in candidates] == [TOKENS[i] for i in ranked]
        found = [candidate.probability for candidate in candidates]
        # Softmax in float32 beside one in float64.
        np.testing.assert_allclose(found, shares[ranked], rtol=1e-4)
        assert sum(found) < 1 - shares[UNK_ID] < 0.95


def test_texts_together_give_what_each_gives_alone_in_their_order(trained):
    texts = [text + "很好" * number for number in range(2) for text, _ in CASES]
    together = fill_mask(trained, texts, top=3)
    assert [len(masks) for masks in together] == [text.count(MASK) for text in texts]
    for text, masks in zip(texts, together, strict=True):
        [alone] = fill_mask(trained, [text], top=3)
        for one, other in zip(masks, alone, strict=True):
            assert [candidate.token for candidate in one] == [item.token for item in other]
            # Padding changes the order of float32 sums.
            assert [item.probability for item in one] == pytest.approx(
                [item.probability for item in other], rel=1e-4
            )


def test_no_texts_give_nothing(trained):
    assert fill_mask(trained, []) == []


def test_five_candidates_unless_told(trained):
    [[candidates]] = fill_mask(trained, ["[MASK]"])
    assert len(candidates) == 5


def test_equally_likely_candidates_come_in_the_order_of_the_vocabulary(trained):
    fresh = build_model(trained.config, seed=0)
    for name in ("MLM-Dense", "MLM-Norm"):
        for weight in fresh.full.get_layer(name).weights:
            weight.assign(np.zeros(weight.shape))
    [[candidates]] = fill_mask(trained._replace(model=fresh), ["[MASK]"], top=3)
    share = pytest.approx(1 / len(TOKENS))
    assert candidates == [("今", share), ("天", share), ("气", share)]


def test_longest_text_has_510_tokens(trained):
    [[candidates]] = fill_mask(trained, ["好" * 509 + "[MASK]"], top=1)
    expected = softmax_at_masks(trained, ids_of(*"好" * 509, MASK))[0, FIRST_ORDINARY_ID:]
    assert TOKENS.index(candidates[0].token) == FIRST_ORDINARY_ID + expected.argmax()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["今天[MASK]", "天气"], "text 2 ('天气') has no [MASK]; write [MASK] for each token"),
        ([""], "text 1 ('') has no [MASK]"),
        (["[mask]"], "text 1 ('[mask]') has no [MASK]"),
        (
            ["好" * 510 + "[MASK]"],
            f"text 1 ('{'好' * 30}...') has 513 tokens with [CLS] and [SEP], at most 512 can be",
        ),
    ],
)
def test_texts_that_cannot_be_filled_are_named(trained, texts, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fill_mask(trained, texts)


@pytest.mark.parametrize("top", [0, -1, ORDINARY + 1])
def test_numbers_of_candidates_that_there_are_not_are_refused(trained, top):
    with pytest.raises(ValueError, match=f"top must be from 1 to {ORDINARY}, .*got {top}"):
        fill_mask(trained, ["[MASK]"], top)


def test_one_mask_is_printed_with_probabilities_in_one_column():
    masks = [[Candidate("天", 0.93121), Candidate("##ing", 0.01), Candidate("é", 0.000049)]]
    assert format_candidates("今[MASK]好", masks).split("\n") == [
        "今[MASK]好",
        "  天     0.9312",
        "  ##ing  0.0100",
        "  é      0.0000",
    ]


def test_several_masks_are_printed_one_after_the_other():
    masks = [[Candidate("天", 0.5)], [Candidate("e", 0.25)]]
    assert format_candidates("[MASK]，[MASK]", masks).split("\n") == [
        "[MASK]，[MASK]",
        "  [MASK] 1 of 2",
        "  天  0.5000",
        "  [MASK] 2 of 2",
        "  e   0.2500",
    ]
