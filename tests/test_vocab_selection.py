import string
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocab.basic_tokens import is_cjk
from vocab.counting import TokenCounts
from vocab.selection import (
    UNKNOWN_WEIGHT,
    chinese_inventory,
    choose_places,
    count_pieces,
    describe_borders,
    select,
    select_tokens,
)
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.tokenizer import Tokenizer

ASCII = sorted(string.ascii_letters + string.digits + string.punctuation)
ALWAYS = [*SPECIAL_TOKENS, *ASCII, *("##" + char for char in ASCII)]
GB2312_LEVEL_1_SIZE = 3755
GB2312_SIZE = 6763


class StubLearner:
    def __init__(self, pieces=()):
        self.pieces = list(pieces)
        self.calls = []

    def __call__(self, word_counts, size):
        self.calls.append((dict(word_counts), size))
        return self.pieces[:size]


def characters(counts):
    """Returns counts of characters that occur once in each document that holds them."""
    return TokenCounts(Counter(counts), Counter(counts), Counter())


def chosen(counts, pieces=()):
    """Returns the six entries behind those that are always there."""
    tokens = select_tokens(counts, StubLearner(pieces), 300)
    assert len(tokens) == 300
    return tokens[294:]


def test_select_tokens_always_begins_with_special_tokens_and_ascii():
    tokens = select_tokens(TokenCounts.empty(), StubLearner(), 300)
    assert len(ALWAYS) == 294
    assert tokens[:294] == ALWAYS
    assert tokens[106] == "!" and tokens[199] == "~"
    assert tokens[200] == "##!" and tokens[293] == "##~"


def test_select_tokens_characters_stand_by_documents_and_not_by_occurrences():
    occurrences = Counter({"国": 30, "中": 5, "。": 9, "龘": 99, "##ん": 4})
    documents = Counter({"国": 3, "中": 5, "。": 9, "龘": 1, "##ん": 4})
    counts = TokenCounts(occurrences, documents, Counter())
    assert chosen(counts)[:5] == ["。", "中", "##ん", "国", "龘"]


def test_select_tokens_of_as_many_documents_stand_by_occurrences():
    counts = TokenCounts(Counter({"一": 2, "丁": 9, "七": 5}), Counter("一丁七"), Counter())
    assert chosen(counts)[:3] == ["丁", "七", "一"]


def test_select_tokens_ties_stand_by_code_point():
    counts = characters({"龘": 2, "中": 2, "一": 2, "。": 2, "国": 7})
    assert chosen(counts)[:5] == ["国", "。", "一", "中", "龘"]


def test_select_tokens_too_many_characters_leave_the_rare_ones_out():
    counts = characters({"甲": 1, "乙": 8, "丙": 7, "丁": 6, "戊": 5, "己": 4, "庚": 3, "辛": 2})
    assert chosen(counts) == ["乙", "丙", "丁", "戊", "己", "庚"]


SIX = {"甲": 1, "乙": 8, "丙": 7, "丁": 6, "戊": 5, "己": 4}


def with_words(counts, **words):
    return characters(counts)._replace(words=Counter(words))


def test_select_tokens_piece_that_saves_more_tokens_than_an_unknown_weighs_takes_its_place():
    # As one piece, `the` saves two tokens each time.
    assert UNKNOWN_WEIGHT == 30
    assert chosen(with_words(SIX, the=16), ["the"]) == ["乙", "丙", "丁", "戊", "己", "the"]


def test_select_tokens_piece_that_saves_no_more_leaves_the_character_its_place():
    assert chosen(with_words(SIX, the=15), ["the"]) == ["乙", "丙", "丁", "戊", "己", "甲"]


def test_select_tokens_rarer_characters_give_way_to_more_pieces():
    counts = with_words(SIX, the=1000, ing=900, xy=80)
    assert chosen(counts, ["the", "ing", "xy"]) == ["乙", "丙", "丁", "戊", "the", "ing"]


def test_select_tokens_pieces_that_are_always_there_take_no_second_place():
    pieces = ["a", "##a", "the"]
    assert chosen(with_words(SIX, the=16), pieces) == ["乙", "丙", "丁", "戊", "己", "the"]


def test_select_tokens_ascii_punctuation_of_the_corpus_takes_no_second_place():
    assert chosen(characters({",": 99, "中": 1}))[0] == "中"


def test_select_tokens_small_corpus_is_filled_with_gb2312_by_pronunciation():
    assert chosen(TokenCounts.empty()) == ["啊", "阿", "埃", "挨", "哎", "唉"]


def test_select_tokens_filling_comes_after_the_pieces_and_repeats_no_character():
    counts = with_words({"阿": 1, "中": 2}, the=1)
    assert chosen(counts, ["the"]) == ["中", "阿", "the", "啊", "埃", "挨"]


def test_select_tokens_pieces_that_save_nothing_leave_their_places_to_filling():
    counts = with_words({"阿": 1, "中": 2}, the=1)
    assert chosen(counts, ["the", "xyz"]) == ["中", "阿", "the", "啊", "埃", "挨"]


def test_select_tokens_pieces_are_learned_again_for_just_their_places():
    learner = StubLearner(["the", "xyz", "xyzzy"])
    counts = with_words(SIX, the=16)
    assert select_tokens(counts, learner, 300)[-1] == "the"
    assert learner.calls == [({"the": 16}, 6 + 6), ({"the": 16}, 1 + 6)]


def test_select_tokens_of_empty_corpus_has_13686_entries_by_default():
    learner = StubLearner()
    tokens = select_tokens(TokenCounts.empty(), learner)
    assert len(tokens) == len(set(tokens)) == 13_686
    assert learner.calls == [({}, 13_392)]
    assert tokens[:294] == ALWAYS
    assert tokens[294:] == list(islice(dict.fromkeys(chinese_inventory()), 13_686 - 294))


