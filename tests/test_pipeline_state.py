import contextlib
import dataclasses
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import files, state
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import UsageError
from pipeline.inputs import Inputs
from pipeline.layout import Layout
from pipeline.records import InputFile
from pipeline.rules import RULES
from pipeline.state import CLEAN, COUNT, FINISH, SHARDS, SPLIT

ORDER = (SPLIT, CLEAN, FINISH, COUNT, SHARDS)


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "out"))


def input_of(name, corpus="plain", split="train", fingerprint="1", path="/in/x", size_bytes=1):
    return InputFile(corpus, split, name, path, "", "", size_bytes, fingerprint)


def inputs_of(*recognised):
    return Inputs(list(recognised), [], [])


INPUTS = inputs_of(input_of("a.jsonl"), input_of("AA/wiki_00", "wiki2019zh", "", "2"))


def describe(inputs=INPUTS, **fields):
    return state.describe_documents(inputs, DocumentsConfig(**fields))


# --- What shapes the stages ---


def test_describe_documents_names_what_shapes_each_stage():
    config = DocumentsConfig(unit_bytes=5, min_chinese_fraction=0.5, dedup="none")
    assert state.describe_documents(INPUTS, config) == {
        "split": {
            "unit_bytes": 5,
            "inputs": {"plain train a.jsonl": "1", "wiki2019zh  AA/wiki_00": "2"},
        },
        "clean": {
            "block_text_bytes": config.block_text_bytes,
            "held_out_fraction": 0.01,
            "min_chars": config.min_chars,
            "min_chinese_fraction": 0.5,
            "max_digit_sign_fraction": 0.7,
            "max_repeated_ngram_fraction": 0.65,
            "max_repeated_line_fraction": 0.5,
            "max_mojibake_fraction": 0.05,
            "rules_off": [],
            "mask_personal_data": False,
            "script": "keep",
            "blocklist": [],
            "min_paragraph_chars": 50,
            "rules": list(RULES),
        },
        "finish": {"dedup": "none"},
    }


def test_conversion_is_shaped_by_the_version_of_what_converts():
    assert "opencc_version" not in describe()["clean"]
    assert describe(script="simplified")["clean"]["opencc_version"] == version("opencc")


def test_every_field_of_the_documents_config_shapes_one_stage():
    described = describe()
    names = [name for fields in described.values() for name in fields]
    of_config = [field.name for field in dataclasses.fields(DocumentsConfig)]
    assert sorted(names) == sorted([*of_config, "inputs", "rules"])
    assert list(described) == [SPLIT, CLEAN, FINISH]


def test_describe_shards_names_settings_documents_and_vocabulary():
    config = InstancesConfig(seed=7)
    assert state.describe_shards(config, "d" * 64, "v" * 64) == {
        **dataclasses.asdict(config),
        "segmenter_version": "0.2.2",
        "documents": "d" * 64,
        "vocabulary": "v" * 64,
    }


@pytest.mark.parametrize(
    ("changed", "stage"),
    [
        (describe(), None),
        (describe(inputs_of(*INPUTS.recognised[::-1])), None),
        (describe(inputs_of(*(found._replace(path="/y") for found in INPUTS.recognised))), None),
        (describe(unit_bytes=9), SPLIT),
        (describe(inputs_of(input_of("a.jsonl"))), SPLIT),
        (describe(inputs_of(*INPUTS.recognised, input_of("b.jsonl"))), SPLIT),
        (describe(inputs_of(input_of("a.jsonl", fingerprint="9"), INPUTS.recognised[1])), SPLIT),
        (describe(inputs_of(input_of("a.jsonl", split="test"), INPUTS.recognised[1])), SPLIT),
        (describe(held_out_fraction=0.5), CLEAN),
        (describe(block_text_bytes=9), CLEAN),
        (describe(min_chinese_fraction=0.5), CLEAN),
        (describe(rules_off=("inline_tags",)), CLEAN),
        (describe(mask_personal_data=True), CLEAN),
        (describe(script="simplified"), CLEAN),
        (describe(blocklist=("甲",)), CLEAN),
        (describe(min_paragraph_chars=51), CLEAN),
        (describe(dedup="none"), FINISH),
        (describe(dedup="exact"), FINISH),
        (describe(unit_bytes=9, dedup="none", held_out_fraction=0.5), SPLIT),
    ],
)
def test_first_changed_finds_the_first_stage_that_is_shaped_otherwise(changed, stage):
    # As it comes back from run.json.
    found = json.loads(json.dumps(describe()))
    assert state.first_changed(changed, found) == stage


