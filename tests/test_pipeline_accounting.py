"""Every character is accounted for: on the bundled corpus, and whatever the text is."""

import json
import re
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from in_process import TOKENIZER, make_documents, make_instances
from read_examples import token_ids_in

from pipeline import instances, ledger, packing
from pipeline.blocks import read_rows
from pipeline.config import MIN_CHARS, DocumentsConfig, InstancesConfig
from pipeline.corpora import CORPORA, LINE_FAULTS
from pipeline.errors import RunError
from pipeline.options import RunOptions
from pipeline.rules import Cleaner
from pipeline.rules.kinds import Substitution
from pipeline.run import run
from pipeline.segmentation import load_segmenter
from pipeline.stages import finish
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.special_tokens import CLS_ID, PAD_ID, SEP_ID
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab

SEQ_LENGTHS = [128, 512]

# --- Plain counts ---


def fate_of(character):
    """What BERT's basic tokenizer, told in plain words, makes of a character."""
    if character in " \t\n\r" or unicodedata.category(character) == "Zs":
        return ledger.WHITE_SPACE
    folded = unicodedata.normalize("NFD", character.lower())
    left = [
        code
        for code in folded
        if unicodedata.category(code) not in ("Mn", "Cc", "Cf") and code not in "\0\ufffd"
    ]
    return ledger.IN_INSTANCES if left else ledger.DROPPED


def count_plainly(kept, lost, cleaned):
    """Counts again what a ledger says.

    Args:
      kept: rows of documents/.
      lost: rows of rejected/.
      cleaned: rows of all documents before some of them went, or lost lines, as duplicates; but
        for copies they need not be there.
    """
    counts = Counter()
    texts_before = {row["doc_id"]: row["text"] for row in cleaned}
    for row in kept:
        place, text = (row["corpus"], row["split"]), row["text"]
        counts[*place, "kept", ""] += len(text)
        counts[*place, "documents", "kept"] += 1
        counts[*place, "documents", "read"] += 1
        counts[*place, "lengths", str(len(text).bit_length() - 1)] += 1
        for fate, number in Counter(map(fate_of, text)).items():
            if fate == ledger.IN_INSTANCES:
                for length in SEQ_LENGTHS:
                    counts[*place, fate, str(length)] += number
            else:
                counts[*place, fate, ""] += number
    for row in lost:
        place, reason = (row["corpus"], row["split"]), row["reason"]
        counts[*place, "documents", reason] += 1
        counts[*place, "documents", "read"] += 1
        if reason in ("duplicate", "duplicate_of_training"):
            counts[*place, "duplicates", "exact"] += len(texts_before[row["duplicate_of"]])
        elif reason.startswith("near_duplicate"):
            counts[*place, "duplicates", "near"] += len(row["text"])
        elif reason not in LINE_FAULTS:
            counts[*place, "rejected", reason] += len(row["text"])
    return Counter({key: number for key, number in counts.items() if number})


COUNTED = (
    *("documents", "kept", "lengths", "rejected"),
    *("in_instances", "white_space", "dropped_by_tokenizer"),
)


def only_counted(entries):
    """The entries that can be counted again from rows; of duplicates, those of whole documents."""
    return {
        key: number
        for key, number in entries.items()
        if number and (key[2] in COUNTED or (key[2] == "duplicates" and key[3] != "paragraph"))
    }


def sum_of_reading(entries, *place):
    """The characters that were read of a corpus, or of one split of it."""
    return sum(n for key, n in entries.items() if key[2] == "read" and key[: len(place)] == place)


# --- Arbitrary documents ---

FOOTER = "声明：本文由作者授权发布，仅供参考，转载请注明出处。"
ARTICLE = "".join(chr(0x4E00 + at * 7_919 % 20_000) for at in range(260))
PIECES = (
    *(
        "今天天气很好，我们去公园。",
        "the ",
        "The e",
        "12",
        "！！！！！",
        "。",
        "，",
        "\n",
        "\n，",
        " ",
    ),
    *("\u3000", "\r\n", "\t", "\0", "\x07", "\u200b", "\ufeff", "\ue000", "\ufffd", "\u0301"),
    *("e\u0301", "\u0327\u0301", "한국", "\u1112\u1161\u11ab", "각", "が", "か\u3099", "😀"),
    *("👨\u200d👩\u200d👧", "🇨🇳", "𠮷", "İ", "ΣΑΣ", "ﬁ", "ＡＢ１", "㎏", "\u0e33", "\u2028"),
    *("<br>", "<p>", "</p>", "<b>甲</b>", "&nbsp;", "&amp;lt;", "&#x4e00;", "&#0;", "&", "<"),
    *("<script>x</script>", "<!-- 注 -->", "<ruby>字<rt>zì</rt></ruby>", "（）", "《》", "（，）"),
    *("a@b.cn", "13800138000", "我 们 去 公 园 。 ", "锟斤拷", "`<br>`", FOOTER, f"\n{FOOTER}\n"),
    *(f"{ARTICLE}\n", ARTICLE.replace("丁", "一")),
)
texts = st.lists(
    st.sampled_from(PIECES)
    | st.sampled_from(PIECES)
    | st.text(st.characters(codec="utf-8"), max_size=4),
    max_size=12,
).map("".join)


