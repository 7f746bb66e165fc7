"""train.csv: loss and accuracy of training and held-out data; the same bytes in every rerun."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trainer.files import read_file, write_file

TRAIN: Final = "train"


class LogLine(NamedTuple):
    """One line of train.csv.

    Attributes:
      stage: number of the stage, from 1.
      max_seq_length: of this stage.
      step: optimizer steps done in this stage.
      data: "train", or the corpus of the held-out data.
      mlm_loss: mean over sequences of the mean over their masked tokens, in nats; of training
        data over the steps since the last line.
      mlm_acc: share of masked tokens that are guessed, averaged likewise.
      learning_rate: of the last step.
    """

    stage: int
    max_seq_length: int
    step: int
    data: str
    mlm_loss: float
    mlm_acc: float
    learning_rate: float


class TrainLog:
    """train.csv of one run; as it stays small, it is always written whole, beside and renamed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.lines: list[LogLine] = []

    def read_until(self, stage: int, step: int) -> None:
        """Takes over what an earlier run logged up to this step, and forgets what came after.

        Raises:
          ValueError: the file is no train.csv.
        """
        try:
            lines = read_log(self._path)
        except FileNotFoundError:
            return
        self.lines = [line for line in lines if (line.stage, line.step) <= (stage, step)]

    def add(self, line: LogLine) -> None:
        """Adds one line; `save` writes it."""
        self.lines.append(line)

    def save(self) -> None:
        """Writes the file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(LogLine._fields)
        writer.writerows(map(_format, self.lines))
        write_file(self._path, text.getvalue().encode())


def read_log(path: str) -> list[LogLine]:
    """Reads train.csv, local or gs://.

    Raises:
      FileNotFoundError: it is missing.
      ValueError: the file is no train.csv.
    """
    content = read_file(path)
    try:
        return parse_log(content.decode(), path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no train.csv ({error})") from error


def parse_log(text: str, name: str) -> list[LogLine]:
    """Reads the text of train.csv; `name` is what error messages call it.

    Raises:
      ValueError: a line that `TrainLog` does not write.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"{name}: is no train.csv ({error})") from error
    if not rows or tuple(rows[0]) != LogLine._fields:
        raise ValueError(f"{name}: line 1 must be {','.join(LogLine._fields)}")
    lines: list[LogLine] = []
    for number, row in enumerate(rows[1:], 2):
        try:
            stage, length, step, data, loss, accuracy, rate = row
            numbers = (float(loss), float(accuracy), float(rate))
            lines.append(LogLine(int(stage), int(length), int(step), data, *numbers))
        except ValueError as error:
            raise ValueError(f"{name}: line {number} is none of train.csv: {error}") from error
    return lines


def average(values: Sequence[float]) -> float:
    """Returns the exact mean, whatever the order."""
    return math.fsum(values) / len(values)


def _format(line: LogLine) -> list[str]:
    """Seven digits tell single-precision numbers apart well enough, and read well."""
    numbers = (str(np.float32(value)) for value in line[4:])
    return [*map(str, line[:4]), *numbers]
