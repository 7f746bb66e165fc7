"""Runs the stages one after the other: checks, documents, vocabulary, instances, closing facts.

What an earlier run of the same configuration has made is kept; see state.py and resume.py.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pipeline import config as configs
from pipeline import dataflow, files, ledger, local_pool, plan, progress, state
from pipeline.clusters import DATAFLOW, LOCAL
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.corpora import CORPORA, LINE_FAULTS
from pipeline.errors import RunError, UsageError
from pipeline.inputs import Inputs, find_inputs
from pipeline.instances import Sources
from pipeline.layout import Layout, is_ours
from pipeline.ledger import READ, Ledger
from pipeline.manifest import Manifest, parse_manifest
from pipeline.plan import Forecast
from pipeline.records import TRAIN
from pipeline.report import write_report
from pipeline.report.accounts import Account
from pipeline.report.facts import Vocabulary
from pipeline.rules import check_names
from pipeline.rules.edits import choose_edits
from pipeline.stages.clean import split_stage
from pipeline.units import plan_shards
from tfrecords_schema.dataset_info import DatasetInfo
from tfrecords_schema.features import MAX_PREDICTIONS_PER_SEQ
from vocab.counting import TokenCounts
from vocab.selection import Border, find_borders, select
from vocab.special_tokens import VOCAB_SIZE
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab
from vocab.wordpieces import LearnerMissingError, check_learner, learn_pieces

DOCUMENTS, INSTANCES, ALL = "documents", "instances", "all"
STAGES: Final = (ALL, DOCUMENTS, INSTANCES)

_FORESEEN_WORKERS: Final = (1, 2, 4, 8, 16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One call of the pipeline.

    Attributes:
      stage: one of STAGES.
      output_dir: local or gs:// directory of all outputs.
      input_dir: directory of the corpora; not needed for instances.
      vocab: path of a finished vocabulary, or None to learn one.
      runner: "local", or a Beam runner's name.
      num_workers: processes of a local run.
      max_rejected_fraction: the run fails when more of a corpus's lines cannot be read.
      overwrite: whether outputs of an earlier run are deleted first.
      skip_broken_files: whether damaged input files are left out and listed, not an error.
      quiet: whether there is no progress bar.
      documents: what shapes documents/.
      instances: what shapes tfrecords/.
      beam_flags: flags for Beam, checked before.
    """

    stage: str = ALL
    output_dir: str
    input_dir: str | None = None
    vocab: str | None = None
    runner: str = LOCAL
    num_workers: int = 1
    max_rejected_fraction: float = 0.1
    overwrite: bool = False
    skip_broken_files: bool = False
    quiet: bool = False
    documents: DocumentsConfig = dataclasses.field(default_factory=DocumentsConfig)
    instances: InstancesConfig = dataclasses.field(default_factory=InstancesConfig)
    beam_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {self.stage!r}")
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {self.num_workers}")
        for name in ("input_dir", "output_dir", "vocab"):
            try:
                files.check(getattr(self, name) or "")
            except ValueError as error:
                raise ValueError(f"{name}={error}") from error
        if not 0 <= self.max_rejected_fraction <= 1:
            raise ValueError(
                "max_rejected_fraction must be a fraction from 0 to 1, "
                f"got {self.max_rejected_fraction}"
            )


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
    _check_rules(options.documents)
    _check_directories(options, layout)
    given_vocab = _read_given_vocab(options) if options.stage != DOCUMENTS else None
    local_pool.start(
        options.num_workers if options.runner == LOCAL else 1,
        options.instances.segmenter,
    )
    progress.start(options.quiet)
    try:
        inputs = None
        if options.input_dir is not None:
            inputs = find_inputs(options.input_dir, options.skip_broken_files)
        with state.locked(layout):
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
    _check_rules(options.documents)
    vocab = _read_given_vocab(options)
    found = find_inputs(options.input_dir, options.skip_broken_files)
    local_pool.keep_freed_memory()
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
        manifest = self._make_documents(inputs) if inputs else _read_manifest(layout)
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
            _check_vocab(self._given_vocab, found, options, layout)
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
            sha256 = _sha256(files.read_bytes(layout.vocab))
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
            manifest = _read_manifest(layout)
            if options.skip_broken_files or not manifest.skipped:
                _check_rejected(manifest, options, layout)
                progress.announce(f"{layout.documents}: made before, with the same configuration")
                return manifest
            state.forget(state.FINISH, layout)
        if options.runner == LOCAL:
            split = split_stage(options.documents, layout, options.skip_broken_files)
            local_pool.start_ahead(split, inputs.recognised)
        self._run_graph(
            lambda graph, pipeline, local: graph.build_documents_graph(
                pipeline, inputs, options.documents, layout, options.skip_broken_files, local
            )
        )
        manifest = _read_manifest(layout)
        try:
            _check_documents_add_up(manifest)
            _check_balance(manifest.ledger)
            _check_rejected(manifest, options, layout)
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
        manifest_sha256 = _sha256(files.read_bytes(layout.manifest))
        vocab = self._make_vocab(manifest_sha256)
        sources = Sources(layout, manifest_sha256, _sha256(vocab))
        self._adopt({state.SHARDS: state.describe_shards(options.instances, *sources[1:])})
        if files.exists(layout.dataset_info) and files.exists(layout.ledger):
            progress.announce(f"{layout.tfrecords}: made before, with the same configuration")
            return _read_dataset_info(layout)
        shards = plan_shards(manifest.blocks, options.instances.shard_text_bytes)
        self._run_graph(
            lambda graph, pipeline, local: graph.build_instances_graph(
                pipeline, shards, options.instances, sources, local
            )
        )
        files.write_bytes(layout.shard_vocab, vocab)
        results = json.loads(files.read_bytes(layout.shard_results))
        entries = manifest.ledger + ledger.from_rows(results["ledger"])
        _check_balance(entries, sorted(MAX_PREDICTIONS_PER_SEQ))
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
        wanted = {"learned_from": learned_from, "sha256": _sha256(present or b"")}
        if present and wanted.items() <= made_with.items() and given in (None, present):
            return present
        vocab, borders = (given, []) if given else self._learn_vocab(counts)
        # In this order a vocabulary never lies there that the state does not know.
        if present != vocab:
            files.delete(layout.vocab)
        made = {"learned_from": learned_from, "sha256": _sha256(vocab), "borders": borders}
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


