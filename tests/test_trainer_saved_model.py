import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_models import (
    BASE_LIKE,
    TINY_LIKE,
    TOKENS,
    encode,
    hide,
    make_trained,
    sentences_of,
    tokenizer,
)

from trainer.fill_mask import fill_mask
from trainer.saved_model import export_saved_model
from vocab.special_tokens import CLS_ID, MASK_ID, SEP_ID, UNK_ID

pytestmark = pytest.mark.slow

LOAD_ALONE = """
import json, sys
import numpy as np
import tensorflow as tf
import tensorflow_text
folder, texts, results = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
with open(texts, encoding="utf-8") as file:
    texts = tf.constant(json.load(file))
found = {}
for name in ("token_features", "sentence_vector", "mask_candidates"):
    for key, value in signatures[name](text=texts).items():
        found[f"{name}/{key}"] = value.numpy()
assert not {"trainer", "vocab", "bert4keras", "tf_keras"} & sys.modules.keys()
np.savez(results, **{name: value for name, value in found.items() if value.dtype != object})
"""

LONG = "天地玄黄宇宙洪荒" * 1250
ODD = ["", " ", LONG, "🤣🤣", "[MASK]", "今天[MASK]气[MASK]好", "[mask][CLS]", "ÉTÉ e\u0301 ς Σ"]
AROUND_WORDS = "a\u2028b\u2029c\x00d\x1fe\x85f\tg\nh\u00ade\ufffdi\u200bj\u3000k"


@pytest.fixture(scope="module")
def trained():
    return make_trained()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("exported") / "saved_model"
    export_saved_model(trained, str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(exported).signatures


def call(signature, *texts):
    found = signature(text=tf.constant(texts, tf.string))
    return {name: value.numpy() for name, value in found.items()}


def candidates_of(found, row):
    """Returns what `fill_mask` would of one text: [(token, probability)] by mask."""
    masks = int((found["positions"][row] > 0).sum())
    return [
        list(zip(found["tokens"][row, n], found["probabilities"][row, n].tolist(), strict=True))
        for n in range(masks)
    ]


def test_process_without_this_project_gets_the_same(tmp_path, bundled_corpus, trained, exported):
    texts = [*sentences_of(bundled_corpus, 40), *ODD, AROUND_WORDS]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    arguments = [exported, f"{tmp_path}/texts.json", f"{tmp_path}/results.npz"]
    subprocess.run([sys.executable, "-c", LOAD_ALONE, *arguments], check=True, cwd=tmp_path)
    found = dict(np.load(tmp_path / "results.npz"))
    assert found["token_features/ids"].shape == (len(texts), 512)
    for row, text in enumerate(texts):
        ids = encode(text)
        hidden = hide(trained, ids)
        assert found["token_features/ids"][row, : len(ids)].tolist() == ids
        assert found["token_features/mask"][row].sum() == len(ids)
        rows = found["token_features/hidden_states"][row]
        # float32, in batches of other shapes; the issue asks for 1e-4.
        np.testing.assert_allclose(rows[: len(ids)], hidden, rtol=0, atol=2e-6)
        assert not rows[len(ids) :].any() and not found["token_features/ids"][row, len(ids) :].any()
        vector = found["sentence_vector/vector"][row]
        np.testing.assert_allclose(vector, hidden.mean(axis=0), rtol=0, atol=2e-6)
    assert found["mask_candidates/positions"][texts.index("今天[MASK]气[MASK]好")].tolist() == [
        3,
        5,
    ]


def test_folder_has_no_assets_and_names_no_path(exported):
    names = {
        os.path.relpath(os.path.join(folder, name), exported)
        for folder, _, files in os.walk(exported)
        for name in files
    }
    assert {name.partition(".")[0] for name in names} == {
        *("saved_model", "fingerprint", "variables/variables"),
    }
    with open(f"{exported}/saved_model.pb", "rb") as file:
        content = file.read()
    assert not re.search(rb"\.py\b|site-packages", content)


def test_three_signatures_take_text(signatures):
    assert set(signatures) == {"token_features", "sentence_vector", "mask_candidates"}
    for signature in signatures.values():
        assert signature.structured_input_signature[1] == {
            "text": tf.TensorSpec([None], tf.string, name="text")
        }


def test_empty_text_is_two_tokens_and_has_a_vector(trained, signatures):
    found = call(signatures["token_features"], "", "天")
    assert found["ids"].tolist() == [[CLS_ID, SEP_ID, 0], [CLS_ID, TOKENS.index("天"), SEP_ID]]
    assert found["mask"].tolist() == [[True, True, False], [True, True, True]]
    vector = call(signatures["sentence_vector"], "")["vector"]
    expected = hide(trained, [CLS_ID, SEP_ID]).mean(axis=0)
    np.testing.assert_allclose(vector, [expected], rtol=0, atol=2e-6)  # as above


def test_no_texts_give_empty_results(signatures):
    assert call(signatures["sentence_vector"])["vector"].shape == (0, 16)
    assert call(signatures["token_features"])["hidden_states"].shape[0] == 0
    assert call(signatures["mask_candidates"])["ids"].shape[::2] == (0, 5)


def test_ten_thousand_characters_are_cut_and_end_in_sep(signatures):
    assert len(LONG) == 10_000
    (ids,) = call(signatures["token_features"], LONG)["ids"].tolist()
    assert (len(ids), ids[0], ids[-1]) == (512, CLS_ID, SEP_ID)
    assert ids[1:-1] == tokenizer().encode(LONG)[:510]


def test_longest_text_is_what_was_asked_for(tmp_path, trained):
    export_saved_model(trained, f"{tmp_path}/made", max_seq_length=5, top=2)
    signatures = tf.saved_model.load(f"{tmp_path}/made").signatures
    assert call(signatures["token_features"], "天地玄黄", "天地玄")["ids"].tolist() == [
        encode("天地玄"),
        encode("天地玄"),
    ]
    found = call(signatures["mask_candidates"], "天地[MASK][MASK]", "天地玄[MASK]")
    assert found["positions"].tolist() == [[3], [0]]
    assert found["tokens"].shape == (2, 1, 2)


def test_emoji_is_its_token_and_an_unknown_one_is_unk(signatures):
    assert "🤣" in TOKENS and "🥰" not in TOKENS
    (ids,) = call(signatures["token_features"], "🤣 🥰")["ids"].tolist()
    assert ids == [CLS_ID, TOKENS.index("🤣"), UNK_ID, SEP_ID]


def test_mask_in_a_text_is_text_but_for_the_candidates(signatures):
    (ids,) = call(signatures["token_features"], "[MASK]")["ids"].tolist()
    assert [TOKENS[i] for i in ids] == ["[CLS]", "[", "mask", "]", "[SEP]"]
    found = call(signatures["mask_candidates"], "[MASK]", "[mask]", "")
    assert found["positions"].tolist() == [[1], [0], [0]]
    assert not found["probabilities"][1:].any() and not found["ids"][1:].any()
    assert (found["tokens"][1:] == b"").all()


def test_candidates_are_those_of_fill_mask(trained, signatures):
    texts = ["今天[MASK]气很好", "[MASK]", "The[MASK][MASK]ing, [MASK]", "É[MASK]か🤣[MASK]" * 9]
    found = call(signatures["mask_candidates"], *texts)
    assert found["positions"].shape == (4, 18)
    for row, masks in enumerate(fill_mask(trained, texts)):
        ours = candidates_of(found, row)
        assert [[t.decode() for t, _ in mask] for mask in ours] == [
            [candidate.token for candidate in mask] for mask in masks
        ]
        for mask, expected in zip(ours, masks, strict=True):
            probabilities = [candidate.probability for candidate in expected]
            # float32, in batches of other shapes.
            np.testing.assert_allclose([p for _, p in mask], probabilities, rtol=1e-5)
        for name in ("ids", "tokens", "probabilities"):
            assert not found[name][row, len(masks) :].any()
    assert [[TOKENS[i].encode() for i in mask] for mask in found["ids"][0, :1]] == [
        found["tokens"][0, 0].tolist()
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.text(
        "abTHEing09 ，。天地玄黄éÉİかが🤣\u0301\u0323\u2028\x00\x0b\x85\u00ad[]#'-", max_size=40
    )
)
@example("[MASK] [CLS]a")
@example("a\x0bb\u2029c\ufffdd")
def test_ids_are_those_of_the_tokenizer(signatures, text):
    assert call(signatures["token_features"], text)["ids"].tolist() == [encode(text)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("a É天，[]MASK", max_size=9), min_size=1, max_size=4))
