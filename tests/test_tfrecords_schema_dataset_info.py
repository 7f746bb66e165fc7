import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecords_schema.dataset_info import FILE_NAME, DatasetInfo

INFO = DatasetInfo(
    max_predictions_per_seq={128: 24, 512: 88},
    dupe_factor=2,
    records={"128/train-0-00000-of-00001.tfrecord": 1234, "512/eval-wiki-00000-of-00001": 0},
    vocab_size=13_686,
    vocab_sha256="ab" * 32,
    tokenizer={"kind": "BERT WordPiece", "do_lower_case": True},
    config={"seed": 7, "dedup": "near", "名": "中文"},
    config_digest="cd" * 16,
    statistics={"128": {"train": {"fill": 0.9935}}},
)
FIELD_NAMES = sorted(field.name for field in dataclasses.fields(DatasetInfo))
FIELDS_MESSAGE = (
    "x.json: fields must be exactly config, config_digest, dupe_factor, max_predictions_per_seq, "
    "records, schema_version, statistics, tokenizer, vocab_sha256, vocab_size"
)


def message_of(text, name="x.json"):
    with pytest.raises(ValueError) as caught:
        DatasetInfo.from_json(text, name)
    return str(caught.value)


def test_dataset_info_round_trips_with_lengths_as_numbers():
    read = DatasetInfo.from_json(INFO.to_json())
    assert read == INFO
    assert read.max_predictions_per_seq == {128: 24, 512: 88}
    assert read.schema_version == 1


@given(
    st.builds(
        DatasetInfo,
        max_predictions_per_seq=st.dictionaries(st.integers(1, 4096), st.integers(0, 999)),
        dupe_factor=st.integers(1, 99),
        records=st.dictionaries(st.text(), st.integers(0)),
        vocab_size=st.integers(0),
        vocab_sha256=st.text(),
        tokenizer=st.dictionaries(st.text(), st.text() | st.booleans() | st.none()),
        config=st.dictionaries(st.text(), st.floats(allow_nan=False) | st.lists(st.text())),
        config_digest=st.text(),
        statistics=st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers())),
    )
)
def test_dataset_info_any_values_round_trip(info):
    assert DatasetInfo.from_json(info.to_json()) == info


def test_to_json_same_content_in_other_order_gives_the_same_text():
    turned = dataclasses.replace(
        INFO,
        max_predictions_per_seq={512: 88, 128: 24},
        records=dict(reversed(INFO.records.items())),
        config=dict(reversed(INFO.config.items())),
    )
    assert turned.to_json() == INFO.to_json()


def test_to_json_is_readable_json_with_one_line_feed_at_the_end():
    text = INFO.to_json()
    assert text.endswith("}\n") and not text.endswith("\n\n")
    assert '"名": "中文"' in text
    assert json.loads(text)["records"] == INFO.records


def test_file_name_is_dataset_info_json():
    assert FILE_NAME == "dataset_info.json"


def test_from_json_other_schema_version_raises_and_says_what_to_do():
    fields = json.loads(INFO.to_json()) | {"schema_version": 2}
    assert message_of(json.dumps(fields)) == (
        "x.json: schema version 2, this program reads 1; make the records again"
    )


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_from_json_missing_field_raises_and_names_all_fields(name):
    fields = json.loads(INFO.to_json())
    del fields[name]
    assert message_of(json.dumps(fields)) == FIELDS_MESSAGE


def test_from_json_unknown_field_raises_and_names_all_fields():
    fields = json.loads(INFO.to_json()) | {"colour": "red"}
    assert message_of(json.dumps(fields)) == FIELDS_MESSAGE


@pytest.mark.parametrize("text", ["[]", "null", "7", '"text"'])
def test_from_json_no_object_raises_and_names_the_file(text):
    assert message_of(text) == "x.json: no JSON object"


def test_from_json_object_without_fields_raises_and_names_all_fields():
    assert message_of("{}") == FIELDS_MESSAGE


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("max_predictions_per_seq", [128], "max_predictions_per_seq cannot be [128]"),
        ("dupe_factor", "2", "dupe_factor cannot be '2'"),
        ("records", None, "records cannot be None"),
        ("config", [], "config cannot be []"),
        ("vocab_sha256", 7, "vocab_sha256 cannot be 7"),
        ("records", {"a": "7"}, "a count or length is none: 'str' object cannot be interpreted"),
        ("max_predictions_per_seq", {"128": 2.5}, "a count or length is none: 'float' object"),
        ("max_predictions_per_seq", {"wide": 2}, "a count or length is none: invalid literal"),
    ],
)
def test_from_json_field_of_another_type_raises_and_names_it(field, value, fault):
    fields = json.loads(INFO.to_json()) | {field: value}
    assert message_of(json.dumps(fields)).startswith(f"x.json: {fault}")


def test_from_json_takes_bytes_and_refuses_those_that_are_no_utf8():
    assert DatasetInfo.from_json(INFO.to_json().encode()) == INFO
    assert message_of(b"\xff{}").startswith("x.json: not JSON: ")


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", INFO.to_json()[:-3]])
def test_from_json_not_json_raises_and_names_the_file(text):
    assert message_of(text).startswith("x.json: not JSON: ")


def test_from_json_without_name_calls_the_file_dataset_info_json():
    with pytest.raises(ValueError, match=r"^dataset_info\.json: not JSON: "):
        DatasetInfo.from_json("no")
