"""The three Beam graphs: all PTransforms and DoFns.

Beam runs units and brings lists of units, duplicates, counts and blocks together; texts and keys go
to files and never through a shuffle.

    documents: inputs -> split -> number -> clean -> duplicates -> finish -> manifest
    duplicates: copies, and candidates -> verify -> near, and then repeated paragraphs
    counting:  parts of documents -> count -> words -> sum
    instances: shards -> build -> results
"""

import dataclasses
import operator
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import files, instances, local_pool, progress, samples
from pipeline.config import DocumentsConfig, InstancesConfig, describe
from pipeline.inputs import Inputs
from pipeline.layout import Layout
from pipeline.ledger import Ledger
from pipeline.manifest import Manifest, load_manifest
from pipeline.process import tune_process
from pipeline.reading import Split
from pipeline.records import Block, Shard, Skipped, Unit
from pipeline.resume import Done, Stage, run_or_recall
from pipeline.stages import clean, count, duplicates, finish
from vocab.counting import TokenCounts
from vocab.words import MAX_WORDS, most_frequent

_one_at_a_time = threading.Lock()
"""Workers of a cluster have threads; tokenizers serve one at a time, and memory holds one unit."""


class _RunUnitsFn(beam.DoFn):
    """Runs units: in the local pool where the launcher is the worker, else in place."""

    def __init__(self, stage: Stage, local: bool) -> None:
        self._stage = stage
        self._local = local

    def setup(self) -> None:
        if not self._local:
            tune_process()

    def start_bundle(self) -> None:
        self._run = local_pool.BoundedRun(self._stage)

    def process(self, unit: Any) -> Iterator[Any]:
        if not self._local:
            with _one_at_a_time:
                done = local_pool.noting_errors(lambda: run_or_recall(unit, self._stage))
            yield done.result
            return
        yield from self._results(self._run.submit(unit))

    # Beam takes what finish_bundle yields, though its signature says None.
    def finish_bundle(self) -> Any:
        for result in self._results(self._run.finish()):
            yield WindowedValue(result, MIN_TIMESTAMP, (GlobalWindow(),))

    def _results(self, finished: Iterable[tuple[Any, Done]]) -> Iterator[Any]:
        for unit, done in finished:
            progress.advance(self._stage.name, self._stage.size_of(unit), done.recalled)
            yield done.result


class RunUnits(beam.PTransform[Any, Any]):
    """Units -> their results, one each."""

    def __init__(self, stage: Stage, local: bool) -> None:
        super().__init__()
        self._stage = stage
        self._local = local

    def expand(self, input_or_inputs: Any) -> Any:
        """Spreads the units over the workers and runs them."""
        if not self._local:
            # Breaks fusion, so that a cluster spreads the units; names and numbers are all it
            # moves. The local pool spreads them by itself.
            input_or_inputs = input_or_inputs | "SpreadUnits" >> beam.Reshuffle()
        return input_or_inputs | "RunUnit" >> beam.ParDo(_RunUnitsFn(self._stage, self._local))


@dataclasses.dataclass
class _Summary:
    """What all units of documents found out and made."""

    parts: int = 0
    ledger: Ledger = dataclasses.field(default_factory=Counter)
    blocks: list[Block] = dataclasses.field(default_factory=list)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)

    def add(self, other: "_Summary") -> None:
        """Adds what other units found out and made."""
        self.parts = max(self.parts, other.parts)
        self.ledger.update(other.ledger)
        self.blocks += other.blocks
        self.skipped += other.skipped


class _SummariseFn(beam.CombineFn):
    """Adds up the results of splitting, cleaning and finishing units."""

    def create_accumulator(self) -> _Summary:
        return _Summary()

    def add_input(
        self, summary: _Summary, result: Split | clean.Cleaned | finish.Finished
    ) -> _Summary:
        if isinstance(result, Split):
            summary.add(_Summary(skipped=result.skipped))
        elif isinstance(result, clean.Cleaned):
            unit, ledger, skipped = result
            summary.add(_Summary(unit.total, ledger, [], skipped))
        else:
            summary.add(_Summary(0, *result))
        return summary

    def merge_accumulators(self, summaries: Iterable[_Summary]) -> _Summary:
        merged = _Summary()
        for summary in summaries:
            merged.add(summary)
        return merged

    def extract_output(self, summary: _Summary) -> _Summary:
        return summary


