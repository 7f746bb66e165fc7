"""The benchmarks of learning and of the train step measure what they say."""

import dataclasses
import json

import made_models
import numpy as np
import pytest
from made_shards import LENGTH, VOCAB_SIZE, identity, make_tfrecords, sequences

from benchmarks import learning, reference_trainer, training_speed
from trainer.model import build_model
from trainer.shards import open_dataset
from trainer.step import score_sequences
from trainer.train_log import TRAIN, LogLine
from vocab.special_tokens import FIRST_ORDINARY_ID

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    return make_tfrecords(tmp_path / "tfrecords", [[50, 60]], [("wiki2019zh", [20])])


@pytest.fixture
def small_model(monkeypatch):
    """Has both benchmarks use a model of the shards' vocabulary, at their length."""
    model = dataclasses.replace(made_models.SMALL, vocab_size=VOCAB_SIZE)
    monkeypatch.setattr(learning, "SMALL", model)
    monkeypatch.setattr(learning, "_SEQ_LENGTH", LENGTH)


def test_score_by_frequency_averages_within_sequences_and_skips_empty_ones():
    log_shares = np.log([0.5, 0.25, 0.25])
    labels = np.array([[0, 1], [2, 0], [0, 0]])
    weights = np.array([[1, 1], [1, 0], [0, 0]], np.float32)
    loss, count = learning.score_by_frequency(log_shares, labels, weights)
    assert count == 2
    assert loss == pytest.approx((np.log(2) + np.log(4)) / 2 + np.log(4))


def test_tokens_are_counted_in_all_shards_without_specials(folder):
    counts = learning.count_tokens(open_dataset(folder, LENGTH, VOCAB_SIZE), VOCAB_SIZE)
    ids = np.concatenate([sequences(0, shard, records)[0] for shard, records in ((0, 50), (1, 60))])
    expected = 1 + np.bincount(ids.ravel(), minlength=VOCAB_SIZE)
    expected[:FIRST_ORDINARY_ID] = 1
    assert counts.tolist() == expected.tolist() and counts.max() > 1


def line(step, data, loss, accuracy):
    return LogLine(1, LENGTH, step, data, loss, accuracy, 0.1)


@pytest.mark.parametrize(
    ("last", "learnt"),
    [((3.0, 0.2), True), ((4.5, 0.2), False), ((3.0, 0.1), False)],
    ids=["better", "no better than guessing", "no more right than at first"],
)
def test_learning_is_a_lower_loss_than_guessing_and_more_that_is_right(last, learnt):
    first = [line(1, TRAIN, 9.5, 0), line(2, "a", 9.0, 0.0), line(2, "b", 8.0, 0.2)]
    then = [line(4, TRAIN, 1.0, 1.0), *(line(4, corpus, *last) for corpus in "ab")]
    outcome = learning.judge([*first, *then], {"a": 5.0, "b": 4.0})
    assert outcome.first == (8.5, 0.1) and outcome.baseline == 4.5
    assert outcome.last == pytest.approx(last)
    assert outcome.holds() is learnt


def test_learning_trains_and_reports(folder, small_model, tmp_path, capsys):
    output = tmp_path / "learning"
    flags = ["--optimizer_steps=20", "--global_batch_size=8", "--masking=static"]
    kept = tmp_path / "model"
    code = learning.main([folder, f"--output={output}", f"--model={kept}", *flags])
    report = json.loads(output.with_suffix(".json").read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert code == (0 if report["learnt"] else 1)
    assert list(report["held_out"]) == ["wiki2019zh"]
    figures = report["held_out"]["wiki2019zh"]
    assert 0 < figures["loss of guessing by frequency"] < np.log(VOCAB_SIZE) + 1
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("learning.json", "learning.png", "model", "tfrecords"),
    ]
    assert (kept / "checkpoints" / f"1-{LENGTH}-00000020").is_dir()


