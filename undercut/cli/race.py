"""`undercut evaluate`, `race` and `tournament`: trained models against the clock and against each other."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from contract import artifacts
from contract.car import Car, car_of_version
from contract.config import RunConfig
from contract.errors import InputError
from contract.host import GUI, ROS
from contract.rollout import Rollout
from undercut.cli import stack as stack_cli
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.view import ViewOption, page
from undercut.races.params import race_params
from undercut.runs.params_files import load_params, load_race, tell_unused
from undercut.runs.run import Run
from undercut.runs.workspace import workspace

console = Console()

RaceTypeOption = Annotated[str | None, typer.Option(help="TIME_TRIAL, OBJECT_AVOIDANCE, HEAD_TO_BOT or HEAD_TO_MODEL")]
ObstaclesOption = Annotated[int | None, typer.Option(help="boxes on the track; makes it OBJECT_AVOIDANCE")]
BotsOption = Annotated[int | None, typer.Option(help="bot cars on the track; makes it HEAD_TO_BOT")]
SimOption = Annotated[str | None, typer.Option("--sim", help="builtin or gazebo", show_default=False)]


def _switched(name: str) -> Callable[[bool], bool]:
    """Sets the host's variable, so that workers are started with it as well."""

    def switch(asked: bool) -> bool:
        if asked:
            os.environ[name] = "1"
        return asked

    return switch


RosOption = Annotated[bool, typer.Option("--ros", help="show Gazebo's cars on ROS topics", callback=_switched(ROS))]
GuiOption = Annotated[bool, typer.Option("--gui", help="show Gazebo's world in a window", callback=_switched(GUI))]
RandomizeOption = Annotated[
    bool | None, typer.Option("--randomize/--no-randomize", help="domain randomisation (see the config's ranges)")
]
ParamsOption = Annotated[
    Path | None, typer.Option(help="a YAML of run parameters, as the guidance has, or a run.env", show_default=False)
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", help="name what a file of run parameters says without an effect here")
]
CarOption = Annotated[
    Path | None, typer.Option("--car", help="a car file, as `undercut calibrate --fit` writes it", show_default=False)
]
WhichOption = Annotated[str, typer.Option("--checkpoint", help="best or last")]
TrackOption = Annotated[str | None, typer.Option(help="another track than the run was trained on")]
LapsOption = Annotated[int | None, typer.Option(min=1, max=1_000, help="laps to drive")]
ReverseOption = Annotated[bool | None, typer.Option("--reverse-dir/--no-reverse-dir")]
ContinuousOption = Annotated[
    bool | None, typer.Option("--continuous/--no-continuous", help="laps in a row, without a stop between them")
]
VideoOption = Annotated[bool, typer.Option("--video/--no-video", help="MP4s of the laps, of five at most")]
SeedOption = Annotated[int | None, typer.Option(help="same seed, same numbers")]


def car_values(path: Path | None) -> dict[str, Any] | None:
    """RunConfig's `car` that the option gives."""
    return None if path is None else dataclasses.asdict(Car.load(path))


def race_values(race_type: str | None, obstacles: int | None, bots: int | None) -> dict[str, Any]:
    """RaceConfig's values that the options give. A number of things says which race it is, and draws places at random,
    obstacles 2 m apart, unless the race type does; a time trial that asks for nothing else is on an empty track."""
    values: dict[str, Any] = {"number_of_obstacles": obstacles, "number_of_bot_cars": bots}
    if obstacles:
        values |= {"race_type": "OBJECT_AVOIDANCE", "randomize_obstacle_locations": True, "object_positions": ()}
        # boxes in both lanes half a metre apart, which 2 per cent of a lap allow, leave no way through
        values |= {"min_distance_between_obstacles": 2.0, "obstacle_distance_in": "metres"}
    if bots:
        values |= {"race_type": "HEAD_TO_BOT", "randomize_bot_car_locations": True}
    if race_type is not None:
        values["race_type"] = race_type
        if race_type == "TIME_TRIAL":
            empty = {"number_of_obstacles": 0, "number_of_bot_cars": 0, "object_positions": ()}
            values |= {key: value for key, value in empty.items() if not values.get(key)}
    return values


def evaluate(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="name of the run", show_default=False)] = None,
    laps: LapsOption = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="best or last; else what --params says, or the best", show_default=False)
    ] = None,
    track: TrackOption = None,
    sim: SimOption = None,
    ros: RosOption = False,
    gui: GuiOption = False,
    race_type: RaceTypeOption = None,
    obstacles: ObstaclesOption = None,
    bots: BotsOption = None,
    continuous: ContinuousOption = None,
    reverse_dir: ReverseOption = None,
    randomize: RandomizeOption = None,
    car: CarOption = None,
    seed: SeedOption = None,
    params: ParamsOption = None,
    view: ViewOption = False,
    video: VideoOption = True,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    backend: stack_cli.BackendOption = stack_cli.Backend.local,
    overlay: stack_cli.OverlayOption = None,
) -> None:
    """Drive a trained model and write its evaluation metrics, simtrace, lap plot and videos. Many laps: statistics."""
    from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not
    from undercut.video import videos  # TensorFlow takes seconds to import; --help should not

    read = load_params(params, "EVALUATION") if params else None
    name = run or (read.model if read else None) or "default"
    if read and verbose:
        tell_unused(told_on(as_json), params, read.unused)
    checkpoint = checkpoint or (str(read.carried.get("EVAL_CHECKPOINT") or "best").lower() if read else "best")
    if backend == stack_cli.Backend.cloud:
        raise InputError("--backend", "cloud", "local or compose", f"undercut cloud evaluate {name}")
    stack = stack_cli.begun(backend, overlay, name, to_train=False)
    if stack is not None:
        raise typer.Exit(stack_cli.evaluate(stack, name, [str(params or ""), track or ""], view))
    opened = Run.open(name)
    base = opened.config.model_copy(update={"enable_domain_randomization": False}).model_dump()
    values = overlaid(
        read.over(base) if read else base,
        {
            "track": track,
            "simulator": sim,
            "car": car_values(car),
            "seed": seed,
            "reverse_dir": reverse_dir,
            "enable_domain_randomization": randomize,
            "race": race_values(race_type, obstacles, bots),
            "evaluation": {"number_of_trials": laps, "is_continuous": continuous},
        },
    )
    opened = dataclasses.replace(opened, config=RunConfig.build(values, "command line"))
    opened.write_evaluation_params(opened.config, read.carried if read else None)
    out = told_on(as_json)
    with page("run", opened.config.name, view):
        driven = sessions.evaluate(opened, out, opened.config.evaluation.number_of_trials, checkpoint)
        sessions.show_files(opened, out)
    if video:
        videos.after_evaluation(opened, out)
    if as_json:
        _show_evaluation(opened, checkpoint, driven)


