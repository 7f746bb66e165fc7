"""What one sees of a run: a bar on a terminal or in a notebook, lines in a log, and TensorBoard."""

import sys
import time
from typing import Any, TextIO

import tensorflow as tf
from tqdm import tqdm

from trainer.train_log import TRAIN, LogLine


class Progress:
    """Shows how one stage goes.

    Args:
      name: what the bar is called.
      steps: optimizer steps of the stage.
      done: of these, done before.
      global_batch_size: examples of one step.
      earlier_steps: steps of the stages before; TensorBoard counts on.
      tensorboard: folder of its event files.
      quiet: whether nothing is printed.
    """

    def __init__(
        self,
        name: str,
        *,
        steps: int,
        done: int,
        global_batch_size: int,
        earlier_steps: int,
        tensorboard: str,
        quiet: bool,
    ) -> None:
        self._global_batch_size = global_batch_size
        self._earlier_steps = earlier_steps
        self._prints_lines = not quiet and not _can_redraw(sys.stderr)
        self._bar: tqdm[Any] = tqdm(
            total=steps,
            initial=done,
            desc=name,
            unit="step",
            disable=quiet or self._prints_lines,
            file=sys.stderr,
        )
        self._name, self._steps, self._first = name, steps, done
        self._began = time.monotonic()
        self._writer = tf.summary.create_file_writer(tensorboard)

    def advance(self, steps: int, loss: float, accuracy: float) -> None:
        """Counts steps; loss and accuracy are those of the last one."""
        rate = f"{self._examples_per_second(self._bar.n + steps):,.0f} examples/s"
        self._bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.4f}, {rate}", False)
        self._bar.update(steps)

    def show(self, line: LogLine) -> None:
        """Shows a new line of train.csv."""
        with self._writer.as_default(step=self._earlier_steps + line.step):
            tf.summary.scalar(f"mlm_loss/{line.data}", line.mlm_loss)
            tf.summary.scalar(f"mlm_acc/{line.data}", line.mlm_acc)
            if line.data == TRAIN:
                tf.summary.scalar("learning_rate", line.learning_rate)
        figures = f"{line.data}: loss {line.mlm_loss:.4f}, accuracy {line.mlm_acc:.4f}"
        if line.data != TRAIN:
            self._say(f"{self._name} step {line.step:,}  held out, {figures}")
            return
        speed = self._examples_per_second(line.step)
        seconds_left = (self._steps - line.step) * self._global_batch_size / max(speed, 1e-9)
        left = tqdm.format_interval(seconds_left)
        self._say(
            f"{self._name} step {line.step:,}/{self._steps:,}  {figures}, "
            f"{speed:,.1f} examples/s, {left} left",
            only_in_a_log=True,
        )

    def close(self) -> None:
        """Ends the bar and the event file."""
        self._bar.close()
        self._writer.close()

    def _say(self, text: str, only_in_a_log: bool = False) -> None:
        if self._prints_lines:
            print(text, file=sys.stderr, flush=True)
        elif not self._bar.disable and not only_in_a_log:
            self._bar.write(text, file=sys.stderr)

    def _examples_per_second(self, step: int) -> float:
        seconds = max(time.monotonic() - self._began, 1e-9)
        return (step - self._first) * self._global_batch_size / seconds


def _can_redraw(stream: TextIO) -> bool:
    """Tells whether a line can be written over: on terminals and in notebooks."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel.")
