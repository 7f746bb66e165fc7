import dataclasses

import pytest

from pipeline.config import MIN_CHARS, DocumentsConfig, InstancesConfig, describe, digest


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (DocumentsConfig, "unit_bytes", 0),
        (DocumentsConfig, "unit_bytes", -1),
        (DocumentsConfig, "block_text_bytes", 0),
        (DocumentsConfig, "held_out_fraction", -0.001),
        (DocumentsConfig, "held_out_fraction", 1.001),
        (DocumentsConfig, "held_out_fraction", float("nan")),
        (DocumentsConfig, "min_chinese_fraction", -0.001),
        (DocumentsConfig, "min_chinese_fraction", 1.001),
        (DocumentsConfig, "min_chars", {}),
        (DocumentsConfig, "min_chars", {**MIN_CHARS, "weibo": 3}),
        (DocumentsConfig, "min_chars", {"plain": 3}),
        (DocumentsConfig, "dedup", "fuzzy"),
        (DocumentsConfig, "dedup", ""),
        (InstancesConfig, "seed", -1),
        (InstancesConfig, "shard_text_bytes", 0),
        (InstancesConfig, "segmenter", "pkuseg"),
        (InstancesConfig, "segmenter", ""),
        (InstancesConfig, "masked_lm_prob", -0.001),
        (InstancesConfig, "masked_lm_prob", 1.001),
        (InstancesConfig, "masked_lm_prob", float("nan")),
        (InstancesConfig, "dupe_factor", 0),
    ],
)
def test_config_refuses_bad_value_and_names_field_and_value(config, field, value):
    with pytest.raises(ValueError) as raised:
        config(**{field: value})
    message = str(raised.value)
    assert message.startswith(f"{field} must be ")
    assert message.endswith(f", got {value!r}")


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (DocumentsConfig, "unit_bytes", 1),
        (DocumentsConfig, "block_text_bytes", 1),
        (DocumentsConfig, "held_out_fraction", 0),
        (DocumentsConfig, "held_out_fraction", 1),
        (DocumentsConfig, "min_chinese_fraction", 0),
        (DocumentsConfig, "min_chinese_fraction", 1),
        (DocumentsConfig, "min_chars", dict.fromkeys(MIN_CHARS, 1)),
        (DocumentsConfig, "dedup", "exact"),
        (DocumentsConfig, "dedup", "none"),
        (InstancesConfig, "seed", 0),
        (InstancesConfig, "shard_text_bytes", 1),
        (InstancesConfig, "segmenter", "rjieba"),
        (InstancesConfig, "segmenter", "jieba"),
        (InstancesConfig, "masked_lm_prob", 0),
        (InstancesConfig, "masked_lm_prob", 1),
        (InstancesConfig, "dupe_factor", 1),
    ],
)
def test_config_takes_value_at_its_bound(config, field, value):
    assert getattr(config(**{field: value}), field) == value


def test_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        InstancesConfig().seed = 1


def test_config_defaults_share_no_dictionary():
    DocumentsConfig().min_chars["plain"] = 1
    assert DocumentsConfig().min_chars == MIN_CHARS
    assert MIN_CHARS["plain"] == 8


def test_describe_returns_the_fields_of_all_configs():
    assert describe(DocumentsConfig(), InstancesConfig(seed=7)) == {
        "unit_bytes": 16_777_216,
        "block_text_bytes": 262_144,
        "held_out_fraction": 0.01,
        "min_chars": MIN_CHARS,
        "min_chinese_fraction": 0.2,
        "dedup": "exact",
        "seed": 7,
        "shard_text_bytes": 33_554_432,
        "segmenter": "rjieba",
        "masked_lm_prob": 0.15,
        "dupe_factor": 1,
    }


def test_digest_of_fixed_fields_never_changes():
    # blake2b of {"a":1,"b":{"c":"文","d":0.5}} in UTF-8, 16 bytes.
    expected = "018259c5e5f1f260e3a3eaf100d93a9c"
    assert digest({"a": 1, "b": {"c": "文", "d": 0.5}}) == expected


def test_digest_ignores_the_order_of_fields():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    reversed_chars = dict(reversed(MIN_CHARS.items()))
    assert digest(describe(DocumentsConfig(min_chars=reversed_chars))) == digest(
        describe(DocumentsConfig())
    )


@pytest.mark.parametrize(
    "config",
    [
        DocumentsConfig(unit_bytes=1),
        DocumentsConfig(block_text_bytes=1),
        DocumentsConfig(held_out_fraction=0.02),
        DocumentsConfig(min_chars={**MIN_CHARS, "plain": 9}),
        DocumentsConfig(min_chinese_fraction=0.3),
        DocumentsConfig(dedup="none"),
        InstancesConfig(seed=1),
        InstancesConfig(shard_text_bytes=1),
        InstancesConfig(segmenter="jieba"),
        InstancesConfig(masked_lm_prob=0.2),
        InstancesConfig(dupe_factor=2),
    ],
)
def test_digest_changes_with_every_field(config):
    assert digest(describe(config)) != digest(describe(type(config)()))
