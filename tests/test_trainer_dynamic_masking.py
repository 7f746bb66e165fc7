"""Masking in the graph, against the rule in plain Python and the bounds of static masks."""

import numpy as np
import pytest
import tensorflow as tf
from exact_rates import rates_of_units
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.proof import MaskingCounts
from pipeline import masking
from trainer import dynamic_masking
from trainer.dynamic_masking import draw_mask_ids, make_instance_keys, random_words
from vocab.special_tokens import CLS_ID, MASK_ID, PAD_ID, SEP_ID, UNK_ID

pytestmark = pytest.mark.slow

FIRST_ID = 106
VOCAB_SIZE = 13_686
LENGTH = 32
MAX_WORD = 2**64 - 1


def splitmix64(seed, number):
    """Returns the `number`-th output, from 0, by stepping through all before it."""
    state = seed
    for _ in range(number + 1):
        state = (state + 0x9E3779B97F4A7C15) & MAX_WORD
    word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MAX_WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MAX_WORD
    return word ^ (word >> 31)


def mask(token_ids, starts, keys, prob=0.15, cap=24, vocab_size=VOCAB_SIZE):
    mask_ids = draw_mask_ids(
        tf.constant(token_ids, tf.int64),
        tf.constant(starts, tf.int64),
        tf.constant(keys, tf.uint64),
        masked_lm_prob=prob,
        max_predictions_per_seq=cap,
        vocab_size=vocab_size,
    )
    return mask_ids.numpy()


def mask_plainly(token_ids, starts, key, prob, cap, vocab_size):
    """The rule unit by unit, for one sequence."""
    length = len(token_ids)
    units = []
    for column, start in enumerate(starts):
        if start:
            units.append([])
        if token_ids[column] >= FIRST_ID:
            units[-1].append(column)
    low_bits = length.bit_length() + 1
    ranks = [(splitmix64(key, number) >> low_bits, number) for number in range(len(units))]
    coin = (splitmix64(key, 2 * length) >> 11) / 2**53
    budget = prob * sum(map(len, units))
    mask_ids, end = [0] * length, 0
    for _, number in sorted(ranks, reverse=True):
        tokens = len(units[number])
        begin, end = end, end + tokens
        inside = min(max(budget - begin, 0), tokens)
        if tokens and coin < inside / tokens and end <= cap:
            for column in units[number]:
                word = splitmix64(key, length + column)
                mask_ids[column] = 1 + visible_id(token_ids[column], word, vocab_size)
    return mask_ids


def visible_id(original, word, vocab_size):
    if word / 2**64 < 0.8:
        return MASK_ID
    if word / 2**64 < 0.9:
        return original
    return FIRST_ID + word % 2**32 * (vocab_size - FIRST_ID) // 2**32


words = st.lists(st.integers(FIRST_ID, 400), min_size=1, max_size=8)
odd_words = st.lists(st.one_of(st.integers(FIRST_ID, 400), st.just(UNK_ID)), min_size=1, max_size=8)


@st.composite
def sequences(draw):
    """Ids and word starts of one packed sequence, perhaps without any countable token."""
    units = draw(st.lists(st.one_of(words, words, odd_words, st.just([SEP_ID])), max_size=12))
    ids, starts = [CLS_ID], [1]
    for unit in units:
        if len(ids) + len(unit) < LENGTH:
            ids += unit
            starts += [1] + [0] * (len(unit) - 1)
    padding = LENGTH - len(ids) - 1
    return [*ids, SEP_ID] + [PAD_ID] * padding, [*starts, 1] + [0] * padding


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(sequences(), st.integers(0, MAX_WORD)), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.05, 0.15, 0.4, 0.5, 1.0]),
    st.sampled_from([0, 1, 5, 24, LENGTH, 100]),
    st.sampled_from([FIRST_ID + 3, VOCAB_SIZE, 2**31 - 1]),
)
def test_draw_mask_ids_equals_rule_applied_unit_by_unit(batch, prob, cap, vocab_size):
    ids, starts = ([sequence[part] for sequence, _ in batch] for part in (0, 1))
    keys = [key for _, key in batch]
    plain = [
        mask_plainly(*sequence, key, prob, cap, vocab_size)
        for sequence, key in zip(zip(ids, starts, strict=True), keys, strict=True)
    ]
    assert mask(ids, starts, keys, prob, cap, vocab_size).tolist() == plain


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, MAX_WORD), min_size=1, max_size=5),
    st.lists(st.integers(0, 1100), min_size=1, max_size=5),
)
def test_random_words_equal_splitmix64_step_by_step(keys, numbers):
    found = random_words(
        np.array(keys, np.uint64)[:, np.newaxis], np.array(numbers, np.uint64)
    ).numpy()
    assert found.tolist() == [[splitmix64(key, number) for number in numbers] for key in keys]


def test_random_words_equal_published_outputs():
    # The first outputs of splitmix64.c for the seed 1234567, as Rosetta Code lists them.
    found = random_words(np.uint64(1234567), np.arange(5, dtype=np.uint64)).numpy()
    assert found.tolist() == [
        *(6457827717110365317, 3203168211198807973, 9817491932198370423),
        *(4593380528125082431, 16408922859458223821),
    ]


