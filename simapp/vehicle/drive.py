"""Placing and driving cars: commands, their latency and the conditions that vary a car, then the model of all cars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.car import Car, car_of_version
from contract.conditions import Conditions
from contract.state import COMMANDS_KEPT, STEP_S, CarBatch, Controls, FloatArray, IntArray, Poses
from contract.vehicle import MAX_SPEED_MPS, MAX_STEERING_RAD, MIN_SPEED_MPS, REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import wheels


@dataclass(frozen=True, slots=True)
class Makes:
    """What N cars are made of, each field (N,) unless it says more; see contract.car.Car for names and units."""

    latency_steps: FloatArray
    steering_gain: FloatArray
    steering_offset_rad: FloatArray
    rim_gain: FloatArray
    """Speed of a wheel's rim for each m/s commanded."""
    top_speed_mps: FloatArray
    model: FloatArray
    """(N, 8), the columns of `simapp.vehicle.wheels.advance`."""

    @classmethod
    def of_cars(cls, cars: Sequence[Car]) -> "Makes":
        """One car each."""

        def column(of: list[float]) -> FloatArray:
            return np.array(of, np.float64)

        model = [
            (
                *(c.friction, c.slide_mps, c.gyration_m, c.centre, c.half_track_m),
                *(c.speed_lag_s, c.steering_lag_s, c.steering_kick_rad),
            )
            for c in cars
        ]
        return cls(
            column([c.latency_steps for c in cars]),
            column([c.steering_gain for c in cars]),
            np.radians(column([c.steering_offset_deg for c in cars])),
            column([c.wheel_radius_m / c.command_radius_m for c in cars]),
            column([c.top_speed_mps for c in cars]),
            np.array(model, np.float64).reshape(len(cars), 8),
        )

    def towards(self, others: "Makes", share: FloatArray) -> "Makes":
        """Every constant the share (N,) of the way to the other makes."""
        mixed = {}
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(others, name)
            mixed[name] = mine + (theirs - mine) * share.reshape(-1, *[1] * (mine.ndim - 1))
        return Makes(**mixed)

    def put(self, cars: IntArray, makes: "Makes") -> None:
        """Overwrite those of some cars (indices, (K,))."""
        for name in self.__slots__:
            getattr(self, name)[cars] = getattr(makes, name)

    def of(self, cars: IntArray) -> "Makes":
        """Those of some cars (indices, (K,))."""
        return Makes(*[getattr(self, name)[cars] for name in self.__slots__])


def place_cars(state: CarBatch, cars: IntArray, poses: Poses) -> None:
    """Put the cars (indices, (K,)) at rest with straight wheels at the poses (K,), their earlier commands forgotten."""
    state.x_m[cars], state.y_m[cars], state.heading_rad[cars] = poses.x_m, poses.y_m, poses.heading_rad
    for at_rest in (
        *(state.speed_mps, state.steering_rad, state.commanded_speed_mps, state.commanded_steering_rad),
        *(state.sideways_mps, state.yaw_rate_rps, state.rim_mps, state.earlier_speed_mps, state.earlier_steering_rad),
    ):
        at_rest[cars] = 0.0


def drive_cars(
    state: CarBatch,
    cars: IntArray,
    controls: Controls,
    makes: Makes | None = None,
    conditions: Conditions | None = None,
    steps_s: FloatArray | None = None,
) -> None:
    """Advance the cars (indices, (K,)) by exactly STEP_S under the controls (K,), clipped to the car's limits.

    `makes` (K,) says what the cars are (None: all of metadata version 5); `conditions` (K,) vary latency, gains,
    steering offset and grip (None: nominal); `steps_s` (K,) is for replays of recordings whose rows are longer or
    shorter. The state's commands stay what was commanded.
    """
    makes = Makes.of_cars([car_of_version(5)] * len(cars)) if makes is None else makes
    conditions = Conditions.nominal(len(cars)) if conditions is None else conditions
    steps_s = np.full(len(cars), STEP_S) if steps_s is None else steps_s
    change_s, rims_mps, angles_rad = commands_in_force(state, cars, controls, conditions, makes)
    motion = (
        *(state.x_m, state.y_m, state.heading_rad, state.speed_mps, state.steering_rad),
        *(state.sideways_mps, state.yaw_rate_rps, state.rim_mps),
    )
    commands = (np.minimum(change_s, steps_s), rims_mps, angles_rad)
    numbers = (WHEELBASE_M, REAR_AXLE_X_M)
    wheels.advance(cars, motion, commands, conditions.friction, makes.model, steps_s, *numbers)


def _remember(state: CarBatch, cars: IntArray, controls: Controls) -> None:
    """Take the new commands, within the car's limits, and shelve the last ones."""
    for earlier, last in (
        (state.earlier_speed_mps, state.commanded_speed_mps),
        (state.earlier_steering_rad, state.commanded_steering_rad),
    ):
        earlier[cars, 1:] = earlier[cars, :-1]
        earlier[cars, 0] = last[cars]
    state.commanded_steering_rad[cars] = np.clip(controls.steering_rad, -MAX_STEERING_RAD, MAX_STEERING_RAD)
    state.commanded_speed_mps[cars] = np.clip(controls.speed_mps, MIN_SPEED_MPS, MAX_SPEED_MPS)


def commands_in_force(
    state: CarBatch, cars: IntArray, controls: Controls, conditions: Conditions, makes: Makes
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Take the new commands of some cars (indices, (K,)); when within the step what the car does changes, (K,) s, and
    the rims' speeds (K, 2), in m/s, and the wheels' angles (K, 2), in radians, that are tended to before and after it.
    """
    _remember(state, cars, controls)
    latency_steps = conditions.latency_steps + makes.latency_steps
    whole = np.minimum(latency_steps.astype(np.int64), COMMANDS_KEPT - 1)
    rows, columns = np.arange(len(cars))[:, np.newaxis], whole[:, np.newaxis] + [1, 0]
    speed = np.column_stack([state.commanded_speed_mps[cars], state.earlier_speed_mps[cars]])[rows, columns]
    steering = np.column_stack([state.commanded_steering_rad[cars], state.earlier_steering_rad[cars]])[rows, columns]
    offset_rad = np.radians(conditions.steering_offset_deg) + makes.steering_offset_rad
    rims_mps = makes.rim_gain[:, np.newaxis] * (speed * conditions.speed_gain[:, np.newaxis])
    angles_rad = makes.steering_gain[:, np.newaxis] * (steering * conditions.steering_gain[:, np.newaxis])
    return (
        (latency_steps - whole) * STEP_S,
        np.minimum(rims_mps, makes.top_speed_mps[:, np.newaxis]),
        angles_rad + offset_rad[:, np.newaxis],
    )
