import gzip
import io
import os
import re
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packed_files import mark_encrypted, write_tree, zip_of

from pipeline import files, reading
from pipeline.config import DocumentsConfig
from pipeline.errors import BrokenFileError, RunError
from pipeline.inputs import find_inputs
from pipeline.layout import Layout
from pipeline.ledger import DOCUMENTS, READ
from pipeline.reading import (
    RawLine,
    Split,
    open_decompressed,
    read_lines,
    read_pieces,
    split_into_chunks,
)
from pipeline.records import TRAIN, InputFile, Skipped
from pipeline.samples import samples_from_bytes
from pipeline.stages.clean import clean_unit, split_input
from pipeline.units import number_units, ranges_of

NEWS = b'{"news_id": "1", "title": "t", "desc": "d", "source": "s", "content": "c"}\n'
PLAIN = b'{"text": "t"}\n'
LONG = b"".join(b'{"text": "%d"}\n' % (number * 7_919) for number in range(9_999))


def break_checksum(packed):
    """Changes the CRC of the only member in its central header."""
    at = packed.index(b"PK\x01\x02") + 16
    crc = struct.unpack_from("<I", packed, at)[0]
    return packed[:at] + struct.pack("<I", crc ^ 1) + packed[at + 4 :]


def break_data(packed):
    """Changes a byte in the middle of the packed data of the first member."""
    at = len(packed) // 2
    return packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]


def lie_elsewhere(packed):
    """Lets the last member say that it lies where the first one does."""
    at = packed.rindex(b"PK\x01\x02") + 42
    return packed[:at] + bytes(4) + packed[at + 4 :]


def empty_out(packed):
    """Lets the central header of the only member say that it is packed into no bytes."""
    at = packed.index(b"PK\x01\x02") + 16
    return packed[:at] + bytes(8) + packed[at + 8 :]


def plain_input(path, size_bytes):
    return InputFile("plain", TRAIN, "a.json", str(path), "", "", size_bytes)


def split_whole(input_file, unit_bytes, layout):
    """The units of a file that is not broken."""
    units, skipped = split_into_chunks(input_file, unit_bytes, layout, skip_broken_files=False)
    assert skipped == []
    return units


# --- Files that cannot be unpacked: refused, or left out and noted ---

NEWS_ZIP = zip_of({"a.json": PLAIN, "news2016zh_train.json": LONG})

broken_files = pytest.mark.parametrize(
    ("name", "data", "fault", "remedy"),
    [
        pytest.param(
            "news2016zh_train.json.gz",
            b"no gzip at all",
            r"0: cannot be unpacked \(Not a gzipped file \(b'no'\)\)",
            "download it again",
            id="no gzip",
        ),
        pytest.param(
            "news2016zh_train.json.gz",
            gzip.compress(LONG)[:-100],
            r"[\d,]+: cannot be unpacked \(Compressed file ended before .*\)",
            "download it again",
            id="cut off",
        ),
        pytest.param(
            "news2016zh_train.json.gz",
            gzip.compress(LONG)[:-6] + b"\0" * 6,
            r"[\d,]+: cannot be unpacked \(CRC check failed .*\)",
            "download it again",
            id="wrong checksum",
        ),
        # After the header of 10 bytes, ones ask for a kind of block that does not exist.
        pytest.param(
            "news2016zh_train.json.gz",
            gzip.compress(LONG)[:10] + b"\xff" * 5_000,
            r"0: cannot be unpacked \(Error -3 while decompressing data: .*\)",
            "download it again",
            id="damaged",
        ),
        pytest.param(
            "a.zip",
            break_checksum(zip_of({"news2016zh_train.json": LONG})),
            r"[\d,]+: cannot be unpacked \(Bad CRC-32 for file 'news2016zh_train.json'\)",
            "download it again",
            id="wrong checksum in zip",
        ),
        pytest.param(
            "a.zip",
            break_data(zip_of({"news2016zh_train.json": LONG}, zipfile.ZIP_STORED)),
            r"[\d,]+: cannot be unpacked \(Bad CRC-32 for file 'news2016zh_train.json'\)",
            "download it again",
            id="damaged member",
        ),
        pytest.param(
            "a.zip",
            lie_elsewhere(NEWS_ZIP),
            r"0: cannot be unpacked \(.*(?:differ|[Oo]verlap).*\)",
            "download it again",
            id="overlapping members",
        ),
        pytest.param(
            "a.zip",
            empty_out(zip_of({"news2016zh_train.json": LONG})),
            rf"0: ends here and should have {len(LONG):,} bytes",
            "download it again",
            id="no packed bytes",
        ),
        pytest.param(
            "a.zip",
            mark_encrypted(zip_of({"news2016zh_train.json": LONG})),
            r"0: is encrypted \(.*password required for extraction\)",
            "unpack it with its password",
            id="encrypted",
        ),
    ],
)


