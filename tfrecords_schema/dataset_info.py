"""dataset_info.json: what the shards are. Written last, so its presence means complete."""

import dataclasses
import json
import operator
from collections.abc import Mapping
from typing import Any, Final, get_origin

from tfrecords_schema.features import SCHEMA_VERSION
from tfrecords_schema.json_object import parse_object

FILE_NAME: Final = "dataset_info.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Describes one set of TFRecord shards; holds no path, time, version or worker count.

    docs/outputs.md lists every key of the file.

    Attributes:
      max_predictions_per_seq: P, the most masked tokens of one sequence, by max_seq_length.
      dupe_factor: number of static maskings of the training sequences.
      records: number of records, by file name relative to dataset_info.json.
      vocab_size: number of lines of vocab.txt.
      vocab_sha256: SHA-256 of the bytes of vocab.txt, in hexadecimal.
      tokenizer: the recipe that turns text into these ids.
      config: everything that shaped the records.
      config_digest: names `config`, in hexadecimal.
      statistics: counts of sequences and tokens, by set of shards (train, eval-<corpus>,
        test-<corpus>) and max_seq_length.
      schema_version: version of the features.
    """

    max_predictions_per_seq: dict[int, int]
    dupe_factor: int
    records: dict[str, int]
    vocab_size: int
    vocab_sha256: str
    tokenizer: dict[str, Any]
    config: dict[str, Any]
    config_digest: str
    statistics: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Returns the text of dataset_info.json."""
        return (
            json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2, sort_keys=True)
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str | bytes, name: str = FILE_NAME) -> "DatasetInfo":
        """Reads what `to_json` wrote.

        Raises:
          ValueError: not JSON, a field is missing, unknown or of another type, or another schema
            version.
        """
        try:
            fields = parse_object(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        expected: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(cls)}
        version = fields.get("schema_version")
        if version is not None and version != SCHEMA_VERSION:
            raise ValueError(
                f"{name}: schema version {version!r}, this program reads {SCHEMA_VERSION}; "
                "make the records again"
            )
        if set(fields) != set(expected):
            raise ValueError(f"{name}: fields must be exactly {', '.join(sorted(expected))}")
        for field, kind in expected.items():
            if not isinstance(fields[field], get_origin(kind) or kind):
                raise ValueError(f"{name}: {field} cannot be {fields[field]!r}")
        return cls(**(fields | _read_counts(fields, name)))


def _read_counts(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the fields that are counts by lengths and by file names."""
    try:
        caps = {
            int(length): operator.index(cap)
            for length, cap in fields["max_predictions_per_seq"].items()
        }
        records = {file: operator.index(count) for file, count in fields["records"].items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: a count or length is none: {error}") from error
    return {"max_predictions_per_seq": caps, "records": records}
