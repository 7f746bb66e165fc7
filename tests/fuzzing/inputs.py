"""Fuzzes what reads input: lines, packed files, whole units of one corpus."""

import gzip
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipeline import ledger
from pipeline.blocks import read_rows
from pipeline.config import DocumentsConfig
from pipeline.corpora import CORPORA, LINE_FAULTS, Line, LineFault, parse_line
from pipeline.errors import PipelineError
from pipeline.inputs import find_inputs
from pipeline.layout import Layout
from pipeline.reading import RawLine, cut_lines, read_pieces
from pipeline.records import TRAIN, InputFile
from pipeline.rules import EDITS, FIELD_JOINER, FIELD_RULES, REJECTIONS, join_fields
from pipeline.stages.clean import SIZE, clean_unit, split_input
from pipeline.units import number_units
from tests.fuzzing.damage import damaged, edits, refuses_clearly, warped_json
from tests.fuzzing.search import Target
from tests.fuzzing.texts import texts
from tests.packed_files import zip_of

# --- Lines ---


def check_lines(pieces: Sequence[bytes], unit_bytes: int) -> None:
    """Every line is in one range, whole, however the stream comes and the file is cut."""
    data = b"".join(pieces)
    found: list[RawLine] = []
    for start in range(0, len(data), unit_bytes):
        end = min(start + unit_bytes, len(data))
        first = max(0, start - 1)
        found += cut_lines(_pieces_from(pieces, first), first, start, end)
    begin, expected = 0, []
    for line in data.split(b"\n"):
        expected.append(RawLine(begin, line, len(line)))
        begin += len(line) + 1
    if not expected[-1].data:
        expected.pop()
    assert found == expected


def _pieces_from(pieces: Sequence[bytes], first: int) -> list[bytes]:
    position, rest = 0, []
    for piece in pieces:
        rest.append(piece[max(0, first - position) :])
        position += len(piece)
    return [piece for piece in rest if piece]


RECORDS: Mapping[str, dict[str, Any]] = {
    name: dict.fromkeys(corpus.text_fields + corpus.aid_fields, "文")
    | dict.fromkeys(corpus.id_fields, 7)
    for name, corpus in CORPORA.items()
}
_encoded = [json.dumps(record, ensure_ascii=False).encode() for record in RECORDS.values()]
corpus_names = st.sampled_from(list(CORPORA))


@st.composite
def lines_of(draw: Any, corpus: str) -> bytes:
    """Returns lines of a corpus, some of them damaged."""
    names = CORPORA[corpus].text_fields + CORPORA[corpus].aid_fields
    values = draw(st.fixed_dictionaries(dict.fromkeys(names, texts)))
    good = json.dumps(RECORDS[corpus] | values, ensure_ascii=draw(st.booleans())).encode()
    return draw(
        st.just(good) | st.just(good) | warped_json(RECORDS[corpus]) | damaged([good, *_encoded])
    )


def check_parsing(line: bytes, corpus: str) -> None:
    """A line is text that can be written as UTF-8, or has one of the known faults."""
    parsed = parse_line(line, CORPORA[corpus])
    if isinstance(parsed, LineFault):
        assert parsed.reason in LINE_FAULTS
        return
    assert isinstance(parsed, Line)
    for text in (parsed.upstream_id, *parsed.values, *parsed.aids.values()):
        text.encode()
    joined = join_fields(corpus, parsed.values, parsed.aids)
    removed, added = (sum(edit[place] for edit in joined.edits) for place in (2, 3))
    assert len(joined.text) == joined.read - removed + added
    assert joined.read == sum(map(len, parsed.values))


# --- Packed files ---

CONTENTS = {
    "news2016zh_train.json": b'{"news_id": "1", "title": "t", "desc": "d", "content": "c"}\n' * 3,
    "x/文_dev.jsonl": b'{"text": "t"}\n' * 99,
}
PACKED = {
    "deflated.zip": zip_of(CONTENTS),
    "stored.zip": zip_of(CONTENTS, zipfile.ZIP_STORED),
    "bzip2.zip": zip_of(CONTENTS, zipfile.ZIP_BZIP2),
    "lzma.zip": zip_of(CONTENTS, zipfile.ZIP_LZMA),
    "x_dev.jsonl.gz": gzip.compress(CONTENTS["x/文_dev.jsonl"], mtime=0),
}


