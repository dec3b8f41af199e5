"""`undercut calibrate`: how near the simulated cars are to recorded ones, and cars fitted to recordings."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from contract import artifacts
from contract.car import Car, car_of_version
from contract.config import is_run_name
from contract.errors import InputError
from contract.stores.local import write_file
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import CarOption, loading, messages_on
from undercut.runs.workspace import RUNS_PREFIX, workspace
from undercut.terminal import say

console = Console()
PICTURE = "calibration.png"
VERSIONS = {"version 4": 4, "version 5": 5}


def calibrate(
    logs: Annotated[
        list[str], typer.Argument(metavar="LOGS ...", help="simtraces: a run, files, folders, logs or archives of them")
    ],
    track: Annotated[
        str | None,
        typer.Option(help="the logs' track: a name, or a .npy route; checked, and drawn", show_default=False),
    ] = None,
    car: CarOption = None,
    fit: Annotated[
        Path | None, typer.Option(help="fit a car to the logs and write its file (.yaml)", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay recorded commands with the simulated cars: how far they stray from the recorded path, at what speeds."""
    out = messages_on(as_json)
    with loading(out):
        from undercut.calibration.measure import fitted, measured, pooled
        from undercut.calibration.recordings import read_recordings
        from undercut.figures.calibration import calibration_plot
        from undercut.report.calibrating import tracks_of

    if fit is not None and fit.suffix not in (".yaml", ".yml"):
        raise InputError("--fit", str(fit), "a car file ends in .yaml", f"--fit {fit.with_suffix('.yaml')}")
    cars = {name: car_of_version(version) for name, version in VERSIONS.items()}
    if car is not None:
        cars[car.stem] = Car.load(car)
    with out.status("replaying what was recorded"):
        recordings = [recording for name in logs for recording in read_recordings(_path(name))]
        roads = tracks_of(recordings, track)
        found = [measured(recording, cars) for recording in recordings]
    summary: dict[str, Any] = {"recordings": [one.summary() for one in found]}
    if len(found) == 1:
        summary |= {"nearest": summary["recordings"][0]["nearest"]}
    if fit is not None:
        pieces = pooled(found)
        totals = {
            name: sum(one.errors_m(name)["1 s"] * len(one.pieces) for one in found) / len(pieces) for name in cars
        }
        begun = min(totals, key=lambda name: totals[name])
        with out.status("fitting a car"):
            result = fitted(pieces, cars[begun], fit.stem)
        comments = [
            f"Fitted by undercut calibrate to {', '.join(one.recording.name for one in found)}, from {begun}.",
            f"On {result.held_out} held-out replays of a second, median distance at the end: "
            f"{result.errors_m['1 s']:.3f} m ({begun}: {result.before_m['1 s']:.3f} m).",
        ]
        write_file(fit, result.car.to_yaml(comments).encode())
        summary["fit"] = {
            "file": str(fit),
            "from": begun,
            "pieces": result.pieces,
            "held_out_pieces": result.held_out,
            "held_out_errors_m": {fit.stem: result.errors_m, begun: result.before_m},
        }
        found = [measured(recording, cars | {fit.stem: result.car}) for recording in recordings]
    place = workspace().below(artifacts.report_folder("calibration"))
    place.put(PICTURE, calibration_plot(found, roads))
    summary["picture"] = place.where(PICTURE)
    if as_json:
        show_json(summary)
        return
    _show(summary)


def _path(name: str) -> Path:
    """A run's folder, or the path itself."""
    run = Path(workspace().where(RUNS_PREFIX + name)) if is_run_name(name) else None
    return run if run is not None and run.is_dir() and not Path(name).exists() else Path(name)


def _show(summary: dict[str, Any]) -> None:
    for one in summary["recordings"]:
        rows = "rows of 1/15 s" if one["rows_last"] == "1/15 s" else "rows as long as their time stamps say"
        title = f"{one['recording']}: {one['episodes']} episodes, {one['pieces']} replays of a second, {rows}"
        horizons = list(next(iter(one["errors_m"].values())))
        table = Table("commanded", "replays", title=title, title_justify="left")
        for name in one["errors_m"]:
            table.add_column(f"{name}\n{' · '.join(horizons)}", justify="right")
        for part in one["by_speed"]:
            table.add_row(
                f"{part['from_mps']:g} to {part['to_mps']:g} m/s", str(part["pieces"]), *_cells(part["errors_m"])
            )
        table.add_row("all", str(one["pieces"]), *_cells(one["errors_m"]), style="bold")
        console.print(table)
        for problem in one["problems"]:
            console.print(f"passed over: {problem}", style="yellow", markup=False, soft_wrap=True)
    if "fit" in summary:
        fit = summary["fit"]
        (name, mine), (begun, before) = fit["held_out_errors_m"].items()
        say(
            console,
            f"{fit['file']}: on held-out episodes {mine['1 s']:.3f} m after 1 s, {begun} {before['1 s']:.3f} m\n"
            f"  drive it: undercut train --car {shlex.quote(str(fit['file']))}",
        )
    say(console, f"picture: {summary['picture']}")


def _cells(errors_m: dict[str, dict[str, float]]) -> list[str]:
    return [" · ".join(f"{value:.3f}" for value in errors.values()) + " m" for errors in errors_m.values()]
