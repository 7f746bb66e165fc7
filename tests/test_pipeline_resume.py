import gzip
import hashlib
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import files, instances, resume
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.inputs import find_inputs
from pipeline.instances import ShardResult, Sources
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.reading import RawLine, Split, read_lines
from pipeline.records import Block, InputFile, Shard, Skipped, Unit
from pipeline.resume import Done, Stage, run_or_recall
from pipeline.stages import clean, count, duplicates, finish
from pipeline.stages.clean import Cleaned
from pipeline.stages.count import Counted, PartOfDocuments
from pipeline.stages.duplicates import ByUnit, NearLosers, Verified
from pipeline.stages.finish import Finished
from pipeline.units import number_units, plan_shards, ranges_of
from vocab.counting import TokenCounts
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

# --- A stage of three lines ---


class Note(NamedTuple):
    """What running one word made."""

    word: str
    length: int
    skipped: list[str]

    def to_json(self):
        return {"length": self.length}

    @classmethod
    def from_json(cls, fields, unit, layout, runs):
        assert isinstance(layout, Layout) and isinstance(runs, list)
        return cls(unit, fields["length"], [])


def write_word(word, layout, runs):
    """Writes two files, or says that there was nothing to read."""
    runs.append(word)
    if word.startswith("broken"):
        return Note(word, 0, ["broken"])
    for name in (f"{word}.txt", f"below/{word}.txt"):
        files.write_bytes(files.join(layout.work, name), word.encode())
    if word.startswith("fails"):
        raise ValueError(word)
    return Note(word, len(word), [])


WORK = "/" + Layout("").work
"""How notes name the folder of files in the making."""


class Bench(NamedTuple):
    """The stage, and which words it has really run."""

    stage: Stage
    runs: list[str]

    def run(self, word):
        return run_or_recall(word, self.stage)

    def path(self, name):
        return Path(self.stage.layout.work, name)

    def note(self, word):
        return Path(self.stage.layout.done("words", word))


@pytest.fixture
def bench(tmp_path):
    return bench_at(tmp_path / "out")


def bench_at(folder):
    layout, runs = Layout(str(folder)), []
    return Bench(Stage("words", write_word, (layout, runs), Note, str, len, layout), runs)


def test_unit_runs_once_and_its_result_is_recalled(bench):
    assert bench.run("one") == Done(Note("one", 3, []), recalled=False)
    assert bench.run("one") == Done(Note("one", 3, []), recalled=True)
    assert bench.runs == ["one"]


def test_units_are_told_apart_by_their_names(bench):
    for word in ("one", "three", "one", "three"):
        assert bench.run(word).result == Note(word, len(word), [])
    assert bench.runs == ["one", "three"]


def test_stages_are_told_apart_by_their_names(bench):
    other = bench._replace(stage=bench.stage._replace(name="others"))
    assert [of.run("one").recalled for of in (bench, other, bench, other)] == [
        *(False, False, True, True)
    ]


@pytest.mark.parametrize("name", ["one.txt", "below/one.txt"])
@pytest.mark.parametrize("data", [None, b"", b"on", b"ones"])
def test_unit_runs_again_when_a_file_of_it_is_missing_or_has_another_size(bench, name, data):
    bench.run("one")
    if data is None:
        bench.path(name).unlink()
    else:
        bench.path(name).write_bytes(data)
    assert bench.run("one") == Done(Note("one", 3, []), recalled=False)
    assert bench.path(name).read_bytes() == b"one"
    assert bench.run("one").recalled
    assert bench.runs == ["one", "one"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 40, b"no json", f'{{"files": {{"{WORK}/one.txt": 3'.encode()],
    ids=["empty", "zeros", "no json", "cut off"],
)
def test_unit_runs_again_when_its_note_is_damaged(bench, data):
    bench.run("one")
    bench.note("one").write_bytes(data)
    assert bench.run("one") == Done(Note("one", 3, []), recalled=False)
    assert bench.run("one").recalled


def test_unit_runs_again_when_its_note_is_cut_off_anywhere(bench):
    bench.run("one")
    whole = bench.note("one").read_bytes()
    for length in range(len(whole)):
        bench.note("one").write_bytes(whole[:length])
        assert not bench.run("one").recalled


