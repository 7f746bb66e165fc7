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
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            document = orjson.loads(line)
            split, text = document["split"], document["text"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise _unusable(f"{path}, line {number}", str(error)) from error
        if not isinstance(text, str):
            raise _unusable(f"{path}, line {number}", f"text is {text!r}")
        if split == "train":
            yield text


def _read_lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for frame in _read_frames(path):
        *lines, rest = (rest + frame).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _read_frames(path: Path) -> Iterator[bytes]:
    """Yields the decompressed frames of a file, one by one, so that a cut-off one is noticed."""
    data = path.read_bytes()
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            decompressed = frame.decompress(data)
        except zstandard.ZstdError as error:
            raise _unusable(str(path), str(error)) from error
        if not frame.eof:
            raise _unusable(str(path), "cut off")
        yield decompressed
        data = frame.unused_data


def _unusable(place: str, why: str) -> ValueError:
    return ValueError(f"{place}: no document of this pipeline ({why}); make documents/ again")
