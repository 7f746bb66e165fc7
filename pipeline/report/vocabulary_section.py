"""The part of the page that tells what the vocabulary is made of, and what of the text it knows."""

from collections.abc import Sequence
from typing import Final

from pipeline.report.accounts import Account, add_up
from pipeline.report.facts import Facts, Vocabulary
from pipeline.report.markup import EMPTY, Html, element, join, number, share, table
from vocab.coverage import compose
from vocab.selection import Border


def vocabulary_section(facts: Facts) -> Html:
    """Returns coverage by corpus and split, composition, and what just was admitted or not."""
    head = element("h2", "Vocabulary", id="vocabulary")
    vocabulary = facts.vocabulary
    if vocabulary is None:
        return join(head, element("p", "None was used yet.", class_="soft"))
    return join(
        head,
        element("p", describe(vocabulary), "."),
        element("h3", "What it knows"),
        table(
            *(
                _COVERAGE_HEAD,
                [_coverage_row(of) for of in [*facts.accounts, add_up(facts.accounts)]],
            ),
            texts=2,
            total=True,
        ),
        element("h3", "What it is made of"),
        _composition(vocabulary),
        _borders(vocabulary.borders) if vocabulary.borders else EMPTY,
    )


def describe(vocabulary: Vocabulary) -> str:
    """Returns its size and where it comes from."""
    origin = "learned from the training documents" if vocabulary.learned else "given"
    return f"{number(len(vocabulary.tokens))} entries, {origin}"


_COVERAGE_HEAD: Final = (
    *("corpus", "split", "characters under tokens", "under [UNK]", "share", "known"),
    *("tokens", "tokens a character"),
)


def _coverage_row(account: Account) -> tuple[str, ...]:
    inside = account.under_tokens
    return (
        *(account.corpus, account.split_name, number(inside), number(account.unknown)),
        share(account.unknown, inside),
        share(inside - account.unknown, inside),
        number(account.tokens),
        f"{account.tokens / inside:.4f}" if inside else "-",
    )


def _composition(vocabulary: Vocabulary) -> Html:
    entries = len(vocabulary.tokens)
    rows = [
        (script, number(count), share(count, entries))
        for script, count in compose(vocabulary.tokens).items()
    ]
    return table(("made of", "entries", "share"), rows)


def _borders(borders: Sequence[Border]) -> Html:
    rows = [
        (
            border.kind,
            *(" ".join(some) or "-" for some in (border.last, border.left_out)),
            number(border.admitted),
        )
        for border in borders
    ]
    head = ("candidates", "admitted last", "left out first", "admitted")
    return join(element("h3", "Where it ends"), table(head, rows, texts=3))
