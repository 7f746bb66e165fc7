import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab import derivation
from vocab.derivation import derive_tokens, explain_difference
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import digest_vocab

KEPT = ["的", "。", "#", "~", "a", "the", "##a", "##ing", "か", "##か", "€", "##㎡", "\u2028", "ａ"]
LEFT_OUT = [
    "##的",
    "中国",
    "a中",
    "中a",
    "##a中",
    "##。",
    "a.b",
    "...",
    "##-",
    "①。",
    "##，",
    "[x]",
]


def numbers(count):
    return [str(number) for number in range(count)]


def test_derive_tokens_keeps_what_the_tokenizer_can_emit_in_order():
    ordinary = [token for pair in zip(KEPT, LEFT_OUT, strict=False) for token in pair]
    ordinary += KEPT[len(LEFT_OUT) :]
    assert derive_tokens([*SPECIAL_TOKENS, *ordinary]) == [*SPECIAL_TOKENS, *KEPT]


@pytest.mark.parametrize("token", KEPT)
def test_derive_tokens_keeps_reachable_token(token):
    assert derive_tokens([*SPECIAL_TOKENS, token]) == [*SPECIAL_TOKENS, token]


@pytest.mark.parametrize("token", LEFT_OUT)
def test_derive_tokens_leaves_unreachable_token_out(token):
    assert derive_tokens([*SPECIAL_TOKENS, token]) == list(SPECIAL_TOKENS)


@given(st.lists(st.text(min_size=1, max_size=4)))
def test_derive_tokens_of_derived_tokens_changes_nothing(ordinary):
    derived = derive_tokens([*SPECIAL_TOKENS, *ordinary])
    assert derive_tokens(derived) == derived
    assert derived[:106] == list(SPECIAL_TOKENS)


def test_expected_vocabulary_is_that_of_the_released_t5s():
    assert derivation.BERT_VOCAB_SIZE == 21_128
    assert derivation.DERIVED_SHA256 == (
        "9b37aa2885b9a417bb666c204a0f5e55adb97e202a76b6176557282468fc0499"
    )


def test_explain_difference_expected_digest_gives_none(monkeypatch):
    derived = [*SPECIAL_TOKENS, "的"]
    monkeypatch.setattr(derivation, "DERIVED_SHA256", digest_vocab(derived))
    assert explain_difference([*derived, "##的"], derived) is None


@pytest.mark.parametrize(
    ("bert_size", "derived_size"), [(108, 107), (21_128, 13_685), (21_127, 13_686)]
)
def test_explain_difference_other_number_of_entries_names_both_numbers(bert_size, derived_size):
    assert explain_difference(numbers(bert_size), numbers(derived_size)) == (
        f"it has {bert_size} entries of which {derived_size} can be emitted; Google's Chinese "
        "BERT has 21128 of which 13686 can"
    )


def test_explain_difference_other_entries_names_both_digests():
    derived = numbers(13_686)
    assert explain_difference(numbers(21_128), derived) == (
        f"it has the right number of entries, but their sha256 is {digest_vocab(derived)}, "
        "not 9b37aa2885b9a417bb666c204a0f5e55adb97e202a76b6176557282468fc0499"
    )
