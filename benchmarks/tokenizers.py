"""The ids of `vocab.Tokenizer` beside those of other tokenizers, over documents of the pipeline.

`python -m benchmarks.tokenizers DOCUMENTS VOCAB` says of ours whether documents come back from
their ids, and what tokenizing costs beside segmenting; and for each of the others on how many
documents the ids differ, and why. Needs `pip install '.[train,dev]'` and bert4keras.
"""

import argparse
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.tokenizing import check_round_trip, measure_cost
from benchmarks.usual_recipe import load_tokenizers
from pipeline.blocks import read_rows
from vocab.basic_tokens import split_basic_tokens
from vocab.tokenizer import MAX_WORD_CHARS, Tokenizer
from vocab.vocab_file import parse_vocab

Peer = Callable[[Sequence[str]], list[list[int]]]
"""Texts -> ids of each, without [CLS] and [SEP]."""

_BATCH_DOCUMENTS: Final = 256
_LONG_WORD_BYTES: Final = 100  # where the first of the peers' own limits is
_SHOWN_REASONS: Final = 12


class Comparison(NamedTuple):
    """Two tokenizers over the same documents.

    Attributes:
      documents: all.
      characters: of all.
      differing: documents with other ids.
      reasons: in how many of these is what makes the difference; several may be in one.
      ours_seconds: CPU seconds of `vocab.Tokenizer`.
      peer_seconds: of the other one, all its threads included.
    """

    documents: int
    characters: int
    differing: int
    reasons: Counter[str]
    ours_seconds: float
    peer_seconds: float

    def __add__(self, other: Any) -> "Comparison":
        return Comparison(*(left + right for left, right in zip(self, other, strict=True)))


# --- The peers ---


def load_bert4keras(tokens: Sequence[str], cased: bool = False) -> Peer:
    """Returns bert4keras' `Tokenizer`."""
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = load_tokenizers().Tokenizer(ids, do_lower_case=not cased)
    return lambda texts: [tokenizer.encode(text)[0][1:-1] for text in texts]


def load_tensorflow_text(tokens: Sequence[str], cased: bool = False) -> Peer:
    """Returns tensorflow-text's `FastBertTokenizer`, text folded by TensorFlow before it.

    Its own folding is another one: see `load_tensorflow_text_defaults`.
    """
    import tensorflow as tf
    import tensorflow_text as tf_text

    tokenizer = _make_fast_bert_tokenizer(tokens, max_bytes_per_word=MAX_WORD_CHARS)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        folded: Any = tf.constant(texts)
        if not cased:
            folded = tf.strings.lower(folded, encoding="utf-8")
            folded = tf_text.normalize_utf8(folded, "NFD")
            folded = tf.strings.regex_replace(folded, r"\p{Mn}", "")
        folded = tf.strings.regex_replace(folded, r"[\p{Cf}\x{FFFD}]", "")
        return tokenizer.tokenize(folded).to_list()

    return encode


def load_tensorflow_text_defaults(tokens: Sequence[str], cased: bool = False) -> Peer:
    """Returns `FastBertTokenizer` as it comes: it makes `，` a `,` and `①` a `1` (NFKC)."""
    import tensorflow as tf

    tokenizer = _make_fast_bert_tokenizer(tokens, lower_case_nfd_strip_accents=not cased)
    return lambda texts: tokenizer.tokenize(tf.constant(texts)).to_list()


def _make_fast_bert_tokenizer(tokens: Sequence[str], **options: Any) -> Any:
    import tensorflow_text as tf_text

    tokenizer: Any = tf_text.FastBertTokenizer
    return tokenizer(tokens, **options)


def load_hugging_face(tokens: Sequence[str], cased: bool = False) -> Peer:
    """Returns `BertTokenizerFast` with our limit of word length; `[MASK]` in a text is text."""
    tokenizer = make_bert_tokenizer_fast(tokens, cased)
    tokenizer.backend_tokenizer.model.max_input_chars_per_word = MAX_WORD_CHARS
    return lambda texts: (
        tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True).input_ids
    )


def load_hugging_face_defaults(tokens: Sequence[str], cased: bool = False) -> Peer:
    """Returns `BertTokenizerFast` as it comes."""
    tokenizer = make_bert_tokenizer_fast(tokens, cased)
    return lambda texts: tokenizer(list(texts), add_special_tokens=False).input_ids


def make_bert_tokenizer_fast(tokens: Sequence[str], cased: bool) -> Any:
    """Returns transformers' `BertTokenizerFast` with our vocabulary."""
    from transformers import BertTokenizerFast  # pyright: ignore[reportAttributeAccessIssue]

    ids = {token: token_id for token_id, token in enumerate(tokens)}
    return BertTokenizerFast(vocab=ids, do_lower_case=not cased)


PEERS: Final[dict[str, Callable[..., Peer]]] = {
    "bert4keras": load_bert4keras,
    "tensorflow-text": load_tensorflow_text,
    "tensorflow-text-defaults": load_tensorflow_text_defaults,
    "hugging-face": load_hugging_face,
    "hugging-face-defaults": load_hugging_face_defaults,
}
_USUAL_PEERS: Final = "bert4keras,tensorflow-text,hugging-face"


# --- Comparing ---


