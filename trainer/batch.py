"""What flows from data to train step: static shapes, only what the model needs."""

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """B masked sequences of length L with at most P masked tokens each; also a spec of one.

    Attributes:
      token_ids: what the model sees, padded with [PAD], int32 [B, L].
      positions: of the masked tokens, ascending, then 0, int32 [B, P].
      labels: original ids at these positions, then 0, int32 [B, P].
      weights: 1 for a masked token, else 0, float32 [B, P].
    """

    token_ids: Any
    positions: Any
    labels: Any
    weights: Any
