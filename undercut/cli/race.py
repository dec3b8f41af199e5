"""`undercut race` and `tournament`: trained models against each other."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from contract import artifacts
from contract.config import RunConfig, check_run_name
from undercut.cli import options
from undercut.cli.as_json import JsonOption
from undercut.cli.view import ViewOption, page
from undercut.races.params import race_params
from undercut.runs.params_files import load_race, show_unused
from undercut.runs.run import overlaid
from undercut.runs.workspace import workspace


def race(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN_A RUN_B ...", show_default=False)] = None,
    laps: options.LapsOption = None,
    name: Annotated[str, typer.Option(help="the race's files go to races/NAME/")] = "race",
    checkpoint: options.WhichOption = "best",
    track: options.TrackOption = None,
    sim: options.SimOption = None,
    ros: options.RosOption = False,
    gui: options.GuiOption = False,
    obstacles: options.ObstaclesOption = None,
    bots: options.BotsOption = None,
    car: options.CarOption = None,
    continuous: options.ContinuousOption = None,
    reverse_dir: options.ReverseOption = None,
    seed: options.SeedOption = None,
    params: options.ParamsOption = None,
    view: ViewOption = False,
    video: options.VideoOption = True,
    as_json: JsonOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Race two to four runs head to head on one track."""
    out = options.messages_on(as_json)
    with options.loading(out):
        from undercut.races import races as racing
        from undercut.video import videos
    objects = options.race_values(None, obstacles, bots)
    grid, config, params_text = _race(
        runs, name, checkpoint, params, track, laps, continuous, reverse_dir, seed, objects, out, verbose
    )
    config = RunConfig.build(
        overlaid(config.model_dump(), {"simulator": sim, "car": options.car_values(car)}), "command line"
    )
    with page("race", config.name, view):
        racing.head_to_head(grid, config, out)
        workspace().put(artifacts.race_params(name), params_text.encode())
    if video:
        videos.after_race(name, out)
    if as_json:
        _show_result(name)


def tournament(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN_A RUN_B ...", show_default=False)] = None,
    laps: options.LapsOption = None,
    name: Annotated[str, typer.Option(help="the results go to races/NAME/")] = "tournament",
    checkpoint: options.WhichOption = "best",
    track: options.TrackOption = None,
    continuous: options.ContinuousOption = None,
    reverse_dir: options.ReverseOption = None,
    seed: options.SeedOption = None,
    params: options.ParamsOption = None,
    as_json: JsonOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Knock-out races of two runs each until one is left."""
    out = options.messages_on(as_json)
    with options.loading(out):
        from undercut.races import races as racing
    grid, config, params_text = _race(
        runs, name, checkpoint, params, track, laps, continuous, reverse_dir, seed, {}, out, verbose
    )
    racing.tournament(grid, config, out)
    workspace().put(artifacts.race_params(name), params_text.encode())
    if as_json:
        _show_result(name)


def _show_result(name: str) -> None:
    """The race's result as it was saved."""
    typer.echo(workspace().get(artifacts.race_result(name)).decode().rstrip())


def _race(
    runs: list[str] | None,
    name: str,
    which: str,
    params: Path | None,
    track: str | None,
    laps: int | None,
    continuous: bool | None,
    reverse_dir: bool | None,
    seed: int | None,
    race: dict[str, Any],
    out: Console,
    verbose: bool,
) -> tuple[Any, RunConfig, str]:
    """The grid, the config of the race, and the file of parameters that would ask for it."""
    from undercut.races import races as racing

    check_run_name(name, "--name")
    read = load_race(params, runs or [])
    if verbose:
        show_unused(out, params, read.unused)
    grid = racing.grid_of(read, which)
    given = {
        "track": track,
        "seed": seed,
        "reverse_dir": reverse_dir,
        "race": {key: value for key, value in race.items() if key != "race_type"},
        "evaluation": {"number_of_trials": laps, "is_continuous": continuous},
    }
    config = racing.race_config(read, grid, name, given)
    params_text = race_params(dataclasses.replace(read, race=config.race, evaluation=config.evaluation), config.track)
    return grid, config, params_text
