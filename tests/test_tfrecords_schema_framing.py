import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecords_schema import framing

# TensorFlow's bytes: length, masked CRC of the length, data, masked CRC of the data.
GOLDEN_EMPTY_RECORD = bytes.fromhex("000000000000000029039807d8ea82a2")
FRAME_BYTES = 16

some_records = st.lists(st.binary(max_size=40), min_size=1, max_size=5)


def read_all(data, name="shard.tfrecord"):
    return list(framing.read_records(io.BytesIO(data), name))


def plain_masked_crc(data):
    """Returns TensorFlow's checksum, bit by bit: CRC-32C, turned right by 15, plus a constant."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def offset_of_record_at(records, byte):
    """Returns the first byte of the record of a file that holds the given byte."""
    offset = 0
    for record in records:
        if byte < offset + FRAME_BYTES + len(record):
            return offset
        offset += FRAME_BYTES + len(record)
    raise AssertionError(f"byte {byte} lies behind the last record")


def test_frame_records_empty_record_gives_sixteen_known_bytes():
    assert framing.frame_records([b""]) == GOLDEN_EMPTY_RECORD


def test_frame_records_no_records_gives_no_bytes():
    assert framing.frame_records([]) == b""


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_frame_records_any_records_give_lengths_checksums_and_data(records):
    pieces = []
    for record in records:
        length = struct.pack("<Q", len(record))
        pieces += [length, struct.pack("<I", plain_masked_crc(length))]
        pieces += [record, struct.pack("<I", plain_masked_crc(record))]
    assert framing.frame_records(records) == b"".join(pieces)


def test_read_records_empty_file_gives_no_records():
    assert read_all(b"") == []


@given(some_records)
def test_read_records_undoes_frame_records(records):
    assert read_all(framing.frame_records(records)) == records


@given(some_records, some_records)
def test_frame_records_stretches_put_together_are_one_file(first, second):
    stretches = framing.frame_records(first) + framing.frame_records(second)
    assert stretches == framing.frame_records(first + second)


@given(some_records, st.data())
def test_read_records_cut_off_file_raises_and_names_file_and_offset(records, data):
    whole = framing.frame_records(records)
    length = data.draw(st.integers(0, len(whole) - 1))
    offset = offset_of_record_at(records, length)
    if length == offset:
        assert framing.frame_records(read_all(whole[:length])) == whole[:length]
        return
    with pytest.raises(ValueError) as caught:
        read_all(whole[:length], "128/cut.tfrecord")
    assert str(caught.value) == (f"128/cut.tfrecord: cut off inside the record at byte {offset}")


@given(some_records, st.data())
def test_read_records_flipped_bit_raises_and_names_file_and_offset(records, data):
    damaged = bytearray(framing.frame_records(records))
    byte = data.draw(st.integers(0, len(damaged) - 1))
    damaged[byte] ^= 1 << data.draw(st.integers(0, 7))
    offset = offset_of_record_at(records, byte)
    part = "length" if byte - offset < 12 else "data"
    with pytest.raises(ValueError) as caught:
        read_all(bytes(damaged), "512/bad.tfrecord")
    assert str(caught.value) == f"512/bad.tfrecord: damaged record {part} at byte {offset}"


@pytest.mark.parametrize("length", [1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_read_records_length_that_no_file_has_is_cut_off(tmp_path, length):
    packed = struct.pack("<Q", length)
    whole = framing.frame_records([b"one"])
    path = tmp_path / "f"
    path.write_bytes(whole + packed + struct.pack("<I", plain_masked_crc(packed)) + b"data")
    for open_file in (lambda: path.open("rb"), lambda: io.BytesIO(path.read_bytes())):
        with open_file() as file:
            records = framing.read_records(file, "f")
            assert next(records) == b"one"
            with pytest.raises(ValueError, match=r"^f: cut off inside the record at byte 19$"):
                next(records)


def test_read_records_damaged_second_record_yields_the_first_one_before_raising():
    damaged = bytearray(framing.frame_records([b"one", b"two"]))
    damaged[-1] ^= 1
    records = framing.read_records(io.BytesIO(damaged), "f")
    assert next(records) == b"one"
    with pytest.raises(ValueError, match=r"^f: damaged record data at byte 19$"):
        next(records)
