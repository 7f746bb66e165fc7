"""Runs that were stopped, repeated, changed or started twice: what is kept, redone and said."""

import dataclasses
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pipeline import beam_graph, files
from pipeline.cli import main
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import RunError, UsageError
from pipeline.options import RunOptions
from pipeline.run import run
from vocab.counting import TokenCounts
from vocab.selection import select, select_tokens
from vocab.vocab_file import format_vocab

pytestmark = pytest.mark.slow

# Small sizes, so that the bundled corpus makes many units and shards.
DOCUMENTS = DocumentsConfig(unit_bytes=20_000, block_text_bytes=2_000)
INSTANCES = InstancesConfig(shard_text_bytes=40_000)


@pytest.fixture(scope="module")
def vocab(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_bytes(format_vocab(select_tokens(TokenCounts.empty(), lambda words, size: [])))
    return path


@pytest.fixture
def options(bundled_corpus, vocab, tmp_path) -> RunOptions:
    return options_for(bundled_corpus, vocab, tmp_path / "out")


def options_for(corpus: Path, vocab: Path, output_dir: Path, **changes) -> RunOptions:
    fields = {
        "input_dir": str(corpus),
        "output_dir": str(output_dir),
        "vocab": str(vocab),
        "documents": DOCUMENTS,
        "instances": INSTANCES,
    }
    return RunOptions(**(fields | changes))


@pytest.fixture(scope="module")
def expected(bundled_corpus, vocab, tmp_path_factory) -> dict[str, str]:
    """What an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(options_for(bundled_corpus, vocab, folder))
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def written_at(folder: Path) -> dict[str, int]:
    """Returns when each file was written; the report is made by every run."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("run.json", "report.html")
    }


class Stopped(BaseException):
    """Ends a run at a chosen moment."""


def stop_before(pattern: str, monkeypatch) -> None:
    """Lets the next run end when it is about to finish a file of such a name."""
    replace = os.replace

    def replace_or_stop(source, target):
        if fnmatch(target, f"*/out/{pattern}"):
            raise Stopped("Stopped")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", replace_or_stop)


def run_and_stop(options: RunOptions, pattern: str, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        stop_before(pattern, patched)
        with pytest.raises((Stopped, RuntimeError), match="Stopped"):
            run(options)


# --- Stopped ---


MOMENTS = (
    "run.json",
    "work/done/split/*",
    "work/paragraphs/part-00009-*",
    "work/done/clean/00009.done.json",
    "work/copies/*",
    "work/done/verify/*",
    "work/near_losers",
    "work/done/repeats/*",
    "documents/part-00005-*",
    "rejected/part-00005-*",
    "documents/samples.json",
    "documents/manifest.json",
    "vocab.txt",
    "tfrecords/512/train-0-*",
    "ledger.json",
    "tfrecords/dataset_info.json",
    "report.html",
)
"""Files before which a run is stopped, in the order in which they are finished."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_run_goes_on_and_gives_the_same_bytes(options, expected, monkeypatch, moment):
    run_and_stop(options, moment, monkeypatch)
    run(options)
    assert digests(Path(options.output_dir)) == expected


KILLED_AT = """
import os, signal, sys
from fnmatch import fnmatch
from pipeline import beam_graph, files
from pipeline.cli import main

pattern, when = sys.argv[1:3]
replace = os.replace

def replace_and_die(source, target):
    is_moment = fnmatch(target, "*/out/" + pattern)
    if is_moment and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if is_moment:
        os.kill(os.getpid(), signal.SIGKILL)

files.os.replace = replace_and_die
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("pattern", "when"),
    [
        ("work/done/split/*", "before"),
        ("work/cleaned_rejected/part-00003-*", "after"),
        ("work/near_losers", "after"),
        ("documents/manifest.json", "before"),
        ("tfrecords/dataset_info.json", "after"),
    ],
)
def test_killed_process_leaves_nothing_that_the_next_run_does_not_mend(
    bundled_corpus, vocab, tmp_path, pattern, when
):
    def flags(folder):
        return [
            *(f"--input_dir={bundled_corpus}", f"--output_dir={tmp_path / folder}"),
            *(f"--vocab={vocab}", "--num_workers=1", "--quiet"),
        ]

    killed = subprocess.run([sys.executable, "-c", KILLED_AT, pattern, when, *flags("out")])
    assert killed.returncode == -9
    assert main(flags("out")) == 0
    assert main(flags("undisturbed")) == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


