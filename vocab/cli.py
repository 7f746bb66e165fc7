"""build-vocab learn | derive: makes vocab.txt."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vocab.special_tokens import VOCAB_SIZE


class UsageError(Exception):
    """Something the user can mend; the message says what and how."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 when done, 1 when the run failed, 2 for wrong usage."""
    arguments = _make_parser().parse_args(argv)
    try:
        _write_vocab(arguments.make(arguments), arguments.output)
    except (UsageError, ValueError, OSError) as error:
        print(f"build-vocab: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build-vocab", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="learn | derive")
    learn = commands.add_parser(
        "learn", help="from cleaned documents, as the pipeline writes them", allow_abbrev=False
    )
    learn.add_argument(
        "--documents", type=Path, required=True, help="directory of *.jsonl.zst files"
    )
    learn.add_argument("--size", type=int, default=VOCAB_SIZE, help="entries (default %(default)s)")
    learn.set_defaults(make=_learn)
    derive = commands.add_parser(
        "derive", help="from Google's Chinese BERT vocabulary", allow_abbrev=False
    )
    derive.add_argument(
        "--bert_vocab", type=Path, required=True, help="its vocab.txt of 21,128 lines"
    )
    derive.set_defaults(make=_derive)
    for command in (learn, derive):
        command.add_argument("--output", type=Path, required=True, help="vocab.txt to write")
    return parser


def _learn(arguments: argparse.Namespace) -> list[str]:
    from vocab.document_files import count_document_files
    from vocab.selection import select_tokens
    from vocab.wordpieces import LearnerMissingError, check_learner, learn_pieces

    try:
        check_learner()
    except LearnerMissingError as error:
        raise UsageError(error) from error
    paths = sorted(arguments.documents.glob("*.jsonl.zst"))
    if not paths:
        raise UsageError(f"--documents={arguments.documents}: no *.jsonl.zst file there")
    return select_tokens(count_document_files(paths), learn_pieces, arguments.size)


def _derive(arguments: argparse.Namespace) -> list[str]:
    from vocab.derivation import derive_tokens, explain_difference
    from vocab.vocab_file import parse_vocab

    path: Path = arguments.bert_vocab
    if not path.is_file():
        raise UsageError(f"--bert_vocab={path}: no such file")
    bert_tokens = parse_vocab(path.read_bytes(), str(path))
    derived = derive_tokens(bert_tokens)
    if difference := explain_difference(bert_tokens, derived):
        raise ValueError(f"{path} is not Google's Chinese BERT vocabulary: {difference}")
    return derived


def _write_vocab(tokens: Sequence[str], path: Path) -> None:
    from vocab.vocab_file import digest_vocab, format_vocab

    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(format_vocab(tokens))
    temporary.replace(path)
    print(f"{path}: {len(tokens):,} entries, sha256 {digest_vocab(tokens)}")


if __name__ == "__main__":
    sys.exit(main())
