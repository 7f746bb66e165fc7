import importlib.machinery
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocab import wordpieces, words

WORD_COUNTS = {
    **{"playing": 50, "played": 40, "player": 30, "play": 60},
    **{"walking": 20, "walked": 15, "walker": 10, "2019": 35, "2018": 25, "café": 5, "かな": 8},
}


class FakeLearner:
    """Answers with given pieces and keeps what it was asked."""

    def __init__(self, pieces=()):
        self.pieces = pieces
        self.calls = []

    def learn(self, word_counts, vocab_size, **options):
        self.calls.append((dict(word_counts), vocab_size, options))
        return list(self.pieces)


@pytest.fixture
def fake_learner(monkeypatch):
    learner = FakeLearner()
    monkeypatch.setattr(wordpieces, "_load_learner", lambda path: learner)
    return learner


def hide_tensorflow_text(monkeypatch, spec):
    find_spec = importlib.util.find_spec

    def find(name, package=None):
        return spec if name == "tensorflow_text" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def can_be_built(word, pieces):
    reachable = {0}
    for end in range(1, len(word) + 1):
        for start in range(end):
            piece = ("##" if start else "") + word[start:end]
            if start in reachable and piece in pieces:
                reachable.add(end)
    return len(word) in reachable


def test_learn_pieces_two_words_give_letters_words_and_continuations():
    assert wordpieces.learn_pieces({"abc": 3, "abd": 2}, 20) == [
        *("a", "b", "c", "d", "##a", "##b", "##c", "##d", "abc", "abd")
    ]


def test_learn_pieces_frequent_words_come_first():
    pieces = wordpieces.learn_pieces(WORD_COUNTS, 100)
    assert pieces.index("play") < pieces.index("2019") < pieces.index("2018")


def test_learn_pieces_frequent_ending_of_rare_words_becomes_a_piece():
    common = ["aa", "ab", "ba", "bb", "kkk", "kkn", "knk", "knn", "nkk", "nkn", "nnk", "nnn"]
    rare = ["".join(stem) + "nk" for stem in itertools.product("ab", repeat=5)]
    pieces = wordpieces.learn_pieces(dict.fromkeys(common, 40) | dict.fromkeys(rare, 3), 24)
    assert pieces == [
        *("a", "b", "k", "n", "##a", "##b", "##k", "##n"),
        *common,
        *("##aaank", "##aabnk", "##abank", "##abbnk"),
    ]
    assert [word for word in rare if not can_be_built(word, pieces)] == []


# As many equally frequent words as there are places must not push the letters out.
def test_learn_pieces_more_equal_words_than_places_keep_the_letters_that_continue():
    letters = "あいうえおか"
    words = ["".join(triple) for triple in itertools.product(letters, repeat=3)]
    pieces = wordpieces.learn_pieces(dict.fromkeys(words, 5), 100)
    assert len(pieces) <= 100
    assert {"##" + letter for letter in letters} <= set(pieces)


def test_learn_pieces_can_build_every_learned_word():
    pieces = set(wordpieces.learn_pieces(WORD_COUNTS, 200))
    assert [word for word in WORD_COUNTS if not can_be_built(word, pieces)] == []


@pytest.mark.parametrize("size", [0, 1, 5, 20, 40, 60, 1000])
def test_learn_pieces_gives_at_most_size_different_pieces(size):
    pieces = wordpieces.learn_pieces(WORD_COUNTS, size)
    assert len(set(pieces)) == len(pieces) <= size


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.text("abcé1か", min_size=1, max_size=8), st.integers(1, 50), max_size=12),
    st.integers(0, 60),
    st.randoms(use_true_random=False),
)
def test_learn_pieces_does_not_depend_on_the_order_of_the_words(word_counts, size, random):
    items = list(word_counts.items())
    random.shuffle(items)
    pieces = wordpieces.learn_pieces(word_counts, size)
    assert wordpieces.learn_pieces(dict(items), size) == pieces
    assert len(set(pieces)) == len(pieces) <= size


