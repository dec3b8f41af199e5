"""What stands in an imported world and hides boxes and cars: put back over them."""

import math

import numpy as np
from numba import njit

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH


@njit(cache=True, nogil=True, error_model="numpy")
def put_back(lenses, cameras, look, x_m, y_m, reach_m, before, depths, frames):  # type: ignore[no-untyped-def]
    """Restore pixels of frames (K, CAMERA_HEIGHT, CAMERA_WIDTH), drawn over `before`, where what stands is nearer than
    the nearest object in that direction.

    look, x_m, y_m (K, M) are the objects, look -1 is none; depths (K, ...) is 1 / depth of what stands, 0 where nothing
    does. An object is taken to be as deep as its middle, and `reach_m` wide to both sides.
    """
    nearest = np.empty(CAMERA_WIDTH, np.float32)
    for k in range(frames.shape[0]):
        focal, sin, cos, height = cameras[k]
        nearest[:] = np.float32(0.0)
        first, last = CAMERA_WIDTH, 0
        for m in range(look.shape[1]):
            if look[k, m] < 0:
                continue
            dx, dy = x_m[k, m] - lenses[k, 0], y_m[k, m] - lenses[k, 1]
            ahead, left = dx * lenses[k, 2] + dy * lenses[k, 3], dy * lenses[k, 2] - dx * lenses[k, 3]
            depth = ahead * cos + height * sin
            if depth < 0.05:
                continue
            begin = 0.5 * CAMERA_WIDTH - focal * (left + reach_m) / max(depth - reach_m, 0.05)
            end = 0.5 * CAMERA_WIDTH - focal * (left - reach_m) / max(depth - reach_m, 0.05)
            low = max(math.floor(min(begin, 0.5 * CAMERA_WIDTH - focal * (left + reach_m) / depth)), 0)
            high = min(math.ceil(max(end, 0.5 * CAMERA_WIDTH - focal * (left - reach_m) / depth)), CAMERA_WIDTH)
            for j in range(low, high):
                nearest[j] = max(nearest[j], np.float32(1.0 / depth))
            first, last = min(first, low), max(last, high)
        for r in range(CAMERA_HEIGHT if first < last else 0):
            for j in range(first, last):
                if depths[k, r, j] > nearest[j] and nearest[j] > 0.0:
                    frames[k, r, j] = before[k, r, j]
