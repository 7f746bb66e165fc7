"""What the benchmark of the tokenizer by itself finds."""

import numpy as np
import pytest

from benchmarks import tokenizing
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.tokenizer import Tokenizer


class Forgetful(Tokenizer):
    """Gives texts back without their last character."""

    def decode(self, ids):
        return super().decode(ids)[:-1]


ROUND_TRIP_TOKENS = [*SPECIAL_TOKENS, "今", "天", "，", "hello", "か", "É", "Hello"]


def test_round_trip_compares_what_has_no_unknown_token():
    texts = ["今天， Hello", "今\u200b\u3000天\u0301", "hello，が", "", "hello 龘"]
    found = tokenizing.check_round_trip(texts, Tokenizer(ROUND_TRIP_TOKENS))
    assert found == (4, 0, 1)
    assert tokenizing.check_round_trip(texts, Forgetful(ROUND_TRIP_TOKENS)) == (4, 3, 1)
    assert str(found + tokenizing.RoundTrip(1000, 2, 0)) == (
        "round trip: 2 of 1,004 documents differ; 1 with [UNK] are not compared"
    )


def test_round_trip_cased_compares_case_and_accents():
    texts = ["Hello É", "hello"]
    tokenizer = Tokenizer(ROUND_TRIP_TOKENS, cased=True)
    assert tokenizing.check_round_trip(texts, tokenizer) == (2, 0, 0)
    tokenizer.decode = lambda ids: "hello é"
    assert tokenizing.check_round_trip(texts[:1], tokenizer) == (1, 1, 0)


@pytest.mark.parametrize(("cased", "expected"), [(False, "aeſσς中か"), (True, "aÉſΣς中が")])
def test_normalizer_leaves_what_decode_is_to_give_back(cased, expected):
    text = "a\u200b\0 É\u3000ſΣς中が\ufffd\u2028"
    assert tokenizing.Normalizer(cased)(text) == expected


def test_cost_counts_every_text_in_blocks_of_a_run(monkeypatch):
    blocks = []
    monkeypatch.setattr(
        tokenizing,
        "load_segmenter",
        lambda name: (
            lambda texts: blocks.append(texts) or np.array([sum(map(len, texts)) + len(texts)])
        ),
    )
    texts = ["天" * 50_000, "天" * 40_000, "hello"]
    cost = tokenizing.measure_cost(texts, ROUND_TRIP_TOKENS, cased=False)
    assert blocks == [texts[:2], texts[2:]]
    assert min(cost) >= 0
    assert str(tokenizing.Cost(4.0, 2.0, 1.0, 0.5)) == (
        "tokenizing takes 0.250 of rjieba alone, 0.125 the second time; 0.500 of segmenting, 0.250 "
        "the second time (4.00, 2.00, 1.00, 0.50 CPU seconds)"
    )
