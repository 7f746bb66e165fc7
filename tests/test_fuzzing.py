"""The fuzz program: every target runs, and a fault is told."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing.__main__ import TARGETS, main
from tests.fuzzing.search import Target

SLOW = ("cleaning time", "checkpoints")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(target, id=target.name, marks=[pytest.mark.slow] * (target.name in SLOW))
        for target in TARGETS
    ],
)
def test_target_has_no_fault_in_some_examples(target):
    @settings(max_examples=15, database=None, suppress_health_check=list(HealthCheck))
    @given(st.tuples(*target.strategies))
    def check(arguments):
        target.check(*arguments)

    check()


def check_number(number):
    assert number < 7, "too much"


NUMBERS = Target("numbers", check_number, (st.integers(),))
DIGITS = Target("digits", lambda text: None, (st.text("0123456789"),))


def test_fault_is_told_with_the_smallest_example(capsys):
    assert main(["--seconds=60"], [NUMBERS]) == 1
    told = capsys.readouterr().out
    assert told.startswith("numbers ") and "FAULT" in told
    assert "AssertionError: too much" in told and "arguments=(7,)" in told


def test_targets_without_fault_are_told_with_their_examples(capsys):
    assert main(["--seconds=0.2"], [DIGITS]) == 0
    name, examples, *_ = capsys.readouterr().out.split()
    assert name == "digits" and int(examples.replace(",", "")) > 0


def test_only_targets_that_are_named_run(capsys):
    assert main(["--seconds=0.1", "digits"], [NUMBERS, DIGITS]) == 0
    assert capsys.readouterr().out.startswith("digits ")


def test_unknown_target_is_refused(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["letters"], [NUMBERS, DIGITS])
    assert raised.value.code == 2
    assert "no target letters; there are numbers, digits" in capsys.readouterr().err
