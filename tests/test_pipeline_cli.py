"""What the command line says of bad input: one clear message each, and nothing half-done."""

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.blocks import read_rows
from pipeline.cli import main
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.vocab_file import format_vocab

NEWS = {"news_id": "1", "keywords": "", "title": "", "desc": "", "source": "", "time": ""}
GOOD = NEWS | {"content": "本市今天起试行新的公交线路，方便沿线居民出行，票价保持不变。"}
NEWS_FILE = "news2016zh_train.json"


@pytest.fixture
def vocab(tmp_path) -> str:
    path = tmp_path / "vocab.txt"
    path.write_bytes(format_vocab(select_tokens(TokenCounts.empty(), lambda words, size: [])))
    return str(path)


def call(capsys, *flags: str) -> tuple[int, str]:
    """Returns the exit code and what was printed as errors."""
    try:
        code = main([*flags, "--num_workers=1", "--quiet"])
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().err


def failed_before_writing(tmp_path: Path) -> bool:
    return not (tmp_path / "out").exists()


# --- Wrong usage: exit code 2, before anything is read or written ---


def test_missing_input_directory_is_named(capsys, tmp_path, vocab):
    code, said = call(
        capsys, "--input_dir=nowhere", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert (code, said) == (2, "pipeline: --input_dir=nowhere: no such directory\n")
    assert failed_before_writing(tmp_path)


def test_empty_input_directory_is_named(capsys, tmp_path, vocab):
    (tmp_path / "input").mkdir()
    code, said = call(
        capsys, f"--input_dir={tmp_path}/input", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert code == 2 and said.startswith(f"pipeline: --input_dir={tmp_path}/input: is empty")
    assert failed_before_writing(tmp_path)


def test_directory_without_a_corpus_lists_its_files(capsys, tmp_path, vocab, write_lines):
    folder = write_lines("notes.txt", [b"hello"])
    write_lines("photo.png", [b"\x89PNG"])
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert code == 2
    assert "none of 2 files is whole and of a known corpus (notes.txt, photo.png)" in said
    assert failed_before_writing(tmp_path)


def test_missing_input_dir_flag_is_named(capsys, tmp_path, vocab):
    code, said = call(capsys, f"--output_dir={tmp_path}/out", f"--vocab={vocab}")
    assert code == 2 and "--input_dir is needed" in said


def test_output_inside_input_is_refused(capsys, tmp_path, vocab, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={folder}/out", f"--vocab={vocab}"
    )
    assert code == 2 and "lies inside --input_dir" in said


def test_output_that_is_a_file_is_refused(capsys, tmp_path, vocab, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    (tmp_path / "out").write_text("mine")
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert code == 2 and "is a file; choose a directory" in said
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--num_wrokers=3", "unknown flag --num_wrokers; did you mean --num_workers?"),
        ("--regoin=here", "unknown flag --regoin; did you mean --region?"),
        ("--zzzzzzzz", "unknown flag --zzzzzzzz; --help lists all flags"),
        ("stray", "unknown stage 'stray'; stages are all, documents, instances"),
    ],
)
def test_unknown_flag_is_an_error_with_the_nearest_known_one(capsys, tmp_path, flag, said):
    code, printed = call(capsys, flag, "--input_dir=nowhere", f"--output_dir={tmp_path}/out")
    assert code == 2 and said in printed
    assert failed_before_writing(tmp_path)


@pytest.mark.slow
def test_known_beam_flag_is_accepted(capsys, tmp_path, vocab):
    code, said = call(
        capsys,
        "--region",
        "here",
        "--input_dir=nowhere",
        f"--output_dir={tmp_path}/out",
        f"--vocab={vocab}",
    )
    assert code == 2 and "no such directory" in said


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--seed=-1", "--seed must be at least 0, got -1"),
        ("--dupe_factor=0", "--dupe_factor must be at least 1, got 0"),
        ("--masked_lm_prob=1.5", "--masked_lm_prob must be a fraction from 0 to 1, got 1.5"),
        ("--held_out_fraction=2", "--held_out_fraction must be a fraction from 0 to 1, got 2.0"),
    ],
)
def test_value_out_of_range_is_named(capsys, tmp_path, flag, said):
    code, printed = call(capsys, flag, "--input_dir=nowhere", f"--output_dir={tmp_path}/out")
    assert (code, printed) == (2, f"pipeline: {said}\n")


def test_missing_vocabulary_file_is_named(capsys, tmp_path, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", "--vocab=nowhere.txt"
    )
    assert (code, said) == (2, "pipeline: --vocab=nowhere.txt: no such file\n")


def test_wrong_vocabulary_file_is_named_with_its_line(capsys, tmp_path, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("hello\nworld\n")
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={wrong}"
    )
    assert code == 2
    assert f"{wrong}, line 1: must be [PAD], which is missing" in said
    assert "build-vocab derive" in said
    assert failed_before_writing(tmp_path)


