"""Which lines of ground a frame samples, and how each picture row is mixed from them; the same for every frame."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.state import FloatArray, IntArray
from simapp.camera.pinhole import Pinhole

WEIGHT_ONE = 256
"""Weights of a row's lines sum to this."""

TEXEL_PER_PIXEL = 0.8
"""Texel over the pixel's width on the ground. A texel's box and the bilinear lookup have the variance texel**2 / 4, the
triangle filter that shrinks 640x480 to 160x120 has pixel**2 / 6: equal at sqrt(2 / 3)."""


MAX_LINES = 6
"""Lines that a row has at most."""


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """Lines of constant distance ahead, far to near, and the picture rows (R,) that they make.

    ahead_m (S,)      ground distance of a line ahead of the lens
    step_m (S,)       sideways ground distance between neighbouring columns
    level (S,)        mip level
    first, count (R,) a row is the mean of lines first .. first + count - 1; count 0 above the horizon
    weights (R, M)    int32, WEIGHT_ONE in sum
    """

    ahead_m: FloatArray
    step_m: FloatArray
    level: IntArray
    first: IntArray
    count: IntArray
    weights: np.ndarray

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the frame loop takes."""
        return self.ahead_m, self.step_m, self.level, self.first, self.count, self.weights


def scan_plan(camera: Pinhole, texels_m: FloatArray, farthest_m: float) -> ScanPlan:
    """Lines for mip levels of texels_m (L,), up to farthest_m ahead; the last one at most four times as far.

    A pixel's footprint is longer than wide by about distance / height, so a far row needs many lines. The rows' filter
    is a triangle two rows high, so neighbouring rows share their lines.
    """
    top = camera.horizon_row + camera.focal_px * camera.height_m / farthest_m / math.cos(camera.pitch_rad) ** 2
    positions, spacings = _place_lines(*camera.numbers, camera.height, top, camera.horizon_row)
    # the last line's middle can lie beyond the horizon, where there is no ground
    positions = np.maximum(positions, camera.horizon_row + (top - camera.horizon_row) / 4)
    ahead, _ = camera.ground(np.array(camera.width / 2), positions)
    depth = ahead * math.cos(camera.pitch_rad) + camera.height_m * math.sin(camera.pitch_rad)
    step = depth / camera.focal_px
    level = np.rint(np.log2(TEXEL_PER_PIXEL * step / texels_m[0])).clip(0, len(texels_m) - 1)
    first, count, weights = _mix_rows(positions, spacings, camera.height, WEIGHT_ONE)
    return ScanPlan(ahead, step, level.astype(np.int64), first, count, weights)


@njit(cache=True, nogil=True, error_model="numpy")
def _place_lines(
    focal: float, sin: float, cos: float, height_m: float, rows: int, top: float, horizon: float
) -> tuple[FloatArray, FloatArray]:
    """Rows of the lines' middles and the rows that each stands for, (S,), far to near.

    Fewer lines than the footprint's length over its width: the finest that the frame rate affords.
    """
    positions, heights = np.empty(MAX_LINES * (rows + 1)), np.empty(MAX_LINES * (rows + 1))
    size, row = 0, rows + 0.5
    while row > top:
        down_far, down_near = (max(row - 1.0, horizon + 0.5) - 0.5 * rows) / focal, (row - 0.5 * rows) / focal
        far = (cos - down_far * sin) * (height_m / (sin + down_far * cos))
        near = (cos - down_near * sin) * (height_m / (sin + down_near * cos))
        aspect = (far - near) / ((near * cos + height_m * sin) / focal)
        height = 1.0 / min(max(math.ceil(aspect / 3.0), 2), MAX_LINES)
        positions[size], heights[size] = row - height / 2, height
        size += 1
        row -= height
    return positions[:size][::-1].copy(), heights[:size][::-1].copy()


def _mix_rows(
    positions: FloatArray, spacings: FloatArray, rows: int, one: int
) -> tuple[IntArray, IntArray, NDArray[np.int32]]:
    """first, count and weights of a ScanPlan; weights are rounded as a running sum, so that they add up exactly."""
    middles = np.arange(rows)[:, np.newaxis] + 0.5
    shares = np.maximum(1.0 - np.abs(positions - middles), 0.0) * spacings
    running = np.cumsum(shares, axis=1)
    edges = np.rint(running / np.maximum(running[:, -1:], 1e-300) * one)
    first, count = np.argmax(shares > 0.0, axis=1), np.count_nonzero(shares, axis=1)
    lines = np.arange(2 * MAX_LINES + 2)
    own = np.minimum(first[:, np.newaxis] + lines, len(positions) - 1)
    weights = np.take_along_axis(np.diff(edges, axis=1, prepend=0.0), own, axis=1)
    return first, count, np.where(lines < count[:, np.newaxis], weights, 0.0).astype(np.int32)