def find_news(tmp_path, name, data):
    """Returns the input file, and its place as errors name it, for a regular expression."""
    write_tree(tmp_path, {f"in/{name}": data})
    (found,) = [
        found
        for found in find_inputs(str(tmp_path / "in")).recognised
        if found.corpus == "news2016zh"
    ]
    member = ":news2016zh_train.json" if name == "a.zip" else ""
    return found, re.escape(f"{tmp_path / 'in' / name}{member}")


@broken_files
def test_split_into_chunks_refuses_broken_file_and_names_it(tmp_path, name, data, fault, remedy):
    found, place = find_news(tmp_path, name, data)
    with pytest.raises(BrokenFileError) as raised:
        split_into_chunks(found, 1_000, Layout(str(tmp_path / "out")), skip_broken_files=False)
    assert re.fullmatch(
        rf"{place}, byte {fault}; {remedy}, or leave it out with --skip_broken_files",
        str(raised.value),
    )
    assert not list((tmp_path / "out").rglob("*.tmp"))


@broken_files
def test_split_into_chunks_leaves_broken_file_out_and_says_why(tmp_path, name, data, fault, remedy):
    found, _ = find_news(tmp_path, name, data)
    units, skipped = split_into_chunks(
        found, 1_000, Layout(str(tmp_path / "out")), skip_broken_files=True
    )
    assert units == []
    ((*place, reason),) = skipped
    assert place == ["news2016zh", TRAIN, "news2016zh_train.json", 0, 0]
    assert re.fullmatch(f"byte {fault}", reason)
    assert not list((tmp_path / "out").rglob("*.tmp"))


@pytest.mark.parametrize("skip_broken_files", [False, True])
def test_split_into_chunks_of_whole_files_skips_nothing(tmp_path, skip_broken_files):
    for name, data in (("news2016zh_train.json.gz", gzip.compress(LONG)), ("a.zip", NEWS_ZIP)):
        found, _ = find_news(tmp_path / name, name, data)
        layout = Layout(str(tmp_path / name / "out"))
        units, skipped = split_into_chunks(found, 20_000, layout, skip_broken_files)
        assert skipped == []
        assert [unit.end for unit in units][-1] == len(LONG)
        assert split_input(
            found, DocumentsConfig(unit_bytes=20_000), layout, skip_broken_files
        ) == Split(units, [])


def test_broken_file_says_at_which_byte_of_its_content(tmp_path):
    data = break_checksum(zip_of({"news2016zh_train.json": LONG}))
    found, _ = find_news(tmp_path, "a.zip", data)
    with mock.patch.object(reading, "PIECE_BYTES", 1_000), pytest.raises(BrokenFileError) as raised:
        list(read_pieces(found))
    # The checksum is that of the whole, so its end: but for what zipfile reads ahead.
    assert len(LONG) - 10_000 < raised.value.offset <= len(LONG)


def grow(name, data, limit, monkeypatch, tmp_path, times=50):
    """Reads a packed file that may grow so many times."""
    monkeypatch.setattr(reading, "MAX_EXPANSION", times)
    monkeypatch.setattr(reading, "SMALL_BYTES", limit)
    monkeypatch.setattr(reading, "PIECE_BYTES", 100)
    write_tree(tmp_path, {name: data})
    packed = plain_input(tmp_path / name, len(data))._replace(compression="gz")
    return b"".join(read_pieces(packed))


def test_gz_that_grows_over_its_bound_is_refused_at_the_byte_where_it_does(tmp_path, monkeypatch):
    bomb = gzip.compress(bytes(100_000))
    bound = 50 * len(bomb)
    assert bound < 10_000
    with pytest.raises(BrokenFileError) as raised:
        grow("a.json.gz", bomb, 0, monkeypatch, tmp_path)
    offset = bound // 100 * 100 + 100
    assert str(raised.value) == (
        f"{tmp_path / 'a.json.gz'}, byte {offset:,}: grows over 50 times its size, as a bomb does; "
        "unpack it by hand, or leave it out with --skip_broken_files"
    )


