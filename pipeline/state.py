"""What shaped the outputs of a directory, kept in its run.json: what can stay, what is made again.

Stages follow each other; each has the settings that shape it. Where one differs from what the
directory was made with, its outputs and those of all later stages are deleted, and only those.

    split      how the input is cut into units, and the input itself
    clean      the rules of cleaning that there are, and their settings
    finish     which duplicates go
    count      what a vocabulary is learned from: which documents, cased or not
    vocab      the vocabulary: given, or learned from which counts
    shards     the settings of the instances, the documents, the vocabulary
"""

import json
from importlib.metadata import version
from typing import Any, Final

from pipeline import files
from pipeline.config import DocumentsConfig, InstancesConfig, describe
from pipeline.errors import UsageError
from pipeline.inputs import Inputs
from pipeline.layout import Layout
from pipeline.rules import RULES
from pipeline.segmentation import version_of
from tfrecords_schema.json_object import parse_object

FORMAT_VERSION: Final = 7
"""Of all that lies below an output directory; a directory of another version is refused."""

SPLIT, CLEAN, FINISH = "split", "clean", "finish"
COUNT, VOCAB, SHARDS = "count", "vocab", "shards"

_SPLIT_FIELDS: Final = ("unit_bytes",)
_FINISH_FIELDS: Final = ("dedup",)

State = dict[str, dict[str, Any]]
"""Stage -> what shaped it, by field."""


def describe_documents(inputs: Inputs, config: DocumentsConfig) -> State:
    """Returns what shapes the stages that make documents."""
    fields = describe(config)
    files_found = {
        f"{found.corpus} {found.split} {found.name}": found.fingerprint
        for found in inputs.recognised
    }
    return {
        SPLIT: {name: fields[name] for name in _SPLIT_FIELDS} | {"inputs": files_found},
        CLEAN: {
            name: value
            for name, value in fields.items()
            if name not in (*_SPLIT_FIELDS, *_FINISH_FIELDS)
        }
        | {"rules": list(RULES)}
        | ({} if config.script == "keep" else {"opencc_version": version("opencc")}),
        FINISH: {name: fields[name] for name in _FINISH_FIELDS},
    }


def describe_counts(config: InstancesConfig, manifest_sha256: str) -> dict[str, Any]:
    """Returns what shapes the counts that a vocabulary is learned from."""
    return {"documents": manifest_sha256, "cased": config.cased}


def describe_shards(
    config: InstancesConfig, manifest_sha256: str, vocab_sha256: str
) -> dict[str, Any]:
    """Returns what shapes the stage that makes shards."""
    return describe(config) | {
        "segmenter_version": version_of(config.segmenter),
        "documents": manifest_sha256,
        "vocabulary": vocab_sha256,
    }


def first_changed(wanted: State, found: State) -> str | None:
    """Returns the first stage that was shaped otherwise, in the order of `wanted`."""
    return next((stage for stage in wanted if wanted[stage] != found.get(stage)), None)


