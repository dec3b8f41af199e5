"""The compiled ray caster: rays against oriented boxes and the room's walls."""

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _hashed(z):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser: 64 well mixed bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, error_model="numpy")
def normal(seed, frame, ray):  # type: ignore[no-untyped-def]
    """A standard normal number that depends on the three alone (Box and Muller 1958), at most 8.6 in size."""
    step = np.uint64(0x9E3779B97F4A7C15)
    key = _hashed(_hashed(seed + step) + np.uint64(frame) * step) + np.uint64(2 * ray) * step
    first, second = _hashed(key + step), _hashed(key + step + step)
    radius = math.sqrt(-2.0 * math.log((float(first >> np.uint64(11)) + 1.0) * 2.0**-53))
    return radius * math.cos(2.0 * math.pi * float(second >> np.uint64(11)) * 2.0**-53)


@njit(cache=True, nogil=True, error_model="numpy")
def cast_rays(poses, boxes, room, walls, fan, limits, seed, frame, out):  # type: ignore[no-untyped-def]
    """Readings `out` (K, R) of cars at poses (3, K) among boxes (5, K, M) of x, y, heading, length, width.

    room (4,) xmin, ymin, xmax, ymax; walls (K, R) how far the rays reach in it besides, or (0, 0)
    fan (2, R) cosine and sine of the rays from the heading
    limits: mount ahead of base_link, least and largest range, the noise's standard deviation

    A box without length is none. A ray that begins in a box reads the least range; one from outside of the room begins
    at the nearest wall.
    """
    mount_m, least_m, most_m, noise_m = limits
    for k in range(out.shape[0]):
        cos, sin = math.cos(poses[2, k]), math.sin(poses[2, k])
        x = min(max(poses[0, k] + mount_m * cos, room[0]), room[2])
        y = min(max(poses[1, k] + mount_m * sin, room[1]), room[3])
        for r in range(out.shape[1]):
            dx, dy = cos * fan[0, r] - sin * fan[1, r], sin * fan[0, r] + cos * fan[1, r]
            across = ((room[2] if dx > 0.0 else room[0]) - x) / dx if dx != 0.0 else math.inf
            up = ((room[3] if dy > 0.0 else room[1]) - y) / dy if dy != 0.0 else math.inf
            out[k, r] = min(across, up)
            if walls.shape[0] > 0:
                out[k, r] = min(out[k, r], walls[k, r])
        for m in range(boxes.shape[2]):
            half_length, half_width = 0.5 * boxes[3, k, m], 0.5 * boxes[4, k, m]
            if half_length <= 0.0:
                continue
            away_x, away_y = boxes[0, k, m] - x, boxes[1, k, m] - y
            # nothing in reach: the corners are nearer than half length plus half width to the middle
            if math.hypot(away_x, away_y) - half_length - half_width > most_m:
                continue
            box_cos, box_sin = math.cos(boxes[2, k, m]), math.sin(boxes[2, k, m])
            # the sensor in the box's frame
            u, v = -(away_x * box_cos + away_y * box_sin), -(away_y * box_cos - away_x * box_sin)
            turn_cos, turn_sin = cos * box_cos + sin * box_sin, sin * box_cos - cos * box_sin
            for r in range(out.shape[1]):
                du = turn_cos * fan[0, r] - turn_sin * fan[1, r]
                dv = turn_sin * fan[0, r] + turn_cos * fan[1, r]
                near, far = 0.0, out[k, r]
                if du != 0.0:
                    a, b = (-half_length - u) / du, (half_length - u) / du
                    near, far = max(near, min(a, b)), min(far, max(a, b))
                elif abs(u) > half_length:
                    continue
                if dv != 0.0:
                    a, b = (-half_width - v) / dv, (half_width - v) / dv
                    near, far = max(near, min(a, b)), min(far, max(a, b))
                elif abs(v) > half_width:
                    continue
                if near <= far:
                    out[k, r] = near
        for r in range(out.shape[1]):
            reading = out[k, r]
            if noise_m > 0.0 and reading < most_m:
                reading += noise_m * normal(seed[k], frame[k], r)
            out[k, r] = min(max(reading, least_m), most_m)