def test_gz_may_grow_as_much_as_any_small_file(tmp_path, monkeypatch):
    bomb = gzip.compress(bytes(10_000))
    assert grow("a.json.gz", bomb, 10_000, monkeypatch, tmp_path) == bytes(10_000)
    with pytest.raises(BrokenFileError, match="byte 10,000: grows over 50 times its size"):
        grow("a.json.gz", bomb, 9_999, monkeypatch, tmp_path)


def test_gz_may_grow_by_its_size_times_the_bound(tmp_path, monkeypatch):
    bomb = gzip.compress(bytes(10_000))
    times = -(-10_000 // len(bomb))
    assert grow("a.json.gz", bomb, 0, monkeypatch, tmp_path, times) == bytes(10_000)
    with pytest.raises(BrokenFileError, match=f": grows over {times - 1} times its size"):
        grow("a.json.gz", bomb, 0, monkeypatch, tmp_path, times - 1)


def test_gz_bomb_is_left_out_before_much_of_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 20)
    monkeypatch.setattr(reading, "MAX_EXPANSION", 20)
    bomb = gzip.compress(b"\n".join([bytes(999)] * 50_000))
    found, _ = find_news(tmp_path, "news2016zh_train.json.gz", bomb)
    layout = Layout(str(tmp_path / "out"))
    units, ((*_, reason),) = split_into_chunks(found, 1 << 20, layout, skip_broken_files=True)
    assert units == []
    offset = (20 * len(bomb) // (1 << 16) + 1) << 16
    assert reason == f"byte {offset:,}: grows over 20 times its size, as a bomb does"
    # Of 50 MB.
    assert offset < 5_000_000


def test_error_of_the_disk_is_not_taken_for_a_broken_file(tmp_path):
    missing = plain_input(tmp_path / "missing.gz", 1)._replace(compression="gz")
    for skip_broken_files in (False, True):
        with pytest.raises(FileNotFoundError):
            split_into_chunks(missing, 10, Layout(str(tmp_path / "out")), skip_broken_files)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_open_decompressed_streams_a_member_of_a_zip(tmp_path, compression):
    packed = zip_of({"x/a.json": LONG, "b.json": NEWS}, compression)
    write_tree(tmp_path, {"a.zip": packed})
    found = InputFile("plain", "", "a.json", str(tmp_path / "a.zip"), "zip", "x/a.json", len(LONG))
    with open_decompressed(found) as stream:
        assert stream.read() == LONG
    assert b"".join(read_pieces(found)) == LONG


# --- Lines ---


def read_all(units):
    return [(unit.ordinal, line) for unit in units for line in read_lines(unit)]


def read_three_ways(data, unit_bytes, folder):
    """Returns what all units of a plain file, of its gz and of its zip read, in this order."""
    write_tree(
        folder,
        {"a.json": data, "a.json.gz": gzip.compress(data), "a.zip": zip_of({"x/a.json": data})},
    )
    plain = plain_input(folder / "a.json", len(data))
    gz = plain._replace(path=str(folder / "a.json.gz"), compression="gz", size_bytes=1)
    member = plain._replace(path=str(folder / "a.zip"), compression="zip", member="x/a.json")
    units = [
        ranges_of(plain, len(data), unit_bytes),
        split_whole(gz, unit_bytes, Layout(str(folder / "from_gz"))),
        split_whole(member, unit_bytes, Layout(str(folder / "from_zip"))),
    ]
    for packed in units[1:]:
        assert [unit._replace(path="", chunk_offset=None) for unit in packed] == [
            unit._replace(path="") for unit in units[0]
        ]
        assert not list(folder.rglob("*.tmp"))
    return list(map(read_all, units))


def lines_with_places(data, unit_bytes, limit=1 << 30, shown=0):
    """Every line of the data: the unit in which it begins, its offset, its bytes, its length."""
    places, offset = [], 0
    for line in io.BytesIO(data):
        content = line.removesuffix(b"\n")
        kept = content if len(content) <= limit else content[:shown]
        places.append((offset // unit_bytes, RawLine(offset, kept, len(content))))
        offset += len(line)
    return places


lengths = st.one_of(st.integers(0, 12), st.integers(0, 60))
files_of_lines = st.tuples(st.lists(lengths, max_size=12), st.booleans()).map(
    lambda drawn: (
        b"\n".join(bytes([97 + at % 26]) * length for at, length in enumerate(drawn[0]))
        + b"\n" * drawn[1]
    )
)


@settings(max_examples=80, deadline=None)
@given(files_of_lines, st.integers(1, 50), st.sampled_from([1, 2, 3, 7, 20, 1 << 20]))
@example(b"", 5, 1)
@example(b"\n", 1, 1)
@example(b"\n\n\n", 2, 1)
@example(b"abcd\nabcd\n", 5, 5)
@example(b"abcd\nabcd", 5, 5)
@example(b"a" * 60, 7, 3)
@example(b"a" * 21 + b"\nb\n", 7, 7)
@example(b"a\r\nb\rc\xe2\x80\xa8d\n\x85e", 2, 3)
def test_units_of_plain_gz_and_zip_read_the_same_lines_and_all_of_them(
    data, unit_bytes, piece_bytes
):
    with (
        tempfile.TemporaryDirectory() as folder,
        # Pieces of the usual 1 MiB would never meet a cut in files that fit a test.
        mock.patch.object(reading, "PIECE_BYTES", piece_bytes),
    ):
        expected = lines_with_places(data, unit_bytes)
        assert read_three_ways(data, unit_bytes, Path(folder)) == [expected] * 3


@settings(max_examples=80, deadline=None)
@given(
    files_of_lines | st.binary(max_size=80),
    st.integers(1, 50),
    st.sampled_from([1, 2, 3, 7, 20, 64]),
    st.integers(0, 40),
    st.integers(1, 5),
)
@example(b"abc", 3, 1, 0, 1)
@example(b"abc\nabcd\nabcde\n", 4, 2, 1, 3)
@example(b"a" * 60 + b"\nb\n", 7, 3, 5, 2)
@example(b"\n" + b"a" * 60, 1, 7, 0, 5)
def test_units_read_the_beginning_and_the_length_of_lines_that_are_too_long(
    data, unit_bytes, piece_bytes, further, shown
):
    # A line is kept until it is too long, so what is shown of it must lie that far from its end.
    limit = piece_bytes + shown - 1 + further
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(reading, "PIECE_BYTES", piece_bytes),
        mock.patch.object(reading, "MAX_LINE_BYTES", limit),
        mock.patch.object(reading, "_BEGINNING_BYTES", shown),
    ):
        expected = lines_with_places(data, unit_bytes, limit, shown)
        read = read_three_ways(data, unit_bytes, Path(folder))
        assert read == [expected] * 3
        for _, line in read[0]:
            assert line.is_too_long == (line.length > limit)


def test_line_that_is_too_long_is_one_line_of_the_unit_in_which_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 10_000)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1_000)
    novel = bytes(97 + at % 26 for at in range(25_000))
    data = b"\n".join([b"x", novel, b"y" * 10_000, b"z" * 10_001, b"last"])
    # In units of 6,000: the novel covers units 1 to 3 wholly, in which no line begins.
    expected = [
        (0, RawLine(0, b"x", 1)),
        (0, RawLine(2, novel[:4_096], 25_000)),
        (4, RawLine(25_003, b"y" * 10_000, 10_000)),
        (5, RawLine(35_004, b"z" * 4_096, 10_001)),
        (7, RawLine(45_006, b"last", 4)),
    ]
    read = read_three_ways(data, 6_000, tmp_path)
    assert read == [expected] * 3
    assert [line.is_too_long for _, line in read[0]] == [False, True, False, True, False]


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_bounded_however_long_a_line_is(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1 << 16)
    size = 24 << 20
    write_tree(tmp_path, {"a.json": b"x" * size + b"\nb"})
    units = ranges_of(plain_input(tmp_path / "a.json", size + 2), size + 2, size + 2)
    if packed:
        write_tree(tmp_path, {"a.json.gz": gzip.compress(b"x" * size + b"\nb")})
        gz = plain_input(tmp_path / "a.json.gz", 1 << 20)._replace(compression="gz")
        units = split_whole(gz, size + 2, Layout(str(tmp_path / "out")))
    tracemalloc.start()
    try:
        lines = read_all(units)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines == [(0, RawLine(0, b"x" * 4_096, size)), (0, RawLine(size + 1, b"b", 1))]
    assert peak < 6 << 20