# --- Checks before anything is read or deleted ---


def _check_rules(config: DocumentsConfig) -> None:
    """Refuses unknown rules, and those that need what is not installed."""
    try:
        check_names(config.rules_off)
        choose_edits(config)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def _check_directories(options: RunOptions, layout: Layout) -> None:
    if not options.output_dir.strip("/"):
        raise UsageError(f"--output_dir={options.output_dir!r} names no directory of its own")
    is_local = not files.is_remote(layout.root)
    if is_local and os.path.exists(layout.root) and not os.path.isdir(layout.root):
        raise UsageError(f"--output_dir={options.output_dir} is a file; choose a directory")
    for folder in layout.folders:
        for found in files.list_files(folder):
            if not is_ours(found.path):
                raise UsageError(
                    f"{found.path} is no file of this pipeline, and {folder} would be deleted; "
                    "choose another --output_dir"
                )
    if options.stage == INSTANCES:
        _check_documents(options, layout)
    else:
        _check_input(options, layout)


def _check_input(options: RunOptions, layout: Layout) -> None:
    if options.input_dir is None:
        raise UsageError("--input_dir is needed: the directory that holds the corpora")
    if not files.is_remote(layout.root) and not files.is_remote(options.input_dir):
        source, target = Path(options.input_dir).resolve(), Path(layout.root).resolve()
        if target.is_relative_to(source):
            raise UsageError(
                f"--output_dir={options.output_dir} lies inside --input_dir; outputs would be "
                "read as inputs by the next run: choose a directory outside"
            )
        if any(source.is_relative_to(Path(folder).resolve()) for folder in layout.folders):
            raise UsageError(
                f"--input_dir={options.input_dir} lies in a folder of --output_dir that would be "
                "deleted; choose another --output_dir"
            )


def _check_documents(options: RunOptions, layout: Layout) -> None:
    if not files.exists(layout.manifest):
        raise UsageError(
            f"{layout.documents} is not there or not complete; make it first with "
            f"`python -m pipeline documents --input_dir=... --output_dir={options.output_dir}`"
        )
    if options.input_dir is not None:
        raise UsageError("--input_dir is not read by the stage instances; leave it out")
    asked, made = configs.describe(options.documents), _read_manifest(layout).config
    if options.documents != DocumentsConfig() and asked != made:
        names = ", ".join(
            f"{name} {made.get(name)}" for name in asked if asked[name] != made.get(name)
        )
        raise UsageError(
            f"{layout.documents} was made with {names}; make it again or leave that out"
        )


