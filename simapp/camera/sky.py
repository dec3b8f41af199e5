"""Gazebo 11's sky (SkyX at its usual hour), as greys by direction, and what is drawn of it behind everything else."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray

ROWS, COLUMNS = 64, 64
HIGHEST_RAD = 1.0
"""Elevation of the table's last row; its first one is the horizon."""
SUN_RAD = math.radians(90.0)
"""Where the sun stands, from the world's x axis."""

# g(elevation, azimuth) = sum of cos(k * (azimuth - SUN_RAD)) * polynomial of the elevation in units of 10 degrees,
# lowest power first: fitted to the sky of 36 recorded frames; what is left are 0.4 grey levels
WAVES = np.array(
    [
        [199.56, -6.55, -18.82, 4.86],
        [0.17, 5.36, 1.09, -0.14],
        [7.7, -1.68, 3.24, -1.57],
        [0.01, -0.31, -0.79, 0.75],
        [-0.24, 0.16, -0.57, 0.45],
    ]
)

NODE = 20
"""Pixels across and down between which the sky runs straight."""
NODES = CAMERA_WIDTH // NODE + 1


def sky_table(has_sky: bool, background: float) -> NDArray[np.float32]:
    """Greys (ROWS, COLUMNS) by elevation and by azimuth all round; plain without a sky."""
    if not has_sky:
        return np.full((ROWS, COLUMNS), background, np.float32)
    azimuth = np.arange(COLUMNS) * (2.0 * math.pi / COLUMNS)
    elevation = np.linspace(0.0, HIGHEST_RAD, ROWS)
    return np.asarray(
        sky_grey(elevation[:, None], np.asarray(azimuth, np.float64)[None, :]).clip(0.0, 255.0), np.float32
    )


def sky_grey(elevation_rad: FloatArray, azimuth_rad: FloatArray) -> FloatArray:
    """Greys of directions; shapes broadcast. What is higher than the frames show is as their upper rim."""
    tens = np.degrees(np.clip(elevation_rad, 0.0, math.radians(13.0))) / 10.0
    total = np.zeros(np.broadcast_shapes(np.shape(tens), np.shape(azimuth_rad)))
    for k, wave in enumerate(WAVES):
        total = total + np.cos(k * (azimuth_rad - SUN_RAD)) * sum(c * tens**p for p, c in enumerate(wave))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def draw_sky(lens, camera, table, factor, rows, above, below, frame):  # type: ignore[no-untyped-def]
    """Fill rows 0..rows-1 of a frame with the sky's greys times `factor`.

    lens (4,) x, y, cos and sin of the view's heading; camera (focal_px, sin pitch, cos pitch, height_m); above and
    below (NODES,) are scratch
    """
    count = above.shape[0]
    _nodes(lens, camera, table, factor, 0.0, above)
    for top in range(0, rows, NODE):
        _nodes(lens, camera, table, factor, float(top + NODE), below)
        for r in range(top, min(top + NODE, rows)):
            share = (r + 0.5 - top) / NODE
            row = frame[r]
            for node in range(count - 1):
                left = above[node] + (below[node] - above[node]) * share
                right = above[node + 1] + (below[node + 1] - above[node + 1]) * share
                slope = np.float32((right - left) / NODE)
                begin = np.float32(left + 0.5) + slope * np.float32(0.5)
                part = row[node * NODE :]
                for j in range(NODE):
                    part[j] = np.uint8(np.int32(min(begin + slope * np.float32(j), np.float32(255.0))))
        above[:] = below


@njit(cache=True, nogil=True, error_model="numpy")
def _nodes(lens, camera, table, factor, row, out):  # type: ignore[no-untyped-def]
    down = (row - 0.5 * CAMERA_HEIGHT) / camera[0]
    ahead, up = camera[2] - down * camera[1], -(camera[1] + down * camera[2])
    for node in range(out.shape[0]):
        left = (0.5 * CAMERA_WIDTH - node * NODE) / camera[0]
        x, y = ahead * lens[2] - left * lens[3], ahead * lens[3] + left * lens[2]
        high = math.atan2(up, math.sqrt(x * x + y * y)) * ((ROWS - 1) / HIGHEST_RAD)
        high = min(max(high, 0.0), ROWS - 1.001)
        around = math.atan2(y, x) * (COLUMNS / (2.0 * math.pi)) + COLUMNS
        r, c = int(high), int(around)
        fr, fc = high - r, around - c
        c0, c1 = c % COLUMNS, (c + 1) % COLUMNS
        one = table[r, c0] + (table[r, c1] - table[r, c0]) * fc
        two = table[r + 1, c0] + (table[r + 1, c1] - table[r + 1, c0]) * fc
        out[node] = (one + (two - one) * fr) * factor
