"""Fuzzes what is done to texts: cleaning rules and the tokenizer."""

import itertools
import time
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipeline.config import MIN_CHARS, DocumentsConfig
from pipeline.rules import Cleaner, find_spans
from pipeline.rules.edits import choose_edits
from pipeline.rules.kinds import splice
from pipeline.rules.rejections import UNSETTLED
from tests.fuzzing.search import Target
from tests.test_pipeline_rules_edits import PIECES as OF_EDITS
from tests.test_vocab_bert4keras import ALPHABETS, CASED_TOKENS, TOKENS, load_bert4keras
from vocab import Tokenizer
from vocab.special_tokens import SPECIAL_TOKENS, UNK_ID

# --- Cleaning ---

PIECES = (
    *OF_EDITS,
    *("gt;", "quot；", "#x3c;", "#1234567;", "a href='x'", "p class=x", "script", "style", "!--"),
    *("rt", "rp", "\uf0b7", "“", "ｂ", "〔", "〕", "～", "语語：", "漢", "〇", "git@"),
    *("11010519491231002X", "19491231", "锟斤拷", "Ã¤", "İ"),
)
pieces = st.sampled_from(PIECES)
texts = st.one_of(
    st.lists(pieces, max_size=30).map("".join),
    st.lists(pieces | st.text(max_size=3), max_size=20).map("".join),
    st.text(max_size=40),
)


@cache
def _cleaner(
    corpus: str, personal: bool, script: str, least: int
) -> tuple[Cleaner, DocumentsConfig]:
    config = DocumentsConfig(
        mask_personal_data=personal, script=script, min_chars=MIN_CHARS | {corpus: least}
    )
    return Cleaner(corpus, config), config


def check_cleaning(
    batch: Sequence[str], corpus: str, personal: bool, script: str, least: int
) -> None:
    """Cleaned texts stay as they are; every character is accounted for; spans say what changed."""
    cleaner, config = _cleaner(corpus, personal, script, least)
    cleaned = cleaner.clean(batch)
    sizes = list(map(len, batch))
    for change in cleaned.changes:
        sizes[change.document] += change.added - change.removed
        if change.before is not None:
            spans = find_spans(change.rule, change.before, config)
            assert len(spans) == change.times > 0
            assert sum(span.end - span.start for span in spans) == change.removed
            assert sum(len(span.replacement) for span in spans) == change.added
            assert all(0 <= one.end <= other.start for one, other in itertools.pairwise(spans))
            edit = next(edit for edit in choose_edits(config) if edit.name == change.rule)
            assert splice(change.before, spans) == edit.apply(change.before).text
    assert sizes == list(map(len, cleaned.texts))
    settled = [
        text
        for text, reason in zip(cleaned.texts, cleaned.reasons, strict=True)
        if reason != UNSETTLED
    ]
    again = cleaner.clean(settled)
    assert again.changes == [] and again.texts == settled
    assert again.reasons == [reason for reason in cleaned.reasons if reason != UNSETTLED]
    for text in settled:
        assert [edit.name for edit in choose_edits(config) if edit.apply(text).times] == []


LONG_CHARS = 60_000
MAX_SECONDS = 3.0
"""Of processor time, for what takes some tenths of a second if it grows with the length alone."""


