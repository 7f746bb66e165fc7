"""Pure search for near-duplicates: texts -> signatures -> candidates -> pairs -> which go.

Two documents are near-duplicates if the sets of their character n-grams are nearly equal. MinHash
signatures by bands find pairs that may be (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets,
3.4), the exact Jaccard similarity of their texts tells which are. White space does not count:
copies differ in where they break lines, and crawled ones in spaces that got in or lost.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

MIN_CHARS: Final = 200
"""Shorter documents are only compared exactly: some words changed make them another text."""

MAX_CHARS: Final = 1 << 20
"""Longer documents, likewise: all n-grams of two are compared at once."""

NGRAM_CHARS: Final = 5
"""About three Chinese words, so that unrelated documents share almost none."""

THRESHOLD: Final = 0.85
"""Jaccard similarity at or above which the later document goes.

In a sample of the corpora, pairs above are the same text with a few words changed, or the same
passage with another question; half of those from 0.80 to 0.85 are different texts of one template.
"""

ROWS: Final = 6
"""Values of a signature in a band: the more, the fewer candidates that are none."""

BANDS: Final = 10
"""Bands of a signature: with ROWS, 0.991 of the pairs at THRESHOLD become candidates."""

_BINS: Final = BANDS * ROWS
_EMPTY: Final = 0xFFFFFFFF
_BASE: Final = 0x9E3779B1  # 2^32 divided by the golden ratio, odd (Knuth 6.4)

IntArray = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint32]
Keys = npt.NDArray[np.uint64]


def chance_of_candidate(similarity: float) -> float:
    """Returns the probability that two documents of a Jaccard similarity share a band key.

    A value of two signatures is equal with the probability `similarity`; a band is if all its
    values are.
    """
    return 1 - (1 - similarity**ROWS) ** BANDS


# --- Signatures ---


def can_be_compared(text: str) -> bool:
    """Tells whether a cleaned text is neither too short nor too long to have near-duplicates."""
    if not MIN_CHARS <= len(text) <= MAX_CHARS:
        return False
    # With the rule off that shortens it, nearly all of a text may be white space.
    return len(text) - text.count(" ") - text.count("\n") >= NGRAM_CHARS


def band_keys(texts: Sequence[str]) -> Keys:
    """Returns a key for each band of the signatures of texts.

    One-permutation hashing: the range of hashes is cut into bins, and a signature holds the lowest
    hash of a text's n-grams in each. An empty bin takes the value of another bin of the text,
    looked for in an order drawn for that bin. Keys hang on nothing but the text.

    Args:
      texts: cleaned, each of at least NGRAM_CHARS characters that are no white space. Batches of
        about 1 MB are fastest; memory is some 20 bytes a character.

    Returns:
      Shape [D, BANDS]. The keys of different bands differ.

    Raises:
      ValueError: a text is too short.

    Source: Li, Owen, Zhang 2012 (one permutation); Shrivastava 2017 (densification).
    """
    signatures = _densify(_sign([_drop_white_space(text) for text in texts]))
    bands = signatures.reshape(-1, BANDS, ROWS).astype(np.uint64)
    keys = np.empty((len(bands), BANDS), np.uint64)
    keys[:] = np.arange(1, BANDS + 1)
    for row in range(ROWS):
        keys = _mix_64(keys ^ bands[:, :, row])
    return keys


def _drop_white_space(text: str) -> str:
    """Cleaned texts have no other white space; this takes half the time of `split`."""
    return text.replace(" ", "").replace("\n", "")


def _sign(texts: Sequence[str]) -> Hashes:
    """Returns the lowest hash in each bin, _EMPTY where there is none, shape [D, _BINS]."""
    lengths = np.array([len(text) for text in texts], np.int64)
    if np.any(lengths < NGRAM_CHARS):
        raise ValueError(
            f"texts must have at least {NGRAM_CHARS} characters that are no white space"
        )
    hashes = _hash_ngrams("".join(texts))
    bins = np.repeat(np.arange(len(texts)) * _BINS, lengths)
    ends = np.cumsum(lengths)
    for distance in range(1, NGRAM_CHARS):
        bins[ends - distance] = len(texts) * _BINS  # n-grams of two texts go to a row of their own
    bins = bins[: len(hashes)]
    bins += (hashes >> 16) * _BINS >> 16
    lowest = np.full((len(texts) + 1) * _BINS, _EMPTY, np.uint32)
    np.minimum.at(lowest, bins, hashes)
    return lowest[:-_BINS].reshape(-1, _BINS)


def _hash_ngrams(text: str) -> Hashes:
    """Returns a hash of each n-gram: a polynomial in _BASE modulo 2^32, mixed."""
    chars = np.frombuffer(text.encode("utf-32-le"), "<u4")
    count = max(0, len(chars) - NGRAM_CHARS + 1)
    hashes = np.zeros(count, np.uint32)
    for place in range(NGRAM_CHARS):
        hashes *= _BASE
        hashes += chars[place : place + count]
    return _mix_32(hashes)


def _mix_32(values: Hashes) -> Hashes:
    """Mixes the bits of each value; source: MurmurHash3 (Appleby), fmix32."""
    values ^= values >> 16
    values *= 0x85EBCA6B
    values ^= values >> 13
    values *= 0xC2B2AE35
    values ^= values >> 16
    return values


def _mix_64(values: Keys) -> Keys:
    """Mixes the bits of each value; source: MurmurHash3 (Appleby), fmix64."""
    values ^= values >> 33
    values *= 0xFF51AFD7ED558CCD
    values ^= values >> 33
    values *= 0xC4CEB9FE1A85EC53
    values ^= values >> 33
    return values


def _draw_donors() -> IntArray:
    """Returns for each bin all bins in an order drawn for it, shape [_BINS, _BINS]."""
    draws = _mix_64(np.arange(1, _BINS * _BINS + 1, dtype=np.uint64))
    return np.argsort(draws.reshape(_BINS, _BINS), axis=1, kind="stable")


_DONORS: Final = _draw_donors()


def _densify(lowest: Hashes) -> Hashes:
    """Fills empty bins; each takes the value of the first bin in its order that was not empty."""
    filled = lowest.copy()
    texts, bins = np.nonzero(lowest == _EMPTY)
    for donors in _DONORS.T:
        if not len(texts):
            break
        found = lowest[texts, donors[bins]]
        filled[texts, bins] = found
        texts, bins = texts[found == _EMPTY], bins[found == _EMPTY]
    return filled


# --- Candidates ---


def find_candidates(keys: Keys, documents: IntArray) -> tuple[IntArray, IntArray]:
    """Finds pairs of documents that share a key.

    Of many documents with one key each is paired with the first and with the one before it: so
    there are fewer than two pairs a key.

    Args:
      keys: of bands, in any order, shape [N].
      documents: the number of each key's document, shape [N].

    Returns:
      The lower and the higher number of each pair, sorted, each pair once, shape [P] each.
    """
    order = np.lexsort((documents, keys))
    keys, documents = keys[order], documents[order]
    shares = np.zeros(len(keys), np.bool_)
    shares[1:] = keys[1:] == keys[:-1]
    firsts = np.maximum.accumulate(np.where(shares, 0, np.arange(len(keys))))
    later = np.flatnonzero(shares)
    pairs = np.concatenate(
        [
            np.stack([documents[firsts[later]], documents[later]]),
            np.stack([documents[later - 1], documents[later]]),
        ],
        axis=1,
    )
    return _sort_pairs(pairs[:, pairs[0] < pairs[1]])


def _sort_pairs(pairs: IntArray) -> tuple[IntArray, IntArray]:
    """Returns the two rows of pairs, shape [2, P], sorted and each pair once."""
    pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    differs = np.ones(pairs.shape[1], np.bool_)
    differs[1:] = np.any(pairs[:, 1:] != pairs[:, :-1], axis=0)
    return pairs[0, differs], pairs[1, differs]


# --- Verification ---


def jaccard(a: str, b: str) -> float:
    """Returns the Jaccard similarity of the sets of n-grams of two texts, white space left out.

    Args:
      a: a cleaned text of at least NGRAM_CHARS characters that are no white space.
      b: another.
    """
    ngrams_of_a, ngrams_of_b = _ngrams_of(a), _ngrams_of(b)
    common = len(ngrams_of_a & ngrams_of_b)
    return common / (len(ngrams_of_a) + len(ngrams_of_b) - common)


def _ngrams_of(text: str) -> set[str]:
    text = _drop_white_space(text)
    return {text[at : at + NGRAM_CHARS] for at in range(len(text) - NGRAM_CHARS + 1)}


def resolve(
    earlier: IntArray, later: IntArray, similarity: npt.NDArray[np.float64]
) -> dict[int, tuple[int, float]]:
    """Decides which documents go.

    A document goes only for one that comes before it and itself stays. So there are no chains: of
    A, B, C where B resembles A, and C only B, A and C stay.

    Args:
      earlier: the lower document number of each pair, in any order, shape [P].
      later: the higher one, shape [P].
      similarity: of the two, at least THRESHOLD, shape [P].

    Returns:
      For each document that goes: the lowest one that it goes for, and their similarity.
    """
    losers: dict[int, tuple[int, float]] = {}
    order = np.lexsort((earlier, later))
    columns = (column[order].tolist() for column in (earlier, later, similarity))
    for winner, loser, resemblance in zip(*columns, strict=True):
        if winner not in losers and loser not in losers:
            losers[loser] = winner, resemblance
    return losers
