"""Measures the pipeline on a corpus, against its limit and against the usual recipe. Linux only.

    python -m benchmarks.run --corpus=DIR --output=benchmarks/results

Prints all figures and which bounds hold, and writes results.json and results.png. Text is that of
the kept documents, in UTF-8; MB and GB are 10^6 and 10^9 bytes. Times are CPU seconds, user and
system, of all processes, unless they are called wall. Of several runs the median counts; of
memory, the most.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import json
import logging
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from benchmarks import plot, steps
from benchmarks.corpus import multiply_corpus
from benchmarks.memory import Usage, measure
from benchmarks.steps import StepCosts, measure_steps
from benchmarks.usual_recipe import RecipeResult, run_usual_recipe
from pipeline import files, run
from pipeline.blocks import read_block
from pipeline.config import DocumentsConfig
from pipeline.errors import PipelineError, RunError
from pipeline.layout import Layout
from pipeline.manifest import Manifest, parse_manifest
from pipeline.records import READ
from pipeline.run import RunOptions
from tfrecords_schema.features import SEQ_LENGTHS

BUNDLED_CORPUS: Final = str(Path(__file__).parent.parent / "tests" / "data" / "nlp_chinese_corpus")
COPIES_OF_BUNDLED: Final = 80  # 18 MB
MASKINGS: Final = 10
SMALL_UNIT_BYTES: Final = 512
MEMORY_FOLDER: Final = "/dev/shm"

LEARNED, ONE, TWO = "2 workers, learned vocabulary", "1 worker", "2 workers"
MASKED = f"2 workers, {MASKINGS} maskings"
TINY_LEARNED, TINY = "bundled corpus, learned vocabulary", "bundled corpus"
FEW_UNITS, MANY_UNITS = "bundled corpus, few units", "bundled corpus, many units"

JIEBA, JIEBA_FAST = "jieba", "jieba_fast"
_PACKAGES: Final = (
    *("apache-beam", "bert4keras", "jieba", "numpy", "orjson", "rjieba", "tensorflow"),
    "zstandard",
)
_P = ParamSpec("_P")
_T = TypeVar("_T")

# --- Figures and what follows from them ---


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """All that was measured.

    Attributes:
      documents_read: lines of the corpus that are not blank.
      runs: what whole runs used, by their name, once a repeat.
      further_units: by how many units of input the runs of many and of few units differ.
      steps: what the steps took, once a repeat.
      recipe: what the usual recipe took, by segmenter and max_seq_length, once a repeat.
      plan: what `plan` foresaw and what a run with one worker made.
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
            "read_bytes": costs.text_read_bytes,
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
        "rest: start, Beam, reading back": whole - total,
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


# --- Measuring ---


