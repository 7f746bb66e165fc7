import io
import subprocess
import sys

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.blocks import (
    BlockWriter,
    FrameWriter,
    encode_row,
    find_document,
    read_block,
    read_row_lines,
    read_rows,
    read_texts,
)
from pipeline.errors import RunError
from pipeline.records import HELD_OUT, SPLITS, TEST, TRAIN, Block, Document, Rejected

SEPARATORS = "\u2028\u2029\x85\x1c\x1d\x1e\x0b\x0c\r\n\0\x7f"
"""What str.splitlines takes for line ends, and other characters that formats trip over."""

texts = st.one_of(st.text(max_size=20), st.text(alphabet=SEPARATORS + '文"\\', max_size=8))
splits = st.sampled_from(SPLITS)


def document_of(text, split=TRAIN, offset=0):
    return Document(f"plain/{split}/a:{offset}", "plain", split, "", text)


documents = st.lists(st.builds(document_of, texts, splits, st.integers(0, 1 << 50)), max_size=25)


def rejected_of(text, offset=0):
    doc_id = f"plain/train/a:{offset}"
    return Rejected(doc_id, "plain", TRAIN, "", "clean", "too_short", text, None)


def write_document(writer, document):
    writer.write(document.split, encode_row(document), len(document.text.encode()))


def write_blocks(rows, block_text_bytes=20, part=3):
    """Returns the bytes of the file, its blocks, and the documents that make up each by the rule.

    A block ends with the document that fills it; the last ones end in the order of the splits.
    """
    file = io.BytesIO()
    writer = BlockWriter(file, part, "plain", block_text_bytes)
    waiting = {split: [] for split in SPLITS}
    ended = []
    for document in rows:
        write_document(writer, document)
        members = waiting[document.split]
        members.append(document)
        if sum(len(member.text.encode()) for member in members) >= block_text_bytes:
            ended.append(members)
            waiting[document.split] = []
        assert len(writer.blocks) == len(ended)
    assert writer.close() is None
    ended += filter(None, waiting.values())
    return file.getvalue(), writer.blocks, ended


def read_blocks(data, blocks):
    file = io.BytesIO(data)
    return [read_block(file, block) for block in blocks]


def decompress_as_stream(data):
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
        return stream.read()


@settings(max_examples=100, deadline=None)
@given(documents, st.integers(1, 60))
def test_read_block_gives_back_the_documents_of_every_block(rows, block_text_bytes):
    data, blocks, ended = write_blocks(rows, block_text_bytes)
    assert read_blocks(data, blocks) == ended
    assert read_blocks(data, reversed(blocks)) == ended[::-1]


@settings(max_examples=100, deadline=None)
@given(documents, st.integers(1, 60))
def test_blocks_are_of_one_split_and_describe_themselves(rows, block_text_bytes):
    data, blocks, _ = write_blocks(rows, block_text_bytes)
    offset = 0
    for block, members in zip(blocks, read_blocks(data, blocks), strict=True):
        text_bytes = [len(document.text.encode()) for document in members]
        assert {document.split for document in members} == {block.split}
        assert block == Block(
            3, offset, block.length, "plain", block.split, len(members), sum(text_bytes)
        )
        # A block ends with the document that fills it.
        assert sum(text_bytes[:-1]) < block_text_bytes
        offset += block.length
    assert offset == len(data) or not blocks


@settings(max_examples=100, deadline=None)
@given(documents, st.integers(1, 60))
def test_blocks_hold_every_document_once_in_order_of_each_split(rows, block_text_bytes):
    data, blocks, _ = write_blocks(rows, block_text_bytes)
    for split in SPLITS:
        written = [document for document in rows if document.split == split]
        of_split = read_blocks(data, [block for block in blocks if block.split == split])
        assert [document for members in of_split for document in members] == written
        full = [members for members in of_split[:-1]]
        sizes = [sum(len(document.text.encode()) for document in members) for members in full]
        assert all(size >= block_text_bytes for size in sizes)


def test_block_writer_ends_a_block_with_the_document_that_completes_it():
    file = io.BytesIO()
    writer = BlockWriter(file, 0, "plain", 6)
    first, other, second, last = (
        document_of("文", offset=0),
        document_of("文", TEST, 1),
        document_of("文", offset=2),
        document_of("文", HELD_OUT, 3),
    )
    counts = []
    for document in (first, other, second, last):
        write_document(writer, document)
        counts.append((len(writer.blocks), len(file.getvalue()) > 0))
    assert counts == [(0, False), (0, False), (1, True), (1, True)]
    writer.close()
    # What is left over comes in the order of the splits.
    members = read_blocks(file.getvalue(), writer.blocks)
    assert members == [[first, second], [last], [other]]
    assert [block.split for block in writer.blocks] == [TRAIN, HELD_OUT, TEST]


def test_block_writer_takes_corpus_split_and_size_as_they_are_told():
    file = io.BytesIO()
    writer = BlockWriter(file, 7, "wiki2019zh", 100)
    line = encode_row(document_of("文"))
    writer.write(HELD_OUT, line, 60)
    writer.write(HELD_OUT, line, 50)
    (block,) = writer.blocks
    assert block == Block(7, 0, len(file.getvalue()), "wiki2019zh", HELD_OUT, 2, 110)