def test_unit_runs_again_when_any_byte_of_its_note_is_another(bench):
    bench.run("one")
    whole = bench.note("one").read_bytes()
    for place in range(len(whole)):
        for bit in (1, 4, 32):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            bench.note("one").write_bytes(damaged)
            assert not bench.run("one").recalled


@pytest.mark.parametrize("version", [1, None])
def test_unit_runs_again_when_its_note_is_of_another_version(bench, monkeypatch, version):
    with monkeypatch.context() as earlier:
        earlier.setattr(resume, "NOTE_VERSION", version)
        bench.run("one")
        assert bench.run("one").recalled
    assert bench.run("one") == Done(Note("one", 3, []), recalled=False)
    assert bench.run("one").recalled
    assert bench.runs == ["one", "one"]


def test_unit_runs_again_when_its_note_is_absent(bench):
    bench.run("one")
    bench.note("one").unlink()
    assert bench.path("one.txt").exists()
    assert bench.run("one") == Done(Note("one", 3, []), recalled=False)


def test_other_units_stay_done_when_one_is_not(bench):
    for word in ("one", "two"):
        bench.run(word)
    bench.path("one.txt").unlink()
    assert [bench.run(word).recalled for word in ("one", "two")] == [False, True]


def test_result_with_something_skipped_gets_no_note(bench):
    for _ in range(2):
        assert bench.run("broken") == Done(Note("broken", 0, ["broken"]), recalled=False)
    assert not bench.note("broken").exists()
    assert bench.runs == ["broken", "broken"]


def test_unit_that_fails_gets_no_note(bench):
    for _ in range(2):
        with pytest.raises(ValueError, match="fails"):
            bench.run("fails")
    assert bench.path("fails.txt").exists() and not bench.note("fails").exists()
    assert bench.runs == ["fails", "fails"]


def test_note_holds_result_and_sizes_of_the_files_of_its_unit_alone(bench):
    files.write_bytes(str(bench.path("before.txt")), b"")
    bench.run("two")
    bench.run("one")
    note = orjson.loads(bench.note("one").read_bytes())
    assert note["files"] == {f"{WORK}/one.txt": 3, f"{WORK}/below/one.txt": 3}
    assert note["result"] == {"length": 3}


def test_unit_that_writes_no_file_is_recalled_too(tmp_path):
    layout, runs = Layout(str(tmp_path)), []

    def think(word, *_):
        runs.append(word)
        return Note(word, 7, [])

    stage = Stage("thoughts", think, (layout, runs), Note, str, len, layout)
    assert [run_or_recall("x", stage) for _ in range(2)] == [
        Done(Note("x", 7, []), recalled=False),
        Done(Note("x", 7, []), recalled=True),
    ]
    assert runs == ["x"]


def test_units_stay_done_when_the_output_directory_is_moved(bench, tmp_path):
    bench.run("one")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    moved = bench_at(tmp_path / "moved")
    assert moved.run("one") == Done(Note("one", 3, []), recalled=True)
    # What lies at the old place does not matter any more.
    bench.run("one")
    moved.path("one.txt").unlink()
    assert not moved.run("one").recalled


# --- Results as notes hold them ---


def through_a_note(result, unit=None, *arguments):
    fields = orjson.loads(orjson.dumps(result.to_json()))
    return type(result).from_json(fields, unit, *arguments)


words = st.text(max_size=6)
numbers = st.integers(0, 1 << 50)
ledgers = st.dictionaries(
    st.tuples(words, words, words, words), st.integers(1, 1 << 50), max_size=4
).map(Counter)
block_lists = st.lists(st.builds(Block, *[numbers] * 3, words, words, *[numbers] * 2), max_size=4)