def explain_change(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """Names the fields that differ, with both values; of files, the names."""
    changes: list[str] = []
    for field in wanted:
        new, old = wanted[field], found.get(field)
        if new == old:
            continue
        if isinstance(new, dict) and isinstance(old, dict):
            names = sorted(name for name in new | old if new.get(name) != old.get(name))
            shown = ", ".join(name.rpartition(" ")[2] for name in names[:3])
            changes.append(f"{field} ({shown}{', ...' if len(names) > 3 else ''})")
        elif field in ("rules", "documents", "vocabulary"):
            changes.append(field)
        else:
            changes.append(f"{field} ({old} before, {new} now)")
    return ", ".join(changes)


# --- run.json ---


def read_state(layout: Layout, makes_documents: bool = True) -> State:
    """Returns what the directory was made with; nothing if it is new.

    Raises:
      UsageError: it was made by another version of this program, or parts of it elsewhere.
    """
    if not files.exists(layout.run):
        if files.exists(layout.dataset_info) or (makes_documents and files.exists(layout.manifest)):
            raise _other_version(layout, f"holds outputs, but no {layout.run} that tells of them")
        return {}
    try:
        facts = parse_object(files.read_bytes(layout.run))
    except ValueError as error:
        raise _other_version(layout, f"has a damaged {layout.run} ({error})") from error
    format_version, made_with = facts.get("format_version"), facts.get("made_with")
    if format_version != FORMAT_VERSION or made_with is None:
        raise _other_version(
            layout, f"was made in format {format_version!r}; this is {FORMAT_VERSION}"
        )
    if not _is_state(made_with):
        raise _other_version(layout, f"has a damaged {layout.run} (made_with)")
    if makes_documents and SPLIT not in made_with and files.exists(layout.manifest):
        raise _other_version(layout, "holds documents that were made elsewhere")
    return made_with


def _is_state(made_with: Any) -> bool:
    return isinstance(made_with, dict) and all(
        isinstance(stage, dict) and isinstance(stage.get("inputs", {}), dict)
        for stage in made_with.values()
    )


def _other_version(layout: Layout, why: str) -> UsageError:
    return UsageError(
        f"{layout.root} {why}; choose another --output_dir, or start afresh with --overwrite"
    )


def write_state(layout: Layout, state: State, facts: dict[str, Any]) -> None:
    """Writes run.json: the state, and facts that vary between runs of equal outputs."""
    fields = {"format_version": FORMAT_VERSION, **facts, "made_with": state}
    files.write_bytes(layout.run, json.dumps(fields, indent=1).encode() + b"\n")


def refuse_other_corpus(wanted: State, found: State, layout: Layout) -> None:
    """Refuses to replace complete documents by those of a wholly different corpus.

    Raises:
      UsageError: not one input file is the same.
    """
    if SPLIT not in found or not files.exists(layout.manifest):
        return
    if not set(wanted[SPLIT]["inputs"]) & set(found[SPLIT].get("inputs", ())):
        raise UsageError(
            f"{layout.documents} was made from other files; choose another --output_dir, or start "
            "afresh with --overwrite"
        )


# --- What is deleted ---


def forget(stage: str, layout: Layout) -> None:
    """Deletes what a stage and all later ones have made, the marks of completeness first.

    vocab.txt stays: it may be the user's.
    """
    order = (SPLIT, CLEAN, FINISH, COUNT, SHARDS)
    stale: dict[str, tuple[str, ...]] = {
        SPLIT: (layout.chunks, layout.stage("split")),
        CLEAN: (*layout.cleaned_folders, layout.stage("clean")),
        FINISH: (
            *(layout.manifest, layout.documents, layout.rejected),
            *(*layout.finished_folders, layout.near_losers),
            *(
                layout.stage(name)
                for name in ("copies", "candidates", "verify", "near", "repeats", "finish")
            ),
        ),
        COUNT: (
            *(layout.token_counts, layout.words_folder),
            *(layout.stage(name) for name in ("count", "words")),
        ),
        SHARDS: (
            *(layout.dataset_info, layout.ledger, layout.report),
            *(layout.tfrecords, layout.stage("shards")),
        ),
    }
    for later in reversed(order[order.index(stage) :]):
        for path in stale[later]:
            files.delete(path)


def delete_temporary_files(layout: Layout) -> None:
    """Deletes what a run that was killed has left half-written; in the cloud that is nothing."""
    if files.is_remote(layout.root):
        return
    inside = [found.path for folder in layout.folders for found in files.list_files(folder)]
    single = layout.vocab, layout.run, layout.ledger, layout.report
    beside = [found for path in single for found in files.list_beginning(f"{path}.")]
    for path in inside + beside:
        if path.endswith(files.TEMPORARY_SUFFIX):
            files.delete(path)
