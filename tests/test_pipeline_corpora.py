import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpora import (
    CORPORA,
    LINE_FAULTS,
    Line,
    LineFault,
    normalise_name,
    parse_line,
    recognise_keys,
    recognise_name,
    split_of_name,
)
from pipeline.records import HELD_OUT, TEST, TRAIN

RECORDS = {
    "wiki2019zh": {"id": "53", "url": "https://zh.wikipedia.org/wiki?curid=53", "title": "经济学"}
    | {"text": "经济学\n\n经济学是一门…"},
    "news2016zh": {"news_id": "610130831", "keywords": "导游", "title": "题", "desc": "述"}
    | {"source": "网", "time": "03-21 12:00", "content": "文"},
    "baike2018qa": {"qid": "qid_2540946131115409959", "category": "生活", "title": "题"}
    | {"desc": "述", "answer": "答"},
    "webtext2019zh": {"qid": 65618973, "title": "题", "desc": "述", "topic": "自由职业"}
    | {"star": 3, "content": "文", "answer_id": 724331, "answerer_tags": "人生"},
    "translation2019zh": {"english": "text", "chinese": "文"},
    "plain": {"text": "文"},
}


def line_of(corpus, **changes):
    return json.dumps(RECORDS[corpus] | changes, ensure_ascii=False).encode()


def line_without(corpus, key):
    return json.dumps({k: v for k, v in RECORDS[corpus].items() if k != key}).encode()


@pytest.mark.parametrize(
    ("path", "corpus"),
    [
        ("wiki_zh/AA/wiki_00", "wiki2019zh"),
        ("wiki_zh/AM/wiki_73", "wiki2019zh"),
        ("AA/wiki_00", "wiki2019zh"),
        ("wiki_00", "wiki2019zh"),
        ("news2016zh_train.json", "news2016zh"),
        ("new2016zh/news2016zh_valid.json", "news2016zh"),
        ("baike2018qa/baike_qa_train.json", "baike2018qa"),
        ("baike_qa_valid.json", "baike2018qa"),
        ("webtext2019zh/web_text_zh_train.json", "webtext2019zh"),
        ("web_text_zh_testa.json", "webtext2019zh"),
        ("web_text_zh_valid.json", "webtext2019zh"),
        ("translation2019zh/translation2019zh_train.json", "translation2019zh"),
        ("translation2019zh_valid.json", "translation2019zh"),
    ],
)
def test_recognise_name_knows_paths_of_upstream(path, corpus):
    assert recognise_name(path) is CORPORA[corpus]


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "wiki_zh/AA/wiki_00.bz2",
        "wiki_zh/AA/._wiki_00",
        "my_wiki_00",
        "wiki_zh/AA/wiki_",
        "xnews2016zh_train.json",
        "news2016zh_train.json.tmp",
        "baike_qa_train.jsonl",
        "web_text_zh.json",
        "text.jsonl",
        "",
    ],
)
def test_recognise_name_knows_no_other_path(path):
    assert recognise_name(path) is None


@pytest.mark.parametrize("corpus", RECORDS)
def test_recognise_keys_knows_records_of_every_corpus(corpus):
    assert recognise_keys(RECORDS[corpus]) is CORPORA[corpus]


@pytest.mark.parametrize(
    ("keys", "corpus"),
    [
        ({"text", "id"}, "plain"),
        ({"text", "title"}, "plain"),
        ({"text", "url", "title", "id", "lang"}, "wiki2019zh"),
        ({"title", "desc", "answer", "content"}, "baike2018qa"),
    ],
)
def test_recognise_keys_takes_first_corpus_whose_keys_are_all_there(keys, corpus):
    assert recognise_keys(keys) is CORPORA[corpus]


@pytest.mark.parametrize("keys", [set(), {"title", "desc"}, {"english"}, {"content"}, {"Text"}])
def test_recognise_keys_knows_no_other_keys(keys):
    assert recognise_keys(keys) is None


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("news2016zh_train.json", TRAIN),
        ("a/news2016zh_valid.json", HELD_OUT),
        ("web_text_zh_testa.json", TEST),
        ("mine.test.jsonl", TEST),
        ("mine-dev.jsonl", HELD_OUT),
        ("train", TRAIN),
        ("TRAIN.JSON", TRAIN),
        ("x_valid.json.txt", HELD_OUT),
        ("wiki_zh/AA/wiki_00", ""),
        ("train/part-0.jsonl", ""),
        ("constrain.json", ""),
        ("training.json", ""),
        ("train_00.json", ""),
        ("web_text_zh_testb.json", ""),
        ("", ""),
    ],
)
def test_split_of_name_reads_the_end_of_the_last_part(path, split):
    assert split_of_name(path) == split


