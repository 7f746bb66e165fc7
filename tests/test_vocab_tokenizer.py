from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vocab import Tokenizer
from vocab.basic_tokens import Kind, decode_codes, kind_of, split_basic_tokens
from vocab.special_tokens import SPECIAL_TOKENS, UNK_ID

ORDINARY = [*"中国的，。un1か", "##able", "##a", "##b", "aff", "##ff", "a", "😀", "##😀", "\u1100"]
TOKENS = [*SPECIAL_TOKENS, *ORDINARY]

# Parts of Hangul syllables: 가 is G A, 각 is G A K.
G, A, K = "\u1100", "\u1161", "\u11a8"
HANGUL = ["##" + G, "##" + A, "##" + K, "##" + K + G, "\u302e", "##\u302e"]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(TOKENS)


@pytest.fixture(scope="module")
def hangul_tokenizer():
    return Tokenizer([*TOKENS, *HANGUL])


def names_of(ids):
    return [[*TOKENS, *HANGUL][token_id] for token_id in ids]


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
        pytest.param(["中", " 国"], ["中", "国"], [0, 2], [1, 1], id="word-begins-with-a-space"),
        pytest.param(["中", "  国"], ["中", "国"], [0, 3], [1, 1], id="word-begins-with-spaces"),
        pytest.param(
            ["中", " \u200b\u0301国", "的", " \n国的"],
            ["中", "国", "的", "国", "的"],
            [0, 4, 5, 8, 9],
            [1, 1, 1, 1, 0],
            id="words-begin-with-spaces-and-dropped-characters",
        ),
        pytest.param(["中", "   "], ["中"], [0], [1], id="word-of-spaces-last"),
        pytest.param(["中 ", "国"], ["中", "国"], [0, 2], [1, 1], id="word-ends-with-a-space"),
        pytest.param(
            ["中", " ", " ", "\n", "国的"], ["中", "国", "的"], [0, 4, 5], [1, 1, 0], id="spaces"
        ),
        pytest.param(["中", " ", "  "], ["中"], [0], [1], id="spaces-last"),
        pytest.param([" ", "  "], [], [], [], id="spaces-alone"),
        pytest.param(
            ["中", "\u200b", "国"], ["中", "国"], [0, 2], [1, 1], id="word-of-a-dropped-character"
        ),
        pytest.param(
            ["中", "\u200b国"], ["中", "国"], [0, 2], [1, 1], id="dropped-character-first-in-word"
        ),
        pytest.param(["中\u200b国"], ["中", "国"], [0, 2], [1, 0], id="dropped-inside-a-word"),
        pytest.param(["\u200b", "\u0301中"], ["中"], [2], [1], id="dropped-characters-first"),
        pytest.param(["中", "\u0301", "\0"], ["中"], [0], [1], id="dropped-characters-last"),
        pytest.param(["中", "\u0301a"], ["中", "a"], [0, 2], [1, 1], id="accent-before-a-piece"),
        pytest.param(
            ["中", " ", "\u200b", "\u0301", " 国"],
            ["中", "国"],
            [0, 5],
            [1, 1],
            id="spaces-and-dropped-characters",
        ),
        pytest.param(
            ["aff", "\u200b", "a"], ["aff", "##a"], [0, 4], [1, 0], id="dropped-between-pieces"
        ),
        pytest.param(
            ["aff", "\u200b的"], ["aff", "的"], [0, 4], [1, 1], id="dropped-behind-a-piece"
        ),
        pytest.param(
            ["a", "f", "f", "ff", "a"],
            ["aff", "##ff", "##a"],
            [0, 3, 5],
            [1, 0, 0],
            id="boundaries-all-over-pieces",
        ),
        pytest.param(
            ["的", "n", "able", "。"],
            ["的", "n", "##able", "。"],
            [0, 1, 2, 6],
            [1, 1, 0, 1],
            id="boundary-in-a-run-of-pieces",
        ),
        pytest.param(
            ["a", "x", "的"], ["[UNK]", "的"], [0, 2], [1, 1], id="boundary-in-an-unknown-word"
        ),
    ],
)
def test_tokenize_words_give_positions_and_word_starts(
    tokenizer, words, tokens, positions, word_starts
):
    found = tokenize_words(tokenizer, words)
    assert names_of(found.ids) == tokens
    assert found.positions.tolist() == positions
    assert found.word_starts.tolist() == [bool(flag) for flag in word_starts]


