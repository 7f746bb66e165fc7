import importlib.util
import string
import sys
import types
import unicodedata
import warnings
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vocab import Tokenizer
from vocab.derivation import derive_tokens
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

LETTERS = [
    *string.ascii_lowercase,
    *string.digits,
    *"あいうえおかきくけこさしすせそはひふへほアイウカキクハヒフー",
    *"αβγσςικßıøæ",
    *"\u1100\u1102\u1161\u1162\u11a8\u11ab",
    *"\u0903\u302e\u302f\U0001d165\U0001d16e",
    *"ａｂ１￥€©×→①😀👍\ufe0f",
]
CJK = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对\u3400\U00020000"
PIECES = ["the", "ing", "un", "able", "ab", "abc", "20", "2019", "ας", "かく", "ss", "i\u302e"]
TOKENS = [
    *SPECIAL_TOKENS,
    *LETTERS,
    *("##" + letter for letter in LETTERS if letter not in "køß👍"),
    *string.punctuation,
    *"，。、？！：；“”（）《》…—",
    *CJK,
    *PIECES,
    *("##" + piece for piece in PIECES),
    *("中国", "##中", "a中", "##。", "\u2028", "\u3000"),
]

ALPHABETS = {
    "combining": "aeoAE \u0300\u0301\u0307\u0323\u0327\u0345\u0360\u20dd\u0903éệ中。",
    "reordered": "ai中 \u0301\u0316\u302e\u302f\u302a\u302b\U0001d165\U0001d16e"
    "\U0001d15eé각か\u3099",
    "sigma": "ΣσςΑαabI' .-\u00ad\u0301\u0307\u0345中İ:\u200b1",
    "dotted-i": "İıIiÍÌ\u0307\u0301abΣ ",
    "sharp-s-and-ligatures": "ßẞǅǆĲŉΐﬁﬆsS \u212a\u212b\u2126",
    "hangul": "가각힣한국어\u1100\u1102\u1161\u1162\u11a8\u11ab\u302e a中",
    "kana": "かがきぎはばぱカガハバパヴー\u3099\u309a\u309b゛ｶﾞﾊﾟあ a中",
    "zero-width": "ab中1\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202e\0\ufffd\ufe0f\x07\x85\x1c",
    "space": "ab中1 \t\n\r\v\f\u00a0\u1680\u2000\u2009\u202f\u205f\u3000\u2028"
    "\u2029\u180e\x1c\x1f\x85",
    "cjk-edges": "\u33ff\u3400\u4dbf\u4dc0一\u9fff\uf900\ufa0e\ufaff\U0001ffff\U00020000\U0002a6df"
    "\U0002a6e0\U0002a700\U0002ceaf\U0002ceb0\U0002f800\U0002fa1f々〇a",
    "full-width": "ＡＢａｂ１２，。！？～＋￥｜ab中",
    "emoji": "😀👍🏽👨\u200d👩❤\ufe0f🇨🇳1\u20e3a中",
    "punctuation": string.punctuation + "，。、？！“”（）《》…—·～￥ab中 ",
    "vocabulary": "abcdefghinstu0129ΑΣかくきけ的中国，。 ",
}


def load_bert4keras():
    """Loads bert4keras/tokenizers.py by itself: the package as a whole needs an old Keras."""
    spec = importlib.util.find_spec("bert4keras")
    path = Path(spec.submodule_search_locations[0], "tokenizers.py")
    spec = importlib.util.spec_from_file_location("bert4keras_tokenizers", path)
    module = importlib.util.module_from_spec(spec)
    snippets = types.ModuleType("bert4keras.snippets")
    snippets.is_string = lambda value: isinstance(value, str)
    snippets.is_py2 = False
    snippets.open = open
    snippets.convert_to_unicode = None  # only SpTokenizer calls it
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in its regular expressions
        patch.setitem(sys.modules, "bert4keras.snippets", snippets)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bert4keras():
    return load_bert4keras()


@pytest.fixture(scope="module")
def reference(bert4keras):
    token_dict = {token: token_id for token_id, token in enumerate(TOKENS)}
    return bert4keras.Tokenizer(token_dict, do_lower_case=True)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(TOKENS)


def reference_ids(reference, text):
    ids, _ = reference.encode(text)
    assert (ids[0], ids[-1]) == (101, 102)
    return ids[1:-1]


def folded_characters(text):
    """Returns the lower-cased, decomposed characters with the index each one came from."""
    sources = [source for source, char in enumerate(text) for _ in char.lower()]
    pairs = [
        (part, source)
        for char, source in zip(text.lower(), sources, strict=True)
        for part in unicodedata.normalize("NFD", char)
    ]
    for _ in pairs:  # canonical order, by bubble sort as The Unicode Standard defines it
        for i in range(1, len(pairs)):
            left, right = (unicodedata.combining(pairs[j][0]) for j in (i - 1, i))
            if left > right > 0:
                pairs[i - 1], pairs[i] = pairs[i], pairs[i - 1]
    assert "".join(char for char, _ in pairs) == unicodedata.normalize("NFD", text.lower())
    return [(char, source) for char, source in pairs if unicodedata.category(char) != "Mn"]


def plain_positions(reference, text, pieces):
    """Returns where in the text each piece of bert4keras begins, by using up letter by letter."""
    letters = iter(folded_characters(text))
    positions = []
    for piece in pieces:
        sources = []
        for wanted in reference.stem(piece):
            sources.append(next(source for char, source in letters if char == wanted))
        positions.append(sources[0])
    # Ascending, even where canonical order has moved a mark before the character it follows.
    return list(accumulate(positions, max))


