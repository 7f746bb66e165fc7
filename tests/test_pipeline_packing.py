from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.packing import (
    Packing,
    TokenStream,
    ends_in_joined,
    join_documents,
    join_streams,
    pack_stream,
)
from vocab.special_tokens import CLS_ID, PAD_ID, SEP_ID, UNK_ID

FIRST_ID = 106
LENGTHS = (10, 16, 128)

token_ids = st.sampled_from([UNK_ID, FIRST_ID, 107, 5_000, 13_685])
words = st.lists(token_ids, min_size=1, max_size=30)
documents = st.lists(words, max_size=12)
corpora = st.lists(documents, max_size=6)


def arrays_of(corpus):
    """Documents as lists of words, words as lists of ids -> ids, word starts, document begins."""
    ids, starts, begins = [], [], []
    for document in corpus:
        begins.append(len(ids))
        for word in document:
            ids += word
            starts += [True] + [False] * (len(word) - 1)
    return np.array(ids, np.int32), np.array(starts, np.bool_), np.array(begins, np.int64)


def stream_of(corpus):
    return join_documents(*arrays_of(corpus))


def pack(corpus, max_seq_length):
    """All sequences, in order."""
    packing = pack_stream(stream_of(corpus), max_seq_length)
    return packing.fill(np.arange(len(packing)))


def units_of(document):
    return [word[at : at + 8] for word in document for at in range(0, len(word), 8)]


def pack_plainly(corpus, max_seq_length):
    """Returns (token ids, word starts) of every sequence, one unit after the other."""
    sequences, ids, starts = [], [], []

    def flush():
        padding = max_seq_length - 2 - len(ids)
        sequences.append(
            (
                [CLS_ID, *ids, SEP_ID, *[PAD_ID] * padding],
                [True, *starts, True, *[False] * padding],
            )
        )
        ids.clear()
        starts.clear()

    for document in corpus:
        for place, unit in enumerate(units_of(document)):
            separated = place == 0 and bool(ids)
            if len(ids) + separated + len(unit) > max_seq_length - 2:
                flush()
            elif separated:
                ids.append(SEP_ID)
                starts.append(True)
            ids += unit
            starts += [True] + [False] * (len(unit) - 1)
    if ids:
        flush()
    return sequences


def as_lists(sequences):
    return list(zip(sequences.token_ids.tolist(), sequences.word_starts.tolist(), strict=True))


def contents_of(sequences):
    """Ids between [CLS] and the last [SEP] of every sequence."""
    rows = []
    for row in sequences.token_ids.tolist():
        last = max(place for place, token_id in enumerate(row) if token_id == SEP_ID)
        assert set(row[last + 1 :]) <= {PAD_ID}
        rows.append(row[1:last])
    return rows


@settings(max_examples=150, deadline=None)
@given(corpora, st.sampled_from(LENGTHS))
def test_pack_stream_equals_packing_unit_by_unit(corpus, max_seq_length):
    assert as_lists(pack(corpus, max_seq_length)) == pack_plainly(corpus, max_seq_length)


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(LENGTHS))
def test_pack_stream_loses_no_token(corpus, max_seq_length):
    rows = contents_of(pack(corpus, max_seq_length))
    packed = [token_id for row in rows for token_id in row if token_id != SEP_ID]
    assert packed == list(chain.from_iterable(chain.from_iterable(corpus)))


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(LENGTHS))
def test_pack_stream_cuts_no_unit(corpus, max_seq_length):
    sequences = pack(corpus, max_seq_length)
    lengths = []
    for ids, starts in as_lists(sequences):
        for token_id, start in zip(ids, starts, strict=True):
            if token_id in (CLS_ID, SEP_ID, PAD_ID):
                assert start == (token_id != PAD_ID)
            elif start:
                lengths.append(1)
            else:
                lengths[-1] += 1
    assert lengths == [len(unit) for document in corpus for unit in units_of(document)]


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(LENGTHS))
def test_pack_stream_puts_no_separator_beside_another_or_at_an_edge(corpus, max_seq_length):
    for row in contents_of(pack(corpus, max_seq_length)):
        assert row and row[0] != SEP_ID and row[-1] != SEP_ID
        assert [SEP_ID, SEP_ID] not in [row[at : at + 2] for at in range(len(row))]


