"""Pure packing: mask units of documents -> sequences of fixed length, nothing dropped.

What is done for every token is compiled.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vocab.compiled import load_compiled
from vocab.special_tokens import CLS_ID, PAD_ID, SEP_ID

MAX_UNIT_TOKENS: Final = 8
"""A word of more tokens is several mask units."""

IntArray = npt.NDArray[np.int64]
IdArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]


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
        """Returns the sequences of these numbers, shape [N], in this order.

        Raises:
          IndexError: there is no sequence of a number.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"there are {len(self)} sequences; asked for {rows.min()}, {rows.max()}"
            )
        shape = len(rows), self.max_seq_length
        token_ids, word_starts = np.empty(shape, np.uint16), np.empty(shape, np.bool_)
        _library.fill_rows(
            *(self._stream.ids, self._stream.unit_starts, self.begins, self.lengths),
            *(rows.astype(np.int64), *shape, CLS_ID, SEP_ID, PAD_ID, token_ids, word_starts),
        )
        return Sequences(token_ids, word_starts)


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
    most = len(ids) + len(document_begins)
    stream, unit_starts = np.empty(most, np.uint16), np.empty(most, np.bool_)
    length = _library.join_documents(
        *(ids.astype(np.int32, copy=False), word_starts, len(ids)),
        *(document_begins, len(document_begins)),
        *(SEP_ID, MAX_UNIT_TOKENS, stream, unit_starts),
    )
    return TokenStream(stream[:length], unit_starts[:length])


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
      ValueError: L is too small, or a unit too long.
    """
    capacity = max_seq_length - 2
    if capacity < MAX_UNIT_TOKENS:
        raise ValueError(
            f"max_seq_length must be at least {MAX_UNIT_TOKENS + 2}, got {max_seq_length}"
        )
    # Each but the last takes a unit more than fits into its capacity.
    most = len(stream.ids) // (capacity - MAX_UNIT_TOKENS + 1) + 1
    begins, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    count = _library.find_cuts(
        *(stream.ids, stream.unit_starts, len(stream.ids), capacity, SEP_ID, most, begins, ends)
    )
    if count < 0:
        raise ValueError(f"a mask unit of the stream has more than {MAX_UNIT_TOKENS} tokens")
    return Packing(stream, begins[:count], ends[:count], max_seq_length)


_library: Final = load_compiled(
    __file__,
    join_documents="int32* bool* int64 int64* int64 uint16 int64 uint16* bool* -> int64",
    find_cuts="uint16* bool* int64 int64 uint16 int64 int64* int64* -> int64",
    fill_rows="uint16* bool* int64* int64* int64* int64 int64 uint16 uint16 uint16 uint16* bool*",
)
