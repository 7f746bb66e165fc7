"""Raw nlp_chinese_corpus -> cleaned documents, a vocabulary, masked-LM TFRecords.

The stage `documents` cleans and deduplicates, `instances` makes vocabulary and TFRecords of what it
left; `all` (default) is both. `plan` foresees a run from a sample of the input and writes nothing;
`report` makes report.html again; `inspect` prints documents, rejections and edits. A run that was
stopped goes on where it was. Flags of Apache Beam may stand beside those below.
"""

import argparse
import difflib
import io
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import clusters
from pipeline.config import DEDUP_LEVELS, SCRIPTS, SEGMENTERS, DocumentsConfig, InstancesConfig
from vocab.printing import until_reader_leaves

if TYPE_CHECKING:
    from pipeline.options import RunOptions
    from pipeline.run import RunFacts

_PLAN, _REPORT, _INSPECT = "plan", "report", "inspect"
_MIN_WIDTH = 40
_COMMANDS = ("all", "documents", "instances", _PLAN, _REPORT, _INSPECT)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 when done, 1 when the run failed, 2 for wrong usage, 130 when interrupted."""
    parser = _make_parser()
    words = list(sys.argv[1:] if argv is None else argv)
    # Only the first word can name a stage: a later one may be the value of a flag of Beam's.
    command = words.pop(0) if words and not words[0].startswith("-") else "all"
    if command not in _COMMANDS:
        parser.error(f"unknown stage {command!r}; stages are {', '.join(_COMMANDS)}")
    arguments, others = parser.parse_known_args(words)

    from pipeline.errors import PipelineError, UsageError, explain_os_error

    logging.getLogger().addFilter(_is_no_false_alarm)
    try:
        with until_reader_leaves():
            return _main(command, arguments, _read_beam_flags(others, parser), others)
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

    if command == _PLAN:
        options = _make_options("all", arguments, others)
        print(table.format_forecast(run.foresee(options), arguments.vcpu_hour_price))
        return 0
    if arguments.output_dir is None:
        raise UsageError("--output_dir is needed: the directory to write to")
    if command in (_REPORT, _INSPECT):
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
    options = _make_options(command, arguments, others)
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
    if command == _REPORT:
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


def _read_blocklist(path: str | None) -> tuple[str, ...]:
    """Returns the words of a file, one a line; blank lines and those that begin with # are none."""
    from pipeline.errors import UsageError

    if path is None:
        return ()
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--blocklist={path} cannot be read ({error})") from error
    return tuple(sorted({line for line in lines if line and not line.startswith("#")}))


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Drops what Beam says when it is installed without its Google Cloud extra."""
    return "apitools not found" not in record.getMessage()


def _fail(error: object, exit_code: int) -> int:
    print(f"pipeline: {error}", file=sys.stderr)
    return exit_code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        usage=f"%(prog)s [{' | '.join(_COMMANDS)}] --output_dir=DIR [flags]",
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
    flag(
        "--runner",
        type=_name_runner,
        choices=clusters.RUNNERS,
        default=clusters.RUNNERS[0],
        help="where units run",
    )
    flag(
        "--num_workers",
        type=int,
        help="processes of a local run, by default one a core; on Dataflow, workers to begin with",
    )
    flag(
        "--seed",
        type=int,
        default=InstancesConfig.seed,
        help="seeds the order of instances and the masks",
    )
    flag(
        "--segmenter",
        choices=SEGMENTERS,
        default=InstancesConfig.segmenter,
        help="finds the words",
    )
    flag("--cased", action="store_true", help="keep case and accents, in vocabulary and instances")
    flag(
        "--dedup",
        choices=DEDUP_LEVELS,
        default=DocumentsConfig.dedup,
        help="which duplicates go; near: nearly equal documents and repeated paragraphs, too",
    )
    flag("--rules_off", default="", help="cleaning rules to leave out, by name: a,b,c")
    flag("--mask_personal_data", action="store_true", help="replace addresses and numbers")
    flag("--script", choices=SCRIPTS, default=DocumentsConfig.script, help="convert traditional")
    flag(
        "--blocklist", type=path, help="file of words, one a line; documents with one are rejected"
    )
    flag(
        "--dupe_factor",
        type=int,
        default=InstancesConfig.dupe_factor,
        help="static maskings of the training set",
    )
    flag(
        "--masked_lm_prob",
        type=float,
        default=InstancesConfig.masked_lm_prob,
        help="share of tokens to mask",
    )
    flag(
        "--held_out_fraction",
        type=float,
        default=DocumentsConfig.held_out_fraction,
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
    flag("--vcpu_hour_price", type=float, help="plan names the cost at this price of a vCPU hour")
    flag("--quiet", action="store_true", help="show no progress")
    asked = parser.add_argument_group("inspect").add_argument
    asked("--reason", help="show documents rejected for this reason")
    asked("--rule", help="show edits of this rule")
    asked("--doc_id", help="show this document")
    asked("--limit", type=int, default=20, help="show so many")
    return parser


def _name_runner(name: str) -> str:
    if name in clusters.REFUSED:
        known = ", ".join(clusters.RUNNERS)
        raise argparse.ArgumentTypeError(
            f"{name} is not used: {clusters.REFUSED[name]}; choose from {known}"
        )
    return name


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_options(
    stage: str, arguments: argparse.Namespace, beam_flags: Sequence[str]
) -> "RunOptions":
    from pipeline.errors import UsageError
    from pipeline.options import RunOptions

    try:
        return RunOptions(
            stage=stage,
            input_dir=arguments.input_dir,
            output_dir=arguments.output_dir or "",
            vocab=arguments.vocab,
            runner=arguments.runner,
            num_workers=_count_cores() if arguments.num_workers is None else arguments.num_workers,
            max_rejected_fraction=arguments.max_rejected_fraction,
            overwrite=arguments.overwrite,
            skip_broken_files=arguments.skip_broken_files,
            quiet=arguments.quiet,
            documents=DocumentsConfig(
                dedup=arguments.dedup,
                held_out_fraction=arguments.held_out_fraction,
                rules_off=tuple(sorted(set(filter(None, arguments.rules_off.split(","))))),
                mask_personal_data=arguments.mask_personal_data,
                script=arguments.script,
                blocklist=_read_blocklist(arguments.blocklist),
            ),
            instances=InstancesConfig(
                seed=arguments.seed,
                segmenter=arguments.segmenter,
                cased=arguments.cased,
                dupe_factor=arguments.dupe_factor,
                masked_lm_prob=arguments.masked_lm_prob,
            ),
            beam_flags=tuple(beam_flags),
        )
    except ValueError as error:
        raise UsageError(f"--{error}") from error


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


def _read_beam_flags(others: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Returns the values of Beam's flags that were given, by name.

    Refuses what neither we nor Beam know; left alone, Beam would only warn and run on.
    """
    if not others:
        return {}
    from pipeline.beam_run import known_beam_flags, read_beam_flags
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
    return read_beam_flags(others)
