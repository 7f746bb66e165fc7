import json
import string
import unicodedata
from collections import Counter

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vocab.basic_tokens import decode_codes, is_cjk, split_basic_tokens
from vocab.counting import TokenCounts, count_tokens

some_text = st.text(max_size=60) | st.text(
    "abAÉ1 \n中国的。,Σσ각がか\u0301\u200b\u3000😀", max_size=60
)
any_text = st.text(st.characters(exclude_categories=()), max_size=60)

ALPHABETS = {
    "combining": "aeoAE \u0300\u0301\u0307\u0323\u0327\u0345\u0360\u20dd\u0903éệ中。",
    "reordered": "ai中 \u0301\u0316\u302e\u302f\u302a\U0001d165\U0001d16e\U0001d15eé각か\u3099",
    "sigma": "ΣσςΑαabI' .-\u00ad\u0301\u0307\u0345中İ:\u200b1",
    "ligatures": "ßẞǅǆĲŉΐﬁﬆsS \u212a\u212b\u2126İıIi\u0307",
    "hangul": "가각힣한국어\u1100\u1161\u11a8\u302e a中",
    "kana": "かがきぎガハパヴー\u3099\u309a゛ｶﾞﾊﾟ a中",
    "controls": "ab中1\u200b\u200d\ufeff\u00ad\u202e\0\ufffd\ufe0f\x07\x1c\x7f\x80\x85",
    "space": "ab中1 \t\n\r\v\f\u00a0\u2000\u3000\u2028\u2029\u180e\x1f",
    "cjk": "\u33ff\u3400一\u9fff\uf900\ufa0e\ufaff\U00020000\U0002a6e0\U0002f800々〇豈a",
    "signs": string.punctuation + "，。、？！“”（）《》…—·～￥ab中 ＡＢ１２😀👍\u20e3",
    "surrogates": "a中 \ud800\udfff",
}
some_counter = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 10**12)).map(Counter)
some_counts = st.builds(TokenCounts, some_counter, some_counter, some_counter)


def plain_counts(*texts):
    counts = TokenCounts.empty()
    for text in texts:
        singles, words = split_plainly(text)
        letters = [entry for word in words if not word.isascii() for entry in entries_of(word)]
        counts.characters.update(singles + letters)
        counts.documents.update(set(singles + letters))
        counts.words.update(word for word in words if word.isascii() and len(word) <= 20)
    return counts


def split_plainly(text):
    folded = unicodedata.normalize("NFD", text.lower())
    spaced = ""
    singles = []
    for char in folded:
        category = unicodedata.category(char)
        if category[0] == "P" or char in string.punctuation or is_cjk(ord(char)):
            singles.append(char)
            spaced += " "
        elif char in " \n\r\t" or category == "Zs":
            spaced += " "
        elif category not in ("Mn", "Cc", "Cf") and char != "\ufffd":
            spaced += char
    return singles, spaced.split()


def entries_of(word):
    entries = [word[0], *("##" + char for char in word[1:])]
    return [entry for entry in entries if not entry.isascii()]


@given(st.lists(some_text, max_size=4))
def test_count_tokens_any_texts_equal_plain_version(texts):
    assert count_tokens(texts) == plain_counts(*texts)


def count_basic_tokens(text, cased=False):
    basic = split_basic_tokens(text, cased)
    singles = list(decode_codes(basic.codes[basic.starts[~basic.is_word]]))
    words = basic.words()
    letters = [entry for word in words if not word.isascii() for entry in entries_of(word)]
    return TokenCounts(
        Counter(singles + letters),
        Counter(set(singles + letters)),
        Counter(word for word in words if word.isascii() and len(word) <= 20),
    )


@pytest.mark.parametrize("cased", [False, True])
@settings(max_examples=200, deadline=None)
@given(any_text)
def test_count_tokens_any_text_equals_counting_its_basic_tokens(cased, text):
    assert count_tokens([text], cased) == count_basic_tokens(text, cased)


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_count_tokens_targeted_text_equals_counting_its_basic_tokens(alphabet, data):
    text = data.draw(st.text(alphabet, max_size=40))
    assert count_tokens([text]) == count_basic_tokens(text)


@pytest.mark.parametrize("cased", [False, True])
@settings(max_examples=200, deadline=None)
@given(st.text("".join(ALPHABETS.values()), max_size=60))
@example("Σ中ΑΣ ΑΣΑ\nΑΣ\u00ad\u0301İΣ")
@example("각\u302e\u0301 각각\u302e中\u302e\u0316\u0301")
def test_count_tokens_mixed_targeted_text_equals_counting_its_basic_tokens(cased, text):
    assert count_tokens([text], cased) == count_basic_tokens(text, cased)


