"""Runs a unit once: what an earlier run has done is recalled, not done again.

A unit writes its files first and then a note of what it found out, so a note means that the unit is
done. Notes stay as long as what shaped their stage is the same (see state.py).
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import orjson

from pipeline import files
from pipeline.layout import Layout

NOTE_VERSION: Final = 2
"""Of notes, and of what units leave in work/ for later ones."""


class Stage(NamedTuple):
    """One unit function and what is needed to run, name and remember its units.

    Attributes:
      name: what its bar and its notes are called.
      run_unit: `run_unit(unit, *arguments) -> result`, importable by its name.
      arguments: the same for all units.
      result_type: has `to_json()` and `from_json(fields, unit, *arguments)`.
      name_of: a unit's name, fit for a file.
      size_of: a unit's size in bytes.
      layout: where notes lie.
    """

    name: str
    run_unit: Callable[..., Any]
    arguments: tuple[Any, ...]
    result_type: Any
    name_of: Callable[[Any], str]
    size_of: Callable[[Any], int]
    layout: Layout


class Done(NamedTuple):
    """The result of a unit, and whether an earlier run had it."""

    result: Any
    recalled: bool


def run_or_recall(unit: Any, stage: Stage) -> Done:
    """Runs a unit, unless all that an earlier run made of it is there."""
    note = stage.layout.done(stage.name, stage.name_of(unit))
    recalled = _recall(note, unit, stage)
    if recalled is not None:
        return Done(recalled, True)
    with files.recording() as written:
        result = stage.run_unit(unit, *stage.arguments)
    # What was left out of the input must be looked at again: it may be mended by then.
    if not getattr(result, "skipped", None):
        sizes = {path.removeprefix(stage.layout.root): size for path, size in written.items()}
        fields = {
            "version": NOTE_VERSION,
            "unit": identify(unit),
            "files": sizes,
            "result": result.to_json(),
        }
        files.write_bytes(note, orjson.dumps(fields | {"digest": _digest(orjson.dumps(fields))}))
    return Done(result, False)


def _recall(note: str, unit: Any, stage: Stage) -> Any | None:
    try:
        fields = orjson.loads(files.read_bytes(note))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    if not isinstance(fields, dict) or fields.pop("digest", None) != _digest(orjson.dumps(fields)):
        return None  # damaged
    if (fields.get("version"), fields["unit"]) != (NOTE_VERSION, identify(unit)):
        return None
    root = stage.layout.root
    if any(files.size_of(root + path) != size for path, size in fields["files"].items()):
        return None
    return stage.result_type.from_json(fields["result"], unit, *stage.arguments)


def identify(unit: Any) -> str:
    """Returns a digest of all that makes a unit, or several; of paths, only whether there is one.

    Directories can be moved; and a stretch that was left out as broken has no path.
    """
    return _digest(repr(_without_paths(unit)).encode())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _without_paths(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        fields: Any = getattr(value, "_fields", None)
        if fields and "path" in fields:
            value = cast("Any", value)._replace(path=bool(cast("Any", value).path))
        return [_without_paths(part) for part in cast("Any", value)]
    return value
