"""Struct-of-arrays state that simulators, race rules and trainers exchange. Units are in the names, shapes in the docs.

World frame: x east, y north, headings counter-clockwise from x, in radians. Steering is left positive. DeepRacer's
degrees and 0..100 percentages exist only in `simapp.reward` and in the files that a run writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.vehicle import CAR_COLORS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
UInt8Array = NDArray[np.uint8]
Observations = dict[str, NDArray[Any]]
"""Sensor name -> (K, ...): cameras (K, 120, 160, channels) uint8, lidars (K, values) float32."""

STEP_S = 1.0 / 15.0
"""One control step in simulated seconds (contract: 15 actions a simulated second), in every simulator."""

CAMERA_HEIGHT, CAMERA_WIDTH = 120, 160

COMMANDS_KEPT = 3
"""Commands before the last one that a car remembers: as many steps late a command may take hold."""


class EpisodeStatus(IntEnum):
    """Status of a car's episode after a step; `.name` is the simtrace's `episode_status` word."""

    prepare = 0
    in_progress = 1
    lap_complete = 2
    crashed = 3
    off_track = 4
    immobilized = 5
    reversed = 6
    time_up = 7
    pause = 8
    park = 9

    @property
    def is_over(self) -> bool:
        return EpisodeStatus.lap_complete <= self <= EpisodeStatus.time_up

    @property
    def title(self) -> str:
        """The metrics files' spelling, for example "Off track" (metrics/constants.py EPISODE_STATUS_LABEL_MAP)."""
        return "Time Up" if self is EpisodeStatus.time_up else self.name.replace("_", " ").capitalize()


BROKEN = (EpisodeStatus.crashed, EpisodeStatus.off_track, EpisodeStatus.immobilized, EpisodeStatus.reversed)
"""How a drive goes wrong; in an evaluation it goes on after a reset and a pause."""
HELD = (EpisodeStatus.prepare, EpisodeStatus.pause, EpisodeStatus.park)
"""The car is held where it stands, and the reward function is not called."""


@dataclass(slots=True)
class Poses:
    """Where to put cars: base_link position and heading, each (K,) float64."""

    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray


@dataclass(slots=True)
class Controls:
    """Commands for one step, each (K,) float64; steering left positive in radians, speed in m/s."""

    steering_rad: FloatArray
    speed_mps: FloatArray

    @classmethod
    def joined(cls, parts: "Sequence[Controls]") -> "Controls":
        """Those of several groups of cars, one group after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


@dataclass(slots=True)
class CarBatch:
    """State of N cars, each field float64 and (N,) unless it says more. x, y, heading are of base_link (see
    contract/vehicle.py).
    """

    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    speed_mps: FloatArray
    steering_rad: FloatArray
    commanded_speed_mps: FloatArray
    commanded_steering_rad: FloatArray
    sideways_mps: FloatArray
    """Velocity of the centre of mass to the left, in the car's frame."""
    yaw_rate_rps: FloatArray
    rim_mps: FloatArray
    """Speed of the wheels' rims; the car's own is another while tyres slide."""
    earlier_speed_mps: FloatArray
    """(N, COMMANDS_KEPT), the commands before commanded_speed_mps, the latest first; and so for steering."""
    earlier_steering_rad: FloatArray

    @classmethod
    def zeros(cls, num_cars: int) -> "CarBatch":
        return cls(*(np.zeros(num_cars) for _ in range(10)), *(np.zeros((num_cars, COMMANDS_KEPT)) for _ in range(2)))


class ObjectKind(IntEnum):
    """What may be in a car's way; outlines and heights are in contract.vehicle."""

    nothing = 0
    box = 1
    car = 2