def check_cleaning_time(beginning: str, unit: str, end: str) -> None:
    """No text takes longer than its length says."""
    text = beginning + unit * (LONG_CHARS // max(1, len(unit))) + end
    cleaner, _ = _cleaner("plain", True, "keep", 8)
    began = time.thread_time()
    cleaner.clean([text])
    seconds = time.thread_time() - began
    assert seconds < MAX_SECONDS, f"{seconds:.1f} s"


# --- The tokenizer ---


@cache
def _reference(tokens: tuple[str, ...], cased: bool) -> Any:
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    return load_bert4keras().Tokenizer(ids, do_lower_case=not cased)


_KNOWN = {cased: Tokenizer(CASED_TOKENS if cased else TOKENS, cased) for cased in (False, True)}
_all_alphabets = "".join(ALPHABETS.values()) + "ABCTheThING"
tokenized = st.one_of(
    st.text(max_size=50),
    st.text(_all_alphabets, max_size=50),
    st.sampled_from(list(ALPHABETS.values())).flatmap(
        lambda alphabet: st.text(alphabet, max_size=50)
    ),
    st.tuples(
        st.sampled_from("aé가か1"), st.integers(195, 205), st.text(_all_alphabets, max_size=5)
    ).map(lambda parts: parts[0] * parts[1] + parts[2]),
    texts,
)


def check_tokens(text: str, cuts: Sequence[int], cased: bool) -> None:
    """Ids are those of bert4keras; every character has one fate; words begin where they are cut."""
    tokenizer = _KNOWN[cased]
    reference = _reference(tuple(CASED_TOKENS if cased else TOKENS), cased)
    lengths = np.diff([0, *sorted(min(cut, len(text)) for cut in cuts), len(text)])
    tokens = tokenizer.tokenize(text, lengths)
    assert tokens.ids.tolist() == reference.encode(text)[0][1:-1] == tokenizer.encode(text)
    fates = tokens.fates
    assert fates.in_tokens + fates.white_space + fates.dropped == len(text)
    assert 0 <= fates.unknown <= fates.in_tokens
    assert (np.diff(tokens.positions) >= 0).all()
    assert tokens.word_starts[:1].all()
    begins = np.concatenate([[0], np.cumsum(lengths)])
    words = np.searchsorted(begins, tokens.positions, side="right")
    begins_word = np.append(True, words[1:] != words[:-1])[: len(words)]
    assert not (tokens.word_starts & ~begins_word).any()


def check_offsets(text: str, cased: bool) -> None:
    """Offsets lie in the text, ascending, and what lies in none is white space or dropped."""
    tokenizer = _KNOWN[cased]
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text) and offsets.shape == (len(ids), 2)
    assert (offsets[:, 0] < offsets[:, 1]).all() and (np.diff(offsets, axis=0) >= 0).all()
    covered = np.zeros(len(text), np.bool_)
    for start, end in offsets.tolist():
        covered[start:end] = True
    fates = tokenizer.tokenize(text, np.array([len(text)])).fates
    assert covered.sum() <= fates.in_tokens + fates.dropped
    # A mark that goes behind a later one has the place of that one.
    assert covered.sum() >= fates.in_tokens or _changes_order(text)
    decoded = tokenizer.decode(ids)
    assert UNK_ID in ids or tokenizer.encode(decoded) == ids


def _changes_order(text: str) -> bool:
    parts = "".join(unicodedata.normalize("NFD", char) for char in text.lower())
    return parts != unicodedata.normalize("NFD", parts)


letters = st.text("ab中が1，é\u0301Σ", min_size=1, max_size=4)
entries = st.one_of(
    letters,
    letters.map("##{}".format),
    st.characters(exclude_categories=("Cs", "Zs", "Cc", "Zl", "Zp")),
    st.integers(190, 205).map("a".__mul__),
    st.integers(190, 205).map(lambda times: "##" + "b" * times),
)


def check_any_vocabulary(more: Sequence[str], text: str, cased: bool) -> None:
    """Ids are those of bert4keras, whatever the vocabulary."""
    tokens = list(dict.fromkeys([*SPECIAL_TOKENS, *more]))
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    reference = load_bert4keras_once().Tokenizer(ids, do_lower_case=not cased)
    assert Tokenizer(tokens, cased).encode(text) == reference.encode(text)[0][1:-1]


load_bert4keras_once = cache(load_bert4keras)

corpus_names = st.sampled_from(list(MIN_CHARS))
long_units = st.one_of(
    st.lists(pieces, min_size=1, max_size=4).map("".join),
    st.text(min_size=1, max_size=3),
)

TARGETS = (
    Target(
        "cleaning",
        check_cleaning,
        (
            *(st.lists(texts, max_size=4), corpus_names, st.booleans()),
            *(st.sampled_from(["keep", "simplified"]), st.sampled_from([1, 8])),
        ),
    ),
    Target("cleaning time", check_cleaning_time, (texts, long_units, texts)),
    Target(
        "tokens", check_tokens, (tokenized, st.lists(st.integers(0, 60), max_size=8), st.booleans())
    ),
    Target("offsets", check_offsets, (tokenized, st.booleans())),
    Target(
        "any vocabulary",
        check_any_vocabulary,
        (st.lists(entries, max_size=12), tokenized | st.text("ab中が1，é\u0301Σ"), st.booleans()),
    ),
)
