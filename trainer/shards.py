"""Which shards there are, and whether they fit: a folder is checked before anything is trained."""

import os
import re
import struct
from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from typing import BinaryIO, Final, NamedTuple

from tfrecords_schema import dataset_info, features, framing
from tfrecords_schema.dataset_info import DatasetInfo

_VOCAB: Final = "vocab.txt"
_SHARD_NAME: Final = re.compile(
    r"(?P<length>\d+)/(?:train-(?P<copy>\d+)|(?P<split>eval|test)-(?P<corpus>\w+))"
    r"-(?P<ordinal>\d+)-of-\d+\.tfrecord"
)
_OUR_FOLDERS: Final = set(map(str, features.SEQ_LENGTHS))
HELD_OUT_NAMES: Final = {"held_out": "eval", "test": "test"}
"""How files of the splits that are not trained on are called."""
_FOREIGN_SUFFIXES: Final = (".tfrecord", ".tfrecords")
_RECORD_HEADER: Final = struct.Struct("<QI")
_RECORD_FOOTER_BYTES: Final = 4


class Shard(NamedTuple):
    """One TFRecord file and how many records it holds."""

    path: str
    records: int


class Dataset(NamedTuple):
    """The shards of one sequence length; none of them is empty.

    Attributes:
      folder: where they lie.
      max_seq_length: L, tokens of one sequence.
      max_predictions_per_seq: P, most masked tokens of one sequence.
      masked_lm_prob: share of the tokens that is masked, a fraction of 1; 0 where unknown.
      copies: training shards of each static masking.
      held_out: shards of held-out sequences, or of another split if asked for, by corpus.
      has_word_starts: whether records say where words begin, as dynamic masking needs.
      cased: whether case and accents were kept; False where unknown.
    """

    folder: str
    max_seq_length: int
    max_predictions_per_seq: int
    masked_lm_prob: float
    copies: tuple[tuple[Shard, ...], ...]
    held_out: Mapping[str, tuple[Shard, ...]]
    has_word_starts: bool
    cased: bool


def open_dataset(
    folder: str,
    max_seq_length: int,
    vocab_size: int,
    max_predictions_per_seq: int | None = None,
    *,
    held_out_split: str = "held_out",
) -> Dataset:
    """Finds the shards of one sequence length and checks that a model can be trained on them.

    Args:
      folder: tfrecords/ of the pipeline, or a folder of TFRecord files of other origin with int64
        token_ids and mask_ids; local or gs://.
      max_seq_length: L.
      vocab_size: entries of the model's vocabulary.
      max_predictions_per_seq: P; by default that of the pipeline, else L / 2.
      held_out_split: of `HELD_OUT_NAMES`, what is taken for held-out sequences.

    Raises:
      FileNotFoundError: the folder, or a file that belongs to it, is missing.
      ValueError: what is there does not fit, or is damaged.
    """
    folder = folder.rstrip("/")
    names = set(_list_sizes(folder))
    if dataset_info.FILE_NAME in names:
        dataset = _open_ours(folder, names, max_seq_length, vocab_size, held_out_split)
    elif not names & _OUR_FOLDERS and any(name.endswith(_FOREIGN_SUFFIXES) for name in names):
        dataset = _open_foreign(folder, sorted(names), max_seq_length)
    else:
        raise FileNotFoundError(_explain_missing_info(folder, names))
    if not any(dataset.copies):
        raise ValueError(f"{folder}: no training records of length {max_seq_length}")
    if max_predictions_per_seq is None:
        return dataset
    if not 1 <= max_predictions_per_seq <= max_seq_length:
        raise ValueError(
            f"max_predictions_per_seq must be from 1 to max_seq_length ({max_seq_length}), got "
            f"{max_predictions_per_seq}"
        )
    return dataset._replace(max_predictions_per_seq=max_predictions_per_seq)


def find_damage(dataset: Dataset) -> str | None:
    """Reads all shards until one is damaged; takes as long as reading takes.

    For the moment after TensorFlow met a damaged file, which it does not name.

    Returns:
      What is wrong, naming the file; None if all shards are whole.
    """
    shards = [shard for copy in (*dataset.copies, *dataset.held_out.values()) for shard in copy]
    for shard in shards:
        try:
            with _open(shard.path) as file:
                found = sum(1 for _ in framing.read_records(file, shard.path))
        except (OSError, ValueError) as error:
            return str(error)
        if found != shard.records:
            return f"{shard.path}: {found:,} records, {shard.records:,} expected"
    return None


def _explain_missing_info(folder: str, names: set[str]) -> str:
    missing = f"{folder}: no {dataset_info.FILE_NAME}"
    if names & _OUR_FOLDERS:
        return f"{missing}: the pipeline did not finish; the same command again completes it"
    if "tfrecords" in names:
        return f"{missing}; give {folder}/tfrecords"
    return f"{missing} and no *.tfrecord files; give the folder tfrecords/ of the pipeline's output"


# --- Shards of the pipeline ---


