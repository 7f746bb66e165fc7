"""Folders that come into being whole or not at all."""

import contextlib
from collections.abc import Generator

import tensorflow as tf

_UNFINISHED = ".unfinished"


@contextlib.contextmanager
def new_folder(folder: str) -> Generator[str]:
    """Makes a folder: what is written beside it takes its name at the end.

    Args:
      folder: where it will lie, local or gs://; what is above it need not be there.

    Yields:
      The folder to write to. An error inside deletes it; what a killed process left of one is
      deleted by the next.

    Raises:
      FileExistsError: there is something already.
    """
    folder = folder.rstrip("/")
    is_folder = tf.io.gfile.isdir(folder)
    if is_folder and tf.io.gfile.listdir(folder):
        raise FileExistsError(f"{folder}: is not empty; give a folder that is, or a new one")
    if not is_folder and tf.io.gfile.exists(folder):
        raise FileExistsError(f"{folder}: is a file; give a folder")
    unfinished = folder + _UNFINISHED
    _delete(unfinished)
    tf.io.gfile.makedirs(unfinished)
    try:
        yield unfinished
        _delete(folder)
        tf.io.gfile.rename(unfinished, folder)
    finally:
        _delete(unfinished)


def _delete(folder: str) -> None:
    if tf.io.gfile.isdir(folder):
        tf.io.gfile.rmtree(folder)