def test_first_changed_of_a_new_directory_is_the_first_stage():
    assert state.first_changed(describe(), {}) == SPLIT
    assert state.first_changed(describe(), {SPLIT: describe()[SPLIT]}) == CLEAN
    assert state.first_changed({}, describe()) is None


def test_rule_that_an_earlier_version_had_not_is_a_change(monkeypatch):
    found = json.loads(json.dumps(describe()))
    monkeypatch.setattr(state, "RULES", (*RULES, "new_rule"))
    assert state.first_changed(describe(), found) == CLEAN
    assert state.explain_change(describe()[CLEAN], found[CLEAN]) == "rules"


def test_first_changed_looks_at_what_is_wanted_alone():
    shards = {SHARDS: state.describe_shards(InstancesConfig(), "d", "v")}
    assert state.first_changed(shards, describe() | shards) is None
    assert state.first_changed(shards, describe()) == SHARDS
    assert state.first_changed(describe(), describe() | shards) is None


@pytest.mark.parametrize(
    ("wanted", "found", "explained"),
    [
        ({"seed": 1}, {"seed": 1}, ""),
        ({"seed": 1}, {"seed": 0}, "seed (0 before, 1 now)"),
        (
            {"seed": 1, "segmenter": "jieba", "dupe_factor": 1},
            {"seed": 0, "segmenter": "rjieba", "dupe_factor": 1},
            "seed (0 before, 1 now), segmenter (rjieba before, jieba now)",
        ),
        ({"seed": 1}, {}, "seed (None before, 1 now)"),
        ({"dedup": "none"}, {"dedup": "exact", "gone": 1}, "dedup (exact before, none now)"),
        (
            {"documents": "ab", "vocabulary": "v"},
            {"documents": "cd", "vocabulary": "v"},
            "documents",
        ),
        ({"documents": "a", "vocabulary": "v"}, {"documents": "a"}, "vocabulary"),
        (
            {"inputs": {"plain train a.jsonl": "1", "plain test b.jsonl": "1"}},
            {"inputs": {"plain train a.jsonl": "2", "wiki2019zh  AA/wiki_00": "1"}},
            "inputs (b.jsonl, a.jsonl, AA/wiki_00)",
        ),
        (
            {"inputs": {f"plain  {name}": "1" for name in "dcba"}},
            {"inputs": {}},
            "inputs (a, b, c, ...)",
        ),
        (
            {"inputs": {"plain  a": "1"}, "unit_bytes": 5},
            {"inputs": {"plain  a": "2"}, "unit_bytes": 6},
            "inputs (a), unit_bytes (6 before, 5 now)",
        ),
        (
            {"min_chars": {"plain": 8, "wiki2019zh": 30}},
            {"min_chars": {"plain": 9, "wiki2019zh": 30}},
            "min_chars (plain)",
        ),
    ],
)
def test_explain_change_names_what_differs(wanted, found, explained):
    assert state.explain_change(wanted, found) == explained


# --- run.json ---


def test_read_state_gives_back_what_write_state_wrote(layout):
    wanted = describe() | {SHARDS: state.describe_shards(InstancesConfig(), "d", "v")}
    state.write_state(layout, wanted, {"runner": "local", "input_dir": "语料"})
    assert state.read_state(layout) == wanted
    assert state.first_changed(wanted, state.read_state(layout)) is None
    facts = json.loads(Path(layout.run).read_bytes())
    assert facts == {
        "format_version": state.FORMAT_VERSION,
        "runner": "local",
        "input_dir": "语料",
        "made_with": wanted,
    }


