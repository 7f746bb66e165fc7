"""documents/*.jsonl.zst -> token counts of their training documents."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
import zstandard
from tqdm import tqdm

from vocab.counting import TokenCounts, count_tokens

_BATCH_CHARS = 1 << 18


def count_document_files(paths: Iterable[Path]) -> TokenCounts:
    """Counts the basic tokens of the training documents of zstd JSON-lines files.

    Raises:
      ValueError: a line has no `text` or `split`; names file and line.
    """
    counts = TokenCounts.empty()
    for path in tqdm(list(paths), desc="count", unit="file"):
        batch: list[str] = []
        chars = 0
        for text in _read_training_texts(path):
            batch.append(text)
            chars += len(text)
            if chars >= _BATCH_CHARS:
                counts.add(*count_tokens("\n".join(batch)))
                batch, chars = [], 0
        counts.add(*count_tokens("\n".join(batch)))
    return counts


def _read_training_texts(path: Path) -> Iterator[str]:
    with zstandard.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                document = orjson.loads(line)
                if document["split"] == "train":
                    yield document["text"]
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: no document of this pipeline ({error}); "
                    "make documents/ again"
                ) from error
