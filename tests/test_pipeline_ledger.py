import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.ledger import find_imbalances, from_rows, to_json, to_rows

DOCUMENT_KEYS = [
    *("read", "kept", "added", "removed", "rejected", "duplicates"),
    *("edits", "documents", "unreadable_bytes", "lengths"),
]
INSTANCE_KEYS = ["in_instances", "white_space", "dropped_by_tokenizer", "unknown", "tokens"]
LENGTHS = (128, 512)

DOCUMENTS = {
    ("read", ""): 1_000,
    ("added", "fold_width"): 7,
    ("removed", "fold_width"): 9,
    ("removed", "strip_markup"): 100,
    ("rejected", "too_short"): 50,
    ("duplicates", "exact"): 30,
    ("duplicates", "near"): 20,
    ("duplicates", "paragraph"): 10,
    ("kept", ""): 788,
    # None of these are characters.
    ("edits", "fold_width"): 9,
    ("documents", "read"): 4,
    ("documents", "kept"): 2,
    ("documents", "too_short"): 1,
    ("documents", "duplicate"): 1,
    ("unreadable_bytes", "bad_json"): 77,
    ("lengths", "8"): 1,
    ("lengths", "9"): 1,
}
INSTANCES = {
    ("in_instances", "128"): 700,
    ("in_instances", "512"): 700,
    ("white_space", ""): 80,
    ("dropped_by_tokenizer", ""): 8,
    ("unknown", ""): 6,
    ("tokens", ""): 500,
}


def ledger_of(accounts, corpus="plain", split="train"):
    return Counter({(corpus, split, *key): number for key, number in accounts.items()})


def changed(accounts, key, by=1):
    return accounts | {key: accounts.get(key, 0) + by}


WHOLE = ledger_of(DOCUMENTS | INSTANCES)

names = st.sampled_from(["plain", "wiki2019zh", "文"])
accounts = st.one_of(
    st.tuples(st.sampled_from(["read", "kept", "white_space", "unknown"]), st.just("")),
    st.tuples(st.sampled_from(["added", "removed", "documents"]), st.sampled_from(["一", "b"])),
    st.tuples(st.just("in_instances"), st.sampled_from(["128", "512"])),
    st.tuples(st.just("duplicates"), st.sampled_from(["exact", "near", "paragraph"])),
    st.tuples(st.just("lengths"), st.integers(0, 12).map(str)),
)
keys = st.tuples(names, st.sampled_from(["train", "held_out", "test"]), accounts).map(
    lambda key: (key[0], key[1], *key[2])
)
ledgers = st.dictionaries(keys, st.integers(0, 5) | st.integers(-(10**18), 10**18)).map(Counter)


# --- Rows ---


@settings(max_examples=100, deadline=None)
@given(ledgers)
@example(Counter())
def test_rows_hold_all_figures_but_zeros_and_survive_json(ledger):
    rows = to_rows(ledger)
    assert rows == sorted(rows)
    assert all(number for *_, number in rows)
    recalled = from_rows(json.loads(json.dumps(rows)))
    assert recalled == {key: number for key, number in ledger.items() if number}
    assert isinstance(recalled, Counter)
    assert to_rows(recalled) == rows


def test_rows_of_ledger_are_sorted_whatever_the_order_of_arrival():
    ledger = Counter({("b", "train", "read", ""): 2, ("a", "train", "kept", ""): 0})
    ledger["b", "train", "kept", ""] += 1
    assert to_rows(ledger) == [("b", "train", "kept", "", 1), ("b", "train", "read", "", 2)]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (["a", "train", "read", 2], ValueError),
        (["a", "train", "read", "", 2, 3], ValueError),
        (["a", "train", "read", "", "2"], TypeError),
        (["a", "train", "read", "", 2.5], TypeError),
        (["a", "train", 7, "", 2], TypeError),
        (["a", "train", ["read"], "", 2], TypeError),
        (7, TypeError),
    ],
)
def test_rows_that_name_no_figure_are_refused(row, error):
    with pytest.raises(error):
        from_rows([["a", "train", "kept", "", 1], row])


