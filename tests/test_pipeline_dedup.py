import hashlib
import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.dedup import (
    KEY,
    KEY_PARTITIONS,
    KeyBlock,
    Loser,
    content_key,
    find_losers,
    pack_key_file,
    pack_losers,
    read_key_file,
    unpack_losers,
    unpack_places,
)
from pipeline.records import HELD_OUT, TEST, TRAIN, Unit, document_id
from pipeline.units import number_units

SPLITS = (TRAIN, HELD_OUT, TEST)
RANGES = KEY_PARTITIONS // 4


def unit_of(name, split=TRAIN, corpus="plain", ordinal=0):
    return Unit(corpus, split, name, ordinal, f"/in/{name}", 0, 1 << 30, None)


def key_of(text, split, offset):
    return content_key(text.encode(), split, offset)


def key_array(keys):
    return np.frombuffer(b"".join(keys), KEY)


def keys_of(unit, documents):
    """`documents`: (text, split, offset). Yields the ranges of 4 partitions that hold any."""
    packed = pack_key_file(key_array(key_of(*document) for document in documents))
    for key_range in range(RANGES):
        keys = read_key_file(io.BytesIO(packed), 4 * key_range, 4 * key_range + 4)
        if keys:
            yield key_range, KeyBlock(unit, keys)


def find_all(units_and_documents):
    """Returns {name of a unit: its losers} over all key ranges."""
    blocks = {}
    for unit, documents in units_and_documents:
        for key_range, block in keys_of(unit, documents):
            blocks.setdefault(key_range, []).append(block)
    return losers_by_name(blocks, [unit for unit, _ in units_and_documents])


def losers_by_name(blocks, units):
    names = {unit.number: unit.name for unit in units}
    found = {}
    for of_range in blocks.values():
        for number, losers in find_losers(of_range):
            found.setdefault(names[number], []).extend(losers)
    return {name: sorted(losers) for name, losers in found.items()}


def numbered(*units):
    """The units in the order given, numbered as a run numbers them."""
    numbers = {unit.order: unit for unit in number_units(units)}
    return [numbers[unit.order] for unit in units]


texts = st.sampled_from(["一", "二", "三", "一二", "一 二", ""])


@st.composite
def collections(draw):
    """Numbered units with documents; every unit's lines choose their split, as wiki's do."""
    units = numbered(
        *(
            unit_of(name, split="", corpus=corpus)
            for corpus in ("plain", "wiki2019zh")
            for name in ("AA/wiki_00", "AA/wiki_01", "b.jsonl")
        )
    )
    gathered = []
    for unit in units:
        offsets = draw(st.lists(st.integers(0, 1 << 40), unique=True, max_size=6))
        gathered.append(
            (unit, [(draw(texts), draw(st.sampled_from(SPLITS)), at) for at in offsets])
        )
    return gathered


def find_plainly(gathered):
    """Returns {(corpus, name, offset): (reason, winner)} with one dictionary."""
    groups = {}
    for unit, documents in gathered:
        for text, split, offset in documents:
            place = (SPLITS.index(split), unit.corpus, unit.name, offset)
            groups.setdefault(text, []).append(place)
    losers = {}
    for places in groups.values():
        winner, *others = sorted(places)
        winner_id = document_id(winner[1], SPLITS[winner[0]], winner[2], winner[3])
        for split, *place in others:
            crosses = winner[0] == 0 and split != 0
            reason = "duplicate_of_training" if crosses else "duplicate"
            losers[tuple(place)] = (reason, winner_id)
    return losers


@settings(max_examples=100, deadline=None)
@given(collections(), st.randoms(use_true_random=False))
def test_find_losers_equals_one_dictionary_whatever_the_arrival_order(gathered, random):
    arrival = [
        (key_range, block)
        for unit, documents in gathered
        for key_range, block in keys_of(unit, random.sample(documents, len(documents)))
    ]
    random.shuffle(arrival)
    blocks = {}
    for key_range, block in arrival:
        blocks.setdefault(key_range, []).append(block)
    by_number = {unit.number: unit for unit, _ in gathered}
    found = [
        ((by_number[number].corpus, by_number[number].name, loser.offset), loser)
        for of_range in blocks.values()
        for number, losers in find_losers(of_range)
        for loser in losers
    ]
    assert len(found) == len(dict(found))
    assert {place: (loser.reason, loser.duplicate_of) for place, loser in found} == find_plainly(
        gathered
    )


