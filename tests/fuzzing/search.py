"""One thing to fuzz, and the search for what breaks it."""

import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

_EXAMPLES_AT_ONCE = 500
"""Hypothesis keeps what it has tried: one search of all examples would slow down."""

_LINE_CHARS = 2_000
"""What is shown of an example."""


class Target(NamedTuple):
    """What is fuzzed.

    Attributes:
      name: what it is called.
      check: raises where it meets a fault.
      strategies: make the arguments of `check`.
    """

    name: str
    check: Callable[..., None]
    strategies: tuple[st.SearchStrategy[Any], ...]


class Found(NamedTuple):
    """What a search came to.

    Attributes:
      examples: how many were tried.
      seconds: how long that took.
      fault: the smallest example that breaks the target, and how; None if there was none.
    """

    examples: int
    seconds: float
    fault: str | None


def search(target: Target, seconds: float, seed: int, at_once: int = _EXAMPLES_AT_ONCE) -> Found:
    """Tries examples, at least one, until the time is up or one breaks the target."""
    began = time.monotonic()
    ends = began + seconds
    examples = 0

    def check(arguments: tuple[Any, ...]) -> None:
        nonlocal examples, ends
        if examples and time.monotonic() >= ends:
            return
        examples += 1
        try:
            target.check(*arguments)
        except BaseException:
            ends = float("inf")  # to find a smaller example takes as long as it takes
            raise

    fault, rounds = None, 0
    while fault is None and time.monotonic() < ends:
        fault = _try_out(target, check, f"{seed} {rounds}", at_once)
        rounds += 1
    return Found(examples, time.monotonic() - began, fault)


def _try_out(target: Target, check: Callable[..., None], seed: str, at_once: int) -> str | None:
    """Tries some examples; returns what the smallest does that breaks the target."""
    test = hypothesis.given(st.tuples(*target.strategies))(check)
    test = hypothesis.settings(
        max_examples=at_once,
        phases=(Phase.generate, Phase.shrink),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(test)
    try:
        hypothesis.seed(int.from_bytes(seed.encode(), "big"))(test)()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # several faults come as a group
        lines = "".join(traceback.format_exception(error)).split("\n")
        return "\n".join(line[:_LINE_CHARS] for line in lines)
    return None
