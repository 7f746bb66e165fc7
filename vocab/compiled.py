"""Functions in C that are called with NumPy arrays."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.ctypeslib import as_ctypes_type, load_library, ndpointer

_RETURNS: Final = "->"


def load_compiled(module: str, **signatures: str) -> Any:
    """Loads what was compiled of `_name.c` beside a module `name.py`.

    Args:
      module: path of the module.
      signatures: by function, the types of its arguments and, behind `->`, of what it returns:
        NumPy's names, a star behind those of arrays. These must be contiguous, and of that type.

    Returns:
      The library; its functions raise ctypes.ArgumentError where an argument is of another type.

    Raises:
      ImportError: nothing was compiled; says how it is.
    """
    path = Path(module)
    try:
        library = load_library(f"_{path.stem}", path.parent)
    except OSError as error:
        raise ImportError(
            f"{path.with_name(f'_{path.stem}.c')} is not compiled: install the package with pip, "
            "or run `python setup.py build_ext --inplace` where setup.py lies"
        ) from error
    for name, signature in signatures.items():
        arguments, _, result = signature.partition(_RETURNS)
        function = getattr(library, name)
        function.argtypes = [_type_of(argument) for argument in arguments.split()]
        function.restype = _type_of(result.strip()) if result else None
    return library


def _type_of(name: str) -> Any:
    if name.endswith("*"):
        return ndpointer(np.dtype(name[:-1]), flags="C_CONTIGUOUS")
    return as_ctypes_type(np.dtype(name))
