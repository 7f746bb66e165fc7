"""What a model reached on held-out sequences: sums, averages, a table, JSON.

Loss and accuracy are averages over sequences of averages over a sequence's masked tokens, as in
training. Whole words are counted one by one: a word is a masked mask unit, of at most 8 tokens,
and right when the model's first choice is right at every token of it. A sequence without a masked
token counts for nothing.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.batch import Batch

ALL: Final = "all"
"""What the sum over all corpora is called."""

_HEADER: Final = (
    *("length", "corpus", "sequences", "tokens", "words"),
    *("loss", "accuracy", "whole words"),
)


@dataclasses.dataclass(frozen=True)
class Score:
    """Sums over some sequences; adds up.

    Attributes:
      sequences: with a masked token.
      tokens: that are masked.
      words: that are masked.
      loss_sum: over the sequences, of mean losses in nats.
      accuracy_sum: over the sequences, of shares of right tokens.
      right_words: of `words`.
    """

    sequences: int = 0
    tokens: int = 0
    words: int = 0
    loss_sum: float = 0.0
    accuracy_sum: float = 0.0
    right_words: int = 0

    def __add__(self, other: "Score") -> "Score":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Score(*map(sum, pairs))

    @property
    def loss(self) -> float | None:
        """In nats; None of no sequence."""
        return _divide(self.loss_sum, self.sequences)

    @property
    def accuracy(self) -> float | None:
        """A fraction of 1; None of no sequence."""
        return _divide(self.accuracy_sum, self.sequences)

    @property
    def word_accuracy(self) -> float | None:
        """A fraction of 1; None of no word."""
        return _divide(self.right_words, self.words)

    def to_json(self) -> dict[str, Any]:
        """Returns counts and averages."""
        return {
            "sequences": self.sequences,
            "masked_tokens": self.tokens,
            "masked_words": self.words,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "word_accuracy": self.word_accuracy,
        }


class Evaluation(NamedTuple):
    """What a model reached.

    Attributes:
      split: of the sequences.
      scores: by their length and corpus.
    """

    split: str
    scores: Mapping[int, Mapping[str, Score]]

    def to_json(self) -> str:
        """Returns a JSON object; "all" is the sum over the corpora, an average over none null."""
        lengths = {
            str(length): {
                ALL: sum(scores.values(), Score()).to_json(),
                "corpora": {corpus: score.to_json() for corpus, score in scores.items()},
            }
            for length, scores in self.scores.items()
        }
        fields = {"split": self.split, "lengths": lengths}
        return json.dumps(fields, indent=2, allow_nan=False) + "\n"

    def to_table(self) -> str:
        """Returns lines in columns, one for each length and corpus, and for all corpora."""
        rows = [_HEADER]
        for length, scores in self.scores.items():
            total = {ALL: sum(scores.values(), Score())}
            rows += [_format_row(length, *item) for item in {**scores, **total}.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines: list[str] = []
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            cells[1] = row[1].ljust(widths[1])
            lines.append("  ".join(cells))
        return "\n".join(lines)


def score_batch(
    batch: Batch,
    losses: npt.NDArray[np.float32],
    accuracies: npt.NDArray[np.float32],
    is_right: npt.NDArray[np.bool_],
    units: npt.NDArray[np.integer],
) -> Score:
    """Adds up what a model reached on a batch.

    Args:
      batch: B sequences.
      losses: of each sequence, shape [B].
      accuracies: likewise.
      is_right: whether the first choice at each of `batch.positions` is right, shape [B, P].
      units: number of the mask unit that each token of a sequence is in, shape [B', L]; sequences
        behind the first B' are padding.
    """
    count, length = units.shape
    is_masked = np.asarray(batch.weights)[:count] > 0
    of_tokens = np.take_along_axis(units, np.asarray(batch.positions)[:count], axis=1)
    of_tokens = of_tokens + (length + 1) * np.arange(count)[:, np.newaxis]
    words, places = np.unique(of_tokens[is_masked], return_inverse=True)
    wrong = np.bincount(places, weights=~is_right[:count][is_masked], minlength=len(words))
    is_scored = is_masked.any(axis=1)
    return Score(
        sequences=int(is_scored.sum()),
        tokens=int(is_masked.sum()),
        words=len(words),
        loss_sum=math.fsum(losses[:count][is_scored].tolist()),
        accuracy_sum=math.fsum(accuracies[:count][is_scored].tolist()),
        right_words=int(np.count_nonzero(wrong == 0)),
    )


def _divide(total: float, count: int) -> float | None:
    return total / count if count else None


def _format_row(length: int, corpus: str, score: Score) -> tuple[str, ...]:
    counts = (score.sequences, score.tokens, score.words)
    averages = (score.loss, score.accuracy, score.word_accuracy)
    return (
        *(str(length), corpus),
        *(f"{count:,}" for count in counts),
        *("-" if average is None else f"{average:.4f}" for average in averages),
    )
