import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.near_duplicates import (
    BANDS,
    MAX_CHARS,
    MIN_CHARS,
    NGRAM_CHARS,
    ROWS,
    THRESHOLD,
    band_keys,
    can_be_compared,
    chance_of_candidate,
    find_candidates,
    jaccard,
    resolve,
)

BINS = BANDS * ROWS
EMPTY = (1 << 32) - 1


def is_long_enough(text):
    return len(bare(text)) >= NGRAM_CHARS


few_chars = st.text("一二三a😀𠀀 \n", min_size=NGRAM_CHARS, max_size=40)
any_chars = st.text(min_size=NGRAM_CHARS, max_size=400)
texts = st.one_of(few_chars, any_chars).filter(is_long_enough)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("文" * (MIN_CHARS - 1), False),
        ("文" * MIN_CHARS, True),
        ("文" * MAX_CHARS, True),
        ("文" * (MAX_CHARS + 1), False),
        (" \n" * MIN_CHARS + "文" * (NGRAM_CHARS - 1), False),
        (" \n" * MIN_CHARS + "文" * NGRAM_CHARS, True),
    ],
    ids=["short", "shortest", "longest", "long", "blank", "least visible"],
)
def test_text_of_enough_visible_characters_can_be_compared(text, expected):
    assert can_be_compared(text) == expected
    if expected:
        assert band_keys([text]).shape == (1, BANDS)


# --- Obviously right versions ---


def bare(text):
    return text.replace(" ", "").replace("\n", "")


def ngrams_of(text):
    chars = bare(text)
    return [chars[at : at + NGRAM_CHARS] for at in range(len(chars) - NGRAM_CHARS + 1)]


def mix_32(value):
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        value = (value ^ value >> shift) * factor % 2**32
    return value


def mix_64(value):
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53), (33, 1)):
        value = (value ^ value >> shift) * factor % 2**64
    return value


def hash_plainly(ngram):
    value = 0
    for char in ngram:
        value = value * 0x9E3779B1 + ord(char)
    return mix_32(value % 2**32)


def donors_of(bin_):
    """All bins, in the order in which an empty one asks them for a value."""
    return sorted(range(BINS), key=lambda donor: mix_64(1 + bin_ * BINS + donor))


def keys_plainly(text):
    lowest = [EMPTY] * BINS
    for ngram in ngrams_of(text):
        value = hash_plainly(ngram)
        bin_ = (value >> 16) * BINS >> 16
        lowest[bin_] = min(lowest[bin_], value)
    signature = [
        next(lowest[donor] for donor in [bin_, *donors_of(bin_)] if lowest[donor] != EMPTY)
        for bin_ in range(BINS)
    ]
    keys = []
    for band in range(BANDS):
        key = band + 1
        for value in signature[band * ROWS : (band + 1) * ROWS]:
            key = mix_64(key ^ value)
        keys.append(key)
    return keys


def find_plainly(keyed):
    """Pairs of (key, document): the first of each key and each predecessor with each document."""
    documents_of = {}
    for key, document in sorted(keyed):
        documents_of.setdefault(key, []).append(document)
    pairs = set()
    for documents in documents_of.values():
        for place, document in enumerate(documents[1:], 1):
            pairs |= {(documents[0], document), (documents[place - 1], document)}
    return sorted(pair for pair in pairs if pair[0] != pair[1])


def resolve_plainly(pairs):
    """Goes through all documents in order; `pairs`: {(earlier, later): similarity}."""
    stays, losers = set(), {}
    for document in sorted({document for pair in pairs for document in pair}):
        winners = sorted(earlier for earlier, later in pairs if later == document)
        winner = next((earlier for earlier in winners if earlier in stays), None)
        if winner is None:
            stays.add(document)
        else:
            losers[document] = winner, pairs[winner, document]
    return losers


# --- Banding ---


def test_chance_of_candidate_is_that_of_at_least_one_band_of_equal_rows():
    assert (BANDS, ROWS) == (10, 6)
    assert chance_of_candidate(0) == 0
    assert chance_of_candidate(0.5) == pytest.approx(1 - (63 / 64) ** 10)
    assert chance_of_candidate(1) == 1


def test_bands_find_nearly_all_pairs_at_the_threshold_and_few_that_are_far_from_it():
    assert THRESHOLD == 0.85
    assert chance_of_candidate(0.85) == pytest.approx(0.9912, abs=1e-4)
    assert chance_of_candidate(0.9) == pytest.approx(0.9995, abs=1e-4)
    assert chance_of_candidate(0.3) == pytest.approx(0.0073, abs=1e-4)
    assert chance_of_candidate(0.1) < 1.1e-5