DIES_IN_ONE_WORKER = """
import os, signal, sys

if "--multiprocessing-fork" in sys.argv:
    replace, finished = os.replace, [0]

    def replace_and_die(source, target):
        replace(source, target)
        finished[0] += 1
        if finished[0] == 20:
            try:
                os.close(os.open({flag!r}, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace_and_die
"""


def test_worker_that_is_killed_alone_fails_the_run_clearly_and_the_next_one_goes_on(
    bundled_corpus, vocab, tmp_path
):
    (tmp_path / "customized").mkdir()
    flag = tmp_path / "died"
    program = DIES_IN_ONE_WORKER.format(flag=str(flag))
    (tmp_path / "customized" / "sitecustomize.py").write_text(program)
    flags = [
        *(f"--input_dir={bundled_corpus}", f"--output_dir={tmp_path / 'out'}"),
        *(f"--vocab={vocab}", "--quiet"),
    ]
    command = [sys.executable, "-m", "pipeline", *flags, "--num_workers=2"]
    killed = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "customized")},
        capture_output=True,
        text=True,
    )
    assert flag.exists()
    assert (killed.returncode, killed.stderr) == (
        1,
        "pipeline: a worker process ended abruptly (out of memory, or killed); give the same "
        "command again, without --overwrite, and with fewer --num_workers if memory was short: "
        "what is done is kept\n",
    )
    done = list((tmp_path / "out" / "work" / "done").rglob("*.json"))
    assert done
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    flags[1] = f"--output_dir={tmp_path / 'undisturbed'}"
    assert main([*flags, "--num_workers=1"]) == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_next_run_says_how_many_units_were_done_before(options, monkeypatch, capsys):
    run_and_stop(options, "rejected/part-00005-*", monkeypatch)
    done = {
        stage: len(list(Path(options.output_dir, "work/done", stage).iterdir()))
        for stage in ("split", "clean", "finish")
    }
    capsys.readouterr()
    run(options)
    said = capsys.readouterr().err
    for stage, count in done.items():
        assert count > 0
        assert f"{stage}: {count} of " in said


def test_temporary_files_of_a_killed_run_are_deleted(options, expected):
    run(options)
    out = Path(options.output_dir)
    name = "part-00000-of-00001.jsonl.zst"
    left = [out / f"vocab.txt.{'0' * 32}.tmp", out / f"documents/{name}.{'1' * 32}.tmp"]
    for path in left:
        path.write_bytes(b"half")
    run(options)
    assert digests(out) == expected


# --- Repeated and changed ---


def test_complete_run_is_not_made_again(options, expected, capsys):
    run(options)
    out = Path(options.output_dir)
    before = written_at(out)
    capsys.readouterr()
    run(options)
    said = capsys.readouterr().err
    assert f"{out}/documents: made before, with the same configuration" in said
    assert f"{out}/tfrecords: made before, with the same configuration" in said
    assert written_at(out) == before
    assert digests(out) == expected


def test_overwrite_starts_afresh(options, expected):
    run(options)
    out = Path(options.output_dir)
    before = written_at(out)
    run(RunOptions(**vars(options) | {"overwrite": True}))
    assert digests(out) == expected
    assert not before.items() & written_at(out).items()


def test_other_seed_makes_only_the_shards_again_and_says_so(options, capsys):
    run(options)
    out = Path(options.output_dir)
    before = written_at(out)
    capsys.readouterr()
    changed = InstancesConfig(shard_text_bytes=40_000, seed=7)
    run(RunOptions(**vars(options) | {"instances": changed}))
    assert "shards: what was made is deleted, and all that follows: seed (0 before, 7 now)" in (
        capsys.readouterr().err
    )
    after = written_at(out)
    made_again = {name for name in before if name.startswith("tfrecords/") or name == "ledger.json"}
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} == made_again


