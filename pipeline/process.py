"""Settings of a process that runs units, its launcher included."""

import atexit
import gc
import os
from typing import Final

_OBJECTS_BEFORE_SEARCH: Final = 300_000


def tune_process() -> None:
    """Settles how this process frees memory, and that NumPy starts no threads.

    Called before NumPy is imported: its linear algebra is not used, and its threads would spin
    beside the workers, which inherit that setting.

    The C library is not to give memory back and ask for it anew at every array: freeing one large
    block raises the thresholds of glibc's malloc for good (mallopt(3), M_MMAP_THRESHOLD);
    elsewhere this does nothing.

    Python is to look for cyclic garbage seldom. There is little, some 30,000 objects a run, and
    a search goes through all that Apache Beam consists of. So do the last ones, as the process
    ends, unless nothing is left for them.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    bytes(31 << 20)
    gc.set_threshold(_OBJECTS_BEFORE_SEARCH)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