def random_text(rng, chars):
    return "".join(map(chr, rng.choices(range(0x4E00, 0x9FA6), k=chars)))


@pytest.mark.parametrize("changed_chars", [10, 25, 60])
def test_share_of_equal_keys_is_the_one_that_the_similarity_gives(changed_chars):
    # The share of equal ones among 20,000 keys has a standard deviation of at most 0.0036 if bands
    # are independent, that of candidates among 2,000 pairs is `deviation`; densification and pairs
    # of not quite the same similarity add a little.
    rng = random.Random(changed_chars)
    pairs = 2000
    firsts = [random_text(rng, MIN_CHARS) for _ in range(pairs)]
    seconds = [text[changed_chars:] + random_text(rng, changed_chars) for text in firsts]
    similarity = np.mean([jaccard(a, b) for a, b in zip(firsts, seconds, strict=True)])
    equal = band_keys(firsts) == band_keys(seconds)
    assert abs(np.mean(equal) - similarity**ROWS) < 0.02
    expected = chance_of_candidate(similarity)
    deviation = (expected * (1 - expected) / pairs) ** 0.5
    assert abs(np.mean(np.any(equal, axis=1)) - expected) < 4 * deviation + 1e-3


# --- Signatures ---


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=5))
@example(["一二三四五"])
@example(["😀😀😀😀😀", "𠀀𠀁𠀂𠀃𠀄𠀅"])
@example(["一 二\n三 四\n五", "五四三二一"])
@example(["一二三四五六七八九十" * 40])
def test_band_keys_are_those_of_plain_code(batch):
    keys = band_keys(batch)
    assert (keys.shape, keys.dtype) == ((len(batch), BANDS), np.uint64)
    assert keys.tolist() == [keys_plainly(text) for text in batch]


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_band_keys_of_a_text_do_not_hang_on_its_batch(batch, rng):
    alone = {text: band_keys([text])[0].tolist() for text in batch}
    shuffled = rng.sample(batch * 2, len(batch) * 2)
    assert band_keys(shuffled).tolist() == [alone[text] for text in shuffled]


def test_band_keys_are_the_same_on_every_machine():
    first, *_, last = band_keys(["一二三四五六七八九十"])[0].tolist()
    assert (first, last) == (0xE73F358F3D2EFD2B, 0x819B6B0C3C059467)


@settings(max_examples=50, deadline=None)
@given(texts, st.lists(st.integers(0, 400), max_size=20), st.sampled_from(" \n"))
def test_band_keys_and_similarity_do_not_hang_on_white_space(text, places, space):
    spaced = text
    for place in places:
        spaced = spaced[:place] + space + spaced[place:]
    assert np.array_equal(band_keys([spaced]), band_keys([text]))
    assert jaccard(spaced, text) == 1


def test_text_whose_only_hash_is_that_of_no_ngram_has_keys():
    assert hash_plainly("一七一爩价") == EMPTY
    keys = [band + 1 for band in range(BANDS)]
    for _ in range(ROWS):
        keys = [mix_64(key ^ EMPTY) for key in keys]
    assert band_keys(["一七一爩价"]).tolist() == [keys]


def test_keys_of_different_bands_differ_though_the_signature_is_the_same_in_all():
    (keys,) = band_keys(["一一一一一一"])
    assert len(set(keys.tolist())) == BANDS


def test_texts_of_one_ngram_share_all_keys_or_none():
    one, other = band_keys(["一二三四五", "一二三四六"]).tolist()
    assert not set(one) & set(other)
    assert band_keys(["一二 三\n四五"]).tolist() == [one]


@pytest.mark.parametrize("text", ["", "一二三四", "一 二\n三 四 "])
def test_band_keys_refuse_texts_without_ngrams(text):
    with pytest.raises(ValueError, match="at least 5 characters that are no white space"):
        band_keys(["一二三四五", text])


def test_keys_are_spread_evenly_over_partitions():
    # 20,000 keys in 64 partitions by their first bits: 312 each, standard deviation 17.5.
    rng = random.Random(0)
    keys = band_keys([random_text(rng, 50) for _ in range(2000)]).ravel()
    counts = np.bincount((keys >> np.uint64(58)).astype(np.int64), minlength=64)
    assert counts.shape == (64,) and np.all(np.abs(counts - 312.5) < 90)


# --- Candidates ---

keyed_documents = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), max_size=40)


