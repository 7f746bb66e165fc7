"""Flags of a run on Google's Dataflow, and its graphs: what is wrong is said before any upload."""

import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

from pipeline.clusters import DATAFLOW, ONLY_ON_CLUSTERS, Flags
from pipeline.errors import RunError, UsageError

MAX_GRAPH_BYTES: Final = 10_000_000
"""Dataflow refuses the description of a job above 10 MB (its quotas, "job request size")."""

PYTHONS: Final = ((3, 11), (3, 12))

_PROJECT: Final = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
_FOLDER: Final = re.compile(r"gs://[^/]+/.+")
_BEAM_IMAGE: Final = re.compile(r"beam_python(\d+\.\d+)_sdk:(\d+\.\d+\.\d+)")


def check_flags(
    flags: Flags,
    input_dir: str | None,
    output_dir: str,
    num_workers: int | None,
) -> None:
    """Refuses what Dataflow could not run with.

    Args:
      flags: those of Beam's that were given, by name without dashes, with their values.
      input_dir: the value of --input_dir, None if it was not given; likewise the others.
      output_dir: where outputs go.
      num_workers: with how many workers to begin.

    Raises:
      UsageError: a flag is missing, or two contradict each other; names the remedy.
    """
    for name in ONLY_ON_CLUSTERS:
        if name in flags:
            raise UsageError(f"--{name} is none of {DATAFLOW}'s flags; leave it out")
    _check_account(flags)
    _check_places(flags, {"input_dir": input_dir, "output_dir": output_dir})
    _check_workers(flags, num_workers)
    _check_versions(flags)
    if find_spec("apitools") is None:
        raise UsageError(
            f"--runner={DATAFLOW} needs Beam's extra for Google Cloud; run "
            "`pip install 'chinese-t5s[gcp]'`, or `pip install 'apache-beam[gcp]'`"
        )


def check_graph(graph_bytes: int) -> None:
    """Refuses a graph that Dataflow would refuse.

    Raises:
      RunError: it is too large; says what makes it so.
    """
    if graph_bytes > MAX_GRAPH_BYTES:
        raise RunError(
            f"the job's graph has {graph_bytes:,} bytes, and {DATAFLOW} takes {MAX_GRAPH_BYTES:,}: "
            "there are too many input files or blocks; run parts of the corpus by themselves, or "
            "on FlinkRunner"
        )


def _check_account(flags: Flags) -> None:
    project, region = flags.get("project"), flags.get("region")
    if project is None:
        raise UsageError(
            "--project is needed: the id of a Google Cloud project (`gcloud projects list`)"
        )
    if not _PROJECT.fullmatch(project):
        raise UsageError(
            f"--project={project} is no project id, which is neither name nor number of a project; "
            "`gcloud projects list` shows it"
        )
    if region is None:
        raise UsageError(
            "--region is needed: where workers run, best where the bucket is, such as europe-west1"
        )
    if not _REGION.fullmatch(region):
        hint = "; zones have a flag of their own, --worker_zone" if region[-2:-1] == "-" else ""
        raise UsageError(f"--region={region} is no region, such as europe-west1{hint}")


def _check_places(flags: Flags, places: Mapping[str, str | None]) -> None:
    for name, path in places.items():
        if path is not None and not path.startswith("gs://"):
            raise UsageError(
                f"--{name}={path} is on this machine, where Dataflow's workers cannot read or "
                "write; copy it to a bucket (`gcloud storage cp -r`) and name that, "
                "gs://bucket/folder"
            )
    temporary = flags.get("temp_location")
    if temporary is None:
        raise UsageError(
            "--temp_location is needed: gs://bucket/folder for what is uploaded and thrown away"
        )
    for name in ("temp_location", "staging_location"):
        if name in flags and not _FOLDER.fullmatch(flags[name]):
            raise UsageError(f"--{name}={flags[name]} is no gs://bucket/folder")
    if "template_location" in flags:
        raise UsageError(
            "--template_location: a run is several jobs, which no classic template holds; leave it "
            "out, or see dataflow/ for a Flex template"
        )


def _check_workers(flags: Flags, num_workers: int | None) -> None:
    most = flags.get("max_num_workers")
    if num_workers and most and num_workers > most:
        raise UsageError(
            f"--num_workers={num_workers} is more than --max_num_workers={most}; correct one"
        )
    if not any(flags.get(name) for name in ("setup_file", "extra_packages", "sdk_container_image")):
        raise UsageError(
            "workers would not have this package: give --setup_file=./setup.py, or an image that "
            "has it (see Dockerfile) with --sdk_container_image=IMAGE"
        )


def _check_versions(flags: Flags) -> None:
    """Refuses workers of another Python or Beam, which could not read what is sent to them."""
    here = sys.version_info[:2]
    if here not in PYTHONS:
        names = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        raise UsageError(f"Dataflow's workers need Python {names} here, too; this is {here}")
    image = _BEAM_IMAGE.search(flags.get("sdk_container_image") or "")
    ours = f"{here[0]}.{here[1]}", version("apache-beam")
    if image is not None and image.groups() != ours:
        raise UsageError(
            f"--sdk_container_image has Python {image[1]} and Beam {image[2]}, and here are "
            f"{ours[0]} and {ours[1]}; they must be the same"
        )