def _check_vocab(
    given: bytes | None, found: state.State, options: RunOptions, layout: Layout
) -> None:
    """Refuses to replace a vocabulary that is not this pipeline's."""
    if options.stage == DOCUMENTS or options.overwrite or not files.exists(layout.vocab):
        return
    present = files.read_bytes(layout.vocab)
    if present != given and _sha256(present) != found.get(state.VOCAB, {}).get("sha256"):
        raise UsageError(
            f"{layout.vocab} is there already and would be replaced; use it with "
            f"--vocab={layout.vocab}, replace it with --overwrite, or choose another --output_dir"
        )


def _read_given_vocab(options: RunOptions) -> bytes | None:
    if options.vocab is None:
        try:
            check_learner()
        except LearnerMissingError as error:
            raise UsageError(str(error)) from error
        return None
    if not files.exists(options.vocab):
        raise UsageError(f"--vocab={options.vocab}: no such file")
    data = files.read_bytes(options.vocab)
    try:
        parse_vocab(data, options.vocab, VOCAB_SIZE)
    except ValueError as error:
        raise UsageError(
            f"{error}\n`build-vocab derive` and `build-vocab learn` make a vocabulary that fits"
        ) from error
    return data


# --- What stages need ---


def _check_documents_add_up(manifest: Manifest) -> None:
    """Fails the run when a document is neither kept nor rejected, or both."""
    for corpus, split in sorted({key[:2] for key in manifest.outcomes}):
        counts = {key[2]: n for key, n in manifest.outcomes.items() if key[:2] == (corpus, split)}
        read = counts.pop(READ, 0)
        if read != sum(counts.values()):
            raise RunError(
                f"{corpus}, {split}: {read:,} documents were read, but {sum(counts.values()):,} "
                "kept or rejected; start afresh with --overwrite, and please report this"
            )


def _check_balance(entries: Ledger, seq_lengths: Sequence[int] = ()) -> None:
    """Fails the run when a character is not accounted for, or twice."""
    faults = ledger.find_imbalances(entries, seq_lengths)
    if faults:
        raise RunError(
            "the ledger does not balance:\n"
            + "\n".join(faults)
            + "\nstart afresh with --overwrite, and please report this"
        )


def _write_ledger(entries: Ledger, layout: Layout) -> None:
    not_read = {corpus.name: (*corpus.aid_fields, *corpus.not_read) for corpus in CORPORA.values()}
    files.write_bytes(layout.ledger, ledger.to_json(entries, not_read))


def _check_rejected(manifest: Manifest, options: RunOptions, layout: Layout) -> None:
    """Fails the run when too many lines of a corpus could not be read."""
    for corpus in sorted({corpus for corpus, _, _ in manifest.outcomes}):
        of_corpus = {key: n for key, n in manifest.outcomes.items() if key[0] == corpus}
        read = sum(n for (_, _, outcome), n in of_corpus.items() if outcome == READ)
        faults = {
            fault: sum(n for (_, _, outcome), n in of_corpus.items() if outcome == fault)
            for fault in LINE_FAULTS
        }
        unreadable = sum(faults.values())
        if unreadable > options.max_rejected_fraction * read:
            details = ", ".join(f"{fault} {n:,}" for fault, n in faults.items() if n)
            raise RunError(
                f"{corpus}: {unreadable:,} of {read:,} lines could not be read ({details}), more "
                f"than --max_rejected_fraction={options.max_rejected_fraction} allows; look at "
                f"them in {layout.rejected}"
            )


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
        vocab_sha256=_sha256(vocab),
        tokenizer=Tokenizer(tokens, config.cased).recipe,
        config=shaped_by,
        config_digest=configs.digest(shaped_by),
        statistics=results["statistics"],
    )


def _read_manifest(layout: Layout) -> Manifest:
    return parse_manifest(files.read_bytes(layout.manifest), layout.manifest)


def _read_dataset_info(layout: Layout) -> DatasetInfo:
    try:
        data = files.read_bytes(layout.dataset_info)
        return DatasetInfo.from_json(data, layout.dataset_info)
    except ValueError as error:
        raise RunError(f"{error}; delete it and give the same command again") from error


def _run_facts(options: RunOptions, started: float) -> dict[str, Any]:
    """Returns what varies between runs of equal outputs."""
    packages = ("apache-beam", "numpy", "orjson", "rjieba", "jieba", "zstandard")
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "input_dir": options.input_dir,
        "runner": options.runner,
        "num_workers": options.num_workers,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
