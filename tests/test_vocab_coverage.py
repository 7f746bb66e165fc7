from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab.counting import TokenCounts
from vocab.coverage import Coverage, compose, find_border, measure_texts, script_of
from vocab.special_tokens import SPECIAL_TOKENS, UNK_ID
from vocab.tokenizer import Tokenizer

TOKENS = [*SPECIAL_TOKENS, "中", "国", "。", "the", "##re", "か", "t", "##x"]


@pytest.fixture
def tokenizer():
    return Tokenizer(TOKENS)


def test_measure_texts_counts_characters_tokens_and_latin_words(tokenizer):
    texts = ["中国 THERE 2019。", "龘かか\nthe tx é"]
    assert measure_texts(tokenizer, texts) == Coverage(
        documents=2,
        characters=2 + 5 + 4 + 1 + 1 + 2 + 3 + 2 + 1,
        # 2019, 龘, かか for want of ##か, and e.
        unknown_characters=4 + 1 + 2 + 1,
        tokens=2 + 2 + 1 + 1 + 1 + 1 + 1 + 2 + 1,
        unknown_tokens=4,
        latin_words=4,
        latin_tokens=2 + 1 + 2 + 1,
    )


def test_measure_texts_cased_counts_words_as_they_stand():
    found = measure_texts(Tokenizer([*TOKENS, "The"], cased=True), ["The the THE é"])
    assert (found.tokens, found.unknown_tokens) == (4, 2)
    assert (found.latin_words, found.latin_tokens) == (3, 3)


@pytest.mark.parametrize("cased", [False, True])
@given(st.lists(st.text("中国龘。か thex É19", max_size=20), max_size=5))
def test_measure_texts_together_is_the_sum_of_each(cased, texts):
    tokenizer = Tokenizer(TOKENS, cased)
    total = Coverage()
    for text in texts:
        total += measure_texts(tokenizer, [text])
    assert measure_texts(tokenizer, texts) == total
    ids = [i for text in texts for i in tokenizer.encode(text)]
    assert (total.tokens, total.unknown_tokens) == (len(ids), ids.count(UNK_ID))


def test_rates_are_shares_of_characters_and_tokens():
    coverage = Coverage(
        characters=200,
        unknown_characters=20,
        tokens=100,
        unknown_tokens=5,
        latin_words=4,
        latin_tokens=6,
    )
    assert coverage.rates() == {
        "character_coverage": 0.9,
        "unknown_rate": 0.05,
        "tokens_per_character": 0.5,
        "tokens_per_latin_word": 1.5,
    }


def test_rates_of_nothing_are_none():
    assert set(Coverage().rates().values()) == {None}


@pytest.mark.parametrize(
    ("token", "script"),
    [
        *(("[PAD]", "special"), ("[unused7]", "special"), ("<S>", "special")),
        *(
            ("中", "Chinese characters"),
            ("##中", "Chinese characters"),
            ("㐀", "Chinese characters"),
        ),
        *(
            (",", "punctuation"),
            ("##$", "punctuation"),
            ("。", "punctuation"),
            ("##", "punctuation"),
        ),
        *(("2019", "digits"), ("##7", "digits"), ("#", "punctuation")),
        *(("か", "kana"), ("##カ", "kana"), ("ー", "kana")),
        *(("the", "Latin"), ("##ing", "Latin"), ("mp3", "Latin"), ("ß", "Latin")),
        *(("α", "other letters"), ("##я", "other letters"), ("\u1100", "other letters")),
        *(("→", "symbols and mixed"), ("℃", "symbols and mixed"), ("😀", "symbols and mixed")),
    ],
)
def test_script_of_tells_what_an_entry_is_made_of(token, script):
    assert script_of(token) == script


def test_compose_counts_every_entry_once():
    found = compose(TOKENS)
    assert found == {
        "special": 106,
        "Latin": 4,
        "Chinese characters": 2,
        "punctuation": 1,
        "kana": 1,
    }
    assert sum(found.values()) == len(TOKENS)


def test_find_border_lists_the_rarest_inside_and_the_most_frequent_outside():
    documents = Counter({"中": 9, "国": 2, "。": 9, "龘": 3, "##か": 5, "か": 1})
    words = Counter({"the": 99, "there": 7, "tx": 9})
    assert find_border(TOKENS, TokenCounts(documents, documents, words)) == {
        "last_characters_inside": [("か", 1), ("国", 2), ("中", 9), ("。", 9)],
        "first_characters_outside": [("##か", 5), ("龘", 3)],
        "characters_outside": 2,
        "first_words_outside": [("tx", 9), ("there", 7)],
    }
