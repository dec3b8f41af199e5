"""`undercut worlds`: import the official worlds from a racer's own copy; list and show those that are imported."""

import difflib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from contract.errors import InputError
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.completion import world_names
from undercut.cli.options import loading
from undercut.runs.run import TRACKS
from undercut.terminal import say, show_table

app = typer.Typer(no_args_is_help=True, help="Worlds: AWS's tracks as they look, from your own copy of the simulator.")
console = Console()

VIEWS = 6


@app.command("import")
def import_worlds(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="folder, clone, .zip or .tar of deepracer-simapp, or of an image's files"
        ),
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME ...]", help="worlds; all if none is given", show_default=False)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="import anew what is imported")] = False,
    jobs: Annotated[int, typer.Option(min=0, max=4, help="processes at once; 0: one a core")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Import worlds into ./tracks, where `--track NAME` finds them. What is imported is kept, unless --replace.

    Exit status 2 when a world could not be imported; what is missing in one that could is printed, and stays in its
    world.json.
    """
    messages = Console(stderr=True) if as_json else console
    with loading(messages):
        from simapp.worlds.copies import opened, worlds_in
        from simapp.worlds.importer import import_worlds as import_all  # numba takes a second to import
        from undercut.exit_codes import BAD_INPUT

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=messages, transient=True, disable=not messages.is_terminal
    ) as progress:
        task = progress.add_task("opening the copy", total=None)
        with opened(folder) as root:
            known, unread = worlds_in(root, str(folder))
            sources = [known[name] for name in _chosen(names or list(known), list(known))]
            progress.update(task, total=len(sources), description="worlds")
            done = import_all(
                sources, TRACKS, replace, jobs, lambda it: progress.update(task, advance=1, description=it.name)
            )
    failed = [it for it in done if it.status == "failed"]
    if as_json:
        rows = [{"name": it.name, "status": it.status, "triangles": it.triangles, "notes": it.notes} for it in done]
        show_json({"worlds": rows, "unread": unread})
    else:
        _show(done, unread if not names else [])
    if failed:
        raise typer.Exit(BAD_INPUT)


def _chosen(names: list[str], known: list[str]) -> list[str]:
    """The names, each once. InputError for one that is not in the copy."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            fix = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known[:20])}"
            raise InputError("NAME", name, "a world's name is one of the copy's", fix)
    return list(dict.fromkeys(names))


def _show(done: list[Any], unread: list[str]) -> None:
    count = {status: sum(it.status == status for it in done) for status in ("imported", "kept", "failed")}
    if count["imported"]:
        first = next(it.name for it in done if it.status == "imported")
        say(console, f"{count['imported']} imported into {TRACKS}/; use one as `--track {first}`")
    if count["kept"]:
        say(console, f"{count['kept']} kept as they were imported before; --replace imports them anew")
    for it in done:
        if it.notes:
            style = "red" if it.status == "failed" else "yellow"
            what = "could not be imported" if it.status == "failed" else "imported without"
            console.print(Text(f"{it.name}: {what}", style=style))
            for note in it.notes:
                console.print(Text(f"  {note}"), soft_wrap=True)
    for line in unread:
        console.print(Text(f"no world: {line}", style="yellow"), soft_wrap=True)


@app.command("list")
def list_worlds(as_json: JsonOption = False) -> None:
    """List the worlds that are imported."""
    rows = [_row(path) for path in sorted(TRACKS.glob("[!.]*/world.json"))]
    if as_json:
        show_json(rows)
        return
    if not rows:
        console.print("no worlds yet: undercut worlds import FOLDER")
        return
    table = Table("name", "lap (m)", "triangles", "textures", "sky", "not read", "from")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], *[""] * 5, Text(row["error"], style="red"))
            continue
        length = f"{row['length_m']:.2f}"
        numbers = (str(row[key]) for key in ("triangles", "textures"))
        table.add_row(
            row["name"], length, *numbers, "yes" if row["sky"] else "no", str(len(row["unread"])), row["source"]
        )
    show_table(console, table, "name")


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="an imported world, NAME_cw or NAME_ccw", autocompletion=world_names)
    ],
    out: Annotated[Path | None, typer.Option(help="where to write the picture; NAME.png if not given")] = None,
) -> None:
    """Write a picture of a world, its map and six views of the car's camera, and say what of it was not read."""
    from simapp.tracks import load_track
    from simapp.worlds import World
    from undercut.figures.track_picture import save_world_picture
    from undercut.runs.viewing import drawn

    track = load_track(name, [TRACKS])
    if track.world is None:
        rule = "a world that is imported, as `undercut worlds list` says"
        raise InputError("NAME", name, rule, "undercut worlds import FOLDER, or undercut tracks show")
    world = World.load(track.world)
    places = track.pose_at(track.length_m * np.arange(VIEWS) / VIEWS)
    poses = np.column_stack([places.x_m, places.y_m, places.heading_rad])
    path = out or Path(f"{track.name}.png")
    save_world_picture(track, poses, drawn(track, poses, "builtin"), path)
    lights = ", ".join(f"{light.kind} {light.name!r}" for light in world.lights)
    console.print(
        f"{world.name}: {world.triangle_count} triangles, {len(world.pictures)} textures, from {world.source}"
    )
    say(console, f"lights: {lights or 'none'}; sky: {'yes' if world.scene.has_sky else 'no'}")
    for line in world.unread:
        console.print(Text(f"not read: {line}", style="yellow"), soft_wrap=True)
    typer.echo(path)


def _row(path: Path) -> dict[str, Any]:
    """What `list` says of a world; a broken one is one row, and not the end of the list."""
    from simapp.tracks import load_track
    from simapp.worlds import World

    name = path.parent.name
    try:
        world, track = World.load(path.parent), load_track(name, [TRACKS])
    except InputError as problem:
        return {"name": name, "error": str(problem).splitlines()[0]}
    return {
        "name": name,
        "length_m": round(track.length_m, 3),
        "closed": track.closed,
        "triangles": world.triangle_count,
        "textures": len(world.pictures),
        "sky": world.scene.has_sky,
        "unread": list(world.unread),
        "source": world.source,
    }