@pytest.mark.parametrize(
    ("words", "tokens", "positions", "word_starts"),
    [
        pytest.param(["각"], [G, "##" + A, "##" + K], [0, 0, 0], [1, 0, 0], id="one"),
        pytest.param(
            ["国", "각", "的"],
            ["国", G, "##" + A, "##" + K, "的"],
            [0, 1, 1, 1, 2],
            [1, 1, 0, 0, 1],
            id="one-among-others",
        ),
        pytest.param(
            ["国각的"],
            ["国", G, "##" + A, "##" + K, "的"],
            [0, 1, 1, 1, 2],
            [1, 0, 0, 0, 0],
            id="inside-a-word",
        ),
        pytest.param(
            ["가", "가"],
            [G, "##" + A, "##" + G, "##" + A],
            [0, 0, 1, 1],
            [1, 0, 0, 0],
            id="boundary-in-a-run-of-pieces",
        ),
        pytest.param(
            ["각가", "的"],
            [G, "##" + A, "##" + K + G, "##" + A, "的"],
            [0, 0, 0, 1, 2],
            [1, 0, 0, 0, 1],
            id="piece-over-two-syllables",
        ),
        pytest.param(
            ["각", "가的"],
            [G, "##" + A, "##" + K + G, "##" + A, "的"],
            [0, 0, 0, 1, 2],
            [1, 0, 0, 0, 0],
            id="boundary-inside-a-piece",
        ),
        pytest.param(
            ["각", " ", "각"],
            [G, "##" + A, "##" + K] * 2,
            [0, 0, 0, 2, 2, 2],
            [1, 0, 0, 1, 0, 0],
            id="space-between",
        ),
        pytest.param(
            ["a가", "的가"],
            ["a", "##" + G, "##" + A, "的", G, "##" + A],
            [0, 1, 1, 2, 3, 3],
            [1, 0, 0, 1, 0, 0],
            id="behind-a-letter",
        ),
        pytest.param(
            ["가\u302e", "的"],
            [G, "##" + A, "##\u302e", "的"],
            [0, 0, 1, 2],
            [1, 0, 0, 1],
            id="tone-mark",
        ),
        pytest.param(["가", "\u200b"], [G, "##" + A], [0, 0], [1, 0], id="dropped-character-last"),
        pytest.param(["힣", "가"], ["[UNK]"], [0], [1], id="unknown-syllable"),
    ],
)
def test_tokenize_hangul_puts_parts_of_a_syllable_at_one_character(
    hangul_tokenizer, words, tokens, positions, word_starts
):
    # Twice: the second time all stretches are known.
    for _ in range(2):
        found = tokenize_words(hangul_tokenizer, words)
        assert names_of(found.ids) == tokens
        assert found.positions.tolist() == positions
        assert found.word_starts.tolist() == [bool(flag) for flag in word_starts]
        assert [column.dtype for column in found[:3]] == [np.int32, np.int64, np.bool_]


def test_tokenize_whole_syllable_of_the_vocabulary_is_one_token():
    tokenizer = Tokenizer([*SPECIAL_TOKENS, G, "##" + A, G + A])
    found = tokenize_words(tokenizer, ["가", " ", "가"])
    assert found.ids.tolist() == [108, 108]
    assert found.positions.tolist() == [0, 2]
    assert found.word_starts.tolist() == [True, True]


def test_tokenize_mark_that_changes_places_stays_in_ascending_positions():
    # U+302E and U+1D165 change places (combining classes 224 and 216).
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "a", "##\U0001d165", "##\u302e", "中"])
    found = tokenize_words(tokenizer, ["a\u302e", "\U0001d165", "中"])
    assert found.ids.tolist() == [106, 107, 108, 109]
    assert found.positions.tolist() == [0, 2, 2, 3]
    assert found.word_starts.tolist() == [True, False, False, True]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_tokenize_takes_word_lengths_of_any_type(tokenizer, dtype):
    # Their sum is over 255.
    found = tokenizer.tokenize("中" * 300 + "国", np.array([200, 100, 1], dtype))
    assert np.flatnonzero(found.word_starts).tolist() == [0, 200, 300]


def test_tokenize_text_gives_documented_types(tokenizer):
    tokens = tokenize_words(tokenizer, ["中国", "aa"])
    assert [column.dtype for column in tokens[:3]] == [np.int32, np.int64, np.bool_]


