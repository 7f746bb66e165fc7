"""Folders that come into being whole or not at all."""

import contextlib
from collections.abc import Generator

import tensorflow as tf

_UNFINISHED = ".unfinished"


@contextlib.contextmanager
def new_folder(folder: str, *, replace: bool = False) -> Generator[str]:
    """Makes a folder: what is written beside it takes its name at the end.

    Args:
      folder: where it will lie, local or gs://; what is above it need not be there.
      replace: whether what lies there already is deleted at the end, and not an error.

    Yields:
      The folder to write to. An error inside deletes it; what a killed process left of one is
      deleted by the next.

    Raises:
      FileExistsError: there is something already.
    """
    folder = folder.rstrip("/")
    if not replace:
        _require_empty(folder)
    unfinished = folder + _UNFINISHED
    delete_folder(unfinished)
    tf.io.gfile.makedirs(unfinished)
    try:
        yield unfinished
        delete_folder(folder)
        tf.io.gfile.rename(unfinished, folder)
    finally:
        delete_folder(unfinished)


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that is in it, if it is there."""
    if tf.io.gfile.isdir(folder):
        tf.io.gfile.rmtree(folder)


def _require_empty(folder: str) -> None:
    is_folder = tf.io.gfile.isdir(folder)
    if is_folder and tf.io.gfile.listdir(folder):
        raise FileExistsError(f"{folder}: is not empty; give a folder that is, or a new one")
    if not is_folder and tf.io.gfile.exists(folder):
        raise FileExistsError(f"{folder}: is a file; give a folder")
