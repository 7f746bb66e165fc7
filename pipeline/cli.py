"""Raw nlp_chinese_corpus -> cleaned documents, a vocabulary, masked-LM TFRecords.

The stage `documents` cleans and deduplicates, `instances` makes vocabulary and TFRecords of what it
left; `all` (default) is both. `plan` foresees a run from a sample of the input and writes nothing.
A run that was stopped goes on where it was. Flags of Apache Beam may stand beside those below.
"""

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.run import RunOptions

_PLAN = "plan"
_COMMANDS = ("all", "documents", "instances", _PLAN)
_RUNNERS = ("local", "DataflowRunner", "FlinkRunner", "PortableRunner")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 when done, 1 when the run failed, 2 for wrong usage, 130 when interrupted."""
    parser = _make_parser()
    words = list(sys.argv[1:] if argv is None else argv)
    # Only the first word can name a stage: a later one may be the value of a flag of Beam's.
    command = words.pop(0) if words and not words[0].startswith("-") else "all"
    if command not in _COMMANDS:
        parser.error(f"unknown stage {command!r}; stages are {', '.join(_COMMANDS)}")
    arguments, others = parser.parse_known_args(words)

    from pipeline import run, table
    from pipeline.errors import PipelineError, UsageError, explain_os_error

    logging.getLogger().addFilter(_is_no_false_alarm)
    try:
        _check_beam_flags(others, parser)
        if command == _PLAN:
            options = _make_options("all", arguments, others)
            print(table.format_forecast(run.foresee(options)))
            return 0
        if arguments.output_dir is None:
            raise UsageError("--output_dir is needed: the directory to write to")
        options = _make_options(command, arguments, others)
        facts = run.run(options)
    except UsageError as error:
        return _fail(error, 2)
    except PipelineError as error:
        return _fail(error, 1)
    except OSError as error:
        return _fail(explain_os_error(error), 1)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; the same command goes on where this one stopped (without --overwrite)",
            130,
        )
    if facts.ignored:
        print(f"Files of no known corpus, not read: {', '.join(facts.ignored)}\n")
    print(table.format_documents(facts.manifest))
    if facts.manifest.skipped:
        print(f"\n{table.format_skipped(facts.manifest.skipped)}")
    print(f"\nDocuments: {options.output_dir}/documents, rejections: {options.output_dir}/rejected")
    if facts.dataset_info:
        print(f"\n{table.format_shards(facts.dataset_info)}")
        print(f"\nShards, vocabulary and dataset_info.json: {options.output_dir}/tfrecords")
    return 0


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Drops what Beam says when it is installed without its Google Cloud extra."""
    return "apitools not found" not in record.getMessage()


def _fail(error: object, exit_code: int) -> int:
    print(f"pipeline: {error}", file=sys.stderr)
    return exit_code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        usage="%(prog)s [all | documents | instances | plan] --output_dir=DIR [flags]",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    flag = parser.add_argument
    path = os.path.expanduser
    flag("--input_dir", type=path, help="directory of upstream's zips or of unpacked files")
    flag("--output_dir", type=path, help="directory to write to; made if missing")
    flag(
        "--vocab", type=path, help="finished vocab.txt of 13,686 entries; without it one is learned"
    )
    flag("--runner", choices=_RUNNERS, default="local", help="where units run")
    flag("--num_workers", type=int, default=_count_cores(), help="processes of a local run")
    flag("--seed", type=int, default=0, help="seeds the order of instances and the masks")
    flag("--segmenter", choices=("rjieba", "jieba"), default="rjieba", help="finds the words")
    flag("--dedup", choices=("exact", "none"), default="exact", help="which duplicates to drop")
    flag("--dupe_factor", type=int, default=1, help="static maskings of the training set")
    flag("--masked_lm_prob", type=float, default=0.15, help="share of tokens to mask")
    flag(
        "--held_out_fraction",
        type=float,
        default=0.01,
        help="share held out of corpora that ship no held-out file (wiki)",
    )
    flag(
        "--max_rejected_fraction",
        type=float,
        default=0.1,
        help="fail when a larger share of a corpus's lines cannot be read",
    )
    flag("--overwrite", action="store_true", help="delete outputs of earlier runs, start afresh")
    flag(
        "--skip_broken_files",
        action="store_true",
        help="leave damaged input files out and list them instead of failing",
    )
    flag("--quiet", action="store_true", help="show no progress")
    return parser


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_options(
    stage: str, arguments: argparse.Namespace, beam_flags: Sequence[str]
) -> "RunOptions":
    from pipeline.config import DocumentsConfig, InstancesConfig
    from pipeline.errors import UsageError
    from pipeline.run import RunOptions

    try:
        return RunOptions(
            stage=stage,
            input_dir=arguments.input_dir,
            output_dir=arguments.output_dir or "",
            vocab=arguments.vocab,
            runner=arguments.runner,
            num_workers=arguments.num_workers,
            max_rejected_fraction=arguments.max_rejected_fraction,
            overwrite=arguments.overwrite,
            skip_broken_files=arguments.skip_broken_files,
            quiet=arguments.quiet,
            documents=DocumentsConfig(
                dedup=arguments.dedup, held_out_fraction=arguments.held_out_fraction
            ),
            instances=InstancesConfig(
                seed=arguments.seed,
                segmenter=arguments.segmenter,
                dupe_factor=arguments.dupe_factor,
                masked_lm_prob=arguments.masked_lm_prob,
            ),
            beam_flags=tuple(beam_flags),
        )
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def _check_beam_flags(others: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Refuses what neither we nor Beam know; left alone, Beam would only warn and run on."""
    if not others:
        return
    from pipeline.beam_graph import known_beam_flags
    from pipeline.errors import UsageError

    takes_value = known_beam_flags()
    known = set(takes_value) | set(parser._option_string_actions)
    before = ""
    for word in others:
        name = word.partition("=")[0]
        if word.startswith("-") and name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "; --help lists all flags"
            raise UsageError(f"unknown flag {name}{hint}")
        if not word.startswith("-") and not takes_value.get(before):
            raise UsageError(f"unexpected argument {word!r}; values go behind a flag")
        before = word
