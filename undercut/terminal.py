"""Lines on a terminal, and what stops a command at one."""

import signal
from types import FrameType

from rich.console import Console


def say(console: Console, line: object, style: str | None = None) -> None:
    """Show a line as it is: brackets are no markup, numbers have no colour, and only the terminal breaks it."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """A handler of SIGTERM, by which containers and services stop a process: what a Ctrl-C would be now. So a training
    finishes and saves its iteration.

    Not a SIGINT of our own, which a shell's background jobs ignore.
    """
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(number, frame)