def build_documents_graph(
    pipeline: beam.Pipeline,
    inputs: Inputs,
    config: DocumentsConfig,
    layout: Layout,
    skip_broken_files: bool,
    local: bool,
) -> None:
    """Adds the graph that turns input files into documents/."""
    files_bytes = sum(found.size_bytes for found in inputs.recognised)
    progress.expect("split", len(inputs.recognised), files_bytes)
    found = (
        pipeline
        | "ListInputs" >> beam.Create(inputs.recognised)
        | "SplitInputs" >> RunUnits(clean.split_stage(config, layout, skip_broken_files), local)
    )
    units = found | "GatherUnits" >> _Gather() | "NumberUnits" >> beam.FlatMap(_number_units)
    cleaned = units | "CleanUnits" >> RunUnits(
        clean.clean_stage(config, layout, skip_broken_files), local
    )
    all_units = (
        cleaned
        | "TakeUnits" >> beam.Map(operator.attrgetter("unit"))
        | "GatherCleaned" >> _Gather()
        | "OrderUnits" >> beam.Map(duplicates.order_units)
    )
    copies, near, repeats = _find_duplicates(all_units, config, layout, local)
    finished = (
        {
            "units": cleaned | "NameUnits" >> beam.Map(_name_unit),
            "copies": copies,
            "near": near,
            "repeats": repeats,
        }
        | "GroupGoings" >> beam.CoGroupByKey()
        | "JoinGoings" >> beam.Map(_join_goings, _as_list(all_units))
        | "FinishUnits" >> RunUnits(finish.finish_stage(config, layout), local)
    )
    _ = (
        (found, cleaned, finished)
        | "GatherResults" >> beam.Flatten()
        | "Summarise" >> beam.CombineGlobally(_SummariseFn()).without_defaults()
        | "WriteManifest" >> beam.Map(_write_manifest, config, layout, inputs.skipped)
    )


def _find_duplicates(
    all_units: Any, config: DocumentsConfig, layout: Layout, local: bool
) -> tuple[Any, Any, Any]:
    """Adds what finds copies, near-duplicates and repeated lines: packed, by unit."""
    copies = (
        all_units
        | "PlanCopies" >> beam.FlatMap(_plan_key_ranges, "copies", config.dedup != "none")
        | "FindCopies" >> RunUnits(duplicates.copies_stage(layout), local)
    )
    is_near = config.dedup == "near"
    candidates = (
        all_units
        | "PlanCandidates" >> beam.FlatMap(_plan_key_ranges, "candidates", is_near)
        | "FindCandidates" >> RunUnits(duplicates.candidates_stage(layout), local)
        | "ListCandidates" >> beam.FlatMap(_list_packed)
    )
    near = (
        candidates
        | "GroupCandidates" >> beam.GroupByKey()
        | "JoinCandidates" >> beam.Map(_gather_suspects, _as_list(all_units))
        | "VerifyPairs" >> RunUnits(duplicates.verify_stage(layout), local)
        | "GatherVerified" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "GatherPairs" >> beam.FlatMap(_gather_pairs, _as_list(all_units), is_near)
        | "ResolveNear" >> RunUnits(duplicates.near_stage(layout), local)
    )
    # Counted, so that this waits for all copies to be found.
    number_of_ranges = copies | "CountCopies" >> beam.combiners.Count.Globally()
    repeats = (
        near
        | "PlanRepeats"
        >> beam.FlatMap(
            _plan_repeats,
            *(_as_list(all_units), AsSingleton(number_of_ranges)),
        )
        | "FindRepeats" >> RunUnits(duplicates.repeats_stage(layout), local)
        | "ListRepeats" >> beam.FlatMap(_list_packed)
    )
    return (
        copies | "ListCopies" >> beam.FlatMap(_list_packed),
        near | "ListNear" >> beam.FlatMap(_list_near),
        repeats,
    )


def _as_list(gathered: Any) -> Any:
    return AsSingleton(gathered, default_value=[])


class _Gather(beam.PTransform[Any, Any]):
    """Elements -> one list of them, if there are any."""

    def expand(self, input_or_inputs: Any) -> Any:
        """Brings all elements together."""
        combine = beam.CombineGlobally(beam.combiners.ToListCombineFn())
        return input_or_inputs | combine.without_defaults()


def _number_units(splits: Iterable[Split]) -> list[Unit]:
    numbered = clean.units_of(splits)
    total_bytes = sum(map(clean.bytes_of, numbered))
    for stage in ("clean", "finish"):
        progress.expect(stage, len(numbered), total_bytes)
    return numbered


def _name_unit(cleaned: clean.Cleaned) -> tuple[int, Unit]:
    return cleaned.unit.number, cleaned.unit


def _plan_key_ranges(
    units: list[Unit], stage: str, wanted: bool, after: str = ""
) -> list[duplicates.KeyRange]:
    ranges = duplicates.plan_key_ranges(units, after) if wanted else []
    progress.expect(stage, len(ranges), sum(key_range.size_bytes for key_range in ranges))
    return ranges


def _plan_repeats(
    near: duplicates.NearLosers, units: list[Unit], copies: int
) -> list[duplicates.KeyRange]:
    del copies
    return _plan_key_ranges(units, "repeats", wanted=True, after=near.digest)


def _list_packed(found: duplicates.ByUnit) -> list[tuple[int, bytes]]:
    return list(found.packed.items())


def _list_near(found: duplicates.NearLosers) -> list[tuple[int, bytes]]:
    return _list_packed(found.losers)


