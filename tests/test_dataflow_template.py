import json
import runpy
from pathlib import Path

import apache_beam as beam
import pytest

from pipeline.flags import make_parser

FOLDER = Path(__file__).parent.parent / "dataflow"
TEMPLATE = runpy.run_path(str(FOLDER / "main.py"))
GIVEN = [
    *("--runner=DataflowRunner", "--job_name=t5s", "--template_location=gs://bucket/job"),
    *("--max_num_workers=16", "--input_dir=gs://bucket/in"),
]

pytestmark = pytest.mark.slow


def test_run_gets_all_flags_but_those_of_the_template():
    assert TEMPLATE["flags_of_run"](GIVEN) == [
        *("--runner=DataflowRunner", "--max_num_workers=16", "--input_dir=gs://bucket/in"),
        "--quiet",
    ]


def test_launcher_has_one_worker():
    flags = TEMPLATE["flags_of_launcher"](GIVEN)
    assert [flag for flag in flags if "num_workers" in flag] == [
        *("--num_workers=1", "--max_num_workers=1")
    ]
    assert "--template_location=gs://bucket/job" in flags


def test_parameters_of_the_template_are_flags_of_the_pipeline():
    names = [
        each["name"] for each in json.loads((FOLDER / "metadata.json").read_text())["parameters"]
    ]
    known = make_parser("")._option_string_actions
    assert len(names) == 5 and all(f"--{name}" in known for name in names)


def test_launcher_makes_documents_and_fails_with_the_run(bundled_corpus, tmp_path):
    flags = [f"--input_dir={bundled_corpus}", f"--output_dir={tmp_path}/out", "--num_workers=1"]
    pipeline = beam.Pipeline(runner="FnApiRunner")
    TEMPLATE["build"](pipeline, ["documents", *flags])
    pipeline.run().wait_until_finish()
    assert (tmp_path / "out/documents/manifest.json").exists()
    pipeline = beam.Pipeline(runner="FnApiRunner")
    TEMPLATE["build"](pipeline, ["documents", "--input_dir=none", "--output_dir=none"])
    with pytest.raises(RuntimeError, match="python -m pipeline ended with 2"):
        pipeline.run().wait_until_finish()