def test_tokenizer_size_is_the_number_of_entries(tokenizer):
    assert tokenizer.size == 106 + len(ORDINARY)


def test_tokenizer_recipe_says_how_text_becomes_ids(tokenizer):
    assert tokenizer.recipe == {
        "kind": "BERT WordPiece",
        "do_lower_case": True,
        "strip_accents": True,
        "max_word_chars": 200,
    }


@pytest.mark.parametrize(
    ("text", "in_tokens", "white_space", "dropped", "unknown"),
    [
        ("", 0, 0, 0, 0),
        ("中国 的\n", 3, 2, 0, 0),
        ("中外", 2, 0, 0, 1),
        ("unable x", 7, 1, 0, 7),
        ("aFFB", 4, 0, 0, 0),
        ("a\u200bb。", 3, 0, 1, 0),
        ("e\u0301 \u0301", 1, 1, 2, 1),
        ("\u200b", 0, 0, 1, 0),
        ("중국", 2, 0, 0, 2),
        ("外\u200b \u200b外", 2, 1, 2, 2),
        ("\u2028\u3000中", 1, 2, 0, 0),
    ],
)
def test_tokenize_counts_what_becomes_of_each_character(
    tokenizer, text, in_tokens, white_space, dropped, unknown
):
    assert tokenize_words(tokenizer, [text]).fates == (in_tokens, white_space, dropped, unknown)


@given(st.text(alphabet=st.one_of(st.sampled_from("中国a1 \n\u200b\u0301。한Σé"), st.characters())))
def test_tokenize_fates_are_those_of_the_basic_tokens(tokenizer, text):
    fates = tokenize_words(tokenizer, [text]).fates
    basic = split_basic_tokens(text)
    inside = np.zeros(len(basic.codes) + 1, np.int64)
    np.add.at(inside, basic.starts, 1)
    np.add.at(inside, basic.ends, -1)
    in_words = np.unique(basic.positions[np.cumsum(inside[:-1]) > 0])
    present = np.unique(basic.positions)
    assert fates.in_tokens == len(in_words)
    assert fates.white_space == len(present) - len(in_words)
    assert fates.dropped == len(text) - len(present)
    assert fates.unknown <= fates.in_tokens


@settings(max_examples=300, deadline=None)
@given(st.text("中外aB。 \u200b\u0301\u302e\u302a\U0001d165각\u1161Ω\n", max_size=12))
@example("ÅΩÅC。\u302e\U0001d165a")
def test_tokenize_unknown_characters_are_those_from_an_unknown_token_to_the_next(text):
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "中", "a"])
    tokens = tokenize_words(tokenizer, [text])
    spans = pairwise([*tokens.positions.tolist(), len(text)])
    basic = split_basic_tokens(text)
    kinds = [kind_of(chr(code)) for code in basic.codes.tolist()]
    present = {
        place
        for place, kind in zip(basic.positions.tolist(), kinds, strict=True)
        if kind in (Kind.SINGLE, Kind.LETTER)
    }
    unknown = [
        place in present
        for (begin, end), token_id in zip(spans, tokens.ids.tolist(), strict=True)
        for place in range(begin, end)
        if token_id == UNK_ID
    ]
    assert tokens.fates.unknown == sum(unknown)


def test_tokenize_of_words_that_are_not_the_text_is_refused(tokenizer):
    with pytest.raises(ValueError, match="a text of 3 characters was cut into words of 2"):
        tokenizer.tokenize("中国的", np.array([1, 1]))


# --- Case and accents kept ---

CASED = [*ORDINARY, "A", "##A", "Aff", "é", "##é", "e", "Σ", "\u0301", "##\u0301", "が", "가", "豈"]


@pytest.fixture(scope="module")
def cased_tokenizer():
    return Tokenizer([*SPECIAL_TOKENS, *CASED], cased=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aA Aff aff", ["a", "##A", "Aff", "aff"]),
        ("AFF", ["[UNK]"]),
        ("É é e\u0301", ["[UNK]", "é", "e", "##\u0301"]),
        ("\u0301", ["\u0301"]),
        ("中\u0301A", ["中", "\u0301", "##A"]),
        ("\u0301é", ["\u0301", "##é"]),
        ("Σ aΣ", ["Σ", "[UNK]"]),
        ("が 가豈", ["が", "가", "豈"]),
        ("A\u200bA\0é", ["A", "##A", "##é"]),
        ("国，A", ["国", "，", "A"]),
    ],
)
def test_encode_cased_keeps_case_and_accents(cased_tokenizer, text, expected):
    for _ in range(2):
        ids = cased_tokenizer.encode(text)
        assert [[*SPECIAL_TOKENS, *CASED][token_id] for token_id in ids] == expected


