"""What was measured, and what follows from it: ratios, bounds, tables, results.json.

MB and GB are 10^6 and 10^9 bytes. Of several runs the median counts; of memory, the most.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from benchmarks import steps
from benchmarks.memory import Usage
from benchmarks.steps import StepCosts
from benchmarks.usual_recipe import RecipeResult

MASKINGS: Final = 10
LEARNED, ONE, TWO = "2 workers, learned vocabulary", "1 worker", "2 workers"
MASKED = f"2 workers, {MASKINGS} maskings"
TIMES: Final = 4
LARGER = f"2 workers, {TIMES} times the corpus"
TINY_LEARNED, TINY = "bundled corpus, learned vocabulary", "bundled corpus"
FEW_UNITS, MANY_UNITS = "bundled corpus, few units", "bundled corpus, many units"

JIEBA, JIEBA_FAST = "jieba", "jieba_fast"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """All that was measured.

    Attributes:
      documents_read: lines of the corpus that are not blank.
      runs: what whole runs used, by their name, once a repeat.
      further_units: by how many units of input the runs of many and of few units differ.
      steps: what the steps took, once a repeat.
      recipe: what the usual recipe took, by segmenter and max_seq_length, once a repeat.
      plan: what `plan` foresaw, and what runs made and took.
    """

    documents_read: int
    runs: dict[str, list[Usage]]
    further_units: int
    steps: list[StepCosts]
    recipe: dict[str, dict[int, list[RecipeResult]]]
    plan: dict[str, tuple[float, float]]

    @property
    def text_mb(self) -> float:
        """MB of kept text."""
        return self.steps[0].text_bytes / 1e6

    @property
    def step_seconds(self) -> dict[str, float]:
        """CPU seconds of each step."""
        return {
            step: statistics.median(costs.seconds[step] for costs in self.steps)
            for step in steps.STEPS
        }

    @property
    def bare_seconds(self) -> float:
        """CPU seconds of rjieba alone."""
        return statistics.median(costs.bare_seconds for costs in self.steps)

    @property
    def seconds_per_unit(self) -> float:
        """CPU seconds that a further unit of input costs by itself."""
        return (self.cpu_seconds(MANY_UNITS) - self.cpu_seconds(FEW_UNITS)) / self.further_units

    def wall_seconds(self, name: str) -> float:
        """Returns the wall time of a run."""
        return statistics.median(usage.wall_seconds for usage in self.runs[name])

    def cpu_seconds(self, name: str) -> float:
        """Returns the CPU time of a run."""
        return statistics.median(usage.cpu_seconds for usage in self.runs[name])

    def peak_gb(self, *names: str) -> float:
        """Returns the most memory that any of these runs took."""
        return max(usage.peak_bytes for name in names for usage in self.runs[name]) / 1e9

    def recipe_seconds_per_mb(self, segmenter: str) -> float:
        """Returns what the usual recipe takes for a MB of text, at both lengths together."""
        return sum(
            statistics.median(1e6 * result.cpu_seconds / result.text_bytes for result in results)
            for results in self.recipe[segmenter].values()
        )


class Ratio(NamedTuple):
    """A figure and its bounds, if it has any."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool:
        """Tells whether the value lies within the bounds."""
        is_high_enough = self.low is None or self.value >= self.low
        return is_high_enough and (self.high is None or self.value <= self.high)


def derive_ratios(figures: Figures) -> list[Ratio]:
    """Returns what the bounds are about, in the order of the README."""
    return [
        *_ratios_of_speed(figures),
        Ratio(
            "wall time of 2 workers / wall time of 1",
            figures.wall_seconds(TWO) / figures.wall_seconds(ONE),
            high=0.58,
        ),
        Ratio("peak memory, 1 worker, GB", figures.peak_gb(ONE), high=1.7),
        Ratio("peak memory, 2 workers, GB", figures.peak_gb(TWO, LEARNED, MASKED), high=2.4),
        Ratio(
            f"peak memory, 2 workers, {TIMES} times the corpus / the corpus",
            figures.peak_gb(LARGER) / figures.peak_gb(TWO),
            high=1.15,
        ),
        Ratio("bundled corpus, wall seconds", figures.wall_seconds(TINY_LEARNED), high=15),
        Ratio("bundled corpus with --vocab, wall seconds", figures.wall_seconds(TINY), high=6),
        Ratio("a further unit, CPU milliseconds", 1000 * figures.seconds_per_unit),
        *(
            Ratio(f"plan / run: {name}", foreseen / real, 0.8, 1.2)
            for name, (foreseen, real) in figures.plan.items()
        ),
    ]


