"""Two runs and one folder of Cloud Storage; leases of fractions of a second."""

import threading

import pytest

from pipeline import cloud_lock, files
from pipeline.errors import RunError, UsageError
from pipeline.layout import Layout
from pipeline.locking import locked
from tests import cloud_storage

pytestmark = pytest.mark.slow

FOLDER = "gs://bucket/out"
LOCK = f"{FOLDER}/run.lock"


@pytest.fixture
def emulator(monkeypatch):
    for name, seconds in (("RENEWAL", 0.05), ("WATCH", 1.0), ("_LOOK", 0.1)):
        monkeypatch.setattr(cloud_lock, f"{name}_SECONDS", seconds)
    with cloud_storage.running() as emulator:
        yield emulator


def lease(told=lambda line: None):
    return cloud_lock.leased(FOLDER, told)


def wait_until(holds):
    """Returns when that holds; the time limit of a test ends what never does."""
    pause = threading.Event()
    while not holds():
        pause.wait(0.01)


def uploads(emulator):
    return sum(path.startswith("/upload") for _, path in emulator.requests)


def test_lock_is_there_while_a_run_lives_and_can_be_taken_one_after_the_other(emulator):
    for _ in range(2):
        with locked(Layout(FOLDER)):
            assert files.exists(LOCK)
        assert not files.exists(LOCK)


def test_second_run_is_refused_while_the_first_renews(emulator):
    told = []
    with lease(), pytest.raises(UsageError) as raised, lease(told.append):
        raise AssertionError
    assert str(raised.value) == (
        f"another run is writing to {FOLDER}; wait for its end, or choose another --output_dir"
    )
    assert told == [f"{LOCK}: another run is, or was, writing there; watching it"]
    assert not files.exists(LOCK)


def test_lock_of_a_killed_run_is_taken_over(emulator):
    files.write_bytes(LOCK, b"of a killed run")
    with lease():
        assert files.read_bytes(LOCK) != b"of a killed run"
    assert not files.exists(LOCK)


def test_of_two_that_would_take_over_one_does(emulator, monkeypatch):
    files.write_bytes(LOCK, b"of a killed run")
    find, looks = cloud_lock._Lock._find_generation, []

    def find_and_lose(lock):
        """The other takes over right after the last look."""
        looks.append(find(lock))
        if len(looks) == 2:
            files.write_bytes(LOCK, b"of the other")
        return looks[-1]

    monkeypatch.setattr(cloud_lock, "WATCH_SECONDS", 0.0)
    monkeypatch.setattr(cloud_lock._Lock, "_find_generation", find_and_lose)
    with pytest.raises(UsageError, match="another run is writing"), lease():
        raise AssertionError
    assert files.read_bytes(LOCK) == b"of the other"


def test_run_that_lost_its_lock_fails_and_leaves_it_to_the_other(emulator):
    with pytest.raises(RunError, match=r"run\.lock: another run took over"), lease():
        files.write_bytes(LOCK, b"of the other")
        before = uploads(emulator)
        wait_until(lambda: uploads(emulator) > before)
    assert files.read_bytes(LOCK) == b"of the other"


def test_lock_is_free_after_an_error(emulator):
    with pytest.raises(ZeroDivisionError), lease():
        raise ZeroDivisionError
    assert not files.exists(LOCK)


def test_lock_holds_though_requests_fail_and_answers_are_lost(emulator):
    emulator.refuse_every = 3
    emulator.loses_answers = True
    with lease():
        before = uploads(emulator)
        wait_until(lambda: uploads(emulator) > before + 12)
    emulator.refuse_every = 0
    assert not files.exists(LOCK)
