import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab import words
from vocab.words import PARTITIONS, add_up_range, most_frequent, pack_words, read_words

some_words = st.dictionaries(
    st.text("abc12", min_size=1, max_size=4), st.integers(1, 10**12), max_size=30
).map(Counter)


def packed(counts):
    return io.BytesIO(pack_words(counts))


def test_most_frequent_stands_by_count_and_then_by_code_point(monkeypatch):
    monkeypatch.setattr(words, "MAX_WORDS", 3)
    found = most_frequent({"c": 2, "a": 1, "b": 2, "d": 9, "e": 1})
    assert list(found.items()) == [("d", 9), ("b", 2), ("c", 2)]


@given(some_words)
def test_read_words_undoes_pack_words(counts):
    assert read_words(packed(counts), 0, PARTITIONS) == counts


@given(some_words, st.integers(1, PARTITIONS))
def test_ranges_together_hold_every_word_once(counts, total):
    file = pack_words(counts)
    found = [add_up_range([io.BytesIO(file)], number, total) for number in range(total)]
    assert sum(map(len, found)) == len(counts)
    assert {word: count for part in found for word, count in part.items()} == counts


@given(some_words, st.randoms(use_true_random=False))
def test_pack_words_does_not_depend_on_insertion_order(counts, random):
    items = list(counts.items())
    random.shuffle(items)
    assert pack_words(dict(items)) == pack_words(counts)


@given(st.lists(some_words, max_size=4), st.integers(1, 5), st.randoms(use_true_random=False))
def test_most_frequent_of_ranges_are_the_most_frequent_of_all(shares, total, random):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "MAX_WORDS", 3)
        whole = most_frequent(sum(shares, Counter()))
        files = list(map(pack_words, shares))
        random.shuffle(files)
        kept = {}
        for number in random.sample(range(total), total):
            kept = most_frequent({**kept, **add_up_range(map(io.BytesIO, files), number, total)})
    assert list(kept.items()) == list(whole.items())


def test_words_spread_over_the_partitions():
    counts = Counter(f"word{number}" for number in range(PARTITIONS * 20))
    sizes = [len(read_words(packed(counts), n, n + 1)) for n in range(PARTITIONS)]
    assert sum(sizes) == len(counts)
    assert min(sizes) > 0 and max(sizes) < 60
