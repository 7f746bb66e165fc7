import random

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import dedup, files
from pipeline.blocks import FrameWriter
from pipeline.dedup import Loser, number_document
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.near_duplicates import MIN_CHARS, THRESHOLD, band_keys, jaccard
from pipeline.records import HELD_OUT, TEST, TRAIN, Document, Unit, document_id
from pipeline.resume import identify, run_or_recall
from pipeline.stages import duplicates
from pipeline.stages.clean import SIZE
from pipeline.stages.duplicates import (
    ByUnit,
    NearLosers,
    NearPairs,
    Suspects,
    Verified,
    find_all,
    find_candidates,
    find_copies,
    find_repeats,
    gather_pairs,
    gather_suspects,
    name_copies,
    order_units,
    plan_key_ranges,
    resolve_near,
    verify_pairs,
)

SPLITS = (TRAIN, HELD_OUT, TEST)
LAST_OFFSET = (1 << 39) - 1
MIN_PARAGRAPH_CHARS = 50
SMALL, LARGE, HUGE = 1, 65 << 20, 3 << 40
"""Bytes of a unit, so that the keys of a run are cut into 1, a few or 64 ranges."""

# --- A cleaned run, as cleaning leaves it ---


def make_units(total, unit_bytes=SMALL):
    """Units whose files would sort in the order of their numbers; lines choose their split."""
    return [
        Unit(*("plain", "", f"{at}.jsonl", 0, "", 1 << 40, (1 << 40) + unit_bytes), None, at, total)
        for at in range(total)
    ]


def write_run(root, documents, units, frame_bytes=1000):
    """Writes what `clean_unit` does; `documents`: (split, number of the unit, offset, text)."""
    layout = Layout(str(root))
    for unit in units:
        of_unit = [document for document in documents if document[1] == unit.number]
        write_unit(layout, unit, sorted(of_unit, key=lambda document: document[2]), frame_bytes)
    return layout


def write_unit(layout, unit, documents, frame_bytes):
    place = unit.number, unit.total
    rows = [(number_document(*document[:3]), document[3]) for document in documents]
    with files.finished_or_absent(layout.cleaned(*place)) as file:
        writer = FrameWriter(file, frame_bytes, level=1)
        for split, number, offset, text in documents:
            writer.write(Document(id_of(split, number, offset), "plain", split, "", text))
        writer.close()
    sizes = [(number, len(text.encode()), len(text)) for number, text in rows]
    files.write_bytes(layout.sizes(*place), np.array(sizes, SIZE).tobytes())
    files.write_bytes(layout.frames(*place), writer.frames.tobytes())
    keys = [(*halves_of(text), number) for number, text in rows]
    paragraphs = [
        (*halves_of(line), number, at) for number, text in rows for at, line in long_lines(text)
    ]
    bands = [
        (key, halves_of(text)[0] & 0xFFFFFFFF, number)
        for number, text in rows
        if len(text) >= MIN_CHARS
        for key in band_keys([text])[0].tolist()
    ]
    for path, records, dtype in (
        (layout.keys(*place), keys, dedup.KEY),
        (layout.bands(*place), bands, dedup.BAND),
        (layout.paragraphs(*place), paragraphs, dedup.PARAGRAPH),
    ):
        files.write_bytes(path, dedup.pack_key_file(np.array(records, dtype)))


def halves_of(text):
    return tuple(np.frombuffer(dedup.hash_text(text.encode()), "<u8").tolist())


def long_lines(text):
    lines = enumerate(text.split("\n"))
    return [(at, line) for at, line in lines if len(line) >= MIN_PARAGRAPH_CHARS]


def id_of(split, unit, offset):
    return document_id("plain", split, f"{unit}.jsonl", (1 << 40) + offset)


# --- Texts ---


def random_text(seed, chars):
    return "".join(map(chr, random.Random(seed).choices(range(0x4E00, 0x9FA6), k=chars)))


def change(text, places):
    """Puts another character in some places; each is in 5 of the n-grams."""
    for place in places:
        text = text[:place] + "改" + text[place + 1 :]
    return text


