"""Measures the pipeline on a corpus, against its limit and against the usual recipe. Linux only.

    python -m benchmarks.run --corpus=DIR --output=benchmarks/results

Prints all figures and which bounds hold, and writes results.json and results.png. Text is that of
the kept documents, in UTF-8; MB and GB are 10^6 and 10^9 bytes. Times are CPU seconds, user and
system, of all processes, unless they are called wall. Of several runs the median counts; of
memory, the most.
"""

import argparse
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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from benchmarks import plot
from benchmarks.corpus import multiply_corpus
from benchmarks.figures import (
    FEW_UNITS,
    JIEBA,
    JIEBA_FAST,
    LARGER,
    LEARNED,
    MANY_UNITS,
    MASKED,
    MASKINGS,
    ONE,
    TIMES,
    TINY,
    TINY_LEARNED,
    TWO,
    Figures,
    describe,
    format_figures,
)
from benchmarks.memory import Usage, measure
from benchmarks.steps import StepCosts, measure_steps
from benchmarks.usual_recipe import RecipeResult, run_usual_recipe
from pipeline import files, run
from pipeline.blocks import read_block
from pipeline.config import DocumentsConfig
from pipeline.errors import PipelineError, RunError
from pipeline.inputs import find_inputs
from pipeline.layout import Layout
from pipeline.ledger import READ
from pipeline.manifest import Manifest, read_manifest
from pipeline.options import RunOptions
from pipeline.process import tune_process
from tfrecords_schema.features import SEQ_LENGTHS

BUNDLED_CORPUS: Final = str(Path(__file__).parent.parent / "tests" / "data" / "nlp_chinese_corpus")
COPIES_OF_BUNDLED: Final = 80  # 16 MB
SMALL_UNIT_BYTES: Final = 512
MEMORY_FOLDER: Final = "/dev/shm"

_PACKAGES: Final = (
    *("apache-beam", "bert4keras", "jieba", "numpy", "orjson", "rjieba", "tensorflow"),
    "zstandard",
)
_P = ParamSpec("_P")
_T = TypeVar("_T")


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
        manifest = read_manifest(self._done.manifest)
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
        self._measure_larger(vocab)
        for _ in range(self._repeats):
            self._run(TINY_LEARNED, BUNDLED_CORPUS)
            self._run(TINY, BUNDLED_CORPUS, vocab)

    def _measure_larger(self, vocab: str) -> None:
        larger = files.join(self._folder, "larger")
        zipped = any(found.compression for found in find_inputs(self._corpus).recognised)
        multiply_corpus(self._corpus, larger, TIMES, zipped)
        self._run(LARGER, larger, "--num_workers=2", vocab)
        for name in ("larger", LARGER):
            shutil.rmtree(files.join(self._folder, name))

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
            few, many = (read_manifest(layout.manifest).parts for layout in layouts.values())
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
        beside = files.size_of(done.manifest) + files.size_of(done.samples)
        documents_bytes = _size(done.documents) + _size(done.rejected) - beside
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
            **{
                f"peak memory, {name}": (
                    forecast.peak_bytes[workers],
                    max(usage.peak_bytes for usage in self._runs[name]),
                )
                for name, workers in ((ONE, 1), (TWO, 2))
            },
        }


def run_in_units(input_dir: str, output_dir: str, vocab: str, unit_bytes: str) -> None:
    """Runs the pipeline in one process with units of another size, which no flag sets."""
    tune_process()
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
