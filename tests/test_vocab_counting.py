import json
import string
import unicodedata
from collections import Counter

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vocab.basic_tokens import is_cjk
from vocab.counting import TokenCounts, count_tokens

some_text = st.text(max_size=60) | st.text(
    "abAÉ1 \n中国的。,Σσ각がか\u0301\u200b\u3000😀", max_size=60
)
some_counts = st.builds(
    TokenCounts,
    st.dictionaries(st.text(min_size=1, max_size=1), st.integers(1, 10**12)).map(Counter),
    st.dictionaries(st.text(min_size=1), st.integers(1, 10**12)).map(Counter),
)


def plain_counts(text):
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
    return TokenCounts(Counter(singles), Counter(spaced.split()))


@given(some_text)
def test_count_tokens_any_text_equals_plain_version(text):
    assert count_tokens(text) == plain_counts(text)


def test_count_tokens_text_gives_characters_and_folded_words():
    counts = count_tokens("中国，中 The the THÉ\n中，カ2019")
    assert counts.characters == {"中": 3, "国": 1, "，": 2}
    assert counts.words == {"the": 3, "カ2019": 1}


@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
def test_count_tokens_text_without_tokens_gives_empty_counts(text):
    assert count_tokens(text) == TokenCounts.empty() == (Counter(), Counter())


@given(some_text)
def test_count_tokens_gives_plain_integers_and_strings(text):
    for counts in count_tokens(text):
        assert {type(token) for token in counts} <= {str}
        assert {type(count) for count in counts.values()} <= {int}


@given(st.lists(some_text, max_size=4))
def test_add_counts_of_texts_equals_counts_of_texts_joined_by_line_feeds(texts):
    merged = TokenCounts.empty()
    for text in texts:
        merged.add(*count_tokens(text))
    assert merged == count_tokens("\n".join(texts))


def test_add_sums_tokens_that_both_have():
    counts = TokenCounts(Counter("一二"), Counter(a=1))
    counts.add({"二": 2, "三": 1}, {"a": 4, "b": 5})
    assert counts.characters == {"一": 1, "二": 3, "三": 1}
    assert counts.words == {"a": 5, "b": 5}


def test_empty_counts_are_not_shared():
    TokenCounts.empty().add({"一": 1}, {"a": 1})
    assert TokenCounts.empty() == (Counter(), Counter())


@given(some_counts)
def test_from_bytes_undoes_to_bytes(counts):
    read = TokenCounts.from_bytes(counts.to_bytes())
    assert read == counts
    assert isinstance(read.characters, Counter) and isinstance(read.words, Counter)


@given(some_counts, st.randoms(use_true_random=False))
def test_to_bytes_does_not_depend_on_insertion_order(counts, random):
    shuffled = []
    for values in counts:
        items = list(values.items())
        random.shuffle(items)
        shuffled.append(Counter(dict(items)))
    assert TokenCounts(*shuffled).to_bytes() == counts.to_bytes()


def test_to_bytes_is_zstd_json_in_code_point_order():
    counts = TokenCounts(Counter({"国": 2, "。": 9, "中": 2}), Counter({"b": 1, "a": 3}))
    text = zstandard.ZstdDecompressor().decompress(counts.to_bytes()).decode()
    assert json.loads(text) == {
        "characters": {"。": 9, "中": 2, "国": 2},
        "words": {"a": 3, "b": 1},
    }
    assert text.index("。") < text.index("中") < text.index("国")
    assert text.index('"a"') < text.index('"b"')