def test_units_of_files_larger_than_one_piece_read_all_lines(tmp_path):
    lines = [b"x" * (number * 7_919 % 100_000) for number in range(60)]
    data = b"\n".join([*lines, b"y" * 2_500_000, *lines, b"last"])
    expected = lines_with_places(data, 300_000)
    assert len(data) > 8_000_000 and len(expected) == 122
    assert read_three_ways(data, 300_000, tmp_path) == [expected] * 3


def test_lines_may_have_16_mebibytes():
    assert reading.MAX_LINE_BYTES == 16 << 20
    assert not RawLine(0, b"", 16 << 20).is_too_long
    assert RawLine(0, b"", (16 << 20) + 1).is_too_long


def test_units_in_which_no_line_begins_have_no_chunk(tmp_path):
    write_tree(tmp_path, {"a.json.gz": gzip.compress(b"a" * 25 + b"\nb\n")})
    packed = plain_input(tmp_path / "a.json.gz", 1)._replace(compression="gz")
    units = split_whole(packed, 10, Layout(str(tmp_path / "out")))
    assert [(unit.start, unit.end, bool(unit.path), unit.chunk_offset) for unit in units] == [
        (0, 10, True, 0),
        (10, 20, False, 10),
        (20, 28, True, 26),
    ]
    assert len(list((tmp_path / "out").rglob("*.zst"))) == 2