@st.composite
def split_inputs(draw):
    """An input file, the layout, and the units that splitting it makes."""
    compression = draw(st.sampled_from(["", "gz", "zip"]))
    size_bytes = draw(st.integers(0, 1 << 40))
    unit_bytes = draw(st.integers(max(1, size_bytes // 8), 1 << 41))
    layout = Layout("/out")
    member = "x/a" if compression == "zip" else ""
    found = InputFile("plain", draw(words), draw(words), "/in/a", compression, member, size_bytes)
    units = ranges_of(found, size_bytes, unit_bytes)
    if compression:
        # In some units no line begins: they have no chunk.
        units = [
            unit._replace(path="", chunk_offset=unit.start)
            if draw(st.booleans())
            else unit._replace(
                path=layout.chunk(found, unit.ordinal),
                chunk_offset=draw(st.integers(unit.start, unit.end)),
            )
            for unit in units
        ]
    return found, layout, units


@settings(max_examples=100, deadline=None)
@given(split_inputs())
def test_split_round_trips_through_a_note(split_input):
    found, layout, units = split_input
    assert through_a_note(Split(units, []), found, CONFIG, layout, False) == Split(units, [])


@settings(max_examples=50, deadline=None)
@given(ledgers)
def test_cleaned_round_trips_through_a_note(ledger):
    unit = Unit("plain", "train", "a", 0, "/in/a", 0, 9, None, 0, 1)
    recalled = through_a_note(Cleaned(unit, ledger, []), unit, CONFIG, Layout("/out"), False)
    assert recalled == Cleaned(unit, ledger, [])
    assert isinstance(recalled.ledger, Counter)


@settings(max_examples=50, deadline=None)
@given(ledgers, block_lists)
def test_finished_round_trips_through_a_note(ledger, blocks):
    recalled = through_a_note(Finished(ledger, blocks))
    assert recalled == Finished(ledger, blocks)
    assert isinstance(recalled.ledger, Counter)
    assert all(isinstance(block, Block) for block in recalled.blocks)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(numbers, st.binary(max_size=20), max_size=3), st.binary(max_size=40), words)
def test_results_about_duplicates_round_trip_through_notes(packed, pairs, digest):
    for result in (ByUnit(packed), Verified(pairs), NearLosers(ByUnit(packed), digest)):
        assert through_a_note(result) == result


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.characters(codec="utf-8"), numbers, max_size=4),
    st.dictionaries(words, numbers, max_size=4),
)
def test_counted_round_trips_through_a_note(characters, of_words):
    counted = Counted(TokenCounts(Counter(characters), Counter(characters), Counter(of_words)))
    recalled = through_a_note(counted)
    assert recalled == counted
    assert all(isinstance(counts, Counter) for counts in recalled.token_counts)
    # They are added up: neither shares its counts with the other.
    recalled.token_counts.add({"一": 1}, {"一": 1}, {"a": 1})
    assert counted == Counted(
        TokenCounts(Counter(characters), Counter(characters), Counter(of_words))
    )


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(words, numbers, max_size=4),
    st.dictionaries(
        st.sampled_from([128, 512]),
        st.dictionaries(words, numbers, max_size=4).map(Counter),
        max_size=2,
    ),
    ledgers,
)
def test_shard_result_round_trips_through_a_note(records, statistics, ledger):
    result = ShardResult(Shard("train", "", 3, 16, 1 << 25), records, statistics, ledger)
    recalled = through_a_note(result, result.shard)
    assert recalled == result
    assert all(isinstance(counts, Counter) for counts in recalled.statistics.values())
    assert list(recalled.statistics) == list(statistics)


# --- The real stages ---

SENTENCES = (
    "今天天气很好，我们去公园散步吧。",
    "机器学习是人工智能的一个分支。",
    "Ωμέγα ΣΑΣ 각 the End",
)
ARTICLES = [
    "".join(map(chr, random.Random(seed).choices(range(0x4E00, 0x9FA6), k=300)))
    for seed in range(3)
]
"""Long enough to have near-duplicates."""

CONFIG = DocumentsConfig(unit_bytes=300, block_text_bytes=200, held_out_fraction=0.3)
INSTANCES = InstancesConfig(shard_text_bytes=500, dupe_factor=2)


def write_corpus(folder):
    """Documents in a plain file and a packed one.

    Beside others each has a line that is no JSON, a copy, a near-duplicate, a repeated paragraph.
    """
    texts = [f"第{number}条：{SENTENCES[number % 3]}" for number in range(9)]
    texts += [texts[0], ARTICLES[0], f"改{ARTICLES[0][1:]}"]
    texts += [f"{article}\n{SENTENCES[0] * 4}" for article in ARTICLES[1:]]
    lines = [json.dumps({"id": number, "text": text}).encode() for number, text in enumerate(texts)]
    lines.append(b"no json")
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"\n".join(lines))
    other = [line.replace(b'"text": "', b'"text": "\\u53e6') for line in lines]
    (folder / "b_train.jsonl.gz").write_bytes(gzip.compress(b"\n".join(other)))