FIRST = random_text(1, 150) + "\n" + random_text(2, 150)
NEAR = change(FIRST, [20, 60, 100])
FARTHER = change(NEAR, [180, 220, 260])
OTHER = random_text(3, 300)
PARAGRAPH = random_text(4, MIN_PARAGRAPH_CHARS)
SHORT_LINE = random_text(5, MIN_PARAGRAPH_CHARS - 1)
POOL = [
    *(FIRST, NEAR, FARTHER, OTHER, "短"),
    # Equal but for white space, so near-duplicates and no copies.
    FIRST.replace("\n", ""),
    # Too short to be compared but exactly.
    *(random_text(6, MIN_CHARS - 1), change(random_text(6, MIN_CHARS - 1), [7])),
    # Lines that others have, or that stand in one document twice.
    *(PARAGRAPH, f"{PARAGRAPH}\n{PARAGRAPH}", f"{PARAGRAPH}\n{SHORT_LINE}", f"甲\n{SHORT_LINE}"),
    f"{OTHER[:150]}\n{PARAGRAPH}\n{random_text(7, 200)}\n{PARAGRAPH}",
    f"{random_text(8, 200)}\n{FIRST[:150]}",
]


def test_texts_are_as_near_as_their_names_say():
    assert jaccard(FIRST, FARTHER) < THRESHOLD
    assert min(jaccard(FIRST, NEAR), jaccard(NEAR, FARTHER)) >= THRESHOLD
    assert len(long_lines(PARAGRAPH)) == 1 and long_lines(SHORT_LINE) == []


# --- All of it, beside plain code ---


def find_plainly(documents, level):
    """Returns (losers, repeats), each sorted, by going through all documents in order."""
    documents = sorted(documents, key=lambda document: number_document(*document[:3]))
    copies, near, repeats, first_of, seen = {}, {}, [], {}, set()
    for document in documents if level != "none" else []:
        first = first_of.setdefault(document[3], document)
        if first != document:
            copies[document] = first, None
    if level == "near":
        staying = [document for document in documents if document not in copies]
        pairs = find_pairs_plainly([each for each in staying if len(each[3]) >= MIN_CHARS])
        for document in staying:
            for earlier in staying:
                if (earlier, document) in pairs and earlier not in near and document not in near:
                    near[document] = earlier, jaccard(earlier[3], document[3])
        for document in staying:
            for at, line in long_lines(document[3]) if document not in near else []:
                if line in seen:
                    repeats.append((number_document(*document[:3]), at))
                seen.add(line)
    losers = [
        Loser(number_document(*document[:3]), prefix + suffix, id_of(*winner[:3]), similarity)
        for prefix, found in (("duplicate", copies), ("near_duplicate", near))
        for document, (winner, similarity) in found.items()
        for suffix in ["_of_training" if winner[0] == TRAIN != document[0] else ""]
    ]
    return sorted(losers), sorted(repeats)


def find_pairs_plainly(documents):
    """Pairs that share the key of a band, with the first that has it or the one before."""
    pairs = set()
    by_key = {}
    for document in documents:
        for key in band_keys([document[3]])[0].tolist():
            by_key.setdefault(key, []).append(document)
    for sharing in by_key.values():
        for at, document in enumerate(sharing[1:], 1):
            pairs |= {(sharing[0], document), (sharing[at - 1], document)}
    return {pair for pair in pairs if jaccard(pair[0][3], pair[1][3]) >= THRESHOLD}


def unpack(losers, repeats):
    """Returns the same from what `find_all` returns, and checks under which unit it stands."""
    found = []
    for by_unit, read in ((losers, dedup.unpack_losers), (repeats, read_repeats)):
        rows = [
            (number, row)
            for number, packed in by_unit.items()
            for each in packed
            for row in read(each)
        ]
        assert all(row[0] >> 39 & 0x3FFFFF == number for number, row in rows)
        found.append(sorted(row for _, row in rows))
    return tuple(found)


def read_repeats(packed):
    return np.frombuffer(packed, dedup.REPEAT).tolist()


def run_all(root, documents, level="near", units=None, **options):
    units = units or make_units(3)
    layout = write_run(root, documents, units, **options)
    return unpack(*find_all(units, layout, level))


