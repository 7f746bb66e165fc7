"""What the command line says of bad input: one clear message each, and nothing half-done."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.blocks import read_rows
from pipeline.cli import main
from pipeline.rules.optional import simplifying_edit
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
    assert code == 2 and f"{longer}, line 13687: is too much; the file has 13687 entries" in said


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


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--rules_off=inline_tags,full_width_latinn"],
            "--rules_off names no rule 'full_width_latinn'; do you mean 'full_width_latin'?",
        ),
        (["--script=simplified"], 'script="simplified" needs OpenCC; install it: pip install open'),
        (["--blocklist=nowhere.txt"], "--blocklist=nowhere.txt cannot be read ("),
    ],
)
@pytest.mark.parametrize("command", [[], ["documents"], ["plan"]])
def test_rules_that_cannot_be_are_refused_before_anything_is_read(
    capsys, tmp_path, vocab, monkeypatch, command, flags, said
):
    monkeypatch.setitem(sys.modules, "opencc", None)  # as if it were not installed
    simplifying_edit.cache_clear()
    monkeypatch.setattr("pipeline.run.find_inputs", forbidden)
    (tmp_path / "input").mkdir()
    paths = f"--input_dir={tmp_path}/input", f"--output_dir={tmp_path}/out", f"--vocab={vocab}"
    code, printed = call(capsys, *command, *paths, *flags)
    assert code == 2 and printed.startswith("pipeline: --") and said in printed
    assert printed.count("\n") == 1
    assert failed_before_writing(tmp_path)


def forbidden(*_):
    raise AssertionError


@pytest.mark.parametrize("command", ["report", "inspect"])
def test_reading_commands_say_where_nothing_was_made(capsys, tmp_path, command):
    code, said = call(capsys, command, f"--output_dir={tmp_path}/out")
    assert code == 2 and said.startswith(f"pipeline: {tmp_path}/out/")
    assert "is missing" in said and "python -m pipeline --input_dir=DIR" in said
    assert failed_before_writing(tmp_path)
    code, said = call(capsys, command)
    assert (code, said) == (2, "pipeline: --output_dir is needed: the directory to write to\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dedup=fuzzy"], "argument --dedup: invalid choice: 'fuzzy'"),
        (["--script=traditional"], "argument --script: invalid choice: 'traditional'"),
    ],
)
def test_unknown_choice_is_an_error_that_lists_the_known_ones(capsys, tmp_path, flags, said):
    code, printed = call(capsys, *flags, "--input_dir=nowhere", f"--output_dir={tmp_path}/out")
    assert code == 2 and said in printed and "choose from" in printed
    assert failed_before_writing(tmp_path)


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


# --- Flags that shape the documents ---

TRADITIONAL = "臺灣的圖書館裡收藏著許多關於鐵路歷史的舊照片和車票。"
EDITED = [
    {"text": "有事请致信<b>王老师</b>，邮箱 wang.lin@example.com，手机13800138000，不要半夜打。"},
    {"text": TRADITIONAL},
    {"text": "这家公司的网上赌场广告写得像正经新闻一样，大家小心。"},
]


def documents_of(capsys, folder, out, *flags):
    assert call(capsys, "documents", f"--input_dir={folder}", f"--output_dir={out}", *flags)[0] == 0
    return [
        [row for part in sorted((out / name).glob("part-*")) for row in read_rows(str(part))]
        for name in ("documents", "rejected")
    ]


@pytest.mark.slow
def test_flags_of_cleaning_do_what_they_say(capsys, tmp_path, write_lines):
    folder = write_lines("mine_train.jsonl", EDITED)
    words = tmp_path / "words.txt"
    words.write_text("\ufeff# none of these\n\n  网上赌场 \n", encoding="utf-8")
    kept, lost = documents_of(capsys, folder, tmp_path / "plain")
    assert [row["text"] for row in kept] == [
        EDITED[0]["text"].replace("<b>", "").replace("</b>", ""),
        *(row["text"] for row in EDITED[1:]),
    ]
    assert lost == []
    flags = ["--rules_off=inline_tags,,inline_tags", "--mask_personal_data", f"--blocklist={words}"]
    kept, lost = documents_of(capsys, folder, tmp_path / "other", *flags)
    assert [row["text"] for row in kept] == [
        "有事请致信<b>王老师</b>，邮箱 〔邮箱〕，手机〔手机号〕，不要半夜打。",
        TRADITIONAL,
    ]
    assert [(row["stage"], row["reason"]) for row in lost] == [("clean", "blocklisted")]
    ledger = json.loads((tmp_path / "other/ledger.json").read_bytes())
    of_split = ledger["corpora"]["plain"]["train"]
    assert of_split["edits"]["personal_data"] == 2 and "inline_tags" not in of_split["edits"]
    assert of_split["removed"]["personal_data"] == len("wang.lin@example.com13800138000")
    assert of_split["added"]["personal_data"] == len("〔邮箱〕〔手机号〕")


class FakeOpenCC:
    """Converts as OpenCC does, three characters at least."""

    def __init__(self, config):
        assert config == "t2s"

    def convert(self, text):
        return text.translate(
            str.maketrans("臺灣圖書館裡許關於鐵歷舊車", "台湾图书馆里许关于铁历旧车")
        )


@pytest.mark.slow
def test_script_simplified_converts_and_accounts(capsys, tmp_path, write_lines, monkeypatch):
    folder = write_lines("mine_train.jsonl", EDITED[1:])
    monkeypatch.setitem(sys.modules, "opencc", type(sys)("opencc"))
    monkeypatch.setattr(sys.modules["opencc"], "OpenCC", FakeOpenCC, raising=False)
    simplifying_edit.cache_clear()
    try:
        kept, _ = documents_of(capsys, folder, tmp_path / "out", "--script=simplified")
    finally:
        simplifying_edit.cache_clear()
    converted = FakeOpenCC("t2s").convert(TRADITIONAL)
    assert [row["text"] for row in kept] == [converted, EDITED[2]["text"]]
    ledger = json.loads((tmp_path / "out/ledger.json").read_bytes())
    changed = sum(a != b for a, b in zip(TRADITIONAL, converted, strict=True))
    of_split = ledger["corpora"]["plain"]["train"]
    assert changed == 13
    assert {of_split[name]["script"] for name in ("edits", "removed", "added")} == {changed}


LONG = (
    "西郊支线铁路停运十八年以后换了模样，十二公里长的路基铺上暗红色沥青，只供骑行与步行。"
    "沿线五座小站保留了站牌、信号灯和候车长椅，其中一座的票房改成咖啡馆，递车票的窗口如今递拿铁。"
    "设计师说，他们没有拆掉全部铁轨，每隔两百米留一段嵌在路面里，让人知道脚下曾经跑过什么。"
    "开放首日，租赁点的四百辆自行车不到十点就借完了，一位当过扳道工的老人由孙女推着轮椅走了两站。"
    "沿线居民也有担忧，主要是夜里太吵，管理方因而规定晚上十点熄灯，并在靠近住宅的一侧种了两排女贞。"
)
FOOTER = (
    "声明：本版所载文字与图片均由受访单位或本报记者提供，仅供读者参考，"
    "不构成任何购买或者投资的建议，转载请注明出处。"
)
REPEATED = [
    {"text": LONG},
    {"text": LONG},
    {"text": LONG.replace("两百米", "三百米")},
    {"text": f"{LONG[:60]}\n{FOOTER}"},
    {"text": f"{LONG[60:120]}\n{FOOTER}"},
    {"text": f"今日更正启事\n{FOOTER}"},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "reasons", "with_footer"),
    [
        ("none", {}, 3),
        ("exact", {1: "duplicate"}, 3),
        ("near", {1: "duplicate", 2: "near_duplicate", 5: "short_after_dedup"}, 1),
    ],
)
def test_dedup_does_as_much_as_it_is_told(
    capsys, tmp_path, write_lines, level, reasons, with_footer
):
    folder = write_lines("mine_train.jsonl", REPEATED)
    kept, lost = documents_of(capsys, folder, tmp_path / "out", f"--dedup={level}")
    offsets = [0]
    for record in REPEATED:
        offsets.append(offsets[-1] + len(json.dumps(record, ensure_ascii=False).encode()) + 1)
    found = {int(row["doc_id"].rpartition(":")[2]): row["reason"] for row in lost}
    assert found == {offsets[place]: reason for place, reason in reasons.items()}
    assert len(kept) == len(REPEATED) - len(reasons)
    assert sum(FOOTER in row["text"] for row in kept) == with_footer


# --- Looking at what was made ---


@pytest.fixture(scope="module")
def bundled_run(tmp_path_factory, bundled_corpus) -> str:
    """The flag that names the outputs of a run over the bundled corpus."""
    out = tmp_path_factory.mktemp("bundled") / "out"
    flags = f"--input_dir={bundled_corpus}", f"--output_dir={out}", "--num_workers=1", "--quiet"
    assert main(["documents", *flags]) == 0
    return f"--output_dir={out}"


@pytest.mark.slow
def test_report_makes_the_same_page_again_and_prints_its_path(capsys, bundled_run):
    path = Path(bundled_run.partition("=")[2], "report.html")
    page = path.read_bytes()
    path.unlink()
    assert main(["report", bundled_run]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes() == page


@pytest.mark.slow
def test_inspect_shows_rejections_edits_documents_and_an_overview(capsys, bundled_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    def inspect(*flags):
        assert main(["inspect", bundled_run, *flags]) == 0
        return capsys.readouterr().out

    overview = inspect()
    assert "near_duplicate_of_training" in overview and "ruby_annotations" in overview
    near = inspect("--reason=near_duplicate")
    assert ", 0.93 alike)" in near and "\nstays: news2016zh/train/" in near
    assert "[-今年-]" in near
    assert "{+（tāo␣tiè）+}" in inspect("--rule=ruby_annotations")
    first = "baike2018qa/train/baike_qa_train.json:0"
    assert inspect(f"--doc_id={first}").startswith(f"{first} (kept, ")
    assert len(inspect("--reason=too_short", "--limit=1")) < len(inspect("--reason=too_short"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--reason=boring", "no reason 'boring' here; there are: duplicate, duplicate_of_training"),
        ("--rule=boring", "no rule 'boring' here; there are: block_tags, chinese_spaces, "),
        ("--doc_id=plain/train/a:0", "no document 'plain/train/a:0' here, kept or rejected; ids"),
        ("--limit=0", "--limit must be at least 1, got 0"),
    ],
)
def test_inspect_refuses_what_is_not_there_and_says_what_is(capsys, bundled_run, flag, said):
    assert main(["inspect", bundled_run, flag]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"pipeline: {said}") and printed.out == ""


@pytest.mark.slow
def test_inspect_takes_one_question_at_a_time(capsys, bundled_run):
    assert main(["inspect", bundled_run, "--reason=too_short", "--rule=line_ends"]) == 2
    assert "give one of --reason, --rule and --doc_id" in capsys.readouterr().err


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
