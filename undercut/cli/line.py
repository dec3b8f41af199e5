"""`undercut line`: the fastest lap of a track; `undercut actions`: an action space for it."""

from pathlib import Path
from typing import Annotated

import typer

from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import loading, messages_on

TrackArgument = Annotated[
    str, typer.Argument(metavar="TRACK", help="a track's name, or the path of a route file", show_default=False)
]
LineCarOption = Annotated[
    str, typer.Option("--car", help="v4, v5, or a car file, as `undercut calibrate --fit` writes it")
]
MarginOption = Annotated[float, typer.Option(help="metres that the wheels keep from the edge, beyond the rules")]
WheelsOption = Annotated[str, typer.Option(help="how many wheels stay on the road: one, as the rules ask, or all")]


def line(
    track: TrackArgument,
    car: LineCarOption = "v5",
    margin: MarginOption = 0.0,
    wheels: WheelsOption = "one",
    out: Annotated[
        Path | None, typer.Option(help="folder for picture and tables; lines/TRACK if not given", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the fastest lap that the car can drive on a track: line, speeds, commands, and the lap time's limit."""
    out_to = messages_on(as_json)
    with loading(out_to):
        from undercut.line import reporting

    result = reporting.write(track, car, margin, wheels, out, out_to)
    if as_json:
        show_json(result)


def actions(
    track: TrackArgument,
    count: Annotated[int, typer.Option(help="how many actions")] = 10,
    car: LineCarOption = "v5",
    margin: MarginOption = 0.0,
    mirrored: Annotated[
        bool, typer.Option("--mirrored/--not-mirrored", help="each action to the left has a twin to the right")
    ] = False,
    continuous: Annotated[
        bool, typer.Option("--continuous", help="ranges of steering and speed in place of a list")
    ] = False,
    out: Annotated[Path, typer.Option(help="where to write it")] = Path("model_metadata.json"),
    as_json: JsonOption = False,
) -> None:
    """Write a model_metadata.json with the actions of a track's fastest lap, and tell what they cost against it."""
    out_to = messages_on(as_json)
    with loading(out_to):
        from undercut.line import reporting

    wanted = None if continuous else count
    result = reporting.write_actions(track, car, margin, wanted, mirrored, out, out_to)
    if as_json:
        show_json(result)
