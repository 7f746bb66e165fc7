"""Code points cut into tokens, words into pieces."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab.pieces import DROP, SPACE, PieceTree, UnknownKindError
from vocab.special_tokens import SPECIAL_TOKENS, UNK_ID

SINGLES = {"中": 7, "国": 8, "外": UNK_ID}
UNSEEN = -4


def ids_of(tokens):
    return {token: token_id for token_id, token in enumerate([*SPECIAL_TOKENS, *tokens])}


def tokenize(tree, text, word_lengths=None, positions=None):
    """Tokenizes letters, blanks, `-` that is dropped and SINGLES; `?` is not known."""
    kinds = np.full(0x110000, UNSEEN, np.int32)
    for char in set(text) - {"?"}:
        marks = {" ": SPACE, "-": DROP, **SINGLES}
        kinds[ord(char)] = marks[char] if char in marks else tree.kind_of_letter(char)
    return tree.tokenize(
        np.array([ord(char) for char in text], np.uint32),
        kinds,
        np.arange(len(text)) if positions is None else np.array(positions, np.int64),
        np.array([len(text)] if word_lengths is None else word_lengths, np.int64),
    )


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
            return [(UNK_ID, 0)]
        found.append((ids[prefix + word[start : fitting[-1]]], start))
        start = fitting[-1]
    return found


letters = st.text("ab\\].^がé", min_size=1, max_size=6)
entries = st.lists(st.tuples(st.sampled_from(["", "##"]), letters).map("".join), unique=True)


@given(entries, st.text("abé", min_size=1, max_size=9))
def test_word_is_cut_as_the_definition_says(tokens, word):
    found = tokenize(PieceTree(ids_of(tokens)), word)
    expected = cut_plainly(tokens, word)
    assert list(zip(found.ids.tolist(), found.positions.tolist(), strict=True)) == expected
    assert found.unknown == (len(word) if found.ids[0] == UNK_ID else 0)


LETTERS = ["a", "##a", "b", "##b", "ab", "##ab"]


def tokenize_plainly(text, word_lengths, positions):
    """Code by code: tokens as (id, position, whether it begins a word), and what became of all."""
    ends = np.cumsum(word_lengths)
    word_of = [int(np.searchsorted(ends, place, "right")) for place in range(len(text))]
    found = []
    unknown = 0
    for match in re.finditer("[abc-]+|[中国外]", text):
        kept = [place for place in range(*match.span()) if text[place] != "-"]
        if match[0] in SINGLES:
            pieces = [(SINGLES[match[0]], 0)]
        else:
            pieces = cut_plainly(LETTERS, match[0].replace("-", ""))
        found += [(piece, positions[kept[at]], at == 0) for piece, at in pieces]
        unknown += len({positions[place] for place in kept}) * ((UNK_ID, 0) in pieces)
    tokens = []
    for number, (token_id, position, may_begin) in enumerate(found):
        before = word_of[found[number - 1][1]] if number else -1
        tokens.append((token_id, position, may_begin and word_of[position] != before))
    return tokens, (text.count(" "), text.count("-"), unknown)


@given(
    st.lists(st.text("ab中国外 -c", max_size=5), max_size=6),
    st.lists(st.sampled_from([0, 1, 1, 1]), min_size=30, max_size=30),
)
def test_tokenize_equals_the_rule_applied_code_by_code(words, steps):
    text, lengths = "".join(words), [len(word) for word in words]
    # Where a step is 0, a code comes from the same character as the one before it.
    positions = np.maximum(np.cumsum(steps) - steps[0], 0).tolist()[: len(text)]
    found = tokenize(PieceTree(ids_of(LETTERS)), text, lengths, positions)
    tokens, counts = tokenize_plainly(text, lengths, positions)
    columns = found.ids.tolist(), found.positions.tolist(), found.word_starts.tolist()
    assert list(zip(*columns, strict=True)) == tokens
    assert (found.white_space, found.dropped, found.unknown) == counts


def test_text_without_codes_has_no_tokens():
    found = tokenize(PieceTree(ids_of(["a"])), "", [])
    assert [len(column) for column in found[:3]] == [0, 0, 0]
    assert found[3:] == (0, 0, 0)
    assert [column.dtype for column in found[:3]] == [np.int32, np.int64, np.bool_]


def test_vocabulary_without_entries_makes_every_word_unknown():
    found = tokenize(PieceTree({}), "a bc")
    assert (found.ids.tolist(), found.unknown) == ([UNK_ID, UNK_ID], 3)


@pytest.mark.parametrize("length", [200, 201])
def test_longest_word_and_entries_within_each_other(length):
    tree = PieceTree(ids_of(["a" * n for n in range(1, 203)]))
    expected = 305 if length == 200 else UNK_ID
    assert tokenize(tree, "a" * length + " a").ids.tolist() == [expected, 106]


def test_words_of_more_letters_than_any_table_are_told_apart():
    chars = [chr(code) for code in range(0x400, 0x450)]
    words = [first + second for first in chars for second in chars]
    tree = PieceTree(ids_of(words))
    assert tokenize(tree, " ".join(words)).ids.tolist() == [*range(106, 106 + len(words))]


def test_code_of_no_kind_is_named():
    with pytest.raises(UnknownKindError, match="of kind -4") as raised:
        tokenize(PieceTree(ids_of(["a"])), "a中?")
    assert raised.value.kind == UNSEEN
