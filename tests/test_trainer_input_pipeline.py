"""The benchmark of the input pipeline counts what it reads."""

import itertools
import re
from types import SimpleNamespace

import pytest
from made_shards import LENGTH, VOCAB_SIZE, make_tfrecords

from benchmarks import input_pipeline
from trainer.shards import open_dataset

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    return make_tfrecords(tmp_path, [[50, 60]])


@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_main_prints_a_rate_for_each_batch_size(folder, capsys, masking):
    input_pipeline.main(
        [folder, f"--max_seq_length={LENGTH}", f"--masking={masking}", "--seconds=0.05"]
    )
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"length 16, {masking} masking"
    number = r"[1-9][\d,]*"
    for line, batch_size in zip(lines, ("64", "512"), strict=True):
        pattern = rf"batches of +{batch_size}: {number} examples/s, {number} per CPU second"
        assert re.fullmatch(pattern, line)


def test_measure_divides_examples_by_seconds(folder, monkeypatch):
    # Each look at the clock is a second later. Between the first and the last look of the measured
    # 10 seconds lie 12, in which 10 batches are read. Each look at the CPU time is 24 later.
    wall, cpu = itertools.count(), itertools.count(step=24)
    clocks = SimpleNamespace(perf_counter=lambda: next(wall), process_time=lambda: next(cpu))
    monkeypatch.setattr(input_pipeline, "time", clocks)
    rates = input_pipeline.measure(
        open_dataset(folder, LENGTH, VOCAB_SIZE),
        VOCAB_SIZE,
        masking="static",
        batch_size=6,
        seconds=10,
    )
    assert rates == (6 * 10 / 12, 6 * 10 / 24)