@dataclass(slots=True)
class TrackObjects:
    """What is on the road of K worlds besides the cars that drive there: M places a world, each field (K, M).

    kind        uint8 of ObjectKind; the other fields of an empty place are 0
    x_m, y_m    middle of the outline (a car's base_link), float64
    heading_rad float64
    speed_mps   float64 along the heading; 0 for what stands
    colour      uint8, index into contract.vehicle.CAR_COLORS; boxes have one look
    """

    kind: UInt8Array
    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    speed_mps: FloatArray
    colour: UInt8Array

    @classmethod
    def none(cls, worlds: int, places: int = 0) -> "TrackObjects":
        shape = (worlds, places)
        x_m, y_m, heading_rad, speed_mps = (np.zeros(shape) for _ in range(4))
        return cls(np.zeros(shape, np.uint8), x_m, y_m, heading_rad, speed_mps, np.zeros(shape, np.uint8))

    @property
    def places(self) -> int:
        return int(self.kind.shape[1])

    def of(self, worlds: IntArray) -> "TrackObjects":
        """A copy of the rows of some worlds (K,)."""
        return TrackObjects(*(getattr(self, name)[worlds] for name in self.__slots__))

    def first(self, places: int) -> "TrackObjects":
        """The first places of each row, (K, places)."""
        return TrackObjects(*(getattr(self, name)[:, :places] for name in self.__slots__))

    @classmethod
    def stacked(cls, rows: "Sequence[tuple[TrackObjects, int]]") -> "TrackObjects":
        """One row each of several TrackObjects, (len(rows), M)."""
        return cls(*(np.stack([getattr(objects, name)[row] for objects, row in rows]) for name in cls.__slots__))

    def put(self, worlds: IntArray, objects: "TrackObjects") -> None:
        """Overwrite the rows of some worlds (K,)."""
        for name in self.__slots__:
            getattr(self, name)[worlds] = getattr(objects, name)

    def beside(self, others: "TrackObjects") -> "TrackObjects":
        """Places of both, world by world: (K, M1 + M2)."""
        return TrackObjects(*(np.concatenate([getattr(self, n), getattr(others, n)], axis=1) for n in self.__slots__))


STEP_DTYPE = np.dtype(
    [
        ("x_m", "f8"),  # front point of the car, what reward functions see as x, y
        ("y_m", "f8"),
        ("heading_rad", "f8"),
        ("steering_rad", "f8"),  # commanded
        ("speed_mps", "f8"),  # commanded
        ("reward", "f8"),
        ("progress_pct", "f8"),
        ("closest_waypoint", "i4"),
        ("all_wheels_on_track", "?"),
        ("status", "u1"),  # EpisodeStatus
        ("time_s", "f8"),  # simulated seconds since the lap began, this step and the pauses of penalties included
        ("pause_s", "f8"),  # seconds of a penalty that are left after the step
    ]
)
"""One row per step of an episode, in the order of steps; what simtraces, metrics and plots are made from.

As in AWS's simulator (deepracer_racetrack_env.py `_update_state`) a row holds the pose that the car had when the step
began and the command that it was given there: what the command does shows in the next row. Reward and rules judge that
pose. In 9,981 recorded steps the way to the next row follows the command of its own row and of the one before, and not
at all that of the row after.
"""


def broken_steps(steps: np.ndarray) -> str | None:
    """What makes these rows of STEP_DTYPE no steps that were driven, in words; None when nothing does."""
    numbers = [steps[name] for name in STEP_DTYPE.names or () if STEP_DTYPE[name].kind == "f"]
    raw = np.ascontiguousarray(steps["all_wheels_on_track"]).view("u1")
    if not all(bool(np.isfinite(values).all()) for values in numbers) or bool((raw > 1).any()):
        return "a step with a number that is not finite, or a truth value that is neither 0 nor 1"
    if bool((steps["status"] > max(EpisodeStatus)).any()) or bool((steps["closest_waypoint"] < 0).any()):
        return "a step with an unknown status or waypoint"
    return None


def broken_objects(objects: TrackObjects) -> str | None:
    """The same of objects on the road."""
    placed = (objects.x_m, objects.y_m, objects.heading_rad, objects.speed_mps)
    known = bool((objects.kind <= max(ObjectKind)).all() and (objects.colour < len(CAR_COLORS)).all())
    if not known or not all(bool(np.isfinite(values).all()) for values in placed):
        return "an object on the road of an unknown kind or colour, or nowhere"
    return None
