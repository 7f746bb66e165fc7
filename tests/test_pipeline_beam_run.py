import signal
import threading

import pytest

from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.resume import Stage

pytestmark = pytest.mark.slow

first_runs, second_runs = threading.Event(), threading.Event()


def run_overlapping(unit):
    """A unit that fails when another one begins before its end."""
    if unit == "first":
        first_runs.set()
        assert not second_runs.wait(0.3)
    else:
        second_runs.set()
    return Result()


class Result:
    def to_json(self):
        return {}


def test_threads_of_a_worker_run_one_unit_at_a_time(tmp_path):
    from pipeline.beam_graph import _RunUnitsFn

    stage = Stage("test", run_overlapping, (), Result, str, len, Layout(str(tmp_path)))
    ended = []

    def process(unit):
        function = _RunUnitsFn(stage, local=False)
        function.setup()
        function.start_bundle()
        ended.extend(function.process(unit))

    first = threading.Thread(target=process, args=["first"])
    first.start()
    assert first_runs.wait(30)
    process("second")
    first.join()
    assert len(ended) == 2


def test_first_error_of_ours_is_found_in_a_workers_log():
    from pipeline.beam_run import find_error

    log = (
        "Traceback (most recent call last):\n  File x\n"
        "pipeline.errors.BrokenFileError: a.zip, byte 7: is damaged; mend it [while running 'Run']"
        "\n\nThe above exception was the direct cause\npipeline.errors.RunError: later\n"
    )
    assert str(find_error(log)) == "a.zip, byte 7: is damaged; mend it"
    assert find_error("ValueError: pipeline.errors are none here") is None


def test_beam_is_hastened_once_and_still_finds_state():
    import apache_beam as beam
    from apache_beam.coders import VarIntCoder
    from apache_beam.runners.worker.statesampler import StateSampler
    from apache_beam.transforms import userstate

    from pipeline import beam_run

    beam_run._hasten_beam()
    remembering = userstate.get_dofn_specs
    beam_run._hasten_beam()
    assert userstate.get_dofn_specs is remembering
    assert StateSampler.__init__.__defaults__ == (10,)

    spec = userstate.ReadModifyWriteStateSpec("sum", VarIntCoder())
    state = beam.DoFn.StateParam(spec)

    class Stateful(beam.DoFn):
        def process(self, element, total=state):
            yield element

    assert userstate.get_dofn_specs(Stateful()) == ({spec}, set())
    assert userstate.get_dofn_specs(beam.DoFn()) == (set(), set())


class Job:
    """A pipeline, and its job on a cluster, which ends as it is told to."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.cancelled = False

    def run(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as runners do that stop their server first
        return self

    def wait_until_finish(self):
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        if self.outcome == "interrupt":
            signal.raise_signal(signal.SIGINT)
        return self.outcome

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def job_of(monkeypatch):
    """Returns a function that runs a graph as a job with a given outcome."""
    from pipeline import beam_run

    before = signal.getsignal(signal.SIGINT)
    made = []

    def run(outcome):
        job = Job(outcome)
        made.append(job)
        monkeypatch.setattr(beam_run.beam, "Pipeline", lambda **_: job)
        beam_run.run_graph(lambda _: None, "PortableRunner", [])

    run.made = made
    yield run
    signal.signal(signal.SIGINT, before)


def test_interrupted_job_is_ended_on_its_cluster(job_of):
    with pytest.raises(KeyboardInterrupt):
        job_of("interrupt")
    assert job_of.made[0].cancelled


def test_job_that_ends_well_is_not_cancelled(job_of):
    job_of("DONE")
    assert not job_of.made[0].cancelled


def test_job_that_ends_otherwise_is_an_error(job_of):
    with pytest.raises(RunError, match="the PortableRunner job ended as CANCELLED"):
        job_of("CANCELLED")


def test_error_of_a_unit_is_told_in_one_line(job_of):
    log = "Traceback\npipeline.errors.RunError: disk is full [while running 'CleanUnits']\nmore"
    with pytest.raises(RunError) as caught:
        job_of(RuntimeError(log))
    assert str(caught.value) == "disk is full"


def test_lost_worker_is_told_in_one_line(job_of):
    with pytest.raises(RunError) as caught:
        job_of(RuntimeError("job-1 failed in state FAILED: SDK worker disconnected"))
    assert str(caught.value) == (
        "the PortableRunner job failed: job-1 failed in state FAILED: SDK worker disconnected; "
        "give the same command again, without --overwrite: what is done is kept"
    )


def test_fault_of_the_program_keeps_its_traceback(job_of):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        job_of(RuntimeError("Traceback\nZeroDivisionError: division by zero"))


@pytest.mark.parametrize(("flags", "seconds"), [([], 7776000), (["--job_server_timeout=9"], 9)])
def test_job_may_be_longer_than_beam_waits_for_a_server(flags, seconds):
    from apache_beam.options.pipeline_options import PortableOptions

    from pipeline.beam_run import _make_options

    assert _make_options(flags).view_as(PortableOptions).job_server_timeout == seconds