class RealRun(NamedTuple):
    """Results of all stages, by name, in the order of the units."""

    results: dict[str, list[Any]]
    recalled: dict[str, set[bool]]


def run_all(corpus, layout):
    """Runs or recalls every unit of every stage as the graphs do."""
    run = RealRun({}, {})

    def run_stage(stage, units):
        done = [run_or_recall(unit, stage) for unit in units]
        run.results[stage.name] = [result for result, _ in done]
        run.recalled[stage.name] = {recalled for _, recalled in done}
        return run.results[stage.name]

    arguments = CONFIG, layout, False
    recognised = find_inputs(str(corpus)).recognised
    splits = run_stage(clean.split_stage(*arguments), recognised)
    units = number_units(unit for split in splits for unit in split.units)
    cleaned = run_stage(clean.clean_stage(*arguments), units)
    ranges = duplicates.plan_key_ranges(units)
    copies = run_stage(duplicates.copies_stage(layout), ranges)
    candidates = join(run_stage(duplicates.candidates_stage(layout), ranges))
    suspects = [
        duplicates.gather_suspects(number, len(units), packed)
        for number, packed in sorted(candidates.items())
    ]
    verified = run_stage(duplicates.verify_stage(layout), suspects)
    pairs = duplicates.gather_pairs(verified, units)
    (near,) = run_stage(duplicates.near_stage(layout), [pairs])
    ranges = duplicates.plan_key_ranges(units, near.digest)
    repeats = join(run_stage(duplicates.repeats_stage(layout), ranges))
    copied, losers = join(copies), join([near.losers])
    goings = [
        finish.Goings(
            unit,
            duplicates.name_copies(copied[unit.number], units) + losers[unit.number],
            repeats[unit.number],
        )
        for unit in units
    ]
    finished = run_stage(finish.finish_stage(CONFIG, layout), goings)
    ledger = sum((result.ledger for result in [*cleaned, *finished]), Counter())
    all_blocks = [block for result in finished for block in result.blocks]
    manifest = Manifest({}, len(units), ledger, all_blocks, [])
    files.write_bytes(layout.manifest, manifest.to_json())
    parts = count.plan_counting(manifest)
    run_stage(count.count_stage(layout, cased=False), parts)
    run_stage(count.words_stage(layout), count.plan_word_ranges(parts))
    vocab = format_vocab([*SPECIAL_TOKENS, *"今天气很好，我们去。学习机器", "the", "##e"])
    files.write_bytes(layout.vocab, vocab)
    digests = [hashlib.sha256(data).hexdigest() for data in (manifest.to_json(), vocab)]
    shards = plan_shards(all_blocks, INSTANCES.shard_text_bytes)
    run_stage(instances.shard_stage(INSTANCES, Sources(layout, *digests)), shards)
    return run


def join(found):
    """What several units found out, by the number of the unit that it is about."""
    joined = defaultdict(list)
    for result in found:
        for number, packed in result.packed.items():
            joined[number].append(packed)
    return joined


STAGES = (
    *("split", "clean", "copies", "candidates", "verify", "near", "repeats", "finish"),
    *("count", "words", "shards"),
)


