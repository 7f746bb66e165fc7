"""JSON text -> an object, whatever stands there."""

import json
from typing import Any


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      ValueError: the text is none; says why.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("not JSON: nested too deep") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found
