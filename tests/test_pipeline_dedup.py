import hashlib
import io

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.dedup import (
    BAND,
    COPY,
    KEY,
    KEY_PARTITIONS,
    PAIR,
    PARAGRAPH,
    REPEAT,
    VERIFIED,
    Loser,
    find_candidates,
    find_copies,
    find_repeats,
    hash_text,
    losers_by_unit,
    name_losers,
    number_document,
    pack_key_file,
    ranks_of,
    read_key_file,
    records_by_unit,
    resolve_near,
    units_of,
    unpack_losers,
)
from pipeline.records import HELD_OUT, TEST, TRAIN, Unit, document_id
from pipeline.units import number_units

SPLITS = (TRAIN, HELD_OUT, TEST)
LAST_UNIT = (1 << 22) - 1
LAST_OFFSET = (1 << 39) - 1
START = 1 << 40
"""Where the range of every second unit of these tests begins in its file."""


def make_units(*names):
    """Numbered units of files whose lines choose their split, as wiki's do."""
    return number_units(
        Unit(*("wiki2019zh", "", name, 0, f"/in/{name}", START * (at % 2), 1 << 41, None))
        for at, name in enumerate(names)
    )


UNITS = make_units("AA/wiki_00", "AA/wiki_01", "b.jsonl")