def test_tokenize_cased_counts_only_control_and_format_characters_as_dropped(cased_tokenizer):
    fates = tokenize_words(cased_tokenizer, ["e\u0301\u200b 外\0"]).fates
    assert fates == (3, 1, 2, 1)


def test_tokenizer_cased_recipe_says_so(cased_tokenizer):
    assert cased_tokenizer.recipe == {
        "kind": "BERT WordPiece",
        "do_lower_case": False,
        "strip_accents": False,
        "max_word_chars": 200,
    }


# --- Offsets ---


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        (" \u200b ", []),
        ("中国 的。", ["中", "国", "的", "。"]),
        ("affa un", ["aff", "a", "un"]),
        ("aFFB中", ["aFF", "B", "中"]),
        ("xyz  外", ["xyz", "外"]),
        ("e\u0301\u0323 中\u0301国", ["e\u0301\u0323", "中\u0301", "国"]),
        ("a\u200bff\u0301a", ["a\u200bff\u0301", "a"]),
        ("a\u200b \u200ba", ["a\u200b", "a"]),
        ("\u0301a\u0301", ["a\u0301"]),
        ("a\n\u3000\u2028b", ["a", "b"]),
        ("😀😀a", ["😀", "😀", "a"]),
        ("İΣ 中", ["İΣ", "中"]),
    ],
)
def test_encode_with_offsets_points_at_what_became_each_token(tokenizer, text, spans):
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    assert [text[start:end] for start, end in offsets.tolist()] == spans
    assert (offsets.shape, offsets.dtype) == ((len(spans), 2), np.int64)


def test_encode_with_offsets_parts_of_a_syllable_share_its_place(hangul_tokenizer):
    ids, offsets = hangul_tokenizer.encode_with_offsets("a각 가")
    assert names_of(ids) == ["a", "##" + G, "##" + A, "##" + K, G, "##" + A]
    assert offsets.tolist() == [[0, 1], [1, 2], [1, 2], [1, 2], [3, 4], [3, 4]]


def test_encode_with_offsets_mark_that_goes_behind_a_later_one_has_its_place():
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "\U0001d165", "##\u302e"])
    ids, offsets = tokenizer.encode_with_offsets("\u302e\U0001d165")
    assert (ids, offsets.tolist()) == ([106, 107], [[1, 2], [1, 2]])


def test_encode_with_offsets_cased_gives_accents_their_own_place(cased_tokenizer):
    _, offsets = cased_tokenizer.encode_with_offsets("e\u0301\u200b A")
    assert offsets.tolist() == [[0, 1], [1, 3], [4, 5]]


MIXED = st.text(
    st.one_of(st.sampled_from("中国a1bff \n\u200b\u0301。外Σéen"), st.characters()), max_size=20
)


@settings(max_examples=300, deadline=None)
@given(MIXED, st.booleans())
@example("a\u0301 \u0301b", False)
def test_encode_with_offsets_spans_cover_all_but_white_space_and_what_follows_it(text, cased):
    tokenizer = Tokenizer([*SPECIAL_TOKENS, *CASED], cased)
    ids, offsets = tokenizer.encode_with_offsets(text)
    covered = np.zeros(len(text), np.int64)
    for start, end in offsets.tolist():
        assert start < end
        covered[start:end] = 1
        assert not any(
            tokenizer.encode(f"a{char}a") == tokenizer.encode("a a") for char in text[start:end]
        )
    fates = tokenizer.tokenize(text, np.array([len(text)])).fates
    assert fates.in_tokens <= covered.sum() <= fates.in_tokens + fates.dropped
    assert (np.diff(offsets[:, 0]) >= 0).all()
    assert len(ids) == len(offsets)


