"""`undercut tracks`: list, show, add. Racers' own tracks live in ./tracks of the working directory."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contract.errors import InputError
from contract.stores.local import LocalStore
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.completion import track_names
from undercut.runs.run import TRACKS
from undercut.terminal import show_table

if TYPE_CHECKING:
    from simapp.tracks import Track

app = typer.Typer(no_args_is_help=True, help="Tracks: the shipped ones and your own.")
console = Console()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@app.command("list")
def list_tracks(as_json: JsonOption = False) -> None:
    """List the tracks that train and evaluate take; NAME_cw and NAME_ccw choose the driving direction of a loop."""
    from simapp.tracks import SHIPPED, available_tracks  # numba takes a second to import; --help should not

    rows = [_row(name) for name in available_tracks([TRACKS])]
    if as_json:
        show_json(rows)
        return
    table = Table("name", "length (m)", "width (m)", "min radius (m)", "direction", "closed", "source")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], *[""] * 5, Text(row["error"], style="red"))
            continue
        low, high, radius = row["min_width_m"], row["max_width_m"], row["min_radius_m"]
        table.add_row(
            row["name"],
            f"{row['length_m']:.2f}",
            f"{low:.2f}" if high - low < 0.01 else f"{low:.2f} to {high:.2f}",
            "straight" if radius is None else f"{radius:.2f}",
            row["direction"],
            "yes" if row["closed"] else "no",
            row["source"] if row["source"] == SHIPPED else f"{Path(row['source']).parent}/",
        )
    show_table(console, table, "name")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="a track's name, or the path of a route file", autocompletion=track_names),
    ],
    out: Annotated[Path | None, typer.Option(help="where to write the picture; NAME.png if not given")] = None,
) -> None:
    """Write a picture of a track and print its path."""
    with console.status("drawing"):
        from simapp.tracks import load_track
        from undercut.figures.track_picture import save_track_picture  # matplotlib takes a second to import

        track = load_track(name, [TRACKS])
        path = out or Path(f"{track.name}.png")
        save_track_picture(track, path)
    typer.echo(path)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a route (.npy) or a design (.track)")],
    name: Annotated[str | None, typer.Option(help="what to call it; the file's own name if not given")] = None,
) -> None:
    """Check a track file and copy it into ./tracks."""
    if file.suffix not in (".npy", ".track"):
        raise InputError(str(file), file.suffix, "a track file ends in .npy or .track", "name the file by its format")
    name = file.stem if name is None else name
    if not _NAME.fullmatch(name):
        raise InputError(
            "--name", name, "a track's name has letters, digits, `_`, `-` and `.`", "give another one with --name"
        )
    from simapp.tracks import available_tracks, load_track

    track = load_track(str(file))
    data = file.read_bytes()
    target = TRACKS / f"{name}{file.suffix}"
    same = target.is_file() and target.read_bytes() == data
    if name in available_tracks([TRACKS]) and not same:
        raise InputError("--name", name, "a track's name is used once", "give another one with --name")
    LocalStore(TRACKS).put(target.name, data)
    kind = "lap" if track.closed else "open road"
    typer.echo(f"{target}: {kind} of {track.length_m:.2f} m; use it as `--track {name}`")


def _row(name: str) -> dict[str, Any]:
    """What `list` says of a track; a broken file of the racer's own is one row, and not the end of the list."""
    from simapp.tracks import load_track

    try:
        track = load_track(name, [TRACKS])
    except InputError as problem:
        return {"name": name, "error": str(problem).splitlines()[0]}
    return {
        "name": name,
        "length_m": round(track.length_m, 3),
        "min_width_m": round(float(track.widths_m.min()), 3),
        "max_width_m": round(float(track.widths_m.max()), 3),
        "min_radius_m": _finite(track),
        "direction": track.direction,
        "closed": track.closed,
        "source": track.source,
    }


def _finite(track: "Track") -> float | None:
    """JSON has no infinity: a straight road has no radius."""
    return round(track.min_radius_m, 3) if math.isfinite(track.min_radius_m) else None
