import hashlib
import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RunError
from pipeline.ledger import DOCUMENTS, KEPT, READ, REJECTED
from pipeline.manifest import Manifest, load_manifest, parse_manifest
from pipeline.records import HELD_OUT, TRAIN, Block, Skipped

CONFIG = {"dedup": "exact", "min_chars": {"plain": 8}, "held_out_fraction": 0.01, "名": "文"}
LEDGER = {
    ("plain", TRAIN, DOCUMENTS, READ): 10,
    ("plain", TRAIN, DOCUMENTS, KEPT): 7,
    ("plain", TRAIN, DOCUMENTS, "too_short"): 3,
    ("plain", TRAIN, REJECTED, "too_short"): 12,
    ("plain", TRAIN, READ, ""): 1 << 40,
    ("wiki2019zh", HELD_OUT, DOCUMENTS, READ): 1,
    ("wiki2019zh", HELD_OUT, DOCUMENTS, KEPT): 1,
}
BLOCKS = [
    Block(0, 0, 50, "plain", TRAIN, 3, 300),
    Block(0, 50, 60, "plain", TRAIN, 4, 410),
    Block(2, 0, 9, "wiki2019zh", HELD_OUT, 1, 20),
    Block(10, 0, 9, "wiki2019zh", TRAIN, 1, 20),
]


SKIPPED = [
    Skipped("", "", "wiki_zh_2019.zip", 0, 0, "byte 9: is no zip file or cut off here (…)"),
    Skipped("plain", TRAIN, "a.jsonl", 10, 20, "byte 15: the file ends here"),
]


def manifest_of(ledger=LEDGER, blocks=BLOCKS, skipped=SKIPPED):
    return Manifest(CONFIG, 11, Counter(ledger), list(blocks), list(skipped))


def test_manifest_round_trips():
    assert parse_manifest(manifest_of().to_json(), "manifest.json") == manifest_of()


def test_manifest_without_documents_round_trips():
    manifest = manifest_of({}, [], [])
    assert parse_manifest(manifest.to_json(), "manifest.json") == manifest


names = st.text(min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.tuples(names, names, names, st.text(max_size=5)), st.integers(1, 1 << 50), max_size=6
    ),
    st.lists(
        st.builds(
            Block,
            *[st.integers(0, 1 << 50)] * 3,
            corpus=names,
            split=names,
            documents=st.integers(),
            text_bytes=st.integers(),
        ),
        max_size=6,
    ),
    st.lists(
        st.builds(Skipped, *[st.text(max_size=5)] * 3, *[st.integers(0)] * 2, st.text(max_size=5)),
        max_size=3,
    ),
)
def test_manifest_of_anything_round_trips_blocks_in_order(ledger, blocks, skipped):
    parsed = parse_manifest(manifest_of(ledger, blocks, skipped).to_json(), "manifest.json")
    assert parsed == manifest_of(ledger, sorted(blocks), skipped)


@settings(max_examples=30, deadline=None)
@given(st.permutations(sorted(LEDGER.items())), st.permutations(BLOCKS))
def test_manifest_has_same_bytes_whatever_the_arrival_order(ledger, blocks):
    assert manifest_of(dict(ledger), blocks).to_json() == manifest_of().to_json()


def test_manifest_outcomes_are_the_documents_of_its_ledger():
    assert manifest_of().outcomes == {
        ("plain", TRAIN, READ): 10,
        ("plain", TRAIN, KEPT): 7,
        ("plain", TRAIN, "too_short"): 3,
        ("wiki2019zh", HELD_OUT, READ): 1,
        ("wiki2019zh", HELD_OUT, KEPT): 1,
    }


def test_manifest_is_json_with_named_fields_and_a_line_a_block():
    data = manifest_of().to_json()
    assert json.loads(data) == {
        "format_version": 3,
        "config": CONFIG,
        "parts": 11,
        "ledger": [[*key, number] for key, number in sorted(LEDGER.items())],
        "skipped": [skipped._asdict() for skipped in SKIPPED],
        "block_fields": list(Block._fields),
        "blocks": [list(block) for block in BLOCKS],
    }
    assert data.endswith(b"\n")
    assert '[0, 50, 60, "plain", "train", 4, 410],' in data.decode().splitlines()


@pytest.mark.parametrize(
    ("data", "found"),
    [(b'{"format_version": 1}', "1"), (b'{"format_version": 4}', "4"), (b'{"parts": 1}', "None")],
)
def test_parse_manifest_refuses_other_format_and_says_what_to_do(data, found):
    with pytest.raises(RunError) as raised:
        parse_manifest(data, "out/documents/manifest.json")
    assert str(raised.value) == (
        f"out/documents/manifest.json: format {found}, this program reads 3; "
        "make the documents again with --overwrite"
    )


def test_parse_manifest_refuses_damaged_file_and_says_what_to_do():
    data = manifest_of().to_json()
    with pytest.raises(RunError) as raised:
        parse_manifest(data[: len(data) // 2], "out/documents/manifest.json")
    assert re.fullmatch(
        r"out/documents/manifest\.json: is damaged \(.+\); "
        r"make the documents again with --overwrite",
        str(raised.value),
    )


def damage_manifest(path, value):
    """Returns a manifest in which something else stands at a path of keys and indices."""
    fields = json.loads(manifest_of().to_json())
    *parents, last = path
    place = fields
    for key in parents:
        place = place[key]
    place[last] = value
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["config"], []),
        (["parts"], "11"),
        (["blocks"], 7),
        (["blocks", 0], [0, 0, 50]),
        (["blocks", 0, 1], "0"),
        (["blocks", 0, 2], -1),
        (["blocks", 0, 3], None),
        (["skipped", 0], {}),
        (["skipped", 0, "start"], "0"),
        (["skipped", 0, "more"], 0),
        (["ledger"], {"a": 1}),
        (["ledger", 0], ["plain", "train", "read", 7]),
        (["ledger", 0, 3], ["kept"]),
        (["ledger", 0, 4], "7"),
    ],
    ids=str,
)
def test_parse_manifest_refuses_fields_that_cannot_be(path, value):
    with pytest.raises(RunError) as raised:
        parse_manifest(damage_manifest(path, value), "m.json")
    assert str(raised.value).startswith("m.json: is damaged (")
    assert str(raised.value).endswith("); make the documents again with --overwrite")


def test_load_manifest_reads_the_file_of_this_digest(tmp_path):
    path, data = tmp_path / "manifest.json", manifest_of().to_json()
    path.write_bytes(data)
    assert load_manifest(str(path), hashlib.sha256(data).hexdigest()) == manifest_of()


def test_load_manifest_refuses_file_of_other_digest(tmp_path):
    path, data = tmp_path / "manifest.json", manifest_of().to_json()
    path.write_bytes(data)
    with pytest.raises(RunError) as raised:
        load_manifest(str(path), hashlib.sha256(data + b"\n").hexdigest())
    assert str(raised.value) == f"{path}: has changed since the run began; start again"


def test_load_manifest_reads_again_when_path_is_the_same_and_digest_is_new(tmp_path):
    path = tmp_path / "manifest.json"
    for manifest in (manifest_of(), manifest_of(blocks=BLOCKS[:1])):
        path.write_bytes(manifest.to_json())
        digest = hashlib.sha256(manifest.to_json()).hexdigest()
        assert load_manifest(str(path), digest) == manifest
