"""Exit codes, and how a container's log tells one that Docker was not to see."""

import re

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""What was asked for did not work out, a file or argument is not right, Ctrl-C. docs/index.md"""
EXPLAINED = (FAILED, BAD_INPUT)
"""Errors that were explained to the racer and would be the same again."""
ENDED = "ended with status {}"
_ENDED_LINE = rf"^{ENDED.format('([0-9]+)')}\s*$"


def status_of(log: str, exit_code: int) -> int:
    """The command's own status, from the end of its log and the process's exit code. The line need not be the last one:
    Docker reads what a process prints and its errors separately."""
    found = re.findall(_ENDED_LINE, log, re.MULTILINE)
    return int(found[-1]) if found else exit_code
