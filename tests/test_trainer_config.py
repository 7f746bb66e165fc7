"""Configurations of training: the released ones, JSON both ways, every field checked."""

import json

import pytest

from trainer.config import (
    MODELS,
    RELEASED_STAGES,
    ModelConfig,
    OptimizerConfig,
    StageConfig,
    TrainingConfig,
    read_config,
)

RELEASED = {
    "base": {
        "attention_head_size": 64,
        "hidden_act": ["gelu", "linear"],
        "hidden_dropout_prob": 0.1,
        "hidden_size": 768,
        "initializer_range": 0.02,
        "intermediate_size": 2048,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "type_vocab_size": 3,
        "vocab_size": 13686,
    },
    "tiny": {
        "attention_head_size": 32,
        "hidden_act": ["gelu", "linear"],
        "hidden_dropout_prob": 0,
        "dropout_rate": 0,
        "hidden_size": 384,
        "embedding_size": 128,
        "initializer_range": 0.02,
        "intermediate_size": 1024,
        "num_attention_heads": 12,
        "num_hidden_layers": 4,
        "type_vocab_size": 3,
        "vocab_size": 13686,
    },
}
STAGE = {"max_seq_length": 128, "optimizer_steps": 10, "learning_rate": 1e-3}


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_are_verbatim(name):
    assert MODELS[name].to_json() == RELEASED[name]
    assert ModelConfig.from_json(RELEASED[name], name) == MODELS[name]


def test_released_stages_are_verbatim():
    first, second = RELEASED_STAGES
    assert (first.max_seq_length, first.optimizer_steps) == (128, 250_000)
    assert (second.max_seq_length, second.optimizer_steps) == (512, 25_000)
    assert first.learning_rate == pytest.approx(0.0017677669529663688, rel=1e-15)
    assert second.learning_rate == first.learning_rate / 10
    assert {stage.global_batch_size for stage in RELEASED_STAGES} == {4096}
    assert {stage.warmup_steps for stage in RELEASED_STAGES} == {0}
    assert OptimizerConfig() == OptimizerConfig(
        name="lamb", weight_decay_rate=0.01, excluded=("Norm", "bias"), bias_correction=True
    )


def test_config_survives_json():
    config = TrainingConfig(
        model=MODELS["tiny"],
        optimizer=OptimizerConfig(name="adamw"),
        stages=(StageConfig(**STAGE, warmup_steps=3),),
        masking="dynamic",
    )
    assert read_config(json.dumps(config.to_json()), "x.json") == config


def test_model_may_be_named_in_json():
    assert read_config('{"model": "tiny"}', "x.json").model == MODELS["tiny"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"x\.json: not JSON"),
        ("[]", r"x\.json: no JSON object"),
        ("[" * 9_999, r"x\.json: not JSON: nested too deep"),
        ('{"sed": 1}', r"x\.json: unknown field sed; fields are model, optimizer, "),
        ('{"model": "huge"}', r"x\.json: model: must be a JSON object, got 'huge'"),
        (
            '{"model": {"hidden_size": 4}}',
            r"x\.json: model: attention_head_size, .*, num_hidden_layers must be given, too",
        ),
        ('{"stages": [{"steps": 4}]}', r"x\.json: stages\[0\]: unknown field steps"),
        ('{"stages": []}', "stages must be a list of at least one stage"),
        ('{"masking": "none"}', "masking must be static or dynamic, got 'none'"),
        ('{"precision": "float16"}', "precision float16 is not supported: .* use .bfloat16"),
        ('{"precision": "int8"}', "precision must be auto, float32, bfloat16, got 'int8'"),
        ('{"optimizer": {"name": "sgd"}}', "optimizer: name must be lamb or adamw, got 'sgd'"),
        ('{"optimizer": {"beta_1": 1}}', "beta_1 must be from 0 to below 1, got 1"),
        ('{"seed": -1}', "seed must be at least 0, got -1"),
        ('{"seed": "x"}', r"x\.json: "),
        ('{"log_steps": 0}', "log_steps must be a whole number, at least 1, got 0"),
        ('{"save_steps": 1.5}', "save_steps must be a whole number, at least 1, got 1.5"),
    ],
)
def test_wrong_configs_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_config(text, "x.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer_steps": 0}, "optimizer_steps must be a whole number"),
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"warmup_steps": 11}, r"warmup_steps must be from 0 to optimizer_steps \(10\), got 11"),
        ({"micro_batch_size": True}, "micro_batch_size must be a whole number"),
    ],
)
def test_wrong_stages_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        StageConfig(**{**STAGE, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": ["relu"]}, "hidden_act must be"),
        ({"hidden_dropout_prob": 1}, "hidden_dropout_prob must be from 0 to below 1"),
        ({"vocab_size": 0}, "vocab_size must be a whole number"),
        ({"initializer_range": 0}, "initializer_range must be between 0 and 1"),
    ],
)
def test_wrong_models_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_json({**RELEASED["base"], **change}, "model")


@pytest.mark.parametrize(
    ("replicas", "micro", "expected"), [(1, 64, 64), (8, 512, 1), (8, 64, 8), (2, 2048, 1)]
)
def test_batch_is_replicas_times_micro_batch_times_accumulation(replicas, micro, expected):
    stage = StageConfig(**STAGE, global_batch_size=4096, micro_batch_size=micro)
    assert stage.grad_accum_steps(replicas) == expected


def test_batch_arithmetic_that_does_not_come_out_is_refused():
    stage = StageConfig(**STAGE, global_batch_size=4096, micro_batch_size=64)
    with pytest.raises(ValueError, match="4096 must be a multiple of 192, 3 replicas x micro_"):
        stage.grad_accum_steps(3)
