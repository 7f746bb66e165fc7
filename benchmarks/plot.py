"""Draws benchmarks/results.json: what each step takes, beside rjieba alone and the usual recipe.

python -m benchmarks.plot benchmarks/results.json benchmarks/results.png
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(results: dict[str, Any], path: str) -> None:
    """Draws the content of results.json to a PNG file."""


def main(argv: Sequence[str]) -> int:
    """Draws again what was measured before; returns the exit code."""
    if len(argv) != 2:
        print("usage: python -m benchmarks.plot RESULTS.json RESULTS.png", file=sys.stderr)
        return 2
    draw(json.loads(Path(argv[0]).read_text(encoding="utf-8")), argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
