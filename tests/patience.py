"""Waiting in tests, on a machine that others may load too: for a condition, never for a time."""

import time
from collections.abc import Callable

PATIENCE_S = 600.0
"""After this, whatever is waited for will not come any more. Nothing that works takes a tenth of it, even on a machine
with ten times more to do than it has cores; a test that hangs says what it waited for, before pytest's limit comes."""


def until(what: str, is_so: Callable[[], bool], pause_s: float = 0.02) -> None:
    """Wait for it; fails with what it waited for."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(pause_s)
