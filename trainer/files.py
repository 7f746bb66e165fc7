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
        Path(unfinished).write_bytes(content)
        os.replace(unfinished, path)
        return
    import tensorflow as tf

    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(unfinished, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(unfinished, path, overwrite=True)
