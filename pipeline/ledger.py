"""Pure accounting: what became of every character, per corpus and split.

All figures are Unicode code points of the fields that are read, after JSON decoding. Two equations
hold for every corpus and split, the second at every sequence length:

    read + added = removed + rejected + duplicates + kept
    kept = in instances + white space + dropped by the tokenizer
"""

import json
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Ledger = Counter[tuple[str, str, str, str]]
"""(corpus, split, account, item) -> number; item is "" in accounts of one figure."""

READ, ADDED, REMOVED = "read", "added", "removed"
REJECTED, DUPLICATES, KEPT = "rejected", "duplicates", "kept"
IN_INSTANCES, WHITE_SPACE, DROPPED = "in_instances", "white_space", "dropped_by_tokenizer"
UNKNOWN = "unknown"
"""Characters under [UNK]: part of those in instances."""

EDITS, DOCUMENTS, UNREADABLE_BYTES, LENGTHS = "edits", "documents", "unreadable_bytes", "lengths"
TOKENS = "tokens"
"""Not characters: times that a rule fired, documents by outcome, bytes of lines that cannot be
read by fault, kept documents by the power of two of their characters, tokens of kept documents."""

EXACT, NEAR, PARAGRAPH = "exact", "near", "paragraph"
LEVELS: Final = (EXACT, NEAR, PARAGRAPH)
"""Of duplicates."""

_OF_ONE_FIGURE: Final = (READ, KEPT, WHITE_SPACE, DROPPED, UNKNOWN, TOKENS)
_OF_SEVERAL: Final = (
    *(ADDED, REMOVED, REJECTED, DUPLICATES, IN_INSTANCES),
    *(EDITS, DOCUMENTS, UNREADABLE_BYTES),
)

FORMAT_VERSION: Final = 1


def to_rows(ledger: Ledger) -> list[tuple[str, str, str, str, int]]:
    """Returns a ledger as rows of JSON."""
    return [(*key, number) for key, number in sorted(ledger.items()) if number]


def from_rows(rows: Iterable[Sequence[Any]]) -> Ledger:
    """Reads what `to_rows` returned.

    Raises:
      TypeError: a row has other types, or does not have five fields; likewise ValueError.
    """
    ledger: Ledger = Counter()
    for corpus, split, account, item, number in rows:
        key = corpus, split, account, item
        if not all(isinstance(part, str) for part in key):
            raise TypeError(f"{key!r} names no account")
        ledger[key] = operator.index(number)
    return ledger


def find_imbalances(ledger: Ledger, seq_lengths: Sequence[int] = ()) -> list[str]:
    """Returns what does not balance, a sentence each.

    Args:
      ledger: of documents, or of a whole run.
      seq_lengths: lengths at which instances were made, if they were.
    """
    faults: list[str] = []
    for (corpus, split), accounts in _by_split(ledger).items():
        came = _sum(accounts, READ) + _sum(accounts, ADDED)
        went = sum(_sum(accounts, name) for name in (REMOVED, REJECTED, DUPLICATES, KEPT))
        if came != went:
            faults.append(
                f"{corpus}, {split}: {came:,} characters were read or added, but {went:,} "
                "removed, rejected, duplicates or kept"
            )
        kept, beside = _sum(accounts, KEPT), _sum(accounts, WHITE_SPACE) + _sum(accounts, DROPPED)
        for length in seq_lengths:
            inside = accounts[IN_INSTANCES, str(length)]
            if kept != inside + beside:
                faults.append(
                    f"{corpus}, {split}: {kept:,} characters were kept, but {inside:,} are in "
                    f"instances of length {length} and {beside:,} white space or dropped"
                )
    return faults


def to_json(ledger: Ledger, not_read: Mapping[str, Sequence[str]]) -> bytes:
    """Returns the bytes of ledger.json.

    Args:
      ledger: of documents, or of a whole run.
      not_read: by corpus, the fields that hold text and are not read.
    """
    corpora: dict[str, dict[str, Any]] = {}
    has_instances = any(account == IN_INSTANCES for _, _, account, *_ in to_rows(ledger))
    for (corpus, split), accounts in _by_split(ledger).items():
        corpora.setdefault(corpus, {})[split] = _describe(accounts, has_instances)
    fields = {
        "format_version": FORMAT_VERSION,
        "corpora": corpora,
        "not_read": {corpus: list(not_read[corpus]) for corpus in corpora if corpus in not_read},
    }
    return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"


def _describe(accounts: Counter[tuple[str, str]], has_instances: bool) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for account in _OF_ONE_FIGURE:
        if has_instances or account in (READ, KEPT):
            described[account] = accounts[account, ""]
    for account in _OF_SEVERAL:
        items = {item: number for (name, item), number in accounts.items() if name == account}
        if account == DUPLICATES:
            items = {level: accounts[DUPLICATES, level] for level in LEVELS}
        if has_instances or account != IN_INSTANCES:
            described[account] = items
    longest = max((int(item) for name, item in accounts if name == LENGTHS), default=-1)
    described[LENGTHS] = [accounts[LENGTHS, str(power)] for power in range(longest + 1)]
    return described


def _by_split(ledger: Ledger) -> dict[tuple[str, str], Counter[tuple[str, str]]]:
    found: defaultdict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for corpus, split, account, item, number in to_rows(ledger):
        found[corpus, split][account, item] += number
    return found


def _sum(accounts: Counter[tuple[str, str]], account: str) -> int:
    return sum(number for (name, _), number in accounts.items() if name == account)
