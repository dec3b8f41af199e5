"""Replays recorded commands open loop with the simulator's own model, and fits a car's constants to recordings."""

import dataclasses
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from contract.car import Car
from contract.conditions import Conditions
from contract.state import CarBatch, Controls, FloatArray, Poses
from contract.vehicle import FRONT_POINT_X_M, REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import Makes, drive_cars, place_cars
from undercut.calibration.pieces import AHEAD, PAST, Pieces

FITTED: dict[str, tuple[float, float]] = {
    "friction": (0.1, 2.0),
    "slide_mps": (0.05, 1.0),
    "gyration_m": (0.06, 0.4),
    "speed_lag_s": (0.0, 0.6),
    "steering_lag_s": (0.005, 0.6),
    "steering_gain": (0.3, 1.6),
    "steering_offset_deg": (-6.0, 6.0),
    "latency_steps": (0.0, 1.9),
}
"""What a recording can say, least and most; the rest of a car is its description's."""
_TYPICAL = (0.5, 0.2, 0.15, 0.1, 0.1, 1.0, 3.0, 0.5)
SPREAD_M = {5: 0.05, 10: 0.10, 15: 0.15}
"""Rows ahead that the fits look at, and errors there that weigh the same; larger ones weigh less than squared."""


def replay(pieces: Pieces, car: Car) -> FloatArray:
    """Path (K, AHEAD, 2) of the front point.

    No later row is looked at: the start is a parabola through the rows before, wheels and late commands are those that
    the commands before bring about.
    """
    count = len(pieces)
    state, cars, nominal = CarBatch.zeros(count), np.arange(count), Conditions.nominal(count)
    makes = Makes.of_cars([car] * count)
    place_cars(state, cars, Poses(*(np.zeros(count) for _ in range(3))))

    def step(row: int) -> None:
        drive_cars(state, cars, Controls(*pieces.commands[:, row].T), makes, nominal, pieces.rows_s[:, row])

    for row in range(PAST):
        step(row)
    pose, rate = pieces.start()
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    state.x_m[:], state.y_m[:] = pose[:, 0] - FRONT_POINT_X_M * cos, pose[:, 1] - FRONT_POINT_X_M * sin
    state.heading_rad[:], state.yaw_rate_rps[:] = pose[:, 2], rate[:, 2]
    state.speed_mps[:] = rate[:, 0] * cos + rate[:, 1] * sin
    centre_x_m = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    state.sideways_mps[:] = rate[:, 1] * cos - rate[:, 0] * sin - rate[:, 2] * (FRONT_POINT_X_M - centre_x_m)
    path = np.empty((count, AHEAD, 2))
    for ahead in range(AHEAD):
        step(PAST + ahead)
        path[:, ahead, 0] = state.x_m + FRONT_POINT_X_M * np.cos(state.heading_rad)
        path[:, ahead, 1] = state.y_m + FRONT_POINT_X_M * np.sin(state.heading_rad)
    return path


def fit(pieces: Pieces, start: Car, names: tuple[str, ...] = tuple(FITTED)) -> Car:
    """`start` with the constants `names` at which it strays least from the pieces."""
    rows = np.array(list(SPREAD_M))
    scale = np.array(list(SPREAD_M.values()))[:, np.newaxis]
    low, high = np.array([FITTED[name] for name in names]).T

    def car(values: FloatArray) -> Car:
        changed: dict[str, Any] = dict(zip(names, map(float, values), strict=True))
        return dataclasses.replace(start, **changed)

    def residuals(values: FloatArray) -> FloatArray:
        off = replay(pieces, car(values))[:, rows - 1] - pieces.poses[:, PAST + rows, :2]
        return np.asarray(off / scale).ravel()

    found = least_squares(
        residuals,
        np.clip([getattr(start, name) for name in names], low + 1e-3 * (high - low), high - 1e-3 * (high - low)),
        bounds=(low, high),
        x_scale=[_TYPICAL[list(FITTED).index(name)] for name in names],
        loss="soft_l1",
        diff_step=0.01,
        max_nfev=40,
    )
    return car(np.round(found.x, 4))
