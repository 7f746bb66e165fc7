"""Finding of documents by their ids."""

from collections import Counter
from itertools import chain

import made_outputs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import files
from pipeline.errors import RunError
from pipeline.records import SPLITS, document_id
from pipeline.report.facts import read_manifest
from pipeline.report.lookup import Library, Place, parse_id

PARTS = 1000


def library_of(layout):
    return Library(layout, read_manifest(layout))


@pytest.fixture
def library(tmp_path):
    return library_of(made_outputs.make_outputs(tmp_path))


@given(
    st.text(st.characters(exclude_characters="/"), min_size=1),
    st.sampled_from(SPLITS),
    st.text(min_size=1),
    st.integers(min_value=0),
)
def test_id_parses_to_what_it_was_made_of(corpus, split, name, offset):
    found = parse_id(document_id(corpus, split, name, offset))
    assert found == (split, Place(corpus, name, offset))


@pytest.mark.parametrize(
    "text", ["", "wiki", "a/b", "a/b/c", "a/b/c:", "a/b/c:x", "a/b/c:-1", "a/b/c:²", "/b/c:1"]
)
def test_other_text_is_no_id(text):
    assert parse_id(text) is None


def test_every_kept_document_is_found(library):
    for document in chain.from_iterable(made_outputs.KEPT):
        assert library.find_document(document.doc_id) == document
        assert library.find_rejected(document.doc_id) is None


def test_every_rejection_is_found(library):
    for rejected in chain.from_iterable(made_outputs.LOST):
        assert library.find_rejected(rejected.doc_id) == rejected
        assert library.find_document(rejected.doc_id) is None


@pytest.mark.parametrize(
    "doc_id",
    [
        "no id",
        "webtext2019zh/train/web_text_zh_train.json:1",
        "webtext2019zh/train/web_text_zh_train.json:99999",
        "webtext2019zh/test/web_text_zh_train.json:0",
        "aaa/train/first:0",
        "zzz/train/last:0",
        "wiki2019zh/train/AA/wiki_01:0",
    ],
)
def test_what_is_not_there_is_not_found(library, doc_id):
    assert library.find_document(doc_id) is None
    assert library.find_rejected(doc_id) is None


def test_neighbours_of_an_unknown_id_are_the_documents_about_it(library):
    found = library.neighbours(f"webtext2019zh/train/{made_outputs.WEB}:1001")
    assert [document.doc_id for document in found] == [
        f"webtext2019zh/train/{made_outputs.WEB}:1000"
    ]


def test_directory_without_rejections_finds_none(tmp_path):
    layout = made_outputs.make_outputs(tmp_path, lost=[[], [], []])
    library = library_of(layout)
    assert library.find_rejected(made_outputs.LOST[0][0].doc_id) is None
    assert list(library.rejections()) == []


def test_directory_without_parts_finds_nothing(tmp_path):
    library = library_of(made_outputs.make_outputs(tmp_path, kept=[], lost=[]))
    assert library.find_document("a/train/b:0") is None
    assert library.find_rejected("a/train/b:0") is None


def test_rejections_come_in_the_order_of_the_corpus(library):
    assert list(library.rejections()) == list(chain.from_iterable(made_outputs.LOST))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A thousand parts of one file, every third without rejections."""
    kept = [
        [made_outputs.document("plain", "train", "a.jsonl", 100 * part, f"第{part}篇")]
        for part in range(PARTS)
    ]
    lost = [
        [made_outputs.rejection("plain", "train", "a.jsonl", 100 * part + 50, "too_short", "短")]
        if part % 3
        else []
        for part in range(PARTS)
    ]
    root = tmp_path_factory.mktemp("large")
    return library_of(made_outputs.make_outputs(root, kept=kept, lost=lost)), kept, lost


@pytest.mark.parametrize("part", [1, 499, 998])
def test_search_reads_few_of_many_parts(large, part, monkeypatch):
    library, kept, lost = large
    opened = Counter()
    really_open = files.open_for_reading

    def open_and_count(path, *fetch_bytes):
        opened[path] += 1
        return really_open(path, *fetch_bytes)

    monkeypatch.setattr(files, "open_for_reading", open_and_count)
    assert library.find_document(kept[part][0].doc_id) == kept[part][0]
    assert opened.total() <= 11  # 2^10 parts, and the one that is read
    opened.clear()
    assert library.find_rejected(lost[part][0].doc_id) == lost[part][0]
    assert opened.total() <= 2 * 10 + 1


def test_damaged_block_is_told(tmp_path):
    layout = made_outputs.make_outputs(tmp_path)
    library = library_of(layout)
    with open(layout.part(0, 3), "r+b") as file:
        file.write(b"\0" * 20)
    with pytest.raises(RunError, match="is damaged"):
        library.find_document(made_outputs.KEPT[0][0].doc_id)
