import hashlib
import random
import sys
from collections import Counter

import pytest

from pipeline import cli, dataflow, files
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.errors import RunError, UsageError
from pipeline.inputs import Inputs
from pipeline.instances import Sources
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import Block, InputFile
from pipeline.units import plan_shards

GIVEN = {
    "project": "my-project",
    "region": "europe-west1",
    "temp_location": "gs://bucket/tmp",
    "setup_file": "./setup.py",
}


def check(without: str = "", num_workers: int | None = None, **flags) -> None:
    places = {"input_dir": "gs://bucket/in", "output_dir": "gs://bucket/out"}
    places |= {name: flags.pop(name) for name in places if name in flags}
    given = {name: value for name, value in (GIVEN | flags).items() if name != without}
    dataflow.check_flags(given, **places, num_workers=num_workers)


def image(python: str, beam: str) -> str:
    return f"gcr.io/cloud-dataflow/v1beta3/beam_python{python}_sdk:{beam}"


HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
BEAM = dataflow.version("apache-beam")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"input_dir": None},
        {"project": "example.com:my-project"},
        {"staging_location": "gs://bucket/staging"},
        {"num_workers": 4, "max_num_workers": 4},
        {"without": "setup_file", "sdk_container_image": "europe-docker.pkg.dev/p/r/t5s:1"},
        {"without": "setup_file", "extra_packages": ["dist/chinese_t5s.tar.gz"]},
        {"sdk_container_image": image(HERE, BEAM)},
    ],
)
def test_flags_that_fit_are_taken(changes):
    check(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": "project"}, "--project is needed"),
        ({"project": "123456789"}, "--project=123456789 is no project id"),
        ({"project": "My Project"}, "--project=My Project is no project id"),
        ({"without": "region"}, "--region is needed"),
        ({"region": "europe"}, "--region=europe is no region"),
        ({"region": "europe-west1-b"}, "--region=europe-west1-b is no region.*--worker_zone"),
        ({"without": "temp_location"}, "--temp_location is needed"),
        ({"temp_location": "/tmp"}, "--temp_location=/tmp is no gs://bucket/folder"),
        ({"temp_location": "gs://bucket"}, "--temp_location=gs://bucket is no gs://bucket/folder"),
        ({"staging_location": "s"}, "--staging_location=s is no gs://bucket/folder"),
        ({"input_dir": "corpus"}, "--input_dir=corpus is on this machine.*gcloud storage cp"),
        ({"output_dir": "/out"}, "--output_dir=/out is on this machine"),
        ({"without": "setup_file"}, "workers would not have this package.*--sdk_container_image"),
        ({"template_location": "gs://bucket/t"}, "--template_location: a run is several jobs"),
        ({"num_workers": 5, "max_num_workers": 4}, "--num_workers=5 is more than --max_num_wor"),
        ({"flink_master": "h:1"}, "--flink_master is none of DataflowRunner's flags"),
        ({"environment_type": "DOCKER"}, "--environment_type is none of DataflowRunner's flags"),
        ({"sdk_container_image": image("3.9", BEAM)}, "has Python 3.9 and Beam .* here are"),
        ({"sdk_container_image": image(HERE, "2.1.0")}, "and Beam 2.1.0, and here are"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        check(**changes)
    assert "\n" not in str(caught.value)


def test_other_pythons_are_refused(monkeypatch):
    monkeypatch.setattr(dataflow, "PYTHONS", ((3, 1), (3, 2)))
    with pytest.raises(UsageError, match=r"need Python 3\.1 or 3\.2 here"):
        check()


def test_missing_extra_is_told(monkeypatch):
    monkeypatch.setattr(dataflow, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'chinese-t5s\[gcp\]'"):
        check()


@pytest.mark.slow
def test_command_line_checks_before_it_reads_anything(capsys):
    flags = ["--input_dir=gs://none/in", "--output_dir=gs://none/out", "--runner=DataflowRunner"]
    assert cli.main([*flags, "--region=europe-west1"]) == 2
    assert capsys.readouterr().err.startswith("pipeline: --project is needed")


# --- Graphs ---


def test_graph_that_is_too_large_is_refused():
    dataflow.check_graph(10_000_000)
    with pytest.raises(RunError, match="has 10,000,001 bytes, and DataflowRunner takes 10,000,000"):
        dataflow.check_graph(10_000_001)


def inputs_of_full_corpus() -> Inputs:
    """A listing as of upstream's five zips: 16.4 GB, most of the files wiki's."""
    rng = random.Random(0)
    members = [
        InputFile(
            *("wiki2019zh", "", f"A{chr(65 + n // 100)}/wiki_{n % 100:02d}"),
            *("gs://some-bucket/nlp_chinese_corpus/wiki_zh_2019.zip", "zip"),
            *(f"wiki_zh/A{chr(65 + n // 100)}/wiki_{n % 100:02d}", rng.randrange(1_400_000)),
            f"{rng.randrange(1 << 60)} 546000000 {rng.randrange(1 << 32):08x}",
        )
        for n in range(1274)
    ]
    return Inputs(members, [], [])


def manifest_of_full_corpus() -> Manifest:
    """1,000 parts of 16 MB, in blocks of 256 KiB."""
    rng = random.Random(0)
    blocks = [
        Block(part, 90_000 * n + rng.randrange(9_000), 90_000 + rng.randrange(9_000), corpus,
              "train", rng.randrange(40, 400), (256 << 10) + rng.randrange(9_000))
        for part in range(1000)
        for corpus in [("news2016zh", "webtext2019zh")[part % 2]]
        for n in range(60)
    ]  # fmt: skip
    return Manifest({}, 1000, Counter(), blocks, [])


@pytest.mark.slow
def test_graphs_of_the_full_corpus_are_far_below_dataflows_limit(monkeypatch, tmp_path):
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline import beam_graph

    monkeypatch.setenv("NO_GCE_CHECK", "true")
    flags = [f"--{name}={value}" for name, value in GIVEN.items() if name != "setup_file"]
    flags += ["--staging_location=gs://bucket/staging", "--dry_run=true"]

    def bytes_of(build, *arguments) -> int:
        pipeline = beam.Pipeline(runner="DataflowRunner", options=PipelineOptions(flags))
        build(pipeline, *arguments)
        return pipeline.run().job.proto_pipeline.ByteSize()  # as it would be submitted

    layout, manifest = Layout(str(tmp_path)), manifest_of_full_corpus()
    files.write_bytes(layout.manifest, manifest.to_json())
    manifest_sha256 = hashlib.sha256(manifest.to_json()).hexdigest()
    shards = plan_shards(manifest.blocks, InstancesConfig().shard_text_bytes)
    sources = Sources(layout, manifest_sha256, "1" * 64)
    sizes = {
        "documents": bytes_of(
            *(beam_graph.build_documents_graph, inputs_of_full_corpus(), DocumentsConfig()),
            *(layout, False, False),
        ),
        "counting": bytes_of(
            *(beam_graph.build_counting_graph, manifest_sha256, False, layout, False)
        ),
        "instances": bytes_of(
            beam_graph.build_instances_graph, shards, InstancesConfig(), sources, False
        ),
    }
    print(sizes)
    assert len(shards) > 400
    assert all(size < dataflow.MAX_GRAPH_BYTES // 5 for size in sizes.values())
