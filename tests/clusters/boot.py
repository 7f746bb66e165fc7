#!/usr/bin/env python
"""Starts a worker as its container would: takes what was staged, installs it, becomes the worker.

Apache Beam's worker pool calls this with the addresses of a job. The worker gets an empty folder, a
Python without packages ($BOOT_PYTHON) and, beside it, only what the staged package brings; all of
it lies in $BOOT_FOLDER.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from google.protobuf import json_format, text_format

_SETUP_PACKAGE = "workflow.tar.gz"  # what Beam calls the package of --setup_file


def main() -> None:
    """Becomes the worker."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads what the pool takes
    addresses = _read_addresses()
    worker_id = (("worker_id", addresses.id),)
    provision = beam_provision_api_pb2_grpc.ProvisionServiceStub(
        grpc.insecure_channel(addresses.provision_endpoint)
    )
    info = provision.GetProvisionInfo(
        beam_provision_api_pb2.GetProvisionInfoRequest(), metadata=worker_id
    ).info
    folder = Path(tempfile.mkdtemp(prefix="worker-", dir=os.environ["BOOT_FOLDER"]))
    artifacts = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(
        grpc.insecure_channel(addresses.artifact_endpoint)
    )
    _fetch(info.dependencies, artifacts, folder / "staged", worker_id)
    _install(folder / "staged" / _SETUP_PACKAGE, folder / "packages")
    _become_worker(folder, addresses, json_format.MessageToJson(info.pipeline_options))


def _read_addresses() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("id", "logging_endpoint", "artifact_endpoint", "provision_endpoint"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--control_endpoint", required=True)
    return parser.parse_args()


def _fetch(
    dependencies: Iterable[beam_runner_api_pb2.ArtifactInformation],
    artifacts: beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub,
    folder: Path,
    worker_id: tuple[tuple[str, str], ...],
) -> None:
    folder.mkdir()
    resolved = artifacts.ResolveArtifacts(
        beam_artifact_api_pb2.ResolveArtifactsRequest(artifacts=dependencies), metadata=worker_id
    )
    for artifact in resolved.replacements:
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
        request = beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)
        with (folder / Path(role.staged_name).name).open("wb") as file:
            for part in artifacts.GetArtifact(request, metadata=worker_id):
                file.write(part.data)


def _install(package: Path, target: Path) -> None:
    pip = os.environ["BOOT_PYTHON"], "-m", "pip"
    flags = "--quiet", "--no-compile", "--target", str(target)
    subprocess.run([*pip, "install", *flags, str(package)], check=True)


def _become_worker(folder: Path, addresses: argparse.Namespace, options: str) -> None:
    empty = folder / "empty"
    empty.mkdir()
    os.chdir(empty)
    python = os.environ["BOOT_PYTHON"]
    environment = {
        "HOME": str(folder),
        "PATH": os.defpath,
        "PYTHONPATH": str(folder / "packages"),
        "WORKER_ID": addresses.id,
        "PIPELINE_OPTIONS": options,
        "SEMI_PERSISTENT_DIRECTORY": str(folder),
        "CONTROL_API_SERVICE_DESCRIPTOR": _describe(addresses.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": _describe(addresses.logging_endpoint),
    }
    worker = "apache_beam.runners.worker.sdk_worker_main"
    os.execve(python, [python, "-m", worker], environment)


def _describe(address: str) -> str:
    return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=address))


if __name__ == "__main__":
    main()
