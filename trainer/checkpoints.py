"""What a run is resumed from: whole checkpoints, written beside, then renamed, with digests.

checkpoints/1-128-00001000/    stage 1 of sequence length 128, after 1,000 optimizer steps
  checkpoint.json              step, data position, configuration, size and CRC of the others
  variables.index, .data-...   weights and optimizer slots, as tf.train.Checkpoint writes them
"""

import dataclasses
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import google_crc32c
import tensorflow as tf

from tfrecords_schema.json_object import parse_object
from trainer.files import read_file, write_in_new_folder
from trainer.new_folder import delete_folder, new_folder

FORMAT_VERSION: Final = 1
_INFO: Final = "checkpoint.json"
_VARIABLES: Final = "variables"
_NAME: Final = re.compile(r"(\d+)-(\d+)-(\d{8,})")
_CHUNK_BYTES: Final = 16 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run has come, and all it needs to go on bit for bit, beside its variables.

    Attributes:
      stage: number of the stage, from 1.
      max_seq_length: of this stage.
      step: optimizer steps done in this stage.
      data_position: training instances consumed in this stage.
      unlogged: loss and accuracy of each step since the last line of train.csv.
      held_out_loss: over all corpora, where it was looked at in this very step.
    """

    stage: int
    max_seq_length: int
    step: int
    data_position: int
    unlogged: Sequence[Sequence[float]] = ()
    held_out_loss: float | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Position":
        """Reads what `dataclasses.asdict` made of one.

        Raises:
          KeyError: a field is missing; TypeError, ValueError: one has no such value.
        """
        counts = ("stage", "max_seq_length", "step", "data_position")
        loss = fields["held_out_loss"]
        return cls(
            **{name: operator.index(fields[name]) for name in counts},
            unlogged=[[float(value) for value in values] for values in fields["unlogged"]],
            held_out_loss=None if loss is None else float(loss),
        )

    @property
    def name(self) -> str:
        """Name of the checkpoint's folder."""
        return f"{self.stage}-{self.max_seq_length}-{self.step:08d}"


BEFORE_TRAINING: Final = Position(stage=0, max_seq_length=0, step=0, data_position=0)
"""Where a run stands that begins with imported weights; this checkpoint stays all along."""


class Checkpoint(NamedTuple):
    """A whole checkpoint.

    Attributes:
      folder: where it lies.
      position: how far the run had come.
      identity: what the run was made of, by name.
    """

    folder: str
    position: Position
    identity: dict[str, Any]

    def restore(self, **parts: Any) -> None:
        """Puts the saved values into the variables of these objects.

        Args:
          **parts: what `CheckpointStore.save` was given, or some of it.

        Raises:
          ValueError: a variable has no counterpart in the checkpoint, or another shape.
        """
        try:
            status = tf.train.Checkpoint(**parts).read(_join(self.folder, _VARIABLES))
            status.assert_existing_objects_matched().expect_partial()
        except (AssertionError, ValueError) as error:
            raise ValueError(f"{self.folder}: does not fit this model: {error}") from error


