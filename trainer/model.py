"""The T5s encoder and its head that predicts masked tokens.

Shapes:
  B: sequences of a micro batch.
  L: tokens of a sequence, padding included.
  P: masked tokens of a sequence, padding included.
  E: width of the embeddings (`embedding_size`).
  H: width of the hidden states (`hidden_size`).
  V: entries of the vocabulary (`vocab_size`).
"""

import contextlib
import dataclasses
import math
from collections.abc import Generator
from typing import Any, Final

import tensorflow as tf

from trainer._bert4keras import (
    Activation,
    Add,
    BiasAdd,
    Dense,
    Dropout,
    Embedding,
    FeedForward,
    Input,
    Lambda,
    LayerNormalization,
    MultiHeadAttention,
    RelativePositionEmbeddingT5,
    Transformer,
    build_transformer_model,
    keras,
)
from trainer.config import ModelConfig
from trainer.dropout import StatelessDropout
from trainer.initialization import draw_weights

POLICIES: Final = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""Precision of the arithmetic -> Keras' policy; variables are float32 in both."""

_RELATIVE_POSITIONS: Final = 32
"""Buckets of relative positions, as in T5 (Raffel et al. 2020, section 2.1)."""

_ALWAYS_FLOAT32: Final = (Activation, Add, BiasAdd, Dropout, Lambda, LayerNormalization)
"""The sum that runs through all layers, what scales it or is added to it, and the logits."""


class TiedEmbedding(Embedding):
    """bert4keras' Embedding, which in mode "dense" is the output layer: also in bfloat16."""

    def call(self, inputs: Any, mode: str = "embedding") -> Any:
        """Looks up rows [B, L] -> [B, L, E], or multiplies by them [B, P, E] -> [B, P, V]."""
        if mode == "embedding":
            return super().call(inputs)
        rows = tf.reshape(inputs, [-1, self.output_dim])
        table = tf.cast(self.embeddings, self.compute_dtype)
        logits = tf.matmul(tf.cast(rows, self.compute_dtype), table, transpose_b=True)
        return tf.reshape(logits, tf.concat([tf.shape(inputs)[:-1], [self.input_dim]], axis=0))


def _same_mask(_: Any, mask: Any) -> Any:
    return mask