def test_learn_pieces_of_equally_frequent_words_looks_at_the_first_by_code_point(monkeypatch):
    monkeypatch.setattr(words, "MAX_WORDS", 2)
    pieces = wordpieces.learn_pieces({"cc": 1, "bb": 1, "dd": 2, "aa": 1}, 100)
    assert set(pieces) == {"a", "d", "##a", "##d", "aa", "dd"}


@pytest.mark.parametrize(
    ("counts", "size", "threshold"),
    [
        # Letters take 2 places each; words take 85 % of the others, rounded down.
        ("aa 9 ab 7 ba 7 bb 5 cc 4 ca 3", 0, 9),  # no word, but the first reaches any threshold
        ("aa 9 ab 7 ba 7 bb 5 cc 4 ca 3", 4, 8),  # 1 letter allowed, 1 word
        ("aa 9 ab 7 ba 7 bb 5 cc 4 ca 3", 8, 6),  # 2 letters allowed, 3 words
        ("aa 9 ab 7 ba 7 bb 5 cc 4 ca 3", 12, 4),  # 3 letters, 5 words
        ("aa 9 ab 7 ba 7 bb 5 cc 5 ca 5", 12, 6),  # ties: 6 words reach 5, 3 reach 6
        ("aa 9 ab 7 ba 7 bb 5 cc 4 ca 3", 14, 2),  # 3 letters, 6 words, which is all
        ("aa 9 ab 7 ba 7 bb 5 cc 1 ca 1", 12, 2),
        ("aa 5 ab 5 ba 5 bb 5 cc 5 ca 5", 12, 5),
        ("aa 1 ab 1 ba 1 bb 1 cc 1 ca 1", 12, 1),
        ("aa 1 ab 1 ba 1 bb 1 cc 1 ca 1", 99, 1),
    ],
)
def test_learn_pieces_threshold_is_the_lowest_that_not_too_many_words_reach(
    fake_learner, counts, size, threshold
):
    words = counts.split()
    wordpieces.learn_pieces(dict(zip(words[::2], map(int, words[1::2]), strict=True)), size)
    ((_, vocab_size, options),) = fake_learner.calls
    assert vocab_size == size
    assert options == {
        "reserved_tokens": [],
        "upper_thresh": threshold,
        "lower_thresh": threshold,
        "num_iterations": 3,
        "max_unique_chars": size // 4,
    }


@pytest.mark.parametrize("size", [0, 1, 5, 20, 40, 60, 1000])
@pytest.mark.parametrize("counts", [WORD_COUNTS, dict.fromkeys(WORD_COUNTS, 1)])
def test_learn_pieces_learner_runs_once(monkeypatch, counts, size):
    learner = wordpieces._load_learner(wordpieces.check_learner())
    run = learner.learn_with_thresh
    thresholds = []

    def count_run(words, threshold, params):
        thresholds.append(threshold)
        return run(words, threshold, params)

    monkeypatch.setattr(learner, "learn_with_thresh", count_run)
    monkeypatch.setattr(wordpieces, "_load_learner", lambda path: learner)
    wordpieces.learn_pieces(counts, size)
    assert len(thresholds) == 1


@pytest.mark.parametrize(("size", "threshold"), [(0, 9), (4, 4)])
def test_learn_pieces_of_long_words_below_the_threshold_the_learner_sees_only_letters(
    fake_learner, size, threshold
):
    counts = {"abcdefghijk": 9, "kkkkkkkkkkd": 3, "kkkkkkkkkd": 2, "k": 1, "e": 2}
    wordpieces.learn_pieces(counts, size)
    ((seen, _, options),) = fake_learner.calls
    assert options["lower_thresh"] == threshold
    assert seen == {"abcdefghijk": 9, "kkkkkkkkkd": 2, "k": 1 + 10 * 3, "d": 3, "e": 2}