names = st.text(max_size=5)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(ORDER),
        st.dictionaries(names, names | st.integers() | st.dictionaries(names, names)),
    )
)
def test_any_state_comes_back_from_run_json(wanted):
    with tempfile.TemporaryDirectory() as folder:
        state.write_state(Layout(folder), wanted, {})
        assert state.read_state(Layout(folder)) == wanted


@pytest.mark.parametrize("makes_documents", [False, True])
def test_read_state_of_a_new_or_empty_directory_is_empty(layout, makes_documents):
    assert state.read_state(layout, makes_documents) == {}
    Path(layout.root).mkdir()
    assert state.read_state(layout, makes_documents) == {}


def assert_refused(layout, why, makes_documents=True):
    with pytest.raises(UsageError) as raised:
        state.read_state(layout, makes_documents)
    assert str(raised.value).startswith(f"{layout.root} {why}")
    assert str(raised.value).endswith(
        "; choose another --output_dir, or start afresh with --overwrite"
    )


@pytest.mark.parametrize("version", [1, 6, 8, "7", None])
def test_read_state_refuses_a_directory_of_another_version(layout, version):
    facts = {"format_version": version, "made_with": describe()}
    files.write_bytes(layout.run, json.dumps(facts).encode())
    assert_refused(layout, f"was made in format {version!r}; this is 7; choose another")


def test_read_state_refuses_a_directory_of_a_version_that_said_none(layout):
    files.write_bytes(layout.run, b'{"started": "2026-11-24T00:00:00Z"}')
    assert_refused(layout, "was made in format None; this is 7")


@pytest.mark.parametrize(
    "data",
    [b"", b"no json", b'{"format_version": 3, "made_w', b"[]", b"2", b"null", b"\xff\xfe{}"],
    ids=["empty", "no json", "cut off", "list", "number", "null", "no utf-8"],
)
@pytest.mark.parametrize("makes_documents", [False, True])
def test_read_state_refuses_damaged_run_json(layout, data, makes_documents):
    files.write_bytes(layout.run, data)
    assert_refused(layout, f"has a damaged {layout.run} (", makes_documents)


@pytest.mark.parametrize(
    "made_with", [7, [], "split", {"split": 7}, {"split": {"inputs": ["a"]}}, {"clean": []}]
)
def test_read_state_refuses_what_cannot_be_a_state(layout, made_with):
    facts = {"format_version": state.FORMAT_VERSION, "made_with": made_with}
    files.write_bytes(layout.run, json.dumps(facts).encode())
    assert_refused(layout, f"has a damaged {layout.run} (made_with); choose another")


@pytest.mark.parametrize("path", ["documents/manifest.json", "tfrecords/dataset_info.json"])
def test_read_state_refuses_outputs_without_run_json(layout, path):
    files.write_bytes(files.join(layout.root, path), b"{}")
    assert_refused(layout, f"holds outputs, but no {layout.run} that tells of them; choose")


def test_read_state_takes_documents_made_elsewhere_where_none_are_made(layout):
    files.write_bytes(layout.manifest, b"{}")
    assert state.read_state(layout, makes_documents=False) == {}
    files.write_bytes(layout.dataset_info, b"{}")
    assert_refused(layout, "holds outputs, but no ", makes_documents=False)


def test_read_state_refuses_to_make_documents_where_others_lie_that_were_made_elsewhere(layout):
    shards = {SHARDS: state.describe_shards(InstancesConfig(), "d", "v")}
    state.write_state(layout, shards, {})
    assert state.read_state(layout) == shards
    files.write_bytes(layout.manifest, b"{}")
    assert_refused(layout, "holds documents that were made elsewhere; ")
    assert state.read_state(layout, makes_documents=False) == shards


def test_refusing_leaves_everything_where_it_is(layout):
    files.write_bytes(layout.run, b"no json")
    files.write_bytes(layout.manifest, b"{}")
    before = contents_of(layout)
    assert_refused(layout, "has a damaged")
    assert contents_of(layout) == before


