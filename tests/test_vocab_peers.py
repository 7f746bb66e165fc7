"""The ids of our tokenizer beside those of bert4keras, tensorflow-text and Hugging Face."""

import json
import string
import unicodedata
import warnings
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks import tokenizers
from benchmarks.tokenizers import (
    PEERS,
    compare,
    encode_together,
    find_odd_characters,
    find_reasons,
)
from pipeline.blocks import FrameWriter, encode_document
from pipeline.config import DocumentsConfig
from pipeline.rules import Cleaner
from vocab import Tokenizer
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

GBK = [
    char
    for high in range(0x81, 0xFF)
    for low in range(0x40, 0xFF)
    for char in bytes([high, low]).decode("gbk", "ignore")
    if len(char) == 1 and unicodedata.category(char) not in ("Cc", "Co")
]
KANA = [chr(code) for code in (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB))]
OTHERS = [*"éÅñüßøœİıςσаЖ한국각", *"😀🤣🥰👍🏽❤\ufe0f", *"ｶﾊﾞ｡㎡①²½™", *"e\u0301\u0323\u3099\u20dd"]
SPACES = [*" \n\t\u3000\u00a0"]
PRINTABLE = [chr(code) for code in range(33, 127)]
USUAL = [*dict.fromkeys([*PRINTABLE, *GBK, *KANA, *OTHERS, *SPACES])]
PIECES = ["the", "##ing", "##20", "20", "The", "##able", "un", "ok", "É", "##É", "Ab", "##aB"]


def make_vocabulary():
    letters = [char for char in USUAL if not char.isspace()]
    folded = [unicodedata.normalize("NFD", char.lower()) for char in letters]
    chars = dict.fromkeys([*letters, *"".join(folded)])
    # Not all, so that there is [UNK].
    chars = [char for number, char in enumerate(chars) if number % 7 or char.isascii()]
    continuing = ["##" + char for number, char in enumerate(chars) if number % 5 or char.isascii()]
    return list(dict.fromkeys([*SPECIAL_TOKENS, *chars, *continuing, *PIECES, "##か", "##\u2028"]))


TOKENS = make_vocabulary()
SLOW_PEERS = ["tensorflow-text", "hugging-face"]


@pytest.fixture(scope="module")
def ours():
    return {cased: Tokenizer(TOKENS, cased) for cased in (False, True)}


@pytest.fixture(scope="module")
def peers():
    loaded = {}

    def load(name, cased=False):
        if (name, cased) not in loaded:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TensorFlow and transformers on being imported
                loaded[name, cased] = PEERS[name](TOKENS, cased)
        return loaded[name, cased]

    return load


@pytest.fixture(scope="module")
def texts(bundled_corpus):
    """Every field of every line of the bundled corpus, cleaned."""
    paths = sorted(path for path in bundled_corpus.rglob("*") if path.is_file())
    lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    fields = [str(field) for line in lines for field in json.loads(line).values()]
    assert len(fields) > 1000
    return Cleaner("plain", DocumentsConfig()).clean(fields).texts


@pytest.mark.slow
@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
@pytest.mark.parametrize("name", ["bert4keras", *SLOW_PEERS])
def test_peer_gives_equal_ids_for_the_bundled_corpus(ours, peers, texts, name, cased):
    found = compare(texts, ours[cased], peers(name, cased))
    assert (found.documents, found.differing, found.reasons) == (len(texts), 0, Counter())


@pytest.mark.slow
@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
@pytest.mark.parametrize("name", SLOW_PEERS)
def test_peer_gives_equal_ids_for_each_usual_character(ours, peers, name, cased):
    probes = [f"a{char}b，{char}" for char in USUAL]
    found = peers(name, cased)(probes)
    different = [
        char
        for char, probe, ids in zip(USUAL, probes, found, strict=True)
        if ours[cased].encode(probe) != ids
    ]
    assert different == []


@pytest.mark.slow
@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
@pytest.mark.parametrize("name", SLOW_PEERS)
@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from([char for char in USUAL if char != "Σ"]), max_size=40)
    | st.text("abcheTINGun0219 ，。中国éÉİ\u0301\u0323[]#'-", max_size=40)
)
@example("[MASK] [CLS]a")
@example("##a")
@example("")
def test_peer_gives_equal_ids_for_usual_text(ours, peers, name, cased, text):
    assert peers(name, cased)([text]) == [ours[cased].encode(text)]


@pytest.mark.slow
@pytest.mark.parametrize(("cased", "longer"), [(False, {"❤\ufe0f"}), (True, set())])
def test_hugging_face_gives_equal_offsets_but_for_dropped_accents(ours, texts, cased, longer):
    tokenizer = tokenizers.make_bert_tokenizer_fast(TOKENS, cased)
    found = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    different = set()
    for text, ids, spans in zip(texts, found.input_ids, found.offset_mapping, strict=True):
        our_ids, offsets = ours[cased].encode_with_offsets(text)
        assert our_ids == ids
        assert offsets[:, 0].tolist() == [start for start, _ in spans]
        pairs = zip(offsets.tolist(), spans, strict=True)
        different |= {text[start:end] for (start, end), span in pairs if end != span[1]}
    assert different == longer


