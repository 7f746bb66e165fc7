"""What is looked at before the first step."""

import pytest

from trainer import guard_rails
from trainer.config import MODELS, OptimizerConfig, StageConfig, TrainingConfig
from trainer.shards import Dataset, Shard


def make_stage(**changes):
    fields = {
        "max_seq_length": 128,
        "optimizer_steps": 100,
        "learning_rate": 1e-4,
        "warmup_steps": 10,
        "global_batch_size": 32,
        "micro_batch_size": 8,
    }
    return StageConfig(**{**fields, **changes})


def make_config(*stages, **changes):
    return TrainingConfig(model=MODELS["tiny"], stages=stages or (make_stage(),), **changes)


def make_dataset(*records, has_word_starts=True):
    """A dataset with one copy for each argument, of so many records."""
    return Dataset(
        folder="data",
        max_seq_length=128,
        max_predictions_per_seq=24,
        masked_lm_prob=0.15,
        copies=tuple((Shard(f"data/{n}", n),) for n in records),
        held_out={},
        has_word_starts=has_word_starts,
        cased=False,
    )


def test_sound_run_passes_without_doubts():
    config, datasets = make_config(), {1: make_dataset(3_200)}
    guard_rails.check_run(config, datasets, replicas=4)
    assert list(guard_rails.find_doubts(config, datasets)) == []


@pytest.mark.parametrize(
    ("config", "dataset", "replicas", "message"),
    [
        (make_config(), make_dataset(100), 3, "stage 1: global_batch_size 32 must be a multiple"),
        (make_config(), make_dataset(31), 1, "stage 1: data has 31 training sequences of length"),
        (make_config(), make_dataset(90, 31), 1, "fewer than one batch of 32; lower global_batch"),
        (
            make_config(masking="dynamic"),
            make_dataset(100, has_word_starts=False),
            1,
            'data: has no word_starts, which masking "dynamic" needs; use "static"',
        ),
    ],
)
def test_runs_that_cannot_go_well_are_refused(config, dataset, replicas, message):
    with pytest.raises(ValueError, match=message):
        guard_rails.check_run(config, {1: dataset}, replicas)


def test_every_stage_is_checked():
    config = make_config(make_stage(), make_stage(global_batch_size=36))
    with pytest.raises(ValueError, match="stage 2: global_batch_size 36 must be a multiple of 8"):
        guard_rails.check_run(config, dict.fromkeys((1, 2), make_dataset(100)), replicas=1)


@pytest.mark.parametrize(
    ("config", "dataset", "doubt"),
    [
        (
            make_config(make_stage(warmup_steps=0, global_batch_size=4096)),
            make_dataset(10**6),
            "stage 1: warmup_steps is 0: it starts at the full learning rate, as the released "
            "models did; LAMB's paper would warm up for 3",
        ),
        (
            make_config(make_stage(learning_rate=1e-3)),
            make_dataset(3_200),
            "stage 1: learning_rate 0.001 is high for lamb at global_batch_size 32; usual is up "
            "to 0.000156",
        ),
        (
            make_config(
                make_stage(learning_rate=3e-3, global_batch_size=4096),
                optimizer=OptimizerConfig(name="adamw"),
            ),
            make_dataset(10**6),
            "stage 1: learning_rate 0.003 is high for adamw at global_batch_size 4,096; usual is "
            "up to 0.001",
        ),
        (
            make_config(),
            make_dataset(320, 320),
            "stage 1: every masking of a sequence is seen 5.0 times; --masking=dynamic masks anew "
            "in every epoch",
        ),
    ],
)
def test_doubtful_runs_are_warned_of(config, dataset, doubt):
    assert list(guard_rails.find_doubts(config, {1: dataset})) == [doubt]


def test_released_rates_are_usual_ones():
    config = TrainingConfig()
    for stage in config.stages:
        usual = guard_rails.usual_learning_rate("lamb", stage.global_batch_size)
        assert stage.learning_rate <= usual * (1 + 1e-12)


@pytest.mark.parametrize(("batch", "expected"), [(512, 320), (4096, 40), (32_768, 5), (65_536, 5)])
def test_usual_warmup_is_that_of_lambs_paper(batch, expected):
    stage = make_stage(optimizer_steps=6_400, global_batch_size=batch)
    assert guard_rails.usual_warmup_steps(stage) == 6_400 // expected


def test_run_is_described():
    config = make_config(
        make_stage(), make_stage(optimizer_steps=7, warmup_steps=1), masking="dynamic", seed=5
    )
    text = guard_rails.describe_run(
        config, {1: make_dataset(3_200), 2: make_dataset(64)}, 1234567, "CPU"
    )
    assert text.splitlines() == [
        "CPU; 1,234,567 parameters, seed 5, dynamic masking",
        "Loss of guessing at random: ln 13,686 = 9.52",
        "Stage 1: 100 steps of 32 x 128 = 4,096 tokens, 1.00 epochs of 3,200 sequences, "
        "lamb at 0.0001",
        "Stage 2: 7 steps of 32 x 128 = 4,096 tokens, 3.50 epochs of 64 sequences, lamb at 0.0001",
    ]
