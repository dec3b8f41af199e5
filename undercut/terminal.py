"""Lines on a terminal."""

from rich.console import Console


def say(console: Console, line: object, style: str | None = None) -> None:
    """Show a line as it is: brackets are no markup, numbers have no colour, and only the terminal breaks it."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
