"""Text -> tokens -> ids: the vocabulary of t5s and the tokenizer that goes with it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vocab.tokenizer import Tokenizer

__all__ = ["Tokenizer"]


def __getattr__(name: str) -> Any:
    """Loads NumPy only when the tokenizer is asked for, so that `--help` answers at once."""
    if name == "Tokenizer":
        from vocab.tokenizer import Tokenizer

        return Tokenizer
    raise AttributeError(f"module 'vocab' has no attribute {name!r}")
