"""Roads whose fastest laps are known by hand, and one racing line that several tests look at."""

import math
from functools import cache
from pathlib import Path

import numpy as np
from filelock import FileLock

from contract.car import car_of_version
from contract.state import FloatArray
from simapp.tracks import Track, load_track
from undercut.line.profile import RacingLine
from undercut.line.raceline import find_line

SHARED = "kidney"
kept_in: Path | None = None
"""Where the line lies for all workers, once one has found it."""


def ring(radius_m: float, width_m: float, count: int = 120) -> Track:
    """A circular road, driven counter-clockwise."""
    angle = 2.0 * math.pi * np.arange(count + 1) / count

    def circle(radius: float) -> FloatArray:
        points = radius * np.column_stack([np.cos(angle), np.sin(angle)])
        points[-1] = points[0]
        return points

    route = np.hstack([circle(radius_m), circle(radius_m - 0.5 * width_m), circle(radius_m + 0.5 * width_m)])
    return Track("ring", route)


@cache
def kidney() -> tuple[Track, RacingLine]:
    """A shipped track of 16 m with a left and a right bend, and the line of the car of version 5; a few seconds."""
    track = load_track(SHARED)
    if kept_in is None:
        return track, find_line(track, car_of_version(5), 0.0, "one")
    path = kept_in / f"{SHARED}.line"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            path.write_bytes(find_line(track, car_of_version(5), 0.0, "one").to_bytes())
        return track, RacingLine.from_bytes(path.read_bytes())
