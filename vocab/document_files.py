"""documents/*.jsonl.zst -> their documents, and counts of the training ones."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson
import zstandard
from tqdm import tqdm

from vocab import words
from vocab.counting import TokenCounts, count_tokens

TRAIN: Final = "train"
BATCH_CHARS: Final = 1 << 18
"""Of documents that are looked at together."""

_MANY_WORDS = 500_000  # about 60 MB; then they go to a file


class Document(NamedTuple):
    """What a vocabulary needs to know of a document."""

    corpus: str
    split: str
    text: str


def count_document_files(paths: Iterable[Path], cased: bool = False) -> TokenCounts:
    """Counts the training documents of zstd JSON-lines files, as `count_tokens` does.

    Memory does not grow with them: words go to temporary files, of which one range after the
    other is added up.

    Returns:
      Counts of all characters, and of the words that pieces are learned from.

    Raises:
      ValueError: a line has no `text`, `split` or `corpus`; names file and line.
    """
    counts = TokenCounts.empty()
    with tempfile.TemporaryDirectory() as folder:
        spilled: list[Path] = []
        for path in tqdm(list(paths), desc="count", unit="file"):
            training = (row.text for row in read_documents(path) if row.split == TRAIN)
            for texts in batch_texts(training):
                counts.add(*count_tokens(texts, cased))
                if len(counts.words) >= _MANY_WORDS:
                    spilled.append(_spill(counts, Path(folder, str(len(spilled)))))
        spilled.append(_spill(counts, Path(folder, str(len(spilled)))))
        # With as many ranges as files, a range of all has no more words than a file.
        total = min(len(spilled), words.PARTITIONS)
        for number in range(total):
            found = words.add_up_range(_open_all(spilled), number, total)
            counts = counts._replace(words=Counter(words.most_frequent({**counts.words, **found})))
    return counts


def batch_texts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yields texts in lists of about BATCH_CHARS characters."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def read_documents(path: Path) -> Iterator[Document]:
    """Yields the documents of a file.

    Raises:
      ValueError: as `count_document_files`.
    """
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            row: Any = orjson.loads(line)
            document = Document(row["corpus"], row["split"], row["text"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise _unusable(f"{path}, line {number}", str(error)) from error
        for name, value in document._asdict().items():
            if not isinstance(value, str):
                raise _unusable(f"{path}, line {number}", f"{name} is {value!r}")
        yield document


def _spill(counts: TokenCounts, path: Path) -> Path:
    path.write_bytes(words.pack_words(counts.words))
    counts.words.clear()
    return path


def _open_all(paths: Sequence[Path]) -> Iterator[BinaryIO]:
    for path in paths:
        with path.open("rb") as file:
            yield file


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