def test_pack_stream_of_two_short_documents_separates_them_once():
    sequences = pack([[[200, 201], [202]], [], [[203]]], 16)
    assert as_lists(sequences) == [
        (
            [CLS_ID, 200, 201, 202, SEP_ID, 203, SEP_ID, *[PAD_ID] * 9],
            [True, True, False, True, True, True, True, *[False] * 9],
        )
    ]


def test_pack_stream_leaves_out_separator_that_would_end_a_full_sequence():
    first = [[200 + number] for number in range(14)]
    sequences = pack([first, [[300]]], 16)
    assert sequences.token_ids.tolist() == [
        [CLS_ID, *range(200, 214), SEP_ID],
        [CLS_ID, 300, SEP_ID, *[PAD_ID] * 13],
    ]


def test_pack_stream_leaves_out_separator_before_a_unit_that_does_not_fit():
    first = [[200 + number] for number in range(12)]
    sequences = pack([first, [[300, 301]]], 16)
    assert sequences.token_ids.tolist() == [
        [CLS_ID, *range(200, 212), SEP_ID, PAD_ID, PAD_ID],
        [CLS_ID, 300, 301, SEP_ID, *[PAD_ID] * 12],
    ]


def test_pack_stream_moves_word_that_would_be_cut_to_the_next_sequence():
    sequences = pack([[[201] * 8, [202] * 7, [203]]], 16)
    assert sequences.token_ids.tolist() == [
        [CLS_ID, *[201] * 8, SEP_ID, *[PAD_ID] * 6],
        [CLS_ID, *[202] * 7, 203, SEP_ID, *[PAD_ID] * 6],
    ]


def test_pack_stream_of_one_unit_that_fills_the_sequence_has_no_padding():
    sequences = pack([[[200] * 8]], 10)
    assert as_lists(sequences) == [([CLS_ID, *[200] * 8, SEP_ID], [True, True, *[False] * 7, True])]


@pytest.mark.parametrize("max_seq_length", [0, 2, 9])
def test_pack_stream_refuses_length_without_room_for_a_unit(max_seq_length):
    with pytest.raises(ValueError, match=f"max_seq_length must be .*10, got {max_seq_length}$"):
        pack_stream(stream_of([[[200]]]), max_seq_length)


@pytest.mark.parametrize("corpus", [[], [[]], [[], [], []]])
def test_pack_stream_without_tokens_makes_no_sequence(corpus):
    packing = pack_stream(stream_of(corpus), 128)
    assert (len(packing), len(packing.begins), len(packing.lengths)) == (0, 0, 0)
    sequences = packing.fill(np.arange(0))
    assert sequences.token_ids.shape == sequences.word_starts.shape == (0, 128)
    assert (sequences.token_ids.dtype, sequences.word_starts.dtype) == (np.uint16, np.bool_)


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(LENGTHS), st.data())
def test_fill_gives_any_sequences_in_the_order_asked_for(corpus, max_seq_length, data):
    packing = pack_stream(stream_of(corpus), max_seq_length)
    sequences = pack_plainly(corpus, max_seq_length)
    assert len(packing) == len(sequences)
    rows = []
    if sequences:
        rows = data.draw(st.lists(st.integers(0, len(sequences) - 1), max_size=8))
    filled = packing.fill(np.array(rows, np.int64))
    assert as_lists(filled) == [sequences[row] for row in rows]
    assert filled.token_ids.shape == filled.word_starts.shape == (len(rows), max_seq_length)


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(LENGTHS))
def test_begins_and_lengths_say_where_in_the_stream_each_sequence_lies(corpus, max_seq_length):
    stream = stream_of(corpus)
    packing = pack_stream(stream, max_seq_length)
    rows = contents_of(packing.fill(np.arange(len(packing))))
    assert packing.max_seq_length == max_seq_length
    assert packing.lengths.tolist() == [len(row) for row in rows]
    assert [
        stream.ids[begin : begin + length].tolist()
        for begin, length in zip(packing.begins.tolist(), packing.lengths.tolist(), strict=True)
    ] == rows
    # What lies between two sequences is one separator at most.
    ends = packing.begins + packing.lengths
    gaps = packing.begins[1:] - ends[:-1]
    assert set(gaps.tolist()) <= {0, 1}
    assert (stream.ids[ends[:-1][gaps == 1]] == SEP_ID).all()