@pytest.mark.parametrize("plane", [0, 1, 3, 14])
def test_count_tokens_every_assigned_code_point_equals_counting_its_basic_tokens(plane):
    codes = range(plane << 16, plane + 1 << 16)
    chars = [c for c in map(chr, codes) if unicodedata.category(c) not in ("Cn", "Co")]
    assert chars
    text = "".join(f"a{char}b {char}" for char in chars)
    assert count_tokens([text]) == count_basic_tokens(text)


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("각 각", {"\u1100": 2, "##\u1161": 2, "##\u11a8": 2}, {}),
        ("ΑΣ ΣΑ中ΣΣ", {"中": 1, "α": 1, "##ς": 2, "σ": 2, "##α": 1}, {}),
        ("É e\u0301 E", {}, {"e": 3}),
        ("\u0301中\u0301，\u0301", {"中": 1, "，": 1}, {}),
        ("a\0b a\u200bb ab\x85 \ufffd", {}, {"ab": 3}),
        ("\uf900豈", {"豈": 2}, {}),
        ("か\u3099 が か", {"か": 3}, {}),
        ("カ2019ｂ x→y", {"カ": 1, "##ｂ": 1, "##→": 1}, {}),
        ("\u212a K k", {}, {"k": 3}),
        ("don't，don't", {"'": 2, "，": 1}, {"don": 2, "t": 2}),
        ("；\u037e;", {"；": 1, ";": 2}, {}),
        ("a" * 20, {}, {"a" * 20: 1}),
        ("a" * 21, {}, {}),
    ],
)
def test_count_tokens_folds_what_it_counts(text, characters, words):
    counts = count_tokens([text])
    assert (counts.characters, counts.words) == (characters, words)


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("The the THE 中", {"中": 1}, {"The": 1, "the": 1, "THE": 1}),
        ("É e\u0301", {"É": 1, "##\u0301": 1}, {}),
        ("各각 각", {"各": 1, "각": 2}, {}),
        ("ΑΣ Σ", {"Α": 1, "##Σ": 1, "Σ": 1}, {}),
        ("A\0b A\u200bB", {}, {"Ab": 1, "AB": 1}),
    ],
)
def test_count_tokens_cased_counts_what_stands_there(text, characters, words):
    counts = count_tokens([text], cased=True)
    assert (counts.characters, counts.words) == (characters, words)


def test_count_tokens_counts_a_stretch_as_often_as_it_occurs():
    counts = count_tokens(["Éé-x 中 Éé-x\nÉé-x 각 각 the The 中"])
    assert counts.characters == {"-": 3, "中": 2, "\u1100": 2, "##\u1161": 2, "##\u11a8": 2}
    assert counts.words == {"ee": 3, "x": 3, "the": 2}


def test_count_tokens_documents_count_once_however_often_they_hold_a_character():
    counts = count_tokens(["中中国，かか か", "中\uf900豈", "", "the", "ボか"])
    assert counts.characters == {
        **{"中": 3, "国": 1, "，": 1, "豈": 2},
        **{"か": 2, "##か": 2, "ホ": 1},
    }
    assert counts.documents == {
        **{"中": 2, "国": 1, "，": 1, "豈": 1},
        **{"か": 1, "##か": 2, "ホ": 1},
    }


@pytest.mark.parametrize("texts", [[], [""], ["", ""], [" \n"], ["\u200b"]])
def test_count_tokens_texts_without_tokens_give_empty_counts(texts):
    assert count_tokens(texts) == TokenCounts.empty() == (Counter(), Counter(), Counter())


@given(some_text)
def test_count_tokens_gives_plain_integers_and_strings(text):
    for counts in count_tokens([text]):
        assert {type(token) for token in counts} <= {str}
        assert {type(count) for count in counts.values()} <= {int}


@given(st.lists(some_text, max_size=4))
def test_add_counts_of_texts_one_by_one_equals_counts_of_all(texts):
    merged = TokenCounts.empty()
    for text in texts:
        merged.add(*count_tokens([text]))
    assert merged == count_tokens(texts)


def test_add_sums_what_both_have():
    counts = TokenCounts(Counter("一二"), Counter("一二"), Counter(a=1))
    counts.add({"二": 2, "三": 1}, {"二": 1, "三": 1}, {"a": 4, "b": 5})
    assert counts.characters == {"一": 1, "二": 3, "三": 1}
    assert counts.documents == {"一": 1, "二": 2, "三": 1}
    assert counts.words == {"a": 5, "b": 5}


def test_empty_counts_are_not_shared():
    TokenCounts.empty().add({"一": 1}, {"一": 1}, {"a": 1})
    assert TokenCounts.empty() == (Counter(), Counter(), Counter())


@given(some_counts)
def test_from_bytes_undoes_to_bytes(counts):
    read = TokenCounts.from_bytes(counts.to_bytes())
    assert read == counts
    assert {type(counter) for counter in read} == {Counter}


@given(some_counts, st.randoms(use_true_random=False))
def test_to_bytes_does_not_depend_on_insertion_order(counts, random):
    shuffled = []
    for values in counts:
        items = list(values.items())
        random.shuffle(items)
        shuffled.append(Counter(dict(items)))
    assert TokenCounts(*shuffled).to_bytes() == counts.to_bytes()


def test_to_bytes_is_zstd_json_in_code_point_order():
    counts = TokenCounts(
        Counter({"国": 2, "。": 9, "中": 2}), Counter({"国": 1}), Counter({"b": 1, "a": 3})
    )
    text = zstandard.ZstdDecompressor().decompress(counts.to_bytes()).decode()
    assert json.loads(text) == {
        "characters": {"。": 9, "中": 2, "国": 2},
        "documents": {"国": 1},
        "words": {"a": 3, "b": 1},
    }
    assert text.index("。") < text.index("中") < text.index("国")
    assert text.index('"a"') < text.index('"b"')
