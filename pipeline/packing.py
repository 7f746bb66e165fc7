"""Pure packing: mask units of documents -> sequences of fixed length, nothing dropped."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from vocab.special_tokens import CLS_ID, PAD_ID, SEP_ID

MAX_UNIT_TOKENS: Final = 8
"""A word of more tokens is several mask units."""

IntArray = npt.NDArray[np.int64]
IdArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)


class TokenStream(NamedTuple):
    """The tokens of documents one after the other, one [SEP] between two documents.

    Attributes:
      ids: shape [T]; 16 bits hold the 13,686 ids of the vocabulary.
      unit_starts: True where a mask unit begins and at every [SEP], shape [T].
    """

    ids: IdArray
    unit_starts: BoolArray


class Sequences(NamedTuple):
    """Packed sequences of one length.

    Attributes:
      token_ids: `[CLS] ... [SEP]`, then [PAD], shape [N, L].
      word_starts: True where a mask unit, [CLS] or [SEP] begins, shape [N, L].
    """

    token_ids: IdArray
    word_starts: BoolArray


class Packing:
    """Where a stream is cut into sequences of length L; fills any of them on demand.

    Attributes:
      begins: where in the stream each sequence begins, shape [N].
      lengths: tokens of the stream in each sequence, shape [N].
      max_seq_length: L.
    """

    def __init__(self, stream: TokenStream, begins: IntArray, ends: IntArray, length: int) -> None:
        """Takes the cuts that `pack_stream` found."""
        self.begins = begins
        self.lengths = ends - begins
        self.max_seq_length = length
        self._stream = stream

    def __len__(self) -> int:
        return len(self.begins)

    def misplaced_tokens(self) -> IntArray:
        """Returns the places in the stream of tokens that stand in no sequence or in two.

        There are none, shape [0]: a check of the cuts, for the accounting. A [SEP] that falls on a
        cut is no token of a document.
        """
        starts = np.append(self.begins, len(self._stream.ids))
        ends = np.insert(self.begins + self.lengths, 0, 0)
        found = [
            np.arange(min(start, end), max(start, end))
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
            if start != end
        ]
        places = np.concatenate([np.empty(0, np.int64), *found])
        return places[self._stream.ids[places] != SEP_ID]

    def fill(self, rows: npt.NDArray[np.integer]) -> Sequences:
        """Returns the sequences of these numbers, shape [N], in this order."""
        begins, lengths = self.begins[rows], self.lengths[rows]
        token_ids = _take_windows(self._stream.ids, begins, lengths, self.max_seq_length)
        word_starts = _take_windows(self._stream.unit_starts, begins, lengths, self.max_seq_length)
        # Nearly all sequences are full to the last few places.
        first = int(lengths.min(initial=self.max_seq_length - 2)) + 1
        behind = np.arange(first, self.max_seq_length) > lengths[:, None]
        token_ids[:, first:][behind] = PAD_ID
        word_starts[:, first:][behind] = False
        each = np.arange(len(rows))
        token_ids[:, 0], word_starts[:, 0] = CLS_ID, True
        token_ids[each, lengths + 1], word_starts[each, lengths + 1] = SEP_ID, True
        return Sequences(token_ids, word_starts)


def _take_windows(
    values: npt.NDArray[Scalar], begins: IntArray, lengths: IntArray, width: int
) -> npt.NDArray[Scalar]:
    """Copies stretches of a stream into rows, from column 1 on, shape [N, width].

    What stands behind a stretch, and in column 0, is left to be overwritten.
    """
    firsts = begins - 1
    inside = (firsts >= 0) & (firsts + width <= len(values))
    if inside.all():
        # Each row is copied as a whole; nearly always all of them can be.
        return (
            sliding_window_view(values, width)[firsts] if len(firsts) else _rows(values, 0, width)
        )
    rows = _rows(values, len(firsts), width)
    if inside.any():
        rows[inside] = sliding_window_view(values, width)[firsts[inside]]
    for row in np.flatnonzero(~inside).tolist():
        begin, length = begins[row], lengths[row]
        rows[row, 1 : 1 + length] = values[begin : begin + length]
    return rows


def _rows(values: npt.NDArray[Scalar], count: int, width: int) -> npt.NDArray[Scalar]:
    return np.zeros((count, width), values.dtype)


def join_documents(
    ids: npt.NDArray[np.integer], word_starts: BoolArray, document_begins: IntArray
) -> TokenStream:
    """Puts one [SEP] between the tokens of two documents and cuts long words into mask units.

    Args:
      ids: tokens of all documents, shape [T].
      word_starts: True where a word begins, shape [T].
      document_begins: first token of each document, ascending, shape [D]; a document without
        tokens has the same as the next one, or T.

    Returns:
      The stream; documents without tokens leave no trace in it.
    """
    begins = np.unique(document_begins)
    begins = begins[(begins > 0) & (begins < len(ids))]
    word_starts = word_starts.copy()
    word_starts[:1] = True
    word_starts[begins] = True
    unit_starts = _cut_long_words(word_starts)
    return TokenStream(
        np.insert(ids.astype(np.uint16), begins, SEP_ID), np.insert(unit_starts, begins, True)
    )


def join_streams(streams: Iterable[TokenStream]) -> TokenStream:
    """Puts streams behind each other, one [SEP] between two; empty ones leave no trace."""
    # Grown in place: a list of all streams would need the memory twice.
    ids, unit_starts = bytearray(), bytearray()
    for stream in streams:
        if ids and len(stream.ids):
            ids += np.uint16(SEP_ID).tobytes()
            unit_starts += np.True_.tobytes()
        ids += stream.ids.tobytes()
        unit_starts += stream.unit_starts.tobytes()
    return TokenStream(np.frombuffer(ids, np.uint16), np.frombuffer(unit_starts, np.bool_))


def ends_in_joined(lengths: Sequence[int]) -> list[int]:
    """Returns where streams of these lengths end after `join_streams`, its [SEP]s included."""
    ends: list[int] = []
    total = 0
    for length in lengths:
        total += length + (1 if total and length else 0)
        ends.append(total)
    return ends


def _cut_long_words(word_starts: BoolArray) -> BoolArray:
    """Begins a new unit every MAX_UNIT_TOKENS tokens of the few words that are longer."""
    unit_starts = word_starts.copy()
    first_tokens = np.flatnonzero(word_starts)
    ends = np.append(first_tokens[1:], len(word_starts))
    for word in np.flatnonzero(ends - first_tokens > MAX_UNIT_TOKENS).tolist():
        unit_starts[first_tokens[word] : ends[word] : MAX_UNIT_TOKENS] = True
    return unit_starts


def pack_stream(stream: TokenStream, max_seq_length: int) -> Packing:
    """Cuts a stream into sequences, in order, only between mask units.

    A sequence is cut only when the next unit does not fit. A [SEP] between documents that falls
    on a cut is left out: the sequence's own [SEP] stands there.

    Args:
      stream: at most MAX_UNIT_TOKENS tokens a unit.
      max_seq_length: L, with room for [CLS], one unit and [SEP].

    Returns:
      The sequences. Every token of every document stands in exactly one of them.

    Raises:
      ValueError: L is too small.
    """
    capacity = max_seq_length - 2
    if capacity < MAX_UNIT_TOKENS:
        raise ValueError(
            f"max_seq_length must be at least {MAX_UNIT_TOKENS + 2}, got {max_seq_length}"
        )
    return Packing(stream, *_find_cuts(stream, capacity), max_seq_length)


def _find_cuts(stream: TokenStream, capacity: int) -> tuple[IntArray, IntArray]:
    """Returns where in the stream each sequence begins and ends, shape [N] each."""
    # Searched as bytes: the last unit start at or before a place is one call away.
    separators = set(np.flatnonzero(stream.ids == SEP_ID).tolist())
    find_last_start = stream.unit_starts.tobytes().rfind
    total = len(stream.ids)
    cuts: list[int] = []
    begin = 0
    while begin + capacity < total:
        cut = find_last_start(1, begin, begin + capacity + 1)
        cuts.append(cut)
        begin = cut + (cut in separators)
    if begin < total:
        cuts.append(total)
    ends = np.array(cuts, np.int64)
    begins = ends[:-1] + (stream.ids[ends[:-1]] == SEP_ID)
    return (
        np.append(np.zeros(len(ends[:1]), np.int64), begins),
        ends - (stream.ids[ends - 1] == SEP_ID),
    )