def test_other_rule_cleans_again_and_says_so(options, monkeypatch, capsys):
    run_and_stop(options, "rejected/part-00005-*", monkeypatch)
    out = Path(options.output_dir)
    before = written_at(out / "work")
    capsys.readouterr()
    fields = vars(DOCUMENTS) | {"rules_off": ("full_width_latin",)}
    run_and_stop(
        RunOptions(**vars(options) | {"documents": DocumentsConfig(**fields)}),
        *("documents/part-00000-*", monkeypatch),
    )
    said = capsys.readouterr().err
    assert (
        "clean: what was made is deleted, and all that follows: "
        "rules_off ([] before, ['full_width_latin'] now)\n"
    ) in said
    assert "split: 12 of 12 units were done before" in said
    assert said.count("were done before") == 1
    after = written_at(out / "work")
    same = {name.split("/")[1] for name in before.keys() & after if before[name] == after[name]}
    assert same == {"split"}


def test_documents_made_again_leave_the_ledger_of_the_shards(options, expected):
    run(options)
    run(RunOptions(**vars(options) | {"stage": "documents"}))
    assert digests(Path(options.output_dir)) == expected


def test_other_dedup_keeps_what_was_cleaned(options, monkeypatch, capsys, bundled_corpus, tmp_path):
    run_and_stop(options, "rejected/part-00005-*", monkeypatch)
    cleaned = len(list(Path(options.output_dir, "work/done/clean").iterdir()))
    capsys.readouterr()
    changed = DocumentsConfig(unit_bytes=20_000, block_text_bytes=2_000, dedup="none")
    run(RunOptions(**vars(options) | {"documents": changed}))
    said = capsys.readouterr().err
    assert (
        "finish: what was made is deleted, and all that follows: dedup (near before, none now)"
        in said
    )
    assert f"clean: {cleaned} of {cleaned} units were done before" in said
    assert "finish: " in said and "finish: 1 of" not in said
    fresh = options_for(bundled_corpus, Path(options.vocab), tmp_path / "x", documents=changed)
    run(fresh)
    assert digests(Path(options.output_dir)) == digests(tmp_path / "x")


def test_changed_input_file_is_named_and_read_again(
    write_lines, bundled_corpus, vocab, tmp_path, capsys
):
    def documents(count):
        text = "本市今天起试行新的公交线路，方便沿线居民出行，票价保持不变。第{}号。"
        return [{"text": text.format(number)} for number in range(count)]

    write_lines("a.jsonl", documents(40))
    folder = write_lines("b.jsonl", documents(20))
    run(options_for(folder, vocab, tmp_path / "out"))
    write_lines("b.jsonl", documents(60))
    capsys.readouterr()
    run(options_for(folder, vocab, tmp_path / "out"))
    assert (
        "split: what was made is deleted, and all that follows: inputs (b.jsonl)"
        in capsys.readouterr().err
    )
    run(options_for(folder, vocab, tmp_path / "fresh"))
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_documents_of_a_wholly_different_corpus_are_not_replaced(
    options, write_lines, vocab, expected
):
    run(options)
    other = write_lines("a.jsonl", [{"text": "另一个语料库里的一篇文章，和以前的毫无关系。"}])
    with pytest.raises(UsageError, match="was made from other files; choose another --output_dir"):
        run(options_for(other, vocab, Path(options.output_dir)))
    assert digests(Path(options.output_dir)) == expected


def test_learned_vocabulary_is_kept_when_only_the_seed_changes(options, monkeypatch):
    learned = []

    def learn(counts, pieces):
        learned.append(counts)
        return select(counts, lambda words, size: [])

    monkeypatch.setattr("pipeline.run.select", learn)
    without = {"vocab": None}
    run(RunOptions(**vars(options) | without))
    changed = InstancesConfig(shard_text_bytes=40_000, seed=7)
    run(RunOptions(**vars(options) | without | {"instances": changed}))
    assert len(learned) == 1
    run(RunOptions(**vars(options) | without | {"overwrite": True}))
    assert len(learned) == 2 and learned[0] == learned[1]


