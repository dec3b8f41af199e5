"""Struct-of-arrays state that simulators, race rules and trainers exchange. Units are in the names, shapes in the docs.

World frame: x east, y north, headings counter-clockwise from x, in radians. Steering is left positive. DeepRacer's
degrees and 0..100 percentages exist only in `simapp.reward` and in the files that a run writes.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
UInt8Array = NDArray[np.uint8]

STEP_S = 1.0 / 15.0
"""One control step in simulated seconds (contract: 15 actions a simulated second), in every simulator."""

CAMERA_HEIGHT, CAMERA_WIDTH = 120, 160


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
        """The metrics files' spelling, for example "Off track"; an episode still under way reads "In progress"."""
        return "In progress" if self is EpisodeStatus.prepare else self.name.replace("_", " ").capitalize()


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


@dataclass(slots=True)
class CarBatch:
    """State of N cars, each field (N,) float64. x, y, heading are of base_link (see contract/vehicle.py)."""

    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    speed_mps: FloatArray
    steering_rad: FloatArray
    commanded_speed_mps: FloatArray
    commanded_steering_rad: FloatArray

    @classmethod
    def zeros(cls, num_cars: int) -> "CarBatch":
        return cls(*(np.zeros(num_cars) for _ in range(7)))


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
        ("status", "u1"),  # EpisodeStatus after the step
        ("time_s", "f8"),  # simulated seconds since the episode began
    ]
)
"""One row per step of an episode, in the order of steps; what simtraces, metrics and plots are made from."""