places = st.tuples(st.sampled_from(SPLITS), st.sampled_from([0, 1, 2]), st.integers(0, LAST_OFFSET))
any_places = st.tuples(
    st.sampled_from(SPLITS), st.integers(0, LAST_UNIT), st.integers(0, LAST_OFFSET)
)
hashes = st.sampled_from([0, 1, 1 << 58, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
contents = st.sampled_from([0, 1, (1 << 32) - 1])


def records_of(dtype, rows):
    return np.array([tuple(row) for row in rows], dtype)


def numbers_of(documents):
    return np.array([number_document(*place) for place in documents], np.int64)


def key_of(text, *place):
    return hash_text(text.encode()) + number_document(*place).to_bytes(8, "little")


def keys_of(documents):
    """`documents`: (text, split, number of the unit, offset)."""
    return np.frombuffer(b"".join(key_of(*document) for document in documents), KEY)


def id_of(split, unit, offset):
    return document_id(*("wiki2019zh", split, UNITS[unit].name, UNITS[unit].start + offset))


def group_plainly(pairs):
    groups = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: sorted(values) for key, values in groups.items()}


# --- Numbers ---


@settings(max_examples=100, deadline=None)
@given(st.lists(any_places, max_size=20))
@example([(TEST, LAST_UNIT, LAST_OFFSET), (TRAIN, 0, 0), (HELD_OUT, 0, LAST_OFFSET)])
@example([(split, unit, at) for split in SPLITS for unit in (0, LAST_UNIT) for at in (0, 1)])
def test_numbers_order_documents_by_split_then_unit_then_offset(documents):
    numbers = numbers_of(documents)
    by_number = [place for _, place in sorted(zip(numbers.tolist(), documents, strict=True))]
    assert by_number == sorted(documents, key=lambda place: (SPLITS.index(place[0]), *place[1:]))
    assert ranks_of(numbers).tolist() == [SPLITS.index(split) for split, _, _ in documents]
    assert units_of(numbers).tolist() == [unit for _, unit, _ in documents]


def test_numbers_are_61_bits_and_a_split():
    assert number_document(TRAIN, 0, 7) == 7
    assert number_document(TRAIN, 1, 0) == 1 << 39
    assert number_document(HELD_OUT, 0, 0) == 1 << 61
    assert number_document(TEST, LAST_UNIT, LAST_OFFSET) == (3 << 61) - 1 < 1 << 63


@pytest.mark.parametrize("place", [(LAST_UNIT + 1, 0), (0, LAST_OFFSET + 1), (-1, 0), (0, -1)])
def test_document_without_a_number_of_its_own_is_refused(place):
    with pytest.raises(ValueError, match="no number for a document at"):
        number_document(TRAIN, *place)


@pytest.mark.parametrize("text", ["", "同文", "a\n\0", "😀"])
def test_hash_is_that_of_the_bytes_of_the_text(text):
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
    assert hash_text(text.encode("utf-8")) == digest


def test_records_read_alike_on_every_machine():
    (key,) = np.frombuffer(bytes(range(24)), KEY)
    assert [int(key[name]) for name in ("high", "low", "document")] == [
        int.from_bytes(bytes(range(at, at + 8)), "little") for at in (0, 8, 16)
    ]
    sizes = {KEY: 24, BAND: 20, PARAGRAPH: 28, PAIR: 16, VERIFIED: 24, REPEAT: 12}
    assert all(dtype.itemsize == size for dtype, size in sizes.items())


# --- Key files ---


def read_range(packed, dtype, first, end):
    return read_key_file(io.BytesIO(packed), dtype, first, end)


key_records = st.lists(st.tuples(hashes, hashes, any_places)).map(
    lambda rows: records_of(KEY, [(high, low, number_document(*at)) for high, low, at in rows])
)
band_records = st.lists(st.tuples(hashes, contents, any_places)).map(
    lambda rows: records_of(BAND, [(high, low, number_document(*at)) for high, low, at in rows])
)
paragraph_records = st.lists(st.tuples(hashes, hashes, any_places, contents)).map(
    lambda rows: records_of(
        PARAGRAPH, [(high, low, number_document(*at), line) for high, low, at, line in rows]
    )
)


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(key_records, band_records, paragraph_records),
    st.lists(st.integers(0, KEY_PARTITIONS), min_size=2, max_size=2).map(sorted),
)
def test_key_file_gives_back_the_records_of_any_range_in_their_order(records, bounds):
    first, end = bounds
    found = read_range(pack_key_file(records), records.dtype, first, end)
    assert found.tolist() == [
        row
        for partition in range(first, end)
        for row in records.tolist()
        if row[0] * KEY_PARTITIONS >> 64 == partition
    ]
    assert found.dtype == records.dtype


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10_000), unique=True, max_size=200))
def test_key_file_holds_every_key_in_exactly_one_partition(numbers):
    keys = keys_of((f"文{number}", TRAIN, 0, number) for number in numbers)
    packed = pack_key_file(keys)
    parts = [read_range(packed, KEY, at, at + 1) for at in range(KEY_PARTITIONS)]
    dealt = np.concatenate(parts)
    assert sorted(dealt.tolist()) == sorted(keys.tolist())
    assert read_range(packed, KEY, 0, KEY_PARTITIONS).tolist() == dealt.tolist()


def test_key_file_uses_all_partitions_evenly():
    # 16,000 keys: 16 ranges hold 1,000 each with a standard deviation of 30.6; 150 is 4.9 of them.
    packed = pack_key_file(keys_of((f"文{at}", TRAIN, 0, at) for at in range(16_000)))
    sizes = [len(read_range(packed, KEY, first, first + 16)) for first in range(0, 256, 16)]
    assert all(abs(size - 1_000) < 150 for size in sizes)


@pytest.mark.parametrize("dtype", [KEY, BAND, PARAGRAPH])
def test_key_file_of_unit_without_documents_holds_nothing(dtype):
    packed = pack_key_file(np.empty(0, dtype))
    for first, end in ((0, KEY_PARTITIONS), (0, 0), (255, 256)):
        assert read_range(packed, dtype, first, end).tolist() == []


# --- Copies ---


def find_copies_plainly(rows):
    """Returns {copy: first} of (content, number) with one dictionary."""
    groups = group_plainly(rows)
    return {copy: first for first, *copies in groups.values() for copy in copies}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(hashes, hashes, places), unique_by=lambda row: row[2], max_size=30))