def test_reference_reads_every_record_masked_as_the_shards_say(folder):
    shards = open_dataset(folder, LENGTH, VOCAB_SIZE).copies[0]
    dataset = reference_trainer.make_dataset([shard.path for shard in shards], LENGTH, 10)
    seen = set()
    for inputs, _ in dataset.take(11).as_numpy_iterator():
        for number, original in enumerate(inputs["token_ids"]):
            _, shard, record = identity(original)
            ids, masks, _ = (part[record] for part in sequences(0, shard, record + 1))
            seen.add((shard, record))
            assert (
                inputs["Input-Token"][number].tolist()
                == np.where(masks != 0, masks - 1, ids).tolist()
            )
            assert inputs["is_masked"][number].tolist() == (masks != 0).tolist()
        assert not inputs["Input-Segment"].any()
    assert len(seen) > 60  # of 110 records, the shuffle buffer being larger than an epoch


def test_reference_scores_as_the_trainer_does(folder):
    config = dataclasses.replace(made_models.SMALL, vocab_size=VOCAB_SIZE)
    shards = open_dataset(folder, LENGTH, VOCAB_SIZE).copies[0]
    dataset = reference_trainer.make_dataset([shard.path for shard in shards], LENGTH, 10)
    inputs, _ = next(dataset.as_numpy_iterator())
    losses, accuracies = reference_trainer._make_train_model(config).predict(inputs, verbose=0)
    model = build_model(config, 0, "float32").full
    logits = model([inputs["Input-Token"], inputs["Input-Segment"]])
    expected = score_sequences(logits, inputs["token_ids"].astype(np.int32), inputs["is_masked"])
    # Keras adds 1e-7 to the number of masked tokens.
    np.testing.assert_allclose(losses, expected[0], rtol=1e-6)
    np.testing.assert_allclose(accuracies, expected[1], rtol=1e-6)


def test_reference_updates_its_weights(folder):
    model = dataclasses.replace(made_models.SMALL, vocab_size=VOCAB_SIZE)
    stage = training_speed.Setting(folder, "", LENGTH, 16, False).stage
    shards = open_dataset(folder, LENGTH, VOCAB_SIZE).copies[0]
    reference = reference_trainer.ReferenceTrainer(model, stage, [shard.path for shard in shards])
    before = [weight.numpy() for weight in reference.model.trainable_weights]
    assert np.isfinite(reference.run(2))
    after = [weight.numpy() for weight in reference.model.trainable_weights]
    assert all((old != new).any() for old, new in zip(before, after, strict=True))


def test_speeds_are_printed_with_their_ratio(tmp_path, monkeypatch, capsys):
    turns = []

    def measure(setting, steps, rounds):
        turns.append((setting, steps, rounds))
        return {training_speed.REFERENCE: [10.0, 20.0], training_speed.TRAINER: [15.0, 24.0]}

    monkeypatch.setattr(training_speed, "measure", measure)
    training_speed.main([str(tmp_path), "--steps=3", "--rounds=2", "--no-jit_compile"])
    assert turns == [(training_speed.Setting(str(tmp_path), "tiny", 128, 64, False), 3, 2)]
    assert capsys.readouterr().out.splitlines() == [
        "tiny, length 128, batches of 64, trainer without XLA",
        "reference: 15.0 examples per CPU second",
        "trainer: 19.5 examples per CPU second",
        "trainer / reference: median 1.35, 1.20 to 1.50 in 2 rounds",
    ]


def test_methods_take_turns_in_processes_of_their_own(monkeypatch):
    monkeypatch.setattr(training_speed, "_make_reference", _sleepless)
    monkeypatch.setattr(training_speed, "_make_trainer", _sleepless)
    rates = training_speed.measure(training_speed.Setting("", "tiny", 128, 8, False), 50, 2)
    assert list(rates) == [training_speed.REFERENCE, training_speed.TRAINER]
    for of_rounds in rates.values():
        assert len(of_rounds) == 2 and all(rate > 0 for rate in of_rounds)


def _sleepless(setting):
    assert setting.model == "tiny"
    return lambda steps: sum(range(steps * 10_000))