def test_refuse_other_corpus_compares_the_files_of_complete_documents(layout):
    found = describe()
    other = describe(inputs_of(input_of("z.jsonl")))
    overlapping = describe(inputs_of(input_of("z.jsonl"), input_of("a.jsonl", fingerprint="9")))
    # Documents that are not complete may be replaced by any.
    state.refuse_other_corpus(other, found, layout)
    files.write_bytes(layout.manifest, b"{}")
    state.refuse_other_corpus(other, {}, layout)
    state.refuse_other_corpus(overlapping, found, layout)
    state.refuse_other_corpus(found, found, layout)
    with pytest.raises(UsageError) as raised:
        state.refuse_other_corpus(other, found, layout)
    assert str(raised.value) == (
        f"{layout.documents} was made from other files; choose another --output_dir, or start "
        "afresh with --overwrite"
    )


# --- What is deleted ---

MADE = {
    SPLIT: [
        f"work/chunks/plain-{'0' * 32}-00000.zst",
        f"work/done/split/plain-{'0' * 32}.done.json",
    ],
    CLEAN: [
        "work/cleaned/part-00000-of-00001.jsonl.zst",
        "work/cleaned_rejected/part-00000-of-00001.jsonl.zst",
        "work/cleaned_samples/part-00000-of-00001.samples",
        *(
            f"work/{kind}/part-00000-of-00001.{kind}"
            for kind in ("sizes", "frames", "keys", "bands", "paragraphs")
        ),
        "work/done/clean/00000.done.json",
    ],
    FINISH: [
        "documents/part-00000-of-00001.jsonl.zst",
        "documents/manifest.json",
        "documents/samples.json",
        "rejected/part-00000-of-00001.jsonl.zst",
        "work/finished_samples/part-00000-of-00001.samples",
        "work/copies/part-00000-of-00001.copies",
        "work/near_losers",
        *(
            f"work/done/{stage}/00000.done.json"
            for stage in ("copies", "candidates", "verify", "near", "repeats", "finish")
        ),
    ],
    COUNT: [
        "work/token_counts.json.zst",
        "work/words/part-00000-of-00001.words",
        "work/done/count/00000.done.json",
        "work/done/words/00000.done.json",
    ],
    SHARDS: [
        "tfrecords/128/train-0-00000-of-00001.tfrecord",
        "tfrecords/vocab.txt",
        "tfrecords/dataset_info.json",
        "work/done/shards/train-00000-of-00001.done.json",
        "ledger.json",
        "report.html",
    ],
}
KEPT = ["vocab.txt", "run.json", "notes.txt", "documents.old/a", "mine/b"]


def test_every_path_of_the_layout_is_made_by_one_stage_or_kept(layout):
    """A path that nobody thought of would outlive what made it."""
    unit = 0, 1
    members = [getattr(layout, name) for name in dir(Layout) if not name.startswith("_")]
    paths = [path for path in members if isinstance(path, str)]
    paths += [
        of_unit(*unit)
        for of_unit in (
            *(layout.part, layout.rejected_part, layout.cleaned, layout.cleaned_rejected),
            *(layout.sizes, layout.frames, layout.keys, layout.bands, layout.paragraphs),
            *(layout.cleaned_samples, layout.finished_samples, layout.copies, layout.words),
        )
    ]
    named = {*KEPT, *(name for of_stage in MADE.values() for name in of_stage)}
    inside = {os.path.relpath(path, layout.root) for path in paths} - {"."}
    unknown = {path for path in inside if not any(name.startswith(path) for name in named)}
    # What the units of instances reported goes with the folder, and is written anew by every run.
    assert unknown == {"work/shards.json"}


def contents_of(layout):
    root = Path(layout.root)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def fill(layout):
    for name in [*KEPT, *(name for of_stage in MADE.values() for name in of_stage)]:
        files.write_bytes(files.join(layout.root, name), name.encode())