@example([])
@example([(1, 1, (TEST, 2, LAST_OFFSET))])
@example([(1, 1, (split, unit, 0)) for split in SPLITS[::-1] for unit in (2, 1, 0)])
def test_copies_are_those_of_one_dictionary_whatever_the_order(rows):
    keys = [(high, low, number_document(*place)) for high, low, place in rows]
    copies = find_copies(records_of(KEY, keys))
    found = dict(copies.tolist())
    assert found == find_copies_plainly(((high, low), number) for high, low, number in keys)
    assert len(copies) == len(found)
    assert copies.dtype == COPY


def losers_of(documents):
    return sorted(name_losers(find_copies(keys_of(documents)), UNITS))


def loser(place, reason, winner):
    return Loser(number_document(*place), reason, id_of(*winner), None)


@settings(max_examples=50, deadline=None)
@given(st.permutations([(TRAIN, unit, at) for unit in (0, 1, 2) for at in (0, 9, 10, 1 << 38)]))
def test_lowest_document_stays_whatever_the_order(arrival):
    winner, *others = sorted(arrival, key=lambda place: place[1:])
    assert winner == (TRAIN, 0, 0)
    found = losers_of([("同文", *place) for place in arrival])
    assert found == [loser(place, "duplicate", winner) for place in others]


@pytest.mark.parametrize("split", [HELD_OUT, TEST])
def test_training_copy_stays_though_its_name_comes_later(split):
    found = losers_of([("同文", split, 0, 0), ("同文", TRAIN, 2, 7)])
    assert found == [loser((split, 0, 0), "duplicate_of_training", (TRAIN, 2, 7))]
    assert found[0].duplicate_of == "wiki2019zh/train/b.jsonl:7"


def test_held_out_copy_stays_before_test_copy_as_plain_duplicate():
    found = losers_of([("同文", TEST, 0, 0), ("同文", HELD_OUT, 2, 7)])
    assert found == [loser((TEST, 0, 0), "duplicate", (HELD_OUT, 2, 7))]


def test_training_copy_is_named_for_copies_of_every_split():
    winner = TRAIN, 1, 3
    others = [(TRAIN, 1, 4), (HELD_OUT, 1, 2), (TEST, 1, 1)]
    assert losers_of([("同文", *place) for place in [*others, winner]]) == [
        loser(others[0], "duplicate", winner),
        loser(others[1], "duplicate_of_training", winner),
        loser(others[2], "duplicate_of_training", winner),
    ]


def test_losers_name_offsets_in_the_file_and_not_in_the_range_of_the_unit():
    (found,) = losers_of([("同文", TRAIN, 1, LAST_OFFSET), ("同文", TRAIN, 1, 5)])
    assert UNITS[1].start == START
    assert found.duplicate_of == f"wiki2019zh/train/AA/wiki_01:{START + 5}"
    assert found.document == number_document(TRAIN, 1, LAST_OFFSET)


def test_texts_that_differ_in_anything_all_stay():
    different = ["同文", "同文。", "同 文", "同文\n", "文同", "", "a", "A"]
    assert losers_of([(text, TRAIN, 0, at) for at, text in enumerate(different)]) == []


@pytest.mark.parametrize("other", [(1, 2), (2, 1)])
def test_hashes_that_share_either_half_are_told_apart(other):
    assert find_copies(records_of(KEY, [(1, 1, 0), (*other, 1)])).tolist() == []


# --- Repeated lines ---


def find_repeats_plainly(rows, dropped):
    """Goes through all lines in order; `rows`: (high, low, document, line)."""
    seen, repeats = set(), set()
    for high, low, document, line in sorted(rows, key=lambda row: row[2:]):
        if document in dropped:
            continue
        if (high, low) in seen:
            repeats.add((document, line))
        seen.add((high, low))
    return repeats