def test_changed_case_is_named_and_redoes_vocabulary_and_shards_alone(
    options, bundled_corpus, vocab, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("pipeline.run.learn_pieces", lambda words, size: sorted(words)[:size])
    uncased = RunOptions(**vars(options) | {"vocab": None})
    cased = RunOptions(**vars(uncased) | {"instances": dataclasses.replace(INSTANCES, cased=True)})
    run_and_stop(uncased, "work/done/count/00003*", monkeypatch)
    documents = {name: at for name, at in written_at(out_of(options)).items() if is_document(name)}
    for changed, said in ((cased, "cased (False before, True now)"), (uncased, "cased (True be")):
        capsys.readouterr()
        run(changed)
        assert f"count: what was made is deleted, and all that follows: {said}" in (
            capsys.readouterr().err
        )
        fresh = tmp_path / f"fresh {changed.instances.cased}"
        run(RunOptions(**vars(changed) | {"output_dir": str(fresh)}))
        assert digests(out_of(options)) == digests(fresh)
        info = json.loads((fresh / "tfrecords/dataset_info.json").read_text())
        assert info["config"]["cased"] is changed.instances.cased
        assert info["tokenizer"]["do_lower_case"] is not changed.instances.cased
        now = {name: at for name, at in written_at(out_of(options)).items() if is_document(name)}
        assert now == documents
    vocabularies = [(tmp_path / f"fresh {c}/vocab.txt").read_text() for c in (False, True)]
    assert ["\nSQLite\n" in text for text in vocabularies] == [False, True]


def out_of(options: RunOptions) -> Path:
    return Path(options.output_dir)


def is_document(name: str) -> bool:
    return name.startswith(("documents/", "rejected/"))


def test_run_that_was_killed_while_it_overwrote_goes_on_without_overwrite(
    options, bundled_corpus, tmp_path, monkeypatch, expected
):
    other = tmp_path / "other.txt"
    tokens = select_tokens(TokenCounts.empty(), lambda words, size: [])
    other.write_bytes(format_vocab([*tokens[:-2], tokens[-1], tokens[-2]]))
    run(options_for(bundled_corpus, other, Path(options.output_dir)))
    overwriting = RunOptions(**vars(options) | {"overwrite": True})
    run_and_stop(overwriting, "documents/part-00005-*", monkeypatch)
    run(options)
    assert digests(Path(options.output_dir)) == expected


def test_instances_follow_documents_that_were_overwritten(options, expected):
    run(options)
    overwriting = {"stage": "documents", "overwrite": True}
    run(RunOptions(**vars(options) | overwriting))
    run(RunOptions(**vars(options) | {"stage": "instances", "input_dir": None}))
    assert digests(Path(options.output_dir)) == expected


@pytest.mark.parametrize(
    "moment", ["work/done/count/00003*", "work/token_counts.json.zst", "run.json", "vocab.txt"]
)
def test_run_stopped_around_its_vocabulary_goes_on(options, monkeypatch, moment):
    run(RunOptions(**vars(options) | {"stage": "documents"}))
    learning = RunOptions(**vars(options) | {"vocab": None})
    monkeypatch.setattr("pipeline.run.learn_pieces", lambda words, size: [], raising=True)
    run_and_stop(learning, moment, monkeypatch)
    run(learning)
    assert (Path(options.output_dir) / "tfrecords/dataset_info.json").exists()


def test_file_that_was_left_out_and_is_whole_again_loses_nothing(
    bundled_corpus, write_lines, vocab, tmp_path, monkeypatch
):
    text = "本市今天起试行新的公交线路，方便沿线居民出行，票价保持不变。第{}号。"
    for name in ("a.jsonl", "b.jsonl"):
        lines = [{"text": text.format(f"{name}{number}")} for number in range(400)]
        folder = write_lines(name, lines)
    path = folder / "b.jsonl"
    whole, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    skipping = options_for(folder, vocab, tmp_path / "out", skip_broken_files=True)
    find = run.__globals__["find_inputs"]

    def find_and_shrink(*arguments):
        found = find(*arguments)
        os.truncate(path, 30_000)
        return found

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.run.find_inputs", find_and_shrink)
        patched.setattr("pipeline.beam_graph._write_manifest", stop)
        with pytest.raises((Stopped, RuntimeError), match="Stopped"):
            run(skipping)
    path.write_bytes(whole)
    os.utime(path, ns=times)
    run(skipping)
    run(options_for(folder, vocab, tmp_path / "undisturbed"))
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def stop(*_):
    raise Stopped("Stopped")


def test_max_rejected_fraction_holds_for_documents_made_before(write_lines, vocab, tmp_path):
    text = "本市今天起试行新的公交线路，方便沿线居民出行，票价保持不变。"
    folder = write_lines("a.jsonl", [{"text": text}, b"broken", b"[]"])
    lenient = options_for(folder, vocab, tmp_path / "out", max_rejected_fraction=1.0)
    run(RunOptions(**vars(lenient) | {"stage": "documents"}))
    with pytest.raises(RunError, match="2 of 3 lines could not be read"):
        run(options_for(folder, vocab, tmp_path / "out"))
    run(lenient)


def test_documents_that_do_not_add_up_fail_the_run(options, monkeypatch):
    manifest_of = beam_graph._write_manifest

    def forget_one(summary, *rest):
        summary.ledger["wiki2019zh", "train", "documents", "kept"] -= 1
        manifest_of(summary, *rest)

    monkeypatch.setattr("pipeline.beam_graph._write_manifest", forget_one)
    with pytest.raises(
        RunError, match=r"^wiki2019zh, train: 48 documents were read, but 47 kept or rejected; "
    ):
        run(options)
    assert not Path(options.output_dir, "documents/manifest.json").exists()


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("documents/manifest.json", b"[]", "manifest.json: is damaged"),
        ("documents/manifest.json", b'{"format_version": 3}', "manifest.json: is damaged"),
        ("documents/manifest.json", b'{"format_version": 2}', "manifest.json: format 2, this "),
        ("documents/samples.json", b"[]", "samples.json: is damaged"),
        ("ledger.json", b'{"format_version": 1', "ledger.json: is damaged"),
        ("tfrecords/dataset_info.json", b"{", "dataset_info.json: not JSON"),
    ],
)
def test_damaged_output_is_told_in_one_line(options, name, damage, said, capsys):
    run(options)
    Path(options.output_dir, name).write_bytes(damage)
    with pytest.raises(RunError, match=said):
        run(options)


