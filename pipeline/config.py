"""What shapes the outputs: frozen, checked on construction, digested."""

import dataclasses
import hashlib
import json
from typing import Any, Final

from pipeline.corpora import CORPORA

MIN_CHARS: Final = {corpus.name: corpus.min_chars for corpus in CORPORA.values()}
"""Shortest text kept, in characters without white space."""

DEDUP_LEVELS: Final = ("near", "exact", "none")
SCRIPTS: Final = ("keep", "simplified")
SEGMENTERS: Final = ("rjieba", "jieba")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentsConfig:
    """What shapes documents/.

    Attributes:
      unit_bytes: decompressed bytes of input that one unit reads.
      block_text_bytes: UTF-8 bytes of text of one block of documents.
      held_out_fraction: share held out of a corpus that ships no held-out file.
      min_chars: shortest text kept, by corpus, in characters without white space.
      min_chinese_fraction: least share of Chinese characters among those without white space.
      max_digit_sign_fraction: most digits and signs, likewise.
      max_repeated_ngram_fraction: most 8-grams of characters that are equal to an earlier one.
      max_repeated_line_fraction: most characters in lines that the document holds repeatedly.
      max_mojibake_fraction: most characters that tell of a wrong encoding.
      rules_off: names of cleaning rules to leave out.
      mask_personal_data: whether e-mail addresses, mobile and identity numbers are replaced.
      script: "keep", or "simplified" to convert traditional characters.
      blocklist: a document that holds one of these words is rejected.
      dedup: "near", "exact" for equal documents alone, or "none" to keep duplicates.
      min_paragraph_chars: shortest paragraph that is dropped where it is repeated.
    """

    unit_bytes: int = 16 << 20
    block_text_bytes: int = 256 << 10
    held_out_fraction: float = 0.01
    min_chars: dict[str, int] = dataclasses.field(default_factory=lambda: dict(MIN_CHARS))
    min_chinese_fraction: float = 0.2
    max_digit_sign_fraction: float = 0.7
    max_repeated_ngram_fraction: float = 0.65
    max_repeated_line_fraction: float = 0.5
    max_mojibake_fraction: float = 0.05
    rules_off: tuple[str, ...] = ()
    mask_personal_data: bool = False
    script: str = "keep"
    blocklist: tuple[str, ...] = ()
    dedup: str = "near"
    min_paragraph_chars: int = 50

    def __post_init__(self) -> None:
        _require(self.unit_bytes >= 1, "unit_bytes", self.unit_bytes, "at least 1")
        _require(self.block_text_bytes >= 1, "block_text_bytes", self.block_text_bytes, "positive")
        for field in dataclasses.fields(self):
            if field.name.endswith("_fraction"):
                _require_fraction(field.name, getattr(self, field.name))
        _require(set(self.min_chars) == set(MIN_CHARS), "min_chars", self.min_chars, "per corpus")
        _require(min(self.min_chars.values()) >= 1, "min_chars", self.min_chars, "at least 1")
        _require(self.script in SCRIPTS, "script", self.script, "keep or simplified")
        _require(all(self.blocklist), "blocklist", self.blocklist, "without empty words")
        _require(self.dedup in DEDUP_LEVELS, "dedup", self.dedup, "near, exact or none")
        _require(
            self.min_paragraph_chars >= 1,
            *("min_paragraph_chars", self.min_paragraph_chars, "at least 1"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstancesConfig:
    """What shapes tfrecords/, beside the documents and the vocabulary.

    Attributes:
      seed: seeds the order of blocks and instances and the masks.
      shard_text_bytes: UTF-8 bytes of text of one shard, about.
      segmenter: "rjieba" or "jieba".
      cased: whether case and accents are kept, by the tokenizer and in a vocabulary to be learned.
      masked_lm_prob: share of the countable tokens of a sequence that is masked.
      dupe_factor: number of static maskings of the training sequences.
    """

    seed: int = 0
    shard_text_bytes: int = 32 << 20
    segmenter: str = "rjieba"
    cased: bool = False
    masked_lm_prob: float = 0.15
    dupe_factor: int = 1

    def __post_init__(self) -> None:
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        _require(self.shard_text_bytes >= 1, "shard_text_bytes", self.shard_text_bytes, "positive")
        _require(self.segmenter in SEGMENTERS, "segmenter", self.segmenter, "known")
        _require_fraction("masked_lm_prob", self.masked_lm_prob)
        _require(self.dupe_factor >= 1, "dupe_factor", self.dupe_factor, "at least 1")


def describe(*configs: DocumentsConfig | InstancesConfig) -> dict[str, Any]:
    """Returns the fields of several configurations as one JSON object; of word lists, a digest."""
    merged: dict[str, Any] = {}
    for config in configs:
        merged |= dataclasses.asdict(config)
    if merged.get("blocklist"):
        words = list(merged["blocklist"])
        merged["blocklist"] = [f"{len(words)} words, {digest({'words': words})}"]
    # As JSON knows no tuples, what is read back would differ.
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in merged.items()
    }


def digest(fields: dict[str, Any]) -> str:
    """Returns 32 hex digits that name a configuration."""
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _require(holds: bool, field: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{field} must be {wanted}, got {value!r}")


def _require_fraction(field: str, value: float) -> None:
    _require(0 <= value <= 1, field, value, "a fraction from 0 to 1")
