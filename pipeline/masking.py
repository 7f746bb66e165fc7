"""Pure whole-word masking of packed sequences, over whole arrays."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab.special_tokens import FIRST_ORDINARY_ID, MASK_ID

MASKED_FRACTION: Final = 0.8
KEPT_FRACTION: Final = 0.1
"""Of the chosen tokens; the rest become random ones (Devlin et al. 2019, section 3.1)."""

IntArray = npt.NDArray[np.int64]
IdArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]


class MaskUnits(NamedTuple):
    """The mask units of N sequences, and which tokens of them count.

    Attributes:
      token_ids: shape [N, L].
      countable: True for tokens that may be masked, shape [N, L].
      unit_numbers: number of the unit of every token, over all sequences, shape [N, L].
      unit_rows: sequence of every unit, shape [U].
      unit_lengths: countable tokens of every unit, shape [U].
      row_lengths: countable tokens of every sequence, shape [N].
    """

    token_ids: IdArray
    countable: BoolArray
    unit_numbers: IntArray
    unit_rows: IntArray
    unit_lengths: IntArray
    row_lengths: IntArray


def find_mask_units(token_ids: IdArray, word_starts: BoolArray) -> MaskUnits:
    """Finds what can be masked.

    Special tokens and [UNK] (ids below FIRST_ORDINARY_ID) are neither counted nor masked.

    Args:
      token_ids: packed sequences, shape [N, L].
      word_starts: True where a unit begins; always in column 0, shape [N, L].
    """
    countable = token_ids >= FIRST_ORDINARY_ID
    unit_numbers = np.cumsum(word_starts).reshape(word_starts.shape) - 1
    unit_rows = np.nonzero(word_starts)[0]
    unit_lengths = np.bincount(unit_numbers[countable], minlength=len(unit_rows))
    return MaskUnits(
        token_ids, countable, unit_numbers, unit_rows, unit_lengths, np.count_nonzero(countable, 1)
    )


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
    inside, so that the expected share is exact where the cap leaves room. Of the chosen tokens
    80 % become [MASK], 10 % stay and 10 % become a random entry that is no special token.

    Args:
      units: what can be masked.
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most masked tokens of a sequence.
      vocab_size: entries of the vocabulary.
      rng: the only source of chance.

    Returns:
      0 where nothing is masked, else 1 + the id to put there, shape [N, L].

    Source: Devlin et al. 2019, section 3.1 (80/10/10); Cui et al. 2019 (whole words). Differs: the
    share is met in every sequence, not only on average, and words are never masked in part.
    """
    chosen_units = _choose_units(units, masked_lm_prob, max_predictions_per_seq, rng)
    chosen = units.countable & chosen_units[units.unit_numbers]
    originals = units.token_ids[chosen]
    actions = rng.random(len(originals))
    draws = rng.random(len(originals)) * (vocab_size - FIRST_ORDINARY_ID)
    replacements = draws.astype(np.int32) + FIRST_ORDINARY_ID
    kept = actions < MASKED_FRACTION + KEPT_FRACTION
    visible = np.where(kept, originals, replacements)
    mask_ids = np.zeros(units.token_ids.shape, np.int32)
    mask_ids[chosen] = 1 + np.where(actions < MASKED_FRACTION, MASK_ID, visible)
    return mask_ids


def _choose_units(
    units: MaskUnits, masked_lm_prob: float, max_predictions_per_seq: int, rng: np.random.Generator
) -> BoolArray:
    """Draws which units are masked, shape [U]."""
    order = np.argsort(units.unit_rows + rng.random(len(units.unit_rows)), kind="stable")
    lengths = units.unit_lengths[order]
    # Sorted by sequence first, so a unit's row is the same before and after the sorting.
    row_begins = np.cumsum(units.row_lengths) - units.row_lengths
    ends = np.cumsum(lengths) - row_begins[units.unit_rows]
    budgets = masked_lm_prob * units.row_lengths[units.unit_rows]
    inside = np.clip(budgets - (ends - lengths), 0, lengths)
    taken = (rng.random(len(lengths)) * lengths < inside) & (ends <= max_predictions_per_seq)
    chosen = np.zeros(len(lengths), np.bool_)
    chosen[order[taken]] = True
    return chosen
