"""Finds the fenced blocks of Markdown."""

import re

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Matches a whole block; gives the language, "" of none, and the lines in it."""
