"""Arrays -> serialized tf.train.Example protocol buffers, whole batches at once, no TensorFlow.

The bytes are those of `Example.SerializeToString(deterministic=True)`: map entries in the order of
their keys, int64 lists packed. Layout (tensorflow/core/example/{example,feature}.proto):

    Example.features = 1 { Features.feature = 1 { key = 1, value = 2 { Feature } } ... }
    Feature { bytes_list = 1 { value = 1 } | int64_list = 3 { value = 1 [packed] } }
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tfrecords_schema import features

_VARINT_BITS = 7
_BYTES_LIST, _INT64_LIST = 1, 3


def encode_examples(
    token_ids: npt.NDArray[np.integer],
    mask_ids: npt.NDArray[np.integer],
    word_starts: features.BoolArray,
) -> list[bytes]:
    """Serializes N examples.

    Args:
      token_ids: shape [N, L], not negative.
      mask_ids: shape [N, L], coded as `features` says.
      word_starts: shape [N, L].

    Returns:
      N serialized examples.
    """
    return join_features(
        encode_int64_feature(features.MASK_IDS, mask_ids),
        encode_int64_feature(features.TOKEN_IDS, token_ids),
        encode_bytes_feature(features.WORD_STARTS, features.pack_word_starts(word_starts)),
    )


def join_features(*columns: Sequence[bytes]) -> list[bytes]:
    """Puts the encoded features of N examples together, columns in the order of their names."""
    examples: list[bytes] = []
    for entries in zip(*columns, strict=True):
        body = b"".join(entries)
        examples.append(_field_header(1, len(body)) + body)
    return examples


def encode_int64_feature(name: str, values: npt.NDArray[np.integer]) -> list[bytes]:
    """Encodes int64 lists, one a row of an array of shape [N, L], as N entries of the map."""
    payload, ends = _packed_varints(values)
    entries: list[bytes] = []
    start = 0
    for end in ends.tolist():
        entries.append(_entry_header(name, _INT64_LIST, end - start) + payload[start:end])
        start = end
    return entries


def encode_bytes_feature(name: str, values: features.ByteArray) -> list[bytes]:
    """Encodes byte strings, one a row of an array of shape [N, B], as N entries of the map."""
    header = _entry_header(name, _BYTES_LIST, values.shape[1])
    return [header + row.tobytes() for row in values]


def _packed_varints(values: npt.NDArray[np.integer]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Encodes all rows as base-128 varints; returns their bytes and the end of each row."""
    highest = int(values.max(initial=0))
    width = max(1, -(-highest.bit_length() // _VARINT_BITS))
    septets = np.empty((*values.shape, width), np.uint8)
    kept = np.empty(septets.shape, np.bool_)
    rest = values
    for place in range(width):
        higher = rest >> _VARINT_BITS
        septets[:, :, place] = rest & 0x7F | (higher != 0) << _VARINT_BITS
        kept[:, :, place] = rest != 0 if place else True
        rest = higher
    row_lengths = np.count_nonzero(kept, axis=(1, 2))
    return septets[kept].tobytes(), np.cumsum(row_lengths)


@lru_cache(maxsize=4096)
def _entry_header(name: str, kind: int, payload_length: int) -> bytes:
    """All bytes of a map entry that come before its payload."""
    key = name.encode()
    values = _field_header(1, payload_length)
    feature = _field_header(kind, len(values) + payload_length) + values
    value = _field_header(2, len(feature) + payload_length) + feature
    entry = _field_header(1, len(key)) + key + value
    return _field_header(1, len(entry) + payload_length) + entry


@lru_cache(maxsize=4096)
def _field_header(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    header = bytearray([number << 3 | 2])
    while length >= 0x80:
        header.append(length & 0x7F | 0x80)
        length >>= _VARINT_BITS
    header.append(length)
    return bytes(header)