documents_of_few = st.sampled_from(
    [number_document(split, unit, at) for split in SPLITS for unit in (0, 1) for at in (0, 9)]
)
lines = st.lists(
    st.tuples(hashes, hashes, documents_of_few, st.integers(0, 5)),
    unique_by=lambda row: row[2:],
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(lines, st.sets(documents_of_few))
@example([], set())
@example([], {0})
@example([(1, 1, 0, 0), (1, 1, 0, 1), (1, 1, 0, 2)], set())
@example([(1, 1, 0, 0), (1, 1, 9, 1)], {0, 9})
def test_repeats_are_those_of_plain_code_whatever_the_order(rows, dropped):
    found = find_repeats(records_of(PARAGRAPH, rows), np.array(sorted(dropped), np.int64))
    assert found.dtype == REPEAT
    assert len(found) == len(set(found.tolist()))
    assert set(found.tolist()) == find_repeats_plainly(rows, dropped)


def repeats_of(rows, dropped=()):
    paragraphs = records_of(PARAGRAPH, [(1, 1, *row) for row in rows])
    return find_repeats(paragraphs, np.array(dropped, np.int64)).tolist()


def test_line_repeated_inside_one_document_stays_where_it_stands_first():
    assert repeats_of([(7, 4), (7, 0), (7, 2)]) == [(7, 2), (7, 4)]


def test_line_stays_in_the_training_document_though_its_name_comes_later():
    held_out, train = number_document(HELD_OUT, 0, 0), number_document(TRAIN, 2, 7)
    assert repeats_of([(held_out, 0), (train, 1)]) == [(held_out, 0)]


def test_lines_of_documents_that_go_neither_stay_nor_count_as_earlier_ones():
    assert repeats_of([(1, 0), (2, 0), (3, 0)], dropped=[1]) == [(3, 0)]
    assert repeats_of([(1, 0), (2, 0), (3, 0)], dropped=[2, 3]) == []
    assert repeats_of([(1, 0), (2, 0)], dropped=[0, 5, 1 << 62]) == [(2, 0)]


# --- Near-duplicates ---


def find_candidates_plainly(rows):
    """Pairs the first documents of all contents with one key; `rows`: (high, content, document)."""
    pairs = set()
    firsts = group_plainly(((high, content), document) for high, content, document in rows)
    by_key = group_plainly((high, documents[0]) for (high, _), documents in firsts.items())
    for documents in by_key.values():
        for place, document in enumerate(documents[1:], 1):
            pairs |= {(documents[0], document), (documents[place - 1], document)}
    return sorted(pair for pair in pairs if pair[0] < pair[1])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(hashes, contents, places.map(lambda at: number_document(*at))), max_size=30)
)
@example([])
@example([(1, 1, 5)])
@example([(1, 1, at) for at in range(5)])
@example([(1, at % 2, at) for at in range(5)])
def test_candidates_are_those_of_plain_code_whatever_the_order(rows):
    pairs = find_candidates(records_of(BAND, rows))
    assert pairs.dtype == PAIR
    assert pairs.tolist() == find_candidates_plainly(rows)


def test_of_equal_documents_only_the_first_is_a_candidate():
    assert find_candidates(records_of(BAND, [(1, 8, 30), (1, 8, 10), (1, 9, 20)])).tolist() == [
        (10, 20)
    ]
    assert find_candidates(records_of(BAND, [(1, 8, 30), (1, 8, 10)])).tolist() == []


def test_documents_of_different_bands_are_no_candidates():
    assert find_candidates(records_of(BAND, [(1, 8, 10), (2, 9, 20)])).tolist() == []


def resolve_plainly(pairs):
    """Goes through all documents in order; `pairs`: {(earlier, later): similarity}."""
    losers = {}
    for document in sorted({later for _, later in pairs}):
        winners = sorted(earlier for earlier, later in pairs if later == document)
        staying = [winner for winner in winners if winner not in losers]
        if staying:
            losers[document] = staying[0], pairs[staying[0], document]
    return losers


