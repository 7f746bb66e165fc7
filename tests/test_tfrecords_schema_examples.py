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

# The first and last values of every number of varint bytes up to five.
BOUNDARIES = [0, 1, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**31 - 1]

one_byte = st.integers(0, 127)
two_bytes = st.integers(128, 16_383)


@st.composite
def arrays_of_ids(draw, shape):
    """Draws ids of a shape: one kind, mixed by any share, of any size, in any integer type."""
    kinds = [st.just(0), one_byte, two_bytes, st.sampled_from(BOUNDARIES)]
    kinds += [one_byte | two_bytes, st.integers(0, 2**31 - 1)]
    elements = draw(st.sampled_from(kinds))
    if draw(st.booleans()):
        usual, rare = draw(st.permutations([one_byte, two_bytes]))
        elements = st.integers(0, 9).flatmap(lambda tenth: usual if tenth else rare)
    ids = draw(st_numpy.arrays(np.int64, shape, elements=elements, fill=st.nothing()))
    highest = int(ids.max(initial=0))
    types = [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
    return ids.astype(draw(st.sampled_from([t for t in types if np.iinfo(t).max >= highest])))


@st.composite
def batches(draw):
    """Draws token_ids, mask_ids and word_starts of one shape."""
    shape = draw(st.tuples(st.integers(0, 5), st.integers(1, 20)))
    ids = arrays_of_ids(shape)
    return draw(ids), draw(ids), draw(st_numpy.arrays(np.bool_, shape))


def plain_varint(value):
    octets = []
    while value > 127:
        octets.append(value % 128 + 128)
        value //= 128
    return bytes([*octets, value])


def plain_field(number, data):
    return bytes([number * 8 + 2]) + plain_varint(len(data)) + data


def plain_entry(name, kind, data):
    value = plain_field(kind, plain_field(1, data))
    return plain_field(1, plain_field(1, name) + plain_field(2, value))


def plain_examples(token_ids, mask_ids, word_starts):
    """Serializes examples value by value, in plain Python."""
    encoded = []
    columns = token_ids.tolist(), mask_ids.tolist(), word_starts.tolist()
    for ids, masks, starts in zip(*columns, strict=True):
        octets = [starts[i : i + 8] for i in range(0, len(starts), 8)]
        packed = bytes(sum(flag << bit for bit, flag in enumerate(flags)) for flags in octets)
        entries = (
            plain_entry(b"mask_ids", 3, b"".join(map(plain_varint, masks))),
            plain_entry(b"token_ids", 3, b"".join(map(plain_varint, ids))),
            plain_entry(b"word_starts", 1, packed),
        )
        encoded.append(plain_field(1, b"".join(entries)))
    return encoded


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


@given(batches())
def test_encode_examples_any_arrays_give_the_bytes_of_plain_python(arrays):
    assert examples.encode_examples(*arrays) == plain_examples(*arrays)


@pytest.mark.parametrize("length", [1, 7, 8, 128, 512])
@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
@pytest.mark.parametrize("long_fraction", [0, 0.03, 0.5, 0.97, 1])
def test_encode_examples_any_share_of_long_ids_gives_the_bytes_of_plain_python(
    length, dtype, long_fraction
):
    rng = np.random.default_rng(length)
    shape = 9, length
    is_long = rng.random(shape) < long_fraction
    ids = np.where(is_long, rng.integers(128, 16_384, shape), rng.integers(0, 128, shape))
    ids = ids.astype(dtype)
    arrays = ids, ids[::-1], is_long
    assert examples.encode_examples(*arrays) == plain_examples(*arrays)


@pytest.mark.parametrize("length", [1, 2, 128])
@pytest.mark.parametrize("value", BOUNDARIES)
def test_encode_examples_one_value_everywhere_gives_the_bytes_of_plain_python(length, value):
    ids = np.full((2, length), value)
    arrays = ids, ids, ids > 127
    assert examples.encode_examples(*arrays) == plain_examples(*arrays)


@pytest.mark.parametrize("long_ids", [1, 2, 3])
def test_encode_examples_about_half_of_the_ids_long_gives_the_bytes_of_plain_python(long_ids):
    ids = np.array([[128, 16_383, 300, 200][:long_ids] + [127, 0, 1, 127][long_ids:]], np.uint16)
    arrays = ids, ids[:, ::-1], ids > 0
    assert examples.encode_examples(*arrays) == plain_examples(*arrays)


def test_encode_examples_sequence_beyond_65535_tokens_gives_the_bytes_of_plain_python():
    ids = np.full((1, 65_536), 128, np.uint16)
    arrays = ids, ids, ids > 0
    assert examples.encode_examples(*arrays) == plain_examples(*arrays)


@pytest.mark.parametrize("highest", [127, 16_383, 65_535])
def test_encode_examples_arrays_in_any_layout_give_the_bytes_of_their_copies(highest):
    rng = np.random.default_rng(highest)
    ids = rng.integers(0, highest, (6, 10), np.uint16, endpoint=True)
    starts = rng.random((6, 10)) < 0.5
    for change in (np.asfortranarray, np.flip, np.transpose, lambda array: array[::2, 1::3]):
        changed = change(ids), change(ids), change(starts)
        expected = plain_examples(*(array.copy() for array in changed))
        assert examples.encode_examples(*changed) == expected


def test_encode_examples_leaves_its_arrays_alone():
    ids = np.array([[101, 128, 16_383, 102]], np.uint16)
    masks = np.array([[0, 0, 200, 0]], np.uint16)
    arrays = ids, masks, ids > 101
    copies = [array.copy() for array in arrays]
    examples.encode_examples(*arrays)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_encode_examples_arrays_of_different_shapes_raise():
    ids, starts = np.zeros((2, 8), np.uint16), np.zeros((2, 8), np.bool_)
    for arrays in ((ids[:1], ids, starts), (ids, ids[:, :7], starts), (ids, ids, starts[:1])):
        with pytest.raises(ValueError, match=r"one shape, got \(\(\d, \d\), "):
            examples.encode_examples(*arrays)


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


def test_tfrecords_schema_imports_no_tensorflow_no_beam_and_little_of_ours():
    code = (
        "import sys\n"
        "from tfrecords_schema import dataset_info, examples, features, framing\n"
        "modules = ('tensorflow', 'apache_beam', 'pipeline', 'vocab')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(modules)))"
    )
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == "vocab vocab.compiled\n"
