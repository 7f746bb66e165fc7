"""Finds out for many texts at once which edits may change them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from pipeline.rules.classes import CODE_POINTS, encode, members
from pipeline.rules.kinds import RUN_CHARS, Trigger
from vocab.compiled import load_compiled

_TABLE_BITS: Final = 32


class Scanner:
    """Looks up the triggers of edits in one table over all code points.

    An entry of the table has one bit for each trigger that is a single character. A trigger that is
    a pair of neighbours has two: one says that a character may be the first, the other, `shift`
    places higher, that it may be the second.

    Attributes:
      flags: by trigger, the bit of it in the flags of a text.
    """

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        singles = [trigger for trigger in triggers if not trigger.second]
        pairs = [trigger for trigger in triggers if trigger.second]
        bits = {trigger: bit for bit, trigger in enumerate(dict.fromkeys([*singles, *pairs]))}
        self.flags = {trigger: 1 << bit for trigger, bit in bits.items()}
        self._shift = len(set(pairs))
        if len(bits) + self._shift > _TABLE_BITS:
            raise ValueError(f"triggers need {len(bits) + self._shift} bits, got {_TABLE_BITS}")
        self._any_second = (1 << len(set(singles))) - 1
        self._runs = sum(self.flags[trigger] for trigger in bits if trigger.run)
        self._table = np.zeros(CODE_POINTS, np.uint32)
        for trigger, bit in bits.items():
            self._table[members(trigger.first)] |= np.uint32(1 << bit)
            if trigger.second:
                self._table[members(trigger.second)] |= np.uint32(1 << bit + self._shift)

    def scan(self, texts: Sequence[str]) -> list[int]:
        """Returns the flags of each text."""
        if not texts:
            return []
        codes, starts = encode(texts)
        flags = np.empty(len(texts), np.uint32)
        _library.scan(
            *(codes, starts, len(texts), self._table, self._shift),
            *(self._any_second, self._runs, RUN_CHARS, flags),
        )
        return flags.tolist()


@lru_cache(maxsize=2)
def load_scanner(triggers: tuple[Trigger, ...]) -> Scanner:
    """Returns a scanner; its table is built once a process."""
    return Scanner(triggers)


_library: Final = load_compiled(
    __file__, scan="uint32* int64* int64 uint32* uint32 uint32 uint32 int64 uint32*"
)
