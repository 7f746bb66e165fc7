"""Raw nlp_chinese_corpus -> cleaned documents, a vocabulary, masked-LM TFRecords.

The stage `documents` cleans and deduplicates, `instances` makes vocabulary and TFRecords of what it
left; `all` (default) is both. `plan` foresees a run from a sample of the input and writes nothing;
`report` makes report.html again; `inspect` prints documents, rejections and edits. A run that was
stopped goes on where it was. Flags of Apache Beam may stand beside those below.
"""

import argparse
import io
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import clusters
from pipeline.flags import (
    COMMANDS,
    INSPECT,
    PLAN,
    REPORT,
    make_options,
    make_parser,
    read_beam_flags_of,
)
from pipeline.process import tune_process
from vocab.printing import until_reader_leaves

if TYPE_CHECKING:
    from pipeline.run import RunFacts

_MIN_WIDTH = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 when done, 1 when the run failed, 2 for wrong usage, 130 when interrupted."""
    tune_process()
    parser = make_parser(__doc__ or "")
    words = list(sys.argv[1:] if argv is None else argv)
    # Only the first word can name a stage: a later one may be the value of a flag of Beam's.
    command = words.pop(0) if words and not words[0].startswith("-") else "all"
    if command not in COMMANDS:
        parser.error(f"unknown stage {command!r}; stages are {', '.join(COMMANDS)}")
    arguments, others = parser.parse_known_args(words)

    from pipeline.errors import PipelineError, UsageError, explain_os_error

    logging.getLogger().addFilter(_is_no_false_alarm)
    try:
        with until_reader_leaves():
            return _main(command, arguments, read_beam_flags_of(others, parser), others)
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


def _main(
    command: str, arguments: argparse.Namespace, beam_flags: Mapping[str, Any], others: list[str]
) -> int:
    from pipeline import dataflow, run, table
    from pipeline.errors import UsageError

    if command == PLAN:
        options = make_options("all", arguments, others)
        print(table.format_forecast(run.foresee(options), arguments.vcpu_hour_price))
        return 0
    if arguments.output_dir is None:
        raise UsageError("--output_dir is needed: the directory to write to")
    if command in (REPORT, INSPECT):
        return _show(command, arguments)
    clusters.check_flags(arguments.runner, beam_flags, arguments.num_workers)
    if arguments.runner == clusters.DATAFLOW:
        dataflow.check_flags(
            *(beam_flags, arguments.input_dir, arguments.output_dir, arguments.num_workers)
        )
        if arguments.num_workers is not None:  # Dataflow's flag, too
            others.append(f"--num_workers={arguments.num_workers}")
    clusters.check_reachable(arguments.runner, beam_flags)
    _find_places(arguments, beam_flags)
    options = make_options(command, arguments, others)
    _print_facts(run.run(options), options.output_dir)
    return 0


def _print_facts(facts: "RunFacts", output_dir: str) -> None:
    """Prints what a run has made."""
    from pipeline import table

    if facts.ignored:
        print(f"Files of no known corpus, not read: {', '.join(facts.ignored)}\n")
    print(table.format_documents(facts.manifest))
    if facts.manifest.skipped:
        print(f"\n{table.format_skipped(facts.manifest.skipped)}")
    print(f"\nDocuments: {output_dir}/documents, rejections: {output_dir}/rejected")
    if facts.dataset_info and facts.vocabulary:
        print(f"\n{table.format_shards(facts.dataset_info)}")
        print(f"\n{table.format_vocabulary(facts.vocabulary, facts.accounts)}")
        print(f"Shards, vocabulary and dataset_info.json: {output_dir}/tfrecords")
    print(f"What became of every character: {output_dir}/report.html, ledger.json")


def _show(command: str, arguments: argparse.Namespace) -> int:
    """Makes the report of a run again, or prints what is asked for of it."""
    from pipeline.inspection import inspect
    from pipeline.layout import Layout
    from pipeline.report import write_report

    layout = Layout(arguments.output_dir.rstrip("/"))
    if command == REPORT:
        write_report(layout)
        print(layout.report)
        return 0
    asked = {name: getattr(arguments, name) for name in ("reason", "rule", "doc_id", "limit")}
    width = max(_MIN_WIDTH, shutil.get_terminal_size((120, 24)).columns)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show Chinese
    for line in inspect(layout, **asked, width=width, colour=sys.stdout.isatty()):
        print(line)
    return 0


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Drops what Beam says when it is installed without its Google Cloud extra."""
    return "apitools not found" not in record.getMessage()


def _fail(error: object, exit_code: int) -> int:
    print(f"pipeline: {error}", file=sys.stderr)
    return exit_code


def _find_places(arguments: argparse.Namespace, beam_flags: Mapping[str, Any]) -> None:
    """Makes local paths absolute for workers of a cluster, and says what they must be able to."""
    if arguments.runner == clusters.LOCAL:
        return
    from pipeline import files, progress

    local: list[str] = []
    for name in ("input_dir", "output_dir"):
        path = getattr(arguments, name)
        if path and not files.is_remote(path):
            local.append(os.path.abspath(path))
            setattr(arguments, name, local[-1])
    if local and not clusters.shares_machine(arguments.runner, beam_flags):
        progress.warn(f"every worker must find {' and '.join(local)}, on a disk that all share")
