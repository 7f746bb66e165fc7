"""documents/manifest.json: what documents/ holds. Written last, so its presence means complete."""

import json
from collections import Counter
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline import files, ledger
from pipeline.errors import RunError
from pipeline.ledger import Ledger
from pipeline.records import Block, Skipped, check_types
from tfrecords_schema.json_object import parse_object

OutcomeCounts = Counter[tuple[str, str, str]]
"""(corpus, split, outcome) -> documents; outcome is read, kept or a reason of rejection."""

FORMAT_VERSION: Final = 3


class Manifest(NamedTuple):
    """What documents/ holds.

    Attributes:
      config: the configuration that shaped it.
      parts: number of documents files, and of files of rejections.
      ledger: what became of every character and document, until documents/ was made.
      blocks: where the documents lie, ordered by part and offset.
      skipped: broken stretches of input that were left out.
    """

    config: dict[str, Any]
    parts: int
    ledger: Ledger
    blocks: list[Block]
    skipped: list[Skipped]

    @property
    def outcomes(self) -> OutcomeCounts:
        """Documents by corpus, split and outcome."""
        return Counter(
            {
                (corpus, split, outcome): number
                for (corpus, split, account, outcome), number in self.ledger.items()
                if account == ledger.DOCUMENTS
            }
        )

    def to_json(self) -> bytes:
        """Returns the bytes of manifest.json."""
        head = {
            "format_version": FORMAT_VERSION,
            "config": self.config,
            "parts": self.parts,
            "ledger": ledger.to_rows(self.ledger),
            "skipped": [skipped._asdict() for skipped in self.skipped],
            "block_fields": Block._fields,
        }
        # One line a block: the file is read by people too.
        rows = ",\n".join(json.dumps(block) for block in sorted(self.blocks))
        text = json.dumps(head, ensure_ascii=False, indent=1)
        return f'{text[:-2]},\n "blocks": [\n{rows}\n]}}\n'.encode()


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Reads what `Manifest.to_json` wrote.

    Raises:
      RunError: another format; says what to do.
    """
    try:
        fields = parse_object(data)
    except ValueError as error:
        raise RunError(
            f"{name}: is damaged ({error}); make the documents again with --overwrite"
        ) from error
    version = fields.get("format_version")
    if version != FORMAT_VERSION:
        raise RunError(
            f"{name}: format {version!r}, this program reads {FORMAT_VERSION}; "
            "make the documents again with --overwrite"
        )
    try:
        return _read_fields(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{name}: is damaged ({error!r}); make the documents again with --overwrite"
        ) from error


def _read_fields(fields: dict[str, Any]) -> Manifest:
    blocks = [check_types(Block(*row)) for row in fields["blocks"]]
    skipped = [check_types(Skipped(**row)) for row in fields["skipped"]]
    if any(min(block[:3]) < 0 for block in blocks):
        raise ValueError("a block lies before its file")
    entries = ledger.from_rows(fields["ledger"])
    return check_types(Manifest(fields["config"], fields["parts"], entries, blocks, skipped))


def read_manifest(path: str) -> Manifest:
    """Reads a manifest.

    Raises:
      OSError: it is not there.
      RunError: it is damaged or of another format.
    """
    return parse_manifest(files.read_bytes(path), path)


@lru_cache(maxsize=1)
def load_manifest(path: str, sha256: str) -> Manifest:
    """Reads a manifest once a process.

    Raises:
      RunError: the file is not the one with this digest.
    """
    return parse_manifest(files.read_unchanged(path, sha256), path)