def test_vocabulary_of_another_size_is_refused(capsys, tmp_path, write_lines, vocab):
    folder = write_lines(NEWS_FILE, [GOOD])
    longer = tmp_path / "longer.txt"
    longer.write_bytes(Path(vocab).read_bytes() + b"##zzzz\n")
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={longer}"
    )
    assert code == 2 and "has 13687 entries, 13686 are needed" in said


def test_without_tensorflow_text_and_vocab_the_run_says_what_to_install(
    capsys, tmp_path, write_lines, monkeypatch
):
    folder = write_lines(NEWS_FILE, [GOOD])
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "tensorflow_text" else find_spec(name, *rest),
    )
    code, said = call(capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out")
    assert code == 2
    assert "pip install 'chinese-t5s[vocab]'" in said and "--vocab=vocab.txt" in said
    assert failed_before_writing(tmp_path)


def test_instances_without_documents_says_how_to_make_them(capsys, tmp_path, vocab):
    code, said = call(capsys, "instances", f"--output_dir={tmp_path}/out", f"--vocab={vocab}")
    assert code == 2 and "python -m pipeline documents" in said


@pytest.mark.parametrize("root", ["", "/", "//"])
def test_output_that_is_no_directory_of_its_own_is_refused(capsys, vocab, write_lines, root):
    folder = write_lines(NEWS_FILE, [GOOD])
    code, said = call(capsys, f"--input_dir={folder}", f"--output_dir={root}", f"--vocab={vocab}")
    assert code == 2 and "names no directory of its own" in said


def test_input_inside_a_folder_that_would_be_deleted_is_refused(
    capsys, tmp_path, vocab, write_lines
):
    write_lines(f"documents/{NEWS_FILE}", [GOOD])
    source = tmp_path / "input/documents"
    (source / NEWS_FILE).rename(source / "manifest.json")
    code, said = call(
        capsys, f"--input_dir={source}", f"--output_dir={tmp_path}/input", f"--vocab={vocab}"
    )
    assert code == 2 and "lies in a folder of --output_dir that would be deleted" in said
    assert (source / "manifest.json").exists()


@pytest.mark.parametrize("name", ["work/thesis.txt", "documents/cv.txt", "tfrecords/my.txt"])
def test_folder_with_files_of_somebody_else_is_not_deleted(
    capsys, tmp_path, vocab, write_lines, name
):
    folder = write_lines(NEWS_FILE, [GOOD])
    foreign = tmp_path / "out" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    flags = (f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={vocab}")
    code, said = call(capsys, *flags, "--overwrite")
    assert code == 2 and f"{foreign} is no file of this pipeline" in said
    assert foreign.read_text() == "mine"


def test_vocabulary_of_the_user_in_the_output_is_not_replaced(capsys, tmp_path, vocab, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/vocab.txt").write_text("mine")
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert code == 2 and "vocab.txt is there already and would be replaced" in said
    assert (tmp_path / "out/vocab.txt").read_text() == "mine"


def test_vocabulary_that_is_a_folder_is_an_error_of_one_line(capsys, tmp_path, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={tmp_path}"
    )
    assert code == 1 and "Is a directory" in said and said.count("\n") == 1


@pytest.mark.slow
def test_word_behind_a_beam_flag_without_value_is_an_error(capsys, tmp_path):
    code, said = call(capsys, "--save_main_session", "junk", f"--output_dir={tmp_path}/out")
    assert code == 2 and "unexpected argument 'junk'" in said


def test_unknown_runner_is_an_error(capsys, tmp_path):
    code, said = call(capsys, "--runner=Foo", f"--output_dir={tmp_path}/out")
    assert code == 2 and "argument --runner: invalid choice: 'Foo'" in said


# --- Broken lines: counted, recorded, never fatal by themselves ---

BROKEN_LINES = [
    ("not_json", b'{"title": "x", "desc": '),
    ("not_json", b'{"title": "a\x00b", "desc": "", "content": ""}'),
    ("not_an_object", b'["title", "desc", "content"]'),
    ("not_an_object", b"17"),
    ("missing_keys", b'{"title": "x"}'),
    ("not_text", b'{"title": "x", "desc": "", "content": 17}'),
    ("not_text", b'{"title": null, "desc": "", "content": ""}'),
    ("invalid_utf8", b'{"title": "\xff\xfe", "desc": "", "content": ""}'),
    ("lone_surrogate", b'{"title": "\\ud800", "desc": "", "content": ""}'),
]


@pytest.fixture(scope="module")
def broken_run(tmp_path_factory):
    """One run over a hundred good lines and every kind of broken one, an empty file beside."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "input").mkdir()
    good = [json.dumps(GOOD | {"title": f"第{n}号通告"}, ensure_ascii=False) for n in range(100)]
    escaped_nul = json.dumps(GOOD | {"title": "零\0号"}).encode()
    lines = [line.encode() for line in good] + [line for _, line in BROKEN_LINES]
    (folder / "input" / NEWS_FILE).write_bytes(b"\n".join([*lines, b"", escaped_nul]))
    (folder / "input" / "news2016zh_valid.json").write_bytes(b"")
    (folder / "vocab.txt").write_bytes(
        format_vocab(select_tokens(TokenCounts.empty(), lambda words, size: []))
    )
    flags = [f"--input_dir={folder}/input", f"--output_dir={folder}/out", "--quiet"]
    code = main([*flags, f"--vocab={folder}/vocab.txt", "--num_workers=1"])
    rejected = sorted((folder / "out/rejected").glob("part-*"))
    rows = [row for part in rejected for row in read_rows(str(part))]
    kept = sorted((folder / "out/documents").glob("part-*"))
    return code, rows, [row for part in kept for row in read_rows(str(part))]


@pytest.mark.slow
def test_broken_lines_do_not_stop_the_run(broken_run):
    code, _, kept = broken_run
    assert code == 0
    assert len(kept) == 101


@pytest.mark.slow
def test_broken_lines_are_recorded_with_reason_and_text(broken_run):
    _, rows, _ = broken_run
    assert [(row["stage"], row["reason"]) for row in rows] == [
        ("read", reason) for reason, _ in BROKEN_LINES
    ]
    assert rows[0]["text"] == '{"title": "x", "desc": '
    assert rows[7]["text"] == '{"title": "\\xff\\xfe", "desc": "", "content": ""}'


@pytest.mark.slow
def test_escaped_nul_is_cleaned_away(broken_run):
    _, _, kept = broken_run
    assert kept[-1]["text"].startswith("零号\n本市")


@pytest.mark.slow
def test_too_many_broken_lines_fail_the_run_and_leave_no_dataset(
    capsys, tmp_path, vocab, write_lines
):
    folder = write_lines(NEWS_FILE, [GOOD, b"broken", b"[]", GOOD | {"title": "第二号通告"}])
    flags = (f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={vocab}")
    code, said = call(capsys, *flags)
    assert code == 1
    assert said.startswith(
        "pipeline: news2016zh: 2 of 4 lines could not be read (not_json 1, not_an_object 1), "
        "more than --max_rejected_fraction=0.1 allows"
    )
    assert not (tmp_path / "out/tfrecords").exists()
    assert not (tmp_path / "out/documents/manifest.json").exists()
    assert call(capsys, *flags, "--max_rejected_fraction=0.5")[0] == 0
    assert (tmp_path / "out/tfrecords/dataset_info.json").exists()


@pytest.mark.slow
def test_corpus_without_training_documents_fails_with_the_reason(
    capsys, tmp_path, vocab, write_lines
):
    folder = write_lines(NEWS_FILE, [NEWS | {"content": "短"}])
    code, said = call(
        capsys, f"--input_dir={folder}", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert code == 1 and "holds no training document" in said
    assert not (tmp_path / "out/tfrecords/dataset_info.json").exists()


@pytest.mark.slow
def test_truncated_zip_member_fails_with_its_name(capsys, tmp_path, vocab):
    import zipfile

    (tmp_path / "input").mkdir()
    path = tmp_path / "input" / "new2016zh.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NEWS_FILE, json.dumps(GOOD, ensure_ascii=False) * 50)
    data = bytearray(path.read_bytes())
    data[80:90] = bytes(10)
    path.write_bytes(data)
    code, said = call(
        capsys, f"--input_dir={tmp_path}/input", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    )
    assert code == 1
    assert said.startswith(f"pipeline: {path}:{NEWS_FILE}, byte 0: cannot be unpacked (")
    assert said.endswith("; download it again, or leave it out with --skip_broken_files\n")


@pytest.mark.slow
def test_instances_refuse_settings_that_made_no_documents(capsys, tmp_path, vocab, write_lines):
    folder = write_lines(NEWS_FILE, [GOOD])
    out = f"--output_dir={tmp_path}/out"
    assert call(capsys, "documents", f"--input_dir={folder}", out)[0] == 0
    code, said = call(capsys, "instances", out, f"--vocab={vocab}", "--dedup=none")
    assert code == 2 and "was made with dedup near" in said
    code, said = call(capsys, "instances", out, f"--vocab={vocab}", f"--input_dir={folder}")
    assert code == 2 and "--input_dir is not read by the stage instances" in said
    assert call(capsys, "instances", out, f"--vocab={vocab}")[0] == 0


@pytest.mark.slow
def test_failing_unit_is_told_in_one_line(tmp_path):
    (tmp_path / "input").mkdir()
    packed = gzip.compress(json.dumps(GOOD).encode() * 100)
    (tmp_path / "input" / f"{NEWS_FILE}.gz").write_bytes(packed[:-20])
    flags = [f"--input_dir={tmp_path}/input", f"--output_dir={tmp_path}/out", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "documents", *flags], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"pipeline: {tmp_path}/input/{NEWS_FILE}.gz, byte ")
    assert ": cannot be unpacked (" in done.stderr
    assert done.stderr.count("\n") == 1


# --- Help ---


@pytest.mark.parametrize("module", ["pipeline", "vocab.cli"])
def test_help_imports_nothing_heavy(module):
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['{module}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "heavy = {'numpy', 'apache_beam', 'tensorflow', 'zstandard', 'tqdm', 'rjieba'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
