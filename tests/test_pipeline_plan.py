"""A forecast against the real run, and what it says and writes."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline import plan
from pipeline.cli import main
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import BrokenFileError
from pipeline.inputs import find_inputs
from pipeline.ledger import KEPT, READ
from pipeline.manifest import parse_manifest
from pipeline.table import format_forecast
from pipeline.units import MIN_TRAINING_SHARDS
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.vocab_file import format_vocab

VOCAB = format_vocab(select_tokens(TokenCounts.empty(), lambda words, size: []))


def foresee(corpus, vocab=VOCAB, **changes):
    config = InstancesConfig(**changes)
    inputs = find_inputs(str(corpus)).recognised
    return plan.foresee(inputs, DocumentsConfig(), config, vocab, [1, 2, 8])


@pytest.fixture(scope="module")
def forecast(bundled_corpus):
    return foresee(bundled_corpus)


@pytest.mark.slow
def test_forecast_of_a_corpus_that_is_its_own_sample_is_the_run(forecast, bundled_corpus, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(VOCAB)
    paths = f"--input_dir={bundled_corpus}", f"--output_dir={tmp_path}/out"
    assert main([*paths, f"--vocab={tmp_path}/vocab.txt", "--num_workers=1", "--quiet"]) == 0
    out = tmp_path / "out"
    manifest = parse_manifest((out / "documents/manifest.json").read_bytes(), "manifest")
    outcomes = Counter()
    for (_, _, outcome), count in manifest.outcomes.items():
        outcomes[outcome] += count
    info = json.loads((out / "tfrecords/dataset_info.json").read_text())
    total = forecast.total
    assert total.read == outcomes[READ]
    # Duplicates of other corpora and splits are not seen: the sample looks at each by itself.
    across = outcomes["duplicate_of_training"] + outcomes["near_duplicate_of_training"]
    assert across == 3 and total.kept == outcomes[KEPT] + across
    assert total.text_bytes == pytest.approx(sum(b.text_bytes for b in manifest.blocks), rel=0.02)
    for length in (128, 512):
        made = sum(n for name, n in info["records"].items() if name.startswith(f"{length}/"))
        # The real run pads the last sequence of each of 6 small shards.
        assert made - 7 <= total.sequences[length] <= made * 1.02
    size = sum(path.stat().st_size for path in out.rglob("*.tfrecord"))
    assert total.tfrecords_bytes == pytest.approx(size, rel=0.03)


def test_forecast_knows_corpora_and_splits_of_files(forecast):
    assert set(forecast.costs) == {
        ("baike2018qa", "held_out"),
        ("baike2018qa", "train"),
        ("news2016zh", "held_out"),
        ("news2016zh", "train"),
        ("translation2019zh", "held_out"),
        ("translation2019zh", "train"),
        ("webtext2019zh", "held_out"),
        ("webtext2019zh", "test"),
        ("webtext2019zh", "train"),
        ("wiki2019zh", ""),
    }


def test_more_copies_cost_disk_and_no_more_sequences(forecast, bundled_corpus):
    doubled = foresee(bundled_corpus, dupe_factor=2)
    assert doubled.total.sequences == forecast.total.sequences
    training = sum(
        costs.tfrecords_bytes
        for (_, split), costs in forecast.costs.items()
        if split in ("train", "")
    )
    grown = doubled.total.tfrecords_bytes - forecast.total.tfrecords_bytes
    assert grown == pytest.approx(training, rel=0.02)


def test_workers_share_the_work_and_add_memory(forecast):
    assert forecast.hours[8] < forecast.hours[2] < forecast.hours[1]
    start = forecast.start_cpu_seconds + plan.WORKER_CPU_SECONDS
    assert forecast.hours[8] * 3600 == pytest.approx(start + forecast.total.cpu_seconds / 8)
    of_shard = plan.BYTES_PER_SHARD_BYTE * forecast.total.text_bytes / MIN_TRAINING_SHARDS
    of_worker = (forecast.peak_bytes[8] - forecast.peak_bytes[2]) / 6
    assert of_worker == pytest.approx(plan.WORKER_BYTES + of_shard)


def test_learning_a_vocabulary_is_part_of_the_forecast(forecast, bundled_corpus):
    learning = foresee(bundled_corpus, vocab=None)
    assert learning.start_cpu_seconds == forecast.start_cpu_seconds + plan.LEARNING_CPU_SECONDS
    assert learning.total.sequences[128] == pytest.approx(forecast.total.sequences[128], rel=0.2)


def test_large_file_is_looked_at_in_places_spread_over_it(tmp_path, monkeypatch):
    text = "本市今天起试行新的公交线路，方便沿线居民出行，票价保持不变。"
    lines = [
        json.dumps({"text": f"{place}区第{number}号通告：{text}"}, ensure_ascii=False)
        for place in "甲乙丙丁"
        for number in range(2_000)
    ]
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "mine_train.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(plan, "_SAMPLE_BYTES", 40_000)
    monkeypatch.setattr(plan, "_LEAST_BYTES_OF_GROUP", 1)
    seen = []
    make = plan._Sample.make_documents

    def make_and_look(sample, group, wanted):
        made = make(sample, group, wanted)
        seen.append(Path(made.layout.root, "sample").read_text())
        return made

    monkeypatch.setattr(plan._Sample, "make_documents", make_and_look)
    forecast = foresee(folder)
    assert all(f"{place}区第" in seen[0] for place in "甲乙丙丁")
    assert len(seen[0].encode()) < 50_000
    assert forecast.total.read == pytest.approx(8_000, rel=0.02)


@pytest.mark.parametrize("ending", ["zip", "gz"])
def test_packed_file_is_read_only_as_far_as_needed(tmp_path, monkeypatch, ending):
    import gzip
    import zipfile

    line = json.dumps({"text": "本市今天起试行新的公交线路，方便沿线居民出行。"}).encode() + b"\n"
    data = line * 50_000
    if ending == "gz":
        (tmp_path / "mine_train.jsonl.gz").write_bytes(gzip.compress(data))
    else:
        with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("mine_train.jsonl", data)
    monkeypatch.setattr(plan, "_SAMPLE_BYTES", 20_000)
    monkeypatch.setattr(plan, "_LEAST_BYTES_OF_GROUP", 1)
    pieces = []
    read_pieces = plan.reading.read_pieces

    def reading(member):
        for piece in read_pieces(member):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(plan.reading, "read_pieces", reading)
    forecast = foresee(tmp_path)
    assert sum(pieces) < len(data)
    assert forecast.total.read == pytest.approx(50_000, rel=0.02)


def test_line_without_end_is_passed_over_in_bounded_memory(tmp_path, monkeypatch):
    import gzip

    monkeypatch.setattr(plan.reading, "MAX_LINE_BYTES", 10_000)
    line = json.dumps({"text": "本市今天起试行新的公交线路，方便沿线居民出行。"}).encode() + b"\n"
    data = line * 10 + b"x" * 400_000 + b"\n" + line * 10
    (tmp_path / "mine_train.jsonl.gz").write_bytes(gzip.compress(data))
    assert foresee(tmp_path).total.read == pytest.approx(20, abs=1)


def test_damaged_file_fails_the_forecast_unless_it_may_be_skipped(tmp_path):
    import gzip

    line = json.dumps({"text": "本市今天起试行新的公交线路，方便沿线居民出行。"}).encode() + b"\n"
    (tmp_path / "a_train.jsonl").write_bytes(line)
    (tmp_path / "news2016zh_train.json.gz").write_bytes(gzip.compress(line * 9_999)[:-50])
    with pytest.raises(BrokenFileError, match="cannot be unpacked"):
        foresee(tmp_path)
    inputs = find_inputs(str(tmp_path)).recognised
    passed = plan.foresee(inputs, DocumentsConfig(), InstancesConfig(), VOCAB, [1], True)
    assert passed.costs["plain", "train"].read == 1


def test_plan_prints_the_forecast_and_writes_nothing(bundled_corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(VOCAB)
    before = sorted(bundled_corpus.rglob("*"))
    assert main(["plan", f"--input_dir={bundled_corpus}", "--vocab=vocab.txt"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("corpus             split")
    assert "On disk: " in printed and "workers  h:mm:ss  peak memory" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.txt"]
    assert sorted(bundled_corpus.rglob("*")) == before


def test_plan_without_input_dir_says_what_is_missing(capsys):
    assert main(["plan"]) == 2
    assert "--input_dir is needed" in capsys.readouterr().err


COSTS = plan.Costs(2e9, 1_000, 900, 1.5e9, Counter({128: 70, 512: 20}), 6e8, 3e9, 9e8, 90.0)
FORECAST = plan.Forecast({("plain", "train"): COSTS}, 2.5, {1: 2e8, 2: 9e8}, {1: 1.5, 2: 0.8})


def test_format_forecast_names_the_cost_at_a_price():
    dear = FORECAST._replace(start_cpu_seconds=3_510.0)
    assert format_forecast(dear, 0.056).splitlines()[7] == (
        "Cost: 1.00 vCPU hours at 0.056 make 0.06; memory, disks and idle time of workers come on "
        "top"
    )


def test_format_forecast_gives_sums_and_a_line_for_each_number_of_workers():
    assert format_forecast(FORECAST).splitlines() == [
        "corpus  split   read  kept     text  128  512     CPU",
        "-----------------------------------------------------",
        "plain   train  1,000   900  1.50 GB   70   20  90.0 s",
        "all            1,000   900  1.50 GB   70   20  90.0 s",
        "",
        "On disk: 600 MB documents/ and rejected/, 3.00 GB tfrecords/; while it runs 900 MB more",
        "CPU: 92 s with one worker, 2.5 s of them to start",
        "",
        "workers  h:mm:ss  peak memory",
        "-----------------------------",
        "      1  1:30:00       200 MB",
        "      2  0:48:00       900 MB",
    ]


@pytest.mark.slow
def test_plan_names_the_cost_at_a_price(capsys, bundled_corpus, tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_bytes(VOCAB)
    assert main(["plan", f"--input_dir={bundled_corpus}", f"--vocab={vocab}"]) == 0
    assert "Cost" not in capsys.readouterr().out
    flags = [f"--input_dir={bundled_corpus}", f"--vocab={vocab}", "--vcpu_hour_price=3600000"]
    assert main(["plan", *flags]) == 0
    said = capsys.readouterr().out
    seconds = re.search(r"CPU: (\S+) s with one worker", said)
    cost = re.search(r"Cost: \S+ vCPU hours at 3.6e\+06 make (\S+); memory", said)
    assert seconds is not None and cost is not None
    thousand_times = float(cost[1].replace(",", ""))
    assert abs(thousand_times - 1000 * float(seconds[1].replace(",", ""))) <= 500