@st.composite
def contents(draw):
    """Lines of files of all corpora and splits; many share a few texts."""
    pool = [*draw(st.lists(texts, min_size=1, max_size=4)), ARTICLE, f"{ARTICLE[:-4]}改"]
    value = st.sampled_from(pool) | texts
    broken = st.sampled_from([b"", b"[]", b"{", b'{"text": 1}', b"\xff", b'{"a": "\\ud800"}'])
    places = st.tuples(
        st.sampled_from(list(CORPORA)), st.sampled_from(["train", "held_out", "test", ""])
    )
    files = {}
    for corpus, split in draw(st.lists(places, min_size=2, max_size=4, unique=True)):
        names = CORPORA[corpus].text_fields + CORPORA[corpus].aid_fields
        line = st.fixed_dictionaries(dict.fromkeys(names, value))
        files[corpus, split, f"{corpus} {split}"] = draw(
            st.lists(line | line | line | broken, min_size=1, max_size=5)
        )
    return files


configs = st.builds(
    DocumentsConfig,
    unit_bytes=st.sampled_from([3_000, 1 << 20]),
    block_text_bytes=st.sampled_from([1, 300, 1 << 20]),
    held_out_fraction=st.just(0.5),
    min_chars=st.sampled_from([MIN_CHARS, dict.fromkeys(MIN_CHARS, 1)]),
    min_chinese_fraction=st.sampled_from([0, 0.2]),
    max_digit_sign_fraction=st.just(1),
    max_repeated_ngram_fraction=st.sampled_from([0.5, 1]),
    max_repeated_line_fraction=st.sampled_from([0.3, 1]),
    mask_personal_data=st.booleans(),
    rules_off=st.sampled_from([(), (), ("too_short",), ("white_space", "wide_spaces")]),
    min_paragraph_chars=st.sampled_from([3, 20, 50]),
    dedup=st.sampled_from(["near", "near", "exact"]),
)


def count_fields(corpus, lines):
    """The characters of the text fields of all lines that can be read."""
    fields = CORPORA[corpus].text_fields
    return sum(len(line[key]) for line in lines if isinstance(line, dict) for key in fields)


FULL = DocumentsConfig(min_chars=dict.fromkeys(MIN_CHARS, 1), min_paragraph_chars=3)


@settings(max_examples=60, deadline=None)
@given(contents(), configs)
@example({}, FULL)
@example({("plain", "train", "a"): [{"text": ""}, {"text": "\n"}, {"text": "甲"}]}, FULL)
@example(
    {
        ("plain", "held_out", "a"): [{"text": ARTICLE}, {"text": f"甲乙丙\n{FOOTER}"}],
        ("plain", "train", "b"): [{"text": f"{ARTICLE}改"}, {"text": f"丁戊己\n{FOOTER}"}],
        ("plain", "test", "c"): [{"text": ARTICLE}, {"text": f"{FOOTER}\n{FOOTER}"}],
    },
    FULL,
)
def test_every_character_of_any_documents_is_accounted_for(files, config):
    with tempfile.TemporaryDirectory() as folder:
        made = make_documents(Path(folder), files, config)
        results = make_instances(made, InstancesConfig(shard_text_bytes=1_000, dupe_factor=2))
        kept, lost, cleaned = made.kept, made.rejected, made.rows("work/cleaned")
        check_tokens_of_records(made, results)
    entries = sum((result.ledger for result in results), made.ledger)
    for name in {key[2] for key in entries} | {row["reason"] for row in lost}:
        event(name)
    assert ledger.find_imbalances(entries, SEQ_LENGTHS) == []
    assert only_counted(entries) == count_plainly(kept, lost, cleaned)
    for corpus in CORPORA:
        # Not by split, which some lines choose themselves.
        of_corpus = [count_fields(key[0], lines) for key, lines in files.items() if corpus in key]
        assert sum_of_reading(entries, corpus) == sum(of_corpus)
    check_kept(kept)


