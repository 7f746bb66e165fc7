"""Cleaning: fields of a line -> one text -> edited text, or a reason not to keep it."""

from pipeline.rules.cleaner import RULES, Change, CleanedBatch, Cleaner, check_names, find_spans
from pipeline.rules.edits import EDITS, OPTIONAL_EDITS, Span
from pipeline.rules.fields import FIELD_JOINER, FIELD_RULES, Joined, join_fields
from pipeline.rules.rejections import REJECTIONS

__all__ = [
    "EDITS",
    "FIELD_JOINER",
    "FIELD_RULES",
    "OPTIONAL_EDITS",
    "REJECTIONS",
    "RULES",
    "Change",
    "CleanedBatch",
    "Cleaner",
    "Joined",
    "Span",
    "check_names",
    "find_spans",
    "join_fields",
]
