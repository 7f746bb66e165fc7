"""The 106 leading entries of every vocabulary of this project, at the ids of Chinese BERT.

Source: google-research/bert, `chinese_L-12_H-768_A-12/vocab.txt`, lines 1 to 106.
"""

from typing import Final

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"

SPECIAL_TOKENS: Final = (
    PAD,
    *(f"[unused{number}]" for number in range(1, 100)),
    UNK,
    CLS,
    SEP,
    MASK,
    "<S>",
    "<T>",
)

PAD_ID: Final = SPECIAL_TOKENS.index(PAD)
UNK_ID: Final = SPECIAL_TOKENS.index(UNK)
CLS_ID: Final = SPECIAL_TOKENS.index(CLS)
SEP_ID: Final = SPECIAL_TOKENS.index(SEP)
MASK_ID: Final = SPECIAL_TOKENS.index(MASK)
FIRST_ORDINARY_ID: Final = len(SPECIAL_TOKENS)
"""Ids below this one are never masked, never counted and never drawn as replacements."""

VOCAB_SIZE: Final = 13_686
"""Entries of the released t5s vocabulary."""

CONTINUATION: Final = "##"
"""Marks a word piece that continues a word."""