def compare(texts: Sequence[str], ours: Tokenizer, peer: Peer) -> Comparison:
    """Compares the ids of each document."""
    start = time.process_time()
    our_ids = encode_together(texts, ours)
    between = time.process_time()
    peer_ids = peer(texts)
    end = time.process_time()
    differing = [text for text, a, b in zip(texts, our_ids, peer_ids, strict=True) if a != b]
    odd = find_odd_characters("".join(differing), ours, peer) if differing else set[str]()
    reasons = Counter(
        reason for text in differing for reason in find_reasons(text, odd, ours, peer)
    )
    counts = len(texts), sum(map(len, texts)), len(differing), reasons
    return Comparison(*counts, between - start, end - between)


def encode_together(texts: Sequence[str], ours: Tokenizer) -> list[list[int]]:
    """Returns the ids of each text, tokenized in one go as the pipeline does."""
    text = "\n".join([*texts, ""])
    tokens = ours.tokenize(text, np.array([len(text)]))
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    parts = np.split(tokens.ids, np.searchsorted(tokens.positions, ends)[:-1])
    return [part.tolist() for part in parts]


def find_odd_characters(text: str, ours: Tokenizer, peer: Peer) -> set[str]:
    """Returns the characters of a text that differ by themselves, between two letters."""
    characters = sorted(set(text))
    probes = [f"a{char}b" for char in characters]
    pairs = zip(characters, encode_together(probes, ours), peer(probes), strict=True)
    return {char for char, our_ids, peer_ids in pairs if our_ids != peer_ids}


def find_reasons(text: str, odd: set[str], ours: Tokenizer, peer: Peer) -> set[str]:
    """Names the odd characters of a text, else a word too long, else the part that differs."""
    if found := odd.intersection(text):
        return {f"U+{ord(char):04X} {unicodedata.name(char, '')}" for char in found}
    words = split_basic_tokens(text).words()
    if any(len(word.encode("utf-8", "surrogatepass")) > _LONG_WORD_BYTES for word in words):
        return {f"a word of over {_LONG_WORD_BYTES} bytes"}
    parts = text.split()
    for part, ids in zip(parts, peer(parts), strict=True):
        if ours.encode(part) != ids:
            return {f"other: {part[:20]!r}"}
    return {"other"}


def compare_file(path: str, vocab: str, name: str, cased: bool) -> Comparison:
    """Compares over one documents file."""
    ours, peer = _load(vocab, name, cased)
    texts = list(_read_texts([path]))
    total = Comparison(0, 0, 0, Counter(), 0.0, 0.0)
    for start in range(0, len(texts), _BATCH_DOCUMENTS):
        total += compare(texts[start : start + _BATCH_DOCUMENTS], ours, peer)
    return total


def _read_texts(paths: Iterable[str]) -> Iterator[str]:
    return (row["text"] for path in paths for row in read_rows(path))


@lru_cache(maxsize=1)
def _load(vocab: str, name: str, cased: bool) -> tuple[Tokenizer, Peer]:
    tokens = parse_vocab(Path(vocab).read_bytes(), vocab)
    return Tokenizer(tokens, cased), PEERS[name](tokens, cased)


def format_comparison(name: str, found: Comparison) -> str:
    """Returns some lines about one peer."""
    million = found.characters / 1e6 or 1
    lines = [
        f"{name}: {found.differing:,} of {found.documents:,} documents differ; CPU seconds per "
        f"million characters: ours {found.ours_seconds / million:.3f}, "
        f"theirs {found.peer_seconds / million:.3f}"
    ]
    lines += [f"  {count:,}  {reason}" for reason, count in _most_common(found.reasons)]
    if len(found.reasons) > _SHOWN_REASONS:
        lines.append(f"  and {len(found.reasons) - _SHOWN_REASONS:,} other reasons")
    return "\n".join(lines)


def _most_common(reasons: Counter[str]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN_REASONS]


def main(argv: Sequence[str] | None = None) -> None:
    """Compares over all documents and prints what was found."""
    parser = argparse.ArgumentParser("benchmarks.tokenizers", description=__doc__)
    parser.add_argument("documents", help="the folder documents/ of a run")
    parser.add_argument("vocab", help="a vocab.txt")
    parser.add_argument("--peers", default=_USUAL_PEERS, help=f"of {', '.join(PEERS)}")
    parser.add_argument("--cased", action="store_true", help="keep case and accents")
    parser.add_argument("--every", type=int, default=1, help="only each n-th file")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args(argv)
    names: list[str] = args.peers.split(",")
    if unknown := sorted(set(names) - set(PEERS)):
        parser.error(f"--peers: {', '.join(unknown)} is none of {', '.join(PEERS)}")
    paths = sorted(map(str, Path(args.documents).glob("*.jsonl.zst")))[:: args.every]
    if not paths:
        parser.error(f"{args.documents} has no *.jsonl.zst")
    tokens = parse_vocab(Path(args.vocab).read_bytes(), args.vocab)
    print(check_round_trip(_read_texts(paths), Tokenizer(tokens, args.cased)))
    print(measure_cost(_read_texts(paths), tokens, args.cased))
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        for name in names:
            rest = repeat(args.vocab), repeat(name), repeat(args.cased)
            done = pool.map(compare_file, paths, *rest)
            found = list(tqdm(done, name, len(paths), unit="file"))
            print(format_comparison(name, sum(found[1:], found[0])))


if __name__ == "__main__":
    main()
