import numpy as np
import pytest

import vocab.tokenizer
from vocab import Tokenizer
from vocab.special_tokens import SPECIAL_TOKENS

ORDINARY = [*"中国的，。un1か", "##able", "##a", "##b", "aff", "##ff", "a", "😀", "##😀", "\u1100"]
TOKENS = [*SPECIAL_TOKENS, *ORDINARY]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(TOKENS)


def names_of(ids):
    return [TOKENS[token_id] for token_id in ids]


def tokenize_words(tokenizer, words):
    return tokenizer.tokenize("".join(words), np.array([*map(len, words)], np.int64))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("中国的", ["中", "国", "的"]),
        ("中外", ["中", "[UNK]"]),
        ("unable", ["[UNK]"]),
        ("nable", ["n", "##able"]),
        ("affa", ["aff", "##a"]),
        ("aFFB", ["aff", "##b"]),
        ("aaffb", ["a", "##a", "##ff", "##b"]),
        ("ax", ["[UNK]"]),
        ("a。b", ["a", "。", "[UNK]"]),
        ("😀😀a中", ["😀", "##😀", "##a", "中"]),
        ("が 1", ["か", "1"]),
        ("[PAD][UNK]", ["[UNK]"] * 6),
        ("##a", ["[UNK]", "[UNK]", "a"]),
        ("\u2028中\u2028", ["中"]),
        ("a\ud800", ["[UNK]"]),
        ("중", ["[UNK]"]),
    ],
)
def test_encode_text_gives_longest_pieces_first(tokenizer, text, expected):
    assert names_of(tokenizer.encode(text)) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a" * 200, ["a"] + ["##a"] * 199),
        ("a" * 201, ["[UNK]"]),
        ("á" * 200, ["a"] + ["##a"] * 199),
        ("á" * 201, ["[UNK]"]),
        ("a" * 100 + "\u200b" + "a" * 100, ["a"] + ["##a"] * 199),
        ("a" * 201 + "中" + "a", ["[UNK]", "中", "a"]),
        ("中" * 300, ["中"] * 300),
    ],
)
def test_encode_word_over_200_folded_characters_is_unk(tokenizer, word, expected):
    assert names_of(tokenizer.encode(word)) == expected


def test_encode_returns_plain_integers(tokenizer):
    ids = tokenizer.encode("中a")
    assert [type(token_id) for token_id in ids] == [int, int]


def test_encode_twice_gives_the_same_ids_when_no_room_is_left_for_known_words(monkeypatch):
    monkeypatch.setattr(vocab.tokenizer, "_MAX_KNOWN_STRETCHES", 1)
    tokenizer = Tokenizer(TOKENS)
    for _ in range(3):
        assert names_of(tokenizer.encode("nable affa a nable")) == [
            *("n", "##able", "aff", "##a", "a", "n", "##able")
        ]


@pytest.mark.parametrize(
    ("words", "tokens", "positions", "word_starts"),
    [
        pytest.param([], [], [], [], id="empty"),
        pytest.param(["中国", "的"], ["中", "国", "的"], [0, 1, 2], [1, 0, 1], id="plain"),
        pytest.param(["中", "国"], ["中", "国"], [0, 1], [1, 1], id="one-character-words"),
        pytest.param(["affa", "。"], ["aff", "##a", "。"], [0, 3, 4], [1, 0, 1], id="pieces"),
        pytest.param(["aff", "a"], ["aff", "##a"], [0, 3], [1, 0], id="boundary-in-pieces"),
        pytest.param(["af", "fa"], ["aff", "##a"], [0, 3], [1, 0], id="boundary-inside-piece"),
        # The word of 的 is not that of the piece before it, though the piece began no word.
        pytest.param(
            ["aff", "a的"], ["aff", "##a", "的"], [0, 3, 4], [1, 0, 0], id="word-from-a-piece-on"
        ),
        pytest.param(
            ["中", " ", "国"], ["中", "国"], [0, 2], [1, 1], id="word-without-tokens-between"
        ),
        pytest.param(["中 国"], ["中", "国"], [0, 2], [1, 0], id="space-inside-a-word"),
        pytest.param(["中", "", "国"], ["中", "国"], [0, 1], [1, 1], id="word-of-no-characters"),
        pytest.param([" ", "中国"], ["中", "国"], [1, 2], [1, 0], id="space-first"),
        pytest.param(["a 1"], ["a", "1"], [0, 2], [1, 0], id="two-words-in-one-segment"),
        pytest.param(["À", "\u0301中"], ["a", "中"], [0, 2], [1, 1], id="accent-in-next-word"),
        pytest.param(["a\u200b", "a"], ["a", "##a"], [0, 2], [1, 0], id="dropped-character"),
        pytest.param(["外国", "的"], ["[UNK]", "国", "的"], [0, 1, 2], [1, 0, 1], id="unk"),
    ],
)
def test_tokenize_words_give_positions_and_word_starts(
    tokenizer, words, tokens, positions, word_starts
):
    found = tokenize_words(tokenizer, words)
    assert names_of(found.ids) == tokens
    assert found.positions.tolist() == positions
    assert found.word_starts.tolist() == [bool(flag) for flag in word_starts]


def test_tokenize_text_gives_documented_types(tokenizer):
    tokens = tokenize_words(tokenizer, ["中国", "aa"])
    assert [column.dtype for column in tokens] == [np.int32, np.int64, np.bool_]


def test_tokenizer_size_is_the_number_of_entries(tokenizer):
    assert tokenizer.size == 106 + len(ORDINARY)


def test_tokenizer_recipe_says_how_text_becomes_ids(tokenizer):
    assert tokenizer.recipe == {
        "kind": "BERT WordPiece",
        "do_lower_case": True,
        "strip_accents": True,
        "max_word_chars": 200,
    }
