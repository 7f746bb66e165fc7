"""Gradients -> updates: bert4keras' LAMB and AdamW, their schedule in optimizer steps."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from trainer._bert4keras import (
    Adam,
    extend_with_layer_adaptation,
    extend_with_piecewise_linear_lr,
    extend_with_weight_decay,
)
from trainer.config import OptimizerConfig, StageConfig

_Lamb: Final = extend_with_piecewise_linear_lr(
    extend_with_layer_adaptation(extend_with_weight_decay(Adam)), name="Lamb"
)
_AdamW: Final = extend_with_piecewise_linear_lr(extend_with_weight_decay(Adam), name="AdamW")


def make_optimizer(config: OptimizerConfig, stage: StageConfig) -> Any:
    """Makes the optimizer of one stage; call it in the strategy's scope, before the train step.

    Gradients are to be summed over micro batches before they get here: one call of
    `apply_gradients` is one optimizer step.

    Source: bert4keras 0.9.9. Its LAMB is You et al. 2019, algorithm 2, with bias correction, but:
    the norm of a weight is not bounded; an update whose norm is at most 1e-7 per unit of the
    learning rate, and a weight that is all 0, are not scaled; a learning rate below 1e-7 counts as
    1e-7 in the norm of the update, so the size of a step stops falling there and is 0 only at 0.
    """
    exclusions = {"exclude_from_weight_decay": list(config.excluded)}
    if config.name == "lamb":
        exclusions["exclude_from_layer_adaptation"] = list(config.excluded)
    return {"lamb": _Lamb, "adamw": _AdamW}[config.name](
        learning_rate=stage.learning_rate,
        lr_schedule=_schedule(stage),
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        epsilon=config.epsilon,
        bias_correction=config.bias_correction,
        weight_decay_rate=config.weight_decay_rate,
        **exclusions,
    )


def create_slots(optimizer: Any, variables: Sequence[Any]) -> None:
    """Creates all that the optimizer remembers, as it is before the first step.

    Until then a checkpoint would hold none of it, and could not be restored from.
    """
    optimizer._create_all_weights(variables)


def learning_rate_at(stage: StageConfig, step: int) -> float:
    """Returns the learning rate of one step, to the bit what the optimizer's own formula gives.

    Rises from 0 at step 0 to its peak at step warmup_steps, then falls to 0 at step
    optimizer_steps, which is one past the last. Without warm-up it starts at the peak, and where
    all steps are warm-up it only rises.

    Args:
      stage: peak, warm-up and length.
      step: number of optimizer steps done before this one.

    Returns:
      A single-precision number. (XLA may fuse a multiplication and an addition of the formula,
      and then differs in the last bit.)

    Source: bert4keras 0.9.9, `backend.piecewise_linear`.
    """
    points = sorted(({0: 0.0} | _schedule(stage)).items())
    begin, share = max(point for point in points if point[0] <= step)
    following = [point for point in points if point[0] > step]
    multiplier = np.float32(share)
    if following:
        end, share_at_end = following[0]
        slope = np.float32((share_at_end - share) / (end - begin))
        multiplier += slope * (np.float32(step) - np.float32(begin))
    return float(np.float32(stage.learning_rate) * multiplier)


def _schedule(stage: StageConfig) -> dict[int, float]:
    """Shares of the peak at steps, between which bert4keras draws lines, from 0 at step 0."""
    return {stage.optimizer_steps: 0.0} | {stage.warmup_steps: 1.0}
