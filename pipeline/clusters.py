"""Flags of a run on a cluster: what is missing or contradicts itself is said before submission.

A wrong flag would otherwise be noticed by a cluster, minutes later and in its own words, or never.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pipeline import files
from pipeline.errors import UsageError

LOCAL: Final = "local"
"""The runner whose units run in processes of this machine; all others are Beam's, by its names."""

DATAFLOW: Final = "DataflowRunner"
FLINK: Final = "FlinkRunner"
PORTABLE: Final = "PortableRunner"

REFUSED: Final = {
    "DaskRunner": "Beam's Dask runner loses data and says nothing",
    "DirectRunner": "local is faster, and needs no download",
}
"""Runners of Beam's that are not used, and why."""

IN_PROCESS: Final = "[local]"
"""The --flink_master that is no cluster: Flink within the job server, on this machine."""

_UNKNOWN: Final = "[auto]"
_NO_ADDRESSES: Final = (IN_PROCESS, _UNKNOWN)
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")
_SECONDS_TO_ANSWER: Final = 20

Flags = Mapping[str, Any]
"""Those of Beam's that were given, by name without dashes, with their values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """A runner that hands graphs to a job service of Beam's.

    Attributes:
      check: raises UsageError where one of its own flags is missing or contradicts another.
      own_flags: those that no other runner has.
      addresses: flags that say where it is, as host:port.
      parallelism: what says how many units run at once, in place of --num_workers.
      is_in_process: tells whether work is done in the launcher if no flag says where.
    """

    check: Callable[[Flags], None]
    own_flags: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ("job_endpoint",)
    parallelism: str = "the flags of its cluster"
    is_in_process: Callable[[Flags], bool] = lambda _: False


def check_flags(runner: str, flags: Flags, num_workers: int | None) -> None:
    """Refuses what a runner could not run with.

    Args:
      runner: one of RUNNERS.
      flags: those that were given.
      num_workers: the value of --num_workers, None if it was not given.

    Raises:
      UsageError: a flag is missing, or two contradict each other; names the remedy.
    """
    if runner == LOCAL:
        for name in ONLY_ON_CLUSTERS:
            if name in flags:
                having = [each for each, of in _CLUSTERS.items() if name in of.own_flags]
                runners = " or ".join(having or _CLUSTERS)
                raise UsageError(f"--{name} needs --runner={runners}; or leave it out")
        return
    if flags.get("streaming"):
        raise UsageError("--streaming: every stage is a batch job; leave it out")
    _check_setup_file(flags)
    if runner == DATAFLOW:
        return
    cluster = _CLUSTERS[runner]
    if num_workers is not None:
        raise UsageError(f"--num_workers is none of {runner}'s flags; use {cluster.parallelism}")
    cluster.check(flags)
    default = "LOOPBACK" if cluster.is_in_process(flags) else "DOCKER"
    _check_environment(flags.get("environment_type", default), flags)


def check_reachable(runner: str, flags: Flags) -> None:
    """Refuses a cluster at whose address nobody listens.

    Raises:
      UsageError: names the flag and the address.
    """
    for name in _CLUSTERS[runner].addresses if runner in _CLUSTERS else ():
        address = flags.get(name)
        if address is None or address in _NO_ADDRESSES:
            continue
        host, port = _host_and_port(address)
        try:
            socket.create_connection((host, port), _SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise UsageError(
                f"--{name}={address}: nobody listens there ({error}); start the cluster first, or "
                "correct the address"
            ) from error


def shares_machine(runner: str, flags: Flags) -> bool:
    """Tells whether workers run on the launcher's machine, as far as the flags say."""
    return runner == LOCAL or _hosts(flags) <= set(_THIS_MACHINE)


def _hosts(flags: Flags) -> set[str]:
    """Returns the hosts of the cluster that the flags name."""
    names = {name for cluster in _CLUSTERS.values() for name in cluster.addresses}
    named = [flags[name] for name in sorted(names & flags.keys())]
    return {_host_and_port(address)[0] for address in named if address not in _NO_ADDRESSES}


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"{address} is no address; give it as host:port")
    return host, port


def _check_setup_file(flags: Flags) -> None:
    path = flags.get("setup_file")
    if path is None:
        return
    if not os.path.isfile(path):
        raise UsageError(f"--setup_file={path}: no such file; give that of a clone of this project")
    if importlib.util.find_spec("setuptools") is None:
        raise UsageError("--setup_file needs setuptools here; run `pip install setuptools`")


