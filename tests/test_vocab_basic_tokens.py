import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab import basic_tokens


def cut(text):
    """Returns every basic token with the positions of its code points."""
    basic = basic_tokens.split_basic_tokens(text)
    folded = basic_tokens.decode_codes(basic.codes)
    positions = basic.positions.tolist()
    spans = zip(basic.starts.tolist(), basic.ends.tolist(), strict=True)
    return [(folded[start:end], positions[start:end]) for start, end in spans]


def tokens_of(text):
    return [token for token, _ in cut(text)]


def test_split_basic_tokens_mixed_text_gives_all_arrays():
    basic = basic_tokens.split_basic_tokens("Ab中，c\u200bD😀")
    assert basic_tokens.decode_codes(basic.codes) == "ab中，cd😀"
    assert basic.positions.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert basic.starts.tolist() == [0, 2, 3, 4]
    assert basic.ends.tolist() == [2, 3, 4, 7]
    assert basic.is_word.tolist() == [True, False, False, True]
    assert basic.words() == ["ab", "cd😀"]


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t\r", "\u3000\u00a0", "\0\ufffd", "\u200b", "\u0301"]
)
def test_split_basic_tokens_text_without_tokens_gives_none(text):
    basic = basic_tokens.split_basic_tokens(text)
    assert (len(basic.starts), len(basic.ends), len(basic.is_word)) == (0, 0, 0)
    assert basic.words() == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("中国", ["中", "国"]),
        ("a中b", ["a", "中", "b"]),
        ("中。a", ["中", "。", "a"]),
        ("don't", ["don", "'", "t"]),
        ("##a", ["#", "#", "a"]),
        ("[UNK]", ["[", "unk", "]"]),
        ("1,234.5", ["1", ",", "234", ".", "5"]),
        ("$5", ["$", "5"]),
        ("￥5￥", ["￥5￥"]),
        ("a\tb\nc\rd e", ["a", "b", "c", "d", "e"]),
        ("a\u00a0b\u3000c\u2003d", ["a", "b", "c", "d"]),
        ("a\u2028b\u2029c", ["a", "b", "c"]),
        ("a\u0085b\x1cc", ["abc"]),
        ("a\0b\ufffdc\u200bd\ufeffe\u00adf", ["abcdef"]),
        ("😀😀a", ["😀😀a"]),
        ("\U00020000a\U0002a6df", ["\U00020000", "a", "\U0002a6df"]),
        ("ＡＢ１", ["ａｂ１"]),
        ("ｶﾞ", ["ｶﾞ"]),
    ],
)
def test_split_basic_tokens_cuts_at_space_cjk_and_punctuation(text, tokens):
    assert tokens_of(text) == tokens


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("ABC", "abc"),
        ("É", "e"),
        ("e\u0301", "e"),
        ("ệ", "e"),
        ("ガ", "カ"),
        ("か\u3099", "か"),
        ("각", "\u1100\u1161\u11a8"),
        ("İ", "i"),
        ("ı", "ı"),
        ("Σ", "σ"),
        ("ΑΣ", "ας"),
        ("ΑΣΑ", "ασα"),
        ("ΑΣ\u00ad", "ας"),
        ("İΣ", "iς"),
        ("ς", "ς"),
        ("ß", "ß"),
        ("\u212b", "a"),
        ("豈", "豈"),
        ("\u0958", "\u0915"),
    ],
)
def test_split_basic_tokens_folds_case_and_accents(text, token):
    assert tokens_of(text) == [token]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab  É中", [("ab", [0, 1]), ("e", [4]), ("中", [5])]),
        ("e\u0301x", [("ex", [0, 2])]),
        ("\u0301x", [("x", [1])]),
        ("a각b", [("a\u1100\u1161\u11a8b", [0, 1, 1, 1, 2])]),
        ("İx İ", [("ix", [0, 1]), ("i", [3])]),
        ("a\u200bb", [("ab", [0, 2])]),
        # U+302E and U+1D165 are kept and change places: combining classes 224 and 216.
        ("a\u302e\U0001d165b", [("a\U0001d165\u302eb", [0, 2, 1, 3])]),
        ("a\u0301\u302eb", [("a\u302eb", [0, 2, 3])]),
        ("각\u302e中", [("\u1100\u1161\u11a8\u302e", [0, 0, 0, 1]), ("中", [2])]),
    ],
)
def test_split_basic_tokens_positions_name_the_character_of_each_code(text, expected):
    assert cut(text) == expected


@given(st.text(string.ascii_letters + string.digits + string.punctuation + " 中国的，。？かカ"))
def test_split_basic_tokens_text_without_surprises_points_at_every_visible_character(text):
    tokens = cut(text)
    positions = [position for _, token_positions in tokens for position in token_positions]
    assert positions == [i for i, char in enumerate(text) if char != " "]
    assert "".join(token for token, _ in tokens) == text.replace(" ", "").lower()


@given(st.text())
def test_split_basic_tokens_words_and_single_characters_tell_themselves_apart(text):
    basic = basic_tokens.split_basic_tokens(text)
    words = iter(basic.words())
    for (token, positions), is_word in zip(cut(text), basic.is_word.tolist(), strict=True):
        single = basic_tokens.is_cjk(ord(token[0])) or basic_tokens.is_punctuation(token[0])
        assert is_word != single
        assert next(words) == token if is_word else len(token) == 1
        assert all(0 <= position < len(text) for position in positions)
    assert next(words, None) is None


@given(st.text(st.characters(exclude_categories=())))
def test_decode_codes_undoes_encode_codes_with_lone_surrogates(text):
    codes = basic_tokens.encode_codes(text)
    assert codes.tolist() == [ord(char) for char in text]
    assert basic_tokens.decode_codes(codes) == text


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2CEAF),
        (0x2F800, 0x2FA1F),
    ],
)
def test_is_cjk_holds_exactly_inside_its_ranges(first, last):
    assert basic_tokens.is_cjk(first) and basic_tokens.is_cjk(last)
    assert not basic_tokens.is_cjk(first - 1) and not basic_tokens.is_cjk(last + 1)


@pytest.mark.parametrize("char", "aZ09あカ가々〇，。！é")
def test_is_cjk_other_characters_are_not(char):
    assert not basic_tokens.is_cjk(ord(char))


def test_is_punctuation_in_ascii_is_string_punctuation():
    found = {chr(code) for code in range(128) if basic_tokens.is_punctuation(chr(code))}
    assert found == set(string.punctuation)


@pytest.mark.parametrize(
    ("char", "expected"),
    [(char, True) for char in "，。、；：？！《》“”‘’（）【】…—·"]
    + [(char, False) for char in "中あａ１￥～＋＝＄｜℃→①€©×\u3000\u00a0\u0301\u200b"],
)
def test_is_punctuation_beyond_ascii_follows_the_unicode_category(char, expected):
    assert basic_tokens.is_punctuation(char) == expected
