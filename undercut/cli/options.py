"""Options that several commands have, and what their values mean in a config."""

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.status import Status

from contract.car import Car
from contract.config import EvaluationConfig, RaceConfig, RaceType, RunConfig, SimulatorKind, Which
from contract.errors import InputError
from contract.fields import check_keys, limits_of, read_value
from contract.host import GUI, ROS
from contract.learning import LearningConfig

console = Console()


def setting(model: type[BaseModel], name: str, *words: str, described: str | None = None) -> Any:
    """The option, spelt as `words` or like the parameter, that sets a field of a config: with the field's range, and
    its description unless it is `described` here."""
    field = model.model_fields[name]
    least, most, _ = limits_of(field)
    return typer.Option(
        *words,
        help=described or field.description,
        min=None if math.isinf(least) else least,
        max=None if math.isinf(most) else most,
    )


RaceTypeOption = Annotated[RaceType | None, setting(RaceConfig, "race_type")]
ObstaclesOption = Annotated[
    int | None, setting(RaceConfig, "number_of_obstacles", described="boxes on the track; makes it OBJECT_AVOIDANCE")
]
BotsOption = Annotated[
    int | None, setting(RaceConfig, "number_of_bot_cars", described="bot cars on the track; makes it HEAD_TO_BOT")
]
SimOption = Annotated[SimulatorKind | None, setting(RunConfig, "simulator", "--sim")]


def _switched(name: str) -> Callable[[bool], bool]:
    """Sets the host's variable, so that workers are started with it as well."""

    def switch(value: bool) -> bool:
        if value:
            os.environ[name] = "1"
        return value

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
LearningOption = Annotated[
    list[str] | None,
    typer.Option(
        "--learning", metavar="KEY=VALUE", help="options of the update, such as critic=state", show_default=False
    ),
]
CarOption = Annotated[
    Path | None, typer.Option("--car", help="a car file, as `undercut calibrate --fit` writes it", show_default=False)
]
WhichOption = Annotated[Which, typer.Option("--checkpoint", help="of the run's checkpoints")]
TrackOption = Annotated[str | None, typer.Option(help="another track than the run was trained on")]
LapsOption = Annotated[int | None, setting(EvaluationConfig, "number_of_trials")]
ReverseOption = Annotated[bool | None, setting(RunConfig, "reverse_dir", "--reverse-dir/--no-reverse-dir")]
ContinuousOption = Annotated[bool | None, setting(EvaluationConfig, "is_continuous", "--continuous/--no-continuous")]
VideoOption = Annotated[bool, typer.Option("--video/--no-video", help="MP4s of the laps, of five at most")]
SeedOption = Annotated[int | None, setting(RunConfig, "seed")]


def car_values(path: Path | None) -> dict[str, Any] | None:
    """RunConfig's `car` that the option gives."""
    return None if path is None else dataclasses.asdict(Car.load(path))


def race_values(race_type: str | None, obstacles: int | None, bots: int | None) -> dict[str, Any]:
    """RaceConfig's values that the options give. A number of objects says which race it is, and draws places at random,
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


def learning_values(settings: list[str] | None) -> dict[str, Any]:
    """RunConfig's `learning` that the options give; InputError for one that is no KEY=VALUE of it."""
    values: dict[str, Any] = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError("--learning", text, "KEY=VALUE", "for example --learning critic=state")
        check_keys({key: value}, LearningConfig.model_fields, "--learning")
        values[key] = read_value(LearningConfig.model_fields[key], value, f"--learning {key}")
    return values


def loading(console: Console) -> Status:
    """What a terminal shows while a command imports what takes a second or more: numba, TensorFlow, matplotlib."""
    return console.status("loading")


def messages_on(as_json: bool) -> Console:
    """Where progress goes: stdout belongs to the JSON, if there is some."""
    return Console(stderr=True) if as_json else console
