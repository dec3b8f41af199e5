"""`undercut import`: a model of a console, of DeepRacer-for-Cloud or of another machine becomes a run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from undercut.terminal import say

console = Console()


def import_model(
    source: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="the model's folder, .tar.gz or s3://bucket/prefix", show_default=False),
    ],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="the run's name", show_default=False)] = None,
    track: Annotated[str | None, typer.Option(help="where it was trained, if the folder does not say")] = None,
    reward: Annotated[Path | None, typer.Option(help="its reward function, in place of the folder's")] = None,
    metadata: Annotated[Path | None, typer.Option("--metadata", "--actions", help="its model_metadata.json")] = None,
    hyperparameters: Annotated[Path | None, typer.Option("--hyperparameters", "--hyper")] = None,
) -> None:
    """Make a run of a downloaded model, to evaluate it, race it and train it on."""
    with console.status("importing"):
        from undercut.interchange import importing  # TensorFlow takes seconds to import; --help should not

        made = importing.import_model(source, name, track, reward, metadata, hyperparameters)
    console.print(
        f"imported {source} as run [bold]{made.name}[/], checkpoints {', '.join(made.checkpoints)}", highlight=False
    )
    for note in made.notes:
        say(console, f"  {note}")
    say(console, f"try it: undercut evaluate {made.name}; train it on: undercut train {made.name}")
