"""`undercut video`: MP4s of what a run or a race drove, from what they recorded or from a simtrace alone."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contract.errors import InputError
from contract.stores.local import LocalStore
from undercut.cli.options import loading
from undercut.runs.run import Run

console = Console()


class ViewName(StrEnum):
    """Names of simapp.scene.views, which takes a moment to import."""

    TOPVIEW = "topview"
    CHASE = "45degree"
    PIP = "pip"
    FRONT = "front"


def video(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run, a race with --race, or a simtrace.csv")] = "default",
    iteration: Annotated[int | None, typer.Option(min=0, help="of the training; default: the evaluation")] = None,
    training: Annotated[bool, typer.Option("--training", help="episodes trained on, not the evaluation laps")] = False,
    view: Annotated[
        list[ViewName] | None,
        typer.Option(help="may be repeated; default: the first three"),
    ] = None,
    trial: Annotated[list[int] | None, typer.Option(min=1, help="a lap; may be repeated; default: all")] = None,
    race: Annotated[bool, typer.Option("--race", help="RUN is the name of a race")] = False,
    racer: Annotated[str | None, typer.Option(help="of a race: one racer's videos")] = None,
    track: Annotated[str | None, typer.Option(help="of a simtrace file: the track it was driven on")] = None,
    out: Annotated[Path, typer.Option(help="of a simtrace file: folder for the videos")] = Path(),
) -> None:
    """Draw videos of laps that were driven: the whole track from above, the car from behind, and both in one."""
    with loading(console):
        from undercut.video import videos  # numba and matplotlib take a moment to import

    views = tuple(dict.fromkeys(view or videos.DEFAULT_VIEWS))
    if training and iteration is None:
        raise InputError("--training", "without --iteration", "episodes belong to an iteration", "add --iteration 0")
    if race:
        source = videos.source_of_race(run)
    elif run.endswith(".csv"):
        if track is None:
            raise InputError("--track", None, "a simtrace does not tell its track", "add --track NAME or a .npy route")
        source = videos.source_of_file(Path(run), track, LocalStore(out))
    else:
        source = videos.source_of_run(Run.open(run), iteration, training)
    videos.write_videos(source, console, views, trial or None, racer)