def test_select_tokens_exactly_the_entries_that_are_always_there_is_large_enough():
    tokens = select_tokens(with_words({"中": 1}, the=9), StubLearner(["the"]), 294)
    assert tokens == ALWAYS


@pytest.mark.parametrize("size", [293, 106, 0, -1])
def test_select_tokens_size_too_small_raises_and_names_the_least(size):
    with pytest.raises(ValueError) as caught:
        select_tokens(characters({"中": 1}), StubLearner(), size)
    assert str(caught.value) == f"size must be at least 294, got {size}"


def test_select_tokens_size_too_large_raises_and_names_the_most():
    most = 294 + len(set(chinese_inventory())) + 2
    counts = with_words({"中": 1, "あ": 1}, the=1)
    assert len(select_tokens(counts, StubLearner(["the"]), most)) == most
    with pytest.raises(ValueError) as caught:
        select_tokens(counts, StubLearner(["the"]), most + 1)
    assert str(caught.value) == f"size must be at most {most} for this corpus, got {most + 1}"


# Each example ranks all of the inventory twice, a tenth of a second.
@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.characters(codec="utf-8"), st.integers(1, 5), max_size=60).map(Counter),
    st.dictionaries(st.text("abc", min_size=1, max_size=5), st.integers(1, 99)).map(Counter),
    st.lists(st.text("abc#", min_size=1, max_size=5), max_size=30),
    st.integers(294, 420),
    st.randoms(use_true_random=False),
)
def test_select_tokens_any_corpus_gives_exactly_size_unique_entries(
    documents, words, pieces, size, random
):
    counts = TokenCounts(documents, documents, words)
    tokens = select_tokens(counts, StubLearner(pieces), size)
    assert len(tokens) == len(set(tokens)) == size
    assert tokens[:294] == ALWAYS
    shuffled = []
    for values in counts:
        items = list(values.items())
        random.shuffle(items)
        shuffled.append(Counter(dict(items)))
    assert select_tokens(TokenCounts(*shuffled), StubLearner(pieces), size) == tokens


@given(
    st.dictionaries(st.sampled_from("甲乙丙丁戊己"), st.integers(1, 9)).map(Counter),
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(1, 99)).map(Counter),
    st.lists(st.text("abc", min_size=2, max_size=4), unique=True, max_size=8),
    st.integers(0, 12),
)
def test_choose_places_is_the_least_number_of_least_cost(documents, words, pieces, room):
    occurrences = sorted(documents.values(), reverse=True)
    places = choose_places(words, occurrences, pieces, room)

    def cost(some):
        unknown = sum(occurrences[room - some :])
        return count_pieces(words, set(pieces[:some])) + 30 * unknown

    costs = [cost(some) for some in range(min(len(pieces), room) + 1)]
    assert places == costs.index(min(costs))


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(1, 99)),
    st.lists(st.from_regex(r"(##)?[abc]{2,4}", fullmatch=True), max_size=10),
)
def test_count_pieces_is_what_the_tokenizer_makes_of_the_words(words, pieces):
    tokenizer = Tokenizer(list(dict.fromkeys([*ALWAYS, *pieces])))
    expected = sum(count * len(tokenizer.encode(word)) for word, count in words.items())
    assert count_pieces(words, set(pieces)) == expected


def test_selection_tells_what_was_admitted_last_and_left_out_first():
    counts = with_words(SIX, the=1000, ing=900, xy=80)
    selection = select(counts, StubLearner(["the", "ing", "xy"]), 300)
    assert describe_borders(selection) == (
        "4 characters; last admitted: 乙 丙 丁 戊; first left out: 己 甲\n"
        "2 word pieces; last admitted: the ing; first left out: xy\n"
        "0 Chinese characters to fill up\n"
    )
    assert describe_borders(select(TokenCounts.empty(), StubLearner(), 300)) == (
        "0 characters; last admitted: none; first left out: none\n"
        "0 word pieces; last admitted: none; first left out: none\n"
        "6 Chinese characters to fill up\n"
    )


def test_chinese_inventory_has_both_levels_of_gb2312_first():
    inventory = list(chinese_inventory())
    gb2312 = inventory[:GB2312_SIZE]
    assert [char.encode("gb2312") for char in gb2312] == sorted(
        char.encode("gb2312") for char in set(gb2312)
    )
    assert len(set(gb2312)) == GB2312_SIZE
    assert (gb2312[0], gb2312[GB2312_LEVEL_1_SIZE - 1]) == ("啊", "座")
    assert (gb2312[GB2312_LEVEL_1_SIZE], gb2312[-1]) == ("亍", "齄")


def test_chinese_inventory_goes_on_with_big5_and_then_gbk():
    inventory = list(chinese_inventory())
    beyond = [char for char in dict.fromkeys(inventory) if not char.encode("gb2312", "ignore")]
    big5 = [char for char in beyond if char.encode("big5", "ignore") >= b"\xa4\x40"]
    gbk = beyond[len(big5) :]
    assert beyond[: len(big5)] == big5 == sorted(big5, key=lambda char: char.encode("big5"))
    assert gbk == sorted(gbk, key=lambda char: char.encode("gbk"))
    assert (big5[0], gbk[0]) == ("內", "丂")


def test_chinese_inventory_leaves_out_what_the_tokenizer_makes_another_character_of():
    assert bytes((0xC9, 0x4A)).decode("big5") == "\ufa0c"
    assert not {"\ufa0c", "\ufa0d"} & set(chinese_inventory())


def test_chinese_inventory_holds_single_cjk_characters_only():
    assert all(len(char) == 1 and is_cjk(ord(char)) for char in chinese_inventory())