def test_learn_pieces_learner_sees_the_30000_most_frequent_words_and_500_letters(fake_learner):
    counts = {f"{number:05}": number for number in range(1, 30_004)}
    pieces = wordpieces.learn_pieces(counts, 40_000)
    ((seen, _, options),) = fake_learner.calls
    assert set(seen) == set(pieces) == set(counts) - {"00001", "00002", "00003"}
    assert options["max_unique_chars"] == 500


def test_learn_pieces_of_too_many_pieces_leaves_out_the_last_but_no_letter(fake_learner):
    fake_learner.pieces = ["a", "b", "ab", "aab", "##ab", "##a", "##b"]
    counts = {"ab": 3, "aab": 2}
    assert wordpieces.learn_pieces(counts, 6) == ["a", "b", "##a", "##b", "ab", "aab"]
    assert wordpieces.learn_pieces(counts, 5) == ["a", "b", "##a", "##b", "ab"]


def test_learn_pieces_places_left_go_to_the_most_frequent_words_that_are_no_pieces(fake_learner):
    fake_learner.pieces = ["a", "b", "##a", "##b", "ba"]
    counts = {"bb": 2, "abb": 1, "aa": 2, "aab": 1, "ba": 5}
    pieces = ["a", "b", "##a", "##b", "ba", "aa", "bb", "aab", "abb"]
    assert wordpieces.learn_pieces(counts, 8) == pieces[:8]
    assert wordpieces.learn_pieces(counts, 10) == pieces


def test_learn_pieces_is_the_same_under_other_string_hashes_and_imports_no_tensorflow():
    code = (
        "import sys\n"
        "from vocab.wordpieces import learn_pieces\n"
        f"print(ascii([learn_pieces({WORD_COUNTS!a}, size) for size in (60, 100)]))\n"
        "print({'tensorflow', 'tensorflow_text'} & set(sys.modules))"
    )
    pieces = [wordpieces.learn_pieces(WORD_COUNTS, size) for size in (60, 100)]
    expected = ascii(pieces) + "\nset()\n"
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == expected


@pytest.mark.parametrize("word_counts", [{}, {"x" * 21: 99}])
def test_learn_pieces_no_word_of_20_characters_gives_no_pieces(word_counts):
    assert wordpieces.learn_pieces(word_counts, 100) == []


def test_learn_pieces_words_over_20_characters_change_nothing():
    longer = WORD_COUNTS | {"x" * 21: 1000, "q" * 5000: 1000}
    assert wordpieces.learn_pieces(longer, 100) == wordpieces.learn_pieces(WORD_COUNTS, 100)


def test_learn_pieces_word_of_20_characters_is_learned():
    assert "x" * 20 in wordpieces.learn_pieces({"x" * 20: 5}, 100)


def test_check_learner_finds_the_learner_without_importing_tensorflow():
    path = wordpieces.check_learner()
    assert path.is_file() and path.name == "wordpiece_tokenizer_learner_lib.py"


@pytest.mark.parametrize("ask", [wordpieces.check_learner, lambda: wordpieces.learn_pieces({}, 9)])
def test_missing_tensorflow_text_raises_and_says_what_to_install(monkeypatch, ask):
    hide_tensorflow_text(monkeypatch, None)
    with pytest.raises(wordpieces.LearnerMissingError) as caught:
        ask()
    assert str(caught.value) == (
        "learning a vocabulary needs tensorflow-text; install it with\n"
        "    pip install 'chinese-t5s[vocab]'\n"
        "or give a finished vocabulary with --vocab=vocab.txt (build-vocab derive makes one from "
        "Google's Chinese BERT vocabulary)"
    )


def test_tensorflow_text_without_the_learner_raises_and_says_what_to_install(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec("tensorflow_text", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    hide_tensorflow_text(monkeypatch, spec)
    with pytest.raises(wordpieces.LearnerMissingError, match=r"chinese-t5s\[vocab\]"):
        wordpieces.check_learner()
