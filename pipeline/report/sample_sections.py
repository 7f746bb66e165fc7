"""The parts of the page that show text: what rules changed, and what was rejected."""

import html
from collections.abc import Iterable, Mapping, Sequence

from pipeline.ledger import LEVELS
from pipeline.report.accounts import (
    Account,
    EditSample,
    RejectedSample,
    add_up,
    add_up_by_corpus,
    reasons_of,
    rules_of,
)
from pipeline.report.facts import Facts
from pipeline.report.marks import (
    INVISIBLE,
    INVISIBLE_OR_BLANK,
    Piece,
    clip,
    split_difference,
    split_edit,
    symbol_of,
)
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

KeptTexts = Mapping[str, str]
"""Text of the documents that duplicates were dropped for, by id."""


# --- Rules ---


def rules_section(facts: Facts, shown: int) -> Html:
    """Returns every rule that changed text: how often, by how much, and samples."""
    total, by_corpus = add_up(facts.accounts), add_up_by_corpus(facts.accounts)
    rules = sorted(rules_of(total), key=lambda rule: (-total.edits[rule], rule))
    details = [
        _details(
            (rule, number(total.edits[rule]), *_removed_and_added(total, rule)),
            _by_corpus(
                ("corpus", "times", "removed", "added"),
                [
                    (of.corpus, number(of.edits[rule]), *_removed_and_added(of, rule))
                    for of in by_corpus
                    if rule in rules_of(of)
                ],
            ),
            *(_edit_sample(sample) for sample in facts.samples.edits.get(rule, [])[:shown]),
        )
        for rule in rules
    ]
    return join(
        element("h2", "What rules changed", id="rules"),
        element(
            "p",
            "Characters that each rule took out and put in, most used first. Open a rule to see "
            f"it at work: up to {shown} documents, drawn by a hash of their ids, before and after.",
        ),
        _head("rule", "times", "removed", "added"),
        *(details or [element("p", "No rule changed anything.")]),
    )


def _removed_and_added(account: Account, rule: str) -> tuple[str, str]:
    """Returns both in words; "-" of a rule whose characters the ledger counts elsewhere."""
    if rule not in account.removed and rule not in account.added:
        return "-", "-"
    return number(account.removed[rule]), number(account.added[rule])


def _edit_sample(sample: EditSample) -> Html:
    before, after = split_edit(sample.before, sample.spans)
    return _sample(
        element("div", sample.doc_id, class_="id"),
        element("div", _excerpt(before, "del"), _excerpt(after, "ins"), class_="pair"),
    )


# --- Rejections ---


def rejections_section(facts: Facts, kept_texts: KeptTexts, shown: int) -> Html:
    """Returns every reason of rejection: how many documents and characters, and samples."""
    total = add_up(facts.accounts)
    documents = reasons_of(total)
    details = [
        _details(
            (
                reason,
                number(documents[reason]),
                share(documents[reason], total.documents["read"]),
                number(total.rejected[reason]) if reason in total.rejected else "-",
            ),
            _reason_by_corpus(facts.accounts, reason),
            *_rejected_samples(facts.samples.rejected.get(reason, [])[:shown], kept_texts),
        )
        for reason in sorted(documents, key=lambda reason: (-documents[reason], reason))
    ]
    return join(
        element("h2", "What was rejected", id="rejected"),
        element(
            "p",
            "Documents by reason, with their share of all that were read and the characters they "
            "had; those of duplicates are counted by level, below. Duplicates stand beside the "
            "document that stays in their stead; what differs is marked.",
        ),
        _head("reason", "documents", "of all read", "characters"),
        *(details or [element("p", "Nothing was rejected.")]),
        _duplicates(facts.accounts),
    )


def _reason_by_corpus(accounts: Sequence[Account], reason: str) -> Html:
    return _by_corpus(
        ("corpus", "documents", "of its documents"),
        [
            (
                of.corpus,
                number(of.documents[reason]),
                share(of.documents[reason], of.documents["read"]),
            )
            for of in add_up_by_corpus(accounts)
            if of.documents[reason]
        ],
    )


def _duplicates(accounts: Sequence[Account]) -> Html:
    rows = [
        (of.corpus, *(number_and_share(of.duplicates[level], of.came) for level in LEVELS))
        for of in [*add_up_by_corpus(accounts), add_up(accounts)]
    ]
    return join(
        element("h3", "Characters that went as duplicates"),
        element(
            "p",
            "Exact: of whole documents that are equal to an earlier one. Near: of documents "
            "that are nearly so. Paragraph: of long lines that an earlier line is equal to.",
        ),
        table(("corpus", *LEVELS), rows, total=True),
    )


def _rejected_samples(samples: Sequence[RejectedSample], kept_texts: KeptTexts) -> Iterable[Html]:
    """Shows documents; duplicates of one document together."""
    groups: dict[str | None, list[RejectedSample]] = {}
    for sample in samples:
        groups.setdefault(sample.duplicate_of, []).append(sample)
    for kept_id, group in groups.items():
        if kept_id is None:
            yield from map(_rejected_sample, group)
        else:
            yield _duplicate_samples(kept_id, kept_texts.get(kept_id), group)


def _rejected_sample(sample: RejectedSample) -> Html:
    return _sample(_about(sample), _excerpt([Piece(clip(sample.text), False)], "del"))


def _duplicate_samples(kept_id: str, kept: str | None, group: Sequence[RejectedSample]) -> Html:
    """Shows what stays on the left, and on the right all samples of what goes for it."""
    if kept is None:
        stays = element("p", "This document is not in documents/.", class_="soft")
        texts = [[Piece(clip(sample.text), False)] for sample in group]
    else:
        pairs = [split_difference(kept, sample.text_beside(kept)) for sample in group]
        stays = _excerpt(pairs[0][0] if len(pairs) == 1 else [Piece(clip(kept), False)], "ins")
        texts = [goes for _, goes in pairs]
    left = element("div", element("div", f"stays: {kept_id}", class_="id"), stays)
    right = (
        join(_about(sample), _excerpt(text, "del"))
        for sample, text in zip(group, texts, strict=True)
    )
    return _sample(element("div", left, element("div", *right), class_="pair"))


def _about(sample: RejectedSample) -> Html:
    alike = "" if sample.similarity is None else f", {sample.similarity:.2f} alike"
    return element("div", f"{sample.doc_id} ({sample.chars:,} characters{alike})", class_="id")


# --- Parts of both ---


def _head(*titles: str) -> Html:
    return element("div", _row(titles), class_="head")


def _row(cells: Iterable[str]) -> Html:
    return element("span", *(element("span", cell) for cell in cells), class_="row")


def _details(summary: Sequence[str], *contents: Html) -> Html:
    return element("details", element("summary", _row(summary)), *contents)


def _by_corpus(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Html:
    return table(head, rows) if rows else EMPTY


def _sample(*contents: Html) -> Html:
    return element("div", *contents, class_="sample")


def _excerpt(pieces: Iterable[Piece], mark: str) -> Html:
    """Returns an excerpt with what changed inside elements of one name."""
    shown = (element(mark, _seen(piece)) if piece.is_changed else _seen(piece) for piece in pieces)
    return element("p", *shown, lang="zh", class_="excerpt")


def _seen(piece: Piece) -> Html:
    """Returns text as markup; the symbols for what cannot be seen look different from it."""
    unseen = INVISIBLE_OR_BLANK if piece.is_changed else INVISIBLE
    return Html(
        unseen.sub(
            lambda found: f'<span class="unseen">{symbol_of(found)}</span>',
            html.escape(piece.text),
        )
    )
