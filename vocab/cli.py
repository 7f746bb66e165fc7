"""build-vocab learn | derive: makes vocab.txt; build-vocab report: says how good one is."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vocab.printing import until_reader_leaves
from vocab.special_tokens import VOCAB_SIZE


class UsageError(Exception):
    """Something the user can mend; the message says what and how."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 when done, 1 when the run failed, 2 for wrong usage."""
    arguments = _make_parser().parse_args(argv)
    try:
        with until_reader_leaves():
            arguments.run(arguments)
    except (UsageError, ValueError, OSError) as error:
        print(f"build-vocab: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build-vocab", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="learn | derive | report")
    learn = commands.add_parser(
        "learn", help="from cleaned documents, as the pipeline writes them", allow_abbrev=False
    )
    learn.add_argument("--size", type=int, default=VOCAB_SIZE, help="entries (default %(default)s)")
    learn.set_defaults(run=_learn)
    derive = commands.add_parser(
        "derive", help="from Google's Chinese BERT vocabulary", allow_abbrev=False
    )
    derive.add_argument(
        "--bert_vocab", type=Path, required=True, help="its vocab.txt of 21,128 lines"
    )
    derive.set_defaults(run=_derive)
    report = commands.add_parser(
        "report", help="what a vocabulary makes of documents", allow_abbrev=False
    )
    report.add_argument("--vocab", type=Path, required=True, help="vocab.txt to report on")
    report.add_argument("--against", type=Path, help="another one, to stand beside it")
    report.add_argument("--output", type=Path, help="JSON file of all figures to write, too")
    report.set_defaults(run=_report)
    for command in (learn, report):
        command.add_argument(
            "--documents", type=Path, required=True, help="directory of *.jsonl.zst files"
        )
        command.add_argument(
            "--cased", action="store_true", help="keep case and accents, as BERT's cased models do"
        )
    for command in (learn, derive):
        command.add_argument("--output", type=Path, required=True, help="vocab.txt to write")
    return parser


def _learn(arguments: argparse.Namespace) -> None:
    from vocab.document_files import count_document_files
    from vocab.selection import describe_borders, select
    from vocab.wordpieces import LearnerMissingError, check_learner, learn_pieces

    try:
        check_learner()
    except LearnerMissingError as error:
        raise UsageError(error) from error
    counts = count_document_files(_find_documents(arguments.documents), arguments.cased)
    selection = select(counts, learn_pieces, arguments.size)
    _write_vocab(selection.tokens, arguments.output)
    print(describe_borders(selection), end="")


def _find_documents(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.jsonl.zst"))
    if not paths:
        raise UsageError(f"--documents={folder}: no *.jsonl.zst file there")
    return paths


def _derive(arguments: argparse.Namespace) -> None:
    from vocab.derivation import derive_tokens, explain_difference

    path: Path = arguments.bert_vocab
    bert_tokens = _read_vocab("bert_vocab", path)
    derived = derive_tokens(bert_tokens)
    if difference := explain_difference(bert_tokens, derived):
        raise ValueError(f"{path} is not Google's Chinese BERT vocabulary: {difference}")
    _write_vocab(derived, arguments.output)


def _report(arguments: argparse.Namespace) -> None:
    import json

    from vocab import coverage
    from vocab.document_files import count_document_files
    from vocab.tokenizer import Tokenizer

    vocabularies = {str(arguments.vocab): _read_vocab("vocab", arguments.vocab)}
    if arguments.against:
        vocabularies[str(arguments.against)] = _read_vocab("against", arguments.against)
    paths = _find_documents(arguments.documents)
    cased: bool = arguments.cased
    tokenizers = [Tokenizer(tokens, cased) for tokens in vocabularies.values()]
    groups = coverage.measure_files(paths, tokenizers)
    report = coverage.make_report(vocabularies, groups, count_document_files(paths, cased))
    if arguments.output:
        text = json.dumps(report, ensure_ascii=False, indent=1) + "\n"
        _write(arguments.output, text.encode())
    print(coverage.format_report(report), end="")


def _read_vocab(option: str, path: Path) -> list[str]:
    from vocab.vocab_file import parse_vocab

    if not path.is_file():
        raise UsageError(f"--{option}={path}: no such file")
    return parse_vocab(path.read_bytes(), str(path))


def _write_vocab(tokens: Sequence[str], path: Path) -> None:
    from vocab.vocab_file import digest_vocab, format_vocab

    _write(path, format_vocab(tokens))
    print(f"{path}: {len(tokens):,} entries, sha256 {digest_vocab(tokens)}")


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
