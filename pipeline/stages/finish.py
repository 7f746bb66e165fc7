"""Cleaned documents of a unit, and what goes of them -> documents/ and rejected/."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from pipeline import dedup, files, ledger
from pipeline.blocks import BlockWriter, FrameWriter, damaged, encode_row, read_row_lines
from pipeline.config import DocumentsConfig
from pipeline.dedup import Loser
from pipeline.errors import RunError
from pipeline.layout import Layout
from pipeline.ledger import Ledger
from pipeline.records import SPLITS, Block, Document, Rejected, Unit
from pipeline.resume import Stage
from pipeline.rules import Cleaner
from pipeline.samples import (
    EDITS,
    REJECTED,
    Row,
    Sample,
    Sampler,
    describe_edit,
    describe_text,
    samples_from_bytes,
    samples_to_bytes,
    size_in_unit,
)
from pipeline.stages.clean import SIZE, batches, bytes_of

DEDUP_STAGE: Final = "dedup"
REPEATED_PARAGRAPH: Final = "repeated_paragraph"
"""The name by which removed lines are counted and sampled."""

SHORT_AFTER_DEDUP: Final = "short_after_dedup"

_LEVELS: Final = {
    dedup.DUPLICATE: ledger.EXACT,
    dedup.DUPLICATE_OF_TRAINING: ledger.EXACT,
    dedup.NEAR_DUPLICATE: ledger.NEAR,
    dedup.NEAR_DUPLICATE_OF_TRAINING: ledger.NEAR,
}


class Goings(NamedTuple):
    """A cleaned unit, and what is to go of it.

    Attributes:
      unit: which one.
      losers: documents that are duplicates, as `dedup.losers_by_unit` packs them.
      repeats: lines that are repeated, of dtype dedup.REPEAT, packed.
    """

    unit: Unit
    losers: list[bytes]
    repeats: list[bytes]


class Finished(NamedTuple):
    """What finishing one unit made."""

    ledger: Ledger
    blocks: list[Block]

    def to_json(self) -> Any:
        """Returns what a note of the done unit holds."""
        return {
            "ledger": ledger.to_rows(self.ledger),
            "blocks": [list(block) for block in self.blocks],
        }

    @classmethod
    def from_json(cls, fields: Any, *_: Any) -> "Finished":
        """Reads what `to_json` returned."""
        blocks = [Block(*row) for row in fields["blocks"]]
        return cls(ledger.from_rows(fields["ledger"]), blocks)


def finish_unit(goings: Goings, config: DocumentsConfig, layout: Layout) -> Finished:
    """Writes the documents of one unit that stay, and all that it rejected."""
    return _UnitFinishing(goings, config, layout).run()


class _UnitFinishing:
    """Takes the cleaned documents of a unit one after the other."""

    def __init__(self, goings: Goings, config: DocumentsConfig, layout: Layout) -> None:
        self._unit = goings.unit
        self._config = config
        self._layout = layout
        self._cleaner = Cleaner(goings.unit.corpus, config)
        self._losers = _index_losers(goings.losers)
        self._repeats = _index_repeats(goings.repeats)
        self._ledger: Ledger = Counter()
        self._sampler = Sampler(size_in_unit(goings.unit.total))

    def run(self) -> Finished:
        """Writes both files of the unit."""
        layout, place = self._layout, (self._unit.number, self._unit.total)
        block_bytes = self._config.block_text_bytes
        with (
            files.finished_or_absent(layout.part(*place)) as part_file,
            files.finished_or_absent(layout.rejected_part(*place)) as rejected_file,
        ):
            # Frames of one zstd file can be put behind each other as they are.
            rejected_file.write(files.read_bytes(layout.cleaned_rejected(*place)))
            self._rejected = FrameWriter(rejected_file, block_bytes)
            writer = BlockWriter(part_file, self._unit.number, self._unit.corpus, block_bytes)
            self._write_documents(writer, place)
            writer.close()
            self._rejected.close()
        drawn = self._sampler.samples()
        files.write_bytes(layout.finished_samples(*place), samples_to_bytes(drawn))
        return Finished(self._ledger, writer.blocks)

    def _write_documents(self, writer: BlockWriter, place: tuple[int, int]) -> None:
        sizes = np.frombuffer(files.read_bytes(self._layout.sizes(*place)), SIZE)
        path = self._layout.cleaned(*place)
        row = 0
        for lines in batches(read_row_lines(path), len):
            of_lines = sizes[row : row + len(lines)]
            row += len(lines)
            if row <= len(sizes):
                self._write_batch(writer, lines, of_lines)
        if row != len(sizes):
            raise RunError(f"{path}: is damaged; start afresh with --overwrite")

    def _write_batch(self, writer: BlockWriter, lines: list[bytes], sizes: Any) -> None:
        ranks = dedup.ranks_of(sizes["document"])
        kept_chars = sizes["chars"].astype(np.int64)
        documents: list[int] = sizes["document"].tolist()
        text_bytes: list[int] = sizes["text_bytes"].tolist()
        trimmed = self._trim_all(lines, documents)
        for row, (line, document) in enumerate(zip(lines, documents, strict=True)):
            split = SPLITS[ranks[row]]
            if document in self._losers:
                self._drop_duplicate(line, self._losers[document], int(kept_chars[row]))
                kept_chars[row] = 0
            elif document in trimmed:
                kept_chars[row] = self._finish_trimmed(writer, trimmed[document])
            else:
                writer.write(split, line, text_bytes[row])
        self._account_kept(ranks, kept_chars)

    def _account_kept(self, ranks: np.ndarray, chars: np.ndarray) -> None:
        """Counts the documents that stay; no text is empty, so those of no characters went."""
        stays = chars > 0
        powers = np.frexp(chars)[1] - 1  # of two
        for rank, split in enumerate(SPLITS):
            of_split = stays & (ranks == rank)
            if of_split.any():
                self._count(split, ledger.KEPT, "", int(chars[of_split].sum()))
                self._count(split, ledger.DOCUMENTS, ledger.KEPT, int(np.count_nonzero(of_split)))
                for power, number in enumerate(np.bincount(powers[of_split]).tolist()):
                    self._count(split, ledger.LENGTHS, str(power), number)

    # --- What goes ---

    def _drop_duplicate(self, line: bytes, loser: Loser, chars: int) -> None:
        document = Document(**orjson.loads(line))
        self._count(document.split, ledger.DUPLICATES, _LEVELS[loser.reason], chars)
        self._reject(
            *(document, loser.document, loser.reason, document.text),
            *(loser.duplicate_of, loser.similarity),
        )

    def _trim_all(self, lines: list[bytes], documents: list[int]) -> dict[int, "_Trimmed"]:
        """Returns, by number, the documents with repeated lines, without these lines.

        A document that has no other long line goes: so each that stays has a long line that no
        other document has, and no two can become equal. Where cleaning would change or reject what
        is left of one, because of what stood around its lines, it is left out here, to stay whole.
        """
        trimmed = [
            _trim(number, Document(**orjson.loads(line)), self._repeats[number])
            for line, number in zip(lines, documents, strict=True)
            if number in self._repeats and number not in self._losers
        ]
        cleaned = self._cleaner.clean([each.text for each in trimmed])
        unsettled = {change.document for change in cleaned.changes}
        return {
            each.number: each
            for place, (each, reason) in enumerate(zip(trimmed, cleaned.reasons, strict=True))
            if not self._has_own_line(each) or (reason is None and place not in unsettled)
        }

    def _has_own_line(self, trimmed: "_Trimmed") -> bool:
        return trimmed.longest_line >= self._config.min_paragraph_chars

    def _finish_trimmed(self, writer: BlockWriter, trimmed: "_Trimmed") -> int:
        """Writes a document without its repeated lines; returns how many characters stay."""
        document, text = trimmed.document, trimmed.text
        repeated = self._repeats[trimmed.number]
        removed = len(document.text) - len(text)
        self._count(document.split, ledger.EDITS, REPEATED_PARAGRAPH, len(repeated))
        self._count(document.split, ledger.DUPLICATES, ledger.PARAGRAPH, removed)
        self._sample_trimming(document, trimmed.number, repeated)
        if self._has_own_line(trimmed):
            row = encode_row(document._replace(text=text))
            writer.write(document.split, row, len(text.encode()))
            return len(text)
        self._count(document.split, ledger.REJECTED, SHORT_AFTER_DEDUP, len(text))
        self._reject(document, trimmed.number, SHORT_AFTER_DEDUP, text)
        return 0

    def _sample_trimming(self, document: Document, number: int, repeated: set[int]) -> None:
        def describe() -> Row:
            spans: list[tuple[int, int, str]] = []
            start = 0
            for place, text in enumerate(document.text.split("\n")):
                if place in repeated:
                    spans.append((start, start + len(text), ""))
                start += len(text) + 1
            return _place_of(document) | describe_edit(document.text, spans)

        self._sampler.offer(EDITS, REPEATED_PARAGRAPH, number, describe)

    def _reject(
        self,
        document: Document,
        number: int,
        reason: str,
        text: str,
        duplicate_of: str | None = None,
        similarity: float | None = None,
    ) -> None:
        self._count(document.split, ledger.DOCUMENTS, reason, 1)
        is_copy = duplicate_of is not None and similarity is None
        rejected = Rejected(
            *(*document[:4], DEDUP_STAGE, reason),
            text="" if is_copy else text,  # it stands in the document that stays
            duplicate_of=duplicate_of or "",
            similarity=1.0 if is_copy else similarity or 0.0,
        )
        self._rejected.write(rejected)

        def describe() -> Row:
            row = _place_of(document) | describe_text(text)
            return row | {"duplicate_of": duplicate_of, "similarity": similarity}

        self._sampler.offer(REJECTED, reason, number, describe)

    def _count(self, split: str, account: str, item: str, number: int) -> None:
        self._ledger[self._unit.corpus, split, account, item] += number


class _Trimmed(NamedTuple):
    """A document without its repeated lines.

    Attributes:
      number: of the document.
      document: as it was.
      text: what is left.
      longest_line: characters of the longest line that is left.
    """

    number: int
    document: Document
    text: str
    longest_line: int


def _trim(number: int, document: Document, repeated: set[int]) -> _Trimmed:
    lines = document.text.split("\n")
    kept = [line for place, line in enumerate(lines) if place not in repeated]
    return _Trimmed(number, document, "\n".join(kept), max(map(len, kept), default=0))


def _place_of(document: Document) -> Row:
    return {"doc_id": document.doc_id, "corpus": document.corpus, "split": document.split}


def _index_losers(packed: Iterable[bytes]) -> dict[int, Loser]:
    """Returns losers by number; a copy is known as such, whatever else it is."""
    losers = [loser for each in packed for loser in dedup.unpack_losers(each)]
    losers.sort(key=lambda loser: loser.similarity is None)
    return {loser.document: loser for loser in losers}


def _index_repeats(packed: Iterable[bytes]) -> dict[int, set[int]]:
    repeats: dict[int, set[int]] = {}
    records = np.frombuffer(b"".join(packed), dedup.REPEAT)
    for document, line in records.tolist():
        repeats.setdefault(document, set()).add(line)
    return repeats


def read_samples(units: int, layout: Layout) -> Iterator[Sample]:
    """Yields the samples that cleaning and finishing all units kept.

    Args:
      units: how many there are.
      layout: where their samples lie.

    Raises:
      RunError: a file of samples is damaged.
    """

    def read(path: str) -> list[Sample]:
        try:
            return samples_from_bytes(files.read_bytes(path))
        except ValueError as error:
            raise damaged(path, error) from error

    paths = [
        path_of(number, units)
        for number in range(units)
        for path_of in (layout.cleaned_samples, layout.finished_samples)
    ]
    return chain.from_iterable(files.read_each(read, paths, layout.root))


def finish_stage(config: DocumentsConfig, layout: Layout) -> Stage:
    """Goings -> Finished."""
    return Stage("finish", finish_unit, (config, layout), Finished, _name_of, _size_of, layout)


def _name_of(goings: Goings) -> str:
    return f"{goings.unit.number:05d}"


def _size_of(goings: Goings) -> int:
    return bytes_of(goings.unit)
