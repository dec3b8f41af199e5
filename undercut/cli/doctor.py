"""`undercut doctor`: what this machine has and lacks."""

import dataclasses

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from undercut.backends.backend import BackendName
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.stack import BackendOption
from undercut.doctor import Machine, examine

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    as_json: JsonOption = False,
    backend: BackendOption = BackendName.local,
) -> None:
    """Check this machine for what undercut needs, and say what to do. Exit code 1 when something has to be done."""
    findings = examine(Machine(), backend == BackendName.compose)
    if as_json:
        show_json([dataclasses.asdict(it) for it in findings])
    else:
        table = Table.grid(padding=(0, 2))
        for it in findings:
            text = f"{escape(it.text)}\n[dim]-> {escape(it.fix)}[/]" if it.fix else escape(it.text)
            table.add_row(f"[{STYLES[it.level]}]{it.level}[/]", it.name, text)
        Console(highlight=False).print(table)
    raise typer.Exit(int(any(it.level == "fail" for it in findings)))