class _Bench:
    """Measures one corpus; all files that it makes lie in one folder."""

    def __init__(self, corpus: str, vocab: str | None, folder: str, repeats: int) -> None:
        self._corpus = corpus
        self._given_vocab = vocab
        self._folder = folder
        self._repeats = repeats
        self._runs: defaultdict[str, list[Usage]] = defaultdict(list)
        self._vocab = files.join(folder, "vocab.txt")
        self._done = Layout(files.join(folder, ONE))

    def measure(self, recipe_bytes: int) -> Figures:
        """Measures everything, in the order in which it is printed."""
        self._measure_runs()
        further_units = self._measure_units()
        manifest = _read_manifest(self._done)
        costs = [self._measure_steps() for _ in range(self._repeats)]
        kept = sum(block.text_bytes for block in manifest.blocks)
        if any(cost.text_bytes != kept for cost in costs):
            raise RunError(f"a run keeps {kept:,} bytes of text, the steps another number")
        return Figures(
            documents_read=sum(
                n for (*_, outcome), n in manifest.outcomes.items() if outcome == READ
            ),
            runs=dict(self._runs),
            further_units=further_units,
            steps=costs,
            recipe=self._measure_recipe(manifest, recipe_bytes),
            plan=self._compare_plan(costs[0]),
        )

    # --- Whole runs ---

    def _measure_runs(self) -> None:
        self._run(LEARNED, self._corpus, "--num_workers=2")
        learned = files.join(self._folder, LEARNED, "vocab.txt")
        shutil.copy(self._given_vocab or learned, self._vocab)
        vocab = f"--vocab={self._vocab}"
        for _ in range(self._repeats):
            self._run(ONE, self._corpus, "--num_workers=1", vocab)
            self._run(TWO, self._corpus, "--num_workers=2", vocab)
        self._run(MASKED, self._corpus, "--num_workers=2", vocab, f"--dupe_factor={MASKINGS}")
        for name in (LEARNED, TWO, MASKED):
            shutil.rmtree(files.join(self._folder, name))
        for _ in range(self._repeats):
            self._run(TINY_LEARNED, BUNDLED_CORPUS)
            self._run(TINY, BUNDLED_CORPUS, vocab)

    def _run(self, name: str, corpus: str, *flags: str) -> None:
        output_dir = files.join(self._folder, name)
        paths = f"--input_dir={corpus}", f"--output_dir={output_dir}"
        self._measure(name, output_dir, "-m", "pipeline", *paths, "--quiet", "--overwrite", *flags)

    def _measure_units(self) -> int:
        """Measures runs of few and of many units; returns by how many units they differ."""
        code = "import sys; from benchmarks.run import run_in_units; run_in_units(*sys.argv[1:])"
        sizes = {FEW_UNITS: DocumentsConfig().unit_bytes, MANY_UNITS: SMALL_UNIT_BYTES}
        # Not on a disk: making files is several times slower on ext4 after many were deleted.
        where = MEMORY_FOLDER if os.path.isdir(MEMORY_FOLDER) else self._folder
        with tempfile.TemporaryDirectory(dir=where) as folder:
            layouts = {name: Layout(files.join(folder, name)) for name in sizes}
            for _ in range(self._repeats):
                for name, (root,) in layouts.items():
                    arguments = BUNDLED_CORPUS, root, self._vocab, str(sizes[name])
                    self._measure(name, root, "-c", code, *arguments)
            few, many = (_read_manifest(layout).parts for layout in layouts.values())
        return many - few

    def _measure(self, name: str, output_dir: str, *arguments: str) -> None:
        files.delete(output_dir)
        quiet = ("sh", "-c", 'exec "$0" "$@" > /dev/null')
        usage = measure([*quiet, sys.executable, *arguments])
        if usage.exit_code:
            raise RunError(f"{name}: ended with exit code {usage.exit_code}")
        self._runs[name].append(usage)
        _say(f"{name}: wall {usage.wall_seconds:.2f} s, CPU {usage.cpu_seconds:.2f} s")

    # --- What is compared with them ---

    def _measure_steps(self) -> StepCosts:
        folder = files.join(self._folder, "steps")
        files.delete(folder)
        vocab = files.read_bytes(self._vocab)
        costs = _in_fresh_process(measure_steps, self._corpus, vocab, folder)
        seconds = sum(costs.seconds.values())
        _say(f"all steps: CPU {seconds:.2f} s; rjieba alone: CPU {costs.bare_seconds:.2f} s")
        return costs

    def _measure_recipe(
        self, manifest: Manifest, wanted_bytes: int
    ) -> dict[str, dict[int, list[RecipeResult]]]:
        texts = sample_texts(self._done, manifest, wanted_bytes)
        path = files.join(self._folder, "recipe.tfrecord")
        segmenters = [JIEBA] + [JIEBA_FAST] * bool(importlib.util.find_spec(JIEBA_FAST))
        return {
            segmenter: _in_fresh_process(
                measure_recipe, segmenter, texts, self._vocab, path, self._repeats
            )
            for segmenter in segmenters
        }

    def _compare_plan(self, costs: StepCosts) -> dict[str, tuple[float, float]]:
        options = RunOptions(output_dir="", input_dir=self._corpus, vocab=self._vocab)
        forecast = _in_fresh_process(run.foresee, options)
        total, done = forecast.total, self._done
        documents_bytes = (
            _size(done.documents) + _size(done.rejected) - files.size_of(done.manifest)
        )
        seconds = statistics.median(usage.cpu_seconds for usage in self._runs[ONE])
        return {
            "documents": (total.kept, costs.documents),
            **{
                f"sequences of {length}": (total.sequences[length], costs.sequences[length])
                for length in SEQ_LENGTHS
            },
            "bytes of documents/, rejected/": (total.documents_bytes, documents_bytes),
            "bytes of tfrecords/": (total.tfrecords_bytes, _size(done.tfrecords)),
            "CPU seconds": (forecast.cpu_seconds, seconds),
        }


