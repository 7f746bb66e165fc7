"""Flags of the command line -> what a run is asked to do; those of Beam may stand beside ours."""

import argparse
import difflib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline import clusters
from pipeline.config import DEDUP_LEVELS, SCRIPTS, SEGMENTERS, DocumentsConfig, InstancesConfig

if TYPE_CHECKING:
    from pipeline.options import RunOptions

PLAN, REPORT, INSPECT = "plan", "report", "inspect"
COMMANDS: Final = ("all", "documents", "instances", PLAN, REPORT, INSPECT)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Returns the parser of all our flags."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        usage=f"%(prog)s [{' | '.join(COMMANDS)}] --output_dir=DIR [flags]",
        description=description,
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


def make_options(
    stage: str, arguments: argparse.Namespace, beam_flags: Sequence[str]
) -> "RunOptions":
    """Returns what a run of a stage is asked to do.

    Raises:
      UsageError: a flag has a value that cannot be.
    """
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


def read_beam_flags_of(others: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Returns the values of Beam's flags that were given, by name.

    Left alone, Beam would only warn of what it does not know, and run on.

    Raises:
      UsageError: a flag is neither ours nor Beam's, or a value stands behind none.
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