def test_find_document_finds_an_id_not_what_mentions_or_continues_it():
    rows = [document_of(text, offset=at) for text, at in ((SEPARATORS, 11), ("文", 1), ("词", 12))]
    rows.insert(1, document_of('"plain/train/a:1"'))
    file = io.BytesIO()
    writer = BlockWriter(file, 0, "plain", 1 << 20)
    for row in rows:
        write_document(writer, row)
    writer.close()
    (block,) = writer.blocks
    for row in rows:
        assert find_document(file, block, row.doc_id) == row
    for missing in ("plain/train/a:2", "plain/train/a:", '"', ""):
        assert find_document(file, block, missing) is None


def test_block_writer_writes_lines_byte_for_byte():
    file = io.BytesIO()
    writer = BlockWriter(file, 0, "plain", 100)
    lines = [b'{"text":  "\\u6587", "doc_id": 1}\n', encode_row(document_of(SEPARATORS))]
    for line in lines:
        writer.write(TRAIN, line, 1)
    writer.close()
    assert decompress_as_stream(file.getvalue()) == b"".join(lines)


@settings(max_examples=60, deadline=None)
@given(documents)
def test_encode_row_is_one_json_line_of_the_fields_in_their_order(rows):
    for row in [*rows, rejected_of(None), rejected_of(SEPARATORS)]:
        line = encode_row(row)
        assert line.index(b"\n") == len(line) - 1
        assert list(orjson.loads(line).items()) == list(row._asdict().items())


@settings(max_examples=60, deadline=None)
@given(documents, st.integers(1, 60))
def test_file_of_many_frames_is_one_zstd_file_of_json_lines(rows, block_text_bytes):
    data, _, ended = write_blocks(rows, block_text_bytes)
    lines = decompress_as_stream(data).split(b"\n")
    assert lines.pop() == b""
    assert [orjson.loads(line) for line in lines] == [
        document._asdict() for members in ended for document in members
    ]


def test_read_rows_gives_back_the_rows_of_a_whole_file(tmp_path):
    rows = [document_of(f"文{at}{SEPARATORS}", offset=at) for at in range(9)]
    data, blocks, _ = write_blocks(rows)
    path = tmp_path / "part.jsonl.zst"
    path.write_bytes(data)
    assert len(blocks) == 9
    assert [Document(**row) for row in read_rows(str(path))] == rows


def test_read_rows_takes_no_part_of_a_file_for_the_whole_but_between_frames(tmp_path):
    rows = [document_of(f"文{at}", offset=at) for at in range(3)]
    data, blocks, _ = write_blocks(rows, 1)
    ends = [0, *(block.offset + block.length for block in blocks)]
    path = tmp_path / "part.jsonl.zst"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        if length in ends:
            assert len(list(read_rows(str(path)))) == ends.index(length)
            continue
        for read in (read_rows, read_row_lines):
            with pytest.raises(RunError) as raised:
                list(read(str(path)))
            assert str(raised.value) == (
                f"{path}: is damaged (cut off); start afresh with --overwrite"
            )


def test_read_rows_refuses_a_whole_file_of_something_else(tmp_path):
    path = tmp_path / "part.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b"no json\n"))
    with pytest.raises(RunError, match=f"^{path}: is damaged .*; start afresh with --overwrite$"):
        list(read_rows(str(path)))


def claim_huge_content(frame):
    """Lets the header of a frame say that its content has 2^60 bytes."""
    content = zstandard.frame_content_size(frame)
    header = zstandard.frame_header_size(frame)
    # Magic number, descriptor with checksum and a size of 8 bytes, window of 2^20 bytes.
    descriptor = bytes([0b11000100, 0x50])
    assert content < 1 << 17
    return frame[:4] + descriptor + (1 << 60).to_bytes(8, "little") + frame[header:]


def test_read_block_refuses_damaged_frames_and_places_that_cannot_be():
    data, (block,), _ = write_blocks([document_of("文")])
    huge = claim_huge_content(data)
    for damaged, place in (
        (data[:-1], block),
        (data[:9] + b"\xff" + data[10:], block),
        (huge, block._replace(length=len(huge))),
        (data, block._replace(offset=1)),
        (data, block._replace(offset=1 << 70)),
        (data, block._replace(length=1 << 70)),
    ):
        for read in (read_block, read_texts):
            with pytest.raises(RunError) as raised:
                read(io.BytesIO(damaged), place)
            assert str(raised.value).startswith(
                f"documents/ is damaged: part 3, byte {place.offset:,} ("
            )


@pytest.mark.parametrize("separator", SEPARATORS)
def test_documents_with_line_separators_read_back_as_one_line_each(separator):
    rows = [document_of(f"甲{separator}乙"), document_of(separator, offset=9)]
    data, (block,), _ = write_blocks(rows, 1_000)
    assert read_blocks(data, [block]) == [rows]
    assert decompress_as_stream(data).count(b"\n") == 2


