"""Edits of punctuation: empty brackets, commas without a clause, runs of one mark."""

import re
from typing import Final

from pipeline.rules.classes import CHINESE
from pipeline.rules.kinds import RUN_CHARS, Edit, Trigger, find_matches

# --- Empty brackets ---

_OPENING: Final = "（(《「『【〈〔"
_CLOSING: Final = "）)》」』】〉〕"
_NOTHING: Final = "，、；：。,;·"
_LANGUAGE: Final = rf"[{CHINESE}]{{1,4}}[语語文名音稱称][：:](?=[，、；,;）])"
_FIRST_OPTION: Final = r"[？?：:。.]?\s*(?:①|A[、.．，,：:)）])"
"""Behind a question whose brackets wait for an answer."""
_EMPTY_BRACKETS: Final = re.compile(
    rf"（(?![ A-Za-z])(?<![A-Za-z0-9_？?]（)(?:[ {_NOTHING}]|{_LANGUAGE})*）(?!{_FIRST_OPTION})"
    rf"|\(\)(?<=[{CHINESE}]..)(?=[{CHINESE}，。、；：])(?!{_FIRST_OPTION})"
    r"|《》(?<![号號]..)|「」(?<![号號]..)(?!字)|『』|【】|〈〉|〔〕"
)

# --- Commas ---

_COMMAS: Final = "，、；"
_STRAY_COMMAS: Final = re.compile(
    rf"[{_COMMAS}](?:[{_COMMAS}]+|(?<=[{_OPENING}].)|(?<![\s\S].)|(?=）)|(?=。(?!。)))"
    rf"|\n[{_COMMAS}。](?![{_COMMAS}。])"
)
_SENTENCE_ENDS: Final = "。！？!?：:…"


def _mend_commas(match: re.Match[str]) -> str:
    """Returns what is left of commas that stand where none can.

    Between two clauses one is left, the first. A line that begins with one is the rest of the line
    before, if that has no end.
    """
    commas, text = match[0], match.string
    before = text[max(0, match.start() - 1) : match.start()]
    after = text[match.end() : match.end() + 1]
    if commas.startswith("\n"):
        if not before or before.isspace() or (before in _SENTENCE_ENDS and commas[1] == "。"):
            return commas
        return "\n" if before in _SENTENCE_ENDS else commas[1]
    if not before or before in _OPENING or (after and after in "。）"):
        return ""
    return commas[0]


# --- Runs of one mark ---

_MARKS: Final = "！？!?。…—~～\\-=_*+·.─━═＿＝－"
_REPEATED: Final = re.compile(rf"([{_MARKS}])\1{{{RUN_CHARS - 1},}}")
_MAX_RUN: Final = 3
_MAX_RUNS: Final = {"…": 2, "—": 2, ".": 6}
"""Ellipsis and dash have two characters (GB/T 15834-2011, 4.11 and 4.10); six dots are typed for
the former."""


def _shorten(run: re.Match[str]) -> str:
    return run[0][: _MAX_RUNS.get(run[1], _MAX_RUN)]


PUNCTUATION_EDITS: Final = (
    Edit(
        "empty_brackets",
        Trigger(f"{_OPENING}：:", f"{_NOTHING}{_CLOSING}"),
        find_matches(_EMPTY_BRACKETS, lambda _: ""),
    ),
    Edit(
        "stray_commas",
        Trigger(rf"{_OPENING}{_COMMAS}\n", f"{_COMMAS}。）"),
        find_matches(_STRAY_COMMAS, _mend_commas),
    ),
    Edit(
        "repeated_punctuation",
        Trigger(_MARKS, run=True),
        find_matches(_REPEATED, _shorten),
    ),
)
