import gzip
import io
import json
import re
import struct
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import reading
from pipeline.errors import RunError, UsageError
from pipeline.layout import Layout
from pipeline.reading import find_inputs, open_decompressed, read_lines, split_into_chunks
from pipeline.records import HELD_OUT, TEST, TRAIN, InputFile
from pipeline.units import ranges_of

WIKI = b'{"id": "1", "url": "u", "title": "t", "text": "t"}\n'
NEWS = b'{"news_id": "1", "title": "t", "desc": "d", "source": "s", "content": "c"}\n'
PLAIN = b'{"text": "t"}\n'


def write_tree(root, contents):
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def zip_of(members, compression=zipfile.ZIP_DEFLATED):
    """A name that ends with a slash is a folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def mark_encrypted(packed):
    """Sets general purpose bit 0 in the local and the central headers of all members."""
    data = bytearray(packed)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(signature), packed):
            data[found.start() + place] |= 1
    return bytes(data)


def described(inputs):
    return sorted((found.corpus, found.split, found.name) for found in inputs.recognised)


UPSTREAM = {
    "wiki_zh_2019.zip": {
        "wiki_zh/": b"",
        "wiki_zh/AA/": b"",
        "wiki_zh/AA/wiki_00": WIKI,
        "wiki_zh/AM/wiki_73": WIKI,
        "__MACOSX/wiki_zh/AA/._wiki_00": b"\0\5\x16\7",
    },
    "new2016zh.zip": {"news2016zh_train.json": NEWS, "news2016zh_valid.json": NEWS},
    "baike2018qa.zip": {"baike_qa_train.json": b"{}", "baike_qa_valid.json": b"{}"},
    "webtext2019zh.zip": {
        "web_text_zh_train.json": b"{}",
        "web_text_zh_valid.json": b"{}",
        "web_text_zh_testa.json": b"{}",
    },
    "translation2019zh.zip": {
        "translation2019zh_train.json": b"{}",
        "translation2019zh_valid.json": b"{}",
        "__MACOSX/._translation2019zh_train.json": b"\0\5\x16\7",
    },
}
UPSTREAM_INPUTS = [
    ("baike2018qa", HELD_OUT, "baike_qa_valid.json"),
    ("baike2018qa", TRAIN, "baike_qa_train.json"),
    ("news2016zh", HELD_OUT, "news2016zh_valid.json"),
    ("news2016zh", TRAIN, "news2016zh_train.json"),
    ("translation2019zh", HELD_OUT, "translation2019zh_valid.json"),
    ("translation2019zh", TRAIN, "translation2019zh_train.json"),
    ("webtext2019zh", HELD_OUT, "web_text_zh_valid.json"),
    ("webtext2019zh", TEST, "web_text_zh_testa.json"),
    ("webtext2019zh", TRAIN, "web_text_zh_train.json"),
    ("wiki2019zh", "", "AA/wiki_00"),
    ("wiki2019zh", "", "AM/wiki_73"),
]


def test_find_inputs_knows_the_five_zips_of_upstream(tmp_path):
    write_tree(tmp_path, {name: zip_of(members) for name, members in UPSTREAM.items()})
    inputs = find_inputs(str(tmp_path))
    assert described(inputs) == UPSTREAM_INPUTS
    assert inputs.ignored == []


def test_find_inputs_gives_unpacked_and_gzipped_files_the_names_of_zipped_ones(tmp_path):
    members = {
        f"some/{archive.removesuffix('.zip')}/{name}": data
        for archive, contents in UPSTREAM.items()
        for name, data in contents.items()
        if not name.startswith("__MACOSX/") and not name.endswith("/")
    }
    write_tree(tmp_path / "plain", members)
    write_tree(
        tmp_path / "gz", {f"{name}.gz": gzip.compress(data) for name, data in members.items()}
    )
    for folder in ("plain", "gz"):
        inputs = find_inputs(str(tmp_path / folder))
        assert described(inputs) == UPSTREAM_INPUTS
        assert inputs.ignored == []


def test_find_inputs_says_where_each_file_is_and_sorts_the_biggest_first(tmp_path):
    packed = gzip.compress(NEWS * 20)
    write_tree(
        tmp_path,
        {
            "a/b.zip": zip_of({"wiki_zh/AA/wiki_00": WIKI * 100, "wiki_zh/AB/wiki_00": WIKI}),
            "news2016zh_train.json.gz": packed,
            "mine/own_valid.jsonl": PLAIN * 500,
        },
    )
    assert 51 < len(packed) < 5_100
    assert find_inputs(str(tmp_path)).recognised == [
        InputFile(
            "plain",
            HELD_OUT,
            "mine/own_valid.jsonl",
            str(tmp_path / "mine/own_valid.jsonl"),
            "",
            "",
            7_000,
        ),
        InputFile(
            "wiki2019zh",
            "",
            "AA/wiki_00",
            str(tmp_path / "a/b.zip"),
            "zip",
            "wiki_zh/AA/wiki_00",
            5_100,
        ),
        InputFile(
            "news2016zh",
            TRAIN,
            "news2016zh_train.json",
            str(tmp_path / "news2016zh_train.json.gz"),
            "gz",
            "",
            len(packed),
        ),
        InputFile(
            "wiki2019zh",
            "",
            "AB/wiki_00",
            str(tmp_path / "a/b.zip"),
            "zip",
            "wiki_zh/AB/wiki_00",
            51,
        ),
    ]


def test_find_inputs_recognises_files_of_other_names_by_keys(tmp_path):
    write_tree(
        tmp_path,
        {
            "dump.jsonl": b"\xef\xbb\xbf" + WIKI,
            "deep/er/news": NEWS,
            "broken_line.json": b"no json\n\n[]\n" + NEWS,
            "mine.TXT": PLAIN,
            "packed_test.ndjson.gz": gzip.compress(PLAIN),
            "all.zip": zip_of({"x/y_dev.jsonl": PLAIN}),
        },
    )
    inputs = find_inputs(str(tmp_path))
    assert described(inputs) == [
        ("news2016zh", "", "broken_line.json"),
        ("news2016zh", "", "deep/er/news"),
        ("plain", "", "mine.TXT"),
        ("plain", HELD_OUT, "x/y_dev.jsonl"),
        ("plain", TEST, "packed_test.ndjson"),
        ("wiki2019zh", "", "dump.jsonl"),
    ]
    assert inputs.ignored == []


def test_find_inputs_lists_unknown_files_as_ignored(tmp_path):
    write_tree(
        tmp_path,
        {
            "README.md": PLAIN,
            "news2016zh_train.json": NEWS,
            "other/keys.jsonl": b'{"content": "c"}\n',
            "other/numbers.json": b"1\n2\n",
            "other/empty": b"",
            "table.csv": PLAIN,
            "a.zip": zip_of({"in/ner.md": PLAIN, "wiki_zh/AA/wiki_00": WIKI}),
        },
    )
    inputs = find_inputs(str(tmp_path))
    assert [found.name for found in inputs.recognised] == ["news2016zh_train.json", "AA/wiki_00"]
    assert sorted(inputs.ignored) == [
        "README.md",
        "a.zip:in/ner.md",
        "other/empty",
        "other/keys.jsonl",
        "other/numbers.json",
        "table.csv",
    ]


def test_find_inputs_passes_over_dotfiles_and_resource_forks(tmp_path):
    write_tree(
        tmp_path,
        {
            ".hidden.jsonl": PLAIN,
            ".git/plain.jsonl": PLAIN,
            "a/.b/c.jsonl": PLAIN,
            "a/._wiki_00": PLAIN,
            "a/.DS_Store": PLAIN,
            "a/wiki_00": WIKI,
            "b.zip": zip_of({"__MACOSX/mine.jsonl": PLAIN, "__MACOSX/a/wiki_01": WIKI}),
        },
    )
    inputs = find_inputs(str(tmp_path))
    assert described(inputs) == [("wiki2019zh", "", "a/wiki_00")]
    assert inputs.ignored == []


def test_find_inputs_passes_over_dotfiles_inside_zips_too(tmp_path):
    members = {"a/mine.jsonl": PLAIN, "a/.ipynb_checkpoints/mine.jsonl": PLAIN, ".x.jsonl": PLAIN}
    write_tree(tmp_path, {"a.zip": zip_of(members)})
    assert described(find_inputs(str(tmp_path))) == [("plain", "", "a/mine.jsonl")]


def test_find_inputs_knows_members_of_zips_that_begin_with_the_current_folder(tmp_path):
    write_tree(tmp_path, {"a.zip": zip_of({"./wiki_zh/AA/wiki_00": WIKI})})
    assert described(find_inputs(str(tmp_path))) == [("wiki2019zh", "", "AA/wiki_00")]


@pytest.mark.parametrize("ending", ["", "/"])
def test_find_inputs_takes_directory_with_or_without_a_slash(tmp_path, ending):
    write_tree(tmp_path, {"deep/mine.jsonl": PLAIN})
    assert [found.name for found in find_inputs(f"{tmp_path}{ending}").recognised] == [
        "deep/mine.jsonl"
    ]


@pytest.mark.parametrize(
    ("first", "second", "corpus", "name"),
    [
        (
            "a/news2016zh_train.json",
            "b/news2016zh_train.json",
            "news2016zh",
            "news2016zh_train.json",
        ),
        ("a/AA/wiki_00", "b/AA/wiki_00", "wiki2019zh", "AA/wiki_00"),
        ("mine.jsonl", "mine.jsonl.gz", "plain", "mine.jsonl"),
    ],
)
def test_find_inputs_refuses_two_files_of_one_name(tmp_path, first, second, corpus, name):
    data = {"news2016zh": NEWS, "wiki2019zh": WIKI, "plain": PLAIN}[corpus]
    packed = gzip.compress(data) if second.endswith(".gz") else data
    write_tree(tmp_path, {first: data, second: packed})
    with pytest.raises(UsageError) as raised:
        find_inputs(str(tmp_path))
    assert str(raised.value) == (
        f"{tmp_path / first} and {tmp_path / second} both hold {corpus}'s {name}; "
        "remove or rename one of them"
    )


def test_find_inputs_refuses_zip_beside_what_was_unpacked_from_it(tmp_path):
    write_tree(
        tmp_path,
        {"wiki_zh.zip": zip_of({"wiki_zh/AA/wiki_00": WIKI}), "wiki_zh/AA/wiki_00": WIKI},
    )
    with pytest.raises(UsageError) as raised:
        find_inputs(str(tmp_path))
    assert str(tmp_path / "wiki_zh.zip") in str(raised.value)
    assert str(tmp_path / "wiki_zh/AA/wiki_00") in str(raised.value)


def test_find_inputs_refuses_missing_directory(tmp_path):
    with pytest.raises(UsageError, match=r"^--input_dir=.*/missing: no such directory$"):
        find_inputs(str(tmp_path / "missing"))


def test_find_inputs_refuses_empty_directory(tmp_path):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"^--input_dir=.*/empty: is empty or no directory; "):
        find_inputs(str(tmp_path / "empty"))


def test_find_inputs_refuses_file_in_place_of_a_directory(tmp_path):
    write_tree(tmp_path, {"news2016zh_train.json": NEWS})
    with pytest.raises(UsageError, match=r"\.json: is empty or no directory; "):
        find_inputs(str(tmp_path / "news2016zh_train.json"))


def test_find_inputs_refuses_directory_without_recognised_file(tmp_path):
    write_tree(tmp_path, {"a.md": b"", "b.json": b"{}"})
    with pytest.raises(
        UsageError, match=r"none of 2 files is of a known corpus \(a\.md, b\.json\)"
    ):
        find_inputs(str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"no zip at all", zip_of({"a.json": NEWS * 99})[:-30]])
def test_find_inputs_refuses_zip_that_is_none_or_cut_off(tmp_path, data):
    write_tree(tmp_path, {"new2016zh.zip": data})
    with pytest.raises(RunError, match=r"/new2016zh\.zip: is no zip file or cut off .*download"):
        find_inputs(str(tmp_path))


def test_find_inputs_refuses_encrypted_member_that_it_must_look_into(tmp_path):
    write_tree(tmp_path, {"a.zip": mark_encrypted(zip_of({"x/mine.jsonl": PLAIN}))})
    with pytest.raises(RunError, match=r"/a\.zip:x/mine\.jsonl: is encrypted; unpack it with"):
        find_inputs(str(tmp_path))


def test_split_into_chunks_refuses_encrypted_member(tmp_path):
    write_tree(tmp_path, {"in/a.zip": mark_encrypted(zip_of({"news2016zh_train.json": NEWS}))})
    (found,) = find_inputs(str(tmp_path / "in")).recognised
    with pytest.raises(RunError, match=r"/a\.zip:news2016zh_train\.json: is encrypted; unpack"):
        split_into_chunks(found, 10, Layout(str(tmp_path / "out")))


def break_checksum(packed):
    """Changes the CRC of the only member in its central header."""
    at = packed.index(b"PK\x01\x02") + 16
    crc = struct.unpack_from("<I", packed, at)[0]
    return packed[:at] + struct.pack("<I", crc ^ 1) + packed[at + 4 :]


LONG = b"".join(b'{"text": "%d"}\n' % (number * 7_919) for number in range(9_999))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("news2016zh_train.json.gz", b"no gzip at all"),
        ("news2016zh_train.json.gz", gzip.compress(LONG)[:-100]),
        ("news2016zh_train.json.gz", gzip.compress(LONG)[:-6] + b"\0" * 6),
        # After the header of 10 bytes, ones ask for a kind of block that does not exist.
        ("news2016zh_train.json.gz", gzip.compress(LONG)[:10] + b"\xff" * 5_000),
        ("a.zip", break_checksum(zip_of({"news2016zh_train.json": LONG}))),
    ],
    ids=["no gzip", "cut off", "wrong checksum", "damaged", "wrong checksum in zip"],
)
def test_split_into_chunks_refuses_broken_file_and_names_it(tmp_path, name, data):
    write_tree(tmp_path, {f"in/{name}": data})
    (found,) = find_inputs(str(tmp_path / "in")).recognised
    member = ":news2016zh_train.json" if name == "a.zip" else ""
    place = re.escape(f"{tmp_path / 'in' / name}{member}")
    with pytest.raises(RunError, match=rf"^{place}: cannot be unpacked \(.*\); download it again$"):
        split_into_chunks(found, 1_000, Layout(str(tmp_path / "out")))
    assert not list((tmp_path / "out").rglob("*.tmp"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_open_decompressed_streams_a_member_of_a_zip(tmp_path, compression):
    packed = zip_of({"x/a.json": LONG, "b.json": NEWS}, compression)
    write_tree(tmp_path, {"a.zip": packed})
    found = InputFile("plain", "", "a.json", str(tmp_path / "a.zip"), "zip", "x/a.json", len(LONG))
    with open_decompressed(found) as stream:
        assert stream.read() == LONG


def read_all(units):
    return [(unit.ordinal, *line) for unit in units for line in read_lines(unit)]


def read_three_ways(data, unit_bytes, folder):
    """Returns what all units of a plain file, of its gz and of its zip read, in this order."""
    write_tree(
        folder,
        {"a.json": data, "a.json.gz": gzip.compress(data), "a.zip": zip_of({"x/a.json": data})},
    )
    plain = InputFile("plain", TRAIN, "a.json", str(folder / "a.json"), "", "", len(data))
    gz = plain._replace(path=str(folder / "a.json.gz"), compression="gz", size_bytes=1)
    member = plain._replace(path=str(folder / "a.zip"), compression="zip", member="x/a.json")
    units = [
        ranges_of(plain, len(data), unit_bytes),
        split_into_chunks(gz, unit_bytes, Layout(str(folder / "from_gz"))),
        split_into_chunks(member, unit_bytes, Layout(str(folder / "from_zip"))),
    ]
    for packed in units[1:]:
        assert [unit._replace(path="", chunk_offset=None) for unit in packed] == [
            unit._replace(path="") for unit in units[0]
        ]
        assert not list(folder.rglob("*.tmp"))
    return list(map(read_all, units))


def lines_with_places(data, unit_bytes):
    """Every line of the data: the unit in which it begins, its offset, its bytes."""
    places, offset = [], 0
    for line in io.BytesIO(data):
        places.append((offset // unit_bytes, offset, line))
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
        mock.patch.object(reading, "_PIECE_BYTES", piece_bytes),
    ):
        expected = lines_with_places(data, unit_bytes)
        assert read_three_ways(data, unit_bytes, Path(folder)) == [expected] * 3


def test_units_of_files_larger_than_one_piece_read_all_lines(tmp_path):
    lines = [b"x" * (number * 7_919 % 100_000) for number in range(60)]
    data = b"\n".join([*lines, b"y" * 2_500_000, *lines, b"last"])
    expected = lines_with_places(data, 300_000)
    assert len(data) > 8_000_000 and len(expected) == 122
    assert read_three_ways(data, 300_000, tmp_path) == [expected] * 3


def test_units_in_which_no_line_begins_have_no_chunk(tmp_path):
    write_tree(tmp_path, {"a.json.gz": gzip.compress(b"a" * 25 + b"\nb\n")})
    packed = InputFile("plain", TRAIN, "a.json", str(tmp_path / "a.json.gz"), "gz", "", 1)
    units = split_into_chunks(packed, 10, Layout(str(tmp_path / "out")))
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
        read.append(split_into_chunks(packed, 10, layout))
    assert [read_all(units) for units in read] == [[(0, 0, b"AA")], [(0, 0, b"AB")]]


def test_chunks_of_file_with_long_chinese_name_can_be_written(tmp_path):
    name = "我收集的语料/二〇一九年至二〇二三年各省地方志与县志全文.jsonl"
    write_tree(tmp_path, {f"in/{name}.gz": gzip.compress(PLAIN)})
    (found,) = find_inputs(str(tmp_path / "in")).recognised
    units = split_into_chunks(found, 100, Layout(str(tmp_path / "out")))
    assert read_all(units) == [(0, 0, PLAIN)]


def test_gz_of_several_members_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"1\n2") + gzip.compress(b"3\n4\n"))
    packed = InputFile("plain", TRAIN, "a.json", str(path), "gz", "", 1)
    units = split_into_chunks(packed, 100, Layout(str(tmp_path / "out")))
    assert read_all(units) == [(0, 0, b"1\n"), (0, 2, b"23\n"), (0, 5, b"4\n")]


def test_find_inputs_recognises_file_of_long_lines_by_keys(tmp_path):
    long_line = json.dumps({"text": "x" * (1 << 20)}).encode()
    write_tree(tmp_path, {"mine.jsonl": long_line + b"\n"})
    assert described(find_inputs(str(tmp_path))) == [("plain", "", "mine.jsonl")]