class T5sEncoder(Transformer):
    """The released T5s: T5's encoder with segments and, `with_mlm`, a head over the vocabulary.

    Layers, names and weights are those of the released models: pre-norm blocks of attention with
    T5's relative positions and a gated feed-forward, both without bias, normed by their root mean
    square. Differs in what no weight file shows: dropout is stateless, ids are int32, sums and
    norms stay float32 in bfloat16, and kernels start at 0, for `draw_weights` to draw.

    Source: Raffel et al. 2020; Shazeer 2020 (gates); Zhang and Sennrich 2019 (norm).
    """

    def __init__(
        self, segment_vocab_size: int, with_mlm: bool | str = False, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.segment_vocab_size = segment_vocab_size
        self.with_mlm = with_mlm
        self.seed = seed

    @classmethod
    def startswith(cls, prefix: str) -> bool:
        """Answers what `build_transformer_model` asks of a model's name: not one of its own."""
        return False

    @property
    def initializer(self) -> str:
        """Zeros; bert4keras' own would draw the same values for all kernels of a layer."""
        return "zeros"

    def apply(self, inputs: Any = None, layer: Any = None, **kwargs: Any) -> Any:
        """Calls the layer of this name, made at first, in place of bert4keras' with ours."""
        if layer in _ALWAYS_FLOAT32:
            kwargs["dtype"] = "float32"
        if layer is Embedding:
            layer = TiedEmbedding
        elif layer is Dropout:
            if self.dropout_rate == 0:
                return inputs
            layer = StatelessDropout
            kwargs |= {"rate": self.dropout_rate, "seed": self.seed}
        return super().apply(inputs, layer, **kwargs)

    def get_inputs(self) -> list[Any]:
        """Returns token ids and segment ids, int32 [B, L] each."""
        shape = (self.sequence_length,)
        return [
            self.apply(layer=Input, shape=shape, dtype="int32", name=name)
            for name in ("Input-Token", "Input-Segment")
        ]

    def apply_embeddings(self, inputs: list[Any]) -> Any:
        """Embeds ids [B, L] -> [B, L, H]."""
        tokens = self._embed(inputs[0], "Embedding-Token", self.vocab_size, mask_zero=True)
        segments = self._embed(inputs[1], "Embedding-Segment", self.segment_vocab_size)
        x = self.apply([tokens, segments], Add, name="Embedding-Token-Segment")
        x = self.apply(x, Dropout, name="Embedding-Dropout")
        if self.embedding_size == self.hidden_size:
            return x
        return self._dense(x, "Embedding-Mapping", self.hidden_size)

    def apply_main_layers(self, inputs: Any, index: int) -> Any:
        """Passes hidden states [B, L, H] through one block."""
        attention = f"Transformer-{index}-MultiHeadSelfAttention"
        feed_forward = f"Transformer-{index}-FeedForward"
        positions = self.compute_position_bias(inputs)
        x = self._norm(inputs, f"{attention}-Norm")
        x = self.apply(
            [x, x, x, positions],
            MultiHeadAttention,
            arguments={"p_bias": "t5_relative"},
            heads=self.num_attention_heads,
            head_size=self.attention_head_size,
            key_size=self.attention_key_size,
            out_dim=self.hidden_size,
            use_bias=False,
            attention_scale=False,
            kernel_initializer=self.initializer,
            name=attention,
        )
        x = hidden = self._residual(inputs, x, attention)
        x = self._norm(x, f"{feed_forward}-Norm")
        x = self.apply(
            x,
            FeedForward,
            units=self.intermediate_size,
            activation=self.hidden_act,
            use_bias=False,
            kernel_initializer=self.initializer,
            name=feed_forward,
        )
        return self._residual(hidden, x, feed_forward)

    def apply_final_layers(self, inputs: Any) -> Any:
        """Scales hidden states [B, L, H]; with_mlm, goes on to logits [B, L, V]."""
        x = self._norm(inputs, "Output-Norm")
        x = self.apply(x, Dropout, name="Output-Dropout")
        x = self.apply(x, Lambda, function=self._scale, mask=_same_mask, name="Output-Scale")
        if not self.with_mlm:
            return x
        x = self._dense(x, "MLM-Dense", self.embedding_size, activation=self.hidden_act[0])
        x = self._norm(x, "MLM-Norm")
        x = self.apply(x, Embedding, arguments={"mode": "dense"}, name="Embedding-Token")
        x = self.apply(x, BiasAdd, name="MLM-Bias")
        activation = "softmax" if self.with_mlm is True else self.with_mlm
        return self.apply(x, Activation, activation=activation, name="MLM-Activation")

    def compute_position_bias(self, inputs: Any = None) -> Any:
        """Returns the one bias of all layers, [L, L, heads]."""
        if self.position_bias is None:
            self.position_bias = self.apply(
                [inputs, inputs],
                RelativePositionEmbeddingT5,
                input_dim=_RELATIVE_POSITIONS,
                output_dim=self.num_attention_heads,
                bidirectional=True,
                name="Embedding-Relative-Position",
            )
        return self.position_bias

    def _embed(self, ids: Any, name: str, entries: int, **kwargs: Any) -> Any:
        sizes = {"input_dim": entries, "output_dim": self.embedding_size}
        kwargs |= sizes | {"embeddings_initializer": self.initializer}
        return self.apply(ids, Embedding, name=name, **kwargs)

    def _dense(self, x: Any, name: str, units: int, **kwargs: Any) -> Any:
        kwargs |= {"units": units, "kernel_initializer": self.initializer}
        return self.apply(x, Dense, name=name, **kwargs)

    def _norm(self, x: Any, name: str) -> Any:
        return self.apply(x, LayerNormalization, center=False, epsilon=1e-6, name=name)

    def _scale(self, x: Any) -> Any:
        return x / math.sqrt(self.hidden_size)

    def _residual(self, x: Any, change: Any, name: str) -> Any:
        change = self.apply(change, Dropout, name=f"{name}-Dropout")
        return self.apply([x, change], Add, name=f"{name}-Add")


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModel:
    """Two views of the same weights.

    Attributes:
      config: its shape.
      full: token ids and segment ids, int [B, L] each -> float32 logits [B, L, V]; the released
        model with its head, whose weight files are the released ones.
      encoder: the same inputs -> float32 hidden states [B, L, H].
    """

    config: ModelConfig
    full: Any
    encoder: Any

    @property
    def trainable_variables(self) -> list[Any]:
        """All weights, in the order of `initialization.weight_names`."""
        return self.full.trainable_variables

    def predict_masked(self, token_ids: Any, positions: Any, training: bool) -> Any:
        """Predicts the tokens at some positions: only these meet the vocabulary.

        Args:
          token_ids: int32 [B, L]; all in segment 0.
          positions: int32 [B, P], in any order, repeated or not.
          training: whether to drop; then inside `dropout_number`.

        Returns:
          Logits, float32 [B, P, V]: those of `full` at these positions.
        """
        hidden = self.encoder([token_ids, tf.zeros_like(token_ids)], training=training)
        x = tf.gather(hidden, positions, batch_dims=1)
        layer = self.full.get_layer
        x = layer("MLM-Norm")(layer("MLM-Dense")(x))
        return layer("MLM-Bias")(layer("Embedding-Token")(x, mode="dense"))


@contextlib.contextmanager
def _policy(name: str) -> Generator[None]:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def build_model(config: ModelConfig, seed: int, precision: str = "float32") -> MaskedLanguageModel:
    """Builds a model with fresh weights, a function of its shape and the seed alone.

    Args:
      config: its shape.
      seed: of the weights and of dropout.
      precision: of the arithmetic, "float32" or "bfloat16"; weights and logits are float32.

    Raises:
      ValueError: another precision.
    """
    if precision not in POLICIES:
        raise ValueError(f"precision must be {' or '.join(POLICIES)}, got {precision!r}")
    with _policy(POLICIES[precision]):
        full = build_transformer_model(
            model=T5sEncoder, with_mlm="linear", seed=seed, **config.to_json()
        )
        encoder = keras.Model(full.inputs, full.get_layer("Output-Scale").output)
    draw_weights(full, config, seed)
    return MaskedLanguageModel(config, full, encoder)
