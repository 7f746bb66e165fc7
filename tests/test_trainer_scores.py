"""Sums over sequences, counted again one by one; their averages, table and JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.batch import Batch
from trainer.scores import Evaluation, Score, score_batch


def make_batch(positions, weights):
    positions = np.array(positions, np.int32)
    return Batch(None, positions, None, np.array(weights, np.float32))


def test_a_word_is_right_when_all_its_masked_tokens_are():
    # Units:            0  1  1  2  2  2  3
    units = np.cumsum([[1, 1, 0, 1, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1]], axis=1)
    batch = make_batch([[1, 2, 3, 4, 6], [1, 2, 0, 0, 0]], [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    right = np.array([[1, 1, 1, 0, 1], [0, 1, 1, 1, 1]], bool)
    losses, accuracies = np.array([2, 4], np.float32), np.array([0.75, 0.5], np.float32)
    score = score_batch(batch, losses, accuracies, right, units)
    # Right: unit 1 and unit 3 of the first sequence, one of the second's two.
    assert score == Score(2, 7, 5, 6.0, 1.25, 3)
    assert (score.loss, score.accuracy, score.word_accuracy) == (3.0, 0.625, 0.6)


def test_padding_and_sequences_without_masks_count_for_nothing():
    batch = make_batch([[1, 2], [0, 0], [0, 0]], [[1, 1], [0, 0], [0, 0]])
    right = np.ones((3, 2), bool)
    losses, accuracies = np.array([1, 5, np.nan], np.float32), np.ones(3, np.float32)
    assert score_batch(batch, losses, accuracies, right, np.array([[1, 1, 2], [1, 2, 3]])) == (
        Score(1, 2, 2, 1.0, 1.0, 2)
    )


@st.composite
def scored_batches(draw):
    length, predictions = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rows = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    starts = rng.random((rows, length)) < 0.5
    positions = np.zeros((rows, predictions), int)
    weights = np.zeros((rows, predictions))
    for row in range(rows):
        masked = rng.integers(0, min(length, predictions) + 1)
        positions[row, :masked] = np.sort(rng.permutation(length)[:masked])
        weights[row, :masked] = 1
    return np.cumsum(starts, axis=1), positions, weights, rng.random((rows, predictions)) < 0.6


@given(scored_batches(), st.integers(0, 3))
def test_words_are_those_counted_one_by_one(scored, padding):
    units, positions, weights, right = scored
    words = {}
    for row, column in np.argwhere(weights):
        word = (row, units[row, positions[row, column]])
        words[word] = words.get(word, True) and bool(right[row, column])

    def pad(array):
        return np.pad(array, [(0, padding), (0, 0)])

    nothing = np.zeros(len(units) + padding, np.float32)
    batch = make_batch(pad(positions), pad(weights))
    score = score_batch(batch, nothing, nothing, pad(right), units)
    assert (score.words, score.right_words) == (len(words), sum(words.values()))
    assert score.tokens == np.count_nonzero(weights)
    assert score.sequences == np.count_nonzero(weights.any(axis=1))


SCORES = {
    128: {"baike2018qa": Score(1000, 18_900, 11_000, 2500.0, 500.0, 4400), "wiki2019zh": Score()},
    512: {"wiki2019zh": Score(2, 150, 80, 5.0, 1.5, 30)},
}


def test_table_has_a_line_for_each_corpus_and_for_all():
    assert Evaluation("held_out", SCORES).to_table().split("\n") == [
        "length  corpus       sequences  tokens   words    loss  accuracy  whole words",
        "   128  baike2018qa      1,000  18,900  11,000  2.5000    0.5000       0.4000",
        "   128  wiki2019zh           0       0       0       -         -            -",
        "   128  all              1,000  18,900  11,000  2.5000    0.5000       0.4000",
        "   512  wiki2019zh           2     150      80  2.5000    0.7500       0.3750",
        "   512  all                  2     150      80  2.5000    0.7500       0.3750",
    ]


def test_json_has_all_figures_in_a_fixed_order_and_null_where_there_is_none():
    text = Evaluation("test", SCORES).to_json()
    fields = json.loads(text)
    assert list(fields) == ["split", "lengths"] and fields["split"] == "test"
    assert list(fields["lengths"]) == ["128", "512"]
    of_512 = {
        "sequences": 2,
        "masked_tokens": 150,
        "masked_words": 80,
        "loss": 2.5,
        "accuracy": 0.75,
        "word_accuracy": 0.375,
    }
    assert fields["lengths"]["512"] == {"all": of_512, "corpora": {"wiki2019zh": of_512}}
    nothing = fields["lengths"]["128"]["corpora"]["wiki2019zh"]
    assert list(nothing.items()) == [
        *[("sequences", 0), ("masked_tokens", 0), ("masked_words", 0)],
        *[("loss", None), ("accuracy", None), ("word_accuracy", None)],
    ]
    assert text.endswith("}\n")


def test_json_never_says_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        Evaluation("test", {128: {"wiki2019zh": Score(loss_sum=np.nan, sequences=1)}}).to_json()
