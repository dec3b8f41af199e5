"""`undercut new`: a folder to begin with."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the folder", show_default=False)],
    actions: Annotated[
        str | None,
        typer.Option(help="discrete or continuous", show_default=False),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(help="clipped_ppo or sac", show_default=False),
    ] = None,
    race: Annotated[str, typer.Option(help="TIME_TRIAL, OBJECT_AVOIDANCE or HEAD_TO_BOT")] = "TIME_TRIAL",
    track: Annotated[str, typer.Option(help="see undercut tracks list")] = "paddock",
) -> None:
    """Write a folder with reward function, metadata, hyperparameters and run parameters, ready to train and to edit."""
    from undercut.scaffold.new import Wish, new_folder

    for path in new_folder(Wish(name, actions, algorithm, race, track), Path()):
        console.print(str(path), highlight=False, soft_wrap=True)
    console.print(
        f"next: undercut check {name}; undercut train {name} --folder {name}", highlight=False, soft_wrap=True
    )
