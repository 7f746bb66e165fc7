"""Arrays -> serialized tf.train.Example protocol buffers, whole batches at once, no TensorFlow.

The bytes are those of `Example.SerializeToString(deterministic=True)`: map entries in the order of
their keys, int64 lists packed. Layout (tensorflow/core/example/{example,feature}.proto):

    Example.features = 1 { Features.feature = 1 { key = 1, value = 2 { Feature } } ... }
    Feature { bytes_list = 1 { value = 1 } | int64_list = 3 { value = 1 [packed] } }
"""

from functools import lru_cache, partial

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
      token_ids: shape [N, L], not negative; fastest as uint16 below 2**14.
      mask_ids: shape [N, L], coded as `features` says; as fast.
      word_starts: shape [N, L], L a multiple of 8.

    Returns:
      N serialized examples.

    Raises:
      ValueError: the arrays have different numbers of rows.
    """
    return complete_examples(mask_ids, encode_sequences(token_ids, word_starts))


def encode_sequences(
    token_ids: npt.NDArray[np.integer], word_starts: features.BoolArray
) -> list[bytes]:
    """Encodes what all maskings of N sequences have in common; not yet examples.

    Args:
      token_ids: shape [N, L], not negative.
      word_starts: shape [N, L], L a multiple of 8.

    Returns:
      Of each sequence the map entries of its features, in the order of their names.

    Raises:
      ValueError: the arrays have different numbers of rows.
    """
    payload, ends = _packed_varints(token_ids)
    sequences: list[bytes] = []
    start = 0
    for end, entry in zip(ends, _word_starts_entries(word_starts), strict=True):
        sequences.append(_token_ids_header(end - start) + payload[start:end] + entry)
        start = end
    return sequences


def complete_examples(mask_ids: npt.NDArray[np.integer], sequences: list[bytes]) -> list[bytes]:
    """Serializes N examples of encoded sequences and one masking of them.

    Args:
      mask_ids: shape [N, L], coded as `features` says.
      sequences: N results of `encode_sequences`, in the order of the rows.

    Returns:
      N serialized examples.

    Raises:
      ValueError: there are more or fewer sequences than rows.
    """
    payload, ends = _packed_varints(mask_ids)
    examples: list[bytes] = []
    start = 0
    for end, sequence in zip(ends, sequences, strict=True):
        header = _example_header(end - start, len(sequence))
        examples.append(header + payload[start:end] + sequence)
        start = end
    return examples


def _word_starts_entries(word_starts: features.BoolArray) -> list[bytes]:
    packed = features.pack_word_starts(word_starts)
    count, width = packed.shape
    header = np.frombuffer(_entry_header(features.WORD_STARTS, _BYTES_LIST, width), np.uint8)
    entries = np.empty((count, len(header) + width), np.uint8)
    entries[:, : len(header)], entries[:, len(header) :] = header, packed
    return entries.view(f"V{len(header) + width}").ravel().tolist()


def _packed_varints(values: npt.NDArray[np.integer]) -> tuple[bytes, list[int]]:
    """Encodes all rows as base-128 varints; returns their bytes and the end of each row."""
    if values.max(initial=0) >= 1 << 2 * _VARINT_BITS:
        payload, row_lengths = _varints_of_any_length(values)
    else:
        values = np.ascontiguousarray(values, np.uint16)
        is_long = values >= 0x80
        # Sums are fastest in the smallest type that holds them.
        second_bytes = is_long.sum(axis=1, dtype=np.min_scalar_type(values.shape[1]))
        row_lengths = values.shape[1] + second_bytes.astype(np.int64)
        are_most_long = 2 * np.count_nonzero(is_long) > values.size
        encode = _mostly_two_byte_varints if are_most_long else _mostly_one_byte_varints
        payload = encode(values.ravel(), is_long.ravel())
    return payload.tobytes(), np.cumsum(row_lengths).tolist()


def _mostly_two_byte_varints(
    values: npt.NDArray[np.uint16], is_long: features.BoolArray
) -> features.ByteArray:
    """Encodes values below 2**14, shape [V], as two bytes each and drops the few empty ones.

    Both this and `_mostly_one_byte_varints` live on long runs of True in a boolean index: NumPy
    copies a run at once.
    """
    long = is_long.astype(np.uint16)
    # Adding the bits above the seventh once more moves them up by one, into the second byte.
    septets = values + (values & 0xFF80) | long << _VARINT_BITS
    kept = long << 8 | 1
    return _little_endian_bytes(septets)[_little_endian_bytes(kept).view(np.bool_)]


def _mostly_one_byte_varints(
    values: npt.NDArray[np.uint16], is_long: features.BoolArray
) -> features.ByteArray:
    """Encodes values below 2**14, shape [V], as one byte each and puts the few second ones in."""
    long = np.flatnonzero(is_long)
    first_bytes = values.astype(np.uint8)
    first_bytes[long] |= 0x80
    second_bytes = values[long] >> _VARINT_BITS
    places = long + np.arange(1, len(long) + 1)
    is_first = np.ones(len(values) + len(long), np.bool_)
    is_first[places] = False
    octets = np.empty(is_first.shape, np.uint8)
    octets[is_first] = first_bytes
    octets[places] = second_bytes
    return octets


def _little_endian_bytes(values: npt.NDArray[np.integer]) -> features.ByteArray:
    return values.astype("<u2", copy=False).view(np.uint8)


def _varints_of_any_length(
    values: npt.NDArray[np.integer],
) -> tuple[features.ByteArray, npt.NDArray[np.int64]]:
    """Encodes values of shape [N, L]; returns their bytes and the number of them of each row."""
    width = -(-int(values.max()).bit_length() // _VARINT_BITS)
    septets = np.empty((*values.shape, width), np.uint8)
    kept = np.empty(septets.shape, np.bool_)
    rest = values
    for place in range(width):
        higher = rest >> _VARINT_BITS
        septets[:, :, place] = rest & 0x7F | (higher != 0).view(np.uint8) << _VARINT_BITS
        kept[:, :, place] = rest != 0 if place else True
        rest = higher
    return septets[kept], np.count_nonzero(kept, axis=(1, 2))


@lru_cache(maxsize=1 << 14)
def _example_header(mask_ids_length: int, sequence_length: int) -> bytes:
    """All bytes of an example that come before the payload of `mask_ids`."""
    entry = _entry_header(features.MASK_IDS, _INT64_LIST, mask_ids_length)
    return _field_header(1, len(entry) + mask_ids_length + sequence_length) + entry


@lru_cache(maxsize=4096)
def _entry_header(name: str, kind: int, payload_length: int) -> bytes:
    """All bytes of a map entry that come before its payload."""
    key = name.encode()
    values = _field_header(1, payload_length)
    feature = _field_header(kind, len(values) + payload_length) + values
    value = _field_header(2, len(feature) + payload_length) + feature
    entry = _field_header(1, len(key)) + key + value
    return _field_header(1, len(entry) + payload_length) + entry


# A cache of its own, as its only argument is the payload's length.
_token_ids_header = lru_cache(maxsize=4096)(partial(_entry_header, features.TOKEN_IDS, _INT64_LIST))


@lru_cache(maxsize=4096)
def _field_header(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    header = bytearray([number << 3 | 2])
    while length >= 0x80:
        header.append(length & 0x7F | 0x80)
        length >>= _VARINT_BITS
    header.append(length)
    return bytes(header)
