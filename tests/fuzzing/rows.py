"""Fuzzes what reads records and rows that this project wrote: read right, or refused clearly."""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import zstandard
from hypothesis import strategies as st

from pipeline import blocks
from pipeline.errors import RunError
from pipeline.reading import read_lines
from pipeline.records import Block, Document, Unit
from tests.fuzzing.damage import damaged, damaged_json, refuses_clearly
from tests.fuzzing.search import Target
from tests.read_examples import token_ids_of
from tfrecords_schema import framing
from tfrecords_schema.examples import encode_examples
from vocab.document_files import read_documents
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab, parse_vocab

# --- TFRecords ---

RECORDS = [b"", b"one", bytes(range(200))]
FRAMED = framing.frame_records(RECORDS)
HUGE = (
    framing._record_header(1 << 62),
    framing._record_header(1 << 44),
    framing._record_header(1 << 63),
)


def read_framed(data: bytes) -> list[bytes]:
    return [*framing.read_records(io.BytesIO(data), "a.tfrecord")]


def check_framing(data: bytes, records: Sequence[bytes]) -> None:
    """Records come back; of a damaged file none comes that was not written."""
    assert read_framed(framing.frame_records(records)) == list(records)
    found = refuses_clearly(ValueError, "a.tfrecord", lambda: read_framed(data))
    assert found is None or framing.frame_records(found) == data


def check_file_framing(data: bytes) -> None:
    """The same of an open file, which reads otherwise than bytes in memory."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        refuses_clearly(
            ValueError, "a.tfrecord", lambda: [*framing.read_records(file, "a.tfrecord")]
        )


def check_examples(rows: Sequence[Sequence[int]], masks: Sequence[int], width: int) -> None:
    """Ids come back from serialized examples."""
    ids = np.array([[*row, *[0] * width][:width] for row in rows], np.int64).reshape(-1, width)
    mask_ids = np.resize(np.array([0, *masks], np.int64), ids.shape)
    examples = encode_examples(ids, mask_ids, ids % 2 == 0)
    assert [token_ids_of(example) for example in examples] == ids.tolist()


# --- Vocabularies ---

VOCAB = format_vocab([*SPECIAL_TOKENS, "中", "##国", "a", "\u2028"])


def check_vocab(data: bytes) -> None:
    """A vocabulary is read as it is written, or refused."""
    tokens = refuses_clearly(ValueError, "a.txt", lambda: parse_vocab(data, "a.txt"))
    if tokens is not None:
        assert format_vocab(tokens).rstrip(b"\n") == data.rstrip(b"\n")
        assert len(set(tokens)) == len(tokens)


# --- Files of documents ---

DOCUMENTS = [
    Document(f"plain/train/a:{number}", "plain", "train", "", text)
    for number, text in enumerate(["天地玄黄", "\u2028\r\n", "宇宙洪荒" * 50])
]
LINES = [blocks.encode_row(document) for document in DOCUMENTS]


def _pack(*frames: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    return b"".join(map(compressor.compress, frames))


PACKED = _pack(LINES[0], b"".join(LINES[1:]))
ROWS = [document._asdict() for document in DOCUMENTS]
damaged_documents = damaged([PACKED, _pack(b""), _pack(LINES[0][:-9])]) | damaged_json(
    LINES[0]
).map(_pack)


@contextlib.contextmanager
def _file(data: bytes, name: str = "a.jsonl.zst") -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        yield str(path)


def check_rows(data: bytes) -> None:
    """Rows are read whole, or the file is refused."""
    with _file(data) as path:
        refuses_clearly(RunError, path, lambda: list(blocks.read_rows(path)))
        refuses_clearly(ValueError, path, lambda: list(read_documents(Path(path))))


def check_cut_off_rows(length: float) -> None:
    """Of a file that is cut off, no part is taken for the whole, but between two frames."""
    with _file(PACKED[: int(length * len(PACKED))]) as path:
        rows = refuses_clearly(RunError, path, lambda: list(blocks.read_rows(path)))
        assert rows in (None, [], ROWS[:1], ROWS)


def check_block(data: bytes, offset: int, length: int) -> None:
    """The documents of a block are read, or documents/ is said to be damaged."""
    block = Block(7, offset, length, "plain", "train", 1, 1)
    for read in (blocks.read_block, blocks.read_texts):
        refuses_clearly(RunError, "part 7", lambda read=read: read(io.BytesIO(data), block))


CHUNK = _pack("天\n地\n玄黄".encode())
SIZE = len("天\n地\n玄黄".encode())


def check_chunk(data: bytes) -> None:
    """A chunk of unpacked input gives its lines or is said to be damaged."""
    with _file(data, "a.zst") as path:
        unit = Unit("plain", "train", "a", 0, path, 0, SIZE, 0)
        refuses_clearly(RunError, path, lambda: list(read_lines(unit)))


TARGETS = (
    Target("framing", check_framing, (damaged([FRAMED, *HUGE]), st.lists(st.binary(max_size=300)))),
    Target("framing of files", check_file_framing, (damaged([FRAMED, *HUGE]),)),
    Target(
        "examples",
        check_examples,
        (
            st.lists(
                st.lists(st.integers(0, 300) | st.integers(0, 1 << 40), max_size=40), max_size=5
            ),
            st.lists(st.integers(0, 14_000), max_size=9),
            st.sampled_from([8, 16, 128, 512]),
        ),
    ),
    Target("vocabulary files", check_vocab, (damaged([VOCAB]),)),
    Target("rows", check_rows, (damaged_documents,)),
    Target("cut-off rows", check_cut_off_rows, (st.floats(0, 1),)),
    Target(
        "blocks",
        check_block,
        (damaged_documents, st.just(0) | st.integers(0, 300), st.just(1_000) | st.integers(0, 300)),
    ),
    Target("chunks", check_chunk, (damaged([CHUNK, PACKED]),)),
)
