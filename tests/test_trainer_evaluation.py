"""Scores of the bundled corpus, counted again from the records; which data is refused."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from made_models import WHOLE_VOCAB

from pipeline.cli import main as run_pipeline
from tfrecords_schema.features import unpack_word_starts
from trainer.cli import main
from trainer.data import make_held_out_datasets
from trainer.evaluation import evaluate
from trainer.model import build_model
from trainer.released import export_released
from trainer.scores import Score
from trainer.shards import open_dataset
from trainer.step import HeldOutStep
from trainer.trained_model import TrainedModel
from vocab.vocab_file import parse_vocab

pytestmark = pytest.mark.slow

GUESS = "，"
"""All that the model of these tests ever guesses."""


@pytest.fixture(scope="module")
def data(tmp_path_factory, bundled_corpus):
    """TFRecords of the bundled corpus, with held-out sequences of all five corpora."""
    folder = tmp_path_factory.mktemp("out")
    flags = [f"--input_dir={bundled_corpus}", f"--output_dir={folder}", "--num_workers=1"]
    assert run_pipeline([*flags, "--held_out_fraction=0.2", "--quiet"]) == 0
    return folder / "tfrecords"


@pytest.fixture(scope="module")
def trained(data):
    tokens = parse_vocab((data / "vocab.txt").read_bytes(), "vocab.txt")
    model = build_model(WHOLE_VOCAB, seed=0)
    bias = np.zeros(len(tokens))
    bias[tokens.index(GUESS)] = 5
    model.full.get_layer("MLM-Bias").weights[0].assign(bias)
    return TrainedModel(WHOLE_VOCAB, model, tuple(tokens))


def read_sequences(data, length, prefix):
    """Yields original ids, mask ids and word starts of each sequence, by protocol buffers."""
    [path] = (data / str(length)).glob(f"{prefix}-*.tfrecord")
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        ids, masks = (
            np.array(features[name].int64_list.value) for name in ("token_ids", "mask_ids")
        )
        packed = np.frombuffer(features["word_starts"].bytes_list.value[0], np.uint8)
        yield ids, masks, unpack_word_starts(packed[np.newaxis])[0]


def count_again(trained, sequences):
    """Returns the score of a model that always guesses GUESS; the loss is that of all logits."""
    guess = trained.tokens.index(GUESS)
    score = Score()
    for ids, masks, starts in sequences:
        visible = np.where(masks > 0, masks - 1, ids)[np.newaxis].astype(np.int32)
        logits = trained.model.full([visible, np.zeros_like(visible)]).numpy()[0].astype(float)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        places = np.flatnonzero(masks)
        words = {}
        for place in places:
            first = max(start for start in np.flatnonzero(starts) if start <= place)
            words[first] = words.get(first, True) and ids[place] == guess
        score += Score(
            sequences=1,
            tokens=len(places),
            words=len(words),
            loss_sum=-np.log(shares[places, ids[places]]).mean(),
            accuracy_sum=(ids[places] == guess).mean(),
            right_words=sum(map(int, words.values())),
        )
    return score


def assert_same(score, expected):
    for name, value in dataclasses.asdict(score).items():
        if name.endswith("_sum"):
            # Float32 beside float64.
            assert value == pytest.approx(getattr(expected, name), rel=1e-5), name
        else:
            assert value == getattr(expected, name), name


CORPORA = ["baike2018qa", "news2016zh", "translation2019zh", "webtext2019zh", "wiki2019zh"]


def test_held_out_scores_are_those_counted_from_the_records(trained, data):
    found = evaluate(trained, str(data), batch_size=4)
    assert found.split == "held_out"
    assert list(found.scores) == [128, 512]
    for length, scores in found.scores.items():
        assert list(scores) == CORPORA
        for corpus, score in scores.items():
            sequences = read_sequences(data, length, f"eval-{corpus}")
            assert_same(score, count_again(trained, sequences))
    in_all = sum(found.scores[128].values(), Score())
    assert 0 < in_all.right_words < in_all.words < in_all.tokens


def test_test_split_is_scored_when_asked_for(trained, data):
    found = evaluate(trained, f"{data}/", lengths=[128], split="test")
    assert {length: list(scores) for length, scores in found.scores.items()} == {
        128: ["webtext2019zh"]
    }
    sequences = read_sequences(data, 128, "test-webtext2019zh")
    assert_same(found.scores[128]["webtext2019zh"], count_again(trained, sequences))


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_the_first_sequences_are_scored_whatever_the_batches(trained, data, batch_size):
    found = evaluate(trained, str(data), lengths=[128], batch_size=batch_size, sequences=5)
    first = [*read_sequences(data, 128, "eval-news2016zh")][:5]
    assert_same(found.scores[128]["news2016zh"], count_again(trained, first))


def test_loss_and_accuracy_are_those_of_training(trained, data):
    found = evaluate(trained, str(data), lengths=[128], batch_size=8)
    step = HeldOutStep(trained.model, tf.distribute.OneDeviceStrategy("/cpu:0"), jit_compile=False)
    dataset = open_dataset(str(data), 128, WHOLE_VOCAB.vocab_size)
    for corpus, batches in make_held_out_datasets(dataset, 8, 2_048).items():
        loss, accuracy, sequences = np.sum([step.run(batch) for batch in batches], axis=0)
        score = found.scores[128][corpus]
        assert score.sequences == sequences
        # Sums of the same float32 numbers, there in float32.
        assert score.loss_sum == pytest.approx(loss, rel=1e-6)
        assert score.accuracy_sum == pytest.approx(accuracy, rel=1e-6)


def test_evaluation_is_the_same_again(trained, data):
    one, other = (evaluate(trained, str(data), lengths=[128]) for _ in range(2))
    assert one.to_json() == other.to_json()


def test_bar_shows_how_many_sequences_are_done(trained, data, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    evaluate(trained, str(data), lengths=[512], sequences=1, quiet=False)
    assert "5/5" in capsys.readouterr().err


def without_records(folder, prefix):
    """Takes shards out of dataset_info.json."""
    path = folder / "dataset_info.json"
    fields = json.loads(path.read_text())
    kept = {name: count for name, count in fields["records"].items() if prefix not in name}
    path.write_text(json.dumps(fields | {"records": kept}))


def damage(folder, prefix):
    [path] = (folder / "128").glob(f"{prefix}-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, {"split": "train"}, "split must be held_out or test, got 'train'"),
        (None, {"lengths": [64]}, "has sequences of length 128, 512, not 64"),
        (
            lambda folder: without_records(folder, "eval-"),
            {},
            "has no held_out sequences of length",
        ),
        (
            lambda folder: without_records(folder, "test-"),
            {"split": "test"},
            "has no test sequences of length 128",
        ),
        (
            lambda folder: damage(folder, "eval-news2016zh"),
            {},
            r"128/eval-news2016zh-.*tfrecord: damaged.*make the data again",
        ),
        (
            lambda folder: damage(folder, "test-webtext2019zh"),
            {"split": "test"},
            r"128/test-webtext2019zh-.*tfrecord: damaged.*make the data again",
        ),
    ],
)
def test_data_that_cannot_be_scored_is_refused(trained, data, tmp_path, change, options, message):
    folder = tmp_path / "copy"
    shutil.copytree(data, folder)
    if change:
        change(folder)
    with pytest.raises(ValueError, match=message):
        evaluate(trained, str(folder), **options)


def test_data_of_another_vocabulary_is_refused(trained, data):
    tokens = (*trained.tokens[:-2], trained.tokens[-1], trained.tokens[-2])
    with pytest.raises(ValueError, match="another vocabulary than the model's; make the shards"):
        evaluate(trained._replace(tokens=tokens), str(data))


def test_folder_without_description_is_refused(trained, tmp_path):
    message = f"{tmp_path}/dataset_info.json: missing; give the folder tfrecords/"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        evaluate(trained, str(tmp_path))


def test_model_that_gives_no_numbers_is_refused(trained, data):
    model = build_model(WHOLE_VOCAB, seed=0)
    weight = model.full.get_layer("MLM-Dense").weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(FloatingPointError, match="baike2018qa, length 128: the loss is nan"):
        evaluate(trained._replace(model=model), str(data), lengths=[128], sequences=1)


@pytest.fixture(scope="module")
def released(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("exported") / "released"
    export_released(trained, str(folder))
    return folder


def test_command_prints_the_table_and_writes_json(trained, data, released, tmp_path, capsys):
    flags = ["--lengths=128", "--held_out_sequences=3", "--batch_size=2", "--quiet"]
    paths = [f"--model={released}", f"--data={data}", f"--json={tmp_path}/made/scores.json"]
    assert main(["evaluate", *paths, *flags]) == 0
    expected = evaluate(trained, str(data), lengths=[128], batch_size=2, sequences=3)
    assert capsys.readouterr() == (expected.to_table() + "\n", "")
    assert (tmp_path / "made/scores.json").read_text() == expected.to_json()


def test_command_scores_the_test_split_at_several_lengths(trained, data, released, capsys):
    flags = ["--split=test", "--lengths=512,128"]
    assert main(["evaluate", f"--model={released}", f"--data={data}", *flags]) == 0
    expected = evaluate(trained, str(data), split="test")
    assert capsys.readouterr().out == expected.to_table() + "\n"


def test_command_refuses_data_by_one_line(released, tmp_path, capsys):
    assert main(["evaluate", f"--model={released}", f"--data={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith(f"trainer: {tmp_path}/dataset_info.json: missing")
