"""Counted words -> files sorted into partitions -> the most frequent words of all.

Words are the only counts that grow with the corpus. Each share of it leaves a file; a range of
partitions of all files is added up at a time, and all but its most frequent words are forgotten.
As no word is in two partitions, that gives the very words that counting all at once would.
"""

import heapq
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import BinaryIO, Final

import numpy as np
import zstandard

MAX_WORD_CHARS: Final = 20
"""Longer runs are addresses, codes: no piece is learned from them."""

MAX_WORDS: Final = 30_000
"""The most frequent ones, from which pieces are learned."""

PARTITIONS: Final = 256
"""Parts that words are sorted into, by their CRC; a range is a run of them."""

_PLACE: Final = np.dtype("<i8")


def most_frequent(words: Mapping[str, int]) -> dict[str, int]:
    """Returns the MAX_WORDS most frequent words, in this order; ties broken by code point."""
    return dict(heapq.nsmallest(MAX_WORDS, words.items(), key=lambda item: (-item[1], item[0])))


def pack_words(words: Mapping[str, int]) -> bytes:
    """Returns what a file of words holds: where its partitions begin, and a zstd frame for each."""
    partitions: list[list[str]] = [[] for _ in range(PARTITIONS)]
    for word in sorted(words):
        partitions[zlib.crc32(word.encode()) % PARTITIONS].append(f"{word} {words[word]}\n")
    compressor = zstandard.ZstdCompressor()
    frames = [compressor.compress("".join(lines).encode()) for lines in partitions]
    ends = np.cumsum([0, *map(len, frames)], dtype=_PLACE)
    return ends.tobytes() + b"".join(frames)


def read_words(file: BinaryIO, first: int, end: int) -> Counter[str]:
    """Reads the partitions from `first` to before `end` of an open file of words."""
    header_bytes = (PARTITIONS + 1) * _PLACE.itemsize
    begins = np.frombuffer(file.read(header_bytes), _PLACE)
    file.seek(header_bytes + int(begins[first]))
    data = memoryview(file.read(int(begins[end] - begins[first])))
    words: Counter[str] = Counter()
    decompressor = zstandard.ZstdDecompressor()
    for number in range(first, end):
        start, stop = (int(begins[place] - begins[first]) for place in (number, number + 1))
        for line in decompressor.decompress(data[start:stop]).decode().splitlines():
            word, count = line.split(" ")
            words[word] += int(count)
    return words


def add_up_range(files: Iterable[BinaryIO], number: int, total: int) -> dict[str, int]:
    """Adds up one of `total` ranges of partitions; returns its most frequent words."""
    first, end = (PARTITIONS * place // total for place in (number, number + 1))
    words: Counter[str] = Counter()
    for file in files:
        words.update(read_words(file, first, end))
    return most_frequent(words)
