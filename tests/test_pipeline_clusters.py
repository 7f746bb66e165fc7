import socket

import pytest

from pipeline import cli, clusters
from pipeline.clusters import DATAFLOW, FLINK, LOCAL, PORTABLE, RUNNERS
from pipeline.errors import UsageError

IMAGE = {"environment_type": "DOCKER", "environment_config": "t5s:1"}
POOL = {"environment_type": "EXTERNAL", "environment_config": "localhost:50000"}
ON_FLINK = {"flink_master": "flink.example:8081", "parallelism": 4}
ON_PORTABLE = {"job_endpoint": "jobs.example:8099"}
IN_PROCESS = {"flink_master": "[local]"}


@pytest.fixture(autouse=True)
def java(monkeypatch):
    """Acts as if Java were there, on whatever machine this is."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "java" else None)


def refusal(runner, flags, num_workers=None):
    with pytest.raises(UsageError) as caught:
        clusters.check_flags(runner, flags, num_workers)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("runner", "flags"),
    [
        (LOCAL, {}),
        (LOCAL, {"direct_num_workers": 1}),
        (DATAFLOW, {}),
        (FLINK, IN_PROCESS),
        (FLINK, ON_FLINK | POOL),
        (FLINK, ON_FLINK | IMAGE),
        (FLINK, {"job_endpoint": "localhost:8099", "parallelism": 2} | POOL),
        (FLINK, {"flink_master": "http://127.0.0.1:8081", "parallelism": 1} | POOL),
        (
            FLINK,
            {"flink_master": "localhost:8081", "parallelism": 1, "environment_type": "LOOPBACK"},
        ),
        (PORTABLE, ON_PORTABLE | POOL),
        (PORTABLE, ON_PORTABLE | {"sdk_container_image": "t5s:1"}),
        (
            PORTABLE,
            ON_PORTABLE
            | {
                "environment_type": "EXTERNAL",
                "environment_options": ["external_service_address=pool:50000"],
            },
        ),
        (
            PORTABLE,
            ON_PORTABLE
            | {"environment_type": "PROCESS", "environment_config": '{"command": "/opt/boot"}'},
        ),
        (
            PORTABLE,
            ON_PORTABLE
            | {
                "environment_type": "PROCESS",
                "environment_options": ["process_command=/opt/boot", "process_variables=A=1"],
            },
        ),
    ],
)
def test_complete_flags_are_taken(runner, flags):
    clusters.check_flags(runner, flags, None)


@pytest.mark.parametrize(
    ("name", "runners"),
    [
        ("flink_master", [FLINK]),
        ("parallelism", [FLINK]),
        ("job_endpoint", RUNNERS[2:]),
        ("environment_type", RUNNERS[2:]),
    ],
)
def test_cluster_flag_of_a_local_run_is_refused(name, runners):
    assert refusal(LOCAL, {name: "x"}) == (
        f"--{name} needs --runner={' or '.join(runners)}; or leave it out"
    )


def test_runners_are_the_local_one_dataflow_and_clusters():
    assert RUNNERS[:2] == (LOCAL, DATAFLOW)
    assert {FLINK, PORTABLE} <= set(RUNNERS[2:])
    assert not set(RUNNERS) & set(clusters.REFUSED)


@pytest.mark.parametrize(
    ("runner", "flags", "said"),
    [
        (FLINK, {}, "--flink_master is needed: host:port of"),
        (FLINK, {"flink_master": "[auto]", "parallelism": 2}, "--flink_master is needed: "),
        (FLINK, {"flink_master": "a:1"} | POOL, "--parallelism is needed: "),
        (FLINK, ON_FLINK | {"parallelism": 0} | POOL, "--parallelism is needed: "),
        (FLINK, ON_FLINK, "workers would not have this package: give --setup_file=./setup.py"),
        (PORTABLE, ON_PORTABLE, "workers would not have this package: give --setup_file="),
        (
            FLINK,
            IN_PROCESS | {"flink_job_server_jar": "nowhere.jar"},
            "--flink_job_server_jar=nowhere.jar: no such file",
        ),
        (FLINK, IN_PROCESS | {"job_server_java_launcher": "java8"}, "java8 was not found"),
        (PORTABLE, POOL, "--job_endpoint is needed: host:port of"),
        (
            PORTABLE,
            ON_PORTABLE | {"environment_type": "EXTERNAL"},
            "--environment_type=EXTERNAL needs --environment_config=host:port",
        ),
        (
            PORTABLE,
            ON_PORTABLE | {"environment_type": "EXTERNAL", "environment_config": "pool"},
            "--environment_type=EXTERNAL needs --environment_config=host:port",
        ),
        (
            PORTABLE,
            ON_PORTABLE | {"environment_type": "PROCESS"},
            '--environment_type=PROCESS needs --environment_config=\'{"command": ',
        ),
        (
            PORTABLE,
            ON_PORTABLE | {"environment_type": "PROCESS", "environment_config": "/opt/boot"},
            '--environment_type=PROCESS needs --environment_config=\'{"command": ',
        ),
        (
            PORTABLE,
            ON_PORTABLE | {"environment_type": "LOOPBACK"},
            "--environment_type=LOOPBACK does all work in the launcher",
        ),
        (
            FLINK,
            ON_FLINK | {"environment_type": "LOOPBACK"},
            "--environment_type=LOOPBACK does all work in the launcher",
        ),
        (
            PORTABLE,
            ON_PORTABLE | {"environment_type": "docker"},
            "--environment_type=docker is none of DOCKER, EXTERNAL, LOOPBACK, PROCESS",
        ),
        (
            PORTABLE,
            {"job_endpoint": "jobs", "environment_type": "LOOPBACK"},
            "jobs is no address; give it as host:port",
        ),
        (
            PORTABLE,
            {"job_endpoint": "jobs:99999", "environment_type": "LOOPBACK"},
            "jobs:99999 is no address; give it as host:port",
        ),
        (PORTABLE, ON_PORTABLE | POOL | {"streaming": True}, "--streaming: every stage is a batch"),
        (
            DATAFLOW,
            {"setup_file": "nowhere.py"},
            "--setup_file=nowhere.py: no such file; give that of a clone",
        ),
    ],
)
def test_missing_or_contradictory_flags_are_refused_in_one_line(runner, flags, said):
    assert refusal(runner, flags).startswith(said)


@pytest.mark.parametrize(
    ("runner", "instead"), [(FLINK, "--parallelism"), (PORTABLE, "the flags of its cluster")]
)
def test_processes_of_a_local_run_are_refused_on_clusters(runner, instead):
    flags = ON_FLINK | ON_PORTABLE | POOL
    said = f"--num_workers is none of {runner}'s flags; use {instead}"
    assert refusal(runner, flags, num_workers=2) == said


def test_setup_file_needs_setuptools(monkeypatch, tmp_path):
    (tmp_path / "setup.py").touch()
    flags = ON_PORTABLE | {"setup_file": f"{tmp_path}/setup.py"}
    clusters.check_flags(PORTABLE, flags, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refusal(PORTABLE, flags).startswith("--setup_file needs setuptools here")


@pytest.mark.parametrize(("runner", "name"), [(PORTABLE, "job_endpoint"), (FLINK, "flink_master")])
def test_address_at_which_nobody_listens_is_refused(runner, name):
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            clusters.check_reachable(runner, {name: f"localhost:{port}"})
        assert str(caught.value).startswith(f"--{name}=localhost:{port}: nobody listens there (")
        listener.listen()
        clusters.check_reachable(runner, {name: f"localhost:{port}"})
    clusters.check_reachable(runner, IN_PROCESS)


@pytest.mark.parametrize(
    ("runner", "flags", "shared"),
    [
        (LOCAL, {}, True),
        (FLINK, IN_PROCESS, True),
        (FLINK, {"flink_master": "http://localhost:8081"}, True),
        (FLINK, ON_FLINK, False),
        (PORTABLE, {"job_endpoint": "[::1]:8099"}, True),
        (PORTABLE, {"job_endpoint": "localhost:8099", "flink_master": "far:8081"}, False),
    ],
)
def test_machine_is_shared_where_no_address_is_elsewhere(runner, flags, shared):
    assert clusters.shares_machine(runner, flags) == shared


@pytest.mark.parametrize("runner", ["DaskRunner", "DirectRunner"])
def test_refused_runner_says_why(capsys, tmp_path, runner):
    with pytest.raises(SystemExit) as caught:
        cli.main([f"--runner={runner}", f"--output_dir={tmp_path}/out"])
    assert caught.value.code == 2
    assert (
        f"{runner} is not used: {clusters.REFUSED[runner]}; choose from {', '.join(RUNNERS)}"
    ) in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--runner=FlinkRunner"], "--flink_master is needed: "),
        (["--flink_master=a:1"], "--flink_master needs --runner=FlinkRunner; or leave it out"),
        (["--runner=FlinkRunner", "--parallelism=two"], "argument --parallelism: invalid int"),
        (["--runner=PortableRunner", "--num_workers=2"], "--num_workers is none of Portable"),
    ],
)
def test_flags_are_checked_before_anything_is_read_or_written(capsys, tmp_path, flags, said):
    code = cli.main([*flags, "--input_dir=nowhere", f"--output_dir={tmp_path}/out"])
    printed = capsys.readouterr().err
    assert (code, printed.count("\n")) == (2, 1)
    assert printed.startswith(f"pipeline: {said}")
    assert not (tmp_path / "out").exists()