def check_kept(kept):
    assert max(Counter(row["text"] for row in kept).values(), default=1) == 1
    held_out = {row["text"] for row in kept if row["split"] != "train"}
    assert not held_out & {row["text"] for row in kept if row["split"] == "train"}
    segment = load_segmenter("rjieba")
    for row in kept:
        text = row["text"]
        assert text and segment([text]).sum() == len(text) + 1


def check_tokens_of_records(made, results):
    """All tokens of the kept documents, and no others, are in the records, at each length."""
    expected = Counter()
    for row in made.kept:
        expected.update(TOKENIZER.encode(row["text"]))
    for length in SEQ_LENGTHS:
        found = Counter()
        for result in results:
            for name in result.records:
                # All copies hold the same.
                if name.startswith(f"{length}/") and "/train-1-" not in name:
                    for token_ids in token_ids_in(Path(made.layout.tfrecords, name)):
                        found.update(token_ids)
        for special in (PAD_ID, CLS_ID, SEP_ID):
            del found[special]
        assert found == expected


@settings(max_examples=60, deadline=None)
@given(contents(), configs)
def test_cleaning_the_kept_documents_again_changes_nothing(files, config):
    with tempfile.TemporaryDirectory() as folder:
        kept = make_documents(Path(folder), files, config).kept
    for corpus in CORPORA:
        of_corpus = [row["text"] for row in kept if row["corpus"] == corpus]
        again = Cleaner(corpus, config).clean(of_corpus)
        assert again.texts == of_corpus and again.changes == []
        assert again.reasons == [None] * len(of_corpus)


def test_bytes_of_lines_that_cannot_be_read_are_counted_apart(tmp_path):
    broken = [b"{", b"[]  ", b'{"text": "\xff"}', b"", b"   "]
    files = {("plain", "train", "a"): [{"text": "今天天气很好，我们去公园。"}, *broken]}
    made = make_documents(tmp_path, files, DocumentsConfig())
    of_split = {key[2:]: n for key, n in made.ledger.items() if key[2] == "unreadable_bytes"}
    assert of_split == {
        ("unreadable_bytes", "not_json"): 1,
        ("unreadable_bytes", "not_an_object"): 4,
        ("unreadable_bytes", "invalid_utf8"): 13,
    }
    assert made.ledger["plain", "train", "documents", "read"] == 4
    assert made.ledger["plain", "train", "read", ""] == 13
    assert ledger.find_imbalances(made.ledger) == []


# --- The bundled corpus ---

SPLITS = {"train": "train", "valid": "held_out", "testa": "test"}
"""By what the names of upstream's files say."""


def options_for(corpus, folder, **changes):
    (folder / "vocab.txt").write_bytes(
        format_vocab(select_tokens(TokenCounts.empty(), lambda words, size: []))
    )
    return RunOptions(
        **{
            "input_dir": str(corpus),
            "output_dir": str(folder / "out"),
            "vocab": str(folder / "vocab.txt"),
            "documents": DocumentsConfig(unit_bytes=20_000, block_text_bytes=2_000),
            "instances": InstancesConfig(shard_text_bytes=40_000),
            "quiet": True,
            **changes,
        }
    )


@pytest.mark.slow
def test_ledger_of_the_bundled_corpus_is_what_plain_counting_finds(bundled_corpus, tmp_path):
    run(options_for(bundled_corpus, tmp_path))
    out = tmp_path / "out"
    kept, lost = (
        [row for part in (out / folder).glob("part-*") for row in read_rows(str(part))]
        for folder in ("documents", "rejected")
    )
    read = Counter()
    for path in bundled_corpus.rglob("*"):
        if path.is_file():
            # No line of wiki, whose files name no split, is held out: there are too few.
            split = next((SPLITS[name] for name in SPLITS if name in path.name), "train")
            corpus = path.relative_to(bundled_corpus).parts[0]
            lines = [json.loads(line) for line in path.read_bytes().splitlines()]
            read[corpus, split] += count_fields(corpus, lines)
    written = json.loads((out / "ledger.json").read_bytes())
    entries = entries_of(written)
    assert only_counted(entries) == count_plainly(kept, lost, kept)
    assert {place: sum_of_reading(entries, *place) for place in read} == read
    assert sum_of_reading(entries) == sum(read.values()) > 50_000
    assert ledger.find_imbalances(Counter(entries), SEQ_LENGTHS) == []
    assert entries["news2016zh", "train", "duplicates", "paragraph"] == 160
    tokenizer = Tokenizer(parse_vocab((out / "vocab.txt").read_bytes(), "vocab.txt"))
    tokens = Counter()
    for row in kept:
        tokens[row["corpus"], row["split"]] += len(tokenizer.encode(row["text"]))
    assert {place: entries[*place, "tokens", ""] for place in tokens} == tokens
    assert written["not_read"] == {
        "baike2018qa": ["category"],
        "news2016zh": ["keywords", "source", "time"],
        "translation2019zh": ["english"],
        "webtext2019zh": ["topic", "star", "answerer_tags"],
        "wiki2019zh": ["title", "url"],
    }