def _gather_suspects(
    candidates: tuple[int, Iterable[bytes]], units: list[Unit]
) -> duplicates.Suspects:
    number, packed = candidates
    return duplicates.gather_suspects(number, len(units), packed)


def _gather_pairs(
    verified: list[duplicates.Verified], units: list[Unit], wanted: bool
) -> list[duplicates.NearPairs]:
    return [duplicates.gather_pairs(verified, units)] if wanted else []


def _join_goings(of_unit: tuple[int, dict[str, Iterable[Any]]], units: list[Unit]) -> finish.Goings:
    _, groups = of_unit
    (unit,) = groups["units"]
    copies = duplicates.name_copies(groups["copies"], units)
    # In an order that does not hang on arrival: it is part of what the finished unit is known by.
    return finish.Goings(unit, copies + sorted(groups["near"]), sorted(groups["repeats"]))


def _write_manifest(
    summary: _Summary, config: DocumentsConfig, layout: Layout, skipped: list[Skipped]
) -> None:
    manifest = Manifest(
        describe(config),
        summary.parts,
        summary.ledger,
        summary.blocks,
        sorted(skipped + summary.skipped),
    )
    drawn = local_pool.noting_errors(
        lambda: samples.samples_to_json(finish.read_samples(summary.parts, layout))
    )
    _write(layout.samples, drawn)
    _write(layout.manifest, manifest.to_json())


def _write(path: str, data: bytes) -> None:
    local_pool.noting_errors(lambda: files.write_bytes(path, data))


def build_counting_graph(
    pipeline: beam.Pipeline, manifest_sha256: str, cased: bool, layout: Layout, local: bool
) -> None:
    """Adds the graph that counts the characters and words of the training documents.

    It names the manifest and no blocks, of which there may be more than fit into a graph.
    """
    parts = _list_parts(manifest_sha256, layout)
    ranges = count.plan_word_ranges(parts)
    for stage, units in (("count", parts), ("words", ranges)):
        progress.expect(stage, len(units), sum(unit.text_bytes for unit in units))
    counted = (
        pipeline
        | "NameManifest" >> beam.Create([manifest_sha256])
        | "ListParts" >> beam.FlatMap(_list_parts, layout)
        | "CountParts" >> RunUnits(count.count_stage(layout, cased), local)
    )
    words = (
        counted
        # Counted, so that this waits for all files of words.
        | "WaitForParts" >> beam.combiners.Count.Globally()
        | "ListRanges" >> beam.FlatMap(_list_ranges, manifest_sha256, layout)
        | "AddUpWords" >> RunUnits(count.words_stage(layout), local)
    )
    _ = (
        (counted, words)
        | "GatherCounts" >> beam.Flatten()
        | "AddUp" >> beam.CombineGlobally(_AddCountsFn()).without_defaults()
        | "WriteCounts" >> beam.Map(_write_counts, layout)
    )


def _list_parts(manifest_sha256: str, layout: Layout) -> list[count.PartOfDocuments]:
    return count.plan_counting(load_manifest(layout.manifest, manifest_sha256))


def _list_ranges(_: int, manifest_sha256: str, layout: Layout) -> list[count.WordRange]:
    return count.plan_word_ranges(_list_parts(manifest_sha256, layout))


class _AddCountsFn(beam.CombineFn):
    """Adds up token counts; of words, each in one range only, the most frequent."""

    def create_accumulator(self) -> TokenCounts:
        return TokenCounts.empty()

    def add_input(self, total: TokenCounts, counted: count.Counted) -> TokenCounts:
        total.add(*counted.token_counts)
        return _forget_rare_words(total)

    def merge_accumulators(self, totals: Iterable[TokenCounts]) -> TokenCounts:
        merged = TokenCounts.empty()
        for total in totals:
            merged.add(*total)
        return _forget_rare_words(merged)

    def extract_output(self, total: TokenCounts) -> TokenCounts:
        return total


def _forget_rare_words(counts: TokenCounts) -> TokenCounts:
    if len(counts.words) <= MAX_WORDS:
        return counts
    return counts._replace(words=Counter(most_frequent(counts.words)))


def _write_counts(counts: TokenCounts, layout: Layout) -> None:
    _write(layout.token_counts, counts.to_bytes())


def build_instances_graph(
    pipeline: beam.Pipeline,
    shards: Sequence[Shard],
    config: InstancesConfig,
    sources: instances.Sources,
    local: bool,
) -> None:
    """Adds the graph that turns documents/ into the shards of tfrecords/."""
    progress.expect("shards", len(shards), sum(shard.text_bytes for shard in shards))
    _ = (
        pipeline
        | "ListShards" >> beam.Create(shards)
        | "BuildShards" >> RunUnits(instances.shard_stage(config, sources), local)
        | "GatherResults" >> _Gather()
        | "WriteResults" >> beam.Map(_write_results, sources.layout)
    )


def _write_results(results: list[instances.ShardResult], layout: Layout) -> None:
    _write(layout.shard_results, instances.results_to_json(results))
