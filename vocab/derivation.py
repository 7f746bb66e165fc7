"""Google's Chinese BERT vocabulary -> the 13,686 entries of it that its tokenizer can emit."""

import hashlib
from collections.abc import Sequence
from typing import Final

from vocab.basic_tokens import is_cjk, is_punctuation
from vocab.special_tokens import CONTINUATION, FIRST_ORDINARY_ID, VOCAB_SIZE

BERT_VOCAB_SIZE: Final = 21_128
DERIVED_SHA256: Final = "9b37aa2885b9a417bb666c204a0f5e55adb97e202a76b6176557282468fc0499"
"""Digest of the derived vocab.txt with line feeds: the vocabulary of the released t5s."""


def derive_tokens(bert_tokens: Sequence[str]) -> list[str]:
    """Keeps the special tokens and every entry that BERT's tokenizer can really emit.

    The tokenizer makes every CJK character and punctuation mark a token of its own, so a longer
    entry that contains one is never emitted.

    Source: bert4keras 0.9.9, `load_vocab(simplified=True)`.
    """
    special, ordinary = bert_tokens[:FIRST_ORDINARY_ID], bert_tokens[FIRST_ORDINARY_ID:]
    return [*special, *filter(_is_reachable, ordinary)]


def explain_difference(bert_tokens: Sequence[str], derived: Sequence[str]) -> str | None:
    """Says how a file differs from Google's vocabulary, or returns None where it does not."""
    digest = hashlib.sha256("".join(token + "\n" for token in derived).encode()).hexdigest()
    if digest == DERIVED_SHA256:
        return None
    if len(bert_tokens) != BERT_VOCAB_SIZE or len(derived) != VOCAB_SIZE:
        return (
            f"it has {len(bert_tokens)} entries of which {len(derived)} can be emitted; Google's "
            f"Chinese BERT has {BERT_VOCAB_SIZE} of which {VOCAB_SIZE} can"
        )
    return f"it has the right number of entries, but their sha256 is {digest}, not {DERIVED_SHA256}"


def _is_reachable(token: str) -> bool:
    stem = token.removeprefix(CONTINUATION)
    return len(token) == 1 or not any(is_cjk(ord(char)) or is_punctuation(char) for char in stem)
