"""Pure whole-word masking of packed sequences; what is done for every token is compiled."""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tfrecords_schema.features import KEPT_FRACTION, MASKED_FRACTION
from vocab.compiled import load_compiled
from vocab.special_tokens import FIRST_ORDINARY_ID, MASK_ID

_DEVIATIONS: Final = 4.0
"""By how many sqrt(masked_lm_prob / L) the share of units that are sorted exceeds masked_lm_prob.

Measured on Chinese words: that share has too few tokens in one of 130 sequences of 128 and in one
of 200 of 512.
"""

IdArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]
CountArray = npt.NDArray[np.int32]


class Masking(NamedTuple):
    """One static masking of N sequences.

    Attributes:
      mask_ids: 0 where nothing is masked, else 1 + the id to put there, shape [N, L].
      countable: tokens of every sequence that could be masked, shape [N].
      masked: of these, those that are, shape [N].
      as_mask_token: of all that are, those that [MASK] stands for.
      kept: those that stand as they are, random ones that drew their own id among them.
    """

    mask_ids: IdArray
    countable: CountArray
    masked: CountArray
    as_mask_token: int
    kept: int


def draw_masking(
    token_ids: IdArray,
    word_starts: BoolArray,
    masked_lm_prob: float,
    max_predictions_per_seq: int,
    vocab_size: int,
    rng: np.random.Generator,
) -> Masking:
    """Draws one static whole-word masking.

    Special tokens and [UNK] (ids below FIRST_ORDINARY_ID) are neither counted nor masked.

    The units of a sequence are taken in random order: all that end within masked_lm_prob of its
    countable tokens, and the one that straddles this share with a probability equal to its part
    inside, so that the expected share is exact where the cap leaves room. A unit that would pass
    the cap is left out. Of the chosen tokens 80 % become [MASK], 10 % stay and 10 % become a
    random entry that is no special token.

    Chance is taken in 64-bit words: half of one orders a unit, one hides a token. Its high bits
    decide what becomes of the token, its low 32 bits which entry replaces it.

    Args:
      token_ids: packed sequences, shape [N, L].
      word_starts: True where a unit begins; always in column 0, shape [N, L].
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most masked tokens of a sequence.
      vocab_size: entries of the vocabulary.
      rng: the only source of chance.

    Source: Devlin et al. 2019, section 3.1 (80/10/10); Cui et al. 2019 (whole words). Differs: the
    share is met in every sequence, not only on average, and words are never masked in part.
    """
    token_ids, word_starts = np.ascontiguousarray(token_ids), np.ascontiguousarray(word_starts)
    unit_count, draw_words = int(np.count_nonzero(word_starts)), rng.bit_generator.random_raw
    # "<u8", "<u4": the low half of a word comes first on every machine.
    halves = draw_words((unit_count + 1) // 2).astype("<u8", copy=False).view("<u4")
    coins = rng.random(len(token_ids))
    share = _share_to_sort(masked_lm_prob, token_ids.shape[1])
    slots, countable, masked = _choose_slots(
        *(token_ids, word_starts, halves.astype(np.uint32, copy=False), coins),
        *(masked_lm_prob, max_predictions_per_seq, share),
    )
    mask_ids, counts = np.zeros_like(token_ids), np.empty(2, np.int64)
    _library.replace_tokens(
        *(token_ids, slots, draw_words(len(slots)), len(slots)),
        *(int(MASKED_FRACTION * 2**64), int((MASKED_FRACTION + KEPT_FRACTION) * 2**64)),
        *(MASK_ID, FIRST_ORDINARY_ID, vocab_size, mask_ids, counts),
    )
    return Masking(mask_ids, countable, masked, *counts.tolist())


def _share_to_sort(masked_lm_prob: float, max_seq_length: int) -> float:
    return min(1.0, masked_lm_prob + _DEVIATIONS * math.sqrt(masked_lm_prob / max_seq_length))


def _choose_slots(
    token_ids: IdArray,
    word_starts: BoolArray,
    priorities: npt.NDArray[np.uint32],
    coins: npt.NDArray[np.float64],
    masked_lm_prob: float,
    max_predictions_per_seq: int,
    share_to_sort: float,
) -> tuple[npt.NDArray[np.int64], CountArray, CountArray]:
    """Chooses the units that are masked.

    Only the first ones of a random order matter, so only units of low priority are sorted, and
    all units of the few sequences where these have too few tokens.

    Args:
      token_ids: shape [N, L].
      word_starts: shape [N, L].
      priorities: the order within a sequence, lowest first; equal ones as they stand; of all U
        units, shape [>= U].
      coins: from 0 to below 1; decide on the unit of a sequence that straddles, shape [N].
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most masked tokens of a sequence.
      share_to_sort: share of the units that is sorted at first, a fraction of 1; what is chosen
        does not depend on it.

    Returns:
      The places of the tokens of chosen units in the flattened arrays, by sequence, in the order
      of priorities; `countable` and `masked` as in Masking.
    """
    rows, columns = token_ids.shape
    slots = np.empty(token_ids.size, np.int64)
    countable, masked = np.empty(rows, np.int32), np.empty(rows, np.int32)
    found = _library.choose_slots(
        *(token_ids, word_starts, priorities, coins, rows, columns),
        *(masked_lm_prob, max_predictions_per_seq, int(share_to_sort * 2**32)),
        *(FIRST_ORDINARY_ID, slots, countable, masked),
    )
    if found < 0:
        raise MemoryError("no memory to mask a sequence")
    return slots[:found], countable, masked


_library: Final = load_compiled(
    __file__,
    choose_slots="uint16* bool* uint32* float64* int64 int64 float64 int64 uint64 uint16"
    " int64* int32* int32* -> int64",
    replace_tokens="uint16* int64* uint64* int64 uint64 uint64 uint16 uint16 uint64 uint16* int64*",
)
