import json

import pytest
import zstandard

from vocab import document_files
from vocab.counting import TokenCounts, count_tokens
from vocab.document_files import Document, count_document_files, read_documents


def line_of(text, split="train"):
    document = {
        **{"doc_id": "wiki-train-a-0", "corpus": "wiki", "split": split},
        **{"upstream_id": "7", "text": text},
    }
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


@pytest.fixture
def write_frames(tmp_path):
    """Returns a function that writes each piece of bytes as one zstd frame of a file."""

    def write(name, *frames):
        path = tmp_path / name
        path.write_bytes(b"".join(map(zstandard.ZstdCompressor().compress, frames)))
        return path

    return write


def test_count_document_files_counts_all_frames_of_all_files(write_frames):
    paths = [
        write_frames("a.jsonl.zst", line_of("一二") + line_of("The 二"), line_of("the\n三")),
        write_frames("b.jsonl.zst", line_of("三三")),
    ]
    counts = count_document_files(paths)
    assert counts.characters == {"一": 1, "二": 2, "三": 3}
    assert counts.words == {"the": 2}


def test_count_document_files_leaves_held_out_documents_out(write_frames):
    path = write_frames(
        "a.jsonl.zst", line_of("一", "train") + line_of("二", "eval") + line_of("三", "test")
    )
    assert count_document_files([path]).characters == {"一": 1}


def test_count_document_files_documents_do_not_run_into_each_other(write_frames):
    path = write_frames("a.jsonl.zst", line_of("ab") + line_of("cd"))
    assert count_document_files([path]).words == {"ab": 1, "cd": 1}


def test_count_document_files_last_line_without_line_feed_counts_too(write_frames):
    path = write_frames("a.jsonl.zst", line_of("一") + line_of("二").removesuffix(b"\n"))
    assert count_document_files([path]).characters == {"一": 1, "二": 1}


def test_count_document_files_line_separator_in_a_text_ends_no_line(write_frames):
    path = write_frames("a.jsonl.zst", line_of("a\u2028b\u0085c\x1ed") + line_of("e"))
    assert count_document_files([path]).words == {"a": 1, "bcd": 1, "e": 1}


@pytest.mark.parametrize("batch_chars", [1, 3, 10, 1000])
def test_count_document_files_any_batch_size_gives_the_same_counts(
    write_frames, monkeypatch, batch_chars
):
    texts = ["一二 ab", "", "ab", "三" * 20, "cd", "É"]
    path = write_frames("a.jsonl.zst", *map(line_of, texts))
    monkeypatch.setattr(document_files, "BATCH_CHARS", batch_chars)
    assert count_document_files([path]) == count_tokens(texts)


@pytest.mark.parametrize("many_words", [1, 2, 7, 10_000])
def test_count_document_files_any_number_of_temporary_files_gives_the_same_counts(
    write_frames, monkeypatch, many_words
):
    texts = [f"the word{number % 40} 一 x{number}" for number in range(100)]
    paths = [
        write_frames("a.jsonl.zst", *map(line_of, texts[:60])),
        write_frames("b.jsonl.zst", *map(line_of, texts[60:])),
    ]
    monkeypatch.setattr(document_files, "BATCH_CHARS", 50)
    monkeypatch.setattr(document_files, "_MANY_WORDS", many_words)
    assert count_document_files(paths) == count_tokens(texts)


@pytest.mark.parametrize("many_words", [1, 10_000])
def test_count_document_files_keeps_the_most_frequent_words_of_all_files(
    write_frames, monkeypatch, many_words
):
    # Each file has words of its own that are more frequent in it than the one that wins.
    paths = [
        write_frames(f"{name}.jsonl.zst", line_of(f"{name} {name} both third"))
        for name in ("one", "two", "six")
    ]
    monkeypatch.setattr(document_files, "_MANY_WORDS", many_words)
    monkeypatch.setattr("vocab.words.MAX_WORDS", 3)
    assert count_document_files(paths).words == {"both": 3, "third": 3, "one": 2}


def test_read_documents_gives_those_of_all_splits_in_order(write_frames):
    path = write_frames("a.jsonl.zst", line_of("一", "train") + line_of("二", "held_out"))
    assert list(read_documents(path)) == [
        Document("wiki", "train", "一"),
        Document("wiki", "held_out", "二"),
    ]


@pytest.mark.parametrize("frames", [[], [b""], [line_of("一", "eval")]])
def test_count_document_files_without_training_documents_gives_no_counts(write_frames, frames):
    counts = count_document_files([write_frames("a.jsonl.zst", *frames)])
    assert counts == TokenCounts.empty()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"{\n", id="not-json"),
        pytest.param(b"\n", id="empty"),
        pytest.param(b"[1]\n", id="list"),
        pytest.param(b'"text"\n', id="string"),
        pytest.param(b'{"corpus": "wiki", "text": "a"}\n', id="no-split"),
        pytest.param(b'{"corpus": "wiki", "split": "train"}\n', id="no-text"),
        pytest.param(b'{"split": "train", "text": "a"}\n', id="no-corpus"),
        pytest.param(b'{"corpus": "wiki", "split": 1, "text": "a"}\n', id="split-is-number"),
        pytest.param(
            b'{"corpus": "wiki", "split": "train", "text": "\\ud800"}\n', id="lone-surrogate"
        ),
        pytest.param(b'{"corpus": "wiki", "split": "train", "text": 5}\n', id="text-is-number"),
        pytest.param(b'{"corpus": "wiki", "split": "train", "text": null}\n', id="text-is-null"),
        pytest.param(b'{"corpus": "wiki", "split": "train", "text": "\xff"}\n', id="not-utf-8"),
    ],
)
def test_count_document_files_bad_line_raises_and_names_file_and_line(write_frames, line):
    path = write_frames("a.jsonl.zst", line_of("一"), line_of("二") + line, line_of("三"))
    with pytest.raises(ValueError) as caught:
        count_document_files([path])
    assert str(caught.value).startswith(f"{path}, line 3: no document of this pipeline (")
    assert str(caught.value).endswith("); make documents/ again")


def test_count_document_files_file_that_is_not_zstd_raises_and_names_it(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(line_of("一"))
    with pytest.raises((ValueError, OSError)) as caught:
        count_document_files([path])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("missing", [1, 10])
def test_count_document_files_cut_off_file_raises_and_names_it(write_frames, missing):
    path = write_frames("a.jsonl.zst", line_of("一"), line_of("二"))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises((ValueError, OSError)) as caught:
        count_document_files([path])
    assert str(path) in str(caught.value)
