"""Vocabularies and documents -> how well the ones cover the others, as figures and as a table."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from tqdm import tqdm

from vocab.basic_tokens import is_cjk, is_punctuation
from vocab.counting import TokenCounts, count_tokens
from vocab.document_files import batch_texts, read_documents
from vocab.special_tokens import CONTINUATION, SPECIAL_TOKENS, UNK_ID
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import digest_vocab

ALL: Final = "all"
_SPLITS: Final = ("train", "held_out", "test")
_LISTED: Final = 20


class Coverage(NamedTuple):
    """What a vocabulary makes of documents.

    Attributes:
      documents: how many there are.
      characters: of their text, without white space and what the tokenizer drops.
      unknown_characters: of these, under [UNK].
      tokens: of their text.
      unknown_tokens: of these, [UNK].
      latin_words: runs of ASCII letters, of at most `words.MAX_WORD_CHARS`.
      latin_tokens: of these words.
    """

    documents: int = 0
    characters: int = 0
    unknown_characters: int = 0
    tokens: int = 0
    unknown_tokens: int = 0
    latin_words: int = 0
    latin_tokens: int = 0

    def __add__(self, other: Any) -> "Coverage":
        """Returns what it makes of these and other documents."""
        return Coverage(*(a + b for a, b in zip(self, other, strict=True)))

    def rates(self) -> dict[str, float | None]:
        """Returns shares and ratios; None where there is nothing to divide by."""
        return {
            "character_coverage": _divide(
                self.characters - self.unknown_characters, self.characters
            ),
            "unknown_rate": _divide(self.unknown_tokens, self.tokens),
            "tokens_per_character": _divide(self.tokens, self.characters),
            "tokens_per_latin_word": _divide(self.latin_tokens, self.latin_words),
        }


Groups = dict[tuple[str, str], list[Coverage]]


def measure_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> Coverage:
    """Measures what a vocabulary makes of documents."""
    text = "\n".join(texts)
    tokens = tokenizer.tokenize(text, np.array([len(text)]))
    counted = count_tokens(texts, tokenizer.cased).words
    words = {word: n for word, n in counted.items() if word.isalpha()}
    return Coverage(
        len(texts),
        tokens.fates.in_tokens,
        tokens.fates.unknown,
        len(tokens.ids),
        int(np.count_nonzero(tokens.ids == UNK_ID)),
        sum(words.values()),
        _count_tokens_of_words(tokenizer, words),
    )


def _count_tokens_of_words(tokenizer: Tokenizer, words: Mapping[str, int]) -> int:
    text = "\n".join(words)
    positions = tokenizer.tokenize(text, np.array([len(text)])).positions
    lengths = np.array([len(word) + 1 for word in words], np.int64)
    owners = np.repeat(np.arange(len(words)), lengths)[positions]
    by_word = np.bincount(owners, minlength=len(words))
    return int(by_word @ np.array(list(words.values()), np.int64))


def measure_files(paths: Iterable[Path], tokenizers: Sequence[Tokenizer]) -> Groups:
    """Measures what vocabularies make of the documents of files.

    Returns:
      By corpus and split, and by (ALL, split): the coverage of each tokenizer.

    Raises:
      ValueError: as `read_documents`.
    """
    groups: Groups = {}
    for path in tqdm(list(paths), desc="measure", unit="file"):
        by_group = groupby(read_documents(path), key=lambda row: (row.corpus, row.split))
        for (corpus, split), documents in by_group:
            for texts in batch_texts(document.text for document in documents):
                for number, tokenizer in enumerate(tokenizers):
                    found = measure_texts(tokenizer, texts)
                    for group in ((corpus, split), (ALL, split)):
                        total = groups.setdefault(group, [Coverage()] * len(tokenizers))
                        total[number] += found
    return dict(sorted(groups.items(), key=lambda item: _rank(item[0])))


def _rank(group: tuple[str, str]) -> tuple[int, str, bool, str]:
    corpus, split = group
    place = _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)
    return place, split, corpus == ALL, corpus


# --- What is in a vocabulary ---


_SPECIAL: Final = frozenset(SPECIAL_TOKENS)


def compose(tokens: Iterable[str]) -> dict[str, int]:
    """Counts the entries of a vocabulary by what they are made of."""
    return dict(Counter(map(script_of, tokens)).most_common())


def script_of(token: str) -> str:
    """Tells what an entry is made of; `##` does not matter."""
    if token in _SPECIAL:
        return "special"
    stem = token.removeprefix(CONTINUATION) or token
    if all(is_cjk(ord(char)) for char in stem):
        return "Chinese characters"
    if all(map(is_punctuation, stem)):
        return "punctuation"
    if stem.isdecimal():
        return "digits"
    if all("KATAKANA" in name or "HIRAGANA" in name for name in _names(stem)):
        return "kana"
    if all(name.startswith("LATIN") or "DIGIT" in name for name in _names(stem)):
        return "Latin"
    return "other letters" if stem.isalpha() else "symbols and mixed"


def _names(stem: str) -> list[str]:
    return [unicodedata.name(char, "") for char in stem]


def find_border(tokens: Iterable[str], counts: TokenCounts) -> dict[str, Any]:
    """Lists what is just inside and just outside of a vocabulary, as counted in training text.

    Returns:
      The rarest characters that are in it, rarest first, and the most frequent characters and
      words that are not, each with the number of documents, or of occurrences of a word.
    """
    known = set(tokens)
    by_documents = sorted(counts.documents.items(), key=lambda item: (-item[1], item[0]))
    inside = [item for item in by_documents if item[0] in known]
    outside = [item for item in by_documents if item[0] not in known]
    words = [item for item in counts.words.items() if item[0] not in known]
    return {
        "last_characters_inside": inside[: -_LISTED - 1 : -1],
        "first_characters_outside": outside[:_LISTED],
        "characters_outside": len(outside),
        "first_words_outside": sorted(words, key=lambda item: (-item[1], item[0]))[:_LISTED],
    }


# --- The report ---


def make_report(
    vocabularies: Mapping[str, Sequence[str]], groups: Groups, counts: TokenCounts
) -> dict[str, Any]:
    """Returns all figures, ready for JSON.

    Args:
      vocabularies: entries by name.
      groups: what `measure_files` found, in the same order.
      counts: of the training documents.
    """
    described = [
        {
            "name": name,
            "entries": len(tokens),
            "sha256": digest_vocab(tokens),
            "composition": compose(tokens),
            **find_border(tokens, counts),
        }
        for name, tokens in vocabularies.items()
    ]
    coverage = [
        {"corpus": corpus, "split": split, "vocabulary": name, **found._asdict(), **found.rates()}
        for (corpus, split), by_vocabulary in groups.items()
        for name, found in zip(vocabularies, by_vocabulary, strict=True)
    ]
    return {"vocabularies": described, "coverage": coverage}


def format_report(report: Mapping[str, Any]) -> str:
    """Returns the report as text for a terminal: a line for each group and vocabulary."""
    lines = [
        f"{'corpus':<20}{'split':<10}{'vocabulary':<12}{'documents':>10}{'characters':>13}"
        f"{'covered':>11}{'[UNK]':>8}{'of tokens':>11}{'tokens/char':>13}{'/Latin word':>13}"
    ]
    numbers = {found["name"]: n for n, found in enumerate(report["vocabularies"], start=1)}
    for row in report["coverage"]:
        lines.append(
            f"{row['corpus']:<20}{row['split']:<10}{numbers[row['vocabulary']]:<12}"
            f"{row['documents']:>10,}{row['characters']:>13,}"
            f"{_percent(row['character_coverage']):>11}{row['unknown_tokens']:>8,}"
            f"{_percent(row['unknown_rate']):>11}{_ratio(row['tokens_per_character']):>13}"
            f"{_ratio(row['tokens_per_latin_word']):>13}"
        )
    for number, found in enumerate(report["vocabularies"], start=1):
        composition = ", ".join(f"{n:,} {script}" for script, n in found["composition"].items())
        lines += [
            "",
            f"{number}: {found['name']}: {found['entries']:,} entries, sha256 {found['sha256']}",
            f"   {composition}",
            f"   last characters inside:   {_list(found['last_characters_inside'])}",
            f"   first characters outside: {_list(found['first_characters_outside'])}"
            f" ({found['characters_outside']:,} in all)",
            f"   first words outside:      {_list(found['first_words_outside'])}",
        ]
    return "\n".join(lines) + "\n"


def _list(items: Iterable[tuple[str, int]]) -> str:
    return " ".join(f"{token} {count:,}" for token, count in items) or "none"


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.4%}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.4f}"
