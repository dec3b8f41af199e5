"""The front camera's geometry: a pinhole that is pitched down and rides on the car, in one place for every renderer."""

import math
from dataclasses import dataclass

import numpy as np

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray
from contract.vehicle import BASE_LINK_HEIGHT_M, CAMERA_HEIGHT_M, CAMERA_HFOV_RAD, CAMERA_PITCH_RAD, CAMERA_X_M

NOSE_UP_RAD = 0.0236
"""How far the body leans back in the real simulator, about base_link.

Measured in the reference frames: with the nominal 15 degrees, walls that are square to each other are not, and no track
fits; with 13.65 degrees and the height that follows, three frames fit reinvent_base's printed lines to a millimetre.
"""


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A camera without roll. Ground coordinates are metres ahead and to the left of the lens, heights above ground.

    Pixel (column, row) is the area [column, column + 1) x [row, row + 1); positions below are in these continuous
    coordinates, so the picture's centre is (width / 2, height / 2).
    """

    ahead_m: float  # the lens, ahead of base_link
    height_m: float
    pitch_rad: float  # down
    hfov_rad: float
    width: int = CAMERA_WIDTH
    height: int = CAMERA_HEIGHT

    @property
    def focal_px(self) -> float:
        return self.width / 2 / math.tan(self.hfov_rad / 2)

    @property
    def horizon_row(self) -> float:
        return self.height / 2 - self.focal_px * math.tan(self.pitch_rad)

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """What compiled code takes: focal_px, sin and cos of the pitch, height_m."""
        return self.focal_px, math.sin(self.pitch_rad), math.cos(self.pitch_rad), self.height_m

    def project(self, ahead_m: FloatArray, left_m: FloatArray, height_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points (any shape, broadcast) relative to the lens's spot on the ground -> (column, row); NaN when behind."""
        sin, cos = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        below = self.height_m - np.asarray(height_m, dtype=np.float64)
        depth = ahead_m * cos + below * sin
        depth = np.where(depth > 1e-9, depth, np.nan)
        column = self.width / 2 - self.focal_px * left_m / depth
        row = self.height / 2 + self.focal_px * (below * cos - ahead_m * sin) / depth
        return column, row

    def ground(self, column: FloatArray, row: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where pixels (any shape, broadcast) look at the ground -> (ahead, left); NaN at and above the horizon."""
        sin, cos = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        right = (np.asarray(column, dtype=np.float64) - self.width / 2) / self.focal_px
        down = (np.asarray(row, dtype=np.float64) - self.height / 2) / self.focal_px
        drop = sin + down * cos
        reach = self.height_m / np.where(drop > 1e-9, drop, np.nan)
        return (cos - down * sin) * reach, -right * reach

    def resized(self, width: int, height: int) -> "Pinhole":
        """The same view on another picture size."""
        return Pinhole(self.ahead_m, self.height_m, self.pitch_rad, self.hfov_rad, width, height)


def front_camera() -> Pinhole:
    """The car's camera: contract.vehicle's mount on a body that leans back by NOSE_UP_RAD."""
    up = CAMERA_HEIGHT_M - BASE_LINK_HEIGHT_M
    sin, cos = math.sin(NOSE_UP_RAD), math.cos(NOSE_UP_RAD)
    return Pinhole(
        ahead_m=CAMERA_X_M * cos - up * sin,
        height_m=BASE_LINK_HEIGHT_M + up * cos + CAMERA_X_M * sin,
        pitch_rad=CAMERA_PITCH_RAD - NOSE_UP_RAD,
        hfov_rad=CAMERA_HFOV_RAD,
    )
