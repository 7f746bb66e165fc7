"""Functions in C that are called with NumPy arrays."""

from ctypes import c_void_p
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.ctypeslib import as_ctypes_type, load_library, ndpointer

_RETURNS: Final = "->"
_LIBRARIES: Final = (".so", ".pyd")


def load_compiled(module: str, **signatures: str) -> Any:
    """Loads what was compiled of `_name.c` beside a module `name.py`.

    Args:
      module: path of the module.
      signatures: by function, the types of its arguments and, behind `->`, of what it returns:
        NumPy's names, a star behind those of arrays. These must be contiguous, and of that type.

    Returns:
      The library; its functions raise ctypes.ArgumentError where an argument is of another type.

    Raises:
      ImportError: it was not compiled, or changed since; says how it is.
    """
    path = Path(module)
    source = path.with_name(f"_{path.stem}.c")
    found = [file for file in path.parent.glob(f"_{path.stem}.*") if file.suffix in _LIBRARIES]
    if not found or (source.exists() and source.stat().st_mtime > found[0].stat().st_mtime):
        state = "has changed since it was compiled" if found else "is not compiled"
        raise ImportError(
            f"{source} {state}: install the package with pip, or run "
            "`python setup.py build_ext --inplace` where setup.py lies"
        )
    library = load_library(f"_{path.stem}", path.parent)
    for name, signature in signatures.items():
        arguments, _, result = signature.partition(_RETURNS)
        function = getattr(library, name)
        function.argtypes = [_type_of(argument) for argument in arguments.split()]
        function.restype = _type_of(result.strip()) if result else None
    return library


def _type_of(name: str) -> Any:
    if not name.endswith("*"):
        return as_ctypes_type(np.dtype(name))
    checked: Any = ndpointer(np.dtype(name[:-1]), flags="C_CONTIGUOUS")

    def address_of(_: Any, array: Any) -> c_void_p:
        # What NumPy itself would pass refers to itself: garbage, until Python looks for cycles.
        return c_void_p(checked.from_param(array).data)

    return type(name, (checked,), {"from_param": classmethod(address_of)})