@st.composite
def collections(draw):
    """Documents of three units, no two at one place."""
    places = st.tuples(
        st.sampled_from(SPLITS),
        st.integers(0, 2),
        st.sampled_from([0, 9, 10, 1 << 30, LAST_OFFSET]),
    )
    unique = draw(st.lists(places, unique_by=lambda place: place[1:], max_size=12))
    return [(*place, draw(st.sampled_from(POOL))) for place in unique]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    collections(),
    st.sampled_from(["near", "near", "exact", "none"]),
    st.sampled_from([SMALL, LARGE, HUGE]),
    st.sampled_from([1, 1000, 1 << 30]),
)
@example([], "near", SMALL, 1000)
@example([(HELD_OUT, 1, LAST_OFFSET, FIRST)], "near", HUGE, 1000)
@example([(TEST, unit, at, OTHER) for unit in (2, 1, 0) for at in (9, 0)], "near", LARGE, 1)
@example([(TRAIN, 2, 0, FIRST), (HELD_OUT, 0, 0, NEAR), (TEST, 1, 0, FARTHER)], "near", HUGE, 1)
@example([(TRAIN, 0, 0, FIRST), (TRAIN, 1, 0, NEAR), (TRAIN, 2, 0, NEAR)], "near", LARGE, 1)
@example([(TRAIN, 1, at, text) for at, text in enumerate(POOL)], "near", LARGE, 1)
@example([(HELD_OUT, 1, at, text) for at, text in enumerate(reversed(POOL))], "near", HUGE, 1000)
def test_duplicates_are_those_of_plain_code(
    tmp_path_factory, documents, level, unit_bytes, frame_bytes
):
    root = tmp_path_factory.mktemp("run")
    units = make_units(3, unit_bytes)
    found = run_all(root, documents, level, units, frame_bytes=frame_bytes)
    assert found == find_plainly(documents, level)


def test_run_without_units_has_no_duplicates(tmp_path):
    assert find_all([], Layout(str(tmp_path)), "near") == ({}, {})


def test_units_may_come_in_any_order(tmp_path):
    units = make_units(3)
    documents = [(TRAIN, 2, 0, FIRST), (TRAIN, 0, 0, NEAR), (TRAIN, 1, 0, FIRST)]
    layout = write_run(tmp_path, documents, units)
    assert unpack(*find_all(units[::-1], layout, "near")) == find_plainly(documents, "near")


def test_copy_of_a_near_duplicate_goes_as_a_copy_of_it(tmp_path):
    near, copy = (HELD_OUT, 0, 0), (TEST, 0, 9)
    losers, repeats = run_all(tmp_path, [(*near, NEAR), (*copy, NEAR), (TRAIN, 2, 7, FIRST)])
    similarity = jaccard(FIRST, NEAR)
    assert losers == [
        Loser(number_document(*near), "near_duplicate_of_training", id_of(TRAIN, 2, 7), similarity),
        Loser(number_document(*copy), "duplicate", id_of(*near), None),
    ]
    assert repeats == []


def test_all_copies_of_one_document_go_for_the_first_in_training(tmp_path):
    places = [(split, unit, at) for split in SPLITS for unit in range(3) for at in (0, LAST_OFFSET)]
    losers, repeats = run_all(tmp_path, [(*place, f"{PARAGRAPH}\n{FIRST}") for place in places])
    assert {loser.duplicate_of for loser in losers} == {id_of(TRAIN, 0, 0)}
    reasons = ["duplicate"] * 5 + ["duplicate_of_training"] * 12
    assert [loser.reason for loser in losers] == reasons
    assert repeats == []


def test_lines_of_documents_that_go_are_not_the_first_of_others(tmp_path):
    gone, stays = (TRAIN, 1, 0), (HELD_OUT, 2, 0)
    line = NEAR.split("\n")[0]
    documents = [(TRAIN, 0, 0, FIRST), (*gone, NEAR), (*stays, f"{line}\n{OTHER}")]
    losers, repeats = run_all(tmp_path, documents)
    assert [loser.document for loser in losers] == [number_document(*gone)]
    assert repeats == []
    # Without the document for which the other went.
    losers, repeats = run_all(tmp_path / "without", documents[1:])
    assert losers == []
    assert repeats == [(number_document(*stays), 0)]


