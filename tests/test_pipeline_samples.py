import hashlib
import json
from functools import partial, reduce
from itertools import chain, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.samples import (
    EDITS,
    REJECTED,
    SAMPLE_SIZE,
    Sample,
    Sampler,
    describe_difference,
    describe_edit,
    describe_text,
    merge_samples,
    samples_from_bytes,
    samples_to_bytes,
    samples_to_json,
    size_in_unit,
)

LAST_DOCUMENT = (2 << 61) + (1 << 61) - 1


def mix_plainly(value):
    """SplitMix64's finaliser."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        value = (value ^ value >> shift) * factor % 2**64
    return value


def draw_plainly(kind, name, document):
    digest = hashlib.blake2b(f"{kind} {name}".encode(), digest_size=8).digest()
    return mix_plainly(document ^ int.from_bytes(digest, "little"))


def draw(sampler, kind, name, document):
    """The draw of one document; None if it is too high."""
    return next((drawn for _, drawn in sampler.draws(kind, name, [document])), None)


def sample_documents(documents, kind=EDITS, name="rule", draws=draw_plainly):
    """Offers documents one after the other, as a unit does, without asking for the draw first."""
    sampler = Sampler()
    for document in documents:
        sampler.add(kind, name, draws(kind, name, document), partial(dict, document=document))
    return sampler.samples()


def keep_plainly(samples):
    """The lowest draws of each kind and name, in order; of equal ones those that came first."""
    kept = []
    for kind_and_name in sorted({sample[:2] for sample in samples}):
        of_name = [sample for sample in samples if sample[:2] == kind_and_name]
        kept += sorted(of_name, key=lambda sample: sample.draw)[:SAMPLE_SIZE]
    return kept


documents = st.integers(0, LAST_DOCUMENT)
names = st.sampled_from(["fold_width", "文", "too_short"])


@st.composite
def offers(draw):
    """Lists of the rows of one document each: a rule may meet it in several passes."""
    of_documents = []
    for number in draw(st.lists(st.integers(0, 10**6), unique=True, max_size=60)):
        kind, name = draw(st.sampled_from([(EDITS, "a"), (EDITS, "b"), (REJECTED, "a")]))
        drawn = draw_plainly(kind, name, number)
        rows = [{"document": number, "pass": at} for at in range(draw(st.integers(1, 3)))]
        of_documents.append([Sample(kind, name, drawn, row) for row in rows])
    return of_documents


# --- Draws ---


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([EDITS, REJECTED]), names, documents)
@example(EDITS, "rule", 0)
@example(REJECTED, "rule", LAST_DOCUMENT)
def test_draw_is_the_mixed_number_of_the_document(kind, name, document):
    assert draw(Sampler(), kind, name, document) == draw_plainly(kind, name, document)


def test_draw_is_the_same_on_every_machine():
    assert draw(Sampler(), EDITS, "rule", 1 << 39) == 0xAE157815A91E7347


def test_draws_of_kinds_and_names_are_not_the_same():
    drawn = {draw(Sampler(), *of, 7) for of in ((EDITS, "a"), (EDITS, "b"), (REJECTED, "a"))}
    assert len(drawn) == 3


@pytest.mark.parametrize("step", [1, 1 << 39, 1 << 61], ids=["offset", "unit", "split"])
def test_neighbours_by_offset_unit_or_split_are_drawn_evenly(step):
    # 4,096 draws in 16 parts: 256 each with a standard deviation of 15.5; 75 is 4.8 of them. Of
    # the few splits several names are drawn.
    numbers = [number * step for number in range(3 if step == 1 << 61 else 4096)]
    rules = [f"rule {at}" for at in range(4096 // len(numbers))]
    drawn = [draw(Sampler(), EDITS, rule, number) for rule in rules for number in numbers]
    parts = [sum(one >> 60 == part for one in drawn) for part in range(16)]
    assert all(abs(count - len(drawn) / 16) < 75 for count in parts)


def test_draw_too_high_to_be_kept_is_none():
    sampler = Sampler()
    draws = {document: draw_plainly(EDITS, "rule", document) for document in range(200)}
    for document in range(100):
        drawn = draw(sampler, EDITS, "rule", document)
        lowest = sorted(list(draws.values())[:document])[:SAMPLE_SIZE]
        is_kept = len(lowest) < SAMPLE_SIZE or draws[document] < lowest[-1]
        assert drawn == (draws[document] if is_kept else None)
        if drawn is not None:
            sampler.add(EDITS, "rule", drawn, dict)
    highest = sorted(list(draws.values())[:100])[SAMPLE_SIZE - 1]
    assert all(draw(sampler, EDITS, "rule", at) is None for at in draws if draws[at] == highest)
    assert draw(sampler, EDITS, "another", 0) is not None
    assert draw(sampler, REJECTED, "rule", 0) is not None
    assert sampler.samples()[-1].draw == highest


def test_draws_of_several_documents_name_their_places():
    sampler = Sampler(size=2)
    taken = []
    for place, drawn in sampler.draws(EDITS, "rule", range(50, 90)):
        taken.append(50 + place)
        sampler.add(EDITS, "rule", drawn, partial(dict, document=50 + place))
    lowest = sorted(range(50, 90), key=lambda at: draw_plainly(EDITS, "rule", at))[:2]
    assert [sample.row["document"] for sample in sampler.samples()] == lowest
    assert taken == sorted(taken) and len(taken) < 40


@pytest.mark.parametrize(
    ("units", "size"), [(0, 20), (1, 20), (3, 20), (4, 16), (15, 5), (16, 5), (2000, 5)]
)
def test_units_together_keep_three_times_a_sample_and_each_five(units, size):
    assert size_in_unit(units) == size


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 450))
def test_offers_are_taken_as_if_each_was_added(count):
    sampler = Sampler()
    described = []
    for at in range(count):
        sampler.offer(EDITS, "rule", at, lambda at=at: described.append(at) or {"document": at})
    found = sampler.samples()
    assert found == sample_documents(range(count))
    assert described == [sample.row["document"] for sample in found]  # no others
    assert sampler.samples() == []


def test_asking_for_a_draw_keeps_nothing():
    sampler = Sampler()
    draw(sampler, EDITS, "rule", 1)
    assert sampler.samples() == Sampler().samples() == []


# --- What is kept ---


@pytest.mark.parametrize("count", [0, 1, SAMPLE_SIZE - 1, SAMPLE_SIZE, SAMPLE_SIZE + 1, 300])
def test_sampler_keeps_the_lowest_draws_in_order(count):
    kept = sample_documents(range(count))
    expected = sorted((draw_plainly(EDITS, "rule", at), at) for at in range(count))[:SAMPLE_SIZE]
    assert kept == [Sample(EDITS, "rule", draw, {"document": at}) for draw, at in expected]


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(40)))
def test_sampler_keeps_the_same_whatever_the_order_of_documents(order):
    assert sample_documents(order) == sample_documents(range(40))


def test_of_equal_draws_the_rows_that_came_first_stay_in_their_order():
    kept = sample_documents(range(SAMPLE_SIZE + 5), draws=lambda *_: 7)
    assert [sample.row["document"] for sample in kept] == list(range(SAMPLE_SIZE))
    assert merge_samples(kept) == kept


def test_rows_of_kinds_and_names_are_kept_apart():
    sampler = Sampler()
    for kind, name in ((REJECTED, "b"), (EDITS, "b"), (REJECTED, "a"), (EDITS, "a")):
        for draw in range(SAMPLE_SIZE + 1):
            sampler.add(kind, name, draw, partial(dict, of=[kind, name]))
    kept = sampler.samples()
    assert [sample[:3] for sample in kept] == [
        (kind, name, draw)
        for kind in (EDITS, REJECTED)
        for name in "ab"
        for draw in range(SAMPLE_SIZE)
    ]
    assert all(sample.row == {"of": [sample.kind, sample.name]} for sample in kept)


# --- Merging ---


@settings(max_examples=100, deadline=None)
@given(offers(), st.lists(st.integers(0, 60), max_size=4), st.randoms(use_true_random=False))
def test_merging_gives_the_same_in_any_order_and_grouping(of_documents, cuts, random):
    merged = merge_samples(chain.from_iterable(of_documents))
    assert merged == keep_plainly(list(chain.from_iterable(of_documents)))
    shuffled = random.sample(of_documents, len(of_documents))
    bounds = [0, *sorted(cuts), len(shuffled)]
    units = [list(chain.from_iterable(shuffled[start:end])) for start, end in pairwise(bounds)]
    assert reduce(lambda some, more: merge_samples(some + more), units, []) == merged
    assert merge_samples(chain.from_iterable(map(merge_samples, units))) == merged


def test_merging_units_equals_one_sampler_over_all_documents():
    units = [sample_documents(range(start, 500, 3)) for start in range(3)]
    merged = merge_samples([sample for unit in units for sample in unit])
    assert merged == sample_documents(range(500))
    assert len(merged) == SAMPLE_SIZE
    assert merge_samples([]) == []


def test_samples_come_back_from_their_file():
    samples = [Sample(EDITS, "rule", (1 << 64) - 1, {"spans": [(0, 1, "")]})]
    samples += [Sample(REJECTED, "太短", 1, {"text": "文"})]
    recalled = samples_from_bytes(samples_to_bytes(samples))
    assert samples_to_json(recalled) == samples_to_json(samples)
    assert [sample[:3] for sample in recalled] == [sample[:3] for sample in samples]
    assert all(isinstance(sample, Sample) for sample in recalled)
    assert samples_from_bytes(samples_to_bytes([])) == []


@pytest.mark.parametrize("data", [b"", b"[", b"7", b"[7]", b"[[]]", b'[["edits", "rule", 1]]'])
def test_what_is_no_file_of_samples_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        samples_from_bytes(data)


def test_file_of_samples_holds_rows_by_kind_and_name_without_draws():
    samples = [
        Sample(REJECTED, "太短", 5, {"text": "文"}),
        Sample(EDITS, "rule", 9, {"n": 2}),
        Sample(EDITS, "rule", 3, {"n": 1}),
    ]
    data = samples_to_json(samples)
    assert json.loads(data) == {
        "format_version": 1,
        "edits": {"rule": [{"n": 1}, {"n": 2}]},
        "rejected": {"太短": [{"text": "文"}]},
    }
    assert "太短".encode() in data
    assert data.endswith(b"}\n")
    assert samples_to_json(reversed(samples)) == data


def test_file_of_no_samples_holds_both_kinds():
    assert json.loads(samples_to_json([])) == {"format_version": 1, "edits": {}, "rejected": {}}


# --- Rows ---


@st.composite
def edits(draw):
    """A text and some ascending spans in it."""
    text = draw(st.text("一二a😀", max_size=1200))
    ends = sorted(draw(st.lists(st.integers(0, len(text)), max_size=60)))
    spans = [
        (start, end, draw(st.sampled_from(["", "文", "😀!"])))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    ]
    return text, spans


@settings(max_examples=100, deadline=None)
@given(edits())
@example(("", []))
@example(("", [(0, 0, "文")]))
@example(("一" * 1000, [(at, at + 1, "") for at in range(30)]))
@example(("一" * 1000, [(500, 1000, "")]))
@example(("一" * 1000, [(1000, 1000, "文")]))
def test_edit_is_described_by_the_text_around_the_first_spans(edit):
    text, spans = edit
    row = describe_edit(text, spans)
    start = max(0, (spans or [(0,)])[0][0] - 80)
    assert row["before"] == text[start : start + 400]
    shown = [span for span in spans[:20] if span[0] < start + 400]
    assert len(row["spans"]) == len(shown)
    assert bool(row["spans"]) == bool(spans)
    for (first, last, replacement), (begin, end, there) in zip(row["spans"], shown, strict=True):
        assert 0 <= first <= last <= len(row["before"])
        assert row["before"][first:last] == text[begin : min(end, start + 400)]
        assert replacement == there


def test_edit_of_known_text():
    assert describe_edit("甲乙丙", [(1, 2, "z")]) == {"before": "甲乙丙", "spans": [(1, 2, "z")]}
    far = describe_edit(
        "甲" * 300 + "乙" + "丙" * 700, [(300, 301, ""), (619, 625, ""), (620, 9, "")]
    )
    assert far == {
        "before": "甲" * 80 + "乙" + "丙" * 319,
        "spans": [(80, 81, ""), (399, 400, "")],
    }


def test_text_is_described_by_its_beginning_and_length():
    assert describe_text("") == {"text": "", "chars": 0}
    assert describe_text("😀" * 400) == {"text": "😀" * 400, "chars": 400}
    assert describe_text("一" * 400 + "二") == {"text": "一" * 400, "chars": 401}


@pytest.mark.parametrize(
    ("before", "after", "span"),
    [
        ("甲\n乙\n丙", "甲\n丙", (2, 4, "")),
        ("甲\n甲", "甲", (1, 3, "")),
        ("甲乙", "丙丁戊", (0, 2, "丙丁戊")),
        ("甲", "甲", (1, 1, "")),
        ("", "甲", (0, 0, "甲")),
        ("aba", "a", (1, 3, "")),
    ],
)
def test_describe_difference_is_one_span_between_what_both_begin_and_end_with(before, after, span):
    start, end, replacement = span
    assert describe_difference(before, after) == describe_edit(before, [span])
    assert before[:start] + replacement + before[end:] == after
