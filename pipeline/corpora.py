"""The five corpora of nlp_chinese_corpus and plain JSON lines: names, keys, JSON line -> text.

Source of names and keys: the README of brightmart/nlp_chinese_corpus.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, cast

import orjson

from pipeline.records import HELD_OUT, TEST, TRAIN

LINE_TOO_LONG: Final = "line_too_long"
NOT_JSON: Final = "not_json"
NOT_AN_OBJECT: Final = "not_an_object"
INVALID_UTF8: Final = "invalid_utf8"
LONE_SURROGATE: Final = "lone_surrogate"
MISSING_KEYS: Final = "missing_keys"
NOT_TEXT: Final = "not_text"
LINE_FAULTS: Final = (
    LINE_TOO_LONG,
    NOT_JSON,
    NOT_AN_OBJECT,
    INVALID_UTF8,
    LONE_SURROGATE,
    MISSING_KEYS,
    NOT_TEXT,
)
"""Reasons for which a line cannot be read as a document."""


class Corpus(NamedTuple):
    """The layout of one corpus.

    Attributes:
      name: as upstream calls it.
      text_fields: keys whose values are the text, in the order in which they are joined.
      aid_fields: keys whose values cleaning looks at, if they are there; not part of the text.
      id_fields: keys whose values together are upstream's id.
      not_read: the other keys that upstream documents.
      file_name: what the path of one of its files ends with.
    """

    name: str
    text_fields: tuple[str, ...]
    aid_fields: tuple[str, ...]
    id_fields: tuple[str, ...]
    not_read: tuple[str, ...]
    file_name: re.Pattern[str]


class Line(NamedTuple):
    """What a line of a corpus says.

    Attributes:
      upstream_id: upstream's id, or "".
      values: of the corpus's text fields, in their order.
      aids: of its aid fields that are there, by key.
    """

    upstream_id: str
    values: list[str]
    aids: dict[str, str]


class LineFault(NamedTuple):
    """Why a line is no document."""

    reason: str


PLAIN: Final = Corpus("plain", ("text",), (), ("id",), (), re.compile(r"(?!)"))
CORPORA: Final[Mapping[str, Corpus]] = {
    corpus.name: corpus
    for corpus in (
        # The text of an article begins with its title.
        Corpus(
            "wiki2019zh",
            ("text",),
            ("title",),
            ("id",),
            ("url",),
            re.compile(r"(?:^|/)wiki_\d+$"),
        ),
        Corpus(
            "news2016zh",
            ("title", "desc", "content"),
            (),
            ("news_id",),
            ("keywords", "source", "time"),
            re.compile(r"(?:^|/)news2016zh_\w+\.json$"),
        ),
        Corpus(
            "baike2018qa",
            ("title", "desc", "answer"),
            (),
            ("qid",),
            ("category",),
            re.compile(r"(?:^|/)baike_qa_\w+\.json$"),
        ),
        Corpus(
            "webtext2019zh",
            ("title", "desc", "content"),
            (),
            ("qid", "answer_id"),
            ("topic", "star", "answerer_tags"),
            re.compile(r"(?:^|/)web_text_zh_\w+\.json$"),
        ),
        Corpus(
            "translation2019zh",
            ("chinese",),
            ("english",),
            (),
            (),
            re.compile(r"(?:^|/)translation2019zh_\w+\.json$"),
        ),
        PLAIN,
    )
}

_KEYS: Final = (
    ("wiki2019zh", {"url", "title", "text"}),
    ("news2016zh", {"title", "desc", "content", "source"}),
    ("baike2018qa", {"title", "desc", "answer"}),
    ("webtext2019zh", {"title", "desc", "content", "topic"}),
    ("translation2019zh", {"english", "chinese"}),
    ("plain", {"text"}),
)
_SPLIT_NAMES: Final = {
    "train": TRAIN,
    "valid": HELD_OUT,
    "validation": HELD_OUT,
    "dev": HELD_OUT,
    "eval": HELD_OUT,
    "testa": TEST,
    "test": TEST,
}
_SPLIT_IN_NAME: Final = re.compile(
    rf"(?:^|[_.-])({'|'.join(_SPLIT_NAMES)})(?:-\d+-of-\d+)?(?:\.\w+)*$", re.IGNORECASE
)


def recognise_name(path: str) -> Corpus | None:
    """Finds the corpus that ships a file of this name; `path` has forward slashes."""
    return next((corpus for corpus in CORPORA.values() if corpus.file_name.search(path)), None)


def recognise_keys(keys: Collection[str]) -> Corpus | None:
    """Finds the corpus whose lines have these keys."""
    return next((CORPORA[name] for name, needed in _KEYS if needed.issubset(keys)), None)


def split_of_name(path: str) -> str:
    """Returns the split that a file name says, or "" where it says none."""
    found = _SPLIT_IN_NAME.search(path.rpartition("/")[2])
    return _SPLIT_NAMES[found[1].lower()] if found else ""


def normalise_name(path: str, corpus: Corpus) -> str:
    """Returns the part of a path that names a file wherever it lies.

    Upstream's files are known by their last part, wiki's by the last two (`AA/wiki_00`); others
    by their whole path below the input directory.
    """
    parts = path.split("/")
    if corpus.name == "wiki2019zh" and corpus.file_name.search(path):
        return "/".join(parts[-2:])
    return parts[-1] if corpus.file_name.search(path) else path


def parse_line(line: bytes, corpus: Corpus) -> Line | LineFault:
    """Reads one line of a corpus.

    Args:
      line: one JSON object in UTF-8, with or without its line end.
      corpus: the layout to expect.

    Returns:
      What it says, or the reason why it cannot be read.
    """
    try:
        record: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return LineFault(_diagnose(line))
    if not isinstance(record, dict):
        return LineFault(NOT_AN_OBJECT)
    fields = cast("dict[str, Any]", record)
    try:
        values = [fields[key] for key in corpus.text_fields]
    except KeyError:
        return LineFault(MISSING_KEYS)
    for value in values:
        if not isinstance(value, str):
            return LineFault(NOT_TEXT)
    ids = [str(fields[key]) for key in corpus.id_fields if fields.get(key) is not None]
    aids = {key: fields[key] for key in corpus.aid_fields if isinstance(fields.get(key), str)}
    return Line("-".join(ids), values, aids)


def _diagnose(line: bytes) -> str:
    """Says why a line is no JSON that orjson reads."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return INVALID_UTF8
    try:
        # Unlike orjson, the standard library lets escapes of half a surrogate pair pass.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return LONE_SURROGATE
    except (ValueError, RecursionError):
        return NOT_JSON
    return NOT_JSON
