"""Checks of what was asked for, before anything is read, made or deleted."""

import os
from pathlib import Path

from pipeline import config as configs
from pipeline import files, state
from pipeline.config import DocumentsConfig
from pipeline.errors import UsageError
from pipeline.layout import Layout, is_ours
from pipeline.manifest import read_manifest
from pipeline.options import DOCUMENTS, INSTANCES, RunOptions
from pipeline.rules import check_names
from pipeline.rules.edits import choose_edits
from vocab.special_tokens import VOCAB_SIZE
from vocab.vocab_file import parse_vocab
from vocab.wordpieces import LearnerMissingError, check_learner


def check_rules(config: DocumentsConfig) -> None:
    """Refuses unknown rules, and those that need what is not installed."""
    try:
        check_names(config.rules_off)
        choose_edits(config)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def check_directories(options: RunOptions, layout: Layout) -> None:
    """Refuses directories that would lose files of others, be read as input, or lack something.

    Raises:
      UsageError: names the flag and a remedy.
    """
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
    asked, made = configs.describe(options.documents), read_manifest(layout.manifest).config
    if options.documents != DocumentsConfig() and asked != made:
        names = ", ".join(
            f"{name} {made.get(name)}" for name in asked if asked[name] != made.get(name)
        )
        raise UsageError(
            f"{layout.documents} was made with {names}; make it again or leave that out"
        )


def check_vocab(
    given: bytes | None, found: state.State, options: RunOptions, layout: Layout
) -> None:
    """Refuses to replace a vocabulary that is not this pipeline's."""
    if options.stage == DOCUMENTS or options.overwrite or not files.exists(layout.vocab):
        return
    present = files.read_bytes(layout.vocab)
    if present != given and files.sha256_of(present) != found.get(state.VOCAB, {}).get("sha256"):
        raise UsageError(
            f"{layout.vocab} is there already and would be replaced; use it with "
            f"--vocab={layout.vocab}, replace it with --overwrite, or choose another --output_dir"
        )


def read_given_vocab(options: RunOptions) -> bytes | None:
    """Returns the vocabulary file that was given, or None if one is to be learned.

    Raises:
      UsageError: it is missing or no vocabulary of ours; or what learns one is not installed.
    """
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