def test_damaged_documents_are_told(options):
    run(options)
    part = Path(options.output_dir, "documents/part-00003-of-00016.jsonl.zst")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    changed = InstancesConfig(shard_text_bytes=40_000, seed=3)
    with pytest.raises(RunError, match=r"documents/ is damaged: part 3, byte \d+"):
        run(RunOptions(**vars(options) | {"instances": changed}))


# --- Refused ---


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"format_version": 2, "made_with": {}}, "was made in format 2; this is 7"),
        ({"started": "2019"}, "was made in format None; this is 7"),
        (None, "holds outputs, but no"),
    ],
)
def test_outputs_of_another_format_are_refused_and_kept(options, expected, facts, said):
    run(options)
    path = Path(options.output_dir, "run.json")
    path.unlink()
    if facts is not None:
        path.write_text(json.dumps(facts))
    with pytest.raises(UsageError, match=said):
        run(options)
    assert digests(Path(options.output_dir)) == expected
    run(RunOptions(**vars(options) | {"overwrite": True}))
    assert digests(Path(options.output_dir)) == expected


def test_second_run_into_one_directory_is_refused(options, capsys):
    out = Path(options.output_dir)
    out.mkdir()
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        flags = (f"--input_dir={options.input_dir}", f"--output_dir={out}")
        code = main([*flags, f"--vocab={options.vocab}", "--num_workers=1", "--quiet"])
    finally:
        os.close(descriptor)
    assert code == 2
    assert f"another run is writing to {out}; wait for its end" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_documents_stage_with_other_settings_makes_shards_stale(options):
    run(options)
    out = Path(options.output_dir)
    changed = DocumentsConfig(unit_bytes=20_000, block_text_bytes=3_000)
    run(RunOptions(**vars(options) | {"documents": changed, "stage": "documents"}))
    assert not (out / "tfrecords").exists()
    assert (out / "vocab.txt").read_bytes() == Path(options.vocab).read_bytes()
