"""Arrays -> serialized tf.train.Example protocol buffers, whole batches at once, no TensorFlow.

The bytes are those of `Example.SerializeToString(deterministic=True)`: map entries in the order of
their keys, int64 lists packed. Layout (tensorflow/core/example/{example,feature}.proto):

    Example.features = 1 { Features.feature = 1 { key = 1, value = 2 { Feature } } ... }
    Feature { bytes_list = 1 { value = 1 } | int64_list = 3 { value = 1 [packed] } }
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tfrecords_schema import features
from vocab.compiled import load_compiled

_MOST_OTHER_BYTES: Final = 128
"""Of an example, beside its values and flags: names, tags and lengths."""


def encode_examples(
    token_ids: npt.NDArray[np.integer],
    mask_ids: npt.NDArray[np.integer],
    word_starts: features.BoolArray,
) -> list[bytes]:
    """Serializes N examples.

    Args:
      token_ids: shape [N, L], fastest as uint16.
      mask_ids: likewise, coded as `features` says.
      word_starts: shape [N, L], L a multiple of 8.

    Returns:
      N serialized examples.

    Raises:
      ValueError: the arrays differ in shape.
    """
    if not token_ids.shape == mask_ids.shape == word_starts.shape:
        shapes = token_ids.shape, mask_ids.shape, word_starts.shape
        raise ValueError(f"token_ids, mask_ids and word_starts must have one shape, got {shapes}")
    rows, columns = token_ids.shape
    dtype = np.uint16 if token_ids.dtype == mask_ids.dtype == np.uint16 else np.uint64
    packed = features.pack_word_starts(word_starts)
    octets = packed.shape[1]
    longest_varint = -(-np.iinfo(dtype).bits // 7)
    most = rows * (2 * longest_varint * columns + octets + _MOST_OTHER_BYTES)
    encoded, ends = np.empty(most, np.uint8), np.empty(rows, np.int64)
    _library.encode_examples(
        *(_bytes_of(token_ids, dtype), _bytes_of(mask_ids, dtype), dtype == np.uint64),
        *(np.ascontiguousarray(packed), rows, columns, octets, encoded, ends),
    )
    examples: list[bytes] = []
    start = 0
    for end in ends.tolist():
        examples.append(encoded[start:end].tobytes())
        start = end
    return examples


def _bytes_of(values: npt.NDArray[np.integer], dtype: npt.DTypeLike) -> features.ByteArray:
    return np.ascontiguousarray(values, dtype).ravel().view(np.uint8)


_library: Final = load_compiled(
    __file__,
    encode_examples="uint8* uint8* int64 uint8* int64 int64 int64 uint8* int64*",
)
