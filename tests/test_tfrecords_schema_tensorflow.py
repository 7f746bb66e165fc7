import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from tfrecords_schema import examples, framing

pytestmark = pytest.mark.slow

# The last id of one, two and three bytes, the first one behind it, and the ends of vocabularies.
BOUNDARY_IDS = [0, 1, 100, 127, 128, 13_685, 13_686, 16_383, 16_384, 21_127, 21_128]


@pytest.fixture(scope="module")
def tf():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow
    return tensorflow


@pytest.fixture
def tf_file(tf, tmp_path):
    """Returns a function that writes records with TensorFlow and gives the path."""

    def write(records):
        path = tmp_path / "tensorflow.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        return path

    return write


def random_arrays(count, length, seed):
    rng = np.random.default_rng(seed)
    token_ids = rng.choice(BOUNDARY_IDS, (count, length)).astype(np.int32)
    any_ids = rng.integers(0, 21_129, (count, length), np.int32)
    token_ids = np.where(rng.random((count, length)) < 0.5, token_ids, any_ids)
    mask_ids = np.where(rng.random((count, length)) < 0.15, any_ids + 1, 0)
    return token_ids, mask_ids, rng.random((count, length)) < 0.6


def plain_octets(flags):
    return bytes(
        sum(flag << bit for bit, flag in enumerate(flags[start : start + 8]))
        for start in range(0, len(flags), 8)
    )


def tensorflow_examples(tf, token_ids, mask_ids, word_starts):
    def int64_list(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def bytes_list(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    encoded = []
    for ids, masks, starts in zip(token_ids, mask_ids, word_starts, strict=True):
        feature = {
            "token_ids": int64_list(ids.tolist()),
            "mask_ids": int64_list(masks.tolist()),
            "word_starts": bytes_list(plain_octets(starts.tolist())),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        encoded.append(example.SerializeToString(deterministic=True))
    return encoded


@pytest.mark.parametrize("length", [128, 512])
@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 6), seed=st.integers(0, 2**32 - 1))
def test_encode_examples_random_ids_equal_tensorflow_bytes(tf, length, count, seed):
    arrays = random_arrays(count, length, seed)
    assert examples.encode_examples(*arrays) == tensorflow_examples(tf, *arrays)


@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize("token_id", BOUNDARY_IDS)
def test_encode_examples_one_id_everywhere_equals_tensorflow_bytes(tf, length, token_id):
    ids = np.full((1, length), token_id, np.int32)
    arrays = ids, ids, ids > 127
    assert examples.encode_examples(*arrays) == tensorflow_examples(tf, *arrays)


@settings(max_examples=50, deadline=None)
@given(
    st_numpy.arrays(
        np.int64,
        st.tuples(st.integers(0, 3), st.sampled_from([8, 16])),
        elements=st.integers(0, 2**63 - 1),
    )
)
def test_encode_examples_ids_of_any_size_equal_tensorflow_bytes(tf, ids):
    arrays = ids, ids[::-1], ids % 2 == 0
    assert examples.encode_examples(*arrays) == tensorflow_examples(tf, *arrays)


@settings(max_examples=100, deadline=None)
@given(
    st_numpy.arrays(
        np.uint16,
        st.tuples(st.integers(0, 3), st.integers(1, 20)),
        elements=st.integers(0, 127) | st.integers(128, 16_383),
        fill=st.nothing(),
    )
)
def test_encode_examples_ids_of_one_and_two_bytes_equal_tensorflow_bytes(tf, ids):
    arrays = ids, ids[::-1], ids % 2 == 0
    assert examples.encode_examples(*arrays) == tensorflow_examples(tf, *arrays)


@pytest.mark.parametrize("length", [1, 3, 128, 512])
@pytest.mark.parametrize("usual, rare", [(100, 13_685), (13_685, 100), (2**31 - 1, 128)])
def test_encode_examples_few_other_ids_equal_tensorflow_bytes(tf, length, usual, rare):
    rng = np.random.default_rng(length)
    ids = np.where(rng.random((40, length)) < 0.03, rare, usual)
    arrays = ids, ids[::-1], ids == usual
    assert examples.encode_examples(*arrays) == tensorflow_examples(tf, *arrays)


@pytest.mark.parametrize("length", [128, 512])
def test_parse_example_of_tensorflow_gets_the_arrays_back(tf, length):
    token_ids, mask_ids, word_starts = random_arrays(9, length, seed=length)
    parsed = tf.io.parse_example(
        examples.encode_examples(token_ids, mask_ids, word_starts),
        {
            "token_ids": tf.io.FixedLenFeature([length], tf.int64),
            "mask_ids": tf.io.FixedLenFeature([length], tf.int64),
            "word_starts": tf.io.FixedLenFeature([], tf.string),
        },
    )
    assert set(parsed) == {"token_ids", "mask_ids", "word_starts"}
    np.testing.assert_array_equal(parsed["token_ids"].numpy(), token_ids)
    np.testing.assert_array_equal(parsed["mask_ids"].numpy(), mask_ids)
    octets = [plain_octets(flags) for flags in word_starts.tolist()]
    assert parsed["word_starts"].numpy().tolist() == octets


def test_frame_records_equals_file_of_tfrecord_writer(tf_file):
    arrays = random_arrays(20, 128, seed=3)
    records = [b"", b"\0", b"x" * 70_000, *examples.encode_examples(*arrays), b""]
    assert framing.frame_records(records) == tf_file(records).read_bytes()


def test_tfrecord_dataset_reads_framed_records(tf, tmp_path):
    records = [b"", "中文".encode(), *examples.encode_examples(*random_arrays(5, 512, seed=4))]
    path = tmp_path / "ours.tfrecord"
    path.write_bytes(framing.frame_records(records))
    dataset = tf.data.TFRecordDataset(str(path))
    assert list(dataset.as_numpy_iterator()) == records


def test_read_records_reads_file_of_tfrecord_writer(tf_file):
    records = [b"", b"\0\xff" * 300, *examples.encode_examples(*random_arrays(5, 128, seed=5))]
    path = tf_file(records)
    with path.open("rb") as file:
        assert list(framing.read_records(file, str(path))) == records


def test_read_records_cut_off_file_of_tfrecord_writer_raises_and_names_it(tf_file):
    path = tf_file([b"one", b"two"])
    path.write_bytes(path.read_bytes()[:-1])
    with path.open("rb") as file, pytest.raises(ValueError) as caught:
        list(framing.read_records(file, str(path)))
    assert str(caught.value) == f"{path}: cut off inside the record at byte 19"