# --- Balance ---


def test_ledger_that_balances_has_no_faults():
    assert find_imbalances(WHOLE, LENGTHS) == []
    assert find_imbalances(ledger_of(DOCUMENTS)) == []
    assert find_imbalances(Counter()) == find_imbalances(Counter(), LENGTHS) == []


@pytest.mark.parametrize(
    ("key", "came", "went"),
    [
        (("read", ""), "1,008", "1,007"),
        (("added", "fold_width"), "1,008", "1,007"),
        (("added", "new_rule"), "1,008", "1,007"),
        (("removed", "strip_markup"), "1,007", "1,008"),
        (("rejected", "too_short"), "1,007", "1,008"),
        (("duplicates", "exact"), "1,007", "1,008"),
        (("duplicates", "near"), "1,007", "1,008"),
        (("duplicates", "paragraph"), "1,007", "1,008"),
        (("kept", ""), "1,007", "1,008"),
    ],
)
def test_one_character_too_many_names_corpus_split_and_both_figures(key, came, went):
    ledger = ledger_of(changed(DOCUMENTS, key), "wiki2019zh", "held_out") + WHOLE
    assert find_imbalances(ledger) == [
        f"wiki2019zh, held_out: {came} characters were read or added, but {went} removed, "
        "rejected, duplicates or kept"
    ]


@pytest.mark.parametrize(
    ("key", "inside", "beside"),
    [
        (("in_instances", "512"), "701", "88"),
        (("white_space", ""), "700", "89"),
        (("dropped_by_tokenizer", ""), "700", "89"),
    ],
)
def test_character_that_is_twice_in_instances_names_the_length(key, inside, beside):
    ledger = ledger_of(changed(DOCUMENTS | INSTANCES, key))
    faults = find_imbalances(ledger, LENGTHS)
    assert faults[-1] == (
        f"plain, train: 788 characters were kept, but {inside} are in instances of length 512 and "
        f"{beside} white space or dropped"
    )
    assert len(faults) == (1 if key[0] == "in_instances" else 2)
    assert find_imbalances(ledger) == []


@pytest.mark.parametrize(
    "key",
    [("edits", "fold_width"), ("documents", "kept"), ("unreadable_bytes", "x"), ("lengths", "3")],
)
def test_figures_that_are_no_characters_do_not_weigh(key):
    assert find_imbalances(ledger_of(changed(DOCUMENTS | INSTANCES, key, 1_000)), LENGTHS) == []


def test_unknown_characters_are_not_counted_beside_those_in_instances():
    assert (
        find_imbalances(ledger_of(changed(DOCUMENTS | INSTANCES, ("unknown", ""))), LENGTHS) == []
    )


def test_kept_characters_without_instances_are_a_fault_at_every_length():
    faults = find_imbalances(ledger_of(DOCUMENTS), LENGTHS)
    assert faults == [
        f"plain, train: 788 characters were kept, but 0 are in instances of length {length} and 0 "
        "white space or dropped"
        for length in LENGTHS
    ]


def test_split_of_which_nothing_is_kept_balances_without_instances():
    gone = ledger_of({("read", ""): 5, ("rejected", "too_short"): 5}, split="test")
    assert find_imbalances(WHOLE + gone, LENGTHS) == []


def test_a_surplus_in_one_split_does_not_make_up_for_another():
    short = ledger_of({("read", ""): 1}, split="test")
    over = ledger_of({("kept", ""): 1}, split="held_out")
    assert [fault.partition(":")[0] for fault in find_imbalances(short + over)] == [
        "plain, held_out",
        "plain, test",
    ]