def test_instance_keys_differ_between_seeds_and_instances():
    numbers = tf.range(2_000, dtype=tf.int64)
    keys = np.concatenate([make_instance_keys(seed, numbers).numpy() for seed in range(5)])
    assert len(set(keys.tolist())) == 10_000
    far = make_instance_keys(0, tf.constant([2**62], tf.int64)).numpy()[0]
    near = make_instance_keys(0, tf.constant([5, 0], tf.int64)).numpy()
    assert far not in keys
    assert near.tolist() == [keys[5], keys[0]]


def test_instance_keys_are_the_same_on_every_machine():
    assert make_instance_keys(3, tf.constant([0, 7], tf.int64)).numpy().tolist() == [
        1007062462914109649,
        15797860271943435845,
    ]


def test_rates_are_those_of_static_masks():
    assert dynamic_masking.MASKED_FRACTION == masking.MASKED_FRACTION
    assert dynamic_masking.KEPT_FRACTION == masking.KEPT_FRACTION


ROWS = 20_000
"""126 x 20,000 = 2,520,000 countable tokens, about 378,000 of them masked."""


@pytest.fixture(scope="module")
def big():
    """Full sequences in words as long as Chinese ones, their word starts and masks."""
    rng = np.random.default_rng(1)
    begins = np.cumsum(rng.choice([1, 2, 3, 4], (ROWS, 126), p=[0.45, 0.4, 0.1, 0.05]), axis=1)
    starts = np.zeros((ROWS, 128), bool)
    starts[:, [0, 1, 127]] = True
    row_numbers, places = np.nonzero(begins < 126)
    starts[row_numbers, 1 + begins[row_numbers, places]] = True
    ids = rng.integers(FIRST_ID, VOCAB_SIZE, (ROWS, 128))
    ids[:, 0], ids[:, 127] = CLS_ID, SEP_ID
    keys = make_instance_keys(0, tf.range(ROWS, dtype=tf.int64)).numpy()
    return ids, starts, keys, mask(ids, starts, keys)


def test_statistics_are_within_the_bounds_of_static_masks(big):
    # Mean .15 to .002, standard deviation at most .01, rate by word length .15 to .01, 80/10/10 to
    # half a point, each with 3 standard errors on top; no unit in part, no special token, no cap
    # passed. tests/test_pipeline_masking.py says how far from the bounds such sequences are.
    ids, starts, _, mask_ids = big
    counts = MaskingCounts(128, cap=24)
    counts.add(ids, mask_ids, starts)
    assert counts.report()
    assert len(counts.shares) == 1 and len(counts.shares[0]) == ROWS
    assert counts.masked_by_unit[1:5].min() > 10_000 and not any(counts.wrong.values())


def test_random_tokens_are_drawn_evenly_from_all_ordinary_ids(big):
    # About 37,800 draws in 20 equal classes: chi-square with 19 degrees of freedom exceeds 43.82
    # once in 1,000 times.
    ids, _, _, mask_ids = big
    chosen = mask_ids > 0
    visible, originals = mask_ids[chosen] - 1, ids[chosen]
    drawn = visible[(visible != MASK_ID) & (visible != originals)]
    classes = np.bincount((drawn - FIRST_ID) * 20 // (VOCAB_SIZE - FIRST_ID), minlength=20)
    assert len(classes) == 20
    assert ((classes - len(drawn) / 20) ** 2).sum() / (len(drawn) / 20) < 43.82


def test_every_place_is_masked_about_equally_often(big):
    # A rate of 20,000 has a standard error of .0025; the largest of 126 stays within 4 of them.
    # Units are no longer or shorter anywhere, except the last, which is cut at the end.
    _, _, _, mask_ids = big
    rates = (mask_ids[:, 1:120] > 0).mean(axis=0)
    assert np.abs(rates - 0.15).max() < 0.01
    assert not mask_ids[:, [0, 127]].any()


def test_masks_of_an_instance_do_not_depend_on_the_batch(big):
    ids, starts, keys, mask_ids = big
    order = np.random.default_rng(2).permutation(ROWS)[:301]
    assert mask(ids[order], starts[order], keys[order]).tolist() == mask_ids[order].tolist()
    one = order[:1]
    assert mask(ids[one], starts[one], keys[one]).tolist() == mask_ids[one].tolist()


def test_equal_sequences_get_different_masks_by_key(big):
    ids, starts, keys, _ = big
    found = mask(np.repeat(ids[:1], 50, 0), np.repeat(starts[:1], 50, 0), keys[:50])
    assert len({row.tobytes() for row in found}) == 50


@pytest.mark.parametrize(
    ("lengths", "prob"), [([1, 3], 0.15), ([1, 2, 4], 0.15), ([2, 1, 3, 2], 0.3), ([4], 0.15)]
)
def test_unit_is_masked_with_the_probability_of_its_part_inside(lengths, prob):
    # Exact by going through all orders. The rate of 40,000 sequences has a standard error of .0025
    # at most: .01 is 4 of them.
    starts = np.zeros((1, 16), int)
    first_tokens = 1 + np.cumsum(lengths) - lengths
    starts[0, [0, *first_tokens, 1 + sum(lengths)]] = 1
    ids = np.zeros((1, 16), int)
    ids[0, : 2 + sum(lengths)] = [CLS_ID, *[200] * sum(lengths), SEP_ID]
    keys = make_instance_keys(1, tf.range(40_000, dtype=tf.int64)).numpy()
    chosen = mask(np.repeat(ids, 40_000, 0), np.repeat(starts, 40_000, 0), keys, prob) > 0
    assert np.abs(chosen[:, first_tokens].mean(axis=0) - rates_of_units(lengths, prob)).max() < 0.01
