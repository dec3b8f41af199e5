"""What a simulated car is made of, as data: one description a generation of AWS's simulator, or a racer's own file.

A car file is YAML of `name: value` lines; contract/cars/ has those of the two generations. docs/vehicle.md says where
each constant comes from and how far the cars stray from recordings that they were not fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from contract.fields import check_keys, choice, number, read_text
from contract.yamlfile import read_entries

LAST_VERSION_OF_EFFORT_CARS = 4
"""Metadata up to this version drives the car with effort controlled joints, as in AWS's launch files."""
JOINTS = ("velocity", "effort")
_CARS = Path(__file__).resolve().parent / "cars"


@dataclass(frozen=True, slots=True)
class Car:
    """One make of car. Lengths in metres, angles in radians unless a name says otherwise, left positive."""

    name: str
    joints: str
    """How the wheels' joints are driven: `velocity` (version 5 and later) or `effort`."""
    wheel_radius_m: float
    command_radius_m: float
    """A commanded speed is divided by this to get the wheels' speed of turning, in rad/s."""
    wheel_limit_rps: float
    """The wheel joints turn no faster (rad/s)."""
    wheel_gain_rear: float
    """Nm for each rad/s of error, of effort joints; and so for the front wheels."""
    wheel_gain_front: float
    steering_gain_p: float
    """Nm for each radian of error, of effort hinges; and _d for each rad/s."""
    steering_gain_d: float
    effort_limit_nm: float
    controller_hz: float
    gyration_m: float
    """Radius of gyration about the vertical."""
    centre: float
    """Centre of mass ahead of the rear axle, in wheelbases; the front axle's share of the load."""
    half_track_m: float
    """Wheels lie this far left and right of the middle."""
    published_friction: float
    """The friction coefficient in the public description of the car."""
    friction: float
    """A tyre pushes along its wheel and across it by at most this share of its load, each."""
    slide_mps: float
    """Sliding at which a tyre gives 1 / sqrt(2) of that."""
    speed_lag_s: float
    """First-order lag of the wheels' turning behind the command."""
    steering_lag_s: float
    """First-order lag of the wheels' angle behind the command."""
    steering_kick_rad: float
    """How far a new command turns the wheels at once: the answer of a controller's derivative gain to its error's leap,
    which the joints' torque limits. A change by less turns them by twice the change at most."""
    steering_gain: float
    """Angle that the wheels tend to, for each radian commanded."""
    steering_offset_deg: float
    """Added to the wheels' angle, left positive."""
    latency_steps: float
    """How late a command takes hold, in steps of 1/15 s."""

    def __post_init__(self) -> None:
        if self.joints not in JOINTS:
            raise ValueError(f"joints is {self.joints!r}; it is one of {', '.join(JOINTS)}")
        for name, (low, high) in _LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; it is {low:g}..{high:g}")

    @property
    def top_speed_mps(self) -> float:
        """What the wheel joints' limit allows."""
        return self.wheel_limit_rps * self.wheel_radius_m

    @classmethod
    def load(cls, path: Path) -> "Car":
        """The car of a YAML file. Keys that it leaves out are those of version 5; InputError names file, line, rule."""
        given: dict[str, Any] = {}
        entries = read_entries(read_text(path, "a car file"), str(path))
        check_keys(entries, [item.name for item in fields(cls)], str(path))
        for name, entry in entries.items():
            if name == "name":
                given[name] = str(entry.value)
            elif name == "joints":
                given[name] = choice(entry.value, entry.place, JOINTS)
            else:
                given[name] = number(entry.value, entry.place, *_LIMITS[name])
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


_LIMITS: dict[str, tuple[float, float]] = {
    "wheel_radius_m": (0.01, 0.2),
    "command_radius_m": (0.01, 0.2),
    "wheel_limit_rps": (1.0, 1000.0),
    "wheel_gain_rear": (0.0, 1000.0),
    "wheel_gain_front": (0.0, 1000.0),
    "steering_gain_p": (0.0, 1000.0),
    "steering_gain_d": (0.0, 1000.0),
    "effort_limit_nm": (0.0, 1000.0),
    "controller_hz": (1.0, 1000.0),
    "gyration_m": (0.05, 0.5),
    "centre": (0.2, 0.8),
    "half_track_m": (0.0, 0.15),
    "published_friction": (0.0, 3.0),
    "friction": (0.05, 3.0),
    "slide_mps": (0.05, 2.0),
    "speed_lag_s": (0.0, 1.0),
    "steering_lag_s": (0.001, 1.0),
    "steering_kick_rad": (0.0, 0.5),
    "steering_gain": (0.1, 2.0),
    "steering_offset_deg": (-10.0, 10.0),
    "latency_steps": (0.0, 2.0),
}
"""Least and most that a car file may say; what is outside makes the car's equations stiff or is no such car."""
