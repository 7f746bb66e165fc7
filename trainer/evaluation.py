"""Held-out sequences -> how well a model predicts their masked tokens and words.

Masks are those that the shards say, so figures of two models compare.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from tfrecords_schema import features
from tfrecords_schema.dataset_info import FILE_NAME, DatasetInfo
from trainer.batch import Batch
from trainer.damage import naming_damage
from trainer.data import make_held_out_datasets, unpack_word_starts
from trainer.files import read_file
from trainer.model import MaskedLanguageModel
from trainer.scores import Evaluation, Score, score_batch
from trainer.shards import HELD_OUT_NAMES, Dataset, open_dataset
from trainer.step import score_sequences
from trainer.trained_model import TrainedModel
from vocab.vocab_file import digest_vocab

SPLITS: Final = tuple(HELD_OUT_NAMES)


def evaluate(
    trained: TrainedModel,
    data_folder: str,
    *,
    lengths: Sequence[int] = (),
    split: str = "held_out",
    batch_size: int = 32,
    sequences: int = 2_048,
    quiet: bool = True,
) -> Evaluation:
    """Scores a model on sequences that it was not trained on, on the device that holds it.

    Args:
      trained: a model and its vocabulary.
      data_folder: tfrecords/ of the pipeline; local or gs://.
      lengths: of the sequences, ascending; by default all that there are.
      split: "held_out", or "test" for upstream's test files.
      batch_size: most sequences that go through the model at once.
      sequences: the first so many of each length and corpus.
      quiet: whether no bar is shown on a terminal.

    Raises:
      FileNotFoundError: the folder, or a file that belongs to it, is missing.
      ValueError: the data does not fit the model, has no such sequences, or is damaged.
      FloatingPointError: a loss is no number.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be {' or '.join(SPLITS)}, got {split!r}")
    folder = data_folder.rstrip("/")
    info = _read_info(folder)
    if digest_vocab(trained.tokens) != info.vocab_sha256:
        raise ValueError(
            f"{folder}: made with another vocabulary than the model's; make the shards with the "
            "vocab.txt beside the model"
        )
    datasets = {
        length: _open(folder, info, length, split)
        for length in lengths or sorted(info.max_predictions_per_seq)
    }
    score = _make_scorer(trained.model)
    total = sum(sum(_count_records(dataset, sequences)) for dataset in datasets.values())
    scores: dict[int, dict[str, Score]] = {}
    with tqdm(total=total, unit="sequence", disable=True if quiet else None) as bar:
        for length, dataset in datasets.items():
            scores[length] = dict.fromkeys(dataset.held_out, Score())
            for corpus, batch, units in _read_batches(dataset, batch_size, sequences):
                losses, accuracies, is_right = (part.numpy() for part in score(batch))
                found = score_batch(batch, losses, accuracies, is_right, units)
                scores[length][corpus] += found
                bar.update(len(units))
    _check_finite(scores)
    return Evaluation(split, scores)


# --- Sequences and their mask units ---


def _read_info(folder: str) -> DatasetInfo:
    path = f"{folder}/{FILE_NAME}"
    try:
        content = read_file(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: missing; give the folder tfrecords/ of the pipeline's output, in which whole "
            "words and corpora can be told"
        ) from error
    return DatasetInfo.from_json(content, path)


def _open(folder: str, info: DatasetInfo, length: int, split: str) -> Dataset:
    dataset = open_dataset(folder, length, info.vocab_size, held_out_split=split)
    if not dataset.held_out:
        raise ValueError(f"{folder}: has no {split} sequences of length {length}")
    return dataset


def _count_records(dataset: Dataset, sequences: int) -> list[int]:
    """Returns how many sequences of each corpus are read."""
    corpora = dataset.held_out.values()
    return [min(sequences, sum(shard.records for shard in shards)) for shards in corpora]


def _read_batches(
    dataset: Dataset, batch_size: int, sequences: int
) -> Iterator[tuple[str, Batch, npt.NDArray[np.int64]]]:
    """Yields corpus, batch and units, as `score_batch` takes them."""
    batch_size = min(batch_size, max(_count_records(dataset, sequences)))
    with naming_damage([dataset._replace(copies=())]):
        for corpus, batches in make_held_out_datasets(dataset, batch_size, sequences).items():
            units = _read_units(dataset, corpus, batch_size, sequences)
            for batch, units_of_batch in zip(batches, units, strict=True):
                yield corpus, batch, units_of_batch


def _read_units(
    dataset: Dataset, corpus: str, batch_size: int, sequences: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Yields units of the sequences that `make_held_out_datasets` gives, in their order."""
    paths = [shard.path for shard in dataset.held_out[corpus]]
    spec = {features.WORD_STARTS: tf.io.FixedLenFeature([], tf.string)}
    for records in tf.data.TFRecordDataset(paths).take(sequences).batch(batch_size):
        parsed: Any = tf.io.parse_example(records, spec)
        yield np.cumsum(
            unpack_word_starts(parsed[features.WORD_STARTS], dataset.max_seq_length), axis=1
        )


# --- The model ---


def _make_scorer(model: MaskedLanguageModel) -> Any:
    """Returns a function of a batch: losses and accuracies [B], and what is right [B, P]."""

    @tf.function(autograph=False)
    def score(batch: Batch) -> tuple[Any, Any, Any]:
        logits = model.predict_masked(batch.token_ids, batch.positions, training=False)
        losses, accuracies = score_sequences(logits, batch.labels, batch.weights)
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == batch.labels
        return losses, accuracies, is_right

    return score


def _check_finite(scores: Mapping[int, Mapping[str, Score]]) -> None:
    for length, of_corpora in scores.items():
        for corpus, score in of_corpora.items():
            if not math.isfinite(score.loss_sum):
                raise FloatingPointError(
                    f"{corpus}, length {length}: the loss is {score.loss_sum}: the training of "
                    "this model has failed; take an earlier checkpoint"
                )
