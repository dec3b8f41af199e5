"""`undercut check`: whether a racer's files will train, before they do."""

import itertools
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contract.errors import InputError
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import VerboseOption, loading, messages_on

STYLES = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "bold red"}


def check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="with the files; default: this one", show_default=False)
    ] = None,
    reward: Annotated[Path | None, typer.Option(help="reward function (.py)", show_default=False)] = None,
    metadata: Annotated[
        Path | None, typer.Option("--metadata", "--actions", help="model_metadata.json", show_default=False)
    ] = None,
    hyperparameters: Annotated[
        Path | None, typer.Option("--hyperparameters", "--hyper", help="hyperparameters.json", show_default=False)
    ] = None,
    params: Annotated[
        list[Path] | None, typer.Option(help="YAML of run parameters, or run.env; may be repeated", show_default=False)
    ] = None,
    track: Annotated[str | None, typer.Option(help="where to try the reward function", show_default=False)] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="as the console's form: refuse what is beyond it; status 1 for warnings too"),
    ] = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check reward function, metadata, hyperparameters and run parameters; drive the reward function round a track.

    Files that are named are all that is checked, unless a folder is too. Exit code 1 when something has to be mended.
    """
    waiting = messages_on(as_json)
    with loading(waiting):
        from undercut.check.check import Given
        from undercut.check.check import check as checked

    named = Given(reward, metadata, hyperparameters, tuple(params or ()))
    files = {"--reward": [reward], "--metadata": [metadata], "--hyperparameters": [hyperparameters], "--params": params}
    for option, paths in files.items():
        for path in paths or ():
            if path is not None and not path.exists():
                raise InputError(option, str(path), "files that are named exist", "check the path")
    given = named
    if folder is not None or named == Given():
        there = Given.in_folder(folder or Path(), "FOLDER", reward)
        given = Given(
            reward or there.reward,
            metadata or there.metadata,
            hyperparameters or there.hyperparameters,
            tuple(params or there.params),
        )
    with waiting.status("driving the reward function round the track"):
        report = checked(given, track, strict, verbose)
    if as_json:
        show_json(report.as_values())
    else:
        console = Console(highlight=False)
        for file, findings in itertools.groupby(report.findings, key=lambda it: re.split(", |: ", it.what)[0]):
            console.print(escape(file), style="bold", soft_wrap=True)
            table = Table.grid(padding=(0, 2))
            for it in findings:
                place = it.what[len(file) :].lstrip(",: ")
                text = escape(f"{place}: {it.text}" if place else it.text)
                level = f"  [{STYLES[it.level]}]{it.level}[/]"
                text += f"\n[dim]-> {escape(it.fix)}[/]" if it.fix else ""
                if it.params:
                    told = (f"  {key}: {value}" for key, value in it.params.items())
                    text += "\n" + escape("\n".join(["params of the failing call:", *told]))
                table.add_row(level, text)
            console.print(table)
        if report.drives:
            _show_drives(console, report.drives)
        counts = ", ".join(f"{report.count(level)} {level}" for level in STYLES if report.count(level))
        console.print(f"{counts}; checked in {report.took_s:.1f} s")
    bad = report.count("fail") + (report.count("warn") if strict else 0)
    raise typer.Exit(int(bad > 0))


def _show_drives(console: Console, drives: list[dict[str, object]]) -> None:
    table = Table("drive", "ends", "steps", "lowest", "mean", "highest", "sum")
    for column in table.columns[2:]:
        column.justify = "right"
    for drive in drives:
        table.add_row(*map(_cell, drive.values()))
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