@settings(max_examples=100, deadline=None)
@given(ledgers)
def test_imbalances_are_those_of_plain_sums_in_order(ledger):
    def total(split, *wanted):
        return sum(n for key, n in ledger.items() if key[:2] == split and key[2] in wanted)

    wrong = []
    for split in sorted({key[:2] for key in ledger}):
        if total(split, "read", "added") != total(split, "removed", "duplicates", "kept"):
            wrong.append(split)
        outside = total(split, "kept") - total(split, "white_space")
        lengths = [str(length) for length in LENGTHS]
        wrong += [split for of in lengths if ledger[*split, "in_instances", of] != outside]
    faults = find_imbalances(ledger, LENGTHS)
    assert [fault.partition(":")[0] for fault in faults] == [", ".join(split) for split in wrong]


# --- ledger.json ---


def parse(ledger, not_read=None):
    return json.loads(to_json(ledger, not_read or {}))


def test_ledger_of_documents_has_no_figures_of_instances():
    (described,) = parse(ledger_of(DOCUMENTS))["corpora"]["plain"].values()
    assert sorted(described) == sorted(DOCUMENT_KEYS)


def test_ledger_of_a_run_has_all_figures():
    assert parse(WHOLE, {"plain": ["title"], "wiki2019zh": ["url"]}) == {
        "format_version": 1,
        "corpora": {
            "plain": {
                "train": {
                    "read": 1_000,
                    "kept": 788,
                    "white_space": 80,
                    "dropped_by_tokenizer": 8,
                    "unknown": 6,
                    "tokens": 500,
                    "added": {"fold_width": 7},
                    "removed": {"fold_width": 9, "strip_markup": 100},
                    "rejected": {"too_short": 50},
                    "duplicates": {"exact": 30, "near": 20, "paragraph": 10},
                    "in_instances": {"128": 700, "512": 700},
                    "edits": {"fold_width": 9},
                    "documents": {"duplicate": 1, "kept": 2, "read": 4, "too_short": 1},
                    "unreadable_bytes": {"bad_json": 77},
                    "lengths": [0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
                }
            }
        },
        "not_read": {"plain": ["title"]},
    }


def test_figures_of_instances_stand_in_every_split_of_a_run():
    gone = ledger_of({("read", ""): 5, ("rejected", "too_short"): 5}, split="test")
    described = parse(WHOLE + gone)["corpora"]["plain"]
    assert set(described["train"]) == set(described["test"]) == {*DOCUMENT_KEYS, *INSTANCE_KEYS}
    assert [described["test"][key] for key in INSTANCE_KEYS] == [{}, 0, 0, 0, 0]


def test_split_without_duplicates_or_kept_documents_shows_zeros():
    described = parse(ledger_of({("read", ""): 5}))["corpora"]["plain"]["train"]
    assert described["duplicates"] == {"exact": 0, "near": 0, "paragraph": 0}
    assert (described["kept"], described["lengths"], described["documents"]) == (0, [], {})


def test_lengths_are_counted_by_power_and_not_by_the_order_of_digits():
    powers = ledger_of({("lengths", "2"): 4, ("lengths", "10"): 1})
    described = parse(powers)["corpora"]["plain"]["train"]
    assert described["lengths"] == [0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]


def test_ledger_of_nothing_is_a_complete_file():
    assert parse(Counter(), {"plain": ["title"]}) == {
        "format_version": 1,
        "corpora": {},
        "not_read": {},
    }


def test_ledger_file_is_readable_text_with_a_last_line_feed():
    data = to_json(ledger_of({("removed", "规则"): 1}), {})
    assert "规则".encode() in data
    assert data.endswith(b"}\n")


@settings(max_examples=100, deadline=None)
@given(ledgers, st.randoms(use_true_random=False))
def test_ledger_file_hangs_neither_on_order_nor_on_zeros(ledger, random):
    entries = random.sample(list(ledger.items()), len(ledger))
    data = to_json(ledger, {})
    assert to_json(Counter(dict(entries)), {}) == data
    assert to_json(from_rows(to_rows(ledger)), {}) == data