def near(rows, units=UNITS):
    """`rows`: (place of the earlier document, place of the later one, similarity)."""
    verified = [(number_document(*a), number_document(*b), similar) for a, b, similar in rows]
    return resolve_near(records_of(VERIFIED, verified), units)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.lists(places, min_size=2, max_size=2, unique=True).map(
            lambda pair: tuple(sorted(pair, key=lambda place: number_document(*place)))
        ),
        st.floats(0.85, 1),
        max_size=25,
    )
)
def test_near_losers_are_those_of_plain_code_in_order(pairs):
    found = near([(*pair, similarity) for pair, similarity in pairs.items()])
    place_of = {number_document(*place): place for pair in pairs for place in pair}
    expected = resolve_plainly(
        {tuple(number_document(*at) for at in pair): similar for pair, similar in pairs.items()}
    )
    assert [(each.document, each.duplicate_of, each.similarity) for each in found] == [
        (document, id_of(*place_of[winner]), similar)
        for document, (winner, similar) in sorted(expected.items())
    ]
    for each in found:
        winner = place_of[expected[each.document][0]]
        crosses = winner[0] == TRAIN and place_of[each.document][0] != TRAIN
        assert each.reason == "near_duplicate" + ("_of_training" if crosses else "")


def test_near_duplicate_of_a_document_that_goes_stays():
    train, held_out, test = (TRAIN, 2, 0), (HELD_OUT, 0, 0), (TEST, 0, 0)
    assert near([(held_out, test, 0.95), (train, held_out, 0.9)]) == [
        Loser(
            *(number_document(*held_out), "near_duplicate_of_training"),
            *("wiki2019zh/train/b.jsonl:0", 0.9),
        )
    ]


def test_near_duplicates_within_held_out_and_test_are_plain_ones():
    (found,) = near([((HELD_OUT, 2, 0), (TEST, 0, 0), 0.9)])
    assert (found.reason, found.duplicate_of) == ("near_duplicate", "wiki2019zh/held_out/b.jsonl:0")


def test_no_pairs_have_no_losers():
    assert near([]) == near([], []) == []
    assert name_losers(np.empty(0, COPY), []) == []


# --- Packing by unit ---


losers = st.lists(
    st.builds(
        Loser,
        any_places.map(lambda at: number_document(*at)),
        st.sampled_from(["duplicate", "near_duplicate"]),
        st.text(max_size=9),
        st.none() | st.floats(0, 1),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(losers)
@example([])
@example([Loser((3 << 61) - 1, "duplicate", "plain/train/文\n\u2028.jsonl:0", None)])
def test_losers_come_back_by_unit_as_they_were(gone):
    packed = losers_by_unit(gone)
    assert all(isinstance(of_unit, bytes) for of_unit in packed.values())
    unpacked = {number: unpack_losers(of_unit) for number, of_unit in packed.items()}
    assert {number: sorted(of, key=repr) for number, of in unpacked.items()} == {
        number: sorted(
            (each for each in gone if each.document >> 39 & LAST_UNIT == number), key=repr
        )
        for number in {each.document >> 39 & LAST_UNIT for each in gone}
    }
    assert all(isinstance(each, Loser) for of_unit in unpacked.values() for each in of_unit)


def test_losers_are_packed_as_json_rows():
    packed = losers_by_unit([Loser(number_document(TEST, 5, 0), "near_duplicate", "文", 0.9)])
    assert list(packed) == [5]
    assert orjson.loads(packed[5]) == [[(2 << 61) + (5 << 39), "near_duplicate", "文", 0.9]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(any_places, any_places), max_size=20), st.sampled_from(PAIR.names))
def test_records_come_back_by_unit_in_their_order(pairs, field):
    records = records_of(PAIR, [[number_document(*at) for at in pair] for pair in pairs])
    packed = records_by_unit(records, field)
    numbers = units_of(records[field])
    assert list(packed) == sorted(set(numbers.tolist()))
    for number, of_unit in packed.items():
        assert np.frombuffer(of_unit, PAIR).tolist() == records[numbers == number].tolist()