@settings(max_examples=100, deadline=None)
@given(corpora, st.sampled_from(LENGTHS))
def test_no_token_is_misplaced(corpus, max_seq_length):
    misplaced = pack_stream(stream_of(corpus), max_seq_length).misplaced_tokens()
    assert (misplaced.tolist(), misplaced.dtype) == ([], np.int64)


def cut_stream(ids, cuts):
    """A packing of some tokens with given (begin, end) of each sequence."""
    stream = TokenStream(np.array(ids, np.uint16), np.ones(len(ids), np.bool_))
    begins, ends = np.array(cuts, np.int64).reshape(-1, 2).T
    return Packing(stream, begins, ends, 16)


def find_misplaced_plainly(ids, cuts):
    return [
        place
        for place, token_id in enumerate(ids)
        if token_id != SEP_ID and sum(begin <= place < end for begin, end in cuts) != 1
    ]


@st.composite
def faulty_cuts(draw):
    """Tokens and sequences that leave some out or overlap with the next by up to 4."""
    ids = draw(st.lists(st.sampled_from([SEP_ID, 200]), min_size=4, max_size=60))
    jitter = st.integers(-2, 2)
    bounds = [0, *range(6, len(ids) - 4, 6), len(ids)]
    cuts = [
        (max(0, begin + draw(jitter)), min(len(ids), end + draw(jitter)))
        for begin, end in pairwise(bounds)
    ]
    return ids, cuts


@settings(max_examples=200, deadline=None)
@given(faulty_cuts())
def test_misplaced_tokens_are_those_in_no_sequence_or_two(faulty):
    ids, cuts = faulty
    misplaced = cut_stream(ids, cuts).misplaced_tokens()
    assert misplaced.tolist() == find_misplaced_plainly(ids, cuts)


@pytest.mark.parametrize(
    ("cuts", "misplaced"),
    [
        ([(0, 3), (4, 7)], []),
        # The separator in between is in both, or in the first.
        ([(0, 4), (3, 7)], []),
        ([(0, 4), (4, 7)], []),
        ([(0, 2), (4, 7)], [2]),
        ([(0, 3), (5, 7)], [4]),
        ([(0, 5), (3, 7)], [4]),
        ([(1, 3), (4, 6)], [0, 6]),
        ([(0, 7)], []),
        ([], [0, 1, 2, 4, 5, 6]),
    ],
)
def test_misplaced_tokens_of_known_cuts(cuts, misplaced):
    ids = [200, 201, 202, SEP_ID, 203, 204, 205]
    assert cut_stream(ids, cuts).misplaced_tokens().tolist() == misplaced


def test_fill_does_not_write_into_the_stream_or_into_what_it_gave_before():
    stream = stream_of([[[200, 201], [202]], [[203]]])
    ids, starts = stream.ids.copy(), stream.unit_starts.copy()
    packing = pack_stream(stream, 16)
    first = packing.fill(np.array([0, 0]))
    first.token_ids[:], first.word_starts[:] = 7, False
    assert as_lists(packing.fill(np.array([0]))) == pack_plainly([[[200, 201], [202]], [[203]]], 16)
    assert stream.ids.tolist() == ids.tolist()
    assert stream.unit_starts.tolist() == starts.tolist()


def test_pack_stream_keeps_the_last_id_of_the_vocabulary():
    assert pack([[[13_685]]], 10).token_ids.tolist()[0][:3] == [CLS_ID, 13_685, SEP_ID]


def test_join_documents_marks_units_separators_and_parts_of_long_words():
    stream = stream_of([[[200] * 17, [201]], [[202, 203]]])
    assert stream.ids.tolist() == [*[200] * 17, 201, SEP_ID, 202, 203]
    assert np.flatnonzero(stream.unit_starts).tolist() == [0, 8, 16, 17, 18, 19]