@settings(max_examples=300, deadline=None)
@given(st.text("中国的，。un1 aff\u0301\u200bABÉ外b", max_size=30))
def test_encode_with_offsets_span_alone_gives_its_token(text):
    tokenizer = Tokenizer([*TOKENS, "e", "##e", "f", "##f", "##n", "##u", "##1", "u", "b"])
    tokens = [*TOKENS, "e", "##e", "f", "##f", "##n", "##u", "##1", "u", "b"]
    ids, offsets = tokenizer.encode_with_offsets(text)
    for token_id, (start, end) in zip(ids, offsets.tolist(), strict=True):
        name = tokens[token_id]
        if name != "[UNK]":
            basic = split_basic_tokens(text[start:end])
            assert decode_codes(basic.codes) == name.removeprefix("##")


# --- Back to text ---

READABLE = Tokenizer(
    [
        *SPECIAL_TOKENS,
        *(chr(code) for code in range(33, 127)),
        *("##" + chr(code) for code in range(33, 127)),
        *"中国人的，。！、（）《》",
        *("hello", "world", "##ing", "か", "##く", "￥", "##￥", "😀", "##😀", "σ", "ς", "##ς"),
        *(G, "##" + G, "##" + A, "##" + K, "\u2028", "##\u2028"),
    ]
)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("", ""),
        ("中国人的", "中国人的"),
        ("中 国，人 。", "中国，人。"),
        ("Hello  World", "hello world"),
        ("helloing中hello 的", "helloing中hello的"),
        ("Hello, world! Ok?No;x", "hello, world! ok? no; x"),
        ("hello,中国", "hello,中国"),
        ("3,000.50 20:30", "3,000.50 20:30"),
        ("it's (a) b", "it's(a)b"),
        ("www.a.com/b?c=1", "www.a.com/b? c=1"),
        ("《hello》（中）", "《hello》（中）"),
        ("가각 각", "가각 각"),
        ("かく かく", "かく かく"),
        ("😀😀 😀￥", "😀😀 😀￥"),
        ("a # #b", "a##b"),
        ("ΣΣ", "σς"),
    ],
)
def test_decode_writes_text_back(text, decoded):
    assert READABLE.decode(READABLE.encode(text)) == decoded


@pytest.mark.parametrize(
    ("ids", "decoded"),
    [
        ([101, 102, 0, 0], ""),
        ([101, 103, 103, 102], "[MASK][MASK]"),
        ([1, 104], "[unused1]<S>"),
    ],
)
def test_decode_leaves_out_what_only_frames_text(ids, decoded):
    assert READABLE.decode(ids) == decoded


def test_decode_puts_blanks_between_words_and_special_tokens():
    hello, middle, ing = (READABLE.encode(text)[-1] for text in ("hello", "中", "helloing"))
    assert READABLE.decode([hello, 103, 100, hello]) == "hello [MASK][UNK] hello"
    assert READABLE.decode([middle, 103, middle]) == "中[MASK]中"
    assert READABLE.decode([hello, 102, hello]) == "hello hello"
    assert READABLE.decode([hello, 0, ing]) == "helloing"
    assert READABLE.decode(np.array([middle], np.uint16)) == "中"


@pytest.mark.parametrize("token_id", [-1, READABLE.size])
def test_decode_names_an_id_that_is_none(token_id):
    message = f"^{token_id} is no id of this vocabulary of {READABLE.size} entries$"
    with pytest.raises(ValueError, match=message):
        READABLE.decode([101, token_id])


def test_decode_cased_leaves_characters_as_they_are():
    tokens = [*SPECIAL_TOKENS, "A", "豈", "\u1100", "##\u1161"]
    tokenizer = Tokenizer(tokens, cased=True)
    text = "A豈\u1100\u1161"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def fold(text):
    """Returns the characters of a text that are no white space, folded."""
    return "".join(decode_codes(split_basic_tokens(text).codes).split())


@settings(max_examples=500, deadline=None)
@given(
    st.text(
        st.characters(max_codepoint=126)
        | st.sampled_from("中国人的，。！（）かが한가각😀￥ΣσÉé\u0301\u200b \u3000\u2028"),
        max_size=40,
    )
)
@example("a,b , c")
@example("# #a##b")
@example("[UNK] [MASK]")
@example("A Σ aΣ")
def test_decode_gives_the_text_back_up_to_white_space_and_case(text):
    ids = READABLE.encode(text)
    if 100 not in ids:
        decoded = READABLE.decode(ids)
        assert fold(decoded) == fold(text)
        assert READABLE.encode(decoded) == ids