def race(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN_A RUN_B ...", show_default=False)] = None,
    laps: LapsOption = None,
    name: Annotated[str, typer.Option(help="the race's files go to races/NAME/")] = "race",
    checkpoint: WhichOption = "best",
    track: TrackOption = None,
    sim: SimOption = None,
    ros: RosOption = False,
    gui: GuiOption = False,
    obstacles: ObstaclesOption = None,
    bots: BotsOption = None,
    car: CarOption = None,
    continuous: ContinuousOption = None,
    reverse_dir: ReverseOption = None,
    seed: SeedOption = None,
    params: ParamsOption = None,
    view: ViewOption = False,
    video: VideoOption = True,
    as_json: JsonOption = False,
) -> None:
    """Race two to four runs head to head on one track."""
    from undercut.races import races as racing
    from undercut.video import videos

    grid, config, told = _race(
        runs, name, checkpoint, params, track, laps, continuous, reverse_dir, seed, race_values(None, obstacles, bots)
    )
    config = RunConfig.build(overlaid(config.model_dump(), {"simulator": sim, "car": car_values(car)}), "command line")
    out = told_on(as_json)
    with page("race", config.name, view):
        racing.head_to_head(grid, config, out)
        workspace().put(artifacts.race_params(name), told.encode())
    if video:
        videos.after_race(name, out)
    if as_json:
        _show_result(name)


def tournament(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN_A RUN_B ...", show_default=False)] = None,
    laps: LapsOption = None,
    name: Annotated[str, typer.Option(help="the results go to races/NAME/")] = "tournament",
    checkpoint: WhichOption = "best",
    track: TrackOption = None,
    continuous: ContinuousOption = None,
    reverse_dir: ReverseOption = None,
    seed: SeedOption = None,
    params: ParamsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Knock-out races of two runs each until one is left."""
    from undercut.races import races as racing

    grid, config, told = _race(runs, name, checkpoint, params, track, laps, continuous, reverse_dir, seed, {})
    racing.tournament(grid, config, told_on(as_json))
    workspace().put(artifacts.race_params(name), told.encode())
    if as_json:
        _show_result(name)


def _show_result(name: str) -> None:
    """The race's result as it was saved."""
    typer.echo(workspace().get(artifacts.race_result(name)).decode().rstrip())


def told_on(as_json: bool) -> Console:
    """Where progress goes: stdout belongs to the JSON, if there is some."""
    return Console(stderr=True) if as_json else console


def _show_evaluation(run: Run, which: str, driven: list[Rollout]) -> None:
    """The metrics file's rows with what they say together."""
    from undercut.line.limits import gap_values
    from undercut.runs.sessions import checkpoint, gap_of_laps
    from undercut.runs.statistics import lap_statistics

    told = {
        "run": run.config.name,
        "track": run.config.track,
        "checkpoint": checkpoint(run, which).iteration,
        "car": dataclasses.asdict(run.config.car or car_of_version(run.files.metadata.version)),
        "statistics": dataclasses.asdict(lap_statistics(driven)),
        "gap": None if (gap := gap_of_laps(run, driven)) is None else gap_values(gap),
        "laps": json.loads(run.store.get(artifacts.EVALUATION_METRICS))["metrics"],
    }
    show_json(told)


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
) -> tuple[Any, RunConfig, str]:
    """The grid, the config of the race, and the file of parameters that would ask for it."""
    from undercut.races import races as racing

    read = load_race(params, runs or [])
    grid = racing.grid_of(read, which)
    base = {
        "name": name,
        "track": read.track or grid[0].run.config.track,
        "reverse_dir": read.reverse_dir,
        "race": read.race.model_dump(),
        "evaluation": read.evaluation.model_dump(),
        "enable_domain_randomization": read.enable_domain_randomization,
        "leaderboard_type": read.leaderboard_type,
        "leaderboard_name": read.leaderboard_name,
    }
    race = {key: value for key, value in race.items() if key != "race_type"}
    values = overlaid(
        base,
        {
            "track": track,
            "seed": seed,
            "reverse_dir": reverse_dir,
            "race": race,
            "evaluation": {"number_of_trials": laps, "is_continuous": continuous},
        },
    )
    config = RunConfig.build(values, "command line")
    told = race_params(dataclasses.replace(read, race=config.race, evaluation=config.evaluation), config.track)
    return grid, config, told


def overlaid(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Options that were given, those that are not None, over the values of a config."""
    merged = dict(base)
    for key, value in given.items():
        if isinstance(value, dict):
            merged[key] = {**(merged.get(key) or {}), **{k: v for k, v in value.items() if v is not None}}
        elif value is not None:
            merged[key] = value
    return merged