def test_lines_are_looked_for_in_near_duplicate_runs_only(tmp_path):
    documents = [(TRAIN, 0, 0, f"{PARAGRAPH}\n{PARAGRAPH}"), (TRAIN, 0, 9, PARAGRAPH)]
    assert run_all(tmp_path / "exact", documents, "exact") == ([], [])
    assert run_all(tmp_path / "near", documents) == ([], [(0, 1), (9, 0)])


# --- Ranges of keys ---


@pytest.mark.parametrize(
    ("unit_bytes", "total"),
    [
        *((0, 1), (1, 1), (64 << 20, 1), ((64 << 20) + 1, 2)),
        *((640 << 20, 10), (64 << 28, 256), ((64 << 28) + 1, 256), (1 << 50, 256)),
    ],
)
def test_key_ranges_are_as_many_as_the_input_makes(unit_bytes, total):
    (unit,) = make_units(1, unit_bytes)
    ranges = plan_key_ranges([unit], "digest")
    assert [key_range.number for key_range in ranges] == list(range(total))
    assert {key_range.total for key_range in ranges} == {total}
    assert {key_range.size_bytes for key_range in ranges} == {unit_bytes // total}
    assert {key_range.after for key_range in ranges} == {identify([unit]) + "digest"}


def test_key_ranges_know_how_many_units_there_are_and_which():
    units = make_units(3, LARGE)
    ranges = plan_key_ranges(order_units(units[::-1]))
    assert ranges == plan_key_ranges(units)
    assert len(ranges) == 4
    assert {key_range.units for key_range in ranges} == {3}
    # A stretch that was left out as broken has no path; mended, its keys are searched.
    mended = plan_key_ranges([*units[:2], units[2]._replace(path="/in/2.jsonl")])
    assert [key_range[:-1] for key_range in mended] == [key_range[:-1] for key_range in ranges]
    assert len({key_range.after for key_range in [*ranges, *mended]}) == 2
    assert plan_key_ranges([]) == [(0, 1, 0, 0, identify([]))]


@pytest.mark.parametrize("unit_bytes", [SMALL, LARGE, 200 << 20, HUGE])
def test_every_key_is_in_exactly_one_range(tmp_path, unit_bytes):
    units = make_units(2, unit_bytes)
    texts = [f"文{at % 300}" for at in range(600)]
    documents = [(TRAIN, at % 2, at, text) for at, text in enumerate(texts)]
    layout = write_run(tmp_path, documents, units)
    found = [find_copies(key_range, layout) for key_range in plan_key_ranges(units)]
    copies = [
        document
        for by_unit in found
        for packed in by_unit.packed.values()
        for document in np.frombuffer(packed, dedup.COPY)["document"].tolist()
    ]
    assert sorted(copies) == sorted(number_document(TRAIN, at % 2, at) for at in range(300, 600))


def test_copies_of_a_unit_are_named_in_one_order_whichever_range_found_them():
    units = make_units(2)
    copies = [
        (number_document(TRAIN, 1, at), number_document(TRAIN, 0, 100 - at)) for at in range(9)
    ]
    one, other = (np.array(copies[part::2], dedup.COPY).tobytes() for part in (0, 1))
    (packed,) = name_copies([one, other], units)
    assert name_copies([other, one], units) == [packed]
    assert dedup.unpack_losers(packed) == [
        (copy, "duplicate", document_id("plain", TRAIN, "0.jsonl", (1 << 40) + 100 - at), None)
        for at, (copy, _) in enumerate(copies)
    ]
    assert name_copies([], units) == name_copies([b""], units) == []


# --- Looking at texts ---


def number_pairs(*pairs):
    numbered = [(number_document(*a), number_document(*b)) for a, b in pairs]
    return np.array(numbered, dedup.PAIR)


@pytest.fixture
def texts(tmp_path):
    """Six documents, a frame each, in two units: their places and the layout."""
    documents = [
        *((TRAIN, 0, 0, FIRST), (HELD_OUT, 0, 9, OTHER), (TRAIN, 0, 10, random_text(9, 300))),
        *((TRAIN, 1, 0, NEAR), (TEST, 1, 9, FARTHER), (TRAIN, 1, LAST_OFFSET, FIRST + "。")),
    ]
    layout = write_run(tmp_path, documents, make_units(2), frame_bytes=1)
    return [document[:3] for document in documents], layout


def verified_of(pairs, layout):
    verified = verify_pairs(gather_suspects(1, 2, [pairs.tobytes()]), layout)
    return np.frombuffer(verified.pairs, dedup.VERIFIED).tolist()


@pytest.mark.parametrize("at_once", [1, 2, 4096])
def test_pairs_are_verified_by_their_texts(texts, monkeypatch, at_once):
    (first, other, third, near, farther, last), layout = texts
    monkeypatch.setattr(duplicates, "_PAIRS_AT_ONCE", at_once)
    pairs = number_pairs(
        *((first, near), (first, farther), (other, near), (near, farther), (first, last)),
        *((third, last), (third, near)),
    )
    expected = [
        (number_document(*first), number_document(*near), jaccard(FIRST, NEAR)),
        (number_document(*first), number_document(*last), jaccard(FIRST, FIRST + "。")),
        (number_document(*near), number_document(*farther), jaccard(NEAR, FARTHER)),
    ]
    assert verified_of(pairs, layout) == expected


def test_no_pairs_read_no_files(tmp_path):
    assert verify_pairs(Suspects(0, 1, b""), Layout(str(tmp_path))) == Verified(b"")


def damage_frame(layout, unit, row):
    """Overwrites the middle of the frame of one document."""
    frames = np.fromfile(layout.frames(unit, 2), "<u4,<u8,<u4")
    _, offset, length = frames[row].tolist()
    with open(layout.cleaned(unit, 2), "r+b") as file:
        file.seek(offset + length // 2)
        file.write(b"\xff" * 8)


def test_frames_of_other_documents_are_not_read(texts):
    (first, _, _, near, _, _), layout = texts
    for place in ((0, 1), (0, 2), (1, 1), (1, 2)):
        damage_frame(layout, *place)
    ((*pair, _),) = verified_of(number_pairs((first, near)), layout)
    assert pair == [number_document(*first), number_document(*near)]


def test_damaged_frame_names_its_file_and_what_to_do(texts):
    (first, _, _, near, _, _), layout = texts
    damage_frame(layout, 1, 0)
    with pytest.raises(RunError, match=r"cleaned/part-00001-of-00002.*damaged.*--overwrite"):
        verified_of(number_pairs((first, near)), layout)


# --- Gathering ---


pairs_of_ranges = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(4, 1 << 62)), max_size=5), max_size=4
)


