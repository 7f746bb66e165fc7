"""A run goes on only from its own checkpoints."""

import dataclasses

import pytest

from trainer.config import MODELS, OptimizerConfig, StageConfig, TrainingConfig
from trainer.identity import identify, identify_imported, refuse_other_run
from trainer.shards import Dataset, Shard

STAGE = StageConfig(max_seq_length=128, optimizer_steps=10, learning_rate=1e-3)
CONFIG = TrainingConfig(model=MODELS["tiny"], stages=(STAGE,))
DATASET = Dataset(
    folder="data",
    max_seq_length=128,
    max_predictions_per_seq=24,
    masked_lm_prob=0.15,
    copies=((Shard("data/128/a", 5), Shard("data/128/b", 6)),),
    held_out={},
    has_word_starts=True,
    cased=False,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps_per_execution": 7},
        {"precision": "bfloat16"},
        {"log_steps": 7},
        {"save_steps": 7},
        {"stages": (dataclasses.replace(STAGE, micro_batch_size=32),)},
    ],
)
def test_what_only_changes_the_way_there_is_the_same_run(changes):
    config = dataclasses.replace(CONFIG, **changes)
    refuse_other_run(identify(CONFIG, {1: DATASET}), identify(config, {1: DATASET}), "x")


def test_data_that_was_moved_is_the_same_run():
    moved = DATASET._replace(
        folder="gs://b", copies=((Shard("gs://b/128/a", 5), Shard("gs://b/128/b", 6)),)
    )
    refuse_other_run(identify(CONFIG, {1: DATASET}), identify(CONFIG, {1: moved}), "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"jit_compile": False}, "jit_compile was true, is false"),
        ({"masking": "dynamic"}, 'masking was "static", is "dynamic"'),
        ({"model": MODELS["base"]}, "model.attention_head_size was 32, is 64; model.dropout_rate"),
        ({"optimizer": OptimizerConfig(beta_1=0.5)}, "optimizer.beta_1 was 0.9, is 0.5"),
        (
            {"stages": (dataclasses.replace(STAGE, optimizer_steps=20),)},
            r"stages\[1\].optimizer_steps was 10, is 20",
        ),
        ({"stages": (STAGE, STAGE)}, "stages was "),
    ],
)
def test_another_run_is_refused_by_what_differs(changes, message):
    config = dataclasses.replace(CONFIG, **changes)
    datasets = {1: DATASET}
    with pytest.raises(ValueError, match=f"x is of another run: .*{message}.*--overwrite"):
        refuse_other_run(identify(CONFIG, {1: DATASET}), identify(config, datasets), "x")


@pytest.mark.parametrize(
    "changes",
    [
        {"max_predictions_per_seq": 20},
        {"copies": ((Shard("data/128/a", 5), Shard("data/128/b", 7)),)},
        {"copies": ((Shard("data/128/a", 5),),)},
    ],
)
def test_other_data_is_refused(changes):
    other = DATASET._replace(**changes)
    with pytest.raises(ValueError, match=r"x is of another run: data.stage 1 was "):
        refuse_other_run(identify(CONFIG, {1: DATASET}), identify(CONFIG, {1: other}), "x")


IMPORTED = identify_imported(MODELS["tiny"], False, "of weights")


@pytest.mark.parametrize("changes", [{}, {"seed": 1, "masking": "dynamic"}])
def test_any_run_with_their_model_begins_with_imported_weights(changes):
    config = dataclasses.replace(CONFIG, **changes)
    refuse_other_run(IMPORTED, identify(config, {1: DATASET}, "of weights"), "x")


def test_imported_weights_of_another_model_are_refused_without_offering_to_delete_them():
    config = dataclasses.replace(CONFIG, model=MODELS["base"])
    message = "^x holds imported weights of another model: model.attention_head_size was 32, is 64;"
    with pytest.raises(ValueError, match=message) as raised:
        refuse_other_run(IMPORTED, identify(config, {1: DATASET}, "of weights"), "x")
    assert "--overwrite" not in str(raised.value)


def test_imported_weights_of_other_case_are_refused():
    message = "^x holds imported weights of another model: cased was false, is true. .* --cased"
    cased = {1: DATASET._replace(cased=True)}
    with pytest.raises(ValueError, match=message):
        refuse_other_run(IMPORTED, identify(CONFIG, cased, "of weights"), "x")
    saved = identify_imported(MODELS["tiny"], True, "of weights")
    refuse_other_run(saved, identify(CONFIG, cased, "of weights"), "x")


def test_run_that_began_with_imported_weights_is_not_one_that_did_not():
    begun, fresh = (identify(CONFIG, {1: DATASET}, imported) for imported in ("a", None))
    refuse_other_run(begun, begun, "x")
    with pytest.raises(ValueError, match='x is of another run: initial was "a", is null'):
        refuse_other_run(begun, fresh, "x")
    with pytest.raises(ValueError, match='x is of another run: initial was null, is "a"'):
        refuse_other_run(fresh, begun, "x")


def test_checkpoint_of_before_runs_could_be_imported_is_still_that_of_a_fresh_run():
    saved = identify(CONFIG, {1: DATASET})
    del saved["initial"]
    refuse_other_run(saved, identify(CONFIG, {1: DATASET}), "x")


def test_checkpoint_of_before_case_was_noted_is_of_uncased_data():
    saved = identify(CONFIG, {1: DATASET})
    del saved["cased"]
    refuse_other_run(saved, identify(CONFIG, {1: DATASET}), "x")
    cased = {1: DATASET._replace(cased=True)}
    with pytest.raises(ValueError, match="x is of another run: cased was false, is true"):
        refuse_other_run(saved, identify(CONFIG, cased), "x")


@pytest.mark.parametrize("name", ["seed", "optimizer", "stages"])
def test_checkpoint_that_lacks_a_field_is_refused(name):
    saved = identify(CONFIG, {1: DATASET})
    del saved[name]
    with pytest.raises(ValueError, match=f"x is of another run: {name}"):
        refuse_other_run(saved, identify(CONFIG, {1: DATASET}), "x")