def _open_ours(
    folder: str, names: set[str], max_seq_length: int, vocab_size: int, held_out_split: str
) -> Dataset:
    info_path = f"{folder}/{dataset_info.FILE_NAME}"
    info = DatasetInfo.from_json(_read(info_path), info_path)
    lengths = sorted(info.max_predictions_per_seq)
    if max_seq_length not in lengths:
        raise ValueError(
            f"{info_path}: has sequences of length {', '.join(map(str, lengths))}, not "
            f"{max_seq_length}; change max_seq_length, or make such sequences"
        )
    if _VOCAB not in names:
        raise FileNotFoundError(
            f"{folder}/{_VOCAB}: missing; copy the folder of the shards as a whole"
        )
    _check_vocab(folder, info, vocab_size)
    copies: defaultdict[int, list[Shard]] = defaultdict(list)
    held_out: defaultdict[str, list[Shard]] = defaultdict(list)
    sizes = _list_sizes(f"{folder}/{max_seq_length}") if str(max_seq_length) in names else {}
    for match, shard in _shards_of(info, folder, max_seq_length, sizes):
        if match["copy"]:
            copies[int(match["copy"])].append(shard)
        elif match["split"] == HELD_OUT_NAMES[held_out_split]:
            held_out[match["corpus"]].append(shard)
    return Dataset(
        folder=folder,
        max_seq_length=max_seq_length,
        max_predictions_per_seq=info.max_predictions_per_seq[max_seq_length],
        masked_lm_prob=info.config.get("masked_lm_prob", 0),
        copies=tuple(tuple(copies[copy]) for copy in sorted(copies)),
        held_out={corpus: tuple(held_out[corpus]) for corpus in sorted(held_out)},
        has_word_starts=True,
        cased=not info.tokenizer.get("do_lower_case", True),
    )


def _check_vocab(folder: str, info: DatasetInfo, vocab_size: int) -> None:
    if info.vocab_size != vocab_size:
        raise ValueError(
            f"{folder}/{dataset_info.FILE_NAME}: made with a vocabulary of {info.vocab_size:,} "
            f"entries, the model has {vocab_size:,}; set vocab_size of the model to "
            f"{info.vocab_size}, or make the shards with the model's vocabulary"
        )
    path = f"{folder}/{_VOCAB}"
    if sha256(_read(path)).hexdigest() != info.vocab_sha256:
        raise ValueError(
            f"{path}: not the vocabulary that the shards were made with (vocab_sha256 in "
            f"{dataset_info.FILE_NAME}); copy both again from the pipeline's output"
        )


def _shards_of(
    info: DatasetInfo, folder: str, max_seq_length: int, sizes: Mapping[str, int]
) -> list[tuple[re.Match[str], Shard]]:
    """Returns the shards of one length by number, without empty ones, and what their names say."""
    filled = [name for name, records in info.records.items() if records]
    matches = [match for name in filled if (match := _SHARD_NAME.fullmatch(name))]
    wanted = [match for match in matches if int(match["length"]) == max_seq_length]
    shards: list[tuple[re.Match[str], Shard]] = []
    for match in sorted(wanted, key=lambda match: (int(match["ordinal"]), match[0])):
        shard = Shard(f"{folder}/{match[0]}", info.records[match[0]])
        if not sizes.get(match[0].partition("/")[2]):
            raise FileNotFoundError(
                f"{shard.path}: missing or empty, though {dataset_info.FILE_NAME} lists it; copy "
                "the folder again, or run the pipeline again"
            )
        shards.append((match, shard))
    return shards


# --- Shards of other origin ---


def _open_foreign(folder: str, names: list[str], max_seq_length: int) -> Dataset:
    paths = [f"{folder}/{name}" for name in names if name.endswith(_FOREIGN_SUFFIXES)]
    shards = [Shard(path, _count_records(path)) for path in paths]
    shards = [shard for shard in shards if shard.records]
    if shards:
        _check_first_record(shards[0].path, max_seq_length)
    return Dataset(
        folder=folder,
        max_seq_length=max_seq_length,
        max_predictions_per_seq=max_seq_length // 2,
        masked_lm_prob=0,
        copies=(tuple(shards),),
        held_out={},
        has_word_starts=False,
        cased=False,
    )


def _count_records(path: str) -> int:
    """Counts records by the lengths in front of them.

    Raises:
      ValueError: the last one is cut off, or this is no TFRecord file.
    """
    records = offset = 0
    with _open(path) as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        while offset < size:
            file.seek(offset)
            header = file.read(_RECORD_HEADER.size)
            begin, offset = offset, size + 1
            if len(header) == _RECORD_HEADER.size:
                length, _ = _RECORD_HEADER.unpack(header)
                offset = begin + len(header) + length + _RECORD_FOOTER_BYTES
            if offset > size:
                raise ValueError(
                    f"{path}: cut off inside the record at byte {begin}, or no TFRecord file; "
                    "copy it again, or take it away"
                )
            records += 1
    return records


def _check_first_record(path: str, max_seq_length: int) -> None:
    import tensorflow as tf

    with _open(path) as file:
        record = next(framing.read_records(file, path))
    spec = dict.fromkeys(
        (features.TOKEN_IDS, features.MASK_IDS), tf.io.FixedLenFeature([max_seq_length], tf.int64)
    )
    try:
        tf.io.parse_single_example(record, spec)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{path}: its first record is no example with int64 lists token_ids and mask_ids of "
            f"exactly {max_seq_length} values: {error.message}"
        ) from error


# --- Files, local or gs:// ---


def _open(path: str) -> BinaryIO:
    if "://" in path:
        import tensorflow as tf

        return tf.io.gfile.GFile(path, "rb")
    return open(path, "rb")


def _read(path: str) -> bytes:
    with _open(path) as file:
        return file.read()


def _list_sizes(folder: str) -> dict[str, int]:
    """Returns the names in a folder and their sizes, 1 where they would have to be asked for.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    try:
        return _list_remote(folder) if "://" in folder else _list_local(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{folder}: no such folder; give the folder tfrecords/ of the pipeline's output"
        ) from error


def _list_local(folder: str) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}


def _list_remote(folder: str) -> dict[str, int]:
    import tensorflow as tf

    if not tf.io.gfile.isdir(folder):
        raise FileNotFoundError(folder)
    return {name.rstrip("/"): 1 for name in tf.io.gfile.listdir(folder)}
