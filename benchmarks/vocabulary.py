"""Learns a vocabulary from documents, and measures it on what it was not learned from.

    python -m benchmarks.vocabulary --documents=out/documents [--against=vocab.txt] [--json=file]

Prints the time and memory of learning, in processes of their own, from all files and from every
fourth; and how often characters are missing, in five-fold cross-validation, when they are ranked by
documents and by occurrences.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from vocab.counting import TokenCounts, count_tokens
from vocab.document_files import TRAIN, batch_texts, read_documents

_FOLDS: Final = 5
_PLACES: Final = (4000, 5000, 6000, 6500, 7000, 7500, 8000)
_DOCUMENTS_OF_A_FOLD: Final = 50

Rank = Callable[[str], tuple[int, ...]]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.vocabulary", description=__doc__)
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--against", type=Path, help="a vocabulary to compare with")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args(argv)
    paths = sorted(arguments.documents.glob("*.jsonl.zst"))
    with tempfile.TemporaryDirectory() as folder:
        vocab = Path(folder, "vocab.txt")
        figures = {
            "every_fourth_file": measure_learning(paths[::4], vocab),
            "all_files": measure_learning(paths, vocab),
            "ranking": compare_ranks(_count_folds(paths)),
        }
        print(json.dumps(figures, indent=1))
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
        against = [f"--against={arguments.against}"] if arguments.against else []
        _build_vocab("report", f"--documents={arguments.documents}", f"--vocab={vocab}", *against)


def measure_learning(paths: Sequence[Path], output: Path) -> dict[str, float]:
    """Learns from some files in a process of its own; returns what that took."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            Path(folder, path.name).symlink_to(path.resolve())
        started = time.perf_counter()
        command = ["learn", f"--documents={folder}", f"--output={output}"]
        child = subprocess.Popen([sys.executable, "-m", "vocab.cli", *command])
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"learning failed with {child.returncode}")
    return {
        "files": len(paths),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def _build_vocab(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "vocab.cli", *arguments], check=True)


def _count_folds(paths: Sequence[Path]) -> list[TokenCounts]:
    """Counts training documents in folds: runs of neighbours, which may be alike, in turn."""
    folds = [TokenCounts.empty() for _ in range(_FOLDS)]
    number = 0
    for path in paths:
        texts: list[list[str]] = [[] for _ in folds]
        for document in read_documents(path):
            if document.split == TRAIN:
                texts[number // _DOCUMENTS_OF_A_FOLD % _FOLDS].append(document.text)
                number += 1
        for fold, some in zip(folds, texts, strict=True):
            for batch in batch_texts(some):
                counts = count_tokens(batch)
                fold.add(counts.characters, counts.documents, {})
    return folds


def compare_ranks(folds: Sequence[TokenCounts]) -> list[dict[str, Any]]:
    """Counts the characters of each fold that have no place among the best of the others."""
    missed: dict[int, Counter[str]] = {places: Counter() for places in _PLACES}
    for held_out in folds:
        learned = TokenCounts.empty()
        for fold in folds:
            if fold is not held_out:
                learned.add(*fold)
        for name, rank in _ranks_of(learned).items():
            ranked = sorted(sorted(learned.characters), key=rank)
            for places in _PLACES:
                known = set(ranked[:places])
                missed[places][f"unknown_by_{name}"] += sum(
                    n for char, n in held_out.characters.items() if char not in known
                )
    return [{"places": places, **found} for places, found in missed.items()]


def _ranks_of(counts: TokenCounts) -> dict[str, Rank]:
    return {
        "documents": lambda char: (-counts.documents[char], -counts.characters[char]),
        "occurrences": lambda char: (-counts.characters[char],),
    }


if __name__ == "__main__":
    main()
