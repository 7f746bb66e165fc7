"""Puts the page together and writes it.

The page holds no path and no time: equal outputs made with equal versions have equal reports.
"""

from typing import Final

from pipeline import files
from pipeline.layout import Layout
from pipeline.report.facts import Facts, read_facts
from pipeline.report.ledger_sections import documents_section, ledger_section, tiles
from pipeline.report.lookup import Library
from pipeline.report.marks import MAX_CHARS
from pipeline.report.markup import Html, element, join
from pipeline.report.sample_sections import KeptTexts, rejections_section, rules_section
from pipeline.report.sections import made_with_section, not_read_section
from pipeline.report.shard_sections import instances_section
from pipeline.report.style import STYLE
from pipeline.report.vocabulary_section import vocabulary_section

MAX_BYTES: Final = 3_000_000
"""Of the page; where samples would make it larger, fewer are shown."""

_SAMPLES_SHOWN: Final = (20, 10, 5, 2, 1, 0)

_SECTIONS: Final = (
    ("ledger", "Where the characters went"),
    ("rules", "What rules changed"),
    ("rejected", "What was rejected"),
    ("documents", "Documents"),
    ("vocabulary", "Vocabulary"),
    ("instances", "Instances"),
    ("not-read", "What was not read"),
    ("made-with", "Made with"),
)

_HEAD: Final = Html(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
    "'unsafe-inline'\">\n<title>Corpus report</title>\n"
    f"<style>{STYLE}</style>\n</head>\n"
)


def write_report(layout: Layout) -> Facts:
    """Makes report.html of what lies in an output directory.

    Returns:
      What it tells.

    Raises:
      UsageError: something is missing; names it and the command that makes it.
      RunError: something is damaged or of another format.
    """
    facts = read_facts(layout)
    files.write_bytes(layout.report, render(facts, _read_kept_texts(facts, layout)))
    return facts


def render(facts: Facts, kept_texts: KeptTexts) -> bytes:
    """Returns the page with as many samples as fit in MAX_BYTES."""
    page = b""
    for shown in _SAMPLES_SHOWN:
        page = _render(facts, kept_texts, shown).encode()
        if len(page) < MAX_BYTES:
            break
    return page


def _render(facts: Facts, kept_texts: KeptTexts, shown: int) -> Html:
    body = element(
        "body",
        element("h1", "What became of the corpus"),
        element(
            "p",
            "From raw lines to training instances, accounted for to the character.",
            class_="soft",
        ),
        element("nav", *(element("a", title, href=f"#{name}") for name, title in _SECTIONS)),
        tiles(facts),
        ledger_section(facts),
        rules_section(facts, shown),
        rejections_section(facts, kept_texts, shown),
        documents_section(facts),
        vocabulary_section(facts),
        instances_section(facts.info),
        not_read_section(facts),
        made_with_section(facts),
    )
    return join(_HEAD, body, Html("\n</html>\n"))


def _read_kept_texts(facts: Facts, layout: Layout) -> dict[str, str]:
    """Returns the beginnings of the documents that sampled duplicates were dropped for."""
    library = Library(layout, facts.manifest)
    ids = {
        sample.duplicate_of
        for samples in facts.samples.rejected.values()
        for sample in samples
        if sample.duplicate_of is not None
    }
    found = (library.find_document(doc_id) for doc_id in sorted(ids))
    return {document.doc_id: document.text[: MAX_CHARS + 1] for document in found if document}