def plain_word_starts(words, pieces, positions):
    word_of_character = [number for number, word in enumerate(words) for _ in word]
    starts = []
    previous = None
    for piece, position in zip(pieces, positions, strict=True):
        word = word_of_character[position]
        starts.append(word != previous and not piece.startswith("##"))
        previous = word
    return starts


def assert_equal_to_plain_version(tokenizer, reference, words):
    text = "".join(words)
    pieces = reference.tokenize(text)[1:-1]
    positions = plain_positions(reference, text, pieces)
    tokens = tokenizer.tokenize(text, np.array([len(word) for word in words], np.int64))
    assert tokens.ids.tolist() == reference_ids(reference, text)
    assert tokens.positions.tolist() == positions
    assert tokens.word_starts.tolist() == plain_word_starts(words, pieces, positions)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_encode_any_text_equals_bert4keras(tokenizer, reference, text):
    assert tokenizer.encode(text) == reference_ids(reference, text)


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_encode_targeted_text_equals_bert4keras(tokenizer, reference, alphabet, data):
    text = data.draw(st.text(alphabet, max_size=40))
    assert tokenizer.encode(text) == reference_ids(reference, text)


@settings(max_examples=200, deadline=None)
@given(st.text("".join(ALPHABETS.values()), max_size=60))
def test_encode_mixed_targeted_text_equals_bert4keras(tokenizer, reference, text):
    assert tokenizer.encode(text) == reference_ids(reference, text)


@pytest.mark.parametrize("plane", [0, 1, 2, 3, 14])
def test_encode_every_assigned_code_point_equals_bert4keras(tokenizer, reference, plane):
    codes = range(plane << 16, plane + 1 << 16)
    chars = [c for c in map(chr, codes) if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    assert chars
    text = "".join(f"a{char}b " for char in chars)
    assert tokenizer.encode(text) == reference_ids(reference, text)


@settings(deadline=None)
@given(
    st.integers(195, 205),
    st.sampled_from(["a", "aB", "é", "각", "\u200ba", "x", "İ", "e\u0301"]),
    st.text("ab中 \u0301", max_size=3),
)
@example(200, "a", "")
@example(201, "a", "")
@example(201, "中", "a")
def test_encode_word_of_about_200_characters_equals_bert4keras(
    tokenizer, reference, length, unit, end
):
    word = (unit * length)[:length] + end
    assert tokenizer.encode(word) == reference_ids(reference, word)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=6), max_size=12))
def test_tokenize_any_words_equal_plain_version(tokenizer, reference, words):
    assert_equal_to_plain_version(tokenizer, reference, words)


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_tokenize_targeted_words_equal_plain_version(tokenizer, reference, alphabet, data):
    words = data.draw(st.lists(st.text(alphabet, max_size=5), max_size=12))
    assert_equal_to_plain_version(tokenizer, reference, words)


def test_derive_tokens_equals_load_vocab_simplified_of_bert4keras(bert4keras, tmp_path):
    chars = [c for c in map(chr, range(0x21, 0x10000)) if unicodedata.category(c)[0] in "LMNPS"]
    chars = [char for char in chars if not char.isspace()]
    tokens = [*SPECIAL_TOKENS]
    for char in chars:
        tokens += [char, "##" + char, f"a{char}", f"##{char}b"]
    tokens = list(dict.fromkeys(tokens))
    path = tmp_path / "vocab.txt"
    path.write_bytes(format_vocab(tokens))
    expected, kept = bert4keras.load_vocab(
        str(path), simplified=True, startswith=list(SPECIAL_TOKENS)
    )
    derived = derive_tokens(tokens)
    assert derived == list(expected)
    assert derived == [tokens[token_id] for token_id in kept]


# --- Case and accents kept ---

CASED_TOKENS = [
    *TOKENS,
    *(token for char in "ABCThÉéÀßΣがガ가각İ\u0301\u0323豈Ａ" for token in (char, "##" + char)),
    *("The", "##ING", "Ab"),
]
CASED_TOKENS = list(dict.fromkeys(CASED_TOKENS))


@pytest.fixture(scope="module")
def cased_reference(bert4keras):
    token_dict = {token: token_id for token_id, token in enumerate(CASED_TOKENS)}
    return bert4keras.Tokenizer(token_dict, do_lower_case=False)


@pytest.fixture(scope="module")
def cased_tokenizer():
    return Tokenizer(CASED_TOKENS, cased=True)


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=60)
    | st.text("".join(ALPHABETS.values()), max_size=60)
    | st.text("ABCTheThING abÉé中が\u0301\u0323\u200b", max_size=40)
)
def test_encode_cased_any_text_equals_bert4keras(cased_tokenizer, cased_reference, text):
    assert cased_tokenizer.encode(text) == reference_ids(cased_reference, text)


@pytest.mark.parametrize("plane", [0, 1, 2, 3, 14])
def test_encode_cased_every_assigned_code_point_equals_bert4keras(
    cased_tokenizer, cased_reference, plane
):
    codes = range(plane << 16, plane + 1 << 16)
    chars = [c for c in map(chr, codes) if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    text = "".join(f"a{char}b " for char in chars)
    assert cased_tokenizer.encode(text) == reference_ids(cased_reference, text)


@pytest.mark.parametrize("length", [200, 201])
@pytest.mark.parametrize("unit", ["A", "é", "가"])
def test_encode_cased_long_word_equals_bert4keras(cased_tokenizer, cased_reference, length, unit):
    word = unit * length
    assert cased_tokenizer.encode(word) == reference_ids(cased_reference, word)