@pytest.mark.parametrize(
    ("path", "corpus", "expected"),
    [
        ("wiki_zh/AA/wiki_00", "wiki2019zh", "AA/wiki_00"),
        ("deep/er/wiki_zh/AB/wiki_00", "wiki2019zh", "AB/wiki_00"),
        ("wiki_00", "wiki2019zh", "wiki_00"),
        ("dump/zh.jsonl", "wiki2019zh", "dump/zh.jsonl"),
        ("new2016zh/news2016zh_train.json", "news2016zh", "news2016zh_train.json"),
        ("mine/news.json", "news2016zh", "mine/news.json"),
        ("mine/deep/a.jsonl", "plain", "mine/deep/a.jsonl"),
    ],
)
def test_normalise_name_keeps_what_names_a_file_wherever_it_lies(path, corpus, expected):
    assert normalise_name(path, CORPORA[corpus]) == expected


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        ("wiki2019zh", Line("53", ["经济学\n\n经济学是一门…"], {"title": "经济学"})),
        ("news2016zh", Line("610130831", ["题", "述", "文"], {})),
        ("baike2018qa", Line("qid_2540946131115409959", ["题", "述", "答"], {})),
        ("webtext2019zh", Line("65618973-724331", ["题", "述", "文"], {})),
        ("translation2019zh", Line("", ["文"], {"english": "text"})),
        ("plain", Line("", ["文"], {})),
    ],
)
def test_parse_line_reads_text_and_aid_fields_of_every_corpus_in_order(corpus, expected):
    assert parse_line(line_of(corpus), CORPORA[corpus]) == expected


def test_parse_line_takes_fields_in_the_order_of_the_corpus_not_of_the_line():
    line = json.dumps(dict(reversed(RECORDS["news2016zh"].items()))).encode()
    assert parse_line(line, CORPORA["news2016zh"]) == Line(*("610130831", ["题", "述", "文"], {}))


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"desc": ""}, ["题", "", "文"]),
        ({"title": "", "desc": ""}, ["", "", "文"]),
        ({"desc": " "}, ["题", " ", "文"]),
    ],
)
def test_parse_line_keeps_the_places_of_empty_fields(changes, values):
    assert parse_line(line_of("news2016zh", **changes), CORPORA["news2016zh"]).values == values


@pytest.mark.parametrize(
    ("corpus", "field"),
    [(corpus.name, field) for corpus in CORPORA.values() for field in corpus.aid_fields],
)
@pytest.mark.parametrize("value", [None, 17, ["经济学"]])
def test_parse_line_takes_only_texts_as_aids_and_needs_none(corpus, field, value):
    expected = parse_line(line_of(corpus), CORPORA[corpus])._replace(aids={})
    assert parse_line(line_of(corpus, **{field: value}), CORPORA[corpus]) == expected
    assert parse_line(line_without(corpus, field), CORPORA[corpus]) == expected


def test_names_of_corpora_fit_into_names_of_files():
    assert all(re.fullmatch(r"\w+", name) for name in CORPORA)


def test_plain_is_the_last_corpus():
    assert list(CORPORA)[-1] == "plain"


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_documented_key_is_text_or_aid_or_id_or_not_read(corpus):
    layout = CORPORA[corpus]
    known = [*layout.text_fields, *layout.aid_fields, *layout.id_fields, *layout.not_read]
    assert sorted(known) == sorted(set(known))
    assert set(RECORDS[corpus]) <= set(known)


@pytest.mark.parametrize(
    ("record", "upstream_id"),
    [
        ({"text": "文", "id": "a-1"}, "a-1"),
        ({"text": "文", "id": 12}, "12"),
        ({"text": "文"}, ""),
    ],
)
def test_parse_line_of_plain_lines_takes_the_id_that_is_there(record, upstream_id):
    assert parse_line(json.dumps(record).encode(), CORPORA["plain"]) == Line(
        upstream_id, ["文"], {}
    )


