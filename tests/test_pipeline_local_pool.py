"""Units that are started before their graph comes to them."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest

from pipeline import local_pool
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.resume import Stage

ran: list[str] = []


class Length(NamedTuple):
    word: str
    length: int

    def to_json(self):
        return self.length


def measure(word):
    ran.append(word)
    if word == "broken":
        raise RunError("a word is broken")
    return Length(word, len(word))


@pytest.fixture
def pool(monkeypatch):
    """A pool of threads in the place of that of processes."""
    ran.clear()
    monkeypatch.setattr(local_pool, "_pool", ThreadPoolExecutor(2))
    yield
    local_pool.stop()


@pytest.fixture
def stage_of(tmp_path):
    layout = Layout(str(tmp_path))
    return lambda name: Stage(name, measure, (), Length, lambda word: word, len, layout)


def results_of(stage, units):
    run = local_pool.BoundedRun(stage)
    ready = [pair for unit in units for pair in run.submit(unit)]
    return sorted(done.result for _, done in [*ready, *run.finish()])


@pytest.mark.usefixtures("pool")
def test_units_started_ahead_are_not_run_again(stage_of):
    local_pool.start_ahead(stage_of("first"), ["a", "bc"])
    assert results_of(stage_of("first"), ["a", "bc", "def"]) == [("a", 1), ("bc", 2), ("def", 3)]
    assert sorted(ran) == ["a", "bc", "def"]


@pytest.mark.usefixtures("pool")
def test_units_of_the_next_stage_follow_with_all_results(stage_of):
    given = []

    def follow(results):
        given.append(sorted(results))
        local_pool.start_ahead(stage_of("next"), [f"{word}!" for word, _ in given[0]])

    local_pool.start_ahead(stage_of("first"), ["a", "bc"], follow)
    assert results_of(stage_of("first"), ["a", "bc"]) == [("a", 1), ("bc", 2)]
    assert results_of(stage_of("next"), ["a!", "bc!"]) == [("a!", 2), ("bc!", 3)]
    assert given == [[("a", 1), ("bc", 2)]]
    assert sorted(ran) == ["a", "a!", "bc", "bc!"]


@pytest.mark.usefixtures("pool")
def test_graph_that_is_early_waits_for_units_that_follow(stage_of):
    may_follow = threading.Event()

    def follow(results):
        may_follow.wait()
        local_pool.start_ahead(stage_of("next"), ["b"])

    local_pool.start_ahead(stage_of("first"), ["a"], follow)
    assert results_of(stage_of("first"), ["a"]) == [("a", 1)]
    found: Future = Future()
    thread = threading.Thread(target=lambda: found.set_result(results_of(stage_of("next"), ["b"])))
    thread.start()
    may_follow.set()
    thread.join()
    assert found.result() == [("b", 1)]
    assert ran == ["a", "b"]


@pytest.mark.usefixtures("pool")
def test_nothing_follows_a_failure_which_the_graph_gets(stage_of):
    local_pool.start_ahead(stage_of("first"), ["a", "broken"], lambda results: ran.append("next"))
    with pytest.raises(RunError, match="a word is broken"):
        results_of(stage_of("first"), ["a", "broken"])
    local_pool.stop()
    assert sorted(ran) == ["a", "broken"]


@pytest.mark.usefixtures("pool")
def test_pool_that_takes_no_more_leaves_units_to_the_graph(stage_of):
    local_pool._pool.shutdown()
    local_pool.start_ahead(stage_of("first"), ["a"], lambda results: ran.append("next"))
    local_pool.stop()
    assert ran == []


@pytest.mark.usefixtures("pool")
def test_stopping_cancels_what_has_not_begun_and_nothing_follows(stage_of, monkeypatch):
    may_end, begun = threading.Event(), threading.Event()

    def measure_slowly(word):
        begun.set()
        may_end.wait()
        return measure(word)

    stage = stage_of("first")._replace(run_unit=measure_slowly)
    local_pool.start_ahead(stage, [str(at) for at in range(20)], lambda results: ran.append("next"))
    begun.wait()
    shut_down = local_pool._pool.shutdown

    def end_units_once_the_others_are_cancelled(wait, cancel_futures):
        shut_down(wait=False, cancel_futures=cancel_futures)
        may_end.set()
        shut_down(wait=wait)

    monkeypatch.setattr(local_pool._pool, "shutdown", end_units_once_the_others_are_cancelled)
    local_pool.stop()
    assert 1 <= len(ran) <= 2 and "next" not in ran


def test_with_one_worker_nothing_is_started(stage_of):
    ran.clear()
    local_pool.start_ahead(stage_of("first"), ["a"], lambda results: ran.append("next"))
    assert ran == []
    assert results_of(stage_of("first"), ["a"]) == [("a", 1)]
