"""A driver that follows a lap in the simulator: what proves that a time-optimal lap can be driven.

It commands 15 times a second, as a model does, and knows the car as it is: latency, lags, sliding. Each step it has the
simulator's own vehicle model drive the next HORIZON steps, with the lap's commands and with each of them changed a
little, and corrects them so that the car comes nearest to the lap's line, heading and speed in the least-squares sense
(one Gauss-Newton step of model predictive control a step, begun from the last step's corrections).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from contract.car import Car
from contract.state import STEP_S, CarBatch, Controls, FloatArray, IntArray
from contract.vehicle import (
    FRONT_POINT_X_M,
    MAX_SPEED_MPS,
    MAX_STEERING_RAD,
    MIN_SPEED_MPS,
    REAR_AXLE_X_M,
    WHEELBASE_M,
)
from simapp.tracks import heading_difference
from simapp.vehicle import Makes, drive_cars
from undercut.line.corridor import Corridor
from undercut.line.optimum import rim_gain
from undercut.line.profile import RacingLine

HORIZON = 7
"""Steps: half a second, three times the lag of the steering."""
_SPREAD = np.array([0.02, 0.06, 0.3])
"""Of offset (m), heading (rad) and speed (m/s): errors that weigh alike."""
EFFORTS = ((0.1, 0.5), (0.05, 0.3), (0.25, 1.0))
"""Corrections of steering (rad) and speed (m/s) that weigh as much: which driver is best depends on the lap."""
_NUDGE = np.array([0.02, 0.1])
_SHARES = (1.0, 0.5, 0.2, 0.0)
_NEAR = 16
"""Points of the reference to both sides, among which the one nearest to a car is looked for."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A lap to follow, as the path of the car's centre of mass: N points, evenly spaced. Of fields of N + 1 the
    last is the first again, at the end of the lap.

    path          the points; its edges are not used
    heading_rad   of the car against the path
    speed_mps     ahead, as the car counts it
    wheels_rad    angle of the front wheels
    time_s        (N + 1,) since the first point
    steering_rad  (N + 1,) commanded
    command_mps   (N + 1,) commanded
    """

    path: Corridor
    heading_rad: FloatArray
    speed_mps: FloatArray
    wheels_rad: FloatArray
    time_s: FloatArray
    steering_rad: FloatArray
    command_mps: FloatArray

    @classmethod
    def of(cls, line: RacingLine) -> "Reference":
        """A racing line's lap."""
        ahead_m = FRONT_POINT_X_M - centre_x_m(line.car)
        x = line.x_m - ahead_m * np.cos(line.heading_rad)
        y = line.y_m - ahead_m * np.sin(line.heading_rad)
        ring = np.column_stack([np.append(x, x[0]), np.append(y, y[0])])
        chord = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
        curve = CubicSpline(chord, ring, bc_type="periodic")
        count = len(x)
        at = chord[-1] * np.arange(count) / count
        (px, py), (dx, dy), (ddx, ddy) = curve(at).T, curve(at, 1).T, curve(at, 2).T
        tangent = np.unwrap(np.arctan2(dy, dx))
        none = np.zeros(count)
        path = Corridor(px, py, tangent, (dx * ddy - dy * ddx) / np.hypot(dx, dy) ** 3, none, none, chord[-1] / count)
        whole = 2.0 * math.pi
        turned = whole * round(float(line.heading_rad[-1] - line.heading_rad[0]) / whole)
        heading = np.interp(at, chord, np.append(line.heading_rad, line.heading_rad[0] + turned))
        slip = heading_difference(heading, tangent)

        def mixed(values: FloatArray) -> FloatArray:
            return np.asarray(np.interp(at, chord, np.append(values, values[0])))

        def closed(values: FloatArray) -> FloatArray:
            return np.append(values, values[0])

        return cls(
            path,
            slip,
            mixed(line.speed_mps) * np.cos(slip),
            mixed(line.steering_rad),
            np.append(np.interp(at, chord, line.time_s), line.time_s[-1]),
            closed(mixed(line.command_rad)),
            closed(mixed(line.command_mps)),
        )

    def locate(self, x_m: FloatArray, y_m: FloatArray, guess_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distance along the path and offset to its left of points (K,), looked for near the guesses (K,)."""
        path = self.path
        count, step = len(path.x_m), path.spacing_m
        near = (np.rint(guess_m / step).astype(np.int64)[:, np.newaxis] + np.arange(-_NEAR, _NEAR + 1)) % count
        dx, dy = x_m[:, np.newaxis] - path.x_m[near], y_m[:, np.newaxis] - path.y_m[near]
        rows, best = np.arange(len(x_m)), (dx * dx + dy * dy).argmin(axis=1)
        point = near[rows, best]
        heading = path.heading_rad[point]
        cos, sin = np.cos(heading), np.sin(heading)
        ahead = dx[rows, best] * cos + dy[rows, best] * sin
        aside = -dx[rows, best] * sin + dy[rows, best] * cos
        bend = path.curvature[point]
        along = ahead / np.maximum(1.0 - aside * bend, 0.2)
        return point * step + along, aside - 0.5 * bend * along * ahead

    def at(self, distance_m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Heading in the world, speed and time of the lap at distances (K,) along the path."""
        path, count = self.path, len(self.speed_mps)
        place = (distance_m % path.length_m) / path.spacing_m
        low = np.minimum(place.astype(np.int64), count - 1)
        share, high = place - low, (low + 1) % count
        tangent = path.heading_rad[low] + share * path.curvature[low] * path.spacing_m
        slip = self.heading_rad[low] + share * (self.heading_rad[high] - self.heading_rad[low])
        speed = self.speed_mps[low] + share * (self.speed_mps[high] - self.speed_mps[low])
        time = self.time_s[low] + share * (self.time_s[low + 1] - self.time_s[low])
        return tangent + slip, speed, time

    def commands(self, time_s: FloatArray) -> FloatArray:
        """(K, 2) steering and speed at times of the lap."""
        at = time_s % self.time_s[-1]
        return np.column_stack(
            [np.interp(at, self.time_s, self.steering_rad), np.interp(at, self.time_s, self.command_mps)]
        )

    def first_pose(self, car: Car) -> tuple[float, float, float]:
        """x, y and heading of base_link at the first point."""
        heading = float(self.path.heading_rad[0] + self.heading_rad[0])
        back = centre_x_m(car)
        return (
            float(self.path.x_m[0]) - back * math.cos(heading),
            float(self.path.y_m[0]) - back * math.sin(heading),
            heading,
        )

    def push(self, cars: CarBatch, car: int, make: Car) -> None:
        """Give a car that stands at the first point the lap's velocities and commands there."""
        cars.speed_mps[car] = self.speed_mps[0]
        cars.sideways_mps[car] = -self.speed_mps[0] * math.tan(self.heading_rad[0])
        turned = (self.path.heading_rad[1] + self.heading_rad[1]) - (self.path.heading_rad[0] + self.heading_rad[0])
        cars.yaw_rate_rps[car] = turned / (self.time_s[1] - self.time_s[0])
        cars.steering_rad[car], cars.rim_mps[car] = self.wheels_rad[0], self.command_mps[0] * rim_gain(make)
        cars.commanded_speed_mps[car] = cars.earlier_speed_mps[car] = self.command_mps[0]
        cars.commanded_steering_rad[car] = cars.earlier_steering_rad[car] = self.steering_rad[0]


def centre_x_m(car: Car) -> float:
    """The centre of mass, ahead of base_link."""
    return REAR_AXLE_X_M + car.centre * WHEELBASE_M


class Driver:
    """Follows a reference with one car, from near the reference's beginning on; `controls` is asked once a step."""

    def __init__(self, reference: Reference, car: Car, effort: tuple[float, float] = EFFORTS[0]) -> None:
        self._reference, self._car, self._effort = reference, car, np.array(effort)
        self._centre_x_m = centre_x_m(car)
        self._corrections = np.zeros((HORIZON, 2))
        self._distance_m = 0.0
        self._batch = CarBatch.zeros(1 + 2 * HORIZON)
        self._cars: IntArray = np.arange(1 + 2 * HORIZON)
        self._makes = Makes.of_cars([car] * len(self._cars))

    def controls(self, cars: CarBatch, car: int) -> Controls:
        """The commands for this step of one of the cars."""
        reference, latency = self._reference, self._car.latency_steps
        self._load(cars, car)
        where, _ = self._locate(np.array([self._distance_m] * len(self._cars)))
        self._distance_m = float(where[0]) % reference.path.length_m
        now_s = float(reference.at(where[:1])[2][0])
        planned = reference.commands(now_s + STEP_S * (np.arange(HORIZON, dtype=np.float64) + latency + 0.5))
        self._corrections = np.vstack([self._corrections[1:], np.zeros((1, 2))])
        base = _clipped(planned + self._corrections)
        tried = np.repeat(base[np.newaxis], len(self._cars), axis=0)
        for step in range(HORIZON):
            for kind in range(2):
                tried[1 + 2 * step + kind, step, kind] += _NUDGE[kind]
        errors = self._errors(tried, where)
        slope = (errors[1:] - errors[0]) / np.tile(_NUDGE, HORIZON)[:, np.newaxis]
        effort = 1.0 / np.tile(self._effort, HORIZON)
        corrected = (base - planned).ravel()
        left = slope @ slope.T + np.diag(effort**2)
        right = slope @ errors[0] + effort**2 * corrected
        change = -np.linalg.solve(left, right).reshape(HORIZON, 2)
        # a kick of version 4's hinges is no smooth function of a command: the step is taken as far as it helps
        choices = np.stack([_clipped(base + share * change) for share in _SHARES] + [_clipped(planned)])
        tried[: len(choices)], tried[len(choices) :] = choices, base
        self._load(cars, car)
        errors = self._errors(tried, where)[: len(choices)]
        costs = np.sum(errors**2, axis=1) + np.sum(
            (effort * (choices - planned).reshape(len(choices), -1)) ** 2, axis=1
        )
        wanted = choices[int(costs.argmin())]
        self._corrections = wanted - planned
        return Controls(wanted[:1, 0], wanted[:1, 1])

    def _load(self, cars: CarBatch, car: int) -> None:
        """All cars of the batch as the one is now."""
        for name in CarBatch.__slots__:
            getattr(self._batch, name)[:] = getattr(cars, name)[car]

    def _locate(self, guess_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        batch = self._batch
        x = batch.x_m + self._centre_x_m * np.cos(batch.heading_rad)
        y = batch.y_m + self._centre_x_m * np.sin(batch.heading_rad)
        return self._reference.locate(x, y, guess_m)

    def _errors(self, commands: FloatArray, where_m: FloatArray) -> FloatArray:
        """(K, 3 HORIZON) how far the batch's cars are from the lap after each step, under commands (K, HORIZON, 2)."""
        found = []
        batch = self._batch
        for step in range(HORIZON):
            drive_cars(batch, self._cars, Controls(commands[:, step, 0], commands[:, step, 1]), self._makes)
            where_m, offset = self._locate(where_m + np.maximum(batch.speed_mps, 0.0) * STEP_S)
            heading, speed, _ = self._reference.at(where_m)
            found += [
                offset / _SPREAD[0],
                heading_difference(batch.heading_rad, heading) / _SPREAD[1],
                (batch.speed_mps - speed) / _SPREAD[2],
            ]
        return np.stack(found, axis=1)


def _clipped(commands: FloatArray) -> FloatArray:
    return np.clip(commands, [-MAX_STEERING_RAD, MIN_SPEED_MPS], [MAX_STEERING_RAD, MAX_SPEED_MPS])
