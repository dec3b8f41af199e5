"""`undercut report` and `undercut logs`: what runs and recorded logs say, as a page and on the command line."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import loading, messages_on

console = Console()

RunsArgument = Annotated[list[str] | None, typer.Argument(metavar="RUN [OTHER_RUN ...]", show_default=False)]
TracesOption = Annotated[
    list[Path] | None,
    typer.Option("--traces", help="folder, archive or log from elsewhere; may be repeated", show_default=False),
]
TrackOption = Annotated[
    str | None, typer.Option(help="track of --traces that do not say it: a name, or a .npy route", show_default=False)
]


def report(
    runs: RunsArgument = None,
    traces: TracesOption = None,
    track: TrackOption = None,
    open_page: Annotated[bool, typer.Option("--open", help="show the page in a browser")] = False,
) -> None:
    """Write a page about a run: curves, laps, maps, tables and findings. Further runs are compared with it."""
    with loading(console):
        from undercut.report import reporting  # matplotlib takes a second to import; --help should not

    page = reporting.write(runs or [], traces or [], track, console)
    if open_page:
        webbrowser.open(page if "://" in page else Path(page).resolve().as_uri())


def logs(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="name of a run, or a folder, archive or file of logs")
    ] = "default",
    reward: Annotated[
        Path | None, typer.Option(help="score the old episodes with this reward function", show_default=False)
    ] = None,
    track: TrackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Analyse logs: iterations, best laps, where cars leave the road; or re-score them with a new reward function."""
    with loading(messages_on(as_json)):
        from undercut.report import reporting

    if reward is None:
        result = reporting.numbers(run, track, console, show=not as_json)
    else:
        result = reporting.rescored(run, reward, track, console, show=not as_json)
    if as_json:
        show_json(result)
