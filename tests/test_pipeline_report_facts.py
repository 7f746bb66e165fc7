"""Reading of what a report is made of."""

import json
from collections import Counter
from pathlib import Path

import made_outputs
import pytest

from pipeline.errors import RunError, UsageError
from pipeline.report.accounts import add_up, add_up_by_corpus, reasons_of, rules_of
from pipeline.report.facts import read_accounts, read_facts, read_samples


def test_accounts_say_what_the_ledger_says(tmp_path):
    accounts, not_read = read_accounts(made_outputs.make_outputs(tmp_path))
    web, held_out, wiki = accounts
    assert [(of.corpus, of.split) for of in accounts] == [
        ("webtext2019zh", "train"),
        ("wiki2019zh", "held_out"),
        ("wiki2019zh", "train"),
    ]
    assert (web.read, web.added, web.kept) == (60, Counter(field_joiner=2), 31)
    assert web.in_instances == {"128": 28, "512": 28}
    assert (web.white_space, web.dropped, web.unknown) == (1, 2, 7)
    assert web.lengths == {1: 1, 2: 1, 3: 2}
    assert (held_out.split_name, wiki.split_name) == ("held out", "train")
    assert not_read == {"webtext2019zh": ["topic", "star"], "wiki2019zh": ["url"]}


def test_accounts_balance_and_tell_by_how_much_they_do_not(tmp_path):
    accounts, _ = read_accounts(made_outputs.make_outputs(tmp_path))
    assert all(account.balances for account in accounts)
    web = accounts[0]._replace(read=70)
    assert (web.imbalance, web.balances) == (10, False)
    web = accounts[0]._replace(in_instances=Counter({"128": 28, "512": 30}))
    assert (web.imbalance, web.imbalance_at("128"), web.imbalance_at("512")) == (0, 0, -2)
    assert not web.balances


def test_sum_of_accounts_adds_every_figure_and_balances(tmp_path):
    accounts, _ = read_accounts(made_outputs.make_outputs(tmp_path))
    total = add_up(accounts)
    assert (total.corpus, total.split, total.read, total.kept) == ("all", "", 108, 67)
    assert total.removed == {"inline_tags": 25, "wide_spaces": 1}
    assert total.in_instances == {"128": 61, "512": 61}
    assert total.balances
    assert reasons_of(total) == {
        "too_short": 2,
        "duplicate": 1,
        "not_json": 1,
        "too_little_chinese": 1,
    }
    assert rules_of(total) == ["field_joiner", "inline_tags", "wide_spaces"]
    assert [(of.corpus, of.kept) for of in add_up_by_corpus(accounts)] == [
        ("webtext2019zh", 31),
        ("wiki2019zh", 36),
    ]


def test_sum_of_no_accounts_is_nothing():
    assert add_up([]).came == 0 and add_up([]).balances


def test_account_of_documents_alone_balances_without_instances(tmp_path):
    layout = made_outputs.make_outputs(tmp_path)
    figures = {**made_outputs.LEDGER["webtext2019zh"]["train"]}
    for name in made_outputs.OF_INSTANCES:
        del figures[name]
    made_outputs.write_ledger(layout, {"webtext2019zh": {"train": figures}})
    ((account,), _) = read_accounts(layout)
    assert account.in_instances == {} and account.balances


def test_samples_are_read(tmp_path):
    samples = read_samples(made_outputs.make_outputs(tmp_path))
    assert samples.edits["inline_tags"][0].spans == [(2, 5, ""), (7, 11, "")]
    (duplicate,) = samples.rejected["duplicate"]
    assert duplicate.duplicate_of == f"webtext2019zh/train/{made_outputs.WEB}:90"
    assert (duplicate.chars, duplicate.similarity) == (6, None)


def test_only_an_equal_document_without_text_has_the_text_of_the_kept_one(tmp_path):
    (sample,) = read_samples(made_outputs.make_outputs(tmp_path)).rejected["duplicate"]
    assert sample.text_beside("另一个") == "晚饭吃什么？"
    assert sample._replace(text="").text_beside("另一个") == "另一个"
    assert sample._replace(text="", similarity=0.9).text_beside("另一个") == ""


