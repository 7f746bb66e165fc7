import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_models import BASE_LIKE, TINY_LIKE, TOKENS, encode, hide, make_trained, sentences_of
from safetensors.numpy import load_file

from trainer.config import MODELS
from trainer.huggingface import export_huggingface

pytestmark = pytest.mark.slow

CONFIGS = pytest.mark.parametrize("config", [TINY_LIKE, BASE_LIKE], ids=["tiny-like", "base-like"])
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)

# In a process of its own, as TensorFlow and PyTorch's compiler cannot both be loaded into one.
RUN_ENCODER = """
import json, sys
import numpy as np
import torch
from transformers import AutoTokenizer, T5EncoderModel
folder, texts, results = sys.argv[1:]
with open(texts, encoding="utf-8") as file:
    texts = json.load(file)
tokenizer = AutoTokenizer.from_pretrained(folder)
encoder, info = T5EncoderModel.from_pretrained(folder, output_loading_info=True)
assert not any(info.values()), info
encoder.eval()
found = {}
for start in range(0, len(texts), 10):
    batch = texts[start : start + 10]
    inputs = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder(**inputs).last_hidden_state
    for row, mask in enumerate(inputs.attention_mask.bool()):
        found[f"ids {start + row}"] = inputs.input_ids[row][mask].numpy()
        found[f"hidden {start + row}"] = hidden[row][mask].numpy()
assert not {"tensorflow", "trainer", "bert4keras"} & sys.modules.keys()
np.savez(results, **found)
"""

ODD = [
    "",
    "天" * 600,
    "🤣🥰",
    "ÉTÉ e\u0301",
    "a" * 200,
    "b" * 201,
    "[mask] [CLS]",
    "a\u2028b\u00ad",
]


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on being imported
        import transformers

        transformers.AutoTokenizer  # noqa: B018, imported at first use
    return transformers


@pytest.fixture(scope="module")
def trained():
    return make_trained()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("exported") / "huggingface"
    export_huggingface(trained, str(folder))
    return folder


@pytest.fixture(scope="module")
def tokenizer(transformers, exported):
    return transformers.AutoTokenizer.from_pretrained(exported)