def entries_of(written):
    """The entries that ledger.json holds."""
    entries = {}
    for corpus, splits in written["corpora"].items():
        for split, accounts in splits.items():
            for account, figures in accounts.items():
                if isinstance(figures, int):
                    figures = {"": figures}
                elif isinstance(figures, list):
                    figures = {str(power): number for power, number in enumerate(figures)}
                for item, number in figures.items():
                    entries[corpus, split, account, item] = number
    return entries


# --- Accounting that is wrong fails the run ---


def lie_about_edits(monkeypatch):
    """A white space that became another counts as one more that went."""
    apply = Substitution.apply

    def miscount(edit, text):
        applied = apply(edit, text)
        wrong = edit.name == "wide_spaces" and applied.times
        return applied._replace(removed=applied.removed + 1) if wrong else applied

    monkeypatch.setattr(Substitution, "apply", miscount)


def lose_a_document(monkeypatch):
    """The last document of a unit of wiki is counted as kept, but its characters are not."""
    account = finish._UnitFinishing._account_kept

    def miscount(finishing, ranks, chars):
        account(finishing, ranks, chars)
        key = finishing._unit.corpus, "train", "kept", ""
        if key[0] == "wiki2019zh" and finishing._unit.ordinal == 0:
            finishing._ledger[key] -= int(chars[-1])

    monkeypatch.setattr(finish._UnitFinishing, "_account_kept", miscount)


def cut_a_token_off(monkeypatch):
    """The first sequence of 512 of each shard ends one token too early."""
    pack = packing.pack_stream

    def cut(stream, length):
        packed = pack(stream, length)
        if length == 512:
            packed.lengths[0] -= 1
        return packed

    monkeypatch.setattr(instances.packing, "pack_stream", cut)


def overlook_a_character(monkeypatch):
    """The tokenizer finds white space everywhere but once."""
    tokenize = instances.segment_and_tokenize

    def miscount(*arguments):
        stream, fates = tokenize(*arguments)
        return stream, fates._replace(white_space=fates.white_space - 1)

    monkeypatch.setattr(instances, "segment_and_tokenize", miscount)


FIGURE = re.compile(r"(?<= )\d[\d,]*(?= )")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "said", "has_documents"),
    [
        (
            lie_about_edits,
            r"news2016zh, train: [\d,]+ characters were read or added, but [\d,]+ removed, "
            r"rejected, duplicates or kept\n",
            False,
        ),
        (
            lose_a_document,
            r"wiki2019zh, train: [\d,]+ characters were read or added, but [\d,]+ removed, "
            r"rejected, duplicates or kept\n",
            False,
        ),
        (
            cut_a_token_off,
            r"webtext2019zh, test: [\d,]+ characters were kept, but [\d,]+ are in instances of "
            r"length 512 and [\d,]+ white space or dropped\n",
            True,
        ),
        (
            overlook_a_character,
            r"baike2018qa, held_out: [\d,]+ characters were kept, but [\d,]+ are in instances of "
            r"length 128 and [\d,]+ white space or dropped\n",
            True,
        ),
    ],
)
def test_accounting_that_does_not_balance_fails_the_run(
    bundled_corpus, tmp_path, monkeypatch, break_it, said, has_documents
):
    options = options_for(bundled_corpus, tmp_path)
    with monkeypatch.context() as patched:
        break_it(patched)
        with pytest.raises(RunError) as raised:
            run(options)
    message = str(raised.value)
    assert message.startswith("the ledger does not balance:\n")
    found = re.search(said, message)
    assert found
    figures = [int(figure.replace(",", "")) for figure in FIGURE.findall(found[0])]
    came, went, *_ = figures
    beside = figures[3] if len(figures) > 2 else 0  # behind the length of the sequences
    assert came != went + beside
    assert message.endswith("\nstart afresh with --overwrite, and please report this")
    out = tmp_path / "out"
    assert (out / "documents/manifest.json").exists() == has_documents
    assert not (out / "tfrecords/dataset_info.json").exists()
    assert not (out / "ledger.json").exists() and not (out / "report.html").exists()
    # With the fault mended, starting afresh makes all of it.
    run(options_for(bundled_corpus, tmp_path, overwrite=True))
    assert (out / "tfrecords/dataset_info.json").exists()
