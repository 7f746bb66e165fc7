import gc
import os
import subprocess
import sys

import pytest

from pipeline.process import tune_process


@pytest.fixture
def restored():
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("restored")
def test_tune_process_lets_cyclic_garbage_gather(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(700)
    tune_process()
    assert gc.isenabled()
    assert gc.get_threshold()[0] == 300_000


@pytest.mark.usefixtures("restored")
def test_tune_process_leaves_the_threads_that_the_user_asks_for(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    tune_process()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    tune_process()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_command_line_is_ready_before_numpy_is_imported():
    program = "import sys, pipeline.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
