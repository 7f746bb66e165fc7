"""Runs the stages one after the other: checks, documents, vocabulary, instances, closing facts."""

import dataclasses
import hashlib
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pipeline import config as configs
from pipeline import files, local_pool, progress, reading
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.corpora import LINE_FAULTS
from pipeline.errors import RunError, UsageError
from pipeline.instances import Sources
from pipeline.layout import Layout, is_ours
from pipeline.manifest import Manifest, parse_manifest
from pipeline.records import READ, TRAIN
from pipeline.units import plan_shards
from tfrecords_schema.dataset_info import DatasetInfo
from tfrecords_schema.features import MAX_PREDICTIONS_PER_SEQ
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.special_tokens import VOCAB_SIZE
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab
from vocab.wordpieces import LearnerMissingError, check_learner, learn_pieces

DOCUMENTS, INSTANCES, ALL = "documents", "instances", "all"
STAGES: Final = (ALL, DOCUMENTS, INSTANCES)


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
      overwrite: whether complete outputs of an earlier run may be deleted.
      quiet: whether there is no progress bar.
      documents: what shapes documents/.
      instances: what shapes tfrecords/.
      beam_flags: flags for Beam, checked before.
    """

    stage: str = ALL
    output_dir: str
    input_dir: str | None = None
    vocab: str | None = None
    runner: str = "local"
    num_workers: int = 1
    max_rejected_fraction: float = 0.1
    overwrite: bool = False
    quiet: bool = False
    documents: DocumentsConfig = dataclasses.field(default_factory=DocumentsConfig)
    instances: InstancesConfig = dataclasses.field(default_factory=InstancesConfig)
    beam_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {self.stage!r}")
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {self.num_workers}")
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
      ignored: names of input files of no known corpus.
    """

    manifest: Manifest
    dataset_info: DatasetInfo | None
    ignored: list[str]


def run(options: RunOptions) -> RunFacts:
    """Runs the stages that the options ask for.

    Raises:
      UsageError: wrong options, found before anything was read or deleted.
      RunError: the run could not be finished; no dataset_info.json is left.
    """
    started = time.time()
    layout = Layout(options.output_dir.rstrip("/"))
    makes_instances = options.stage != DOCUMENTS
    _check_directories(options, layout)
    given_vocab = _check_vocab(options, layout) if makes_instances else None
    inputs = None
    if options.stage != INSTANCES:
        assert options.input_dir is not None
        inputs = reading.find_inputs(options.input_dir)
    _clear_outputs(options, layout)
    local_pool.start(options.num_workers if options.runner == "local" else 1)
    progress.start(options.quiet)
    try:
        if inputs is not None:
            manifest = _make_documents(inputs, options, layout)
        else:
            manifest = _read_manifest(layout)
        info = _make_instances(manifest, given_vocab, options, layout) if makes_instances else None
    finally:
        progress.stop()
        local_pool.stop()
    files.delete(layout.work)
    _write_run_facts(options, layout, started)
    return RunFacts(manifest, info, inputs.ignored if inputs else [])


# --- Checks before anything is read or deleted ---


