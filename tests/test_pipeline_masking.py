import ctypes
import hashlib

import numpy as np
import pytest
from exact_rates import rates_of_units
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import masking
from pipeline.masking import draw_masking
from vocab.special_tokens import CLS_ID, MASK_ID, PAD_ID, SEP_ID, UNK_ID

FIRST_ID = 106
VOCAB_SIZE = 13_686
P = {128: 24, 512: 88}


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def mask(token_ids, word_starts, prob=0.15, cap=24, seed=0, vocab_size=VOCAB_SIZE):
    rng = generator(seed)
    return draw_masking(token_ids, word_starts, prob, cap, vocab_size, rng).mask_ids


def sequence_of(words, max_seq_length):
    """One packed sequence; a word is a list of ids, [SEP] between documents a word of its own."""
    ids = [CLS_ID, *(token_id for word in words for token_id in word), SEP_ID]
    starts = [True, *(place == 0 for word in words for place in range(len(word))), True]
    padding = max_seq_length - len(ids)
    assert padding >= 0
    return ids + [PAD_ID] * padding, starts + [False] * padding


def batch_of(sequences, max_seq_length):
    packed = [sequence_of(words, max_seq_length) for words in sequences]
    ids = np.array([ids for ids, _ in packed], np.uint16).reshape(-1, max_seq_length)
    starts = np.array([starts for _, starts in packed], np.bool_).reshape(-1, max_seq_length)
    return ids, starts


def full_batch(rows, seed):
    """Full sequences of 126 tokens in words as long as Chinese ones; also the length of the word
    that every token belongs to."""
    rng = generator(seed)
    begins = np.cumsum(rng.choice([1, 2, 3, 4], (rows, 126), p=[0.45, 0.4, 0.1, 0.05]), axis=1)
    starts = np.zeros((rows, 128), np.bool_)
    starts[:, [0, 1, 127]] = True
    row_numbers, places = np.nonzero(begins < 126)
    starts[row_numbers, 1 + begins[row_numbers, places]] = True
    lengths = np.diff(np.flatnonzero(starts), append=starts.size)
    lengths = np.repeat(lengths, lengths).reshape(starts.shape)
    lengths[:, [0, 127]] = 0
    ids = rng.integers(FIRST_ID, VOCAB_SIZE, (rows, 128)).astype(np.uint16)
    ids[:, 0], ids[:, 127] = CLS_ID, SEP_ID
    return ids, starts, lengths


ROWS = 20_000
"""126 x 20,000 = 2,520,000 countable tokens, about 378,000 of them masked."""


@pytest.fixture(scope="module")
def big():
    ids, starts, lengths = full_batch(ROWS, seed=1)
    return ids, lengths, mask(ids, starts, seed=2)


words = st.lists(st.integers(FIRST_ID, 400), min_size=1, max_size=8)
odd_words = st.lists(st.one_of(st.integers(FIRST_ID, 400), st.just(UNK_ID)), min_size=1, max_size=8)
separators = st.just([SEP_ID])
# Three quarters of the units are words; at most 15 units of 8 tokens fit into 128.
sequences = st.lists(st.one_of(words, words, odd_words, separators), max_size=15)
batches = st.lists(sequences, min_size=1, max_size=6)
probabilities = st.sampled_from([0.0, 0.05, 0.15, 0.4, 1.0])
caps = st.sampled_from([0, 1, 8, 24, 126])
seeds = st.integers(0, 2**32)


def units_in(word_starts, token_ids):
    """Returns row and columns of the countable tokens of each unit."""
    found = []
    for row, starts in enumerate(word_starts.tolist()):
        for column, start in enumerate(starts):
            if start:
                found.append((row, []))
            if token_ids[row, column] >= FIRST_ID:
                found[-1][1].append(column)
    return found


