"""Cutting of stretches into word pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab import pieces
from vocab.pieces import PieceTable
from vocab.special_tokens import SPECIAL_TOKENS, UNK_ID


def ids_of(tokens):
    return {token: token_id for token_id, token in enumerate([*SPECIAL_TOKENS, *tokens])}


def table_of(*tokens):
    return PieceTable(ids_of(tokens), cased=False)


def cut(table, *stretches):
    """Returns of each stretch its pieces as (id, place, continues)."""
    found = table.look_up(stretches)
    rows = list(
        zip(found.ids.tolist(), found.places.tolist(), found.continues.tolist(), strict=True)
    )
    ends = np.cumsum(found.counts).tolist()
    return [rows[end - count : end] for end, count in zip(ends, found.counts.tolist(), strict=True)]


def cut_plainly(tokens, word):
    """The definition: the longest piece that fits, or one [UNK] for the whole word."""
    ids = ids_of(tokens)
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        fitting = [
            end for end in range(start + 1, len(word) + 1) if prefix + word[start:end] in ids
        ]
        if not fitting:
            return [(UNK_ID, 0, False)]
        found.append((ids[prefix + word[start : fitting[-1]]], start, start > 0))
        start = fitting[-1]
    return found


letters = st.text("ab\\].^-が", min_size=1, max_size=6)
entries = st.lists(st.tuples(st.sampled_from(["", "##"]), letters).map("".join), unique=True)


@given(entries, st.lists(st.text("abc", min_size=1, max_size=9)))
def test_words_are_cut_as_the_definition_says(tokens, words):
    table = table_of(*tokens)
    expected = [cut_plainly(tokens, word) for word in words]
    assert cut(table, *words) == expected
    assert cut(table, *words) == expected  # now all are known


def test_no_stretches_have_no_pieces():
    found = table_of("a").look_up([])
    assert [len(field) for field in found] == [0, 0, 0, 0]


def test_vocabulary_without_entries_makes_every_word_unknown():
    assert cut(table_of(), "a", "bc") == [[(UNK_ID, 0, False)], [(UNK_ID, 0, False)]]


def test_stretch_of_several_words_has_the_pieces_of_all_at_their_places():
    # U+037E folds to a semicolon, between two words; the accent goes.
    table = table_of("ab", "##c", ";", "d")
    assert cut(table, "abc\u037ed\u0301d", "d") == [
        [(106, 0, False), (107, 2, True), (108, 3, False), (UNK_ID, 4, False)],
        [(109, 0, False)],
    ]


@pytest.mark.parametrize("length", [200, 201])
def test_longest_word_and_entries_within_each_other(length):
    entries = ["a" * n for n in range(1, 203)]
    expected = [(305, 0, False)] if length == 200 else [(UNK_ID, 0, False)]
    assert cut(table_of(*entries), "a" * length) == [expected]


def test_known_stretches_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(pieces, "_MAX_KNOWN_STRETCHES", 2)
    table = table_of("a", "b", "##b")
    for words in (["a", "ab", "b"], ["b", "ab"], ["abb"], ["a"]):
        assert cut(table, *words) == [cut_plainly(["a", "b", "##b"], word) for word in words]
