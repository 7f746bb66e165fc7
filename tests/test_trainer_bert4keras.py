import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import tensorflow as tf

from trainer._bert4keras import K, MultiHeadAttention, keras

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

# What a process may have done before it imports the trainer.
BEFORE = {
    "nothing": "",
    "keras": "import keras; keras.layers.Dense",
    "tensorflow": "import tensorflow",
    "tf.keras": "import tensorflow as tf; tf.keras.layers.Dense",
    "tf_keras": "import tf_keras; tf_keras.layers.Dense",
    "tf_keras, then keras": "import tf_keras, keras",
    "keras, then tf_keras": "import keras, tf_keras",
    "legacy tf.keras": """
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tensorflow as tf
        tf.keras.layers.Dense
        """,
    "bert4keras": "import bert4keras",
    "half of bert4keras, on Keras 3": """
        try:
            import bert4keras.models
        except (AttributeError, ImportError):
            pass
        else:
            raise AssertionError("bert4keras works on Keras 3: nothing is left to test")
        assert "bert4keras.backend" in sys.modules
        """,
    "all of bert4keras, on legacy Keras": """
        os.environ["TF_USE_LEGACY_KERAS"] = os.environ["TF_KERAS"] = "1"
        import bert4keras.models
        """,
    "TF_KERAS=0": 'os.environ["TF_KERAS"] = "0"',
    "no distutils": 'sys.modules["distutils"] = None',
}

STATE = """
import os, sys, warnings

def state():
    roots = ("distutils", "keras", "tensorflow.keras")
    modules = {name: module for name, module in sys.modules.items() if name.startswith(roots)}
    return modules, [os.environ.get(name) for name in ("TF_KERAS", "TF_USE_LEGACY_KERAS")]
"""

CHECK = """
assert modules_before.items() <= state()[0].items()
assert variables_before == state()[1]
assert ("distutils" in sys.modules) == ("distutils" in modules_before)
import tensorflow as tf, tf_keras
legacy = "TF_USE_LEGACY_KERAS" in os.environ
assert ("tensorflow.keras" in sys.modules) == ("tensorflow.keras" in modules_before)
assert tf.keras.layers.Dense.__module__.startswith("tf_keras." if legacy else "keras.")
assert tf_keras.optimizers.Optimizer is tf_keras.src.optimizers.optimizer.Optimizer
assert tf_keras.backend.update is tf_keras.src.backend.update
"""

USE = """
assert trainer.keras is tf_keras and trainer.K is tf_keras.backend
assert issubclass(trainer.Adam, tf_keras.optimizers.legacy.Optimizer)
ids = trainer.Input((None,))
outputs = trainer.BiasAdd()(trainer.Embedding(5, 3, mask_zero=True)(ids))
assert tf_keras.Model(ids, outputs).predict([[1, 2]], verbose=0).shape == (1, 2, 3)
"""


def run(*parts, pythonpath=""):
    script = "\n".join(textwrap.dedent(part) for part in parts)
    environment = {key: value for key, value in os.environ.items() if "KERAS" not in key}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{pythonpath}:{ROOT}"}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_bert4keras_works_whatever_was_imported_before_and_leaves_keras_alone(before):
    result = run(
        STATE,
        before,
        "modules_before, variables_before = state()",
        'warnings.simplefilter("error")',
        "import trainer._bert4keras as trainer",
        CHECK,
        USE,
        'print("works")',
    )
    assert result.stdout == "works\n", result.stderr


FAILS = """
modules_before, variables_before = state()
try:
    import trainer._bert4keras
except ImportError as error:
    print(error)
assert not any(name.startswith("bert4keras") for name in sys.modules)
"""


def test_missing_bert4keras_names_the_command_and_leaves_keras_alone():
    blocked = """
        class Blocked:
            def find_spec(name, path=None, target=None):
                if name.startswith("bert4keras"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Blocked)
        """
    result = run(STATE, blocked, FAILS, CHECK)
    assert (result.stdout, result.returncode) == (
        "The trainer needs bert4keras 0.9.9: `pip install --no-deps bert4keras==0.9.9`\n",
        0,
    ), result.stderr


def test_other_version_of_bert4keras_is_refused_and_leaves_keras_alone(tmp_path):
    (tmp_path / "bert4keras").mkdir()
    (tmp_path / "bert4keras" / "__init__.py").write_text("__version__ = '0.11.4'\n")
    result = run(STATE, FAILS, CHECK, pythonpath=tmp_path)
    assert (result.stdout, result.returncode) == (
        "The trainer needs bert4keras 0.9.9, not 0.11.4: "
        "`pip install --no-deps bert4keras==0.9.9`\n",
        0,
    ), result.stderr


def test_no_other_module_of_the_trainer_imports_keras_or_bert4keras():
    imports = {
        (path.name, name.partition(".")[0])
        for path in (ROOT / "trainer").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {file for file, name in imports if "keras" in name} == {"_bert4keras.py"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_masks_take_the_dtype_of_what_they_mask(dtype):
    # Both masks of a layer of attention: padded keys are not seen, padded queries give 0.
    layer = MultiHeadAttention(heads=1, head_size=2, dtype=dtype, kernel_initializer="ones")
    values = tf.cast([[[1.0, 2.0], [4.0, 8.0]]], dtype)
    mask = tf.constant([[True, False]])
    keras.mixed_precision.set_global_policy(dtype)
    try:
        outputs = layer([values, values, values], mask=[mask, mask, mask])
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert outputs.dtype == dtype
    assert tf.cast(outputs, "float32").numpy().tolist() == [[[6.0, 6.0], [0.0, 0.0]]]
    assert K.floatx() == "float32"