@settings(max_examples=80, deadline=None)
@given(pairs_of_ranges)
@example([])
def test_suspects_are_all_pairs_once_in_order(ranges):
    packed = [np.array(pairs, dedup.PAIR).tobytes() for pairs in ranges]
    suspects = gather_suspects(4, 9, packed)
    assert suspects == gather_suspects(4, 9, reversed(packed))
    assert suspects[:2] == (4, 9)
    found = np.frombuffer(suspects.pairs, dedup.PAIR).tolist()
    assert found == sorted({pair for pairs in ranges for pair in pairs})


@settings(max_examples=80, deadline=None)
@given(pairs_of_ranges, st.floats(THRESHOLD, 1))
@example([], 1.0)
def test_verified_pairs_and_units_are_gathered_in_order(ranges, similarity):
    rows = [[(*pair, similarity) for pair in pairs] for pairs in ranges]
    verified = [Verified(np.array(row, dedup.VERIFIED).tobytes()) for row in rows]
    units = make_units(3)
    gathered = gather_pairs(verified, units)
    assert gathered == gather_pairs(verified[::-1], order_units(units[::-1]))
    assert gathered.units == units
    found = np.frombuffer(gathered.pairs, dedup.VERIFIED).tolist()
    assert found == sorted(row for of_range in rows for row in of_range)


