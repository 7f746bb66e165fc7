"""Pure: what became of characters and documents, as the report and inspection know it."""

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, Final, NamedTuple

from pipeline import ledger

_OUTCOMES: Final = (ledger.READ, ledger.KEPT)

Counts = Counter[str]


class Account(NamedTuple):
    """What became of one corpus and split, or of several.

    All figures are Unicode code points, except those of tokens, documents, edits and unreadable
    bytes.

    Attributes:
      corpus: its name; "all" for a sum.
      split: its name; "" for a sum.
      read: characters of the fields that are read.
      added: by rule; likewise removed.
      rejected: by reason.
      duplicates: by level.
      kept: characters in documents/.
      in_instances: by length of sequence; empty if no instances were made.
      white_space: kept characters that are white space.
      dropped: kept characters that the tokenizer drops.
      unknown: characters under [UNK], part of those in instances.
      tokens: of kept documents.
      edits: times that a rule changed something.
      documents: by outcome: read, kept, reasons of rejection.
      unreadable_bytes: of lines that cannot be read, by fault.
      lengths: kept documents of 2^k to 2^(k+1) - 1 characters, by k.
    """

    corpus: str
    split: str
    read: int
    added: Counts
    removed: Counts
    rejected: Counts
    duplicates: Counts
    kept: int
    in_instances: Counts
    white_space: int
    dropped: int
    unknown: int
    tokens: int
    edits: Counts
    documents: Counts
    unreadable_bytes: Counts
    lengths: Counter[int]

    @property
    def split_name(self) -> str:
        """The split in words."""
        return self.split.replace("_", " ")

    @property
    def came(self) -> int:
        """Characters that were read or added."""
        return self.read + self.added.total()

    @property
    def under_tokens(self) -> int:
        """Characters in instances, at whatever length: they are the same."""
        return max(self.in_instances.values(), default=0)

    @property
    def imbalance(self) -> int:
        """Characters that came and are neither lost nor kept; 0 if all is accounted for."""
        lost = self.removed.total() + self.rejected.total() + self.duplicates.total()
        return self.came - lost - self.kept

    def imbalance_at(self, seq_length: str) -> int:
        """Kept characters that are nowhere at one length of sequence."""
        return self.kept - self.in_instances[seq_length] - self.white_space - self.dropped

    @property
    def balances(self) -> bool:
        """Whether every character is accounted for."""
        return not self.imbalance and not any(map(self.imbalance_at, self.in_instances))


class EditSample(NamedTuple):
    """One document that a rule changed.

    Attributes:
      doc_id: its id.
      before: excerpt of the text that the rule met.
      spans: start and end in the excerpt, and what stands there afterwards; in order.
    """

    doc_id: str
    before: str
    spans: Sequence[tuple[int, int, str]]


class RejectedSample(NamedTuple):
    """One document that was rejected.

    Attributes:
      doc_id: its id.
      text: its beginning.
      chars: characters of the whole.
      duplicate_of: id of the document that stays in its stead.
      similarity: to that document, if it is not equal.
    """

    doc_id: str
    text: str
    chars: int
    duplicate_of: str | None
    similarity: float | None

    def text_beside(self, kept: str) -> str:
        """Returns its text; an equal document may come without one, and has the kept one's."""
        return kept if not self.text and self.similarity is None else self.text


class Samples(NamedTuple):
    """What rules did, by their names, and what was rejected, by reason."""

    edits: dict[str, list[EditSample]]
    rejected: dict[str, list[RejectedSample]]


def parse_account(corpus: str, split: str, figures: dict[str, Any]) -> Account:
    """Reads the figures of one corpus and split of ledger.json; what is not there is 0.

    Raises:
      TypeError: a figure is none; likewise AttributeError.
    """

    def number(name: str) -> int:
        return operator.index(figures.get(name, 0))

    def counts(name: str) -> Counts:
        found: dict[str, int] = figures.get(name, {})
        return Counter({item: operator.index(count) for item, count in found.items()})

    return Account(
        corpus,
        split,
        *(number("read"), counts("added"), counts("removed"), counts("rejected")),
        *(counts("duplicates"), number("kept"), counts("in_instances")),
        *(number("white_space"), number("dropped_by_tokenizer"), number("unknown")),
        number("tokens"),
        *(counts("edits"), counts("documents"), counts("unreadable_bytes")),
        Counter(
            {
                power: operator.index(count)
                for power, count in enumerate(figures.get("lengths", []))
                if count
            }
        ),
    )


def add_up(accounts: Iterable[Account], corpus: str = "all") -> Account:
    """Returns the sum of accounts under one name."""
    empty, summed = parse_account(corpus, "", {}), list(accounts)
    sums: dict[str, Any] = {
        field: reduce(operator.add, (getattr(of, field) for of in summed), getattr(empty, field))
        for field in Account._fields[2:]
    }
    return empty._replace(**sums)


def add_up_by_corpus(accounts: Sequence[Account]) -> list[Account]:
    """Returns one account a corpus, in the order of the ledger."""
    names = dict.fromkeys(account.corpus for account in accounts)
    return [add_up((of for of in accounts if of.corpus == name), name) for name in names]


def reasons_of(account: Account) -> Counts:
    """Returns documents by reason of rejection."""
    return Counter({name: n for name, n in account.documents.items() if name not in _OUTCOMES})


def rules_of(account: Account) -> list[str]:
    """Returns the rules that changed anything, by name."""
    return sorted(account.edits.keys() | account.added.keys() | account.removed.keys())
