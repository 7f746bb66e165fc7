"""Whole files, local or gs://; TensorFlow, slow to import, only for those that are not local."""

import errno
import os
from pathlib import Path


def read_file(path: str) -> bytes:
    """Reads a file.

    Raises:
      FileNotFoundError: it is missing.
    """
    if "://" not in path:
        return Path(path).read_bytes()
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error


def write_file(path: str, content: bytes) -> None:
    """Writes a file, and the folders that it lies in: beside, then renamed, whole or not at all."""
    unfinished = f"{path}.unfinished"
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_in_new_folder(unfinished, content)
        os.replace(unfinished, path)
        return
    import tensorflow as tf

    tf.io.gfile.makedirs(os.path.dirname(path))
    write_in_new_folder(unfinished, content)
    tf.io.gfile.rename(unfinished, path, overwrite=True)


def write_in_new_folder(path: str, content: bytes) -> None:
    """Writes a file at once: of a folder that is itself renamed when all of it is there."""
    if "://" not in path:
        Path(path).write_bytes(content)
        return
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)
