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
      name: as upstream calls it; letters, digits and _ alone, for it is part of names of files.
      file_name: what the path of one of its files ends with.
      text_fields: keys whose values are the text, in the order in which they are joined.
      min_chars: shortest text kept, in characters without white space.
      aid_fields: keys whose values cleaning looks at, if they are there; not part of the text.
      id_fields: keys whose values together are upstream's id.
      not_read: the other keys that upstream documents.
      told_by: keys that together with those of the text tell its lines from others.
      name_parts: how many parts of the path of one of its files name it, from the last on.
      has_splits: whether names of files say their split.
    """

    name: str
    file_name: re.Pattern[str]
    text_fields: tuple[str, ...]
    min_chars: int
    aid_fields: tuple[str, ...] = ()
    id_fields: tuple[str, ...] = ()
    not_read: tuple[str, ...] = ()
    told_by: tuple[str, ...] = ()
    name_parts: int = 1
    has_splits: bool = True


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


_CORPORA: Final = (
    Corpus(
        name="wiki2019zh",
        file_name=re.compile(r"(?:^|/)wiki_\d+$"),
        text_fields=("text",),  # begins with the title
        min_chars=30,
        aid_fields=("title",),
        id_fields=("id",),
        not_read=("url",),
        told_by=("title", "url"),
        name_parts=2,  # AA/wiki_00
        has_splits=False,
    ),
    Corpus(
        name="news2016zh",
        file_name=re.compile(r"(?:^|/)news2016zh_\w+\.json$"),
        text_fields=("title", "desc", "content"),
        min_chars=20,
        id_fields=("news_id",),
        not_read=("keywords", "source", "time"),
        told_by=("source",),
    ),
    Corpus(
        name="baike2018qa",
        file_name=re.compile(r"(?:^|/)baike_qa_\w+\.json$"),
        text_fields=("title", "desc", "answer"),
        min_chars=12,
        id_fields=("qid",),
        not_read=("category",),
    ),
    Corpus(
        name="webtext2019zh",
        file_name=re.compile(r"(?:^|/)web_text_zh_\w+\.json$"),
        text_fields=("title", "desc", "content"),
        min_chars=8,
        id_fields=("qid", "answer_id"),
        not_read=("topic", "star", "answerer_tags"),
        told_by=("topic",),
    ),
    Corpus(
        name="translation2019zh",
        file_name=re.compile(r"(?:^|/)translation2019zh_\w+\.json$"),
        text_fields=("chinese",),
        min_chars=5,
        aid_fields=("english",),
        told_by=("english",),
    ),
    # The last: lines of many others have its one key, too.
    Corpus(
        name="plain",
        file_name=re.compile(r"(?!)"),
        text_fields=("text",),
        min_chars=8,
        id_fields=("id",),
    ),
)
"""Least lengths: half a sentence for the corpora of whole articles, a whole question with its
answer for the question sets, a clause for single translated sentences."""

CORPORA: Final[Mapping[str, Corpus]] = {corpus.name: corpus for corpus in _CORPORA}

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
    """Finds the first corpus whose lines have these keys."""
    return next(
        (
            corpus
            for corpus in CORPORA.values()
            if {*corpus.text_fields, *corpus.told_by}.issubset(keys)
        ),
        None,
    )


def split_of_name(path: str) -> str:
    """Returns the split that a file name says, or "" where it says none."""
    found = _SPLIT_IN_NAME.search(path.rpartition("/")[2])
    return _SPLIT_NAMES[found[1].lower()] if found else ""


def normalise_name(path: str, corpus: Corpus) -> str:
    """Returns the part of a path that names a file wherever it lies.

    Files that have a name of their corpus are known by the last part or parts of it; others by
    their whole path below the input directory.
    """
    named = corpus.file_name.search(path)
    return "/".join(path.split("/")[-corpus.name_parts :]) if named else path


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
