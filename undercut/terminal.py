"""Lines on a terminal, and what stops a command at one."""

import signal
from types import FrameType

from rich.console import Console
from rich.measure import measure_renderables
from rich.table import Table

_ANY_WIDTH = 10_000


def say(console: Console, line: object, style: str | None = None) -> None:
    """Show a line as it is: brackets are no markup, numbers have no colour, and only the terminal breaks it."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def show_table(console: Console, table: Table, *whole: str) -> None:
    """Show a table whose columns of these names hold what is typed into other commands: they are never cut nor broken,
    and the others give way, in further lines. What is no terminal has no width: there nothing gives way."""
    anything = console.options.update(max_width=_ANY_WIDTH)
    for column in table.columns:
        column.overflow = "fold"
        if column.header in whole:
            column.no_wrap = True
            column.min_width = measure_renderables(console, anything, list(column.cells)).maximum
    to = console if console.is_terminal else Console(file=console.file, width=_ANY_WIDTH)
    to.print(table, crop=False)


def as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """A handler of SIGTERM, by which containers and services stop a process: what a Ctrl-C would be now. So a training
    finishes and saves its iteration.

    Not a SIGINT of our own, which a shell's background jobs ignore.
    """
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(number, frame)