def _check_flink(flags: Flags) -> None:
    if "job_endpoint" not in flags:
        _check_job_server(flags)
    if not _is_flink_in_process(flags) and flags.get("parallelism", 0) < 1:
        raise UsageError(
            "--parallelism is needed: how many units run at once, at most the cluster's task "
            "slots; without it Flink runs one after the other"
        )


def _is_flink_in_process(flags: Flags) -> bool:
    return flags.get("flink_master") == IN_PROCESS


def _check_job_server(flags: Flags) -> None:
    """Checks what is needed to start Beam's job server, which hands a graph to Flink."""
    if flags.get("flink_master", _UNKNOWN) == _UNKNOWN:
        raise UsageError(
            "--flink_master is needed: host:port of the cluster's REST interface, or "
            f"{IN_PROCESS} for a Flink within this run"
        )
    jar = flags.get("flink_job_server_jar")
    if jar is not None and not files.is_remote(jar) and not os.path.isfile(jar):
        raise UsageError(
            f"--flink_job_server_jar={jar}: no such file; without the flag Beam fetches its own"
        )
    java = flags.get("job_server_java_launcher", "java")
    if not flags.get("flink_submit_uber_jar") and shutil.which(java) is None:
        raise UsageError(
            f"{java} was not found, and Beam's job server for Flink needs it; install Java 17, or "
            "name a job server that runs already with --job_endpoint=host:port"
        )


def _check_portable(flags: Flags) -> None:
    if "job_endpoint" not in flags:
        raise UsageError("--job_endpoint is needed: host:port of the cluster's Beam job service")


# --- Where the code of workers comes from ---


def _check_environment(kind: str, flags: Flags) -> None:
    checks = {
        "DOCKER": _check_docker,
        "EXTERNAL": _check_external,
        "LOOPBACK": _check_loopback,
        "PROCESS": _check_process,
    }
    if kind not in checks:
        raise UsageError(f"--environment_type={kind} is none of {', '.join(sorted(checks))}")
    checks[kind](flags)


def _check_docker(flags: Flags) -> None:
    image = _environment_option("docker_container_image", flags)
    if image is None and "setup_file" not in flags and "sdk_container_image" not in flags:
        raise UsageError(
            "workers would not have this package: give --setup_file=./setup.py, or an image that "
            "has it (see Dockerfile) with --environment_type=DOCKER --environment_config=IMAGE, or "
            "start workers yourself and name them with --environment_type=EXTERNAL"
        )


def _check_external(flags: Flags) -> None:
    address = _environment_option("external_service_address", flags)
    if address is None or ":" not in address:
        raise UsageError(
            "--environment_type=EXTERNAL needs --environment_config=host:port, where workers listen"
        )


def _check_loopback(flags: Flags) -> None:
    if not _hosts(flags) <= set(_THIS_MACHINE):
        raise UsageError(
            "--environment_type=LOOPBACK does all work in the launcher, which a cluster elsewhere "
            "cannot reach; choose DOCKER, PROCESS or EXTERNAL"
        )


def _check_process(flags: Flags) -> None:
    if _environment_option("process_command", {**flags, "environment_config": None}):
        return
    try:
        command = json.loads(flags.get("environment_config") or "{}").get("command")
    except (ValueError, AttributeError):
        command = None
    if not command:
        raise UsageError(
            '--environment_type=PROCESS needs --environment_config=\'{"command": "..."}\', the '
            "program that starts a worker"
        )


def _environment_option(name: str, flags: Flags) -> str | None:
    """Returns the value of --environment_options=NAME=..., or else of --environment_config."""
    for option in flags.get("environment_options") or ():
        key, _, value = option.partition("=")
        if key == name:
            return value
    return flags.get("environment_config")


# --- The clusters ---

_CLUSTERS: Final[Mapping[str, Cluster]] = {
    FLINK: Cluster(
        check=_check_flink,
        own_flags=(
            *("flink_master", "flink_job_server_jar", "flink_submit_uber_jar"),
            *("flink_version", "parallelism", "max_parallelism"),
        ),
        addresses=("job_endpoint", "flink_master"),
        parallelism="--parallelism",
        is_in_process=_is_flink_in_process,
    ),
    PORTABLE: Cluster(check=_check_portable),
}

RUNNERS: Final = (LOCAL, DATAFLOW, *_CLUSTERS)

ONLY_ON_CLUSTERS: Final = (
    *(flag for cluster in _CLUSTERS.values() for flag in cluster.own_flags),
    *("job_endpoint", "artifact_endpoint", "environment_type", "environment_config"),
    *("environment_options", "sdk_worker_parallelism"),
)
"""Flags that neither a local run nor Dataflow has."""
