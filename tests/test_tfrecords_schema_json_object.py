import pytest

from tfrecords_schema.json_object import parse_object


@pytest.mark.parametrize("text", ['{"名": [1, null]}', '{"名": [1, null]}'.encode()])
def test_parse_object_reads_text_and_bytes(text):
    assert parse_object(text) == {"名": [1, None]}


@pytest.mark.parametrize("text", ["[]", "null", "7", '"{}"', b"[{}]"])
def test_parse_object_refuses_other_json(text):
    with pytest.raises(ValueError, match=r"^no JSON object$"):
        parse_object(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("{'a': 1}", "Expecting property name"),
        (b"\xff{}", "codec can't decode"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' * 100_000, "nested too deep"),
        ("9" * 5_000, "integer string conversion"),
    ],
)
def test_parse_object_refuses_what_is_no_json_and_says_why(text, why):
    with pytest.raises(ValueError, match=f"^not JSON: .*{why}"):
        parse_object(text)