@st.composite
def packed_files(draw: Any) -> tuple[str, bytes]:
    """Returns a packed file, damaged so that no part of it stands there twice."""
    name = draw(st.sampled_from(list(PACKED)))
    data = PACKED[name]
    for edit in draw(edits("overwrite", "flip", "insert", "remove", "cut off")):
        data = edit.apply(data)
    return name, data


def check_packed(packed: tuple[str, bytes], skip_broken_files: bool) -> None:
    """A damaged file is refused, or gives what was packed."""
    name, data = packed
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)

        def read() -> list[bytes]:
            found = find_inputs(folder, skip_broken_files).recognised
            return [b"".join(read_pieces(input_file)) for input_file in found]

        contents = refuses_clearly(PipelineError, folder, read)
        assert set(contents or ()) <= set(CONTENTS.values())


# --- Units ---

rules_off = st.lists(
    st.sampled_from(
        [edit.name for edit in EDITS]
        + [*REJECTIONS]
        + [r for r in FIELD_RULES if r != FIELD_JOINER]
    ),
    max_size=4,
    unique=True,
)
configs = st.builds(
    DocumentsConfig,
    unit_bytes=st.sampled_from([60, 1_000, 1 << 20, 1 << 20]),
    block_text_bytes=st.sampled_from([1, 100, 1 << 20]),
    held_out_fraction=st.sampled_from([0, 0.5]),
    rules_off=st.one_of(st.just(()), rules_off.map(tuple)),
    mask_personal_data=st.booleans(),
    blocklist=st.sampled_from([(), ("文",)]),
    min_paragraph_chars=st.sampled_from([1, 50]),
)


@st.composite
def corpus_files(draw: Any) -> tuple[str, bytes]:
    """Returns a corpus and a file of it."""
    corpus = draw(corpus_names)
    lines = draw(st.lists(lines_of(corpus), max_size=5))
    return corpus, draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"])).join(lines)


def check_units(file: tuple[str, bytes], config: DocumentsConfig) -> None:
    """Every line and every character of a file is kept or accounted for."""
    corpus, data = file
    entries: ledger.Ledger = Counter()
    documents = chars = 0
    with tempfile.TemporaryDirectory() as folder:
        path, layout = Path(folder, "input"), Layout(f"{folder}/out")
        path.write_bytes(data)
        found = InputFile(
            corpus, "" if corpus == "wiki2019zh" else TRAIN, "a", str(path), "", "", len(data)
        )
        for unit in number_units(split_input(found, config, layout, False).units):
            entries += clean_unit(unit, config, layout, False).ledger
            place = unit.number, unit.total
            sizes = np.frombuffer(Path(layout.sizes(*place)).read_bytes(), SIZE)
            kept = [row["text"] for row in read_rows(layout.cleaned(*place))]
            assert sizes["chars"].tolist() == [len(text) for text in kept]
            documents += len(kept) + len(list(read_rows(layout.cleaned_rejected(*place))))
            chars += sum(map(len, kept))
    sums = Counter({account: 0 for account in (ledger.READ, ledger.ADDED)})
    for (_, _, account, item), number in entries.items():
        sums[account] += number
        if account == ledger.DOCUMENTS and item == ledger.READ:
            sums["lines"] += number
    came, went = (
        sums[ledger.READ] + sums[ledger.ADDED],
        sums[ledger.REMOVED] + sums[ledger.REJECTED],
    )
    assert came == went + chars
    lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert len(lines) == sums["lines"] == documents


TARGETS = (
    Target(
        "lines",
        check_lines,
        (st.lists(st.binary() | st.text("\n\n文").map(str.encode)), st.integers(1, 40)),
    ),
    Target("parsing", check_parsing, (corpus_names.flatmap(lines_of) | st.binary(), corpus_names)),
    Target("packed files", check_packed, (packed_files(), st.booleans())),
    Target("units", check_units, (corpus_files(), configs)),
)