def test_block_writer_without_documents_writes_file_that_decompresses_to_nothing(tmp_path):
    data, blocks, ended = write_blocks([])
    (tmp_path / "empty.zst").write_bytes(data)
    assert data and (blocks, ended) == ([], [])
    assert decompress_as_stream(data) == b""
    assert list(read_rows(str(tmp_path / "empty.zst"))) == []


def test_frame_writer_ends_a_frame_when_its_rows_are_big_enough():
    rejected = [rejected_of(text, at) for at, text in enumerate(["文", None, "\u2028"])]
    line_bytes = len(orjson.dumps(rejected[0]._asdict())) + 1
    file = io.BytesIO()
    writer = FrameWriter(file, line_bytes)
    sizes = []
    for row in rejected:
        writer.write(row)
        sizes.append(len(file.getvalue()))
    writer.close()
    data = file.getvalue()
    # The second row is shorter: null takes 4 bytes, "文" takes 5.
    assert 0 < sizes[0] == sizes[1] < sizes[2] == len(data)
    assert decompress_as_stream(data) == b"".join(
        orjson.dumps(row._asdict()) + b"\n" for row in rejected
    )
    second_frame = zstandard.ZstdDecompressor().decompress(data[sizes[0] :])
    assert [orjson.loads(line)["text"] for line in second_frame.splitlines()] == [None, "\u2028"]


def test_frame_writer_reports_offset_and_length_of_each_frame():
    file = io.BytesIO()
    writer = FrameWriter(file, 1 << 20)
    places = []
    for text in ("甲", "乙" * 500, "丙"):
        writer.write(document_of(text))
        places.append(writer.end_frame())
    writer.close()
    data = file.getvalue()
    assert places[0][0] == 0 and sum(places[-1]) == len(data)
    found = [
        orjson.loads(zstandard.ZstdDecompressor().decompress(data[offset : offset + length]))
        for offset, length in places
    ]
    assert [row["text"] for row in found] == ["甲", "乙" * 500, "丙"]


def test_write_lines_equals_write_of_the_rows():
    rows = [document_of(f"文{at}", offset=at) for at in range(9)]
    files = io.BytesIO(), io.BytesIO()
    by_row, by_line = (FrameWriter(file, 200) for file in files)
    for row in rows:
        by_row.write(row)
        by_line.write_lines([encode_row(row)])
    by_row.close()
    by_line.close()
    assert files[0].getvalue() == files[1].getvalue()


@pytest.mark.parametrize("level", [1, 9])
def test_frame_writer_compresses_at_the_level_that_is_asked_for(level):
    lines = [encode_row(document_of(f"文字{at * 7_919}" * 9, offset=at)) for at in range(99)]
    frames = {}
    for of in (3, level):
        file = io.BytesIO()
        writer = FrameWriter(file, 1 << 20, of) if of != 3 else FrameWriter(file, 1 << 20)
        for line in lines:
            writer.write_lines([line])
        writer.close()
        frames[of] = file.getvalue()
        compressor = zstandard.ZstdCompressor(level=of, write_checksum=True)
        assert frames[of] == compressor.compress(b"".join(lines))
    assert frames[3] != frames[level]


def test_frame_writer_without_rows_writes_one_empty_frame():
    file = io.BytesIO()
    FrameWriter(file, 10).close()
    assert file.getvalue() and decompress_as_stream(file.getvalue()) == b""


def test_files_put_behind_each_other_are_one_file(tmp_path):
    first, _, _ = write_blocks([document_of("甲")])
    nothing, _, _ = write_blocks([])
    last, _, _ = write_blocks([document_of("乙")])
    (tmp_path / "all.zst").write_bytes(first + nothing + last + nothing)
    assert [row["text"] for row in read_rows(str(tmp_path / "all.zst"))] == ["甲", "乙"]
    assert list(read_row_lines(str(tmp_path / "all.zst"))) == [
        encode_row(document_of("甲")),
        encode_row(document_of("乙")),
    ]


def test_read_row_lines_gives_back_lines_of_any_size_with_their_line_feeds(tmp_path):
    rows = [document_of(text) for text in ("x" * 3_000_000, SEPARATORS, "", "y" * 1_500_000)]
    data, blocks, _ = write_blocks(rows, 1 << 20)
    (tmp_path / "part.zst").write_bytes(data)
    assert len(blocks) == 2
    assert list(read_row_lines(str(tmp_path / "part.zst"))) == list(map(encode_row, rows))


def test_same_rows_make_same_bytes_in_another_process():
    code = (
        "import io, sys, hashlib; from pipeline.blocks import BlockWriter, encode_row\n"
        "from pipeline.records import Document\n"
        "file = io.BytesIO(); writer = BlockWriter(file, 3, 'plain', 20)\n"
        "for at in range(30):\n"
        "    line = encode_row(Document('a', 'plain', 'train', '', '文' * at))\n"
        "    writer.write('train', line, 3 * at)\n"
        "writer.close(); sys.stdout.write(hashlib.sha256(file.getvalue()).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1 and len(digests.pop()) == 64
