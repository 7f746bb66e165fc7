"""Names, lengths and codings of the features of one training example, as data.

One example of length L:

    token_ids    int64[L]    [CLS] w1 w2 ... [SEP] [PAD] ...   the original ids
    mask_ids     int64[L]    0 where nothing is masked, else 1 + the id to put there
    word_starts  bytes[L/8]  bit i % 8 of byte i // 8: 1 where a mask unit, [CLS] or [SEP] begins

The first two are what bert4keras' own pre-training reader expects
(bert4keras 0.9.9, pretraining/data_utils.py, TrainingDatasetRoBERTa).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION: Final = 1

TOKEN_IDS: Final = "token_ids"
MASK_IDS: Final = "mask_ids"
WORD_STARTS: Final = "word_starts"

MAX_PREDICTIONS_PER_SEQ: Final = {128: 24, 512: 88}
"""Most masked tokens of one sequence, by max_seq_length.

A sequence of 126 countable tokens masks 18.9 on average and one of 510 masks 76.5; the unit that
straddles the share may add 7 more, and is left out where that would pass the cap.
"""

SEQ_LENGTHS: Final = tuple(MAX_PREDICTIONS_PER_SEQ)

MASKED_FRACTION: Final = 0.8
KEPT_FRACTION: Final = 0.1
"""Of the chosen tokens; the rest become random ones (Devlin et al. 2019, section 3.1)."""

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


def pack_word_starts(word_starts: BoolArray) -> ByteArray:
    """Packs flags, [N, L] with L a multiple of 8, into bytes, [N, L/8], lowest bit first."""
    return np.packbits(word_starts, axis=1, bitorder="little")


def unpack_word_starts(packed: ByteArray) -> BoolArray:
    """Unpacks bytes, [N, L/8], into flags, [N, L]; undoes `pack_word_starts`."""
    return np.unpackbits(packed, axis=1, bitorder="little").astype(np.bool_)