@settings(max_examples=50, deadline=None)
@given(st.permutations([(name, at) for name in "abc" for at in (0, 9, 10, 1 << 40)]))
def test_find_losers_keeps_lowest_id_whatever_the_arrival_order(arrival):
    units = dict(zip("abc", numbered(*map(unit_of, "abc")), strict=True))
    offsets = {}
    for name, offset in arrival:
        offsets.setdefault(name, []).append(offset)
    found = find_all(
        [(units[name], [("同文", TRAIN, at) for at in ats]) for name, ats in offsets.items()]
    )
    loser = [Loser(at, "duplicate", "plain/train/a:0") for at in (0, 9, 10, 1 << 40)]
    assert found == {"a": loser[1:], "b": loser, "c": loser}


def test_find_losers_orders_offsets_as_numbers():
    (unit,) = numbered(unit_of("a"))
    found = find_all([(unit, [("同文", TRAIN, 10), ("同文", TRAIN, 9)])])
    assert found == {"a": [Loser(10, "duplicate", "plain/train/a:9")]}


def test_find_losers_keeps_lowest_id_of_files_with_and_without_a_split_in_their_name():
    first, last = numbered(unit_of("a_train.jsonl"), unit_of("z.jsonl", split=""))
    found = find_all([(first, [("同文", TRAIN, 5)]), (last, [("同文", TRAIN, 5)])])
    assert found == {"z.jsonl": [Loser(5, "duplicate", "plain/train/a_train.jsonl:5")]}


@pytest.mark.parametrize("split", [HELD_OUT, TEST])
def test_find_losers_keeps_training_copy_though_its_id_is_higher(split):
    other, training = numbered(unit_of("a", split=split), unit_of("z"))
    found = find_all([(other, [("同文", split, 0)]), (training, [("同文", TRAIN, 7)])])
    assert found == {"a": [Loser(0, "duplicate_of_training", "plain/train/z:7")]}


def test_find_losers_keeps_held_out_copy_before_test_copy_as_plain_duplicate():
    test, held_out = numbered(unit_of("a", split=TEST), unit_of("z", split=HELD_OUT))
    found = find_all([(test, [("同文", TEST, 0)]), (held_out, [("同文", HELD_OUT, 7)])])
    assert found == {"a": [Loser(0, "duplicate", "plain/held_out/z:7")]}


def test_find_losers_names_training_winner_for_copies_of_every_split():
    (unit,) = numbered(unit_of("AA/wiki_00", split="", corpus="wiki2019zh"))
    documents = [("同文", TEST, 1), ("同文", HELD_OUT, 2), ("同文", TRAIN, 3), ("同文", TRAIN, 4)]
    winner = "wiki2019zh/train/AA/wiki_00:3"
    assert find_all([(unit, documents)]) == {
        "AA/wiki_00": [
            Loser(1, "duplicate_of_training", winner),
            Loser(2, "duplicate_of_training", winner),
            Loser(4, "duplicate", winner),
        ]
    }


def test_find_losers_keeps_texts_that_differ_in_anything():
    (unit,) = numbered(unit_of("a"))
    different = ["同文", "同文。", "同 文", "同文\n", "文同", "", "a", "A"]
    documents = [(text, TRAIN, at) for at, text in enumerate(different)]
    assert find_all([(unit, documents)]) == {}


@pytest.mark.parametrize(
    "hashes",
    [[b"h" * 8 + b"l" * 8, b"h" * 8 + b"m" * 8], [b"h" * 8 + b"l" * 8, b"i" * 8 + b"l" * 8]],
)
def test_find_losers_tells_hashes_apart_that_share_either_half(hashes):
    (unit,) = numbered(unit_of("a"))
    keys = b"".join(of + at.to_bytes(8, "little") for at, of in enumerate(hashes))
    assert list(find_losers([KeyBlock(unit, keys)])) == []


