"""Fine-tunes a released t5s to classify sentences, by bert4keras 0.9.9 on tf_keras alone.

The argument is a folder with model.h5, t5s_config.json and vocab.txt. The task: is a sentence from
an answer of baike2018qa, a report of news2016zh or a post of webtext2019zh? It takes under two
minutes on 2 cores with tiny; base is for a GPU. The accuracy is that on the `valid` files.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {"TF_KERAS": "1", "TF_USE_LEGACY_KERAS": "1"}  # before TensorFlow is imported

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.layers import Add, Dense, Embedding, GlobalAveragePooling1D
from bert4keras.models import T5_Encoder
from bert4keras.snippets import sequence_padding
from bert4keras.tokenizers import Tokenizer

CORPUS = Path(__file__).parents[1] / "tests/data/nlp_chinese_corpus"
FIELDS = {"baike_qa": "answer", "news2016zh": "content", "web_text_zh": "content"}


class T5sEncoder(T5_Encoder):
    """bert4keras' T5 encoder with the names and segments (all 0) of a t5s, without its scaling."""

    def apply(self, inputs=None, layer=None, arguments=None, name=None, **kwargs):  # noqa: D102
        x = super().apply(inputs, layer, arguments, name=name.replace("Encoder-", ""), **kwargs)
        if name == "Embedding-Token":
            kwargs = {"name": "Embedding-Segment", "input_dim": 3, "output_dim": x.shape[-1]}
            x = Add()([x, super().apply(K.zeros_like(inputs), Embedding, **kwargs)])
        return x


keras.utils.set_random_seed(0)
model = sys.argv[1]
config = json.loads(Path(model, "t5s_config.json").read_text())
encoder = T5sEncoder(**{"dropout_rate": config["hidden_dropout_prob"], **config})
encoder.build()
encoder.model.load_weights(f"{model}/model.h5", by_name=True)
tokenizer, data = Tokenizer(f"{model}/vocab.txt", do_lower_case=True), {}
for split in ("train", "valid"):
    found = [
        (tokenizer.encode(sentence, maxlen=48)[0], label)
        for label, (name, field) in enumerate(FIELDS.items())
        for path in CORPUS.rglob(f"{name}_{split}.json")
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]
        for sentence in json.loads(line)[field].split("。")[:-1]
    ]
    ids, labels = zip(*found, strict=True)
    data[split] = sequence_padding(ids), np.array(labels)
classifier = keras.Sequential([encoder.model, GlobalAveragePooling1D(), Dense(3, "softmax")])
classifier.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", ["accuracy"])
classifier.fit(*data["train"], batch_size=16, epochs=3, verbose=2)
_, accuracy = classifier.evaluate(*data["valid"], verbose=0)
majority = np.bincount(labels).max() / len(labels)
print(f"accuracy {accuracy:.3f} on {len(labels)} sentences, always the same class {majority:.3f}")
