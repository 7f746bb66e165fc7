"""Feeds random and damaged input to what reads files and texts, and checks what must hold.

    python -m tests.fuzzing --seconds=900 [--seed=N] [NAME ...]

Prints how many examples each target was given, and the smallest that breaks it; then exits with 1.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from tests.fuzzing import inputs, json_files, rows, texts
from tests.fuzzing.search import Target, search

TARGETS: tuple[Target, ...] = (
    *inputs.TARGETS,
    *texts.TARGETS,
    *rows.TARGETS,
    *json_files.TARGETS,
)


def main(argv: Sequence[str] | None = None, targets: Sequence[Target] = TARGETS) -> int:
    """Fuzzes the targets one after the other; returns 1 if one has a fault."""
    names = [target.name for target in targets]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=900, help="in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another one tries other examples")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [target for target in targets if target.name in (arguments.names or names)]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its notices would stand between the lines
    faults = 0
    for target in chosen:
        found = search(target, arguments.seconds / len(chosen), arguments.seed)
        result = "no fault" if found.fault is None else f"FAULT\n{found.fault}"
        print(
            f"{target.name:<20} {found.examples:>9,} {found.seconds:>6.1f} s  {result}", flush=True
        )
        faults += found.fault is not None
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
