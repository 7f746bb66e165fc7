import re
import string
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vocab import basic_tokens
from vocab.basic_tokens import (
    Kind,
    classify,
    encode_codes,
    find_stretches,
    fold_letters,
    settle_final_sigma,
)


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


@pytest.mark.parametrize(
    ("chars", "kind", "folded"),
    [
        ("中国一\u3400\U00020000", Kind.SINGLE, "中国一\u3400\U00020000"),
        ("，。！,.'-$", Kind.SINGLE, "，。！,.'-$"),
        ("\uf900\U0002f800\u037e", Kind.SINGLE, "豈丽;"),
        ("azAZ09", Kind.LETTER, "azaz09"),
        ("éÅ\u212bİςがガ\u0958", Kind.LETTER, "eaaiςかカ\u0915"),
        ("￥～😀々〇\u20dd", Kind.LETTER, "￥～😀々〇\u20dd"),
        (" \n\r\t\u00a0\u3000\u2028\u2029", Kind.SPACE, " \n\r\t  \u2028\u2029"),
        (
            "\0\ufffd\x07\x1c\x85\u200b\u00ad\ufeff",
            Kind.DROP,
            "\0\ufffd\x07\x1c\x85\u200b\u00ad\ufeff",
        ),
    ],
)
def test_classify_tells_kind_and_folded_character(chars, kind, folded):
    found = [classify(ord(char)) for char in chars]
    assert [kind_of for kind_of, _ in found] == [kind] * len(chars)
    if kind in (Kind.SINGLE, Kind.LETTER):
        assert "".join(char for _, char in found) == folded


@pytest.mark.parametrize(
    "char",
    [
        pytest.param("\u0301", id="becomes nothing"),
        pytest.param("각", id="becomes three"),
        pytest.param("\u302e", id="changes places"),
        pytest.param("\U0001d165", id="changes places too"),
        pytest.param("\U0001d15e", id="becomes two, one of which changes places"),
    ],
)
def test_classify_calls_drop_what_is_no_single_character(char):
    assert classify(ord(char)) == (Kind.DROP, "")


def cut_by_kind(text):
    """Cuts a text into characters by what `classify` says of them, where it says enough."""
    tokens, word = [], ""
    for kind, folded in [classify(ord(char)) for char in text]:
        if kind == Kind.LETTER:
            word += folded
        elif kind in (Kind.SPACE, Kind.SINGLE):
            tokens += filter(None, (word, folded if kind == Kind.SINGLE else ""))
            word = ""
    return [*tokens, word] if word else tokens


def is_simple(char):
    kind, folded = classify(ord(char))
    return char != "Σ" and not (kind == Kind.DROP and not folded)


@pytest.mark.parametrize("plane", [0, 1, 3, 14])
def test_classify_every_assigned_code_point_says_what_split_basic_tokens_does(plane):
    codes = range(plane << 16, plane + 1 << 16)
    chars = [c for c in map(chr, codes) if unicodedata.category(c) not in ("Cn", "Co")]
    assert chars
    text = "".join(f"a{char}b {char} " for char in chars if is_simple(char))
    assert len(text) > 100
    assert tokens_of(text) == cut_by_kind(text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=()).filter(is_simple)))
def test_classify_any_simple_text_says_what_split_basic_tokens_does(text):
    assert tokens_of(text) == cut_by_kind(text)


def cut_by_stretches(text):
    """Cuts a text into SINGLE characters and stretches, and those into tokens one by one."""
    text = settle_final_sigma(text)
    kinds = [classify(ord(char))[0] for char in text]
    in_stretch = np.array([kind in (Kind.LETTER, Kind.DROP) for kind in kinds], np.bool_)
    pieces = {
        start: tokens_of(stretch)
        for start, stretch in zip(*find_stretches(encode_codes(text), in_stretch), strict=True)
    }
    for place, (char, kind) in enumerate(zip(text, kinds, strict=True)):
        if kind == Kind.SINGLE:
            pieces[place] = [classify(ord(char))[1]]
    return [token for _, tokens in sorted(pieces.items()) for token in tokens]


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=()))
    | st.text(
        "aÉΣα İ中，\u0301\u0316\u302e\u302a\U0001d165\U0001d15e각\u1161\u200b\0\n\u3000が\u3099"
    )
)
@example("中\u302e\u0301 \u302e\u0301a\u3000\U0001d165\u302e，")
def test_stretches_cut_one_by_one_equal_the_whole_text(text):
    assert cut_by_stretches(text) == tokens_of(text)


def stretches_of(text):
    """Stretches as the tokenizer finds them in any text."""
    text = settle_final_sigma(text)
    kinds = [classify(ord(char))[0] for char in text]
    return find_stretches(encode_codes(text), np.isin(kinds, [Kind.LETTER, Kind.DROP]))[1]


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=()))
    | st.text("azAZ09éÉΣςİßカがｶ￥😀\u0301\u302e\U0001d15e각\u200b\0\ufffd 中", max_size=20)
)
@example("AbC019 ÀÉ İ ςΣ ￥５ がｶﾞ")
@example("a\0b a\u0301 각 \u302ea")
def test_fold_letters_equals_the_one_word_of_the_stretch_where_it_folds_it(text):
    for stretch in stretches_of(text):
        kinds = {classify(ord(char))[0] for char in stretch}
        folded = fold_letters(stretch)
        assert (folded is None) == (Kind.DROP in kinds)
        if folded is not None:
            # Character by character, so that places stay.
            assert cut(stretch) == [(folded, list(range(len(stretch))))]


