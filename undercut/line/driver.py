"""A driver that follows a lap in the simulator: what proves that a time-optimal lap can be driven.

It commands 15 times a second, as a model does, and knows the car as it is: latency, lags, sliding. Each step it has the
simulator's own vehicle model drive the next HORIZON steps, with the lap's commands and with each of them changed a
little, and corrects them so that the car comes nearest to the lap's line, heading and speed in the least-squares sense
(one Gauss-Newton step of model predictive control a step, begun from the last step's corrections).
"""

from dataclasses import dataclass

import numpy as np

from contract.car import Car
from contract.state import STEP_S, CarBatch, Controls, FloatArray, IntArray
from contract.vehicle import MAX_SPEED_MPS, MAX_STEERING_RAD, MIN_SPEED_MPS, REAR_AXLE_X_M, WHEELBASE_M
from simapp.tracks import heading_difference
from simapp.vehicle import Makes, drive_cars
from undercut.line.corridor import Corridor
from undercut.line.optimum import Optimum, rim_gain

HORIZON = 7
"""Steps: half a second, three times the lag of the steering."""
_SPREAD = np.array([0.02, 0.06, 0.3])
"""Of offset (m), heading (rad) and speed (m/s): errors that weigh alike."""
_EFFORT = np.array([0.25, 1.0])
"""Corrections of steering (rad) and speed (m/s) that weigh as much."""
_NUDGE = np.array([0.02, 0.1])
_NEAR = 16
"""Points of the reference to both sides, among which the one nearest to a car is looked for."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A lap to follow: by points of a corridor, offsets (N,), headings to it (N,), speeds (N,), and the commands by
    time: steering in rad and speed in m/s, (N + 1,) with the first point again at the end of the lap."""

    corridor: Corridor
    offset_m: FloatArray
    heading_rad: FloatArray
    speed_mps: FloatArray
    time_s: FloatArray
    steering_rad: FloatArray
    command_mps: FloatArray

    @classmethod
    def of(cls, corridor: Corridor, lap: Optimum, car: Car) -> "Reference":
        """A lap of the corridor."""

        def closed(values: FloatArray) -> FloatArray:
            return np.append(values, values[0])

        return cls(
            corridor,
            lap.column("n"),
            lap.column("xi"),
            lap.column("u"),
            lap.time_s,
            closed(lap.column("command")),
            closed(lap.column("rim") / rim_gain(car)),
        )

    def locate(self, x_m: FloatArray, y_m: FloatArray, guess_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distance along the corridor and offset to its left of points (K,), looked for near the guesses (K,)."""
        corridor = self.corridor
        count, step = len(corridor.x_m), corridor.spacing_m
        near = (np.rint(guess_m / step).astype(np.int64)[:, np.newaxis] + np.arange(-_NEAR, _NEAR + 1)) % count
        dx, dy = x_m[:, np.newaxis] - corridor.x_m[near], y_m[:, np.newaxis] - corridor.y_m[near]
        rows, best = np.arange(len(x_m)), (dx * dx + dy * dy).argmin(axis=1)
        point = near[rows, best]
        heading = corridor.heading_rad[point]
        cos, sin = np.cos(heading), np.sin(heading)
        ahead = dx[rows, best] * cos + dy[rows, best] * sin
        aside = -dx[rows, best] * sin + dy[rows, best] * cos
        bend = corridor.curvature[point]
        along = ahead / np.maximum(1.0 - aside * bend, 0.2)
        return point * step + along, aside - 0.5 * bend * along * ahead

    def at(self, distance_m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Offset, heading in the world, speed and time of the lap at distances (K,) along the corridor."""
        length, count = self.corridor.length_m, len(self.offset_m)
        place = (distance_m % length) / self.corridor.spacing_m
        low = np.minimum(place.astype(np.int64), count - 1)
        share, high = place - low, (low + 1) % count

        def mix(values: FloatArray) -> FloatArray:
            return values[low] + share * (values[high] - values[low])

        tangent = self.corridor.heading_rad[low] + share * self.corridor.curvature[low] * self.corridor.spacing_m
        time = self.time_s[low] + share * (self.time_s[low + 1] - self.time_s[low])
        return mix(self.offset_m), tangent + mix(self.heading_rad), mix(self.speed_mps), time

    def commands(self, time_s: FloatArray) -> FloatArray:
        """(K, 2) steering and speed at times of the lap."""
        at = time_s % self.time_s[-1]
        return np.column_stack(
            [np.interp(at, self.time_s, self.steering_rad), np.interp(at, self.time_s, self.command_mps)]
        )


class Driver:
    """Follows a reference with one car; `controls` is asked once a step."""

    def __init__(self, reference: Reference, car: Car) -> None:
        self._reference, self._car = reference, car
        self._centre_x_m = REAR_AXLE_X_M + car.centre * WHEELBASE_M
        self._corrections = np.zeros((HORIZON, 2))
        self._distance_m = 0.0
        self._batch = CarBatch.zeros(1 + 2 * HORIZON)
        self._cars: IntArray = np.arange(1 + 2 * HORIZON)
        self._makes = Makes.of_cars([car] * len(self._cars))

    def begin(self, distance_m: float) -> None:
        """The car stands near this distance along the corridor."""
        self._distance_m = distance_m
        self._corrections[:] = 0.0

    def controls(self, cars: CarBatch, car: int) -> Controls:
        """The commands for this step of one of the cars."""
        reference, latency = self._reference, self._car.latency_steps
        for name in CarBatch.__slots__:
            getattr(self._batch, name)[:] = getattr(cars, name)[car]
        where, _ = self._locate(np.array([self._distance_m] * len(self._cars)))
        self._distance_m = float(where[0]) % reference.corridor.length_m
        now_s = float(reference.at(where[:1])[3][0])
        planned = reference.commands(now_s + STEP_S * (np.arange(HORIZON) + latency + 0.5))
        self._corrections = np.vstack([self._corrections[1:], np.zeros((1, 2))])
        base = _clipped(planned + self._corrections)
        tried = np.repeat(base[np.newaxis], len(self._cars), axis=0)
        for step in range(HORIZON):
            for kind in range(2):
                tried[1 + 2 * step + kind, step, kind] += _NUDGE[kind]
        errors = self._errors(tried, where)
        slope = (errors[1:] - errors[0]) / np.tile(_NUDGE, HORIZON)[:, np.newaxis]
        effort = 1.0 / np.tile(_EFFORT, HORIZON)
        corrected = (base - planned).ravel()
        left = slope @ slope.T + np.diag(effort**2)
        right = slope @ errors[0] + effort**2 * corrected
        change = -np.linalg.solve(left, right).reshape(HORIZON, 2)
        wanted = _clipped(base + change)
        self._corrections = wanted - planned
        return Controls(wanted[:1, 0], wanted[:1, 1])

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
            line, heading, speed, _ = self._reference.at(where_m)
            found += [
                (offset - line) / _SPREAD[0],
                heading_difference(batch.heading_rad, heading) / _SPREAD[1],
                (batch.speed_mps - speed) / _SPREAD[2],
            ]
        return np.stack(found, axis=1)


def _clipped(commands: FloatArray) -> FloatArray:
    return np.clip(commands, [-MAX_STEERING_RAD, MIN_SPEED_MPS], [MAX_STEERING_RAD, MAX_SPEED_MPS])