def contents_below(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A run of all stages: its corpus, its output directory, its results."""
    folder = tmp_path_factory.mktemp("first")
    write_corpus(folder / "in")
    return folder, run_all(folder / "in", Layout(str(folder / "out")))


@pytest.fixture
def copied_run(first_run, tmp_path):
    """A copy of that run at another place, for tests that change it; corpus and outputs."""
    folder, _ = first_run
    shutil.copytree(folder, tmp_path / "copy")
    layout = Layout(str(tmp_path / "copy" / "out"))
    run_all(tmp_path / "copy" / "in", layout)
    return tmp_path / "copy"


def test_real_stages_have_something_to_do(first_run):
    _, run = first_run
    assert tuple(run.results) == STAGES
    assert set().union(*run.recalled.values()) == {False}
    assert len(run.results["clean"]) > 6 and len(run.results["shards"]) > 2
    cleaned, finished = (
        {key[2:] for result in run.results[stage] for key in result.ledger}
        for stage in ("clean", "finish")
    )
    assert cleaned >= {("documents", "read"), ("documents", "not_json")}
    assert finished >= {("documents", outcome) for outcome in ("kept", "duplicate")}
    assert finished >= {("documents", "near_duplicate"), ("duplicates", "paragraph")}
    for stage in ("copies", "candidates", "repeats"):
        assert any(result.packed for result in run.results[stage])
    assert any(result.pairs for result in run.results["verify"])
    assert all(result.statistics[128]["sequences"] for result in run.results["shards"])


@pytest.mark.parametrize("stage", STAGES)
def test_results_of_real_stages_are_recalled_as_they_were(first_run, stage):
    folder, run = first_run
    before = contents_below(folder)
    again = run_all(folder / "in", Layout(str(folder / "out")))
    assert again.recalled[stage] == {True}
    assert again.results[stage] == run.results[stage]
    assert [type(result) for result in again.results[stage]] == [
        type(result) for result in run.results[stage]
    ]
    assert contents_below(folder) == before


@pytest.mark.parametrize("stage", STAGES)
def test_real_stage_without_its_notes_makes_the_same_files_again(copied_run, stage):
    layout = Layout(str(copied_run / "out"))
    before = contents_below(copied_run)
    files.delete(layout.stage(stage))
    again = run_all(copied_run / "in", layout)
    assert again.recalled == {name: {name != stage} for name in STAGES}
    assert contents_below(copied_run) == before


MADE_BY = {
    "split": "work/chunks/*-00001.zst",
    "clean": "work/cleaned/part-00001-*",
    "copies": "work/copies/part-00000-*",
    "near": "work/near_losers",
    "finish": "rejected/part-00001-*",
    "shards": "tfrecords/512/train-1-00000-*",
}


@pytest.mark.parametrize(("stage", "pattern"), MADE_BY.items(), ids=MADE_BY)
def test_real_unit_runs_again_when_a_file_of_it_is_missing(copied_run, stage, pattern):
    layout = Layout(str(copied_run / "out"))
    (path,) = (copied_run / "out").glob(pattern)
    data = path.read_bytes()
    path.unlink()
    again = run_all(copied_run / "in", layout)
    others = {True} if len(again.results[stage]) > 1 else set()
    assert again.recalled == {name: {True} for name in STAGES} | {stage: {False} | others}
    assert path.read_bytes() == data


@pytest.mark.parametrize("keys", ["sizes", "frames", "keys", "bands", "paragraphs"])
def test_clean_unit_runs_again_when_what_later_stages_read_of_it_is_cut_off(copied_run, keys):
    layout = Layout(str(copied_run / "out"))
    run = run_all(copied_run / "in", layout)
    path = next(path for path in (copied_run / "out/work" / keys).iterdir() if path.stat().st_size)
    os.truncate(path, path.stat().st_size - 1)
    again = run_all(copied_run / "in", layout)
    assert again.results["clean"] == run.results["clean"]
    assert again.recalled["clean"] == {True, False}


@pytest.mark.parametrize("moved", ["in", "out"])
def test_recalled_units_are_read_where_input_and_chunks_are_now(copied_run, moved):
    arguments = {"in": copied_run / "in", "out": copied_run / "out"}

    def read_all():
        stage = clean.split_stage(CONFIG, Layout(str(arguments["out"])), False)
        done = [
            run_or_recall(found, stage) for found in find_inputs(str(arguments["in"])).recognised
        ]
        return [line for split, _ in done for unit in split.units for line in read_lines(unit)]

    files.delete(Layout(str(copied_run / "out")).stage("split"))
    lines = read_all()
    assert len(lines) == 30 and isinstance(lines[0], RawLine)
    arguments[moved] = copied_run / "elsewhere"
    shutil.move(copied_run / moved, arguments[moved])
    assert read_all() == lines


@pytest.mark.parametrize("stage", ["clean", "finish"])
def test_note_of_a_unit_is_not_taken_for_that_of_another_of_its_number(tmp_path, stage):
    layout = Layout(str(tmp_path / "out"))
    (tmp_path / "in").mkdir()
    for name in "ab":
        line = json.dumps({"text": f"{name}：{SENTENCES[0]}"}).encode()
        (tmp_path / "in" / f"{name}_train.jsonl").write_bytes(line + b"\n")
    splits = [
        clean.split_input(found, CONFIG, layout, False)
        for found in find_inputs(str(tmp_path / "in")).recognised
    ]
    both = number_units(unit for split in splits for unit in split.units)
    (last,) = number_units(unit for unit in both if unit.name.startswith("b"))

    def run(unit):
        if stage == "clean":
            return run_or_recall(unit, clean.clean_stage(CONFIG, layout, False))
        clean.clean_unit(unit, CONFIG, layout, False)
        goings = finish.Goings(unit, [], [])
        return run_or_recall(goings, finish.finish_stage(CONFIG, layout))

    assert not run(last).recalled
    assert not run(both[0]).recalled


def test_skipped_input_is_looked_at_again(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a_train.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "t"}\n')[:-9])
    layout = Layout(str(tmp_path / "out"))
    (found,) = find_broken(path)
    stage = clean.split_stage(CONFIG, layout, True)
    for _ in range(2):
        (units, (skipped,)), recalled = run_or_recall(found, stage)
        assert (units, recalled) == ([], False)
        assert skipped[:5] == Skipped("plain", "train", "a_train.jsonl", 0, 0, "")[:5]
    path.write_bytes(gzip.compress(b'{"text": "t"}\n'))
    assert len(run_or_recall(found, stage).result.units) == 1
    assert run_or_recall(found, stage).recalled


def find_broken(path):
    """Recognises a file that is broken, as if it had been whole."""
    broken = path.read_bytes()
    path.write_bytes(gzip.compress(b'{"text": "t"}\n'))
    recognised = find_inputs(str(path.parent)).recognised
    path.write_bytes(broken)
    return recognised


# --- Stages in other processes ---


def all_stages(layout):
    return [
        clean.split_stage(CONFIG, layout, True),
        clean.clean_stage(CONFIG, layout, False),
        duplicates.copies_stage(layout),
        duplicates.candidates_stage(layout),
        duplicates.verify_stage(layout),
        duplicates.near_stage(layout),
        duplicates.repeats_stage(layout),
        finish.finish_stage(CONFIG, layout),
        count.count_stage(layout, cased=False),
        count.words_stage(layout),
        instances.shard_stage(INSTANCES, Sources(layout, "0" * 64, "1" * 64)),
    ]


def test_all_stages_are_looked_at_here(tmp_path):
    modules = clean, duplicates, finish, count, instances
    made = [name for module in modules for name in vars(module) if name.endswith("_stage")]
    assert len(made) == len(all_stages(Layout(str(tmp_path)))) == len(STAGES)


def test_stages_reach_a_fresh_process_that_does_not_import_beam(tmp_path):
    sent = all_stages(Layout(str(tmp_path / "out")))
    code = (
        "import pickle, sys\n"
        "stages = pickle.load(sys.stdin.buffer)\n"
        "from pipeline.resume import run_or_recall\n"
        "heavy = [name for name in ('apache_beam', 'tensorflow') if name in sys.modules]\n"
        "pickle.dump((stages, heavy), sys.stdout.buffer)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(sent), capture_output=True, check=True
    )
    received, heavy = pickle.loads(done.stdout)
    assert heavy == []
    sizes = [stage._replace(size_of=None) for stage in sent]
    assert [stage._replace(size_of=None) for stage in received] == sizes
    unit = Unit("plain", "train", "a", 0, "/in/a", 100, 350, None, 7, 9)
    units = [
        InputFile("plain", "train", "a", "/in/a", "", "", 250),
        unit,
        *[duplicates.KeyRange(7, 9, 1, 250, "")] * 2,
        duplicates.Suspects(7, 9, bytes(250)),
        duplicates.NearPairs([unit], bytes(250)),
        duplicates.KeyRange(7, 9, 1, 250, "after"),
        finish.Goings(unit, [], []),
        PartOfDocuments(7, 9, [Block(7, 0, 9, "plain", "train", 1, 250)]),
        count.WordRange(7, 9, [3, 4], 5, 250),
        Shard("train", "", 7, 9, 250),
    ]
    for stage, of_stage in zip(received, units, strict=True):
        assert stage.size_of(of_stage) == 250
    assert [stage.name_of(of_stage) for stage, of_stage in zip(received, units, strict=True)] == [
        f"plain-{hashlib.blake2b(b'a', digest_size=16).hexdigest()}",
        *("00007", "00007", "00007", "00007", "all", "00007", "00007", "00007", "00007"),
        "train-00007-of-00009",
    ]
