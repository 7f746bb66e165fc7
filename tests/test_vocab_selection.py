import string
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab.basic_tokens import is_cjk
from vocab.counting import TokenCounts
from vocab.selection import chinese_inventory, select_tokens
from vocab.special_tokens import SPECIAL_TOKENS

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
    return TokenCounts(Counter(counts), Counter())


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


def test_select_tokens_characters_stand_by_frequency():
    counts = characters({"国": 3, "中": 5, "。": 9, "龘": 1})
    assert chosen(counts)[:4] == ["。", "中", "国", "龘"]


def test_select_tokens_ties_stand_by_code_point():
    counts = characters({"龘": 2, "中": 2, "一": 2, "。": 2, "国": 7})
    assert chosen(counts)[:5] == ["国", "。", "一", "中", "龘"]


def test_select_tokens_too_many_characters_leave_the_rare_ones_out():
    counts = characters({"甲": 1, "乙": 8, "丙": 7, "丁": 6, "戊": 5, "己": 4, "庚": 3, "辛": 2})
    assert chosen(counts) == ["乙", "丙", "丁", "戊", "己", "庚"]


def test_select_tokens_pieces_keep_their_places_against_characters():
    counts = characters({"甲": 1, "乙": 8, "丙": 7, "丁": 6, "戊": 5, "己": 4})
    assert chosen(counts, ["the", "##ing"]) == ["乙", "丙", "丁", "戊", "the", "##ing"]


def test_select_tokens_pieces_that_are_ascii_characters_take_no_second_place():
    counts = characters({"甲": 1, "乙": 8, "丙": 7, "丁": 6, "戊": 5, "己": 4})
    pieces = ["a", "##a", "the"]
    assert chosen(counts, pieces) == ["乙", "丙", "丁", "戊", "己", "the"]


def test_select_tokens_ascii_punctuation_of_the_corpus_takes_no_second_place():
    assert chosen(TokenCounts(Counter({",": 99, "中": 1}), Counter()))[0] == "中"


def test_select_tokens_small_corpus_is_filled_with_gb2312_by_pronunciation():
    assert chosen(TokenCounts.empty()) == ["啊", "阿", "埃", "挨", "哎", "唉"]


def test_select_tokens_filling_comes_after_the_pieces_and_repeats_no_character():
    assert chosen(characters({"阿": 1, "中": 2}), ["the"]) == ["中", "阿", "the", "啊", "埃", "挨"]


def test_select_tokens_learner_gets_the_words_and_two_fifths_of_the_size():
    learner = StubLearner()
    counts = TokenCounts(Counter("中国"), Counter(the=3, ing=2))
    select_tokens(counts, learner, 1000)
    assert learner.calls == [({"the": 3, "ing": 2}, 400)]


def test_select_tokens_learner_is_asked_for_no_more_pieces_than_there_are_places():
    learner = StubLearner()
    select_tokens(TokenCounts.empty(), learner, 300)
    assert learner.calls == [({}, 6)]


def test_select_tokens_of_empty_corpus_has_13686_entries_by_default():
    learner = StubLearner()
    tokens = select_tokens(TokenCounts.empty(), learner)
    assert len(tokens) == len(set(tokens)) == 13_686
    assert learner.calls == [({}, 5474)]
    assert tokens[:294] == ALWAYS
    assert tokens[294:] == list(islice(dict.fromkeys(chinese_inventory()), 13_686 - 294))


def test_select_tokens_exactly_the_entries_that_are_always_there_is_large_enough():
    tokens = select_tokens(characters({"中": 1}), StubLearner(["the"]), 294)
    assert tokens == ALWAYS


@pytest.mark.parametrize("size", [293, 106, 0, -1])
def test_select_tokens_size_too_small_raises_and_names_the_least(size):
    with pytest.raises(ValueError) as caught:
        select_tokens(characters({"中": 1}), StubLearner(), size)
    assert str(caught.value) == f"size must be at least 294, got {size}"


def test_select_tokens_size_too_large_raises_and_names_the_most():
    most = 294 + len(set(chinese_inventory())) + 2
    counts = characters({"中": 1, "あ": 1})
    assert len(select_tokens(counts, StubLearner(["the"]), most)) == most
    with pytest.raises(ValueError) as caught:
        select_tokens(counts, StubLearner(["the"]), most + 1)
    assert str(caught.value) == f"size must be at most {most} for this corpus, got {most + 1}"


@given(
    st.dictionaries(st.characters(codec="utf-8"), st.integers(1, 5), max_size=60).map(Counter),
    st.lists(st.text("ab#é", min_size=1, max_size=5), max_size=30),
    st.integers(294, 420),
    st.randoms(use_true_random=False),
)
def test_select_tokens_any_corpus_gives_exactly_size_unique_entries(counts, pieces, size, random):
    tokens = select_tokens(TokenCounts(counts, Counter()), StubLearner(pieces), size)
    assert len(tokens) == len(set(tokens)) == size
    assert tokens[:294] == ALWAYS
    items = list(counts.items())
    random.shuffle(items)
    shuffled = TokenCounts(Counter(dict(items)), Counter())
    assert select_tokens(shuffled, StubLearner(pieces), size) == tokens


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


def test_chinese_inventory_holds_single_cjk_characters_only():
    assert all(len(char) == 1 and is_cjk(ord(char)) for char in chinese_inventory())