def test_near_losers_are_written_and_their_digest_tells_them_apart(tmp_path):
    layout = Layout(str(tmp_path))
    pairs = np.array([(1, 5, 0.9), (2, 4, 0.95)], dedup.VERIFIED)
    found = resolve_near(NearPairs(make_units(1), pairs.tobytes()), layout)
    assert np.fromfile(layout.near_losers, "<i8").tolist() == [4, 5]
    other = resolve_near(NearPairs(make_units(1), pairs[:1].tobytes()), layout)
    assert np.fromfile(layout.near_losers, "<i8").tolist() == [5]
    none = resolve_near(NearPairs(make_units(1), b""), layout)
    assert np.fromfile(layout.near_losers, "<i8").tolist() == []
    assert none.losers == ByUnit({})
    assert len({found.digest, other.digest, none.digest}) == 3


# --- Notes ---


@pytest.mark.parametrize(
    "result",
    [
        *(ByUnit({}), ByUnit({7: b"", 0: b"\x00\xff[]"}), Verified(b""), Verified(b"\xff\n")),
        NearLosers(ByUnit({3: b"[]"}), "digest"),
    ],
)
def test_results_come_back_from_their_notes(result):
    recalled = orjson.loads(orjson.dumps(result.to_json()))
    assert type(result).from_json(recalled, "unit", "argument") == result


def test_second_run_recalls_what_the_first_found(tmp_path):
    units = make_units(3, LARGE)
    documents = [(split, unit, 0, FIRST) for split, unit in zip(SPLITS, (2, 1, 0), strict=True)]
    documents += [(TRAIN, 1, 9, NEAR), (TEST, 2, 9, f"{PARAGRAPH}\n{PARAGRAPH}")]
    layout = write_run(tmp_path, documents, units)

    def run():
        """Returns all that was done, in the order of the stages."""
        ranges = plan_key_ranges(units)
        done = [run_or_recall(each, duplicates.copies_stage(layout)) for each in ranges]
        found = [run_or_recall(each, duplicates.candidates_stage(layout)) for each in ranges]
        packed = {}
        for each in found:
            for number, pairs in each.result.packed.items():
                packed.setdefault(number, []).append(pairs)
        verify = duplicates.verify_stage(layout)
        verified = [
            run_or_recall(gather_suspects(number, 3, pairs), verify)
            for number, pairs in sorted(packed.items())
        ]
        pairs = gather_pairs([each.result for each in verified], units)
        near = run_or_recall(pairs, duplicates.near_stage(layout))
        ranges = plan_key_ranges(units, near.result.digest)
        repeats = [run_or_recall(each, duplicates.repeats_stage(layout)) for each in ranges]
        return [*done, *found, *verified, near, *repeats]

    first, second = run(), run()
    assert [each.result for each in second] == [each.result for each in first]
    assert not any(each.recalled for each in first)
    assert all(each.recalled for each in second)
    assert len(first) == 3 * 4 + 1 + 1
    files.delete(layout.near_losers)
    assert [each.recalled for each in run()].count(False) == 1


def test_other_near_losers_make_repeats_anew(tmp_path):
    units = make_units(1)
    layout = write_run(tmp_path, [(TRAIN, 0, 0, PARAGRAPH)], units)
    for key_range in plan_key_ranges(units):
        find_copies(key_range, layout)
    resolve_near(NearPairs(units, b""), layout)
    stage = duplicates.repeats_stage(layout)
    recalled = [
        run_or_recall(key_range, stage).recalled
        for after in ("a", "a", "b")
        for key_range in plan_key_ranges(units, after)
    ]
    assert recalled == [False, True, False]


def test_ranges_find_candidates_and_repeats_by_unit(tmp_path):
    units = make_units(2)
    earlier, later = (TRAIN, 1, 0), (HELD_OUT, 0, LAST_OFFSET)
    layout = write_run(
        tmp_path, [(*later, f"{NEAR}\n{PARAGRAPH}"), (*earlier, f"{FIRST}\n{PARAGRAPH}")], units
    )
    (key_range,) = plan_key_ranges(units)
    pair = number_document(*earlier), number_document(*later)
    assert find_candidates(key_range, layout).packed == {0: np.array([pair], dedup.PAIR).tobytes()}
    assert find_copies(key_range, layout) == ByUnit({})
    # None is verified, so that both stay.
    resolve_near(NearPairs(units, b""), layout)
    repeats = np.frombuffer(find_repeats(key_range, layout).packed[0], dedup.REPEAT)
    assert sorted(repeats.tolist()) == [(pair[1], 1), (pair[1], 2)]
