"""documents/manifest.json: what documents/ holds. Written last, so its presence means complete."""

import hashlib
import json
from collections import Counter
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pipeline import files
from pipeline.errors import RunError
from pipeline.records import Block, OutcomeCounts, Skipped

FORMAT_VERSION: Final = 2


class Manifest(NamedTuple):
    """What documents/ holds.

    Attributes:
      config: the configuration that shaped it.
      parts: number of documents files, and of files of rejections.
      outcomes: documents by corpus, split and outcome.
      blocks: where the documents lie, ordered by part and offset.
      skipped: broken stretches of input that were left out.
    """

    config: dict[str, Any]
    parts: int
    outcomes: OutcomeCounts
    blocks: list[Block]
    skipped: list[Skipped]

    def to_json(self) -> bytes:
        """Returns the bytes of manifest.json."""
        outcomes: dict[str, dict[str, dict[str, int]]] = {}
        for (corpus, split, outcome), count in sorted(self.outcomes.items()):
            outcomes.setdefault(corpus, {}).setdefault(split, {})[outcome] = count
        head = {
            "format_version": FORMAT_VERSION,
            "config": self.config,
            "parts": self.parts,
            "outcomes": outcomes,
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
        fields = json.loads(data)
        if not isinstance(fields, dict):
            raise ValueError("no JSON object")
    except ValueError as error:
        raise RunError(
            f"{name}: is damaged ({error}); make the documents again with --overwrite"
        ) from error
    if fields.get("format_version") != FORMAT_VERSION:
        raise RunError(
            f"{name}: format {fields.get('format_version')}, this program reads {FORMAT_VERSION}; "
            "make the documents again with --overwrite"
        )
    try:
        return _read_fields(fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{name}: is damaged ({error!r}); make the documents again with --overwrite"
        ) from error


def _read_fields(fields: dict[str, Any]) -> Manifest:
    outcomes: OutcomeCounts = Counter()
    for corpus, splits in fields["outcomes"].items():
        for split, counts in splits.items():
            for outcome, count in counts.items():
                outcomes[corpus, split, outcome] = count
    blocks = [Block(*row) for row in fields["blocks"]]
    skipped = [Skipped(**row) for row in fields["skipped"]]
    return Manifest(fields["config"], fields["parts"], outcomes, blocks, skipped)


@lru_cache(maxsize=1)
def load_manifest(path: str, sha256: str) -> Manifest:
    """Reads a manifest once a process.

    Raises:
      RunError: the file is not the one with this digest.
    """
    data = files.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(f"{path}: has changed since the run began; start again")
    return parse_manifest(data, path)
