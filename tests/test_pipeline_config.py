import dataclasses
import json

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
        (DocumentsConfig, "max_digit_sign_fraction", 1.001),
        (DocumentsConfig, "max_repeated_ngram_fraction", -0.001),
        (DocumentsConfig, "max_repeated_line_fraction", float("nan")),
        (DocumentsConfig, "max_mojibake_fraction", 1.001),
        (DocumentsConfig, "script", "traditional"),
        (DocumentsConfig, "blocklist", ("甲", "")),
        (DocumentsConfig, "min_paragraph_chars", 0),
        (DocumentsConfig, "min_chars", dict.fromkeys(MIN_CHARS, 0)),
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
        (DocumentsConfig, "max_digit_sign_fraction", 0),
        (DocumentsConfig, "max_repeated_ngram_fraction", 1),
        (DocumentsConfig, "max_repeated_line_fraction", 0),
        (DocumentsConfig, "max_mojibake_fraction", 1),
        (DocumentsConfig, "script", "keep"),
        (DocumentsConfig, "script", "simplified"),
        (DocumentsConfig, "blocklist", ()),
        (DocumentsConfig, "min_paragraph_chars", 1),
        (DocumentsConfig, "dedup", "near"),
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
        "max_digit_sign_fraction": 0.7,
        "max_repeated_ngram_fraction": 0.65,
        "max_repeated_line_fraction": 0.5,
        "max_mojibake_fraction": 0.05,
        "rules_off": [],
        "mask_personal_data": False,
        "script": "keep",
        "blocklist": [],
        "dedup": "near",
        "min_paragraph_chars": 50,
        "seed": 7,
        "shard_text_bytes": 33_554_432,
        "segmenter": "rjieba",
        "cased": False,
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
        DocumentsConfig(max_digit_sign_fraction=0.8),
        DocumentsConfig(max_repeated_ngram_fraction=0.7),
        DocumentsConfig(max_repeated_line_fraction=0.7),
        DocumentsConfig(max_mojibake_fraction=0.7),
        DocumentsConfig(rules_off=("white_space",)),
        DocumentsConfig(mask_personal_data=True),
        DocumentsConfig(script="simplified"),
        DocumentsConfig(blocklist=("甲",)),
        DocumentsConfig(dedup="none"),
        DocumentsConfig(dedup="exact"),
        DocumentsConfig(min_paragraph_chars=51),
        InstancesConfig(seed=1),
        InstancesConfig(shard_text_bytes=1),
        InstancesConfig(segmenter="jieba"),
        InstancesConfig(cased=True),
        InstancesConfig(masked_lm_prob=0.2),
        InstancesConfig(dupe_factor=2),
    ],
)
def test_digest_changes_with_every_field(config):
    assert digest(describe(config)) != digest(describe(type(config)()))


def test_digest_changes_with_every_field_of_a_config():
    """The list above names them all."""
    (changed,) = [
        mark.args[1]
        for mark in test_digest_changes_with_every_field.pytestmark
        if mark.name == "parametrize"
    ]
    for config in (DocumentsConfig, InstancesConfig):
        names = {
            field.name
            for field in dataclasses.fields(config)
            for other in changed
            if isinstance(other, config)
            and getattr(other, field.name) != getattr(config(), field.name)
        }
        assert names == {field.name for field in dataclasses.fields(config)}


def test_describe_of_a_blocklist_is_a_digest_that_tells_lists_apart():
    first, second, third = (
        describe(DocumentsConfig(blocklist=words))["blocklist"]
        for words in (("甲", "乙"), ("甲", "丙"), ("甲乙",))
    )
    assert len({*first, *second, *third}) == 3
    assert first[0].startswith("2 words, ") and third[0].startswith("1 words, ")
    assert "甲" not in first[0]


def test_describe_survives_json():
    fields = describe(DocumentsConfig(rules_off=("white_space",), blocklist=("甲",)))
    assert json.loads(json.dumps(fields)) == fields
