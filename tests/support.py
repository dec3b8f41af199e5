"""Small real parts that several tests drive with."""

import functools
import math
from collections.abc import Callable

import numpy as np
from shapely import Polygon, box
from shapely.affinity import rotate, translate

from contract.conditions import Conditions
from contract.errors import InputError
from contract.state import CarBatch, Controls, FloatArray, IntArray, Observations, Poses, TrackObjects
from contract.vehicle import MAX_STEERING_RAD, WHEELBASE_M
from simapp.road.validation import crossed_rows
from simapp.tracks import Track
from simapp.vehicle import drive_cars, place_cars

RADIUS_M, WIDTH_M = 3.0, 0.8


class BlindSimulator:
    """The real car without a camera; `worlds` (N,) as in the built-in simulator."""

    def __init__(self, num_cars: int, worlds: IntArray | None = None) -> None:
        self._cars = CarBatch.zeros(num_cars)
        self._worlds = np.arange(num_cars) if worlds is None else worlds
        self.objects: dict[int, TrackObjects] = {}
        """World -> its objects (1, M) as they were furnished last."""

    @property
    def cars(self) -> CarBatch:
        return self._cars

    @property
    def worlds(self) -> IntArray:
        return self._worlds

    def furnish(self, worlds: IntArray, objects: TrackObjects) -> None:
        for row, world in enumerate(worlds.tolist()):
            self.objects[world] = objects.of(np.array([row]))

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        pass

    def place(self, cars: IntArray, poses: Poses) -> None:
        place_cars(self._cars, cars, poses)

    def step(self, cars: IntArray, controls: Controls) -> None:
        drive_cars(self._cars, cars, controls)

    def observe(self, cars: IntArray) -> Observations:
        return {"FRONT_FACING_CAMERA": np.zeros((len(cars), 120, 160, 1), np.uint8)}

    def close(self) -> None:
        pass


def circle(num: int = 240) -> Track:
    """Counter-clockwise circle around the origin, starting at (RADIUS_M, 0)."""
    angle = np.linspace(0, 2 * np.pi, num + 1)
    angle[-1] = 0.0
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    edges = [ring * (RADIUS_M - WIDTH_M / 2), ring * (RADIUS_M + WIDTH_M / 2)]
    return Track("circle", np.hstack([ring * RADIUS_M, *edges]))


def ring(rows: int = 61, radius: float = 2.0, width: float = 0.8) -> FloatArray:
    angle = np.linspace(0.0, 2.0 * np.pi, rows)
    angle[-1] = 0.0
    unit = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.hstack([radius * unit, (radius - width / 2) * unit, (radius + width / 2) * unit])


RIM = 36 / 35
"""A car drives so much faster than commanded: its wheels have 36 mm of radius, and 35 mm count."""


@functools.cache
def hold_rad(radius_m: float, speed_mps: float) -> float:
    """Steering at which the car of version 5 comes to drive a circle of this radius, found by driving it."""
    low, high = 0.0, MAX_STEERING_RAD
    for _ in range(18):
        angle = (low + high) / 2
        state, one = CarBatch.zeros(1), np.array([0])
        for _ in range(40):
            drive_cars(state, one, Controls(np.array([angle]), np.array([speed_mps])))
        driven_m = math.hypot(state.speed_mps[0], state.sideways_mps[0]) / state.yaw_rate_rps[0]
        low, high = (angle, high) if driven_m > radius_m else (low, angle)
    return high


def keep_lane(x_m: FloatArray, y_m: FloatArray, heading_rad: FloatArray, offset_m: FloatArray) -> FloatArray:
    """Steering (K,) that brings cars at these poses (K,) on `circle()` to an offset left of its centre and holds it."""
    off_m = RADIUS_M - np.hypot(x_m, y_m)
    turned = (heading_rad - np.arctan2(y_m, x_m) - math.pi / 2 + math.pi) % (2 * math.pi) - math.pi
    hold = 1.4 * np.arctan(WHEELBASE_M / (RADIUS_M - offset_m))  # four wheels at one speed turn the less
    return np.asarray(np.clip(hold + 0.8 * (offset_m - off_m) - 0.5 * turned, -MAX_STEERING_RAD, MAX_STEERING_RAD))


def outline(x_m: float, y_m: float, heading_rad: float, length_m: float, width_m: float) -> Polygon:
    """A car's or an object's outline for shapely."""
    there = translate(box(-length_m / 2, -width_m / 2, length_m / 2, width_m / 2), x_m, y_m)
    return rotate(there, heading_rad, (x_m, y_m), use_radians=True)


def mirrored(track: Track) -> Track:
    """y -> -y; the left edge becomes the right one."""
    return Track(track.name, (track.route * [1, -1, 1, -1, 1, -1])[:, [0, 1, 4, 5, 2, 3]])


def assert_track_or_error(load: Callable[[], Track], where: str) -> None:
    """Whatever the input: a usable track or an InputError that names the place, and no other exception."""
    problem = None
    try:
        track = load()
    except InputError as error:
        problem = error
    if problem is None:
        assert 0.0 < track.length_m < math.inf
        assert len(crossed_rows(track.route)) or track.on_road(*track.centre.T).all()
    else:
        assert problem.where.startswith(where)