class CheckpointStore:
    """The checkpoints of one run.

    Args:
      folder: where they lie; local or gs://.
      kept: how many of the newest stay; of every stage the best on held-out data stays, too.
      warn: takes what is wrong with a checkpoint that is passed over.
    """

    def __init__(self, folder: str, kept: int, warn: Callable[[str], object]) -> None:
        self.folder = folder
        self._kept = kept
        self._warn = warn

    def save(self, position: Position, identity: Mapping[str, Any], **parts: Any) -> Checkpoint:
        """Writes a checkpoint, whole or not at all, and deletes those that need not stay.

        Args:
          position: how far the run has come.
          identity: what the run is made of, by name; JSON values.
          **parts: the objects whose variables are saved.
        """
        final = _join(self.folder, position.name)
        with new_folder(final, replace=True) as unfinished:
            tf.train.Checkpoint(**parts).write(_join(unfinished, _VARIABLES))
            info = {
                "format_version": FORMAT_VERSION,
                "position": dataclasses.asdict(position),
                "identity": dict(identity),
                "files": {name: _measure(_join(unfinished, name)) for name in _list(unfinished)},
            }
            text = json.dumps(info, indent=1, sort_keys=True) + "\n"
            write_in_new_folder(_join(unfinished, _INFO), text.encode())
        self._delete_old()
        return Checkpoint(final, position, dict(identity))

    def find_newest(self) -> Checkpoint | None:
        """Returns the newest whole checkpoint; warns of newer ones that are damaged.

        Raises:
          ValueError: a checkpoint is of a format that this program does not read, or only that
            of imported weights is left and it is damaged.
        """
        for name in reversed(self._names()):
            if name == BEFORE_TRAINING.name:
                return self.find_imported()
            try:
                return _open(_join(self.folder, name))
            except _DamagedError as error:
                self._warn(f"{error}; going on from an older checkpoint")
        return None

    def find_imported(self) -> Checkpoint | None:
        """Returns the checkpoint of the weights that the run began with, if they were imported.

        Raises:
          ValueError: it is damaged: a run that began with random weights would be another.
        """
        folder = _join(self.folder, BEFORE_TRAINING.name)
        if not tf.io.gfile.isdir(folder):
            return None
        try:
            return _open(folder)
        except _DamagedError as error:
            raise ValueError(f"{error}; import the weights again, into another folder") from error

    def delete_trained(self) -> None:
        """Deletes every checkpoint, whole or not, but that of imported weights."""
        for name in _list(self.folder):
            if name != BEFORE_TRAINING.name:
                delete_folder(_join(self.folder, name))

    def _names(self) -> list[str]:
        names = [name for name in _list(self.folder) if _NAME.fullmatch(name)]
        return sorted(names, key=lambda name: [int(part) for part in name.split("-")])

    def _delete_old(self) -> None:
        names = self._names()
        staying = {BEFORE_TRAINING.name, *names[-self._kept :], *self._best_of_stages(names)}
        for name in names:
            if name not in staying:
                delete_folder(_join(self.folder, name))

    def _best_of_stages(self, names: Sequence[str]) -> Iterator[str]:
        losses: dict[int, tuple[float, str]] = {}
        for name in names:
            try:
                position = _read_info(_join(self.folder, name)).checkpoint.position
            except _DamagedError:
                continue
            if position.held_out_loss is not None:
                found = (position.held_out_loss, name)
                losses[position.stage] = min(losses.get(position.stage, found), found)
        return (name for _, name in losses.values())


class _DamagedError(Exception):
    """A checkpoint is not whole; the message says which, and what is wrong."""


class _Info(NamedTuple):
    """What checkpoint.json says: the checkpoint, and size and CRC of the other files by name."""

    checkpoint: Checkpoint
    files: dict[str, list[int]]


def read_checkpoint(folder: str) -> Checkpoint:
    """Reads checkpoint.json; whether the variables are whole is not looked at.

    Raises:
      ValueError: it is missing, damaged, or of a format that this program does not read.
    """
    try:
        return _read_info(folder).checkpoint
    except _DamagedError as error:
        raise ValueError(str(error)) from error


def _open(folder: str) -> Checkpoint:
    checkpoint, files = _read_info(folder)
    _verify(folder, files)
    return checkpoint


def _read_info(folder: str) -> _Info:
    path = _join(folder, _INFO)
    try:
        info = parse_object(read_file(path))
        version = info["format_version"]
        if version == FORMAT_VERSION:
            position, identity = Position.from_json(info["position"]), {**info["identity"]}
            files = {name: [*map(operator.index, sizes)] for name, sizes in info["files"].items()}
            return _Info(Checkpoint(folder, position, identity), files)
    except FileNotFoundError as error:
        raise _DamagedError(f"{folder}: {_INFO} is missing") from error
    except KeyError as error:
        raise _DamagedError(f"{folder}: {_INFO} is damaged (no {error.args[0]})") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _DamagedError(f"{folder}: {_INFO} is damaged ({error})") from error
    raise ValueError(
        f"{path}: format version {version!r}, this program reads {FORMAT_VERSION}; use the "
        "version that wrote it, or train afresh with --overwrite"
    )


def _verify(folder: str, files: Mapping[str, list[int]]) -> None:
    present = _list(folder)
    for name, measured in sorted(files.items()):
        if name not in present:
            raise _DamagedError(f"{folder}: {name} is missing")
        if _measure(_join(folder, name)) != measured:
            raise _DamagedError(f"{folder}: {name} is damaged")


def _measure(path: str) -> list[int]:
    """Returns size and CRC-32C of a file."""
    size, checksum = 0, google_crc32c.Checksum()
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            checksum.update(chunk)
    return [size, int.from_bytes(checksum.digest(), "big")]


def _list(folder: str) -> list[str]:
    if not tf.io.gfile.isdir(folder):
        return []
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"