def choose_plainly(units, rows, priorities, coins, prob, cap):
    """The rule unit by unit: numbers of the units masked in sequences 0 to `rows` - 1, in order."""
    chosen = []
    for row in range(rows):
        numbers = [number for number, (of, _) in enumerate(units) if of == row]
        budget = prob * sum(len(units[number][1]) for number in numbers)
        end = 0
        for number in sorted(numbers, key=lambda number: (priorities[number], number)):
            length = len(units[number][1])
            begin, end = end, end + length
            inside = min(max(budget - begin, 0), length)
            if length and coins[row] < inside / length and end <= cap:
                chosen.append(number)
    return chosen


def mask_plainly(token_ids, word_starts, prob, cap, vocab_size, rng):
    """The rule token by token, with the same draws in the same order."""
    units = units_in(word_starts, token_ids)
    slots = np.split(np.arange(token_ids.size), np.flatnonzero(word_starts)[1:])
    draw = rng.bit_generator.random_raw
    words = [int(draw()) for _ in range((len(units) + 1) // 2)]
    priorities = [half for word in words for half in (word % 2**32, word // 2**32)]
    coins = rng.random(len(token_ids)).tolist()
    mask_ids = np.zeros(token_ids.size, np.int64)
    for number in choose_plainly(units, len(token_ids), priorities, coins, prob, cap):
        for slot in slots[number].tolist():
            original, word = int(token_ids.flat[slot]), int(draw())
            if original < FIRST_ID:
                continue
            if word / 2**64 < 0.8:
                visible = MASK_ID
            elif word / 2**64 < 0.9:
                visible = original
            else:
                visible = FIRST_ID + word % 2**32 * (vocab_size - FIRST_ID) // 2**32
            mask_ids[slot] = 1 + visible
    return mask_ids.reshape(token_ids.shape)


@settings(max_examples=100, deadline=None)
@given(batches, probabilities, caps, seeds)
def test_draw_masking_equals_rule_applied_unit_by_unit(batch, prob, cap, seed):
    ids, starts = batch_of(batch, 128)
    plain = mask_plainly(ids, starts, prob, cap, VOCAB_SIZE, generator(seed))
    assert mask(ids, starts, prob, cap, seed).tolist() == plain.tolist()


@settings(max_examples=200, deadline=None)
@given(
    batches,
    probabilities,
    caps,
    seeds,
    st.sampled_from([1, 3, 32]),
    st.sampled_from([0.0, 0.01, 0.15, 0.3, 0.6, 1.0]),
)
def test_choose_slots_equals_rule_whatever_share_is_sorted(batch, prob, cap, seed, bits, share):
    ids, starts = batch_of(batch, 128)
    units = units_in(starts, ids)
    rng = generator(seed)
    # Of 1 and 3 bits, many priorities are equal.
    priorities = rng.integers(0, 2**bits, len(units)).astype(np.uint32) << np.uint32(32 - bits)
    coins = rng.random(len(ids))
    slots, countable, masked = masking._choose_slots(
        ids, starts, priorities, coins, prob, cap, share
    )
    plain = choose_plainly(units, len(ids), priorities.tolist(), coins.tolist(), prob, cap)
    of_units = np.split(np.arange(ids.size), np.flatnonzero(starts)[1:])
    assert slots.tolist() == [slot for unit in plain for slot in of_units[unit].tolist()]
    assert countable.tolist() == np.count_nonzero(ids >= FIRST_ID, axis=1).tolist()
    of_rows = [
        sum(len(units[unit][1]) for unit in plain if units[unit][0] == row)
        for row in range(len(ids))
    ]
    assert masked.tolist() == of_rows


@settings(max_examples=100, deadline=None)
@given(batches, probabilities, caps, seeds)
def test_draw_masking_masks_every_unit_wholly_or_not(batch, prob, cap, seed):
    ids, starts = batch_of(batch, 128)
    chosen = mask(ids, starts, prob, cap, seed) > 0
    for row, columns in units_in(starts, ids):
        assert len(set(chosen[row, columns].tolist())) <= 1


@settings(max_examples=100, deadline=None)
@given(batches, probabilities, caps, seeds)
def test_draw_masking_never_masks_or_draws_special_tokens(batch, prob, cap, seed):
    ids, starts = batch_of(batch, 128)
    mask_ids = mask(ids, starts, prob, cap, seed, vocab_size=FIRST_ID + 3)
    assert not mask_ids[ids < FIRST_ID].any()
    visible = mask_ids[mask_ids > 0] - 1
    changed = visible[(visible != MASK_ID) & (visible != ids[mask_ids > 0])]
    assert set(changed.tolist()) <= {FIRST_ID, FIRST_ID + 1, FIRST_ID + 2}


@settings(max_examples=100, deadline=None)
@given(batches, probabilities, caps, seeds)
def test_draw_masking_never_masks_more_than_the_cap(batch, prob, cap, seed):
    ids, starts = batch_of(batch, 128)
    assert np.count_nonzero(mask(ids, starts, prob, cap, seed), axis=1).max() <= cap


@settings(max_examples=50, deadline=None)
@given(batches, seeds)
def test_masked_lm_prob_zero_masks_nothing(batch, seed):
    ids, starts = batch_of(batch, 128)
    assert not mask(ids, starts, prob=0.0, cap=126, seed=seed).any()


@settings(max_examples=50, deadline=None)
@given(batches, seeds)
def test_masked_lm_prob_one_masks_every_countable_token(batch, seed):
    ids, starts = batch_of(batch, 128)
    mask_ids = mask(ids, starts, prob=1.0, cap=126, seed=seed)
    assert (mask_ids > 0).tolist() == (ids >= FIRST_ID).tolist()


def test_draw_masking_with_small_budget_fills_the_cap_of_single_tokens_exactly():
    ids, starts = batch_of([[[200]] * 126], 128)
    assert np.count_nonzero(mask(ids, starts, prob=1.0, cap=24)) == 24


def test_draw_masking_of_no_sequence_is_empty():
    ids, starts = batch_of([], 128)
    assert mask(ids, starts).shape == (0, 128)


def test_draw_masking_counts_neither_specials_nor_unknown_tokens():
    ids, starts = batch_of([[[200, UNK_ID, 201], [SEP_ID], [202]], [[UNK_ID]]], 16)
    masking = draw_masking(ids, starts, 1.0, 24, VOCAB_SIZE, generator())
    assert np.argwhere(masking.mask_ids).tolist() == [[0, 1], [0, 3], [0, 5]]
    assert (masking.countable.tolist(), masking.masked.tolist()) == ([3, 0], [3, 0])


def test_draw_masking_counts_what_stands_in_the_places_of_masked_tokens():
    ids, starts, _ = full_batch(2_000, seed=1)
    # Of four entries, one draw in four is the original.
    ids = FIRST_ID + ids % 4
    found = draw_masking(ids, starts, 0.15, 24, FIRST_ID + 4, generator(2))
    is_masked = found.mask_ids > 0
    visible = found.mask_ids[is_masked] - 1
    assert found.as_mask_token == np.count_nonzero(visible == MASK_ID) > 0
    assert found.kept == np.count_nonzero(visible == ids[is_masked]) > 0
    assert found.masked.tolist() == np.count_nonzero(is_masked, axis=1).tolist()
    assert found.countable.tolist() == [128] * 2_000


class Draws:
    """A generator whose 64-bit words are given."""

    def __init__(self, *words):
        self._words = list(words)
        self.bit_generator = self

    def random_raw(self, size):
        drawn, self._words = self._words[:size], self._words[size:]
        return np.array(drawn, np.uint64)

    def random(self, size):
        return np.zeros(size)


def test_shares_of_words_of_chance_end_below_the_bounds_and_begin_at_them():
    ids, starts = batch_of([[[200]]], 16)
    kept, replaced = int(0.8 * 2**64), int(0.9 * 2**64)
    drawn = FIRST_ID + ((VOCAB_SIZE - FIRST_ID) * (replaced % 2**32) >> 32)
    for word, visible in (
        *((0, MASK_ID), (kept - 1, MASK_ID), (kept, 200)),
        *((replaced - 1, 200), (replaced, drawn), (2**64 - 1, VOCAB_SIZE - 1)),
    ):
        # The first two words order the three units.
        drawn_masking = draw_masking(ids, starts, 1.0, 24, VOCAB_SIZE, Draws(0, 0, word))
        assert drawn_masking.mask_ids[0, 1] == 1 + visible


def test_few_units_are_sorted_and_that_is_seldom_too_few():
    # Measured: one sequence of 128 in 130 has too few tokens of low priority, of 600 4.6.
    assert masking._share_to_sort(1.0, 128) == 1.0
    share = masking._share_to_sort(0.15, 128)
    assert 0.25 < share < 0.3
    ids, starts, lengths = full_batch(600, seed=11)
    is_low = np.random.default_rng(12).random(np.count_nonzero(starts)) < share
    of_low_units = np.repeat(is_low, np.diff(np.flatnonzero(starts), append=ids.size))
    tokens = np.count_nonzero(of_low_units.reshape(ids.shape) & (lengths > 0), axis=1)
    assert np.count_nonzero(tokens < 0.15 * 126) < 20


def test_draw_masking_draws_the_same_for_any_layout():
    ids, starts, _ = full_batch(40, seed=8)
    other = mask(np.asfortranarray(ids), np.repeat(starts, 2, axis=1)[:, ::2])
    assert other.tolist() == mask(ids, starts).tolist()


def test_draw_masking_refuses_ids_of_another_type():
    ids, starts, _ = full_batch(1, seed=8)
    with pytest.raises(ctypes.ArgumentError):
        mask(ids.astype(np.int32), starts)


def test_draw_masking_draws_the_same_on_every_machine():
    places = np.arange(300 * 128).reshape(300, 128)
    ids = (FIRST_ID + places * 7919 % (VOCAB_SIZE - FIRST_ID)).astype(np.uint16)
    starts = places * places % 5 < 2
    starts[:, 0] = True
    mask_ids = mask(ids, starts, seed=9)
    assert hashlib.sha256(mask_ids.astype("<u2").tobytes()).hexdigest() == (
        "57d1458ae5e26374fe5d57157b4681ff6e6a6212ae0ad5fedfc33b58fb7b5418"
    )


def test_mask_ids_are_zero_or_one_more_than_mask_original_or_ordinary_id(big):
    ids, _, mask_ids = big
    assert mask_ids.dtype == np.uint16
    chosen = mask_ids > 0
    ordinary = (mask_ids > FIRST_ID) & (mask_ids <= VOCAB_SIZE)
    assert (mask_ids[chosen & ~ordinary] == MASK_ID + 1).all()
    assert (mask_ids == ids + 1).any()


def test_same_seed_draws_same_masks_and_another_seed_others():
    ids, starts, _ = full_batch(20, seed=3)
    assert mask(ids, starts, seed=4).tolist() == mask(ids, starts, seed=4).tolist()
    assert mask(ids, starts, seed=4).tolist() != mask(ids, starts, seed=5).tolist()


def test_sequences_with_the_same_tokens_get_different_masks():
    ids, starts, _ = full_batch(1, seed=6)
    chosen = mask(np.repeat(ids, 50, 0), np.repeat(starts, 50, 0)) > 0
    assert len({row.tobytes() for row in chosen}) == 50


def test_masked_share_of_full_sequences_is_steady(big):
    # The unit that straddles the share is taken with its part inside, so a sequence masks 18.9
    # tokens on average and misses that by less than one word of 4. With a standard deviation of at
    # most .01, the mean of 20,000 sequences has a standard error of .00007: .002 is 28 of them.
    # That deviation is itself known to 1 / sqrt(2 x 20,000) = 0.5 %, and real text has .0078.
    _, _, mask_ids = big
    shares = np.count_nonzero(mask_ids, axis=1) / 126
    assert abs(shares.mean() - 0.15) < 0.002
    assert shares.std() <= 0.01
    assert abs(shares - 0.15).max() < 4 / 126


def test_masked_share_does_not_depend_on_word_length(big):
    # The tokens of a word go together, so words count. Those of 4 tokens are the rarest: 70,000,
    # whose rate has a standard error of sqrt(.15 x .85 / 70,000) = .0013. Long words straddle the
    # share more often, which tilts the rates by about .005 (.153 for 1 token, .145 for 4); there
    # remain 3 standard errors to either bound.
    _, lengths, mask_ids = big
    for length in (1, 2, 3, 4):
        total = np.count_nonzero(lengths == length)
        assert total / length > 69_000
        assert 0.14 < np.count_nonzero(mask_ids[lengths == length]) / total < 0.16


@pytest.mark.parametrize(
    ("lengths", "prob"), [([1, 3], 0.15), ([1, 2, 4], 0.15), ([2, 1, 3, 2], 0.3), ([4], 0.15)]
)
def test_unit_is_masked_with_the_probability_of_its_part_inside(lengths, prob):
    # Exact by going through all orders. Few units are often too few below the priority that is
    # looked at first, so that both ways to the order are in here. The rate of 40,000 sequences has
    # a standard error of .0025 at most: .01 is 4 of them.
    ids, starts = batch_of([[[200] * length for length in lengths]], 16)
    chosen = mask(np.repeat(ids, 40_000, 0), np.repeat(starts, 40_000, 0), prob, seed=10) > 0
    first_tokens = 1 + np.cumsum(lengths) - lengths
    assert np.abs(chosen[:, first_tokens].mean(axis=0) - rates_of_units(lengths, prob)).max() < 0.01


def test_chosen_tokens_are_masked_kept_and_replaced_as_8_to_1_to_1(big):
    # Of 378,000 chosen tokens the share of 80 % has a standard error of sqrt(.8 x .2 / 378,000)
    # = .065 points and those of 10 % have .049: half a point is 7 of them. A random token equals
    # the original once in 13,580 times, about 3 times here.
    ids, _, mask_ids = big
    chosen = mask_ids > 0
    visible, originals = mask_ids[chosen] - 1, ids[chosen]
    assert len(visible) > 375_000
    masked, kept = (visible == MASK_ID).mean(), (visible == originals).mean()
    assert abs(masked - 0.8) < 0.005
    assert abs(kept - 0.1) < 0.005
    assert abs(1 - masked - kept - 0.1) < 0.005


def test_random_tokens_are_drawn_evenly_from_all_ordinary_ids(big):
    # About 37,800 draws in 20 equal classes: chi-square with 19 degrees of freedom exceeds 43.82
    # once in 1,000 times. That none of them falls among the 4 ids at an end has the probability
    # e^-(4 x 37,800 / 13,580) = e^-11.
    ids, _, mask_ids = big
    chosen = mask_ids > 0
    visible, originals = mask_ids[chosen] - 1, ids[chosen]
    drawn = visible[(visible != MASK_ID) & (visible != originals)]
    assert FIRST_ID <= drawn.min() < FIRST_ID + 4
    assert VOCAB_SIZE - 4 <= drawn.max() < VOCAB_SIZE
    observed = np.histogram(drawn, bins=20, range=(FIRST_ID, VOCAB_SIZE))[0]
    expected = len(drawn) / 20
    assert ((observed - expected) ** 2 / expected).sum() < 43.82


@pytest.mark.parametrize(
    ("max_seq_length", "units", "either"), [(128, 15, [16, 24]), (512, 63, [72, 80])]
)
def test_masked_share_of_the_longest_units_stays_exact_under_the_cap(max_seq_length, units, either):
    # 15 units of 8 have a budget of 18: two are masked, a third with probability (18 - 16) / 8;
    # 63 have 75.6: nine, a tenth with probability .45. One sequence misses .15 by a standard
    # deviation of 8 sqrt(.25 x .75) / 120 = .029 and .008; the mean of 4,000 has a standard error
    # of .00046 at most: .002 is 4 of them.
    ids, starts = batch_of([[[200] * 8] * units] * 4_000, max_seq_length)
    masked = np.count_nonzero(mask(ids, starts, cap=P[max_seq_length], seed=7), axis=1)
    assert sorted(set(masked.tolist())) == either
    assert abs(masked.mean() / (8 * units) - 0.15) < 0.002
