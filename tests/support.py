"""Small real things that several tests drive with."""

import math
from collections.abc import Callable

import numpy as np

from contract.conditions import Conditions
from contract.errors import InputError
from contract.state import CarBatch, Controls, FloatArray, IntArray, Observations, Poses, Things
from simapp.tracks import Track
from simapp.vehicle import drive_cars, place_cars

RADIUS_M, WIDTH_M = 3.0, 0.8


class BlindSimulator:
    """The real car without a camera."""

    def __init__(self, num_cars: int) -> None:
        self._cars = CarBatch.zeros(num_cars)

    @property
    def cars(self) -> CarBatch:
        return self._cars

    @property
    def worlds(self) -> IntArray:
        return np.arange(len(self._cars.x_m))

    def furnish(self, worlds: IntArray, things: Things) -> None:
        pass

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


def assert_track_or_error(load: Callable[[], Track], where: str) -> None:
    """Whatever the input: a usable track or an InputError that names the place, and no other exception."""
    problem = None
    try:
        track = load()
    except InputError as error:
        problem = error
    if problem is None:
        assert 0.0 < track.length_m < math.inf
        assert track.on_road(*track.centre.T).all()
    else:
        assert problem.where.startswith(where)
