"""Errors that a user can cause and mend.

PipelineError
├── UsageError    wrong flags or paths; nothing was started (exit code 2)
└── RunError      the run could not be finished (exit code 1)
"""


class PipelineError(Exception):
    """Says in one message what is wrong, where, and what to do."""


class UsageError(PipelineError):
    """Wrong flags or paths; nothing was started."""


class RunError(PipelineError):
    """The run was started and could not be finished."""
