"""Vocabularies of real size, with the real learner."""

import random
import string

import pytest

from vocab.counting import TokenCounts, count_tokens
from vocab.selection import select_tokens
from vocab.special_tokens import SPECIAL_TOKENS, VOCAB_SIZE
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab
from vocab.wordpieces import learn_pieces

ENGLISH = [
    f"The {adjective} {noun}s were {verb}ing {number} times, and the {noun} {verb}ed again."
    for number, (adjective, noun, verb) in enumerate(
        (adjective, noun, verb)
        for adjective in ("quick", "unhappy", "careful", "new")
        for noun in ("player", "reader", "gardener")
        for verb in ("play", "walk", "jump", "return")
    )
]
CAPITALS = set(string.ascii_uppercase)
CORPORA = {
    "nothing": [],
    "one sentence": ["今天天气很好，我们去公园散步吧。"],
    "no Chinese": ENGLISH,
    "Greek and kana": ["Ωμέγα αλφα ΣΑΣ", "ひらがなとカタカナ ﾊﾝｶｸ", "각 힣 한국어 → ℃ 😀"],
    "every character": ["".join(map(chr, range(0x4E00, 0xA000))) * 2, *ENGLISH],
}


@pytest.fixture(params=CORPORA, scope="module")
def corpus(request):
    return CORPORA[request.param]


def learn(*shares):
    counts = TokenCounts.empty()
    for share in shares:
        counts.add(*count_tokens(share))
    return select_tokens(counts, learn_pieces)


def test_learned_vocabulary_has_exactly_13686_valid_entries(corpus):
    tokens = learn(corpus)
    assert parse_vocab(format_vocab(tokens), "vocab.txt", VOCAB_SIZE) == tokens
    assert tuple(tokens[:106]) == SPECIAL_TOKENS
    ascii_signs = [chr(code) for code in range(0x21, 0x7F)]
    assert {*ascii_signs, *("##" + sign for sign in ascii_signs)} <= set(tokens)


def test_cased_vocabulary_has_the_capitals_of_its_corpus_and_the_same_layout():
    counts = count_tokens([*ENGLISH, "Émile 去 PARIS 了。"], cased=True)
    tokens = select_tokens(counts, learn_pieces)
    assert parse_vocab(format_vocab(tokens), "vocab.txt", VOCAB_SIZE) == tokens
    ascii_signs = [chr(code) for code in range(0x21, 0x7F)]
    assert tokens[106:294] == [*ascii_signs, *("##" + sign for sign in ascii_signs)]
    assert {"The", "É", "去", "player"} <= set(tokens) and "the" in tokens
    kept, folded = Tokenizer(tokens, cased=True), Tokenizer(tokens)
    assert [tokens[i] for i in kept.encode("The É")] == ["The", "É"]
    assert [tokens[i] for i in folded.encode("The É")] == ["the", "e"]


def test_learned_vocabulary_is_the_same_for_any_shares_in_any_order(corpus):
    expected = learn(corpus)
    rng = random.Random(1)
    for parts in (1, 3):
        texts = rng.sample(corpus, len(corpus))
        assert learn(*(texts[start::parts] for start in range(parts))) == expected


def test_every_entry_that_begins_a_token_can_be_emitted(corpus):
    """An entry that the tokenizer never emits would be a row of weights never trained."""
    tokenizer = Tokenizer(tokens := learn(corpus))
    # Capitals stand there for vocabularies that keep case.
    beginnings = [
        token for token in tokens[106:] if token not in CAPITALS and not token.startswith("##")
    ]
    ids = [tokenizer.encode(token) for token in beginnings]
    assert [tokens[i] for (i, *_) in ids] == beginnings
    assert {len(found) for found in ids} == {1}


def test_text_learned_from_has_no_unknown_tokens_where_all_characters_have_places():
    for name in ("one sentence", "no Chinese", "Greek and kana"):
        tokenizer = Tokenizer(learn(CORPORA[name]))
        for text in CORPORA[name]:
            assert 100 not in tokenizer.encode(text)


def test_words_of_english_text_become_single_tokens():
    tokens = learn(ENGLISH)
    assert {"the", "player", "playing", "walked", "returning", "47"} <= set(tokens)