def test_chunks_of_files_with_equal_last_names_do_not_meet(tmp_path):
    layout = Layout(str(tmp_path / "out"))
    read = []
    for folder in ("AA", "AB"):
        path = tmp_path / f"{folder}.gz"
        path.write_bytes(gzip.compress(folder.encode()))
        packed = InputFile("wiki2019zh", "", f"{folder}/wiki_00", str(path), "gz", "", 1)
        read.append(split_whole(packed, 10, layout))
    assert [read_all(units) for units in read] == [
        [(0, RawLine(0, b"AA", 2))],
        [(0, RawLine(0, b"AB", 2))],
    ]


def test_chunks_of_file_with_long_chinese_name_can_be_written(tmp_path):
    name = "我收集的语料/二〇一九年至二〇二三年各省地方志与县志全文.jsonl"
    write_tree(tmp_path, {f"in/{name}.gz": gzip.compress(PLAIN)})
    (found,) = find_inputs(str(tmp_path / "in")).recognised
    units = split_whole(found, 100, Layout(str(tmp_path / "out")))
    assert read_all(units) == [(0, RawLine(0, PLAIN[:-1], len(PLAIN) - 1))]


def test_gz_of_several_members_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"1\n2") + gzip.compress(b"3\n4\n"))
    units = split_whole(
        plain_input(path, 1)._replace(compression="gz"), 100, Layout(str(tmp_path / "out"))
    )
    assert read_all(units) == [
        (0, RawLine(0, b"1", 1)),
        (0, RawLine(2, b"23", 2)),
        (0, RawLine(5, b"4", 1)),
    ]


# --- What has changed since the run began ---

TEN_BYTES = b"123456789\n"


def shrunken_units(tmp_path, size_bytes):
    """Units of 10 bytes of a plain file of 50, which then has lost all behind `size_bytes`."""
    path = tmp_path / "a.json"
    path.write_bytes(TEN_BYTES * 5)
    units = ranges_of(plain_input(path, 50), 50, 10)
    os.truncate(path, size_bytes)
    return path, number_units(units)


@pytest.mark.parametrize("size_bytes", [0, 1, 9, 10, 11, 20, 25, 29, 30, 49])
def test_file_that_has_shrunk_is_refused_at_its_end(tmp_path, size_bytes):
    path, units = shrunken_units(tmp_path, size_bytes)
    whole = size_bytes // 10
    assert read_all(units[:whole]) == lines_with_places(TEN_BYTES * whole, 10)
    with pytest.raises(BrokenFileError) as raised:
        list(read_lines(units[whole]))
    assert str(raised.value) == (
        f"{path}, byte {size_bytes:,}: the file ends here and had at least {units[whole].end:,} "
        "bytes when the run began; stop what changes it and start again, "
        "or leave it out with --skip_broken_files"
    )
    for unit in units[whole + 1 :]:
        with pytest.raises(BrokenFileError, match="the file ends here and had at least"):
            list(read_lines(unit))