def test_join_documents_begins_a_unit_at_every_document_even_inside_a_word():
    ids = np.array([200, 201, 202], np.int32)
    stream = join_documents(ids, np.zeros(3, np.bool_), np.array([0, 2]))
    assert stream.ids.tolist() == [200, 201, SEP_ID, 202]
    assert stream.unit_starts.tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("begins", "separated"),
    [
        ([0], [200, 201, 202]),
        ([0, 0, 0], [200, 201, 202]),
        ([0, 1, 1, 1], [200, SEP_ID, 201, 202]),
        ([0, 3, 3], [200, 201, 202]),
        ([0, 0, 2, 2, 3], [200, 201, SEP_ID, 202]),
        ([0, 1, 2], [200, SEP_ID, 201, SEP_ID, 202]),
        # What stands before the first place is a document as well; no place is one document.
        ([1], [200, SEP_ID, 201, 202]),
        ([], [200, 201, 202]),
    ],
)
def test_join_documents_passes_over_documents_without_tokens(begins, separated):
    ids = np.array([200, 201, 202], np.int32)
    stream = join_documents(ids, np.ones(3, np.bool_), np.array(begins, np.int64))
    assert stream.ids.tolist() == separated
    assert stream.unit_starts.tolist() == [True] * len(separated)


def test_join_documents_gives_ids_of_16_bits():
    for dtype in (np.int32, np.int64, np.uint16):
        ids = np.array([13_685, 106], dtype)
        stream = join_documents(ids, np.ones(2, np.bool_), np.array([0, 1]))
        assert (stream.ids.dtype, stream.unit_starts.dtype) == (np.uint16, np.bool_)
        assert stream.ids.tolist() == [13_685, SEP_ID, 106]


def test_join_documents_leaves_its_arguments_as_they_are():
    ids, starts = np.array([200, 201], np.int32), np.array([False, False])
    join_documents(ids, starts, np.array([0, 1]))
    assert ids.tolist() == [200, 201]
    assert starts.tolist() == [False, False]


@settings(max_examples=60, deadline=None)
@given(st.lists(corpora, max_size=4))
def test_join_streams_equals_stream_of_all_documents(parts):
    joined = join_streams([stream_of(part) for part in parts])
    whole = stream_of(list(chain.from_iterable(parts)))
    assert joined.ids.tolist() == whole.ids.tolist()
    assert joined.unit_starts.tolist() == whole.unit_starts.tolist()
    assert (joined.ids.dtype, joined.unit_starts.dtype) == (np.uint16, np.bool_)


def test_join_streams_separates_streams_once_and_skips_empty_ones():
    empty = TokenStream(np.zeros(0, np.uint16), np.zeros(0, np.bool_))
    first, second = stream_of([[[200, 201]]]), stream_of([[[202]]])
    joined = join_streams([empty, first, empty, empty, second, empty])
    assert joined.ids.tolist() == [200, 201, SEP_ID, 202]
    assert joined.unit_starts.tolist() == [True, False, True, True]


@settings(max_examples=60, deadline=None)
@given(st.lists(corpora, max_size=6))
def test_ends_in_joined_are_the_lengths_of_the_first_streams_joined(parts):
    streams = [stream_of(part) for part in parts]
    assert ends_in_joined([len(stream.ids) for stream in streams]) == [
        len(join_streams(streams[: count + 1]).ids) for count in range(len(streams))
    ]


@pytest.mark.parametrize(
    ("lengths", "ends"),
    [
        ([], []),
        ([0, 0], [0, 0]),
        ([3], [3]),
        ([3, 2], [3, 6]),
        ([0, 3, 0, 0, 2, 0], [0, 3, 3, 3, 6, 6]),
        ([1, 1, 1], [1, 3, 5]),
    ],
)
def test_ends_in_joined_count_separators_between_streams_that_hold_any_token(lengths, ends):
    assert ends_in_joined(lengths) == ends


def test_pack_stream_refuses_units_that_are_too_long():
    ids = np.full(2_000, 200, np.uint16)
    starts = np.arange(2_000) % 9 == 0
    # Units of 9 tokens can be cut all the same; those of 100 make more sequences than there may be.
    assert len(pack_stream(TokenStream(ids, starts), 128)) > 0
    for period in (100, 500):
        with pytest.raises(ValueError, match="has more than 8 tokens"):
            pack_stream(TokenStream(ids, np.arange(2_000) % period == 0), 128)


@pytest.mark.parametrize("rows", [[-1], [0, 3]])
def test_fill_refuses_numbers_of_no_sequence(rows):
    ids, starts = np.full(300, 200, np.uint16), np.ones(300, np.bool_)
    packed = pack_stream(TokenStream(ids, starts), 128)
    with pytest.raises(IndexError, match="there are 3 sequences; asked for"):
        packed.fill(np.array(rows))
