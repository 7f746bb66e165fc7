"""Runs the stages one after the other: checks, documents, vocabulary, instances, closing facts.

What an earlier run of the same configuration has made is kept; see state.py and resume.py.
"""

import contextlib
import dataclasses
import json
import platform
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from pipeline import (
    acceptance,
    dataflow,
    files,
    ledger,
    local_pool,
    plan,
    preflight,
    progress,
    state,
)
from pipeline import config as configs
from pipeline.clusters import DATAFLOW, LOCAL
from pipeline.config import InstancesConfig
from pipeline.corpora import CORPORA
from pipeline.errors import RunError, UsageError
from pipeline.inputs import Inputs, find_inputs
from pipeline.instances import Sources, shard_stage
from pipeline.layout import Layout
from pipeline.ledger import Ledger
from pipeline.locking import locked
from pipeline.manifest import Manifest, read_manifest
from pipeline.options import DOCUMENTS, RunOptions
from pipeline.plan import Forecast
from pipeline.records import TRAIN
from pipeline.report import write_report
from pipeline.report.accounts import Account
from pipeline.report.facts import Vocabulary
from pipeline.stages.clean import clean_stage, split_stage, units_of
from pipeline.units import plan_shards
from tfrecords_schema.dataset_info import DatasetInfo
from tfrecords_schema.features import MAX_PREDICTIONS_PER_SEQ
from vocab.counting import TokenCounts
from vocab.selection import Border, find_borders, select
from vocab.special_tokens import VOCAB_SIZE
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab
from vocab.wordpieces import learn_pieces

