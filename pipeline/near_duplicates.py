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

from pipeline.rules.classes import encode
from vocab.basic_tokens import encode_codes
from vocab.compiled import load_compiled

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

IntArray = npt.NDArray[np.int64]
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
      texts: cleaned, each of at least NGRAM_CHARS characters that are no white space. Memory is
        some 8 bytes a character.

    Returns:
      Shape [D, BANDS]. The keys of different bands differ.

    Raises:
      ValueError: a text is too short.

    Source: Li, Owen, Zhang 2012 (one permutation); Shrivastava 2017 (densification).
    """
    codes, starts = encode(texts)
    keys = np.empty((len(texts), BANDS), np.uint64)
    failed = _library.band_keys(
        *(codes, starts, len(texts), NGRAM_CHARS, BANDS, ROWS, _DONORS),
        *(np.empty(_BINS, np.uint32), keys),
    )
    if failed:
        raise ValueError(
            f"texts must have at least {NGRAM_CHARS} characters that are no white space"
        )
    return keys


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
    codes_of_a, codes_of_b, common = encode_codes(a), encode_codes(b), np.empty(2, np.int64)
    failed = _library.count_common_ngrams(
        *(codes_of_a, len(codes_of_a), codes_of_b, len(codes_of_b), NGRAM_CHARS, common)
    )
    if failed:
        raise MemoryError("no memory to compare two texts")
    in_both, in_either = common.tolist()
    return in_both / in_either


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


_library: Final = load_compiled(
    __file__,
    band_keys="uint32* int64* int64 int64 int64 int64 int64* uint32* uint64* -> int64",
    count_common_ngrams="uint32* int64 uint32* int64 int64 int64* -> int64",
)