def run_in_units(input_dir: str, output_dir: str, vocab: str, unit_bytes: str) -> None:
    """Runs the pipeline in one process with units of another size, which no flag sets."""
    logging.disable(logging.WARNING)  # Beam's, about extras that are not installed
    documents = DocumentsConfig(unit_bytes=int(unit_bytes))
    options = RunOptions(
        input_dir=input_dir, output_dir=output_dir, vocab=vocab, documents=documents, quiet=True
    )
    run.run(options)


def sample_texts(layout: Layout, manifest: Manifest, wanted_bytes: int) -> list[str]:
    """Returns texts spread evenly over all documents, so of each corpus in proportion."""
    fraction = wanted_bytes / max(1, sum(block.text_bytes for block in manifest.blocks))
    texts: list[str] = []
    passed = taken = 0
    for block in manifest.blocks:
        with files.open_for_reading(layout.part(block.part, manifest.parts)) as file:
            documents = read_block(file, block)
        for document in documents:
            # Never by its size: long documents would be rarer in the sample than they are.
            if taken <= fraction * passed:
                texts.append(document.text)
                taken += len(document.text.encode())
            passed += len(document.text.encode())
    return texts


def measure_recipe(
    segmenter: str, texts: Sequence[str], vocab_path: str, path: str, repeats: int
) -> dict[int, list[RecipeResult]]:
    """Runs the usual recipe at all lengths in turn, once a repeat."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")
    segment = None
    if segmenter == JIEBA_FAST:
        jieba_fast: Any = importlib.import_module(JIEBA_FAST)
        jieba_fast.initialize()
        segment = jieba_fast.lcut
    results: dict[int, list[RecipeResult]] = {length: [] for length in SEQ_LENGTHS}
    for _ in range(repeats):
        for length in SEQ_LENGTHS:
            result = run_usual_recipe(texts, vocab_path, length, 1, path, seed=0, segment=segment)
            results[length].append(result)
            rate = result.text_bytes / 1e6 / result.cpu_seconds
            _say(f"usual recipe ({segmenter}), length {length}: {rate:.3f} MB/core-second")
    return results


def _in_fresh_process(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Calls a function in a new process, so that nothing is loaded or cached by then."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _read_manifest(layout: Layout) -> Manifest:
    return parse_manifest(files.read_bytes(layout.manifest), layout.manifest)


def _size(folder: str) -> int:
    return sum(found.size_bytes for found in files.list_files(folder))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- The command ---


def describe_machine() -> dict[str, Any]:
    """Returns what the figures depend on beside the program."""
    cpu_info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2] for line in cpu_info.splitlines() if "model name" in line]
    return {
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "cpu": models[0].strip() if models else platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures one corpus; returns 0, whichever bounds hold, or 1 if something failed."""
    flags = _make_parser().parse_args(argv)
    facts = describe_machine()
    os.makedirs("build", exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir="build") as folder:
            corpus = flags.corpus or _make_corpus(files.join(folder, "corpus"))
            figures = _Bench(corpus, flags.vocab, folder, flags.repeats).measure(flags.recipe_bytes)
    except (PipelineError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    results = describe(figures, facts)
    text = json.dumps(results, indent=1)
    Path(f"{flags.output}.json").write_text(f"{text}\n", encoding="utf-8")
    plot.draw(json.loads(text), f"{flags.output}.png")
    print(format_figures(figures))
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("--corpus", metavar="DIR", help="zips or unpacked files; default: made of the bundled one")
    flag("--output", default="benchmarks/results", help="without .json and .png")
    flag("--vocab", metavar="FILE", help="a finished vocab.txt; default: learned in the first run")
    flag("--repeats", type=int, default=3, help="of whole runs and steps; default: 3")
    flag(
        "--recipe_bytes",
        type=int,
        default=1_500_000,
        help="text that the usual recipe gets; default: 1,500,000",
    )
    return parser


def _make_corpus(folder: str) -> str:
    written = multiply_corpus(BUNDLED_CORPUS, folder, COPIES_OF_BUNDLED, zipped=True)
    _say(f"corpus: {COPIES_OF_BUNDLED} times the bundled one, {written / 1e6:.1f} MB of lines")
    return folder


if __name__ == "__main__":
    sys.exit(main())
