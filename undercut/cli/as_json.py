"""`--json`: what a command found, for other programs, alone on standard output."""

import json
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="for other programs; all else goes to stderr")]


def show_json(content: Any) -> None:
    """Print it; ValueError for a number that JSON does not know."""
    typer.echo(json.dumps(content, indent=2, allow_nan=False))
