"""Placing and driving cars: commands, their latency and the conditions that vary a car, then the model of each car."""

import numpy as np

from contract.conditions import Conditions
from contract.state import COMMANDS_KEPT, STEP_S, BoolArray, CarBatch, Controls, FloatArray, IntArray, Poses
from contract.vehicle import MAX_SPEED_MPS, MAX_STEERING_RAD, MIN_SPEED_MPS, REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import kinematic, slip
from simapp.vehicle.slip import RECORDED, SlipCar


def place_cars(state: CarBatch, cars: IntArray, poses: Poses) -> None:
    """Put the cars (indices, (K,)) at rest with straight wheels at the poses (K,), their earlier commands forgotten."""
    state.x_m[cars], state.y_m[cars], state.heading_rad[cars] = poses.x_m, poses.y_m, poses.heading_rad
    for at_rest in (
        *(state.speed_mps, state.steering_rad, state.commanded_speed_mps, state.commanded_steering_rad),
        *(state.sideways_mps, state.yaw_rate_rps, state.earlier_speed_mps, state.earlier_steering_rad),
    ):
        at_rest[cars] = 0.0


def drive_cars(
    state: CarBatch,
    cars: IntArray,
    controls: Controls,
    slips: BoolArray | None = None,
    conditions: Conditions | None = None,
) -> None:
    """Advance the cars (indices, (K,)) by exactly STEP_S under the controls (K,), clipped to the car's limits.

    `slips` (K,) says which cars' tyres slip (None: none, the kinematic model); `conditions` (K,) vary latency, gains,
    steering offset and grip (None: nominal). The state's commands stay what was commanded.
    """
    conditions = Conditions.nominal(len(cars)) if conditions is None else conditions
    if slips is None or not slips.any():
        _drive_rolling(state, cars, controls, conditions)
    elif slips.all():
        drive_slipping(state, cars, controls, conditions)
    else:
        for drive, some in ((_drive_rolling, np.flatnonzero(~slips)), (drive_slipping, np.flatnonzero(slips))):
            theirs = Controls(controls.steering_rad[some], controls.speed_mps[some])
            drive(state, cars[some], theirs, conditions.of(some))


def drive_slipping(
    state: CarBatch, cars: IntArray, controls: Controls, conditions: Conditions, car: SlipCar = RECORDED
) -> None:
    """`drive_cars` for cars whose tyres slip, all of the make `car`."""
    remember_commands(state, cars, controls)
    change_s, speed_mps, steering_rad = commands_in_force(
        state, cars, conditions, conditions.latency_steps + car.latency_steps
    )
    offset_rad = np.radians(conditions.steering_offset_deg)
    slip.advance(
        cars,
        state.x_m,
        state.y_m,
        state.heading_rad,
        state.speed_mps,
        state.steering_rad,
        state.sideways_mps,
        state.yaw_rate_rps,
        change_s,
        speed_mps,
        car.steering_gain * steering_rad + offset_rad[:, np.newaxis],
        conditions.friction,
        car,
        STEP_S,
        WHEELBASE_M,
        REAR_AXLE_X_M,
    )


def _drive_rolling(state: CarBatch, cars: IntArray, controls: Controls, conditions: Conditions) -> None:
    remember_commands(state, cars, controls)
    change_s, speed_mps, steering_rad = commands_in_force(state, cars, conditions, conditions.latency_steps)
    kinematic.advance(
        cars,
        state.x_m,
        state.y_m,
        state.heading_rad,
        state.speed_mps,
        state.steering_rad,
        state.yaw_rate_rps,
        change_s,
        speed_mps,
        steering_rad + np.radians(conditions.steering_offset_deg)[:, np.newaxis],
        STEP_S,
        WHEELBASE_M,
        REAR_AXLE_X_M,
    )


def remember_commands(state: CarBatch, cars: IntArray, controls: Controls) -> None:
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
    state: CarBatch, cars: IntArray, conditions: Conditions, latency_steps: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Time within the step at which the car's command changes, (K,) s, and the two commands of speed (K, 2), in m/s,
    and steering (K, 2), in radians and without the offset, in force before and after it.
    """
    whole = np.minimum(latency_steps.astype(np.int64), COMMANDS_KEPT - 1)
    rows, columns = np.arange(len(cars))[:, np.newaxis], whole[:, np.newaxis] + [1, 0]
    speed = np.column_stack([state.commanded_speed_mps[cars], state.earlier_speed_mps[cars]])[rows, columns]
    steering = np.column_stack([state.commanded_steering_rad[cars], state.earlier_steering_rad[cars]])[rows, columns]
    return (
        (latency_steps - whole) * STEP_S,
        speed * conditions.speed_gain[:, np.newaxis],
        steering * conditions.steering_gain[:, np.newaxis],
    )
