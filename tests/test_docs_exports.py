"""Every snippet of docs/exports.md runs as it stands, in a process that knows nothing of ours."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_models import TOKENS, encode, make_trained, tokenizer

from trainer.fill_mask import fill_mask
from trainer.huggingface import export_huggingface
from trainer.released import export_released
from trainer.saved_model import export_saved_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^## (\w+)\n.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = dict(FENCED.findall((ROOT / "docs/exports.md").read_text("utf-8")))
EXPORTS = {
    "released": export_released,
    "saved_model": export_saved_model,
    "huggingface": export_huggingface,
}
ALONE = 'import sys\nassert not {"trainer", "vocab"} & sys.modules.keys()\nimport numpy as np\n'
TEXT = "今天[MASK]气很好"


def run(folder, trained, name, results):
    """Runs a snippet beside its export and returns what expressions on its names give."""
    EXPORTS[name](trained, f"{folder}/{name}")
    shutil.copy(ROOT / "tests/released_code.py", folder / "chinese_t5s.py")
    saved = ", ".join(f"{key}={expression}" for key, expression in results.items())
    script = f"{SNIPPETS[name]}\n{ALONE}np.savez('results.npz', {saved})\n"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=folder, env=environment, timeout=300
    )
    return np.load(folder / "results.npz")


@pytest.fixture(scope="module")
def trained():
    return make_trained()


def test_all_formats_have_a_snippet():
    assert list(SNIPPETS) == list(EXPORTS)


def test_snippet_of_released_gives_our_logits(tmp_path, trained):
    found = run(tmp_path, trained, "released", {"logits": "logits", "ids": "token_ids"})
    ids = np.array([encode("今天天气很好")])
    assert found["ids"].tolist() == ids[0].tolist()
    expected = trained.model.full([ids, np.zeros_like(ids)], training=False)
    # float32, summed in another order.
    np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=1e-5)


def test_snippet_of_saved_model_gives_our_candidate(tmp_path, trained):
    shapes = {"best": "best", "ids": "features['ids']", "vectors": "vectors"}
    found = run(tmp_path, trained, "saved_model", shapes)
    assert str(found["best"]) == fill_mask(trained, [TEXT])[0][0][0].token
    assert found["ids"][0].tolist() == encode(TEXT)
    assert found["vectors"].shape == (2, 16)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_snippet_of_huggingface_gives_our_logits(tmp_path, trained):
    shapes = {"logits": "logits.numpy()", "ids": "inputs.input_ids.numpy()", "best": "best"}
    found = run(tmp_path, trained, "huggingface", shapes)
    before, behind = map(tokenizer().encode, TEXT.split("[MASK]"))
    ids = np.array([[101, *before, 103, *behind, 102]])
    assert found["ids"].tolist() == ids.tolist()
    expected = trained.model.full([ids, np.zeros_like(ids)], training=False).numpy()
    # float32, summed in another order.
    np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=1e-5)
    assert found["best"].tolist() == [TOKENS[expected[0, len(before) + 1].argmax()]]
