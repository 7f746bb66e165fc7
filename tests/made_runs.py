"""A run of a small model that takes seconds: its data, its configuration, its command."""

import dataclasses
import json

import made_models
from made_shards import LENGTH, VOCAB_SIZE, make_tfrecords

from trainer.cli import main
from trainer.config import StageConfig, TrainingConfig
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import digest_vocab, format_vocab

TOKENS = (*SPECIAL_TOKENS, *map(chr, range(0x4E00, 0x4E00 + VOCAB_SIZE - len(SPECIAL_TOKENS))))
MODEL = dataclasses.replace(made_models.SMALL, vocab_size=VOCAB_SIZE, num_hidden_layers=1)
STAGE = StageConfig(
    max_seq_length=LENGTH,
    optimizer_steps=4,
    learning_rate=1e-2,
    global_batch_size=4,
    micro_batch_size=4,
)
CONFIG = TrainingConfig(
    model=MODEL, stages=(STAGE,), precision="float32", jit_compile=False, log_steps=1, save_steps=1
)


def make_data(folder, tokens=TOKENS, held_out=()):
    """Writes shards of a vocabulary that the trainer takes; `held_out` as in `make_tfrecords`."""
    made = make_tfrecords(folder, [[24]], held_out, vocab_sha256=digest_vocab(tokens))
    (folder / "vocab.txt").write_bytes(format_vocab(tokens))
    return made


def write_config(path, **changes):
    """Writes the configuration; returns the path."""
    path.write_text(json.dumps(dataclasses.replace(CONFIG, **changes).to_json()))
    return path


def train(output, data, *flags, **changes):
    """Runs the command in this process; returns its exit code."""
    config = write_config(output.parent / "given.json", **changes)
    return main(["train", f"--config={config}", f"--data={data}", f"--output={output}", *flags])