def test_masks_are_where_the_parts_meet(signatures, parts):
    text = "[MASK]".join(parts)
    positions, length = [], 1
    for part in text.split("[MASK]"):
        length += len(tokenizer().encode(part))
        positions.append(length)
        length += 1
    expected = positions[:-1] or []
    assert call(signatures["mask_candidates"], text)["positions"].tolist() == [expected]


def test_cased_model_without_mapping_and_with_dropout(tmp_path, bundled_corpus):
    trained = make_trained(BASE_LIKE, seed=4)._replace(cased=True)
    export_saved_model(trained, f"{tmp_path}/made")
    signature = tf.saved_model.load(f"{tmp_path}/made").signatures["token_features"]
    for text in [*sentences_of(bundled_corpus, 10), "The É thé e\u0301"]:
        found, ids = call(signature, text), encode(text, cased=True)
        assert found["ids"].tolist() == [ids]
        expected = hide(trained, ids)
        np.testing.assert_allclose(
            found["hidden_states"][0], expected, rtol=0, atol=2e-6
        )  # as above


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_seq_length": 2}, "max_seq_length must be at least 3, got 2"),
        ({"top": 0}, rf"top must be from 1 to {len(TOKENS) - 106:,}, the tokens that can be"),
        ({"top": len(TOKENS) - 105}, "top must be from 1 to"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, trained, options, expected):
    with pytest.raises(ValueError, match=expected):
        export_saved_model(trained, f"{tmp_path}/made", **options)
    assert os.listdir(tmp_path) == []


def test_folder_that_is_not_empty_is_refused(tmp_path, trained):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        export_saved_model(trained, str(tmp_path))
    assert os.listdir(tmp_path) == ["file"]


def test_mask_id_is_what_the_model_learns():
    assert TOKENS[MASK_ID] == "[MASK]" and TINY_LIKE.vocab_size == len(TOKENS)
