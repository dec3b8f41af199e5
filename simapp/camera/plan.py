"""Which lines of ground a frame samples, and how each picture row is mixed from them; the same for every frame."""

import math
from dataclasses import dataclass

import numpy as np

from contract.state import FloatArray, IntArray
from simapp.camera.pinhole import Pinhole

WEIGHT_ONE = 256
"""Weights of a row's lines sum to this."""

TEXEL_PER_PIXEL = 0.8
"""Texel over the pixel's width on the ground. A texel's box and the bilinear lookup have the variance texel**2 / 4, the
triangle filter that shrinks 640x480 to 160x120 has pixel**2 / 6: equal at sqrt(2 / 3)."""


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


def scan_plan(camera: Pinhole, texels_m: FloatArray, farthest_m: float) -> ScanPlan:
    """Lines for mip levels of texels_m (L,), up to farthest_m ahead.

    A pixel's footprint is longer than wide by about distance / height, so a far row needs many lines. The rows' filter
    is a triangle two rows high, so neighbouring rows share their lines.
    """
    top = camera.horizon_row + camera.focal_px * camera.height_m / farthest_m / math.cos(camera.pitch_rad) ** 2
    row, rows, heights = float(camera.height) + 0.5, [], []
    while row > top:
        height = 1.0 / _lines_per_row(camera, row)
        rows.append(row - height / 2)
        heights.append(height)
        row -= height
    positions, spacings = np.array(rows[::-1]), np.array(heights[::-1])
    ahead, _ = camera.ground(np.array(camera.width / 2), positions)
    depth = ahead * math.cos(camera.pitch_rad) + camera.height_m * math.sin(camera.pitch_rad)
    step = depth / camera.focal_px
    level = np.rint(np.log2(TEXEL_PER_PIXEL * step / texels_m[0])).clip(0, len(texels_m) - 1)

    offsets = positions - (np.arange(camera.height)[:, None] + 0.5)
    shares = np.maximum(1.0 - abs(offsets), 0.0) * spacings
    used = shares > 0.0
    first = np.where(used.any(axis=1), used.argmax(axis=1), 0)
    count = used.sum(axis=1)
    weights = np.zeros((camera.height, int(count.max())), np.int32)
    for r in np.flatnonzero(count):
        share = shares[r, first[r] : first[r] + count[r]]
        # round the running sum, so that the weights add up exactly
        edges = np.rint(np.concatenate([[0.0], np.cumsum(share)]) / share.sum() * WEIGHT_ONE)
        weights[r, : count[r]] = np.diff(edges)
    return ScanPlan(ahead, step, level.astype(np.int64), first.astype(np.int64), count.astype(np.int64), weights)


def _lines_per_row(camera: Pinhole, row: float) -> int:
    """Fewer lines than the footprint's length over its width: the finest that the frame rate affords."""
    ahead, _ = camera.ground(np.array(camera.width / 2), np.array([max(row - 1.0, camera.horizon_row + 0.5), row]))
    depth = float(ahead[1]) * math.cos(camera.pitch_rad) + camera.height_m * math.sin(camera.pitch_rad)
    aspect = float(ahead[0] - ahead[1]) / (depth / camera.focal_px)
    return int(min(max(math.ceil(aspect / 3.0), 2), 6))
