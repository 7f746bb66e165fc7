"""Reads the tokens of serialized examples back, in plain Python."""

from pathlib import Path

from tfrecords_schema.framing import read_records


def token_ids_in(path: Path) -> list[list[int]]:
    """Returns the feature token_ids of each record of a shard."""
    with path.open("rb") as file:
        return [token_ids_of(record) for record in read_records(file, path.name)]


def token_ids_of(record: bytes) -> list[int]:
    at = record.index(b"token_ids") + len(b"token_ids")
    size = 0
    for tag in (0x12, 0x1A, 0x0A):  # Feature, its Int64List, the packed values
        assert record[at] == tag
        size, at = _read_varint(record, at + 1)
    ids, end = [], at + size
    while at < end:
        token_id, at = _read_varint(record, at)
        ids.append(token_id)
    return ids


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns a varint and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
