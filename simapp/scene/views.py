"""From where videos look: behind a car, out of a car, and straight down on the whole track."""

import math
from dataclasses import dataclass

import numpy as np

from contract.state import STEP_S, FloatArray
from simapp.camera.pinhole import Pinhole, front_camera

TOPVIEW, CHASE, PIP, FRONT = "topview", "45degree", "pip", "front"
VIEWS = (TOPVIEW, CHASE, PIP, FRONT)
"""Map of the whole track; behind and above the car at 45 degrees; lower behind it with the map in a corner; what the
car's own camera sees. The first three are named as the contract's keys."""

_CHASE_LAG_S = 0.35
"""The chase camera's heading follows the car's with this time constant, so that a car is seen to turn."""
_CHASE_SNAP_M = 0.6
"""A car that moves further than this in a step was put somewhere else, and the camera with it."""


@dataclass(frozen=True, slots=True)
class Chase:
    """A camera behind a car: it looks at the point `ahead_m` of base_link, `height_m` high, from `distance_m` away."""

    distance_m: float
    pitch_rad: float
    ahead_m: float
    height_m: float
    hfov_rad: float

    def pinhole(self, width: int, height: int) -> Pinhole:
        back_m = self.distance_m * math.cos(self.pitch_rad) - self.ahead_m
        up_m = self.height_m + self.distance_m * math.sin(self.pitch_rad)
        return Pinhole(-back_m, up_m, self.pitch_rad, self.hfov_rad, width, height)


CHASES = {
    CHASE: Chase(1.45, math.radians(45.0), 0.16, 0.05, math.radians(60.0)),
    PIP: Chase(1.15, math.radians(21.0), 0.22, 0.10, math.radians(64.0)),
}


def pinhole_of(view: str, width: int, height: int) -> Pinhole:
    """The view's pinhole, riding on a car that heads along x."""
    if view == FRONT:
        return front_camera().resized(width, height)
    return CHASES[view].pinhole(width, height)


def followed(
    yaw_rad: float | None, x_m: float, y_m: float, heading_rad: float, moved_m: float, elapsed_s: float = STEP_S
) -> float:
    """The chase camera's heading after a step: `yaw_rad` was the one before, None at first."""
    if yaw_rad is None or moved_m > _CHASE_SNAP_M:
        return heading_rad
    behind = (heading_rad - yaw_rad + math.pi) % (2.0 * math.pi) - math.pi
    return yaw_rad + behind * (1.0 - math.exp(-elapsed_s / _CHASE_LAG_S))


@dataclass(frozen=True, slots=True)
class Plan:
    """A picture from straight above, north up: world x, y of its upper left corner, and metres a pixel."""

    left_m: float
    top_m: float
    metres_per_px: float

    @classmethod
    def of(cls, room_m: tuple[float, float, float, float], place: tuple[float, float, float, float]) -> "Plan":
        """The room (xmin, ymin, xmax, ymax) in the middle of a place of the picture: left, top, width, height."""
        xmin, ymin, xmax, ymax = room_m
        left, top, width, height = place
        metres = max((xmax - xmin) / width, (ymax - ymin) / height)
        return cls(
            0.5 * (xmin + xmax) - (left + 0.5 * width) * metres,
            0.5 * (ymin + ymax) + (top + 0.5 * height) * metres,
            metres,
        )

    @property
    def numbers(self) -> tuple[float, float, float]:
        return self.left_m, self.top_m, self.metres_per_px

    def project(self, x_m: FloatArray | float, y_m: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Continuous column and row of points."""
        return (
            np.asarray((x_m - self.left_m) / self.metres_per_px),
            np.asarray((self.top_m - y_m) / self.metres_per_px),
        )
