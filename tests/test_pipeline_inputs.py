import gzip
import io
import json
import os
import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packed_files import mark_encrypted, write_tree, zip_of

from pipeline import reading
from pipeline.errors import BrokenFileError, UsageError
from pipeline.inputs import find_inputs
from pipeline.reading import read_pieces
from pipeline.records import HELD_OUT, TEST, TRAIN, InputFile, Skipped

WIKI = b'{"id": "1", "url": "u", "title": "t", "text": "t"}\n'
NEWS = b'{"news_id": "1", "title": "t", "desc": "d", "source": "s", "content": "c"}\n'
PLAIN = b'{"text": "t"}\n'


def zip_that_overlaps(members):
    """All members but the first say that they lie where it does."""
    data = bytearray(zip_of(members))
    for found in list(re.finditer(b"PK\x01\x02", bytes(data)))[1:]:
        struct.pack_into("<I", data, found.start() + 42, 0)
    return bytes(data)


def overlapping_bomb(names, kernel):
    """A zip bomb whose members quote the headers of those behind them (Fifield 2019).

    All end with the same packed kernel, so that hundreds of members take the space of one.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed, content = compressor.compress(kernel) + compressor.flush(), kernel
    entries = []
    for name in reversed(names):
        fields = struct.pack(
            "<5H3I2H",
            *(20, 0, zipfile.ZIP_DEFLATED, 0, 33, zlib.crc32(content), len(packed), len(content)),
            *(len(name), 0),
        )
        local = b"PK\x03\x04" + fields + name.encode()
        entries.append((name, fields, len(local) + len(packed)))
        quoted = struct.pack("<BHH", 0, len(local), len(local) ^ 0xFFFF) + local
        whole, packed, content = local + packed, quoted + packed, local + content
    directory = b""
    for name, fields, size in reversed(entries):
        place = struct.pack("<3H2I", 0, 0, 0, 0, len(whole) - size)
        directory += b"PK\x01\x02\x14\0" + fields + place + name.encode()
    return (
        whole
        + directory
        + b"PK\x05\x06"
        + struct.pack("<4H2IH", 0, 0, len(names), len(names), len(directory), len(whole), 0)
    )


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
    plain, packed_wiki, gz = (
        str(tmp_path / name)
        for name in ("mine/own_valid.jsonl", "a/b.zip", "news2016zh_train.json.gz")
    )
    zip_mark = f"{os.stat(packed_wiki).st_mtime_ns} {os.stat(packed_wiki).st_size}"
    assert find_inputs(str(tmp_path)).recognised == [
        InputFile(
            *("plain", HELD_OUT, "mine/own_valid.jsonl", plain, "", "", 7_000),
            f"{os.stat(plain).st_mtime_ns} 7000",
        ),
        InputFile(
            *("wiki2019zh", "", "AA/wiki_00", packed_wiki, "zip", "wiki_zh/AA/wiki_00", 5_100),
            f"{zip_mark} {zlib.crc32(WIKI * 100):08x}",
        ),
        InputFile(
            *("news2016zh", TRAIN, "news2016zh_train.json", gz, "gz", "", len(packed)),
            f"{os.stat(gz).st_mtime_ns} {len(packed)}",
        ),
        InputFile(
            *("wiki2019zh", "", "AB/wiki_00", packed_wiki, "zip", "wiki_zh/AB/wiki_00", 51),
            f"{zip_mark} {zlib.crc32(WIKI):08x}",
        ),
    ]


def fingerprints(folder):
    return {found.name: found.fingerprint for found in find_inputs(str(folder)).recognised}


@pytest.mark.parametrize("name", ["a_train.jsonl", "a_train.jsonl.gz"])
def test_fingerprint_of_a_file_changes_when_it_is_written_or_gets_another_size(tmp_path, name):
    path = tmp_path / name
    seen = set()
    for data, modified in ((PLAIN, 1), (PLAIN, 2), (PLAIN * 2, 2)):
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        os.utime(path, ns=(0, modified))
        for _ in range(2):
            seen.add(fingerprints(tmp_path)["a_train.jsonl"])
    assert len(seen) == 3


def test_fingerprint_of_a_zipped_file_changes_with_its_content_and_with_the_zip(tmp_path):
    seen = []
    for second, modified in ((NEWS, 1), (NEWS[::-1], 1), (NEWS, 1), (NEWS, 2)):
        members = {"wiki_zh/AA/wiki_00": WIKI, "news2016zh_train.json": second}
        write_tree(tmp_path, {"a.zip": zip_of(members, zipfile.ZIP_STORED)})
        os.utime(tmp_path / "a.zip", ns=(0, modified))
        seen.append(fingerprints(tmp_path))
    assert seen[0] == seen[2]
    assert seen[0]["AA/wiki_00"] == seen[1]["AA/wiki_00"]
    assert seen[0]["news2016zh_train.json"] != seen[1]["news2016zh_train.json"]
    # A damaged zip that is mended in place may have the same directory: its time tells.
    assert not seen[0].items() & seen[3].items()


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
        UsageError, match=r"none of 2 files is whole and of a known corpus \(a\.md, b\.json\)"
    ):
        find_inputs(str(tmp_path))


@pytest.mark.parametrize(
    "size",
    [
        1 << 20,
        3 << 20,
        6 << 20,
    ],
)
def test_find_inputs_recognises_file_of_long_lines_by_keys(tmp_path, size):
    long_line = json.dumps({"text": "x" * size}).encode()
    write_tree(tmp_path, {"a_train.json": NEWS, "mine.jsonl": long_line + b"\n" + PLAIN})
    assert described(find_inputs(str(tmp_path))) == [
        ("news2016zh", TRAIN, "a_train.json"),
        ("plain", "", "mine.jsonl"),
    ]


def test_find_inputs_looks_at_lines_that_lie_across_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PIECE_BYTES", 20)
    write_tree(tmp_path, {"mine.jsonl": b"no json\n" + WIKI})
    assert described(find_inputs(str(tmp_path))) == [("wiki2019zh", "", "mine.jsonl")]


def test_find_inputs_looks_at_the_first_20_lines(tmp_path):
    write_tree(
        tmp_path,
        {"a.json": b"no json\n" * 19 + PLAIN, "b.json": b"no json\n" * 20 + PLAIN},
    )
    inputs = find_inputs(str(tmp_path))
    assert (described(inputs), inputs.ignored) == ([("plain", "", "a.json")], ["b.json"])


def test_find_inputs_says_that_nothing_was_skipped(tmp_path):
    write_tree(tmp_path, {"a.zip": zip_of({"a_train.jsonl": PLAIN}), "b_train.jsonl": PLAIN})
    for skip_broken_files in (False, True):
        assert find_inputs(str(tmp_path), skip_broken_files).skipped == []


# --- Broken and hostile files: refused, or left out and listed ---


def bomb_of(members):
    return zip_of({name: bytes(1_000_000) for name in members})


ESCAPES = ["../x.json", "/etc/x.json", "a/../../x.json", "a/..", "/"]
WHOLE = zip_of({"news2016zh_train.json": NEWS * 99, "news2016zh_valid.json": NEWS})
CUT_OFF = "is no zip file or cut off here (File is not a zip file)"
BOMB = "its {size:,} bytes would become {unpacked:,}, as those of a zip bomb"
ENCRYPTED = "is encrypted (File 'x/mine.jsonl' is encrypted, password required for extraction)"


def fault_of_escape(name):
    return f"its member {name!r} points out of the archive"


broken_zips = pytest.mark.parametrize(
    ("data", "member", "offset", "fault", "remedy"),
    [
        pytest.param(b"", "", 0, CUT_OFF, "download it again", id="empty"),
        pytest.param(b"no zip at all", "", 13, CUT_OFF, "download it again", id="no zip"),
        pytest.param(
            WHOLE[:-30], "", len(WHOLE) - 30, CUT_OFF, "download it again", id="cut off at its end"
        ),
        pytest.param(WHOLE[:100], "", 100, CUT_OFF, "download it again", id="cut off in a member"),
        *(
            pytest.param(
                zip_of({"news2016zh_train.json": NEWS, name: NEWS}),
                "",
                len(zip_of({"news2016zh_train.json": NEWS})) - 22 - 46 - 21,
                fault_of_escape(name),
                "unpack it by hand",
                id=f"member {name}",
            )
            for name in ESCAPES
        ),
        pytest.param(
            mark_encrypted(zip_of({"news2016zh_train.json": NEWS, "x/mine.jsonl": PLAIN})),
            ":x/mine.jsonl",
            0,
            ENCRYPTED,
            "unpack it with its password",
            id="encrypted",
        ),
        pytest.param(
            bomb_of(["a.json", "news2016zh_train.json"]),
            "",
            0,
            BOMB.format(size=len(bomb_of(["a.json", "news2016zh_train.json"])), unpacked=2_000_000),
            "unpack it by hand",
            id="bomb",
        ),
    ],
)


@broken_zips
def test_find_inputs_refuses_broken_zip(tmp_path, monkeypatch, data, member, offset, fault, remedy):
    monkeypatch.setattr(reading, "SMALL_BYTES", 1_000_000)
    write_tree(tmp_path, {"a.zip": zip_of({"a/wiki_00": WIKI}), "b/new.zip": data})
    with pytest.raises(BrokenFileError) as raised:
        find_inputs(str(tmp_path))
    assert str(raised.value) == (
        f"{tmp_path / 'b/new.zip'}{member}, byte {offset:,}: {fault}; {remedy}, "
        "or leave it out with --skip_broken_files"
    )


@broken_zips
def test_find_inputs_leaves_broken_zip_out_with_all_that_it_holds(
    tmp_path, monkeypatch, data, member, offset, fault, remedy
):
    monkeypatch.setattr(reading, "SMALL_BYTES", 1_000_000)
    write_tree(
        tmp_path,
        {"a.zip": zip_of({"a/wiki_00": WIKI}), "b/new.zip": data, "c_train.jsonl": PLAIN},
    )
    inputs = find_inputs(str(tmp_path), skip_broken_files=True)
    assert described(inputs) == [("plain", TRAIN, "c_train.jsonl"), ("wiki2019zh", "", "a/wiki_00")]
    assert inputs.skipped == [Skipped("", "", "b/new.zip", 0, 0, f"byte {offset:,}: {fault}")]
    assert inputs.ignored == []


@pytest.mark.parametrize("name", ["..x.json", "a/..b/x.json", "a/x...json", "a/...", "a//x.json"])
def test_find_inputs_takes_members_with_dots_in_their_names(tmp_path, name):
    write_tree(tmp_path, {"a.zip": zip_of({"wiki_zh/AA/wiki_00": WIKI, name: NEWS})})
    assert ("wiki2019zh", "", "AA/wiki_00") in described(find_inputs(str(tmp_path)))


def test_find_inputs_takes_zip_that_grows_just_as_much_as_is_allowed(tmp_path, monkeypatch):
    packed = zip_of({"a_train.jsonl": PLAIN * 9_999})
    size = len(PLAIN) * 9_999
    write_tree(tmp_path, {"a.zip": packed})
    # By either bound: what any file may become, and how many times its size it may grow.
    monkeypatch.setattr(reading, "MAX_EXPANSION", 0)
    monkeypatch.setattr(reading, "SMALL_BYTES", size)
    assert len(find_inputs(str(tmp_path)).recognised) == 1
    monkeypatch.setattr(reading, "SMALL_BYTES", size - 1)
    with pytest.raises(BrokenFileError, match=f"would become {size:,}, as those of a zip bomb; "):
        find_inputs(str(tmp_path))
    monkeypatch.setattr(reading, "MAX_EXPANSION", -(-size // len(packed)))
    assert len(find_inputs(str(tmp_path)).recognised) == 1
    monkeypatch.setattr(reading, "MAX_EXPANSION", -(-size // len(packed)) - 1)
    with pytest.raises(BrokenFileError, match=f"would become {size:,}, as those of a zip bomb; "):
        find_inputs(str(tmp_path))


def test_bounds_let_text_pass_and_stop_what_deflate_makes_of_zeros(tmp_path):
    # Of 70 MB of zeros deflate makes 68 kB, a thousandth.
    zeros = zip_of({"a_train.jsonl": bytes(70_000_000)})
    assert len(zeros) < 100_000
    write_tree(tmp_path, {"a.zip": zeros})
    with pytest.raises(BrokenFileError, match=r"would become 70,000,000, as those of a zip bomb; "):
        find_inputs(str(tmp_path))
    assert (reading.MAX_EXPANSION, reading.SMALL_BYTES) == (200, 64 << 20)


def test_find_inputs_refuses_bomb_of_overlapping_members(tmp_path):
    names = [f"{number}_train.jsonl" for number in range(150)]
    bomb = overlapping_bomb(names, PLAIN * 50_000)
    unpacked = sum(member.file_size for member in zipfile.ZipFile(io.BytesIO(bomb)).infolist())
    assert len(bomb) < 50_000 and unpacked > 100_000_000
    write_tree(tmp_path, {"a.zip": bomb, "b_train.jsonl": PLAIN})
    fault = f"its {len(bomb):,} bytes would become {unpacked:,}, as those of a zip bomb"
    with pytest.raises(BrokenFileError, match=re.escape(fault)):
        find_inputs(str(tmp_path))
    inputs = find_inputs(str(tmp_path), skip_broken_files=True)
    assert described(inputs) == [("plain", TRAIN, "b_train.jsonl")]
    assert inputs.skipped == [Skipped("", "", "a.zip", 0, 0, f"byte 0: {fault}")]


def test_find_inputs_refuses_overlapping_member_that_it_must_look_into(tmp_path):
    overlapping = zip_that_overlaps({"news2016zh_train.json": NEWS, "x.jsonl": PLAIN})
    write_tree(tmp_path, {"a.zip": overlapping, "b_train.jsonl": PLAIN})
    with pytest.raises(
        BrokenFileError, match=r"a\.zip:x\.jsonl, byte 0: cannot be unpacked \(.+\); download it "
    ):
        find_inputs(str(tmp_path))
    inputs = find_inputs(str(tmp_path), skip_broken_files=True)
    assert described(inputs) == [("plain", TRAIN, "b_train.jsonl")]
    assert [skipped.name for skipped in inputs.skipped] == ["a.zip"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"no gzip at all", r"byte 0: cannot be unpacked \(Not a gzipped file \(b'no'\)\)"),
        (gzip.compress(PLAIN)[:-9], r"byte 0: cannot be unpacked \(.*ended before the end.*\)"),
        (gzip.compress(bytes(5_000)), r"byte 2,000: grows over 200 times its size, as a bomb does"),
    ],
    ids=["no gzip", "cut off", "bomb"],
)
def test_find_inputs_refuses_broken_gz_that_it_must_look_into_or_leaves_it_out(
    tmp_path, monkeypatch, data, fault
):
    monkeypatch.setattr(reading, "SMALL_BYTES", 1_000)
    monkeypatch.setattr(reading, "MAX_EXPANSION", 200 if data[:2] != b"\x1f\x8b" else 1)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1_000)
    fault = fault.replace("over 200", f"over {reading.MAX_EXPANSION}")
    write_tree(tmp_path, {"mine.jsonl.gz": data, "b_train.jsonl": PLAIN})
    with pytest.raises(BrokenFileError, match=rf"/mine\.jsonl\.gz, {fault}; "):
        find_inputs(str(tmp_path))
    inputs = find_inputs(str(tmp_path), skip_broken_files=True)
    assert described(inputs) == [("plain", TRAIN, "b_train.jsonl")]
    ((*place, reason),) = inputs.skipped
    assert place == ["", "", "mine.jsonl.gz", 0, 0]
    assert re.fullmatch(fault, reason)


def test_find_inputs_of_broken_files_alone_refuses_even_when_they_may_be_skipped(tmp_path):
    write_tree(tmp_path, {"a.zip": b"no zip at all"})
    with pytest.raises(UsageError, match=r"^--input_dir=.*: none of "):
        find_inputs(str(tmp_path), skip_broken_files=True)


def test_find_inputs_passes_over_broken_files_that_are_hidden(tmp_path):
    write_tree(
        tmp_path, {".a.zip": b"no zip at all", "b/.c.jsonl.gz": b"x", "d_train.jsonl": PLAIN}
    )
    inputs = find_inputs(str(tmp_path))
    assert (described(inputs), inputs.skipped) == ([("plain", TRAIN, "d_train.jsonl")], [])


@pytest.mark.skipif(os.name != "posix", reason="needs names that are not UTF-8")
def test_find_inputs_refuses_name_that_is_not_utf8(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff_train.jsonl"
    with open(path, "wb") as file:
        file.write(PLAIN)
    with pytest.raises(UsageError, match=r"_train\.jsonl'?: its name is not UTF-8.*rename it$"):
        find_inputs(str(tmp_path))


# --- Damage of any kind ---

CONTENTS = {"news2016zh_train.json": NEWS * 3, "x/文_dev.jsonl": PLAIN * 99}
PACKED = {
    "deflated.zip": zip_of(CONTENTS),
    "stored.zip": zip_of(CONTENTS, zipfile.ZIP_STORED),
    "bzip2.zip": zip_of(CONTENTS, zipfile.ZIP_BZIP2),
    "lzma.zip": zip_of(CONTENTS, zipfile.ZIP_LZMA),
    "x_dev.jsonl.gz": gzip.compress(PLAIN * 99, mtime=0),
}


def change(data, at, byte):
    return data[:at] + bytes([byte]) + data[at + 1 :]


def insert(data, at, byte):
    return data[:at] + bytes([byte]) + data[at:]


def remove(data, at, byte):
    return data[:at] + data[at + 1 + byte % 4 :]


def cut_off(data, at, byte):
    return data[:at]


def read_all_of(name, data):
    """Returns the content of every recognised file, or None if the input was refused."""
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), {name: data})
        try:
            recognised = find_inputs(folder).recognised
            return [b"".join(read_pieces(found)) for found in recognised]
        except (BrokenFileError, UsageError):
            return None


edits = st.tuples(
    st.sampled_from([change, change, insert, remove, cut_off]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 255),
)


@pytest.mark.parametrize("name", PACKED)
def test_whole_packed_files_are_read_to_their_end(name):
    expected = [PLAIN * 99] if name.endswith(".gz") else sorted(CONTENTS.values())
    assert sorted(read_all_of(name, PACKED[name])) == sorted(expected)


def find_last(data, wanted):
    """Where a file name stands in the central directory of a zip, which ends it."""
    return data.rindex(wanted.encode())


DEFLATED = PACKED["deflated.zip"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(DEFLATED[1:], id="its beginning is missing"),
        pytest.param(
            change(DEFLATED, find_last(DEFLATED, "文_dev"), 0xFF), id="name that is not UTF-8"
        ),
        pytest.param(
            change(DEFLATED, DEFLATED.index("文_dev".encode()), 0xFF),
            id="name in a member that is not UTF-8",
        ),
        pytest.param(DEFLATED.replace(b"x/", b"\0/"), id="member without a name"),
    ],
)
def test_find_inputs_refuses_damaged_zip_or_leaves_it_out(tmp_path, data):
    write_tree(tmp_path, {"a.zip": data, "b_train.jsonl": PLAIN})
    with pytest.raises(BrokenFileError, match=r"/a\.zip"):
        find_inputs(str(tmp_path))
    inputs = find_inputs(str(tmp_path), skip_broken_files=True)
    assert described(inputs) == [("plain", TRAIN, "b_train.jsonl")]
    assert [skipped.name for skipped in inputs.skipped] == ["a.zip"]


def test_find_inputs_names_files_in_one_line_whatever_they_are_called(tmp_path):
    name = "a\nb\x1b[1m_文.jsonl"
    whole = zip_of({name: PLAIN})
    write_tree(tmp_path, {"a.zip": b"-" + whole[1:]})
    with pytest.raises(
        BrokenFileError, match=r"a\.zip:a\\nb\\x1b\[1m_文\.jsonl, byte 0: cannot be"
    ):
        find_inputs(str(tmp_path))
    write_tree(tmp_path, {"a.zip": whole, name: PLAIN})
    with pytest.raises(UsageError, match=r"both hold plain's a\\nb\\x1b\[1m_文\.jsonl; remove"):
        find_inputs(str(tmp_path))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(PACKED)), st.lists(edits, min_size=1, max_size=3))
@example("deflated.zip", [(remove, 0.0, 0)])
def test_damaged_file_is_refused_by_name_or_reads_as_before(name, damage):
    data = PACKED[name]
    for edit, place, byte in damage:
        data = edit(data, int(place * len(data)), byte) or b"x"
    for content in read_all_of(name, data) or []:
        assert content in CONTENTS.values()