def candidates_of(keyed):
    keys = np.array([key for key, _ in keyed], np.uint64)
    documents = np.array([document for _, document in keyed], np.int64)
    earlier, later = find_candidates(keys, documents)
    assert (earlier.dtype, later.dtype) == (np.int64, np.int64)
    return list(zip(earlier.tolist(), later.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(keyed_documents, st.randoms(use_true_random=False))
def test_find_candidates_finds_what_plain_code_does_whatever_the_order(keyed, rng):
    found = candidates_of(rng.sample(keyed, len(keyed)))
    assert found == find_plainly(keyed)
    assert len(found) < 2 * len(keyed) or not keyed


def test_find_candidates_pairs_first_and_predecessor_of_many_documents_with_one_key():
    assert candidates_of([(7, document) for document in (9, 3, 5, 4)]) == [
        *((3, 4), (3, 5), (3, 9)),
        *((4, 5), (5, 9)),
    ]


def test_find_candidates_of_a_large_group_are_linear_in_it():
    assert len(candidates_of([(7, document) for document in range(10_000)])) == 2 * 9_999 - 1


def test_find_candidates_knows_the_highest_keys_and_numbers():
    high = (1 << 64) - 1
    assert candidates_of([(high, (2 << 61) + 1), (high, 1), (high - 1, 0)]) == [(1, (2 << 61) + 1)]


# --- Verification ---


@settings(max_examples=150, deadline=None)
@given(texts, texts)
@example("一二三四五", "一二三四五")
@example("一二三四五", "五四三二一")
@example("😀一二三四五", "一二三四五😀")
def test_jaccard_is_common_ngrams_by_all_ngrams(a, b):
    of_a, of_b = set(ngrams_of(a)), set(ngrams_of(b))
    assert jaccard(a, b) == jaccard(b, a) == len(of_a & of_b) / len(of_a | of_b)


@pytest.mark.parametrize(
    ("a", "b", "similarity"),
    [
        ("一二三四五六", "一二三四五六", 1),
        ("一二三四五", "一二三四五一二三四五一二三四五", 1 / 5),
        ("一二三四五六", "一二三四五七", 1 / 3),
        ("😀😁😂🤣😃", "😀😁😂🤣😄", 0),
    ],
)
def test_jaccard_of_known_texts(a, b, similarity):
    assert jaccard(a, b) == similarity


verified_pairs = st.dictionaries(
    st.tuples(st.integers(0, 9), st.integers(1, 5)).map(lambda pair: (pair[0], sum(pair))),
    st.floats(THRESHOLD, 1),
    max_size=25,
)


def resolve_pairs(rows):
    earlier, later, similarity = zip(*rows, strict=True) if rows else ((), (), ())
    return resolve(
        np.array(earlier, np.int64), np.array(later, np.int64), np.array(similarity, np.float64)
    )


@settings(max_examples=200, deadline=None)
@given(verified_pairs, st.randoms(use_true_random=False))
def test_resolve_decides_as_plain_code_does_whatever_the_order(pairs, rng):
    rows = [(*pair, similarity) for pair, similarity in pairs.items()]
    losers = resolve_pairs(rng.sample(rows, len(rows)))
    assert losers == resolve_plainly(pairs)
    assert all(winner not in losers for winner, _ in losers.values())


def test_resolve_makes_no_chains():
    assert resolve_pairs([(1, 2, 0.9), (2, 3, 0.95)]) == {2: (1, 0.9)}


def test_resolve_names_the_lowest_that_stays():
    rows = [(3, 4, 0.99), (2, 4, 0.9), (1, 4, 0.88), (0, 1, 0.87)]
    assert resolve_pairs(rows) == {1: (0, 0.87), 4: (2, 0.9)}


# --- Together ---


def test_edited_documents_go_for_what_they_were_and_others_stay():
    rng = random.Random(0)
    originals = [random_text(rng, 400) for _ in range(50)]
    lightly = [text[:100] + "改" + text[101:300] + "\n" + text[300:] for text in originals]
    heavily = [text[:200] + random_text(rng, 200) for text in originals]
    documents = originals + lightly + heavily
    keys = band_keys(documents)
    earlier, later = find_candidates(keys.ravel(), np.repeat(np.arange(150), BANDS))
    pairs = zip(earlier.tolist(), later.tolist(), strict=True)
    similarity = np.array([jaccard(documents[a], documents[b]) for a, b in pairs])
    verified = similarity >= THRESHOLD
    losers = resolve(earlier[verified], later[verified], similarity[verified])
    assert losers == {50 + number: (number, 391 / 401) for number in range(50)}
