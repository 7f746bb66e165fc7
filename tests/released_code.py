"""The model class of the released T5s, as its weight files require it.

Plain bert4keras: it must be on legacy Keras, as it is once the trainer has imported it.
"""

import warnings

from bert4keras import layers, models


class T5SEncoder(models.Transformer):
    def __init__(self, segment_vocab_size, with_mlm=False, **kwargs):
        super().__init__(**kwargs)
        self.segment_vocab_size = segment_vocab_size
        self.with_mlm = with_mlm

    @classmethod
    def startswith(cls, _):
        return False

    def get_inputs(self):
        return [
            self.apply(layer=layers.Input, shape=(self.sequence_length,), name=name)
            for name in ("Input-Token", "Input-Segment")
        ]

    def apply_embeddings(self, inputs):
        tokens = self.apply(
            inputs=inputs[0],
            layer=layers.Embedding,
            input_dim=self.vocab_size,
            output_dim=self.embedding_size,
            mask_zero=True,
            name="Embedding-Token",
        )
        segments = self.apply(
            inputs=inputs[1],
            layer=layers.Embedding,
            input_dim=self.segment_vocab_size,
            output_dim=self.embedding_size,
            name="Embedding-Segment",
        )
        x = self.apply([tokens, segments], layers.Add, name="Embedding-Token-Segment")
        x = self.drop(x, "Embedding-Dropout")
        if self.embedding_size != self.hidden_size:
            x = self.apply(x, layers.Dense, units=self.hidden_size, name="Embedding-Mapping")
        return x

    def apply_main_layers(self, inputs, index):
        name = f"Transformer-{index}-MultiHeadSelfAttention"
        x = self.norm(inputs, f"{name}-Norm")
        x = self.apply(
            inputs=[x, x, x, self.compute_position_bias(inputs)],
            layer=layers.MultiHeadAttention,
            arguments={"p_bias": "t5_relative"},
            heads=self.num_attention_heads,
            head_size=self.attention_head_size,
            out_dim=self.hidden_size,
            key_size=self.attention_key_size,
            use_bias=False,
            attention_scale=False,
            name=name,
        )
        hidden = self.add(inputs, x, name)
        name = f"Transformer-{index}-FeedForward"
        x = self.norm(hidden, f"{name}-Norm")
        x = self.apply(
            inputs=x,
            layer=layers.FeedForward,
            units=self.intermediate_size,
            activation=self.hidden_act,
            use_bias=False,
            name=name,
        )
        return self.add(hidden, x, name)

    def apply_final_layers(self, inputs):
        x = self.drop(self.norm(inputs, "Output-Norm"), "Output-Dropout")
        x = self.apply(
            inputs=x,
            layer=layers.Lambda,
            function=lambda x: x / self.hidden_size**0.5,
            mask=lambda _, mask: mask,
            name="Output-Scale",
        )
        if not self.with_mlm:
            return x
        x = self.apply(
            inputs=x,
            layer=layers.Dense,
            units=self.embedding_size,
            activation=self.hidden_act[0],
            name="MLM-Dense",
        )
        x = self.norm(x, "MLM-Norm")
        x = self.apply(x, layers.Embedding, arguments={"mode": "dense"}, name="Embedding-Token")
        x = self.apply(x, layers.BiasAdd, name="MLM-Bias")
        activation = "softmax" if self.with_mlm is True else self.with_mlm
        return self.apply(x, layers.Activation, activation=activation, name="MLM-Activation")

    def compute_position_bias(self, inputs=None):
        if self.position_bias is None:
            self.position_bias = self.apply(
                inputs=[inputs, inputs],
                layer=layers.RelativePositionEmbeddingT5,
                input_dim=32,
                output_dim=self.num_attention_heads,
                bidirectional=True,
                name="Embedding-Relative-Position",
            )
        return self.position_bias

    def norm(self, x, name):
        return self.apply(x, layers.LayerNormalization, center=False, epsilon=1e-6, name=name)

    def drop(self, x, name):
        return self.apply(x, layers.Dropout, rate=self.dropout_rate, name=name)

    def add(self, x, change, name):
        return self.apply([x, self.drop(change, f"{name}-Dropout")], layers.Add, name=f"{name}-Add")


def load_released(folder, **kwargs):
    """Returns the Keras model of a released folder, loaded as its users do."""
    with warnings.catch_warnings():
        # bert4keras leaves the file open, and gives one initializer to several kernels.
        warnings.simplefilter("ignore")
        model = models.build_transformer_model(
            config_path=f"{folder}/t5s_config.json", model=T5SEncoder, **kwargs
        )
    model.load_weights(f"{folder}/model.h5", by_name=True)
    return model