def test_content_key_is_digest_of_text_then_offset_then_split():
    digest = hashlib.blake2b("同文".encode(), digest_size=16).digest()
    assert key_of("同文", TRAIN, 0x01020304) == digest + bytes([4, 3, 2, 1, 0, 0, 0, 0])
    assert key_of("同文", HELD_OUT, 1) == digest + bytes([1, 0, 0, 0, 0, 0, 0, 1])
    assert key_of("同文", TEST, 1) == digest + bytes([1, 0, 0, 0, 0, 0, 0, 2])


@pytest.mark.parametrize("text", ["", "同文", "a\n\0", "😀"])
def test_content_key_hashes_the_bytes_of_the_text(text):
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
    assert content_key(text.encode("utf-8"), TRAIN, 0) == digest + bytes(8)


offsets = st.integers(0, (1 << 56) - 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SPLITS), offsets), max_size=20))
@example([(TEST, (1 << 56) - 1), (TRAIN, 0), (TRAIN, (1 << 56) - 1), (TEST, 0)])
def test_unpack_places_gives_back_rank_of_split_and_offset_of_every_key(places):
    keys = key_array(key_of("文", split, at) for split, at in places)
    ranks, found = unpack_places(keys["place"])
    assert ranks.tolist() == [SPLITS.index(split) for split, _ in places]
    assert found.tolist() == [offset for _, offset in places]
    assert (ranks.dtype, found.dtype) == (np.int64, np.int64)


def test_key_is_24_bytes_that_read_alike_on_every_machine():
    assert KEY.itemsize == 24
    (key,) = key_array([bytes(range(24))])
    assert [int(key[name]) for name in ("high", "low", "place")] == [
        int.from_bytes(bytes(range(at, at + 8)), "little") for at in (0, 8, 16)
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10_000), unique=True, max_size=200))
def test_key_file_holds_every_key_in_exactly_one_partition(numbers):
    keys = [key_of(f"文{number}", TRAIN, number) for number in numbers]
    file = io.BytesIO(pack_key_file(key_array(keys)))
    dealt = []
    for partition in range(KEY_PARTITIONS):
        file.seek(0)
        found = read_key_file(file, partition, partition + 1)
        dealt += [found[at : at + 24] for at in range(0, len(found), 24)]
    assert sorted(dealt) == sorted(keys)
    file.seek(0)
    assert read_key_file(file, 0, KEY_PARTITIONS) == b"".join(dealt)


def test_key_file_puts_equal_texts_of_all_units_into_one_range():
    first, second = numbered(unit_of("a"), unit_of("b"))
    for text in map(str, range(50)):
        ((range_of_first, _),) = keys_of(first, [(text, TRAIN, 0)])
        ((range_of_second, _),) = keys_of(second, [(text, TEST, 1 << 40)])
        assert range_of_first == range_of_second


def test_key_file_uses_all_partitions_evenly():
    # 16,000 keys: a range holds 1,000 with a standard deviation of 30.6; 150 is 4.9 of them.
    (unit,) = numbered(unit_of("a"))
    sizes = [
        len(block.keys) // 24
        for _, block in keys_of(unit, [(f"文{at}", TRAIN, at) for at in range(16_000)])
    ]
    assert len(sizes) == RANGES
    assert all(abs(size - 1_000) < 150 for size in sizes)


def test_key_file_of_unit_without_documents_holds_nothing():
    packed = pack_key_file(key_array([]))
    assert read_key_file(io.BytesIO(packed), 0, KEY_PARTITIONS) == b""
    assert list(find_losers([KeyBlock(unit_of("a"), b"")])) == []
    assert list(find_losers([])) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.builds(Loser, offsets, st.text(max_size=5), st.text(max_size=9)), max_size=6))
@example([])
@example([Loser((1 << 56) - 1, "duplicate", "plain/train/文\n\u2028.jsonl:0")])
def test_unpack_losers_gives_back_what_pack_losers_took(losers):
    packed = pack_losers(losers)
    assert isinstance(packed, bytes)
    assert unpack_losers(packed) == losers
    assert all(isinstance(loser, Loser) for loser in unpack_losers(packed))