@pytest.mark.parametrize(
    ("stretch", "folded"),
    [
        ("AbC019", "abc019"),
        ("Éa", "ea"),
        ("İıΣ", "iıσ"),
        ("がガｶ￥😀", "かカｶ￥😀"),
        ("e\u0301", None),
        ("a\u200b", None),
        ("\0", None),
        ("각", None),
        ("a\u302e", None),
    ],
)
def test_fold_letters_folds_what_is_one_character_each(stretch, folded):
    # Twice: the second time all characters are known.
    assert [fold_letters(stretch) for _ in range(2)] == [folded, folded]


def test_kinds_are_distinct_and_not_zero():
    # 0 stands for a code point not looked at yet.
    assert sorted(Kind) == [1, 2, 3, 4]
    assert {kind.name for kind in Kind} == {"DROP", "SPACE", "SINGLE", "LETTER"}


def mask_of(text):
    return np.array([char == "x" for char in text], np.bool_)


@settings(max_examples=200, deadline=None)
@given(st.text("x.", max_size=30))
@example("")
@example("x")
@example(".")
@example("xx.x")
@example(".xx.")
def test_find_stretches_equals_longest_runs_found_by_a_regular_expression(text):
    starts, stretches = find_stretches(encode_codes(text), mask_of(text))
    found = list(re.finditer("x+", text))
    assert starts.tolist() == [match.start() for match in found]
    assert stretches == [match[0] for match in found]
    assert starts.dtype == np.int64


def test_find_stretches_counts_characters_beyond_16_bits_once():
    text = "😀a中\U00020000x😀"
    is_letter = np.array([1, 1, 0, 0, 1, 1], np.bool_)
    starts, stretches = find_stretches(encode_codes(text), is_letter)
    assert (starts.tolist(), stretches) == ([0, 4], ["😀a", "x😀"])


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("", ""),
        ("ΑΒσς É中İ", "ΑΒσς É中İ"),
        ("Σ", "σ"),
        ("ΑΣ", "Ας"),
        ("ΑΣΑ ΑΣ", "ΑσΑ Ας"),
        ("ΑΣ\u00ad\u0301", "Ας\u00ad\u0301"),
        ("İΣ", "İς"),
        ("İΣİ", "İσİ"),
        ("中Σ中", "中σ中"),
        ("\ud800ΑΣ", "\ud800Ας"),
    ],
)
def test_settle_final_sigma_changes_capital_sigma_alone(text, settled):
    assert settle_final_sigma(text) == settled


@settings(max_examples=300, deadline=None)
@given(st.text("ΣσςΑαab İi\u0307' .-\u00ad\u0301\u0345中:\u200b1ß", max_size=30))
@example("İΣ")
@example("i\u0307Σ")
@example("İ\u0307Σ\u0307İ")
def test_settle_final_sigma_equals_lower_casing_the_whole_text(text):
    settled = settle_final_sigma(text)
    assert len(settled) == len(text)
    assert "Σ" not in settled
    assert settled.lower() == text.lower()
    assert [(a, b) for a, b in zip(text, settled, strict=True) if a != b and a != "Σ"] == []


# --- Case and accents kept ---


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Ab中É，ΑΣ", ["Ab", "中", "É", "，", "ΑΣ"]),
        ("e\u0301 が각", ["e\u0301", "が각"]),
        ("中\u0301", ["中", "\u0301"]),
        ("A\u200b\0B\ufffd", ["AB"]),
        ("豈İ", ["豈", "İ"]),
    ],
)
def test_split_basic_tokens_cased_keeps_characters(text, tokens):
    basic = basic_tokens.split_basic_tokens(text, cased=True)
    folded = basic_tokens.decode_codes(basic.codes)
    spans = zip(basic.starts.tolist(), basic.ends.tolist(), strict=True)
    assert [folded[start:end] for start, end in spans] == tokens
    assert "".join(text[place] for place in basic.positions.tolist()) == folded


@pytest.mark.parametrize(
    ("char", "kind"),
    [("É", Kind.LETTER), ("\u0301", Kind.LETTER), ("각", Kind.LETTER), ("豈", Kind.SINGLE)],
)
def test_classify_cased_keeps_the_character(char, kind):
    assert classify(ord(char), cased=True) == (kind, char)


@pytest.mark.parametrize(
    ("stretch", "folded"), [("AbC1", "AbC1"), ("Ée\u0301각", "Ée\u0301각"), ("A\u200b", None)]
)
def test_fold_letters_cased_changes_nothing(stretch, folded):
    assert [fold_letters(stretch, cased=True) for _ in range(2)] == [folded, folded]
    assert fold_letters("AbC1") == "abc1"
