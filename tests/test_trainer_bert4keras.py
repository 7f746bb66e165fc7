import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import tensorflow as tf
import tf_keras

from trainer import _bert4keras

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

SCRIPT = """
import os, sys, warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pass
{before}
def state():
    import tensorflow as tf, tf_keras
    names = [name for name in sys.modules if name.split(".")[0] in ("keras", "distutils")]
    modules = {{name: sys.modules[name] for name in names}}
    return modules, tf.keras.__version__, dict(os.environ), dict(vars(tf_keras.optimizers)), {{
        name: value for name, value in vars(tf_keras.backend).items() if name != "symbolic"
    }}

warnings.simplefilter("error")
if {state_first}:
    before = state()
import trainer._bert4keras as b
after = state()
if {state_first}:
    assert after[0].items() >= before[0].items() and after[1:] == before[1:]
assert ("tensorflow.keras" in sys.modules) == ("TF_USE_LEGACY_KERAS" in os.environ and False)
import tf_keras
assert b.keras is tf_keras and b.K is tf_keras.backend
assert issubclass(b.Embedding, tf_keras.layers.Embedding)
assert issubclass(b.Adam, tf_keras.optimizers.legacy.Optimizer)
assert not issubclass(tf_keras.optimizers.Optimizer, tf_keras.optimizers.legacy.Optimizer)
assert tf_keras.backend.update is tf_keras.src.backend.update
x = b.Input((None,))
y = b.BiasAdd()(b.Embedding(5, 3, mask_zero=True)(x))
assert tf_keras.Model(x, y).predict([[1, 2]], verbose=0).shape == (1, 2, 3)
print("works")
"""
