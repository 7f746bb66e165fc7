"""A folder for Hugging Face: the encoder as a `T5EncoderModel`, the head beside it.

Their T5 has neither segments nor a mapping of embeddings, nor scales what comes out, so these are
folded into its weights: all ids are of segment 0, and the scale goes into the last norm. Equal at
tokens; at padding not, where bert4keras zeroes what attention gives.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from tfrecords_schema.features import SEQ_LENGTHS
from trainer.config import ModelConfig
from trainer.files import write_in_new_folder
from trainer.initialization import weight_names
from trainer.new_folder import new_folder
from trainer.released import format_json
from trainer.trained_model import VOCAB_FILE, TrainedModel
from vocab.special_tokens import (
    CLS,
    CLS_ID,
    CONTINUATION,
    MASK,
    MASK_ID,
    PAD,
    PAD_ID,
    SEP,
    SEP_ID,
    UNK,
    UNK_ID,
)
from vocab.tokenizer import MAX_WORD_CHARS
from vocab.vocab_file import format_vocab

Arrays = dict[str, NDArray[np.float32]]

HEAD_FILE: Final = "mlm_head.safetensors"

_SPECIAL_IDS: Final = {PAD: PAD_ID, UNK: UNK_ID, CLS: CLS_ID, SEP: SEP_ID, MASK: MASK_ID}


def export_huggingface(trained: TrainedModel, folder: str) -> None:
    """Writes what `T5EncoderModel` and `AutoTokenizer` of transformers load.

    Args:
      trained: the model.
      folder: new or empty; local or gs://.

    Raises:
      FileExistsError: there is something in the folder.
    """
    weights = _read_weights(trained)
    files = {
        "config.json": format_json(describe_model(trained.config)),
        "model.safetensors": save(fold_encoder(weights, trained.config), {"format": "pt"}),
        HEAD_FILE: save(take_head(weights), {"format": "pt"}),
        "tokenizer.json": format_json(describe_tokenizer(trained.tokens, trained.cased)),
        "tokenizer_config.json": format_json(_describe_tokenizer_class(trained.cased)),
        VOCAB_FILE: format_vocab(trained.tokens),
    }
    with new_folder(folder) as unfinished:
        for name, content in files.items():
            write_in_new_folder(f"{unfinished}/{name}", content)


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """Returns the object of config.json; activations are those with erf, as in bert4keras."""
    return {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "dtype": "float32",
        "vocab_size": config.vocab_size,
        "d_model": config.hidden_size,
        "d_kv": config.attention_head_size,
        "d_ff": config.intermediate_size,
        "num_layers": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu_python",
        "dropout_rate": config.dropout,
        "is_encoder_decoder": False,
        "use_cache": False,
        "bos_token_id": CLS_ID,
        "eos_token_id": SEP_ID,
        "pad_token_id": PAD_ID,
    }


def fold_encoder(weights: Arrays, config: ModelConfig) -> Arrays:
    """Returns the weights of a `T5EncoderModel`, by its names.

    Args:
      weights: of the trained model, by the names of `weight_names`.
      config: its shape.
    """
    attention, feed_forward = "Transformer-{}-MultiHeadSelfAttention", "Transformer-{}-FeedForward"
    folded: Arrays = {"shared.weight": _fold_embeddings(weights)}
    for number in range(config.num_hidden_layers):
        theirs = f"encoder.block.{number}.layer"
        ours = attention.format(number)
        for place, name in enumerate("qkvo"):
            kernel = weights[f"{ours}/kernel/{place}"]
            folded[f"{theirs}.0.SelfAttention.{name}.weight"] = kernel.T
        folded[f"{theirs}.0.layer_norm.weight"] = weights[f"{ours}-Norm/gamma/0"]
        ours = feed_forward.format(number)
        for place, name in enumerate(("wi_0", "wi_1", "wo")):
            kernel = weights[f"{ours}/kernel/{place}"]
            folded[f"{theirs}.1.DenseReluDense.{name}.weight"] = kernel.T
        folded[f"{theirs}.1.layer_norm.weight"] = weights[f"{ours}-Norm/gamma/0"]
    positions = weights["Embedding-Relative-Position/embeddings/0"]
    folded["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = positions
    scale = math.sqrt(config.hidden_size)
    folded["encoder.final_layer_norm.weight"] = weights["Output-Norm/gamma/0"] / np.float32(scale)
    return {name: np.ascontiguousarray(array) for name, array in folded.items()}


def take_head(weights: Arrays) -> Arrays:
    """Returns the weights of the head: V entries, embeddings of width E, hidden states of H.

    Args:
      weights: of the trained model, by the names of `weight_names`.

    Returns:
      "dense.weight" [E, H] and "dense.bias" [E], "norm.weight" [E], "embeddings.weight" [V, E]
      and "bias" [V].
    """
    return {
        "dense.weight": np.ascontiguousarray(weights["MLM-Dense/kernel/0"].T),
        "dense.bias": weights["MLM-Dense/bias/1"],
        "norm.weight": weights["MLM-Norm/gamma/0"],
        "embeddings.weight": weights["Embedding-Token/embeddings/0"],
        "bias": weights["MLM-Bias/bias/0"],
    }


def describe_tokenizer(tokens: tuple[str, ...], cased: bool) -> dict[str, Any]:
    """Returns the object of tokenizer.json: BERT's, with the longest words of `Tokenizer`."""
    template = [_template(CLS), {"Sequence": {"id": "A", "type_id": 0}}, _template(SEP)]
    pair = [*template, {"Sequence": {"id": "B", "type_id": 0}}, _template(SEP)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token_id, "content": token, "special": True, **_as_it_stands()}
            for token, token_id in _SPECIAL_IDS.items()
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": not cased,
            "lowercase": not cased,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": pair,
            "special_tokens": {
                token: {"id": token, "ids": [_SPECIAL_IDS[token]], "tokens": [token]}
                for token in (CLS, SEP)
            },
        },
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": UNK,
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": MAX_WORD_CHARS,
            "vocab": {token: token_id for token_id, token in enumerate(tokens)},
        },
    }


def _describe_tokenizer_class(cased: bool) -> dict[str, Any]:
    """Returns the object of tokenizer_config.json.

    The class is the general one, which takes tokenizer.json as it is: `BertTokenizerFast` makes
    its own of it, with the longest words of Google's BERT.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max(SEQ_LENGTHS),
        "model_input_names": ["input_ids", "attention_mask"],
        "do_lower_case": not cased,
        "strip_accents": not cased,
        "tokenize_chinese_chars": True,
        "pad_token": PAD,
        "unk_token": UNK,
        "cls_token": CLS,
        "sep_token": SEP,
        "mask_token": MASK,
        "clean_up_tokenization_spaces": True,
    }


def _template(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def _as_it_stands() -> dict[str, bool]:
    return {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def _read_weights(trained: TrainedModel) -> Arrays:
    model = trained.model.full
    pairs = zip(weight_names(model), model.weights, strict=True)
    return {name: weight.numpy() for name, weight in pairs}


def _fold_embeddings(weights: Arrays) -> NDArray[np.float32]:
    """Returns the sum of token and segment 0, mapped to the width of the hidden states, [V, H]."""
    tokens = weights["Embedding-Token/embeddings/0"]
    summed = tokens + weights["Embedding-Segment/embeddings/0"][0]
    mapping = weights.get("Embedding-Mapping/kernel/0")
    if mapping is None:
        return summed
    mapped = summed.astype(np.float64) @ mapping + weights["Embedding-Mapping/bias/1"]
    return mapped.astype(np.float32)
