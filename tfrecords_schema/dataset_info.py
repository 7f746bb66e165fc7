"""dataset_info.json: what the shards are. Written last, so its presence means complete."""

import dataclasses
import json
from typing import Any, Final

from tfrecords_schema.features import SCHEMA_VERSION

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
    def from_json(cls, text: str, name: str = FILE_NAME) -> "DatasetInfo":
        """Reads what `to_json` wrote.

        Raises:
          ValueError: not JSON, a field is missing or unknown, or another schema version.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name}: not JSON: {error}") from error
        expected = {field.name for field in dataclasses.fields(cls)}
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if version is not None and version != SCHEMA_VERSION:
            raise ValueError(
                f"{name}: schema version {version}, this program reads {SCHEMA_VERSION}; "
                "make the records again"
            )
        if not isinstance(fields, dict) or set(fields) != expected:  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError(f"{name}: fields must be exactly {', '.join(sorted(expected))}")
        caps = fields["max_predictions_per_seq"]
        fields["max_predictions_per_seq"] = {int(length): cap for length, cap in caps.items()}
        return cls(**fields)