def _check_directories(options: RunOptions, layout: Layout) -> None:
    if not options.output_dir.strip("/"):
        raise UsageError(f"--output_dir={options.output_dir!r} names no directory of its own")
    if not files.is_remote(layout.root):
        if os.path.exists(layout.root) and not os.path.isdir(layout.root):
            raise UsageError(f"--output_dir={options.output_dir} is a file; choose a directory")
        for folder in layout.folders:
            for path, _ in files.list_files(folder):
                if not is_ours(path):
                    raise UsageError(
                        f"{path} is no file of this pipeline, and {folder} would be deleted; "
                        "choose another --output_dir"
                    )
    if options.stage == INSTANCES:
        _check_documents(options, layout)
    else:
        _check_input(options, layout)
    if files.exists(layout.dataset_info) and not options.overwrite:
        raise UsageError(
            f"{layout.tfrecords} is complete already; start afresh with --overwrite, or choose "
            "another --output_dir"
        )


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
    if files.exists(layout.manifest) and not options.overwrite:
        raise UsageError(
            f"{layout.documents} is complete already; go on with "
            f"`python -m pipeline instances --output_dir={options.output_dir}`, start afresh "
            "with --overwrite, or choose another --output_dir"
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


def _check_vocab(options: RunOptions, layout: Layout) -> bytes | None:
    """Returns the vocabulary that was given, checked; None if one is to be learned."""
    given = _read_given_vocab(options)
    present = files.read_bytes(layout.vocab) if files.exists(layout.vocab) else None
    if present not in (None, given) and not options.overwrite:
        raise UsageError(
            f"{layout.vocab} is there already and would be replaced; use it with "
            f"--vocab={layout.vocab}, replace it with --overwrite, or choose another --output_dir"
        )
    return given


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


def _clear_outputs(options: RunOptions, layout: Layout) -> None:
    """Deletes what earlier runs left of the outputs that this run makes, or makes invalid."""
    stale = [layout.work, layout.run]
    if options.stage != INSTANCES:
        stale += [layout.documents, layout.rejected]
    # Shards of other documents must not stay beside new ones.
    stale += [layout.dataset_info, layout.tfrecords]
    for path in stale:
        files.delete(path)


# --- Stages ---


def _make_documents(inputs: reading.Inputs, options: RunOptions, layout: Layout) -> Manifest:
    from pipeline import beam_graph

    beam_graph.run_graph(
        lambda pipeline: beam_graph.build_documents_graph(
            pipeline, inputs.recognised, options.documents, layout, options.runner == "local"
        ),
        options.runner,
        list(options.beam_flags),
    )
    manifest = _read_manifest(layout)
    _check_rejected(manifest, options, layout)
    return manifest


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
            # Without its manifest documents/ does not count as complete.
            files.delete(layout.manifest)
            details = ", ".join(f"{fault} {n:,}" for fault, n in faults.items() if n)
            raise RunError(
                f"{corpus}: {unreadable:,} of {read:,} lines could not be read ({details}), more "
                f"than --max_rejected_fraction={options.max_rejected_fraction} allows; look at "
                f"them in {layout.rejected}"
            )


def _make_instances(
    manifest: Manifest, given_vocab: bytes | None, options: RunOptions, layout: Layout
) -> DatasetInfo:
    from pipeline import beam_graph

    if not any(block.split == TRAIN for block in manifest.blocks):
        raise RunError(f"{layout.documents} holds no training document; {layout.rejected} says why")
    vocab = given_vocab or _learn_vocab(layout)
    files.write_bytes(layout.vocab, vocab)
    sources = Sources(
        layout,
        hashlib.sha256(files.read_bytes(layout.manifest)).hexdigest(),
        hashlib.sha256(vocab).hexdigest(),
    )
    shards = plan_shards(manifest.blocks, options.instances.shard_text_bytes)
    beam_graph.run_graph(
        lambda pipeline: beam_graph.build_instances_graph(
            pipeline, shards, options.instances, sources, options.runner == "local"
        ),
        options.runner,
        list(options.beam_flags),
    )
    files.write_bytes(layout.shard_vocab, vocab)
    info = _describe_dataset(manifest, vocab, options.instances, layout)
    files.write_bytes(layout.dataset_info, info.to_json().encode())
    return info


def _learn_vocab(layout: Layout) -> bytes:
    progress.announce(f"vocabulary: learning {VOCAB_SIZE:,} entries")
    counts = TokenCounts.from_bytes(files.read_bytes(layout.token_counts))
    return format_vocab(select_tokens(counts, learn_pieces))


def _describe_dataset(
    manifest: Manifest, vocab: bytes, config: InstancesConfig, layout: Layout
) -> DatasetInfo:
    results: dict[str, Any] = json.loads(files.read_bytes(layout.shard_results))
    tokens = parse_vocab(vocab, layout.vocab, VOCAB_SIZE)
    shaped_by = manifest.config | configs.describe(config)
    return DatasetInfo(
        max_predictions_per_seq=dict(MAX_PREDICTIONS_PER_SEQ),
        dupe_factor=config.dupe_factor,
        records=results["records"],
        vocab_size=len(tokens),
        vocab_sha256=hashlib.sha256(vocab).hexdigest(),
        tokenizer=Tokenizer(tokens).recipe,
        config=shaped_by,
        config_digest=configs.digest(shaped_by),
        statistics=results["statistics"],
    )


def _read_manifest(layout: Layout) -> Manifest:
    return parse_manifest(files.read_bytes(layout.manifest), layout.manifest)


def _write_run_facts(options: RunOptions, layout: Layout, started: float) -> None:
    """Writes what varies between runs of equal outputs."""
    packages = ("apache-beam", "numpy", "orjson", "rjieba", "jieba", "zstandard")
    facts = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "input_dir": options.input_dir,
        "runner": options.runner,
        "num_workers": options.num_workers,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
    files.write_bytes(layout.run, json.dumps(facts, indent=2).encode() + b"\n")
