"""Edits texts until no rule changes them, then tells which are not kept."""

import difflib
from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.config import DocumentsConfig
from pipeline.rules.edits import EDITS, OPTIONAL_EDITS, Edit, Span, choose_edits
from pipeline.rules.fields import FIELD_JOINER, FIELD_RULES
from pipeline.rules.rejections import REJECTIONS, UNSETTLED, find_reasons
from pipeline.rules.scanning import load_scanner

RULES: Final = (
    *FIELD_RULES,
    *(edit.name for edit in EDITS),
    *OPTIONAL_EDITS,
    *REJECTIONS,
)
"""Names of all rules."""

MAX_PASSES: Final = 16
"""Bounds the time that markup nested on purpose can cost; real text needs four."""


class Change(NamedTuple):
    """What one edit did to one document in one pass.

    Attributes:
      document: its place in the batch.
      rule: name of the edit.
      times: number of changes.
      removed: characters that were changed or went.
      added: characters that stand in their places.
      before: the text that the edit was given; None where it had changed the document before.
    """

    document: int
    rule: str
    times: int
    removed: int
    added: int
    before: str | None


class CleanedBatch(NamedTuple):
    """Cleaned documents.

    Attributes:
      texts: the edited texts, also of documents that are not kept.
      reasons: why a document is not kept, or None.
      changes: in the order in which they were made.
    """

    texts: list[str]
    reasons: list[str | None]
    changes: list[Change]


class Cleaner:
    """Cleans the documents of one corpus.

    Raises:
      ValueError: the configuration names an unknown rule, or asks for what is not installed.
    """

    def __init__(self, corpus: str, config: DocumentsConfig) -> None:
        check_names(config.rules_off)
        self._corpus = corpus
        self._config = config
        self._edits = choose_edits(config)
        self._scanner = load_scanner(tuple(edit.trigger for edit in self._edits))
        self._edits_by_flags: dict[int, list[Edit]] = {}

    def clean(self, texts: Sequence[str]) -> CleanedBatch:
        """Cleans a batch of documents: about 1,000, or 1 MB.

        Edits are applied in their order, pass after pass, until none changes anything: cleaned
        documents stay as they are if they are cleaned again.
        """
        cleaned = list(texts)
        changes: list[Change] = []
        in_play = list(range(len(texts)))
        for _ in range(MAX_PASSES):
            if not in_play:
                break
            met = {(change.document, change.rule) for change in changes}
            flags = self._scanner.scan([cleaned[document] for document in in_play])
            in_play = [
                document
                for document, found in zip(in_play, flags, strict=True)
                if found and self._edit(document, found, cleaned, changes, met)
            ]
        reasons = find_reasons(cleaned, self._corpus, self._config)
        if UNSETTLED not in self._config.rules_off:
            for document in in_play:
                reasons[document] = UNSETTLED
        return CleanedBatch(cleaned, reasons, changes)

    def _edit(
        self,
        document: int,
        flags: int,
        texts: list[str],
        changes: list[Change],
        met: set[tuple[int, str]],
    ) -> bool:
        """Applies the edits that flags ask for; tells whether one changed anything."""
        before = text = texts[document]
        for edit in self._edits_of(flags):
            changed, times, removed, added = edit.apply(text)
            if times:
                shown = None if (document, edit.name) in met else text
                changes.append(Change(document, edit.name, times, removed, added, shown))
                text = changed
        texts[document] = text
        return text != before

    def _edits_of(self, flags: int) -> list[Edit]:
        edits = self._edits_by_flags.get(flags)
        if edits is None:
            edits = [edit for edit in self._edits if flags & self._scanner.flags[edit.trigger]]
            self._edits_by_flags[flags] = edits
        return edits


def find_spans(rule: str, text: str, config: DocumentsConfig) -> list[Span]:
    """Returns what an edit changes in the text it is given.

    Raises:
      ValueError: no edit that the configuration asks for has this name.
    """
    edits = {edit.name: edit for edit in choose_edits(config)}
    if rule not in edits:
        raise ValueError(f"{rule!r} is none of the edits {', '.join(edits)}")
    return edits[rule].find_spans(text)


def check_names(rules: Sequence[str]) -> None:
    """Checks that all rules that are to be left out are known and can be.

    Raises:
      ValueError: one is not.
    """
    known = [rule for rule in RULES if rule != FIELD_JOINER]
    for rule in rules:
        if rule not in known:
            nearest = difflib.get_close_matches(rule, known, n=1, cutoff=0)[0]
            raise ValueError(f"rules_off names no rule {rule!r}; do you mean {nearest!r}?")