def test_parse_line_of_empty_text_is_an_empty_text():
    assert parse_line(b'{"text": ""}', CORPORA["plain"]) == Line("", [""], {})


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_parse_line_takes_line_with_or_without_its_end(end):
    assert parse_line(b' {"text": "a"} ' + end, CORPORA["plain"]) == Line("", ["a"], {})


@settings(max_examples=100, deadline=None)
@given(st.text(), st.booleans())
def test_parse_line_returns_any_text_exactly(text, ascii_only):
    line = json.dumps({"text": text}, ensure_ascii=ascii_only).encode()
    assert parse_line(line, CORPORA["plain"]) == Line("", [text], {})


DEEP = 100_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not_json"),
        (b"text", "not_json"),
        (b'{"text": "a"', "not_json"),
        (b'{"text": "a"} {"text": "b"}', "not_json"),
        (b"{'text': 'a'}", "not_json"),
        (b'{"text": "a",}', "not_json"),
        (b'{"text": "a", "star": NaN}', "not_json"),
        (b'{"text": "a", "star": Infinity}', "not_json"),
        (b'{"text": "a\tb"}', "not_json"),
        (b'{"text": "a\x00b"}', "not_json"),
        (b'\xef\xbb\xbf{"text": "a"}', "not_json"),
        (b"[" * DEEP, "not_json"),
        (b'{"text":' + b"[" * DEEP + b"]" * DEEP + b"}", "not_json"),
        (b'{"text":' * DEEP + b'"a"' + b"}" * DEEP, "not_json"),
        (b"[]", "not_an_object"),
        (b'[{"text": "a"}]', "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"12", "not_an_object"),
        (b"null", "not_an_object"),
        ('{"text": "文"}'.encode("gb18030"), "invalid_utf8"),
        (b'{"text": "\xff"}', "invalid_utf8"),
        (b'{"text": "\xed\xa0\x80"}', "invalid_utf8"),
        ('{"text": "文"}'.encode()[:-3], "invalid_utf8"),
        (b'{"text": "\\ud800"}', "lone_surrogate"),
        (b'{"text": "a\\udc00b"}', "lone_surrogate"),
        (b'{"text": "a", "title": "\\ud83d"}', "lone_surrogate"),
        (b'{"\\ud83d": "a", "text": "a"}', "lone_surrogate"),
        (b'{"text": "\\udc00\\ud800"}', "lone_surrogate"),
        (b"{}", "missing_keys"),
        (b'{"Text": "a"}', "missing_keys"),
        (b'{"text": 1}', "not_text"),
        (b'{"text": null}', "not_text"),
        (b'{"text": ["a"]}', "not_text"),
        (b'{"text": {"text": "a"}}', "not_text"),
        (b'{"text": true}', "not_text"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:24]),
)
def test_parse_line_says_why_a_line_is_no_document(line, reason):
    assert reason in LINE_FAULTS
    assert parse_line(line, CORPORA["plain"]) == LineFault(reason)


@pytest.mark.parametrize(
    ("corpus", "field"),
    [(corpus.name, field) for corpus in CORPORA.values() for field in corpus.text_fields],
)
def test_parse_line_needs_every_text_field_as_text(corpus, field):
    layout = CORPORA[corpus]
    assert parse_line(line_without(corpus, field), layout) == LineFault("missing_keys")
    assert parse_line(line_of(corpus, **{field: None}), layout) == LineFault("not_text")


@pytest.mark.parametrize(
    ("corpus", "field", "upstream_id"),
    [
        ("wiki2019zh", "id", ""),
        ("webtext2019zh", "answer_id", "65618973"),
        ("news2016zh", "keywords", "610130831"),
    ],
)
def test_parse_line_needs_no_other_field(corpus, field, upstream_id):
    parsed = parse_line(line_without(corpus, field), CORPORA[corpus])
    assert parsed.upstream_id == upstream_id


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"text": "a\\u0000b"}', "a\0b"),
        (b'{"text": "\\ud83d\\ude00"}', "😀"),
        (b'{"text": "\\u2028\\n\\r\\/\\""}', '\u2028\n\r/"'),
        (b'{"text": "a", "text": "b"}', "b"),
        ('{"text": "\u2028\x85\u200b"}'.encode(), "\u2028\x85\u200b"),
    ],
)
def test_parse_line_reads_escapes_as_json_means_them(line, text):
    assert parse_line(line, CORPORA["plain"]) == Line("", [text], {})
