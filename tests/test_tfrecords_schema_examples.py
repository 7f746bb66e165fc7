import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from tfrecords_schema import examples, features

# [CLS] 127 128 16384 [SEP] [PAD] [PAD] [PAD] with 128 masked by [MASK], byte by byte.
GOLDEN_EXAMPLE = b"".join(
    (
        b"\x0a\x4e",  # Example.features
        b"\x0a\x18\x0a\x08mask_ids\x12\x0c\x1a\x0a\x0a\x08",
        bytes([0, 0, 104, 0, 0, 0, 0, 0]),
        b"\x0a\x1c\x0a\x09token_ids\x12\x0f\x1a\x0d\x0a\x0b",
        bytes([101, 127, 128, 1, 128, 128, 1, 102, 0, 0, 0]),
        b"\x0a\x14\x0a\x0bword_starts\x12\x05\x0a\x03\x0a\x01",
        bytes([0b00011011]),
    )
)


def test_encode_examples_one_example_gives_bytes_of_the_wire_format():
    encoded = examples.encode_examples(
        np.array([[101, 127, 128, 16384, 102, 0, 0, 0]]),
        np.array([[0, 0, 104, 0, 0, 0, 0, 0]]),
        np.array([[True, True, False, True, True, False, False, False]]),
    )
    assert encoded == [GOLDEN_EXAMPLE]


@pytest.mark.parametrize("length", [128, 512])
def test_encode_examples_empty_batch_gives_no_examples(length):
    ids = np.zeros((0, length), np.int32)
    assert examples.encode_examples(ids, ids, ids.astype(np.bool_)) == []


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.int64])
def test_encode_examples_any_integer_type_gives_the_same_bytes(dtype):
    ids = np.array([[0, 127, 128, 13686, 16383, 16384, 21128, 1]])
    starts = ids != 0
    expected = examples.encode_examples(ids, ids, starts)
    assert examples.encode_examples(ids.astype(dtype), ids.astype(dtype), starts) == expected


def test_encode_examples_batch_gives_the_bytes_of_each_example_alone():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 21_128, (5, 16))
    starts = rng.random((5, 16)) < 0.5
    alone = [
        examples.encode_examples(ids[i : i + 1], ids[i : i + 1], starts[i : i + 1])[0]
        for i in range(5)
    ]
    assert examples.encode_examples(ids, ids, starts) == alone


def test_join_features_columns_of_different_length_raises():
    with pytest.raises(ValueError, match="zip"):
        examples.join_features([b"a", b"b"], [b"c"])


def test_pack_word_starts_bit_i_of_16_stands_least_significant_first():
    for i in range(16):
        flags = np.zeros((1, 16), np.bool_)
        flags[0, i] = True
        packed = features.pack_word_starts(flags)
        assert packed.dtype == np.uint8
        assert packed.tolist() == [[1 << i, 0] if i < 8 else [0, 1 << i - 8]]


@given(
    st_numpy.arrays(
        np.bool_, st.tuples(st.integers(0, 4), st.integers(1, 5).map(lambda octets: 8 * octets))
    )
)
def test_pack_word_starts_any_flags_put_bit_i_mod_8_into_byte_i_div_8(flags):
    packed = features.pack_word_starts(flags)
    assert packed.shape == (flags.shape[0], flags.shape[1] // 8)
    for row, octets in zip(flags.tolist(), packed.tolist(), strict=True):
        assert row == [bool(octets[i // 8] >> i % 8 & 1) for i in range(len(row))]


@given(st_numpy.arrays(np.bool_, st.tuples(st.integers(0, 4), st.sampled_from([8, 128, 512]))))
def test_unpack_word_starts_undoes_pack_word_starts(flags):
    unpacked = features.unpack_word_starts(features.pack_word_starts(flags))
    assert unpacked.dtype == np.bool_
    np.testing.assert_array_equal(unpacked, flags)


def test_schema_constants_are_those_of_the_contract():
    assert features.SCHEMA_VERSION == 1
    assert (features.TOKEN_IDS, features.MASK_IDS, features.WORD_STARTS) == (
        "token_ids",
        "mask_ids",
        "word_starts",
    )
    assert features.MAX_PREDICTIONS_PER_SEQ == {128: 24, 512: 88}
    assert features.SEQ_LENGTHS == (128, 512)


def test_tfrecords_schema_does_not_import_tensorflow_or_beam():
    code = (
        "import sys\n"
        "from tfrecords_schema import dataset_info, examples, features, framing\n"
        "print({'tensorflow', 'apache_beam', 'pipeline', 'vocab'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
