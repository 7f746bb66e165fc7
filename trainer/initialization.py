"""Initial weights, each drawn from its own generator.

bert4keras hands one initializer to all kernels of a layer, and legacy Keras lets it draw the same
values for each: queries, keys and values of a fresh model would be equal, and so would both gates.
"""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.config import ModelConfig

TRUNCATION: Final = 2.0
"""Standard deviations at which the normal distribution is cut off, as in Keras' TruncatedNormal."""

TRUNCATED_SPREAD: Final = 0.8796
"""Standard deviation of a standard normal distribution that is cut off there.

sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1)) at c = 2; Keras does not correct for it, nor did BERT.
"""

_RELATIVE_POSITIONS: Final = "Embedding-Relative-Position"


def weight_names(model: Any) -> list[str]:
    """Returns a name for each of `model.weights`, in their order.

    Layer, kind and place in the layer: `Transformer-0-FeedForward/kernel/2`. Keras' own names
    count the models that the process has built before.

    Args:
      model: a Keras model of layers with unique names.
    """
    return [
        f"{layer.name}/{weight.name.rpartition('/')[2].partition(':')[0]}/{place}"
        for layer in model.layers
        for place, weight in enumerate(layer.weights)
    ]


def draw_weight(
    name: str, shape: tuple[int, ...], config: ModelConfig, seed: int
) -> NDArray[np.float32]:
    """Draws one weight from nothing but its name, its shape and the seed.

    Scales (gamma) are 1 and biases 0. Relative positions are 0: bert4keras 0.9.9 does not pass
    its initializer on to them, so that is what the released models started with; one table serves
    all layers, so there is no symmetry to break. All else is normal with a standard deviation of
    `config.initializer_range`, drawn again beyond 2 of them: what is left spreads 0.8796 as far.

    Args:
      name: as `weight_names` gives it.
      shape: of the weight.
      config: holds initializer_range.
      seed: of the run.
    """
    layer, kind, _ = name.split("/")
    if kind == "gamma":
        return np.ones(shape, np.float32)
    if kind == "bias" or layer == _RELATIVE_POSITIONS:
        return np.zeros(shape, np.float32)
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    draws = rng.standard_normal(shape, np.float32)
    while (beyond := np.abs(draws) > TRUNCATION).any():
        draws[beyond] = rng.standard_normal(int(beyond.sum()), np.float32)
    return draws * np.float32(config.initializer_range)


def draw_weights(model: Any, config: ModelConfig, seed: int) -> None:
    """Draws every weight of the model anew; see `draw_weight`."""
    for name, weight in zip(weight_names(model), model.weights, strict=True):
        weight.assign(draw_weight(name, tuple(weight.shape), config, seed))
