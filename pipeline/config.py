"""What shapes the outputs: frozen, checked on construction, digested."""

import dataclasses
import hashlib
import json
from typing import Any, Final

MIN_CHARS: Final = {
    "wiki2019zh": 30,
    "news2016zh": 20,
    "baike2018qa": 12,
    "webtext2019zh": 8,
    "translation2019zh": 5,
    "plain": 8,
}
"""Shortest text kept, in characters without white space.

Half a sentence for the corpora of whole articles, a whole question with its answer for the
question sets, a clause for single translated sentences.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentsConfig:
    """What shapes documents/.

    Attributes:
      unit_bytes: decompressed bytes of input that one unit reads.
      block_text_bytes: UTF-8 bytes of text of one block of documents.
      held_out_fraction: share held out of a corpus that ships no held-out file.
      min_chars: shortest text kept, by corpus, in characters without white space.
      min_chinese_fraction: least share of Chinese characters among those without white space.
      dedup: "exact", or "none" to keep duplicates.
    """

    unit_bytes: int = 16 << 20
    block_text_bytes: int = 256 << 10
    held_out_fraction: float = 0.01
    min_chars: dict[str, int] = dataclasses.field(default_factory=lambda: dict(MIN_CHARS))
    min_chinese_fraction: float = 0.2
    dedup: str = "exact"

    def __post_init__(self) -> None:
        _require(self.unit_bytes >= 1, "unit_bytes", self.unit_bytes, "at least 1")
        _require(self.block_text_bytes >= 1, "block_text_bytes", self.block_text_bytes, "positive")
        _require_fraction("held_out_fraction", self.held_out_fraction)
        _require_fraction("min_chinese_fraction", self.min_chinese_fraction)
        _require(set(self.min_chars) == set(MIN_CHARS), "min_chars", self.min_chars, "per corpus")
        _require(min(self.min_chars.values()) >= 1, "min_chars", self.min_chars, "at least 1")
        _require(self.dedup in ("exact", "none"), "dedup", self.dedup, "exact or none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstancesConfig:
    """What shapes tfrecords/, beside the documents and the vocabulary.

    Attributes:
      seed: seeds the order of blocks and instances and the masks.
      shard_text_bytes: UTF-8 bytes of text of one shard, about.
      segmenter: "rjieba" or "jieba".
      masked_lm_prob: share of the countable tokens of a sequence that is masked.
      dupe_factor: number of static maskings of the training sequences.
    """

    seed: int = 0
    shard_text_bytes: int = 32 << 20
    segmenter: str = "rjieba"
    masked_lm_prob: float = 0.15
    dupe_factor: int = 1

    def __post_init__(self) -> None:
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        _require(self.shard_text_bytes >= 1, "shard_text_bytes", self.shard_text_bytes, "positive")
        _require(self.segmenter in ("rjieba", "jieba"), "segmenter", self.segmenter, "known")
        _require_fraction("masked_lm_prob", self.masked_lm_prob)
        _require(self.dupe_factor >= 1, "dupe_factor", self.dupe_factor, "at least 1")


def describe(*configs: DocumentsConfig | InstancesConfig) -> dict[str, Any]:
    """Returns the fields of several configurations as one JSON object."""
    merged: dict[str, Any] = {}
    for config in configs:
        merged |= dataclasses.asdict(config)
    return merged


def digest(fields: dict[str, Any]) -> str:
    """Returns 32 hex digits that name a configuration."""
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _require(holds: bool, field: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{field} must be {wanted}, got {value!r}")


def _require_fraction(field: str, value: float) -> None:
    _require(0 <= value <= 1, field, value, "a fraction from 0 to 1")