def _ratios_of_speed(figures: Figures) -> Iterator[Ratio]:
    text_mb, bare = figures.text_mb, figures.bare_seconds
    for name in (ONE, TWO):
        yield Ratio(f"MB of text per core-second, {name}", text_mb / figures.cpu_seconds(name), 3.4)
    yield Ratio("speed / speed of rjieba alone", bare / figures.cpu_seconds(ONE), 0.25)
    last_steps = (steps.TOKENIZE, steps.PACK, steps.MASK, steps.ENCODE, steps.WRITE)
    last_seconds = sum(figures.step_seconds[step] for step in last_steps)
    yield Ratio("time of tokenize to write / time of rjieba alone", last_seconds / bare, high=1)
    near = figures.step_seconds[steps.NEAR] / figures.cpu_seconds(ONE)
    yield Ratio("time of near-duplicates / time of a whole run", near, high=0.1)
    rate = text_mb / figures.cpu_seconds(MASKED)
    yield Ratio(f"{MASKINGS} maskings: MB of text per core-second", rate, 0.8)
    for segmenter in figures.recipe:
        seconds = text_mb * figures.recipe_seconds_per_mb(segmenter)
        bounds = (20, 40) if segmenter == JIEBA else (None, None)
        once, often = seconds / figures.cpu_seconds(ONE), seconds / figures.cpu_seconds(MASKED)
        yield Ratio(f"speed / speed of the usual recipe ({segmenter})", once, bounds[0])
        name = f"{MASKINGS} maskings: speed / speed of the usual recipe ({segmenter})"
        yield Ratio(name, MASKINGS * often, bounds[1])
    sample = next(iter(figures.recipe[JIEBA].values()))[0]
    lost = 100 * sample.text_bytes_lost / sample.text_bytes
    yield Ratio("text that the usual recipe loses, %", lost)


def describe(figures: Figures, facts: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of results.json.

    Args:
      figures: what was measured.
      facts: what else stands there: day and machine.
    """
    costs, whole = figures.steps[0], figures.cpu_seconds(ONE)
    per_mb = {step: seconds / figures.text_mb for step, seconds in figures.step_seconds.items()}
    return {
        **facts,
        "text": {
            "chars_read": costs.chars_read,
            "kept_bytes": costs.text_bytes,
            "documents_read": figures.documents_read,
            "documents_kept": costs.documents,
            "sequences": costs.sequences,
        },
        "cpu_seconds_per_mb": {
            "steps": per_mb,
            "whole run, 1 worker": whole / figures.text_mb,
            "rest": whole / figures.text_mb - sum(per_mb.values()),
            "rjieba alone": figures.bare_seconds / figures.text_mb,
            "usual recipe": {name: figures.recipe_seconds_per_mb(name) for name in figures.recipe},
        },
        "ratios": [ratio._asdict() | {"holds": ratio.holds} for ratio in derive_ratios(figures)],
        "measured": {
            "runs": {name: _columns(usages) for name, usages in figures.runs.items()},
            "further_units": figures.further_units,
            "steps": [costs.seconds for costs in figures.steps],
            "rjieba alone": [costs.bare_seconds for costs in figures.steps],
            "usual recipe": {
                segmenter: {length: _columns(results) for length, results in by_length.items()}
                for segmenter, by_length in figures.recipe.items()
            },
            "plan": {
                name: {"foreseen": foreseen, "real": real}
                for name, (foreseen, real) in figures.plan.items()
            },
        },
    }


def _columns(rows: Sequence[Usage] | Sequence[RecipeResult]) -> dict[str, list[float]]:
    return {field: [getattr(row, field) for row in rows] for field in rows[0]._fields}


# --- Tables ---


def format_figures(figures: Figures) -> str:
    """Returns the tables of runs, steps and bounds."""
    return "\n\n".join(
        _align(rows) for rows in (_run_rows(figures), _step_rows(figures), _ratio_rows(figures))
    )


def _run_rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    yield "run", "wall s", "CPU s", "peak GB", "MB/core-s"
    for name in figures.runs:
        seconds = figures.cpu_seconds(name)
        is_whole = name in (LEARNED, ONE, TWO, MASKED)
        rate = f"{figures.text_mb / seconds:.2f}" if is_whole else ""
        wall, peak = figures.wall_seconds(name), figures.peak_gb(name)
        yield name, f"{wall:.2f}", f"{seconds:.2f}", f"{peak:.2f}", rate


def _step_rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    whole = figures.cpu_seconds(ONE)
    total = sum(figures.step_seconds.values())
    seconds = {
        **figures.step_seconds,
        "all steps": total,
        "rest: start, Beam, report": whole - total,
        "whole run, 1 worker": whole,
        "rjieba alone": figures.bare_seconds,
    }
    yield "step", "CPU s", "ms/MB", "of the run"
    for name, value in seconds.items():
        yield name, f"{value:.2f}", f"{1000 * value / figures.text_mb:.1f}", f"{value / whole:.1%}"
    for segmenter in figures.recipe:
        per_mb = figures.recipe_seconds_per_mb(segmenter)
        yield f"usual recipe ({segmenter})", "", f"{1000 * per_mb:,.0f}", ""


def _ratio_rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    yield "figure", "is", "bound", ""
    for name, value, low, high in derive_ratios(figures):
        bounds = [f">= {low:g}"] if low is not None else []
        bounds += [f"<= {high:g}"] if high is not None else []
        verdict = "holds" if Ratio(name, value, low, high).holds else "DOES NOT HOLD"
        yield name, f"{value:.3g}", ", ".join(bounds), verdict if bounds else ""


def _align(rows: Iterable[tuple[str, ...]]) -> str:
    """Aligns the first column left, the others right."""
    cells = list(rows)
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    lines = [
        "  ".join([name.ljust(first), *map(str.rjust, values, others)]).rstrip()
        for name, *values in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