_FORESEEN_WORKERS: Final = (1, 2, 4, 8, 16)


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What a run made, for the closing table.

    Attributes:
      manifest: what documents/ holds.
      dataset_info: what tfrecords/ holds; None if only documents were made.
      vocabulary: of the shards, likewise.
      accounts: what became of every character.
      ignored: names of input files of no known corpus.
    """

    manifest: Manifest
    dataset_info: DatasetInfo | None
    vocabulary: Vocabulary | None
    accounts: list[Account]
    ignored: list[str]


def run(options: RunOptions) -> RunFacts:
    """Runs the stages that the options ask for.

    Raises:
      UsageError: wrong options, found before anything was made or deleted.
      RunError: the run could not be finished; what is not complete has no dataset_info.json.
    """
    layout = Layout(options.output_dir.rstrip("/"))
    preflight.check_rules(options.documents)
    preflight.check_directories(options, layout)
    given_vocab = preflight.read_given_vocab(options) if options.stage != DOCUMENTS else None
    local_pool.start(
        options.num_workers if options.runner == LOCAL else 1,
        options.instances.segmenter,
    )
    progress.start(options.quiet)
    try:
        inputs = None
        if options.input_dir is not None:
            inputs = find_inputs(options.input_dir, options.skip_broken_files)
        with locked(layout):
            return _Run(options, layout, given_vocab).run(inputs)
    finally:
        progress.stop()
        local_pool.stop()


def foresee(options: RunOptions) -> Forecast:
    """Foresees a run with these options, from a sample of its input; writes nothing.

    Raises:
      UsageError: wrong options.
      BrokenFileError: an input file is damaged within the sample.
    """
    if options.input_dir is None:
        raise UsageError("--input_dir is needed: the directory that holds the corpora")
    preflight.check_rules(options.documents)
    vocab = preflight.read_given_vocab(options)
    found = find_inputs(options.input_dir, options.skip_broken_files)
    workers = sorted({*_FORESEEN_WORKERS, options.num_workers})
    return plan.foresee(
        *(found.recognised, options.documents, options.instances, vocab, workers),
        options.skip_broken_files,
    )


class _Run:
    """One run that has the output directory to itself."""

    def __init__(self, options: RunOptions, layout: Layout, given_vocab: bytes | None) -> None:
        self._options = options
        self._layout = layout
        self._given_vocab = given_vocab
        self._started = time.time()
        self._made_with: state.State = {}

    def run(self, inputs: Inputs | None) -> RunFacts:
        """Makes what is not there already."""
        layout, options = self._layout, self._options
        self._start(inputs)
        manifest = self._make_documents(inputs) if inputs else read_manifest(layout.manifest)
        if options.stage == DOCUMENTS:
            info = None
            if not files.exists(layout.dataset_info):  # of shards the ledger tells more
                _write_ledger(manifest.ledger, layout)
        else:
            info = self._make_instances(manifest)
        self._write_state(seconds=round(time.time() - self._started, 1))
        told = write_report(layout)
        files.delete(layout.work)
        ignored = inputs.ignored if inputs else []
        return RunFacts(manifest, info, told.vocabulary, told.accounts, ignored)

    def _start(self, inputs: Inputs | None) -> None:
        """Deletes what is stale; what is left was made with what `_made_with` then says."""
        options, layout = self._options, self._layout
        if options.overwrite:
            found = self._overwrite(state.COUNT if inputs is None else state.SPLIT)
        else:
            found = state.read_state(layout, makes_documents=inputs is not None)
            preflight.check_vocab(self._given_vocab, found, options, layout)
        state.delete_temporary_files(layout)
        self._made_with = found
        if inputs is not None:
            wanted = state.describe_documents(inputs, options.documents)
            state.refuse_other_corpus(wanted, found, layout)
            self._adopt(wanted)

    def _overwrite(self, first_stage: str) -> state.State:
        """Deletes what a stage and all later ones made; returns what is left of the state."""
        layout = self._layout
        found: state.State = {}
        if first_stage != state.SPLIT:
            with contextlib.suppress(UsageError):  # of a state that cannot be read nothing is left
                found = state.read_state(layout, makes_documents=False)
        found.pop(state.SHARDS, None)
        # Whatever vocabulary lies there may be replaced, by this run or by one that goes on for it.
        found.pop(state.VOCAB, None)
        if files.exists(layout.vocab):
            sha256 = files.sha256_of(files.read_bytes(layout.vocab))
            found[state.VOCAB] = {"learned_from": "", "sha256": sha256}
        state.forget(first_stage, layout)
        state.write_state(layout, found, _run_facts(self._options, self._started))
        return found

    def _adopt(self, wanted: state.State) -> None:
        """Makes the directory ready for stages that are shaped so; keeps what still fits."""
        found = self._made_with
        stale = state.first_changed(wanted, found)
        if stale is None:
            return
        if stale in found:
            change = state.explain_change(wanted[stale], found[stale])
            progress.warn(f"{stale}: what was made is deleted, and all that follows: {change}")
        state.forget(stale, self._layout)
        self._made_with = found | wanted
        self._write_state()

    def _write_state(self, **facts: Any) -> None:
        state.write_state(
            self._layout, self._made_with, _run_facts(self._options, self._started) | facts
        )

    # --- Stages ---

    def _make_documents(self, inputs: Inputs) -> Manifest:
        options, layout = self._options, self._layout
        if files.exists(layout.manifest):
            manifest = read_manifest(layout.manifest)
            if options.skip_broken_files or not manifest.skipped:
                acceptance.check_rejected(manifest, options, layout)
                progress.announce(f"{layout.documents}: made before, with the same configuration")
                return manifest
            state.forget(state.FINISH, layout)
        shaped_by = options.documents, layout, options.skip_broken_files
        local_pool.start_ahead(
            split_stage(*shaped_by),
            inputs.recognised,
            lambda splits: local_pool.start_ahead(clean_stage(*shaped_by), units_of(splits)),
        )
        self._run_graph(
            lambda graph, pipeline, local: graph.build_documents_graph(
                pipeline, inputs, options.documents, layout, options.skip_broken_files, local
            )
        )
        manifest = read_manifest(layout.manifest)
        try:
            acceptance.check_documents_add_up(manifest)
            acceptance.check_balance(manifest.ledger)
            acceptance.check_rejected(manifest, options, layout)
        except RunError:
            # Without its manifest documents/ does not count as complete.
            files.delete(layout.manifest)
            raise
        return manifest

    def _run_graph(self, build: Callable[[Any, Any, bool], None]) -> None:
        """Calls `build(graph module, Beam pipeline, whether it runs locally)` and runs it."""
        from pipeline import beam_graph, beam_run

        options = self._options

        def build_checked(pipeline: Any) -> None:
            build(beam_graph, pipeline, options.runner == LOCAL)
            if options.runner == DATAFLOW:
                dataflow.check_graph(pipeline.to_runner_api().ByteSize())

        beam_run.run_graph(build_checked, options.runner, list(options.beam_flags))

    def _make_instances(self, manifest: Manifest) -> DatasetInfo:
        options, layout = self._options, self._layout
        if not any(block.split == TRAIN for block in manifest.blocks):
            raise RunError(
                f"{layout.documents} holds no training document; {layout.rejected} says why"
            )
        manifest_sha256 = files.sha256_of(files.read_bytes(layout.manifest))
        vocab = self._make_vocab(manifest_sha256)
        sources = Sources(layout, manifest_sha256, files.sha256_of(vocab))
        self._adopt({state.SHARDS: state.describe_shards(options.instances, *sources[1:])})
        if files.exists(layout.dataset_info) and files.exists(layout.ledger):
            progress.announce(f"{layout.tfrecords}: made before, with the same configuration")
            return _read_dataset_info(layout)
        shards = plan_shards(manifest.blocks, options.instances.shard_text_bytes)
        local_pool.start_ahead(shard_stage(options.instances, sources), shards)
        self._run_graph(
            lambda graph, pipeline, local: graph.build_instances_graph(
                pipeline, shards, options.instances, sources, local
            )
        )
        files.write_bytes(layout.shard_vocab, vocab)
        results = json.loads(files.read_bytes(layout.shard_results))
        entries = manifest.ledger + ledger.from_rows(results["ledger"])
        acceptance.check_balance(entries, sorted(MAX_PREDICTIONS_PER_SEQ))
        _write_ledger(entries, layout)
        info = _describe_dataset(manifest, vocab, options.instances, results, layout)
        files.write_bytes(layout.dataset_info, info.to_json().encode())
        return info

    def _make_vocab(self, manifest_sha256: str) -> bytes:
        """Returns the vocabulary: the given one, the one learned before, or a new one."""
        layout, given = self._layout, self._given_vocab
        counts = state.describe_counts(self._options.instances, manifest_sha256)
        learned_from = None if given else counts
        made_with = self._made_with.get(state.VOCAB, {})
        present = files.read_bytes(layout.vocab) if files.exists(layout.vocab) else None
        wanted = {"learned_from": learned_from, "sha256": files.sha256_of(present or b"")}
        if present and wanted.items() <= made_with.items() and given in (None, present):
            return present
        vocab, borders = (given, []) if given else self._learn_vocab(counts)
        # In this order a vocabulary never lies there that the state does not know.
        if present != vocab:
            files.delete(layout.vocab)
        made = {"learned_from": learned_from, "sha256": files.sha256_of(vocab), "borders": borders}
        self._made_with |= {state.VOCAB: made}
        self._write_state()
        files.write_bytes(layout.vocab, vocab)
        return vocab

    def _learn_vocab(self, counts: dict[str, Any]) -> tuple[bytes, list[Border]]:
        """Returns a new vocabulary, and what just is and is not in it."""
        layout = self._layout
        self._adopt({state.COUNT: counts})
        self._run_graph(
            lambda graph, pipeline, local: graph.build_counting_graph(
                pipeline, counts["documents"], counts["cased"], layout, local
            )
        )
        progress.stop()
        progress.announce(f"vocabulary: learning {VOCAB_SIZE:,} entries")
        counted = TokenCounts.from_bytes(files.read_bytes(layout.token_counts))
        selection = select(counted, learn_pieces)
        return format_vocab(selection.tokens), find_borders(selection)


def _write_ledger(entries: Ledger, layout: Layout) -> None:
    not_read = {corpus.name: (*corpus.aid_fields, *corpus.not_read) for corpus in CORPORA.values()}
    files.write_bytes(layout.ledger, ledger.to_json(entries, not_read))


def _describe_dataset(
    manifest: Manifest,
    vocab: bytes,
    config: InstancesConfig,
    results: dict[str, Any],
    layout: Layout,
) -> DatasetInfo:
    tokens = parse_vocab(vocab, layout.vocab, VOCAB_SIZE)
    shaped_by = manifest.config | configs.describe(config)
    return DatasetInfo(
        max_predictions_per_seq=dict(MAX_PREDICTIONS_PER_SEQ),
        dupe_factor=config.dupe_factor,
        records=results["records"],
        vocab_size=len(tokens),
        vocab_sha256=files.sha256_of(vocab),
        tokenizer=Tokenizer(tokens, config.cased).recipe,
        config=shaped_by,
        config_digest=configs.digest(shaped_by),
        statistics=results["statistics"],
    )


def _read_dataset_info(layout: Layout) -> DatasetInfo:
    try:
        data = files.read_bytes(layout.dataset_info)
        return DatasetInfo.from_json(data, layout.dataset_info)
    except ValueError as error:
        raise RunError(f"{error}; delete it and give the same command again") from error


def _run_facts(options: RunOptions, started: float) -> dict[str, Any]:
    """Returns what varies between runs of equal outputs."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "input_dir": options.input_dir,
        "runner": options.runner,
        "num_workers": options.num_workers,
        "python": platform.python_version(),
        "versions": _versions(),
    }


@cache
def _versions() -> dict[str, str]:
    packages = ("apache-beam", "jieba", "numpy", "orjson", "zstandard")
    return {name: version(name) for name in packages}