# --- Where they differ: docs/tokenizer.md ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "equal"),
    [
        ("tensorflow-text", "a" * 200, True),
        ("tensorflow-text", "a" * 201, True),
        ("tensorflow-text", "か" * 66, True),
        ("tensorflow-text", "か" * 67, False),
        ("tensorflow-text", "ΑΣ", True),
        ("tensorflow-text", "a\u200bb\ufffdc", True),
        ("tensorflow-text", "a\x07b", False),
        ("tensorflow-text", "a\u2028b", False),
        ("tensorflow-text-defaults", "中国。Ab", True),
        ("tensorflow-text-defaults", "a" * 100, True),
        ("tensorflow-text-defaults", "a" * 101, False),
        ("tensorflow-text-defaults", "，", False),
        ("tensorflow-text-defaults", "（", False),
        ("tensorflow-text-defaults", "①", False),
        ("hugging-face", "a" * 200, True),
        ("hugging-face", "a" * 201, True),
        ("hugging-face", "か" * 200, True),
        ("hugging-face", "[MASK]", True),
        ("hugging-face", "a\u200bb\x07c\ufffdd\0e", True),
        ("hugging-face", "Σ", True),
        ("hugging-face", "aΣ", False),
        ("hugging-face", "a\ue000b", False),
        ("hugging-face", "a\U0002b820b", False),
        ("hugging-face", "a\u2e44b", False),
        ("hugging-face", "a\u07fdb", False),
        ("hugging-face", "a\u0890b", False),
        ("hugging-face", "a\u1b4eb", True),
        ("hugging-face", "a\u2028b", True),
        ("tensorflow-text", "a\u1b4eb", False),
        ("tensorflow-text", "a\ue000b\U0002b820c\u2e44d\u07fde", True),
        ("hugging-face-defaults", "a" * 100, True),
        ("hugging-face-defaults", "a" * 101, False),
        ("hugging-face-defaults", "[MASK]", False),
    ],
)
def test_peer_differs_only_where_documented(ours, peers, name, text, equal):
    assert (peers(name)([text]) == [ours[False].encode(text)]) == equal


# --- The comparison itself ---


def misread(ours):
    """Returns a tokenizer that takes x for y and, where aaa is, keeps 150 ids."""

    def encode(texts):
        return [
            ours.encode(text.replace("x", "y"))[: 150 if "aaa" in text else None] for text in texts
        ]

    return encode


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("中x", {"U+0078 LATIN SMALL LETTER X"}),
        ("a" * 160, {"a word of over 100 bytes"}),
        ("b " + "aaa " * 60, {"other"}),
    ],
)
def test_find_reasons_names_what_makes_the_difference(ours, text, reasons):
    pair = ours[False], misread(ours[False])
    assert find_reasons(text, find_odd_characters(text, *pair), *pair) == reasons


def test_find_reasons_shows_the_part_that_differs(ours):
    def encode(texts):
        return [ours[False].encode(text.replace("ok", "no")) for text in texts]

    assert find_reasons("中 ok国 ok", set(), ours[False], encode) == {"other: 'ok国'"}


def test_compare_counts_documents_characters_and_reasons(ours):
    found = compare(["中x", "x", "国"], ours[False], misread(ours[False]))
    assert found[:3] == (3, 4, 2)
    assert found.reasons == {"U+0078 LATIN SMALL LETTER X": 2}
    assert min(found[4:]) >= 0
    assert (found + found)[:4] == (6, 8, 4, {"U+0078 LATIN SMALL LETTER X": 4})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text() | st.text("aΣ中 \u0301\u200b한", max_size=4), min_size=1, max_size=6))
def test_encode_together_equals_encode_one_by_one(ours, texts):
    assert encode_together(texts, ours[False]) == [ours[False].encode(text) for text in texts]


@pytest.fixture
def run(tmp_path):
    """Returns the folder of two documents files, and a vocabulary."""
    for part, text in enumerate(["中国 ok，", "Ab" * 101]):
        with (tmp_path / f"part-{part:05}-of-00002.jsonl.zst").open("wb") as file:
            writer = FrameWriter(file, 1 << 20)
            writer.write_lines([encode_document(f"{part}", "wiki2019zh", "train", "1", text)])
            writer.close()
    (tmp_path / "vocab.txt").write_bytes(format_vocab(TOKENS))
    return str(tmp_path), str(tmp_path / "vocab.txt")


@pytest.mark.slow
def test_main_prints_documents_that_differ(run, capfd):
    tokenizers.main([*run, "--peers=bert4keras"])
    round_trip, cost, comparison = capfd.readouterr().out.splitlines()
    assert round_trip == ("round trip: 0 of 0 documents differ; 2 with [UNK] are not compared")
    assert cost.startswith("tokenizing takes ")
    assert comparison.startswith("bert4keras: 0 of 2 documents differ; CPU seconds per million ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers=bert4keras,spacy"], "--peers: spacy is none of bert4keras, tensorflow-text"),
        ([], "has no *.jsonl.zst"),
    ],
)
def test_main_names_what_is_wrong(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        tokenizers.main([str(tmp_path), "vocab.txt", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_format_comparison_shows_the_most_common_reasons():
    reasons = Counter({f"reason {letter}": 3 for letter in string.ascii_lowercase[:13]})
    found = tokenizers.Comparison(1000, 2_000_000, 40, reasons + Counter(first=4), 1.0, 5.0)
    lines = tokenizers.format_comparison("bert4keras", found).splitlines()
    assert lines[0] == (
        "bert4keras: 40 of 1,000 documents differ; CPU seconds per million characters: ours "
        "0.500, theirs 2.500"
    )
    assert lines[1:3] == ["  4  first", "  3  reason a"]
    assert (len(lines), lines[-1]) == (14, "  and 2 other reasons")
