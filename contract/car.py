"""What a simulated car is made of, as data: one description a generation of AWS's simulator, or a racer's own file.

A car file is YAML of `name: value` lines; contract/cars/ has those of the two generations. docs/vehicle.md says where
each constant comes from and how far the cars stray from recordings that they were not fitted to.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from contract.fields import check_keys, fields_of, read_text, read_value
from contract.yamlfile import read_entries

LAST_VERSION_OF_EFFORT_CARS = 4
"""Metadata up to this version drives the car with effort controlled joints, as in AWS's launch files."""
Joints = Literal["velocity", "effort"]
_CARS = Path(__file__).resolve().parent / "cars"


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Car:
    """One make of car. Lengths in metres, angles in radians unless a name says otherwise, left positive.

    Values beyond a field's range make the car's equations stiff, or are of no such car.
    """

    name: str = Field(description="what reports call it")
    joints: Joints = Field(description="how the wheels' joints are driven: velocity (version 5 and later) or effort")
    wheel_radius_m: float = Field(ge=0.01, le=0.2, description="radius of the wheels")
    command_radius_m: float = Field(
        ge=0.01,
        le=0.2,
        description="a commanded speed is divided by this to get the wheels' speed of turning, in rad/s",
    )
    wheel_limit_rps: float = Field(ge=1.0, le=1000.0, description="rad/s; the wheel joints turn no faster")
    wheel_gain_rear: float = Field(ge=0.0, le=1000.0, description="Nm for each rad/s of error, of effort joints")
    wheel_gain_front: float = Field(ge=0.0, le=1000.0, description="the same for the front wheels")
    steering_gain_p: float = Field(ge=0.0, le=1000.0, description="Nm for each radian of error, of effort hinges")
    steering_gain_d: float = Field(ge=0.0, le=1000.0, description="Nm for each rad/s of its change")
    effort_limit_nm: float = Field(ge=0.0, le=1000.0, description="Nm that an effort joint gives at most")
    controller_hz: float = Field(ge=1.0, le=1000.0, description="steps a second of the joints' controller")
    gyration_m: float = Field(ge=0.05, le=0.5, description="radius of gyration about the vertical")
    centre: float = Field(
        ge=0.2,
        le=0.8,
        description="centre of mass ahead of the rear axle, in wheelbases: the front axle's share of the load",
    )
    half_track_m: float = Field(ge=0.0, le=0.15, description="wheels lie this far left and right of the middle")
    published_friction: float = Field(
        ge=0.0, le=3.0, description="friction coefficient in the public description of the car"
    )
    friction: float = Field(
        ge=0.05,
        le=3.0,
        description="a tyre pushes along its wheel and across it by at most this share of its load, each",
    )
    slide_mps: float = Field(ge=0.05, le=2.0, description="sliding at which a tyre gives 1 / sqrt(2) of that")
    speed_lag_s: float = Field(ge=0.0, le=1.0, description="first-order lag of the wheels' turning behind the command")
    steering_lag_s: float = Field(
        ge=0.001, le=1.0, description="first-order lag of the wheels' angle behind the command"
    )
    steering_kick_rad: float = Field(
        ge=0.0,
        le=0.5,
        description="how far a new command turns the wheels at once: the answer of a controller's derivative gain "
        "to its error's leap, which the joints' torque limits. A change by less turns them by twice the change at most",
    )
    steering_gain: float = Field(ge=0.1, le=2.0, description="angle that the wheels tend to, for each radian commanded")
    steering_offset_deg: float = Field(ge=-10.0, le=10.0, description="added to the wheels' angle, left positive")
    latency_steps: float = Field(ge=0.0, le=2.0, description="how late a command takes hold, in steps of 1/15 s")

    @property
    def top_speed_mps(self) -> float:
        """What the wheel joints' limit allows."""
        return self.wheel_limit_rps * self.wheel_radius_m

    @classmethod
    def load(cls, path: Path) -> "Car":
        """The car of a YAML file. Keys that it leaves out are those of version 5; InputError names file, line, rule."""
        given: dict[str, Any] = {}
        entries = read_entries(read_text(path, "a car file"), str(path))
        schema = fields_of(cls)
        check_keys(entries, schema, str(path))
        for name, entry in entries.items():
            given[name] = read_value(schema[name], entry.value, entry.place)
        if path.parent == _CARS:
            return cls(**given)
        given.setdefault("name", path.stem)
        return replace(car_of_version(5), **given)

    def to_yaml(self, comments: Sequence[str]) -> str:
        """The car's file: the comments, then every constant."""
        lines = [f"# {comment}" for comment in comments]
        return "\n".join([*lines, *(f"{item.name}: {getattr(self, item.name)}" for item in fields(self))]) + "\n"


@cache
def car_of_version(version: float) -> Car:
    """The car that AWS's simulator launches for this `version` in model_metadata.json."""
    return Car.load(_CARS / ("v4.yaml" if version <= LAST_VERSION_OF_EFFORT_CARS else "v5.yaml"))


def other_car(version: float, car: Car | None) -> Car:
    """What domain randomisation goes towards: from a racer's own `car` the version's, else the other generation's."""
    effort = version <= LAST_VERSION_OF_EFFORT_CARS
    return car_of_version(version) if car is not None else car_of_version(5 if effort else 4)
