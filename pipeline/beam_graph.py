"""The two Beam graphs: all PTransforms and DoFns.

Beam runs units and brings keys, counts and block lists together; text goes to files and never
through a shuffle.

    documents: inputs -> split -> number -> clean -> keys -> losers -> finish -> manifest
    instances: shards -> build -> results
"""

import dataclasses
import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    _BeamArgumentParser,  # pyright: ignore[reportPrivateUsage]
)
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import dedup, files, instances, local_pool, progress, stages
from pipeline.config import DocumentsConfig, InstancesConfig, describe
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import Block, InputFile, OutcomeCounts, Shard, Unit
from pipeline.units import number_units
from vocab.counting import TokenCounts

LOCAL = "local"


class Stage(NamedTuple):
    """One unit function and how its progress is told.

    Attributes:
      name: what the bar is called.
      run_unit: `run_unit(unit, *arguments) -> result`, importable by its name.
      arguments: the same for all units.
      size_of: bytes of a unit.
      total_bytes: bytes of all units.
    """

    name: str
    run_unit: Callable[..., Any]
    arguments: tuple[Any, ...]
    size_of: Callable[[Any], int]
    total_bytes: int


class _RunUnitsFn(beam.DoFn):
    """Runs units: in the local pool where the launcher is the worker, else in place."""

    def __init__(self, stage: Stage, local: bool) -> None:
        self._stage = stage
        self._local = local

    def start_bundle(self) -> None:
        self._run = local_pool.BoundedRun(self._stage.run_unit, *self._stage.arguments)

    def process(self, unit: Any) -> Iterator[Any]:
        if not self._local:
            yield self._stage.run_unit(unit, *self._stage.arguments)
            return
        yield from self._results(self._run.submit(unit))

    # Beam takes what finish_bundle yields, though its signature says None.
    def finish_bundle(self) -> Any:
        for result in self._results(self._run.finish()):
            yield WindowedValue(result, MIN_TIMESTAMP, (GlobalWindow(),))

    def _results(self, finished: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
        for unit, result in finished:
            progress.advance(self._stage.name, self._stage.size_of(unit), self._stage.total_bytes)
            yield result


class RunUnits(beam.PTransform[Any, Any]):
    """Units -> their results, one each."""

    def __init__(self, stage: Stage, local: bool) -> None:
        super().__init__()
        self._stage = stage
        self._local = local

    def expand(self, input_or_inputs: Any) -> Any:
        """Spreads the units over the workers and runs them."""
        # Breaks fusion, so that a cluster spreads the units; names and numbers are all it moves.
        return (
            input_or_inputs
            | "SpreadUnits" >> beam.Reshuffle()
            | "RunUnit" >> beam.ParDo(_RunUnitsFn(self._stage, self._local))
        )


@dataclasses.dataclass
class _Summary:
    """What all units of documents found out and made."""

    parts: int = 0
    outcomes: OutcomeCounts = dataclasses.field(default_factory=Counter)
    blocks: list[Block] = dataclasses.field(default_factory=list)
    token_counts: TokenCounts = dataclasses.field(default_factory=TokenCounts.empty)


class _SummariseFn(beam.CombineFn):
    """Adds up the results of cleaning and finishing units."""

    def create_accumulator(self) -> _Summary:
        return _Summary()

    def add_input(self, summary: _Summary, result: stages.Cleaned | stages.Finished) -> _Summary:
        summary.outcomes.update(result.outcomes)
        if isinstance(result, stages.Cleaned):
            summary.parts = max(summary.parts, result.unit.total)
        else:
            summary.blocks += result.blocks
            summary.token_counts.add(*result.token_counts)
        return summary

    def merge_accumulators(self, summaries: Iterable[_Summary]) -> _Summary:
        merged = _Summary()
        for summary in summaries:
            merged.parts = max(merged.parts, summary.parts)
            merged.outcomes.update(summary.outcomes)
            merged.blocks += summary.blocks
            merged.token_counts.add(*summary.token_counts)
        return merged

    def extract_output(self, summary: _Summary) -> _Summary:
        return summary


def build_documents_graph(
    pipeline: beam.Pipeline,
    inputs: Sequence[InputFile],
    config: DocumentsConfig,
    layout: Layout,
    local: bool,
) -> None:
    """Adds the graph that turns input files into documents/."""
    total_bytes = sum(found.size_bytes for found in inputs)

    def stage(name: str, run_unit: Callable[..., Any], size_of: Callable[[Any], int]) -> RunUnits:
        return RunUnits(Stage(name, run_unit, (config, layout), size_of, total_bytes), local)

    units = (
        pipeline
        | "ListInputs" >> beam.Create(inputs)
        | "SplitInputs" >> stage("split", stages.split_input, operator.attrgetter("size_bytes"))
        | "GatherUnits" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "NumberUnits" >> beam.FlatMap(_number_units)
    )
    cleaned = units | "CleanUnits" >> stage("clean", stages.clean_unit, _unit_bytes)
    named = cleaned | "NameUnits" >> beam.Map(_name_unit)
    losers = (
        cleaned
        | "ListKeys" >> beam.FlatMap(_list_keys)
        | "GroupKeys" >> beam.GroupByKey()
        | "FindLosers" >> beam.FlatMapTuple(_find_losers)
    )
    finished = (
        {"units": named, "losers": losers}
        | "GroupLosers" >> beam.CoGroupByKey()
        | "JoinLosers" >> beam.MapTuple(_join_losers)
        | "FinishUnits" >> stage("finish", stages.finish_unit, _finish_bytes)
    )
    _ = (
        (cleaned, finished)
        | "GatherResults" >> beam.Flatten()
        | "Summarise" >> beam.CombineGlobally(_SummariseFn())
        | "WriteManifest" >> beam.Map(_write_manifest, config, layout)
    )


def _number_units(units_of_inputs: Iterable[list[Unit]]) -> list[Unit]:
    return number_units(unit for units in units_of_inputs for unit in units)


def _unit_bytes(unit: Unit) -> int:
    return unit.end - unit.start


def _finish_bytes(unit_and_losers: tuple[Unit, list[dedup.Loser]]) -> int:
    return _unit_bytes(unit_and_losers[0])


def _name_unit(cleaned: stages.Cleaned) -> tuple[int, Unit]:
    return cleaned.unit.number, cleaned.unit


def _list_keys(cleaned: stages.Cleaned) -> list[tuple[int, dedup.KeyBlock]]:
    return cleaned.key_blocks


def _find_losers(
    key_range: int, blocks: Iterable[dedup.KeyBlock]
) -> Iterator[tuple[int, list[dedup.Loser]]]:
    del key_range
    return dedup.find_losers(blocks)


def _join_losers(number: int, groups: dict[str, Iterable[Any]]) -> tuple[Unit, list[dedup.Loser]]:
    del number
    (unit,) = groups["units"]
    return unit, [loser for losers in groups["losers"] for loser in losers]


def _write_manifest(summary: _Summary, config: DocumentsConfig, layout: Layout) -> None:
    files.write_bytes(layout.token_counts, summary.token_counts.to_bytes())
    manifest = Manifest(describe(config), summary.parts, summary.outcomes, summary.blocks)
    files.write_bytes(layout.manifest, manifest.to_json())


def build_instances_graph(
    pipeline: beam.Pipeline,
    shards: Sequence[Shard],
    config: InstancesConfig,
    sources: instances.Sources,
    local: bool,
) -> None:
    """Adds the graph that turns documents/ into the shards of tfrecords/."""
    total_bytes = sum(shard.text_bytes for shard in shards)
    stage = Stage(
        "shards",
        instances.build_shard,
        (config, sources),
        operator.attrgetter("text_bytes"),
        total_bytes,
    )
    _ = (
        pipeline
        | "ListShards" >> beam.Create(shards)
        | "BuildShards" >> RunUnits(stage, local)
        | "GatherResults" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "WriteResults" >> beam.Map(_write_results, sources.layout)
    )


def _write_results(results: list[instances.ShardResult], layout: Layout) -> None:
    files.write_bytes(layout.shard_results, instances.results_to_json(results))


# --- Running ---


def run_graph(build: Callable[[beam.Pipeline], None], runner: str, beam_flags: list[str]) -> None:
    """Builds and runs one graph, and waits for its end.

    Args:
      build: adds the transforms.
      runner: "local", or a runner's name as Beam knows it.
      beam_flags: flags for Beam, checked before.

    Raises:
      PipelineError: what a unit of a local run found wrong.
      RunError: the runner ended in another state than done.
    """
    # FnApiRunner by name: Beam's default runner would first try to download another one.
    name = "FnApiRunner" if runner == LOCAL else runner
    if runner == LOCAL:
        # It would log every error of a unit several times over; what is raised says it once.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    pipeline = beam.Pipeline(runner=name, options=PipelineOptions(beam_flags))
    build(pipeline)
    try:
        state = pipeline.run().wait_until_finish()
    except RuntimeError as error:
        known = local_pool.first_error()
        if known is not None:
            raise known from error
        if str(error).startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt from error
        raise
    if str(state) != PipelineState.DONE:
        raise RunError(f"the {name} job ended as {state}; its own log says why")


def known_beam_flags() -> dict[str, bool]:
    """Returns all flags that Beam's options understand, and whether a value follows them."""
    flags: dict[str, bool] = {}
    for options in PipelineOptions.__subclasses__():
        parser = _BeamArgumentParser(add_help=False)
        options._add_argparse_args(parser)  # pyright: ignore[reportPrivateUsage]
        for action in parser._actions:
            flags |= dict.fromkeys(action.option_strings, action.nargs != 0)
    return flags
