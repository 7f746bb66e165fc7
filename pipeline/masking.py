"""Pure whole-word masking of packed sequences, over whole arrays."""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tfrecords_schema.features import KEPT_FRACTION, MASKED_FRACTION
from vocab.special_tokens import FIRST_ORDINARY_ID, MASK_ID

_DEVIATIONS: Final = 4.0
"""By how many sqrt(masked_lm_prob / L) the share of units that are sorted exceeds masked_lm_prob.

Measured on Chinese words: that share has too few tokens in one of 130 sequences of 128 and in one
of 200 of 512.
"""

IntArray = npt.NDArray[np.int64]
IdArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]


class MaskUnits(NamedTuple):
    """The mask units of N sequences; a slot is a place in the flattened arrays.

    Attributes:
      token_ids: shape [N, L].
      first_slots: where every unit begins, over all sequences, and N L behind them, shape [U + 1].
      unit_lengths: countable tokens of every unit, shape [U].
      first_units: number of the first unit of every sequence, and U behind them, shape [N + 1].
      row_lengths: countable tokens of every sequence, shape [N].
    """

    token_ids: IdArray
    first_slots: IntArray
    unit_lengths: npt.NDArray[np.int32]
    first_units: IntArray
    row_lengths: npt.NDArray[np.int32]


def find_mask_units(token_ids: IdArray, word_starts: BoolArray) -> MaskUnits:
    """Finds what can be masked.

    Special tokens and [UNK] (ids below FIRST_ORDINARY_ID) are neither counted nor masked.

    Args:
      token_ids: packed sequences, shape [N, L], N L < 2^31; of any type of integers.
      word_starts: True where a unit begins; always in column 0, shape [N, L].
    """
    rows, columns = token_ids.shape
    first_slots = np.append(np.flatnonzero(word_starts), token_ids.size)
    counts = np.zeros(token_ids.size + 1, np.int32)
    np.cumsum(token_ids >= FIRST_ORDINARY_ID, out=counts[1:])
    row_slots = np.arange(rows + 1) * columns
    first_units = np.searchsorted(first_slots, row_slots)
    unit_lengths, row_lengths = np.diff(counts[first_slots]), np.diff(counts[row_slots])
    return MaskUnits(token_ids, first_slots, unit_lengths, first_units, row_lengths)