@pytest.mark.parametrize("stage", ORDER)
def test_forget_deletes_what_a_stage_and_all_later_ones_have_made_and_nothing_else(layout, stage):
    fill(layout)
    state.forget(stage, layout)
    stays = [name for earlier in ORDER[: ORDER.index(stage)] for name in MADE[earlier]]
    assert sorted(contents_of(layout)) == sorted(KEPT + stays)


@pytest.mark.parametrize("stage", ORDER)
def test_forget_takes_a_directory_without_outputs(layout, stage):
    state.forget(stage, layout)
    assert not Path(layout.root).exists()
    files.write_bytes(layout.vocab, b"")
    state.forget(stage, layout)
    assert sorted(contents_of(layout)) == ["vocab.txt"]


STANDS_FOR = {
    "documents/manifest.json": ("documents/", "rejected/"),
    "tfrecords/dataset_info.json": ("tfrecords/", "documents/", "rejected/"),
}
"""Marks of completeness, and the folders that are whole where they stand."""


@pytest.mark.parametrize("stage", ORDER)
def test_forget_deletes_marks_of_completeness_before_what_they_stand_for(
    layout, stage, monkeypatch
):
    fill(layout)
    before = set(contents_of(layout))
    delete, asked, seen = files.delete, [], []

    def look_and_delete(path):
        asked.append(os.path.relpath(path, layout.root))
        seen.append(set(contents_of(layout)))
        delete(path)

    monkeypatch.setattr(files, "delete", look_and_delete)
    state.forget(stage, layout)
    for mark, folders in STANDS_FOR.items():
        # Wherever it is stopped: what a mark stands for is all there, or the mark is gone.
        for contents in seen:
            if mark in contents:
                assert {name for name in before if name.startswith(folders)} <= contents
        # Its folder is deleted in no order, so the mark must go by itself.
        folder = os.path.dirname(mark)
        if folder in asked:
            assert asked.index(mark) < asked.index(folder)


@pytest.mark.parametrize("stage", ORDER)
def test_forget_that_is_stopped_can_be_done_again(layout, stage, monkeypatch):
    delete = files.delete
    for allowed in (0, 1, 2, 4, 7):
        fill(layout)
        left = iter(range(allowed))

        def delete_some(path, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            delete(path)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(files, "delete", delete_some)
            state.forget(stage, layout)
        state.forget(stage, layout)
        stays = [name for earlier in ORDER[: ORDER.index(stage)] for name in MADE[earlier]]
        assert sorted(contents_of(layout)) == sorted(KEPT + stays)


HALF_WRITTEN = [
    f"{name}.{'a' * 32}.tmp"
    for name in (
        "documents/part-00000-of-00001.jsonl.zst",
        "documents/manifest.json",
        "rejected/part-00000-of-00001.jsonl.zst",
        "tfrecords/512/train-0-00000-of-00001.tfrecord",
        "tfrecords/dataset_info.json",
        "work/cleaned/part-00000-of-00001.jsonl.zst",
        "work/done/clean/00000.done.json",
        "documents/samples.json",
        "work/bands/part-00000-of-00001.bands",
        "work/near_losers",
        "vocab.txt",
        "run.json",
        "ledger.json",
        "report.html",
    )
]
NOT_OURS = ["notes.tmp", f"notes.txt.{'a' * 32}.tmp", "mine/a.tmp", f"vocab.txt2.{'a' * 32}.tmp"]


def test_delete_temporary_files_deletes_what_is_half_written_and_nothing_else(layout):
    fill(layout)
    for name in [*HALF_WRITTEN, *NOT_OURS]:
        files.write_bytes(files.join(layout.root, name), b"half")
    before = contents_of(layout)
    state.delete_temporary_files(layout)
    after = contents_of(layout)
    assert set(before) - set(after) == set(HALF_WRITTEN)
    assert after == {name: before[name] for name in after}
    assert set(NOT_OURS) <= set(after)


def test_delete_temporary_files_takes_a_missing_directory(layout):
    state.delete_temporary_files(layout)
    assert not Path(layout.root).exists()


def test_nothing_half_written_is_looked_for_in_cloud_storage():
    state.delete_temporary_files(Layout("gs://bucket/out"))
