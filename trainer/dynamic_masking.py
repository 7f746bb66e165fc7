"""Whole-word masking in the graph: the rule of the pipeline's static masks, new in every epoch.

Chance is a function of the instance's key alone, in integer arithmetic, so a mask depends neither
on the batch that an instance is in nor on device, thread or TensorFlow version.
"""

from hashlib import blake2b
from typing import Any, Final

import numpy as np
import tensorflow as tf

from tfrecords_schema.features import KEPT_FRACTION, MASKED_FRACTION
from vocab.special_tokens import FIRST_ORDINARY_ID, MASK_ID

Tensor = Any
"""A tf.Tensor; the stubs of TensorFlow do not know that its shape is static."""

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIXERS: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT: Final = np.uint64(31)


def random_words(keys: Any, numbers: Any) -> Tensor:
    """Returns outputs of SplitMix64 generators: of the one seeded with a key, its n-th, from 0.

    Args:
      keys: uint64, of any shape that broadcasts with that of `numbers`.
      numbers: n, uint64.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014;
    constants of Vigna's splitmix64.c.
    """
    words = keys + (tf.convert_to_tensor(numbers) + np.uint64(1)) * _GAMMA
    for shift, factor in _MIXERS:
        words = (words ^ tf.bitwise.right_shift(words, shift)) * factor
    return words ^ tf.bitwise.right_shift(words, _LAST_SHIFT)


def make_instance_keys(seed: int, instances: Tensor) -> Tensor:
    """Returns keys of instances, numbered by epoch, shard and record, for one seed.

    Args:
      seed: of the run.
      instances: their numbers, int64 [B].

    Returns:
      uint64 [B].
    """
    digest = blake2b(f"dynamic masks {seed}".encode(), digest_size=8).digest()
    return random_words(np.uint64(int.from_bytes(digest, "little")), tf.cast(instances, tf.uint64))


def draw_mask_ids(
    token_ids: Tensor,
    word_starts: Tensor,
    keys: Tensor,
    *,
    masked_lm_prob: float,
    max_predictions_per_seq: int,
    vocab_size: int,
) -> Tensor:
    """Draws one whole-word masking.

    The units of a sequence are taken in random order: all that end within masked_lm_prob of its
    countable tokens, and the one that straddles this share with a probability equal to its part
    inside. A unit that would pass the cap is left out. Of the chosen tokens 80 % become [MASK],
    10 % stay and 10 % become a random entry that is no special token. Special tokens and [UNK]
    (ids below FIRST_ORDINARY_ID) are not counted, masked or drawn.

    Of the random words of an instance, L order its units, L decide on its tokens by column, one on
    the unit that straddles.

    Args:
      token_ids: packed sequences, int64 [B, L]; column 0 is no countable token.
      word_starts: 1 where a unit begins, always in column 0, else 0, int64 [B, L].
      keys: the only source of chance, uint64 [B].
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most masked tokens of a sequence.
      vocab_size: entries of the vocabulary.

    Returns:
      0 where nothing is masked, else 1 + the id to put there, int64 [B, L].

    Source: Devlin et al. 2019, section 3.1 (80/10/10); Cui et al. 2019 (whole words).
    """
    priorities = _order_units(token_ids, word_starts, keys)
    chosen = _choose_tokens(priorities, keys, masked_lm_prob, max_predictions_per_seq)
    visible = _draw_visible_ids(token_ids, keys, vocab_size)
    return tf.where(chosen, 1 + visible, tf.zeros_like(token_ids))


def _order_units(token_ids: Tensor, word_starts: Tensor, keys: Tensor) -> Tensor:
    """Gives each token the priority of its unit: all differ; -1 where nothing is countable."""
    length = token_ids.shape[1]
    units = tf.cumsum(word_starts, axis=1) - 1
    words = random_words(keys[:, tf.newaxis], tf.cast(units, tf.uint64))
    number_bits = np.uint64(length.bit_length())
    drawn = tf.cast(tf.bitwise.right_shift(words, number_bits + np.uint64(1)), tf.int64)
    priorities = drawn * 2 ** int(number_bits) + units
    return tf.where(token_ids >= FIRST_ORDINARY_ID, priorities, tf.constant(-1, tf.int64))


def _choose_tokens(
    priorities: Tensor, keys: Tensor, masked_lm_prob: float, max_predictions_per_seq: int
) -> Tensor:
    """Chooses the units of the highest priorities.

    Sorted by priority, the tokens of a unit lie side by side, so the unit that straddles a share
    is the one of the token at this rank. Only so many tokens are sorted.

    Args:
      priorities: of the unit of each token, -1 where nothing is countable, int64 [B, L].
      keys: uint64 [B].
      masked_lm_prob: share of the countable tokens of a sequence, a fraction of 1.
      max_predictions_per_seq: most chosen tokens of a sequence.

    Returns:
      Which tokens are masked, bool [B, L].
    """
    length = priorities.shape[1]
    cap = min(max_predictions_per_seq, length - 1)
    budgets = masked_lm_prob * _count(priorities >= 0)
    highest = max(cap, int(masked_lm_prob * (length - 1))) + 1
    by_rank = tf.math.top_k(priorities, highest).values
    straddler = tf.gather(by_rank, tf.cast(budgets, tf.int32)[:, tf.newaxis], batch_dims=1)
    inside = budgets - _count(priorities > straddler)
    coins = _fractions(random_words(keys, np.uint64(2 * length)))
    is_taken = coins * _count(priorities == straddler) < inside
    last_out = straddler - tf.cast(is_taken, tf.int64)[:, tf.newaxis]
    return priorities > tf.maximum(last_out, by_rank[:, cap : cap + 1])


def _draw_visible_ids(token_ids: Tensor, keys: Tensor, vocab_size: int) -> Tensor:
    """Draws what each token would become if it were chosen, int64 [B, L]."""
    length = token_ids.shape[1]
    columns = np.arange(length, 2 * length, dtype=np.uint64)
    words = random_words(keys[:, tf.newaxis], columns)
    low_bits = tf.cast(words & np.uint64(0xFFFFFFFF), tf.int64)
    ordinary_ids = vocab_size - FIRST_ORDINARY_ID
    random_ids = FIRST_ORDINARY_ID + tf.bitwise.right_shift(
        low_bits * ordinary_ids, tf.constant(32, tf.int64)
    )
    is_hidden = words < np.uint64(int(MASKED_FRACTION * 2**64))
    is_kept = words < np.uint64(int((MASKED_FRACTION + KEPT_FRACTION) * 2**64))
    shown = tf.where(is_kept, token_ids, random_ids)
    return tf.where(is_hidden, tf.constant(MASK_ID, tf.int64), shown)


def _count(flags: Tensor) -> Tensor:
    """Returns how many flags of each row are set, float64 [B]."""
    return tf.reduce_sum(tf.cast(flags, tf.float64), axis=1)


def _fractions(words: Tensor) -> Tensor:
    """Returns words as multiples of 2^-53 from 0 to below 1, float64."""
    return tf.cast(tf.bitwise.right_shift(words, np.uint64(11)), tf.float64) * 2.0**-53