def test_facts_without_shards_have_no_info(tmp_path):
    facts = read_facts(made_outputs.make_outputs(tmp_path))
    assert facts.info is None
    assert facts.versions == {"python": "3.11.7", "numpy": "2.4.6"}


def test_facts_with_shards_have_their_info(tmp_path):
    facts = read_facts(made_outputs.make_outputs(tmp_path, made_outputs.info()))
    assert facts.info == made_outputs.info()


@pytest.mark.parametrize("name", ["manifest", "ledger", "samples", "run"])
def test_missing_file_is_named_with_the_command_that_makes_it(tmp_path, name):
    layout = made_outputs.make_outputs(tmp_path)
    Path(getattr(layout, name)).unlink()
    with pytest.raises(UsageError) as error:
        read_facts(layout)
    assert str(error.value).startswith(f"{getattr(layout, name)} is missing")
    assert f"--output_dir={layout.root}" in str(error.value)


@pytest.mark.parametrize("name", ["ledger", "samples"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b"\xff", "is damaged"),
        (b'{"format_version": 1}', "is damaged"),
        (b'{"format_version": 1, "corpora": [], "edits": []}', "is damaged"),
        (b'{"format_version": 2}', "format 2, this program reads 1"),
    ],
)
def test_damaged_or_other_file_is_told(tmp_path, name, content, fault):
    layout = made_outputs.make_outputs(tmp_path)
    Path(getattr(layout, name)).write_bytes(content)
    with pytest.raises(RunError) as error:
        read_facts(layout)
    assert str(error.value).startswith(f"{getattr(layout, name)}: {fault}")


def change(path, keys, value):
    """Puts something else at a path of keys and indices of a JSON file."""
    fields = json.loads(Path(path).read_bytes())
    *parents, last = keys
    place = fields
    for key in parents:
        place = place[key]
    place[last] = value
    Path(path).write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("ledger", ["corpora", "wiki2019zh"], 7),
        ("ledger", ["corpora", "wiki2019zh", "train"], []),
        ("ledger", ["corpora", "wiki2019zh", "train", "read"], "31"),
        ("ledger", ["corpora", "wiki2019zh", "train", "removed"], [5]),
        ("ledger", ["corpora", "wiki2019zh", "train", "edits", "inline_tags"], None),
        ("ledger", ["corpora", "wiki2019zh", "train", "lengths", 3], "1"),
        ("samples", ["edits", "inline_tags", 0, "before"], None),
        ("samples", ["edits", "inline_tags", 0, "spans", 0], [2, 5]),
        ("samples", ["edits", "inline_tags", 0, "spans", 0, 1], "5"),
        ("samples", ["rejected", "too_short", 0, "chars"], "1"),
        ("samples", ["rejected", "too_short", 0, "similarity"], "1"),
        ("run", ["versions"], 7),
        ("run", ["made_with"], []),
        ("run", ["made_with", "vocab"], "vocab"),
        ("run", ["made_with", "vocab", "borders"], 7),
        ("run", ["made_with", "vocab", "borders", 0], ["characters"]),
        ("run", ["made_with", "vocab", "borders", 0, 2], "国"),
    ],
    ids=str,
)
def test_value_that_cannot_be_is_told(tmp_path, name, keys, value):
    layout = made_outputs.make_outputs(tmp_path, made_outputs.info())
    change(getattr(layout, name), keys, value)
    with pytest.raises(RunError) as error:
        read_facts(layout)
    assert str(error.value).startswith(f"{getattr(layout, name)}: is damaged (")


def test_damaged_info_is_told(tmp_path):
    layout = made_outputs.make_outputs(tmp_path, made_outputs.info())
    fields = json.loads(made_outputs.info().to_json())
    del fields["config"]
    Path(layout.dataset_info).write_text(json.dumps(fields))
    with pytest.raises(RunError, match="fields must be exactly"):
        read_facts(layout)
