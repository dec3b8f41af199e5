"""`undercut new`: a folder to begin with."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contract.metadata import ActionKind, Algorithm
from undercut.scaffold import RaceKind
from undercut.terminal import say

console = Console()


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the folder", show_default=False)],
    actions: Annotated[
        ActionKind | None, typer.Option(help="a list of actions, or ranges of both", case_sensitive=False)
    ] = None,
    algorithm: Annotated[
        Algorithm | None, typer.Option(help="what trains; sac needs continuous actions", case_sensitive=False)
    ] = None,
    race: Annotated[RaceKind, typer.Option(help="what is on the track", case_sensitive=False)] = "TIME_TRIAL",
    track: Annotated[str, typer.Option(help="see undercut tracks list")] = "paddock",
    race_line: Annotated[
        str | None,
        typer.Option(metavar="TRACK", help="follow this track's racing line, with its actions", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(help="actions of --race-line")] = 21,
    margin: Annotated[
        float, typer.Option(help="metres that --race-line keeps its wheels further inside than the rules ask for")
    ] = 0.05,
) -> None:
    """Write a folder with reward function, metadata, hyperparameters and run parameters, ready to train and to edit."""
    from undercut.scaffold.new import Wish, new_folder

    wish = Wish(name, actions, algorithm, race, race_line or track, race_line is not None, margin, count)
    with console.status("writing the folder"):
        paths = new_folder(wish, Path())
    for path in paths:
        say(console, str(path))
    say(console, f"next: undercut check {name}; undercut train {name} --folder {name}")
