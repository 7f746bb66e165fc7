"""The parts of the page that tell what became of characters and documents."""

from collections.abc import Sequence
from typing import Final

from pipeline.records import SPLITS
from pipeline.report.accounts import Account, add_up, add_up_by_corpus
from pipeline.report.charts import bar_chart
from pipeline.report.facts import Facts
from pipeline.report.flow import flow_chart
from pipeline.report.markup import (
    EMPTY,
    Html,
    element,
    join,
    number,
    number_and_share,
    share,
    table,
)

# --- Head ---


def tiles(facts: Facts) -> Html:
    """Returns the figures that matter most."""
    total = add_up(facts.accounts)
    documents = total.documents
    shown = [
        (
            share(documents["kept"], documents["read"]),
            f"of {number(documents['read'])} documents kept",
        ),
        (share(total.kept, total.read), f"of {number(total.read)} characters kept"),
    ]
    if facts.info:
        train = facts.info.statistics.get("train", {})
        shown += [
            (number(train[length]["sequences"]), f"training sequences of {length} tokens")
            for length in sorted(train, key=int)
        ]
    if total.in_instances:
        unknown = share(total.unknown, total.under_tokens)
        shown.append((unknown, "of characters in instances are unknown"))
    boxes = [
        element("div", element("b", figure), element("span", what), class_="tile")
        for figure, what in shown
    ]
    return element("div", *boxes, _balance_tile(facts.accounts), class_="tiles")


def _balance_tile(accounts: Sequence[Account]) -> Html:
    balances = all(account.balances for account in accounts)
    return element(
        "div",
        element(
            "b", "balanced" if balances else "unbalanced", class_="good" if balances else "bad"
        ),
        element("span", "every character is accounted for" if balances else "see the ledger"),
        class_="tile",
    )


# --- Ledger ---


def ledger_section(facts: Facts) -> Html:
    """Returns where all characters went: as a picture, and as tables."""
    total = add_up(facts.accounts)
    rows = [*facts.accounts, total]
    return join(
        element("h2", "Where the characters went", id="ledger"),
        element(
            "p",
            "All figures are Unicode code points of the fields that are read. Read and added "
            "characters are removed by a rule, rejected with their document, dropped as "
            "duplicates, or kept; kept ones are under a token of the instances, white space, or "
            "dropped by the tokenizer.",
        ),
        element("div", flow_chart(total), class_="scroll", tabindex="0"),
        element("h3", "From the corpus to documents/"),
        table(
            _DOCUMENTS_HEAD,
            [_documents_row(account) for account in rows],
            texts=2,
            total=True,
        ),
        _instances_table(rows) if total.in_instances else EMPTY,
    )


_DOCUMENTS_HEAD: Final = (
    *("corpus", "split", "read", "added", "removed", "rejected", "duplicates", "kept"),
    "balance",
)


def _documents_row(account: Account) -> tuple[str, ...]:
    came = account.came
    losses = (account.removed, account.rejected, account.duplicates)
    return (
        *(account.corpus, account.split_name, number(account.read)),
        number(account.added.total()),
        *(number_and_share(loss.total(), came) for loss in losses),
        number_and_share(account.kept, came),
        _balance([account.imbalance]),
    )


def _instances_table(accounts: Sequence[Account]) -> Html:
    lengths = sorted(set[str]().union(*(of.in_instances for of in accounts)), key=int)
    head = (
        *("corpus", "split", "kept", *(f"instances {length}" for length in lengths)),
        *("of them [UNK]", "white space", "dropped", "balance"),
    )
    rows = [
        (
            *(account.corpus, account.split_name, number(account.kept)),
            *(number(account.in_instances[length]) for length in lengths),
            number_and_share(account.unknown, account.under_tokens),
            number_and_share(account.white_space, account.kept),
            number_and_share(account.dropped, account.kept),
            _balance([account.imbalance_at(length) for length in lengths]),
        )
        for account in accounts
    ]
    return join(
        element("h3", "From documents/ to tfrecords/"), table(head, rows, texts=2, total=True)
    )


def _balance(imbalances: Sequence[int]) -> Html:
    if not any(imbalances):
        return element("span", "✓ 0", class_="good")
    off = ", ".join(f"{imbalance:+,}" for imbalance in imbalances)
    return element("span", f"off by {off}", class_="bad")


# --- Documents ---


def documents_section(facts: Facts) -> Html:
    """Returns documents by outcome, and their lengths."""
    accounts = sorted(facts.accounts, key=lambda of: (of.corpus, SPLITS.index(of.split)))
    rows = [
        (
            *(of.corpus, of.split_name, number(of.documents["read"])),
            number_and_share(of.documents["kept"], of.documents["read"]),
            number(round(of.kept / of.documents["kept"])) if of.documents["kept"] else "-",
        )
        for of in [*accounts, add_up(accounts)]
    ]
    by_corpus = [of for of in add_up_by_corpus(accounts) if of.lengths]
    return join(
        element("h2", "Documents", id="documents"),
        table(("corpus", "split", "read", "kept", "characters each"), rows, texts=2, total=True),
        element("div", *map(_lengths_chart, by_corpus), class_="charts"),
    )


def _lengths_chart(account: Account) -> Html:
    shortest, longest = min(account.lengths), max(account.lengths)
    powers = range(shortest, longest + 1)
    return bar_chart(
        f"{account.corpus}: kept documents by length",
        [account.lengths[power] for power in powers],
        [_power_label(power) for power in powers],
        "characters: this many, and less than twice as many",
    )


def _power_label(power: int) -> str:
    for exponent, unit in ((30, "Gi"), (20, "Mi"), (10, "Ki")):
        if power >= exponent:
            return f"{1 << power - exponent}{unit}"
    return str(1 << power)
