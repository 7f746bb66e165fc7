"""TFRecord framing: serialized examples <-> the bytes of a .tfrecord file, no TensorFlow.

A record is: uint64 length, uint32 masked CRC-32C of these eight bytes, the data, uint32 masked
CRC-32C of the data; all little endian (tensorflow/core/lib/io/record_writer.h).
"""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import BinaryIO

import google_crc32c
import numpy as np

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h, kMaskDelta


def frame_records(records: Sequence[bytes]) -> bytes:
    """Frames records, in their order.

    Args:
      records: any bytes, such as serialized examples.

    Returns:
      One stretch of a TFRecord file; stretches behind each other make a file.
    """
    crcs = np.fromiter(map(google_crc32c.value, records), np.uint32, len(records))
    masked_crcs = (crcs >> 15 | crcs << 17) + np.uint32(_MASK_DELTA)
    pieces = [b""] * (3 * len(records))
    pieces[0::3] = map(_record_header, map(len, records))
    pieces[1::3] = records
    pieces[2::3] = masked_crcs.astype("<u4", copy=False).view("V4").tolist()
    return b"".join(pieces)


def read_records(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yields the records of an open TFRecord file.

    Args:
      file: open for reading bytes, at the start of a record.
      name: what error messages call the file.

    Raises:
      ValueError: the file is cut off or a checksum does not match.
    """
    offset = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise ValueError(f"{name}: cut off inside the record at byte {offset}")
        length, length_crc = _HEADER.unpack(header)
        if _masked_crc(header[:8]) != length_crc:
            raise ValueError(f"{name}: damaged record length at byte {offset}")
        try:
            rest = file.read(length + _CRC.size)
        except (OverflowError, MemoryError):  # longer than any record
            rest = b""
        if len(rest) < length + _CRC.size:
            raise ValueError(f"{name}: cut off inside the record at byte {offset}")
        record = rest[:length]
        if (_masked_crc(record),) != _CRC.unpack(rest[length:]):
            raise ValueError(f"{name}: damaged record data at byte {offset}")
        yield record
        offset += len(header) + len(rest)


@lru_cache(maxsize=4096)
def _record_header(length: int) -> bytes:
    return _HEADER.pack(length, _masked_crc(struct.pack("<Q", length)))


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