def test_file_that_has_shrunk_tells_its_true_end_to_later_units(tmp_path):
    _, units = shrunken_units(tmp_path, 11)
    with pytest.raises(BrokenFileError) as raised:
        list(read_lines(units[4]))
    assert raised.value.offset == 11


def test_clean_unit_of_file_that_has_shrunk_fails_unless_it_may_be_skipped(tmp_path):
    _, units = shrunken_units(tmp_path, 25)
    layout, config = Layout(str(tmp_path / "out")), DocumentsConfig(unit_bytes=10)
    with pytest.raises(BrokenFileError):
        clean_unit(units[2], config, layout, False)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    cleaned = clean_unit(units[2], config, layout, True)
    reason = "byte 25: the file ends here and had at least 30 bytes when the run began"
    assert cleaned.skipped == [Skipped("plain", TRAIN, "a.json", 20, 30, reason)]
    # Nothing of the stretch counts as read, and later stages find its files, all empty.
    assert cleaned.ledger == {}
    paths = layout.cleaned, layout.cleaned_rejected, layout.sizes, layout.frames
    others = layout.cleaned_samples, layout.keys, layout.bands, layout.paragraphs
    assert {str(path) for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        path(units[2].number, units[2].total) for path in (*paths, *others)
    }
    samples = files.read_bytes(layout.cleaned_samples(units[2].number, units[2].total))
    assert samples_from_bytes(samples) == []
    whole = clean_unit(units[1], config, layout, True)
    assert whole.skipped == [] and whole.ledger["plain", TRAIN, DOCUMENTS, READ] == 1


def test_file_that_has_grown_is_read_as_far_as_it_was_known(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(TEN_BYTES * 2)
    units = ranges_of(plain_input(path, 20), 20, 10)
    path.write_bytes(TEN_BYTES * 4)
    assert read_all(units) == lines_with_places(TEN_BYTES * 2, 10)


def damaged_chunk(tmp_path, change):
    """The one unit of a gz file, its chunk changed."""
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(LONG))
    packed = plain_input(path, len(LONG))._replace(compression="gz")
    (unit,) = split_whole(packed, 1 << 20, Layout(str(tmp_path / "out")))
    chunk = Path(unit.path)
    chunk.write_bytes(change(chunk.read_bytes()))
    return unit


def assert_refused_as_damaged(unit):
    with pytest.raises(RunError) as raised:
        list(read_lines(unit))
    said = str(raised.value)
    assert said.endswith("; delete it and give the same command again")
    assert re.match(rf"{re.escape(unit.path)}: is (damaged \(.+\)|cut off); ", said)
    # It is the run's own file, not the user's: --skip_broken_files must not hide it.
    assert not isinstance(raised.value, BrokenFileError)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: b"no zstd at all" + data, id="no zstd"),
        pytest.param(lambda data: data[:9] + bytes(20) + data[29:], id="overwritten by zeros"),
    ],
)
def test_read_lines_refuses_damaged_chunk(tmp_path, change):
    assert_refused_as_damaged(damaged_chunk(tmp_path, change))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_read_lines_refuses_chunk_that_is_cut_off(tmp_path, kept):
    assert_refused_as_damaged(damaged_chunk(tmp_path, lambda data: data[: int(kept * len(data))]))


def test_read_lines_refuses_chunk_in_which_one_bit_has_changed(tmp_path):
    noise = bytes(at * at * 7_919 % 251 for at in range(1_000)).replace(b"\n", b"x")
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(noise))
    packed = plain_input(path, 1_000)._replace(compression="gz")
    (unit,) = split_whole(packed, 1 << 20, Layout(str(tmp_path / "out")))
    data = bytearray(Path(unit.path).read_bytes())
    data[200] ^= 1
    Path(unit.path).write_bytes(data)
    assert_refused_as_damaged(unit)


def test_unit_without_a_chunk_has_no_lines(tmp_path):
    (unit,) = ranges_of(plain_input("", 10), 10, 10)
    assert list(read_lines(unit._replace(path="", chunk_offset=0))) == []
