import json

import pytest
import zstandard

from vocab import cli, derivation
from vocab.derivation import derive_tokens
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import digest_vocab, format_vocab, parse_vocab

BERT_LIKE = [*SPECIAL_TOKENS, "的", "##的", "the", "##ing", "中国", "。"]


def document(doc_id, text, split="train"):
    return {
        **{"doc_id": doc_id, "corpus": "wiki", "split": split},
        **{"upstream_id": "7", "text": text},
    }


@pytest.fixture
def write_documents(tmp_path):
    """Returns a function that writes a file of documents/ and gives the directory."""

    def write(name, *documents):
        folder = tmp_path / "documents"
        folder.mkdir(exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in documents)
        (folder / name).write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
        return folder

    return write


@pytest.fixture
def documents(write_documents):
    write_documents(
        "part-00000-of-00002.jsonl.zst",
        document("a", "龘龘龘，playing 鱻鱻"),
        document("b", "爨 Playing", "held_out"),
    )
    return write_documents("part-00001-of-00002.jsonl.zst", document("c", "龘鱻playing\n，，"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "vocab.txt"


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def error_of(capsys):
    """Returns what stands behind the progress bar, which goes to the same place."""
    return capsys.readouterr().err.rpartition("build-vocab: ")[2]


def test_learn_writes_vocabulary_of_training_documents(documents, output, capsys):
    assert cli.main(["learn", f"--documents={documents}", f"--output={output}", "--size=400"]) == 0
    tokens = parse_vocab(output.read_bytes(), "vocab.txt", 400)
    assert tokens[294:297] == ["龘", "鱻", "，"]
    assert {"playing", "啊"} <= set(tokens)
    assert "爨" not in tokens
    first, characters, pieces, filling = capsys.readouterr().out.splitlines()
    assert first == f"{output}: 400 entries, sha256 {digest_vocab(tokens)}"
    assert characters == "3 characters; last admitted: 龘 鱻 ，; first left out: none"
    assert pieces == "1 word pieces; last admitted: playing; first left out: none"
    assert filling == "102 Chinese characters to fill up"
    assert files_in(output.parent) == ["documents", "vocab.txt"]


def test_learn_has_13686_entries_by_default(documents, output, capsys):
    assert cli.main(["learn", f"--documents={documents}", f"--output={output}"]) == 0
    parse_vocab(output.read_bytes(), "vocab.txt", 13_686)
    assert capsys.readouterr().out.startswith(f"{output}: 13,686 entries, sha256 ")


def test_learn_and_report_cased_keep_case(write_documents, output, capsys):
    folder = write_documents("a.jsonl.zst", document("a", "Playing with MAIL，playing Playing É"))
    common = f"--documents={folder}", "--cased"
    assert cli.main(["learn", *common, f"--output={output}", "--size=320"]) == 0
    tokens = parse_vocab(output.read_bytes(), "vocab.txt", 320)
    assert {"Playing", "MAIL", "É"} <= set(tokens)
    capsys.readouterr()
    assert cli.main(["report", *common, f"--vocab={output}"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["wiki", "train", "1", "1", "31", "100.0000%", "0", "0.0000%", "0.2258", "1.0000"]
    assert cli.main(["report", common[0], f"--vocab={output}"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[5:7] == ["100.0000%", "0"] and float(row[-1]) > 1


def test_learn_same_documents_in_other_files_give_the_same_bytes(
    documents, write_documents, output
):
    arguments = ["learn", f"--documents={documents}", f"--output={output}", "--size=400"]
    assert cli.main(arguments) == 0
    first = output.read_bytes()
    for path in documents.iterdir():
        path.unlink()
    write_documents("x.jsonl.zst", document("c", "龘鱻playing\n，，"))
    write_documents("y.jsonl.zst", document("a", "龘龘龘，playing 鱻鱻"))
    assert cli.main(arguments) == 0
    assert output.read_bytes() == first


def test_learn_directory_without_documents_fails_and_names_it(tmp_path, output, capsys):
    (tmp_path / "notes.txt").write_text("x")
    assert cli.main(["learn", f"--documents={tmp_path}", f"--output={output}"]) == 2
    assert error_of(capsys) == f"--documents={tmp_path}: no *.jsonl.zst file there\n"
    assert files_in(tmp_path) == ["notes.txt"]


def test_learn_missing_directory_fails_and_names_it(tmp_path, output, capsys):
    missing = tmp_path / "missing"
    assert cli.main(["learn", f"--documents={missing}", f"--output={output}"]) == 2
    assert error_of(capsys) == f"--documents={missing}: no *.jsonl.zst file there\n"


def test_learn_size_too_small_fails_and_leaves_the_old_file(documents, output, capsys):
    output.write_text("old")
    arguments = ["learn", f"--documents={documents}", f"--output={output}", "--size=293"]
    assert cli.main(arguments) == 1
    assert error_of(capsys) == "size must be at least 294, got 293\n"
    assert output.read_text() == "old"


def test_learn_bad_document_fails_and_names_file_and_line(write_documents, output, capsys):
    folder = write_documents("a.jsonl.zst", document("a", "一"), {"text": "二"})
    assert cli.main(["learn", f"--documents={folder}", f"--output={output}"]) == 1
    assert error_of(capsys) == (
        f"{folder / 'a.jsonl.zst'}, line 2: no document of this pipeline ('corpus'); "
        "make documents/ again\n"
    )
    assert not output.exists()


def test_learn_file_that_is_not_zstd_fails_and_names_it(documents, output, capsys):
    bad = documents / "bad.jsonl.zst"
    bad.write_bytes(b"plain text\n")
    assert cli.main(["learn", f"--documents={documents}", f"--output={output}"]) == 1
    assert str(bad) in error_of(capsys)


def test_derive_writes_the_entries_that_can_be_emitted(monkeypatch, tmp_path, output, capsys):
    bert_vocab = tmp_path / "bert.txt"
    bert_vocab.write_bytes(format_vocab(BERT_LIKE))
    expected = [*SPECIAL_TOKENS, "的", "the", "##ing", "。"]
    monkeypatch.setattr(derivation, "DERIVED_SHA256", digest_vocab(expected))
    assert cli.main(["derive", f"--bert_vocab={bert_vocab}", f"--output={output}"]) == 0
    assert output.read_bytes() == format_vocab(expected)
    printed = f"{output}: 110 entries, sha256 {digest_vocab(expected)}\n"
    assert capsys.readouterr().out == printed
    assert files_in(tmp_path) == ["bert.txt", "vocab.txt"]


def test_derive_other_vocabulary_fails_and_says_how_it_differs(tmp_path, output, capsys):
    bert_vocab = tmp_path / "bert.txt"
    bert_vocab.write_bytes(format_vocab(BERT_LIKE))
    assert len(derive_tokens(BERT_LIKE)) == 110
    assert cli.main(["derive", f"--bert_vocab={bert_vocab}", f"--output={output}"]) == 1
    assert error_of(capsys) == (
        f"{bert_vocab} is not Google's Chinese BERT vocabulary: it has 112 entries of which 110 "
        "can be emitted; Google's Chinese BERT has 21128 of which 13686 can\n"
    )
    assert not output.exists()


def test_derive_damaged_vocabulary_fails_and_names_the_line(tmp_path, output, capsys):
    bert_vocab = tmp_path / "bert.txt"
    bert_vocab.write_bytes(format_vocab([*BERT_LIKE, "的"]))
    assert cli.main(["derive", f"--bert_vocab={bert_vocab}", f"--output={output}"]) == 1
    assert error_of(capsys) == (
        f"{bert_vocab}, line 113: '的' stands in line 107 already; every token must stand once\n"
    )


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_derive_missing_file_fails_and_names_it(tmp_path, output, capsys, name):
    path = tmp_path / name
    assert cli.main(["derive", f"--bert_vocab={path}", f"--output={output}"]) == 2
    assert error_of(capsys) == f"--bert_vocab={path}: no such file\n"


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "own.txt"
    letters = sorted({"a", "g", "i", "l", "n", "p", "y"})
    tokens = [*SPECIAL_TOKENS, "龘", "，", "play", "##ing", *letters, *("##" + c for c in letters)]
    path.write_bytes(format_vocab(tokens))
    return path


def test_report_prints_what_a_vocabulary_makes_of_each_split(documents, vocab, capsys):
    assert cli.main(["report", f"--documents={documents}", f"--vocab={vocab}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:5]] == [
        ["wiki", "train", "1", "2", "24", "87.5000%", "3", "21.4286%", "0.5833", "2.0000"],
        ["all", "train", "1", "2", "24", "87.5000%", "3", "21.4286%", "0.5833", "2.0000"],
        ["wiki", "held_out", "1", "1", "8", "87.5000%", "1", "33.3333%", "0.3750", "2.0000"],
        ["all", "held_out", "1", "1", "8", "87.5000%", "1", "33.3333%", "0.3750", "2.0000"],
    ]
    assert lines[6].startswith(f"1: {vocab}: 124 entries, sha256 ")
    assert lines[7] == "   106 special, 16 Latin, 1 Chinese characters, 1 punctuation"
    assert lines[8] == "   last characters inside:   ， 2 龘 2"
    assert lines[9] == "   first characters outside: 鱻 2 (1 in all)"
    assert lines[10] == "   first words outside:      playing 2"


def test_report_against_another_vocabulary_puts_both_beside_each_other(
    documents, vocab, tmp_path, capsys
):
    other = tmp_path / "other.txt"
    other.write_bytes(format_vocab([*SPECIAL_TOKENS, "鱻"]))
    output = tmp_path / "report.json"
    arguments = [f"--documents={documents}", f"--vocab={vocab}", f"--against={other}"]
    assert cli.main(["report", *arguments, f"--output={output}"]) == 0
    report = json.loads(output.read_text("utf-8"))
    assert [found["name"] for found in report["vocabularies"]] == [str(vocab), str(other)]
    assert [found["entries"] for found in report["vocabularies"]] == [124, 107]
    held_out = [row for row in report["coverage"] if row["split"] == "held_out"]
    assert [(row["corpus"], row["vocabulary"]) for row in held_out] == [
        *(("wiki", str(vocab)), ("wiki", str(other)), ("all", str(vocab)), ("all", str(other)))
    ]
    assert [row["unknown_tokens"] for row in held_out] == [1, 2, 1, 2]
    printed = capsys.readouterr().out
    assert f"\n2: {other}: 107 entries" in printed and f"\n1: {vocab}: " in printed


@pytest.mark.parametrize("option", ["vocab", "against"])
def test_report_bad_vocabulary_fails_and_names_the_line(documents, vocab, tmp_path, capsys, option):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(format_vocab([*SPECIAL_TOKENS, "的", "的"]))
    files = {"vocab": vocab} | {option: bad}
    given = [f"--{name}={path}" for name, path in files.items()]
    assert cli.main(["report", f"--documents={documents}", *given]) == 1
    assert f"{bad}, line 108: '的' stands in line 107 already" in error_of(capsys)
    files[option] = tmp_path / "nowhere.txt"
    given = [f"--{name}={path}" for name, path in files.items()]
    assert cli.main(["report", f"--documents={documents}", *given]) == 2
    assert error_of(capsys) == f"--{option}={files[option]}: no such file\n"


def test_report_directory_without_documents_fails_and_names_it(vocab, tmp_path, capsys):
    assert cli.main(["report", f"--documents={tmp_path}", f"--vocab={vocab}"]) == 2
    assert error_of(capsys) == f"--documents={tmp_path}: no *.jsonl.zst file there\n"


def test_output_in_missing_directory_fails_and_names_it(documents, tmp_path, capsys):
    output = tmp_path / "missing" / "vocab.txt"
    arguments = ["learn", f"--documents={documents}", f"--output={output}", "--size=400"]
    assert cli.main(arguments) == 1
    assert str(output.parent) in error_of(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no-command"),
        pytest.param(["fly"], id="unknown-command"),
        pytest.param(["learn"], id="nothing-given"),
        pytest.param(["learn", "--documents=x"], id="no-output"),
        pytest.param(["learn", "--output=x"], id="no-documents"),
        pytest.param(["derive", "--output=x"], id="no-bert-vocab"),
        pytest.param(["derive", "--bert_vocab=x"], id="derive-no-output"),
        pytest.param(["report", "--documents=x"], id="report-no-vocab"),
        pytest.param(["report", "--vocab=x"], id="report-no-documents"),
        pytest.param(["learn", "--doc=x", "--output=x"], id="abbreviated"),
        pytest.param(["learn", "--documents=x", "--output=x", "--size=many"], id="size-no-number"),
        pytest.param(["derive", "--bert_vocab=x", "--output=x", "--size=9"], id="derive-size"),
    ],
)
def test_wrong_usage_ends_with_2_and_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: build-vocab ")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--help"], ["learn", "derive", "report"]),
        (["report", "--help"], ["--documents", "--vocab", "--against", "--cased", "--output"]),
        (["learn", "--help"], ["--documents", "--size", "13686", "--cased", "--output"]),
        (["derive", "--help"], ["--bert_vocab", "--output"]),
    ],
)
def test_help_names_every_option(arguments, options, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert [option for option in options if option not in printed] == []