def draw_mask_ids(
    units: MaskUnits,
    masked_lm_prob: float,
    max_predictions_per_seq: int,
    vocab_size: int,
    rng: np.random.Generator,
) -> IdArray:
    """Draws one static whole-word masking.

    The units of a sequence are taken in random order: all that end within masked_lm_prob of its
    countable tokens, and the one that straddles this share with a probability equal to its part
    inside, so that the expected share is exact where the cap leaves room. A unit that would pass
    the cap is left out. Of the chosen tokens 80 % become [MASK], 10 % stay and 10 % become a
    random entry that is no special token.

    Chance is taken in 64-bit words: half of one orders a unit, one hides a token. Its high bits
    decide what becomes of the token, its low 32 bits which entry replaces it.

    Args:
      units: what can be masked.
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most masked tokens of a sequence.
      vocab_size: entries of the vocabulary.
      rng: the only source of chance.

    Returns:
      0 where nothing is masked, else 1 + the id to put there, shape [N, L], typed as token_ids.

    Source: Devlin et al. 2019, section 3.1 (80/10/10); Cui et al. 2019 (whole words). Differs: the
    share is met in every sequence, not only on average, and words are never masked in part.
    """
    unit_count, draw_words = len(units.unit_lengths), rng.bit_generator.random_raw
    # "<u8", "<u4": the low half of a word comes first on every machine.
    halves = draw_words((unit_count + 1) // 2).astype("<u8", copy=False).view("<u4")
    coins = rng.random(len(units.row_lengths))
    chosen = _choose_units(
        units,
        halves[:unit_count],
        coins,
        masked_lm_prob,
        max_predictions_per_seq,
        _share_to_sort(masked_lm_prob, units.token_ids.shape[1]),
    )
    slots = _join_ranges(units.first_slots[chosen], units.first_slots[chosen + 1])
    originals = units.token_ids.ravel()[slots]
    draws = draw_words(len(slots))
    values = np.full(len(slots), 1 + MASK_ID, originals.dtype)
    shown = np.flatnonzero(draws >= int(MASKED_FRACTION * 2**64))
    values[shown] = 1 + originals[shown]
    replaced = np.flatnonzero(draws >= int((MASKED_FRACTION + KEPT_FRACTION) * 2**64))
    fractions = draws[replaced] & 0xFFFFFFFF
    values[replaced] = 1 + FIRST_ORDINARY_ID + (fractions * (vocab_size - FIRST_ORDINARY_ID) >> 32)
    values *= originals >= FIRST_ORDINARY_ID
    mask_ids = np.zeros(units.token_ids.size, originals.dtype)
    mask_ids[slots] = values
    return mask_ids.reshape(units.token_ids.shape)


def _share_to_sort(masked_lm_prob: float, max_seq_length: int) -> float:
    return min(1.0, masked_lm_prob + _DEVIATIONS * math.sqrt(masked_lm_prob / max_seq_length))


def _choose_units(
    units: MaskUnits,
    priorities: npt.NDArray[np.uint32],
    coins: npt.NDArray[np.float64],
    masked_lm_prob: float,
    max_predictions_per_seq: int,
    share_to_sort: float,
) -> IntArray:
    """Chooses the units that are masked.

    Only the first ones of a random order matter, so only units of low priority are sorted, and
    all units of the few sequences where these have too few tokens.

    Args:
      units: what can be masked.
      priorities: the order within a sequence, lowest first; equal ones as they stand, shape [U].
      coins: from 0 to below 1; decide on the unit of a sequence that straddles, shape [N].
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most masked tokens of a sequence.
      share_to_sort: share of the units that is sorted at first, a fraction of 1; what is chosen
        does not depend on it.

    Returns:
      Numbers of units, by sequence, in the order of their priorities.
    """
    budgets = masked_lm_prob * units.row_lengths
    limit = int(share_to_sort * 2**32)
    candidates = np.flatnonzero(priorities < limit)
    ends = np.zeros(len(candidates) + 1, np.int64)
    np.cumsum(units.unit_lengths[candidates], out=ends[1:])
    totals = np.diff(ends[np.searchsorted(candidates, units.first_units)])
    # What follows a total that reaches budget or cap could not be taken anyhow.
    short = np.flatnonzero(totals < np.minimum(budgets, max_predictions_per_seq))
    if len(short):
        others = _join_ranges(units.first_units[short], units.first_units[short + 1])
        candidates = np.append(candidates, others[priorities[others] >= limit])
        totals[short] = units.row_lengths[short]

    # Keys differ, so every way to sort them gives one order: row, priority, number in the row.
    columns = units.token_ids.shape[1]
    number_bits = columns.bit_length()
    rows = units.first_slots[candidates] // columns
    keys = ((rows << 32) | priorities[candidates]) << number_bits
    keys |= candidates - units.first_units[rows]
    keys.sort()
    rows = keys >> (32 + number_bits)
    ordered = units.first_units[rows] + (keys & ((1 << number_bits) - 1))

    lengths = units.unit_lengths[ordered]
    ends = np.cumsum(lengths) - (np.cumsum(totals) - totals)[rows]
    inside = np.minimum(budgets[rows] - (ends - lengths), lengths)
    taken = (coins[rows] * lengths < inside) & (ends <= max_predictions_per_seq)
    return ordered[np.flatnonzero(taken)]


def _join_ranges(begins: IntArray, ends: IntArray) -> IntArray:
    """Returns begins[0], begins[0] + 1, ..., ends[0] - 1, begins[1], ..."""
    lengths = ends - begins
    skipped = begins - (np.cumsum(lengths) - lengths)
    return np.repeat(skipped, lengths) + np.arange(lengths.sum())