def test_folder_holds_its_files_and_nothing_else(exported):
    assert sorted(os.listdir(exported)) == [
        *("config.json", "mlm_head.safetensors", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    ]


@CONFIGS
def test_head_holds_the_weights_that_are_documented(tmp_path, config):
    export_huggingface(make_trained(config), f"{tmp_path}/made")
    width = config.embedding_size or config.hidden_size
    head = load_file(f"{tmp_path}/made/mlm_head.safetensors")
    assert {name: array.shape for name, array in head.items()} == {
        "dense.weight": (width, 16),
        "dense.bias": (width,),
        "norm.weight": (width,),
        "embeddings.weight": (len(TOKENS), width),
        "bias": (len(TOKENS),),
    }


def test_ids_of_the_bundled_corpus_are_those_of_our_tokenizer(tokenizer, bundled_corpus):
    texts = [*sentences_of(bundled_corpus, 400, longest=2000), *ODD]
    for text in texts:
        found = tokenizer(text, split_special_tokens=True).input_ids
        assert found == encode(text, max_seq_length=10**6), text


@settings(max_examples=200, deadline=None)
@given(st.text("abTHEing09 ，。天地玄黄éÉİかが🤣\u0301\u0323\u00ad[]#'-", max_size=40))
@example("[MASK] [CLS]a")
def test_ids_are_those_of_our_tokenizer(tokenizer, text):
    assert tokenizer(text, split_special_tokens=True).input_ids == encode(text)


def test_cased_tokenizer_keeps_case_and_accents(tmp_path, transformers, trained):
    export_huggingface(trained._replace(cased=True), f"{tmp_path}/made")
    cased = transformers.AutoTokenizer.from_pretrained(f"{tmp_path}/made")
    for text in ["The thé e\u0301 É", "天The"]:
        assert cased(text).input_ids == encode(text, cased=True)


def test_mask_in_a_text_is_the_token_and_pairs_have_two_ends(tokenizer):
    found = tokenizer.convert_ids_to_tokens(tokenizer("天[MASK]").input_ids)
    assert found == ["[CLS]", "天", "[MASK]", "[SEP]"]
    found = tokenizer.convert_ids_to_tokens(tokenizer("天", "地").input_ids)
    assert found == ["[CLS]", "天", "[SEP]", "地", "[SEP]"]
    assert tokenizer.mask_token == "[MASK]"


def test_long_text_is_cut_where_training_ends_and_padding_is_pad(tokenizer):
    found = tokenizer(["天" * 600, "地"], truncation=True, padding=True)
    assert set(found) == {"input_ids", "attention_mask"}
    assert found.input_ids[0] == encode("天" * 600)
    assert found.input_ids[1] == [*encode("地"), *[0] * 509]
    assert np.sum(found.attention_mask, axis=1).tolist() == [512, 3]


def test_bert_tokenizer_fast_loads_it_and_differs_in_long_words_only(
    transformers, exported, bundled_corpus
):
    fast = transformers.BertTokenizerFast.from_pretrained(exported)
    for text in [*sentences_of(bundled_corpus, 100), "ÉTÉ", "a" * 100]:
        assert fast(text).input_ids == encode(text)
    assert fast("a" * 101).input_ids == encode("b" * 201)


def test_configuration_is_that_of_a_t5_encoder(transformers, exported):
    config = transformers.AutoConfig.from_pretrained(exported)
    assert type(config).__name__ == "T5Config"
    assert (config.d_model, config.d_kv, config.num_heads, config.num_layers) == (16, 4, 2, 2)
    assert (config.d_ff, config.vocab_size, config.dropout_rate) == (32, len(TOKENS), 0)
    assert (config.dense_act_fn, config.is_gated_act) == ("gelu_python", True)
    assert (config.pad_token_id, config.eos_token_id, config.is_encoder_decoder) == (0, 102, False)


def run_encoder(folder, texts):
    """Returns ids and hidden states of each text without padding, out of padded batches."""
    (folder / "texts.json").write_text(json.dumps(texts))
    arguments = [str(folder), str(folder / "texts.json"), str(folder / "results.npz")]
    subprocess.run([sys.executable, "-c", RUN_ENCODER, *arguments], check=True)
    found = np.load(folder / "results.npz")
    return [(found[f"ids {n}"].tolist(), found[f"hidden {n}"]) for n in range(len(texts))]


def largest_difference(trained, folder, texts):
    export_huggingface(trained, str(folder))
    differences = []
    for text, (ids, hidden) in zip(texts, run_encoder(folder, texts), strict=True):
        assert ids == encode(text)
        expected = hide(trained, ids)
        assert expected.shape == hidden.shape and expected.std() > 0.01
        differences.append(np.abs(hidden - expected).max())
    return max(differences)


@needs_torch
@CONFIGS
def test_encoder_gives_our_hidden_states(tmp_path, bundled_corpus, config):
    trained = make_trained(config, seed=5)
    texts = [*sentences_of(bundled_corpus, 50), "天" * 600, ""]
    # float32, summed in another order; 2e-5 in the long text, all tokens of which are equal.
    assert largest_difference(trained, tmp_path / "made", texts) < 1e-4


# float32, summed in another order; measured: 3e-7.
@needs_torch
@pytest.mark.parametrize(("name", "tolerance"), [("tiny", 1e-4), ("base", 1e-3)])
def test_released_shapes_give_our_hidden_states(tmp_path, bundled_corpus, name, tolerance):
    trained = make_trained(dataclasses.replace(MODELS[name], vocab_size=len(TOKENS)))
    texts = [*sorted(sentences_of(bundled_corpus, 100), key=len), "天地玄黄" * 200]
    assert largest_difference(trained, tmp_path / "made", texts) < tolerance


def test_folder_that_is_not_empty_is_refused(tmp_path, trained):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        export_huggingface(trained, str(tmp_path))
    assert os.listdir(tmp_path) == ["file"]


def test_failed_export_leaves_nothing(tmp_path, trained):
    with pytest.raises(UnicodeEncodeError):
        export_huggingface(trained._replace(tokens=("\ud800",)), f"{tmp_path}/made")
    assert os.listdir(tmp_path) == []


def test_json_files_are_readable(exported):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert isinstance(json.loads((exported / name).read_text("utf-8")), dict)
