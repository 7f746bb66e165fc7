import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab import special_tokens, vocab_file
from vocab.special_tokens import SPECIAL_TOKENS

SPECIAL = list(SPECIAL_TOKENS)

tokens_without_space = st.text(
    st.characters(codec="utf-8").filter(lambda char: not char.isspace()), min_size=1, max_size=5
)


def lines(*tokens):
    return "".join(token + "\n" for token in tokens).encode()


def swapped(first, second):
    turned = list(SPECIAL)
    turned[first], turned[second] = turned[second], turned[first]
    return turned


def test_special_tokens_stand_at_the_ids_of_chinese_bert():
    expected = ["[PAD]"]
    expected += [f"[unused{number}]" for number in range(1, 100)]
    expected += ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "<S>", "<T>"]
    assert expected == SPECIAL
    assert special_tokens.PAD_ID == 0
    assert special_tokens.UNK_ID == 100
    assert special_tokens.CLS_ID == 101
    assert special_tokens.SEP_ID == 102
    assert special_tokens.MASK_ID == 103
    assert special_tokens.FIRST_ORDINARY_ID == 106
    assert special_tokens.VOCAB_SIZE == 13_686


@given(st.lists(tokens_without_space, unique=True).filter(lambda t: not set(t) & set(SPECIAL)))
def test_parse_vocab_undoes_format_vocab(ordinary):
    tokens = SPECIAL + ordinary
    data = vocab_file.format_vocab(tokens)
    assert data == lines(*tokens)
    assert vocab_file.parse_vocab(data, "v.txt", len(tokens)) == tokens


def test_parse_vocab_without_last_line_feed_gives_the_same_tokens():
    assert vocab_file.parse_vocab(lines(*SPECIAL, "的")[:-1], "v.txt") == [*SPECIAL, "的"]


def test_parse_vocab_line_separator_entry_is_one_token():
    assert vocab_file.parse_vocab(lines(*SPECIAL, "\u2028", "##\u2028", "的"), "v.txt", 109) == [
        *SPECIAL,
        "\u2028",
        "##\u2028",
        "的",
    ]


def test_digest_vocab_is_sha256_of_the_bytes():
    # printf '的\n##a\n' | sha256sum
    expected = "8682405e5667fe4b7f43f339872579ddfdaea5ef12dc0161cf3a66fbb898ded3"
    assert vocab_file.digest_vocab(["的", "##a"]) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            lines(*SPECIAL, "的", "a", "的"),
            "v.txt, line 109: '的' stands in line 107 already; every token must stand once",
            id="duplicate",
        ),
        pytest.param(
            lines(*SPECIAL, "[SEP]"),
            "v.txt, line 107: '[SEP]' stands in line 103 already; every token must stand once",
            id="duplicate-special-token",
        ),
        pytest.param(
            lines(*SPECIAL, "的", "", "a"),
            "v.txt, line 108: '' is empty or has white space; one token a line",
            id="empty-line",
        ),
        pytest.param(
            lines(*SPECIAL, "的", ""),
            "v.txt, line 108: '' is empty or has white space; one token a line",
            id="empty-last-line",
        ),
        pytest.param(
            lines(*SPECIAL, "的").replace(b"\n", b"\r\n"),
            "v.txt, line 1: ends as on Windows (CR LF); save it with plain line feeds",
            id="crlf",
        ),
        pytest.param(
            lines(*SPECIAL, "的\r"),
            "v.txt, line 107: ends as on Windows (CR LF); save it with plain line feeds",
            id="crlf-in-one-line",
        ),
        pytest.param(
            b"\xef\xbb\xbf" + lines(*SPECIAL, "的"),
            "v.txt, line 1: begins with a byte-order mark (UTF-8); save it as plain UTF-8",
            id="byte-order-mark",
        ),
        pytest.param(
            "".join(token + "\n" for token in SPECIAL).encode("utf-16"),
            "v.txt, line 1: begins with a byte-order mark (UTF-16); save it as plain UTF-8",
            id="utf-16",
        ),
        pytest.param(
            lines(*SPECIAL, "的") + "中\n".encode("gb18030"),
            "v.txt, line 108: is not UTF-8 (invalid continuation byte)",
            id="gb18030",
        ),
        pytest.param(
            lines(*SPECIAL, "的") + b"\xff\n",
            "v.txt, line 108: is not UTF-8 (invalid start byte)",
            id="not-utf-8",
        ),
        pytest.param(
            lines(*SPECIAL, "的 是"),
            "v.txt, line 107: '的 是' is empty or has white space; one token a line",
            id="blank-inside",
        ),
        pytest.param(
            lines(*SPECIAL, "a\tb"),
            r"v.txt, line 107: 'a\tb' is empty or has white space; one token a line",
            id="tab-inside",
        ),
        pytest.param(
            lines(*SPECIAL, "的", " "),
            "v.txt, line 108: ' ' is empty or has white space; one token a line",
            id="only-a-blank",
        ),
        pytest.param(
            b"",
            "v.txt, line 1: must be [PAD], which is missing; the first 106 lines are those of "
            "Chinese BERT",
            id="empty-file",
        ),
        pytest.param(
            lines(*SPECIAL[:103], *SPECIAL[104:], "的"),
            "v.txt, line 104: must be [MASK], which is missing; the first 106 lines are those of "
            "Chinese BERT",
            id="missing-special-token",
        ),
        pytest.param(
            lines(*SPECIAL[:105]),
            "v.txt, line 106: must be <T>, which is missing; the first 106 lines are those of "
            "Chinese BERT",
            id="missing-last-special-token",
        ),
        pytest.param(
            lines(*swapped(100, 101), "的"),
            "v.txt, line 101: must be [UNK], which stands in line 102; the first 106 lines are "
            "those of Chinese BERT",
            id="special-tokens-swapped",
        ),
        pytest.param(
            lines("的", *SPECIAL),
            "v.txt, line 1: must be [PAD], which stands in line 2; the first 106 lines are those "
            "of Chinese BERT",
            id="special-tokens-one-line-late",
        ),
    ],
)
def test_parse_vocab_bad_file_raises_and_names_line_and_reason(data, message):
    with pytest.raises(ValueError) as caught:
        vocab_file.parse_vocab(data, "v.txt")
    assert str(caught.value) == message


# Any reader in text mode takes it for the end of a line, and every later id is one too high.
def test_parse_vocab_carriage_return_inside_raises_and_names_line():
    with pytest.raises(ValueError, match=r"^v\.txt, line 107: "):
        vocab_file.parse_vocab(lines(*SPECIAL, "a\rb"), "v.txt")


@pytest.mark.parametrize(
    ("size", "what"),
    [
        (0, "line 1: is too much"),
        (107, "line 108: is too much"),
        (109, "line 109: is missing"),
        (13_686, "line 109: is missing"),
    ],
)
def test_parse_vocab_wrong_size_raises_and_names_the_line_and_both_sizes(size, what):
    with pytest.raises(ValueError) as caught:
        vocab_file.parse_vocab(lines(*SPECIAL, "的", "a"), "v.txt", size)
    assert str(caught.value) == (f"v.txt, {what}; the file has 108 entries, {size} are needed")
