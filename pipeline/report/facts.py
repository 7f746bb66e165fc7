"""Reads what an output directory holds of accounts and samples.

ledger.json                   what became of every character     Account, one per corpus and split
documents/samples.json        what rules did to some documents   EditSample, RejectedSample
documents/manifest.json       configuration, skipped stretches   Manifest
tfrecords/dataset_info.json   what the shards hold               DatasetInfo, if there are any
tfrecords/vocab.txt           its vocabulary                     Vocabulary, if there are shards
run.json                      versions, what was learned
"""

from typing import Any, NamedTuple

from pipeline import files, ledger, samples
from pipeline.errors import RunError, UsageError
from pipeline.layout import Layout
from pipeline.manifest import Manifest, parse_manifest
from pipeline.records import check_types
from pipeline.report.accounts import (
    Account,
    EditSample,
    RejectedSample,
    Samples,
    parse_account,
)
from pipeline.rules import Span
from tfrecords_schema.dataset_info import DatasetInfo
from tfrecords_schema.json_object import parse_object
from vocab.selection import Border
from vocab.vocab_file import parse_vocab


class Vocabulary(NamedTuple):
    """The vocabulary of the shards.

    Attributes:
      tokens: its entries.
      learned: from the training documents; else it was given.
      borders: if it was learned, what just is and is not in it.
    """

    tokens: list[str]
    learned: bool
    borders: list[Border]


class Facts(NamedTuple):
    """All that a report tells.

    Attributes:
      accounts: in the order of the ledger.
      not_read: by corpus, fields that are not read.
      samples: of edits and rejections.
      manifest: of documents/.
      manifest_sha256: hex digest of its file.
      info: of the shards, None if there are none; likewise vocabulary.
      versions: of Python and of packages.
    """

    accounts: list[Account]
    not_read: dict[str, list[str]]
    samples: Samples
    manifest: Manifest
    manifest_sha256: str
    info: DatasetInfo | None
    vocabulary: Vocabulary | None
    versions: dict[str, str]


def read_facts(layout: Layout) -> Facts:
    """Reads all of them.

    Raises:
      UsageError: a file is missing; names the command that makes it.
      RunError: a file is damaged or of another format.
    """
    accounts, not_read = read_accounts(layout)
    manifest = _read_bytes(layout.manifest, layout)
    versions, made_with = _read_run(layout)
    info = vocabulary = None
    if files.exists(layout.dataset_info):
        info = _read_info(layout.dataset_info)
        vocabulary = _read_vocabulary(layout, made_with)
    return Facts(
        accounts,
        not_read,
        read_samples(layout),
        parse_manifest(manifest, layout.manifest),
        files.sha256_of(manifest),
        info,
        vocabulary,
        versions,
    )


def read_manifest(layout: Layout) -> Manifest:
    """Reads documents/manifest.json.

    Raises:
      UsageError: it is missing.
      RunError: it is damaged or of another format.
    """
    return parse_manifest(_read_bytes(layout.manifest, layout), layout.manifest)


def read_accounts(layout: Layout) -> tuple[list[Account], dict[str, list[str]]]:
    """Reads ledger.json: accounts, and by corpus the fields that are not read.

    Raises:
      UsageError: it is missing.
      RunError: it is damaged or of another format.
    """
    fields = _read_versioned(layout.ledger, ledger.FORMAT_VERSION, layout)
    try:
        accounts = [
            parse_account(corpus, split, figures)
            for corpus, splits in fields["corpora"].items()
            for split, figures in splits.items()
        ]
        return accounts, fields["not_read"]
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(layout.ledger, repr(error)) from error


def read_samples(layout: Layout) -> Samples:
    """Reads documents/samples.json.

    Raises:
      UsageError: it is missing.
      RunError: it is damaged or of another format.
    """
    fields = _read_versioned(layout.samples, samples.FORMAT_VERSION, layout)
    try:
        edits = {
            rule: [
                check_types(
                    EditSample(
                        *(row["doc_id"], row["before"]),
                        [check_types(Span(*span)) for span in row["spans"]],
                    )
                )
                for row in rows
            ]
            for rule, rows in fields["edits"].items()
        }
        rejected = {
            reason: [
                check_types(
                    RejectedSample(
                        row["doc_id"],
                        row["text"] or "",
                        *(row["chars"] or 0, row.get("duplicate_of"), row.get("similarity")),
                    )
                )
                for row in rows
            ]
            for reason, rows in fields["rejected"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(layout.samples, repr(error)) from error
    return Samples(edits, rejected)


def _read_versioned(path: str, readable: int, layout: Layout) -> dict[str, Any]:
    fields = _read_json(path, layout)
    version = fields.get("format_version")
    if version != readable:
        raise RunError(
            f"{path}: format {version!r}, this program reads {readable}; "
            "make the outputs again with --overwrite"
        )
    return fields


def _read_json(path: str, layout: Layout) -> dict[str, Any]:
    try:
        return parse_object(_read_bytes(path, layout))
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _read_info(path: str) -> DatasetInfo:
    try:
        return DatasetInfo.from_json(files.read_bytes(path), path)
    except ValueError as error:
        raise RunError(f"{error}; make the shards again with --overwrite") from error


def _read_run(layout: Layout) -> tuple[dict[str, str], dict[str, Any]]:
    """Returns versions, and what the vocabulary was made with."""
    run = _read_json(layout.run, layout)
    try:
        versions = {"python": run.get("python", "unknown"), **run.get("versions", {})}
        return versions, {**run.get("made_with", {}).get("vocab", {})}
    except (TypeError, AttributeError) as error:
        raise _damaged(layout.run, repr(error)) from error


def _read_vocabulary(layout: Layout, made_with: dict[str, Any]) -> Vocabulary:
    try:
        tokens = parse_vocab(_read_bytes(layout.shard_vocab, layout), layout.shard_vocab)
    except ValueError as error:
        raise RunError(f"{error}; make the shards again with --overwrite") from error
    try:
        borders = [check_types(Border(*fields)) for fields in made_with.get("borders", [])]
    except TypeError as error:
        raise _damaged(layout.run, repr(error)) from error
    return Vocabulary(tokens, made_with.get("learned_from") is not None, borders)


def _read_bytes(path: str, layout: Layout) -> bytes:
    if not files.exists(path):
        raise UsageError(
            f"{path} is missing: nothing was made there, or a run is not finished; make it with "
            f"`python -m pipeline --input_dir=DIR --output_dir={layout.root}`"
        )
    return files.read_bytes(path)


def _damaged(path: str, why: str) -> RunError:
    return RunError(f"{path}: is damaged ({why}); make the outputs again with --overwrite")
