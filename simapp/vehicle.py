"""Kinematic bicycle model of the DeepRacer car, the model of metadata version 5 and later, for many cars at once.

Rear-axle reference: x' = v cos h, y' = v sin h, h' = v tan(steer) / wheelbase (no tyre slip). Motor and steering servo
follow their commands as first-order lags. Within a substep speed and steering are held at their mean, so the path
is an exact arc and a constant-steer lap closes on itself to rounding error.
"""

import math

import numpy as np
from numba import njit

from contract.state import STEP_S, CarBatch, Controls, FloatArray, IntArray, Poses
from contract.vehicle import MAX_SPEED_MPS, MAX_STEERING_RAD, MIN_SPEED_MPS, REAR_AXLE_X_M, WHEELBASE_M

SUBSTEPS = 8
SPEED_LAG_S = 0.25
"""From recorded simtraces: cars commanded 1 to 2 m/s from rest pass 63 % of it after 3 to 5 steps."""
STEERING_LAG_S = 0.10
"""A servo slews 30 degrees in about 0.1 s; the open-loop error on recorded simtraces is flat from 0.02 to 0.2 s."""


def place_cars(state: CarBatch, cars: IntArray, poses: Poses) -> None:
    """Put the cars (indices, (K,)) at rest with straight wheels at the poses (K,)."""
    state.x_m[cars], state.y_m[cars], state.heading_rad[cars] = poses.x_m, poses.y_m, poses.heading_rad
    for at_rest in (
        *(state.speed_mps, state.steering_rad, state.commanded_speed_mps, state.commanded_steering_rad),
        *(state.sideways_mps, state.yaw_rate_rps),
    ):
        at_rest[cars] = 0.0


def drive_cars(state: CarBatch, cars: IntArray, controls: Controls) -> None:
    """Advance the cars (indices, (K,)) by exactly STEP_S under the controls (K,), clipped to the car's limits."""
    state.commanded_steering_rad[cars] = np.clip(controls.steering_rad, -MAX_STEERING_RAD, MAX_STEERING_RAD)
    state.commanded_speed_mps[cars] = np.clip(controls.speed_mps, MIN_SPEED_MPS, MAX_SPEED_MPS)
    _integrate(
        cars,
        state.x_m,
        state.y_m,
        state.heading_rad,
        state.speed_mps,
        state.steering_rad,
        state.commanded_speed_mps,
        state.commanded_steering_rad,
        STEP_S / SUBSTEPS,
        WHEELBASE_M,
        REAR_AXLE_X_M,
    )


@njit(cache=True, nogil=True)  # no fastmath: results must not depend on the machine
def _integrate(
    cars: IntArray,
    x_m: FloatArray,
    y_m: FloatArray,
    heading_rad: FloatArray,
    speed_mps: FloatArray,
    steering_rad: FloatArray,
    commanded_speed_mps: FloatArray,
    commanded_steering_rad: FloatArray,
    dt: float,  # numbers of other files come in as arguments: numba's cache does not see those files change
    wheelbase_m: float,
    rear_axle_x_m: float,
) -> None:
    speed_keep, steering_keep = math.exp(-dt / SPEED_LAG_S), math.exp(-dt / STEERING_LAG_S)
    # mean of a first-order response over dt: the lag's remainder integrates to lag * (1 - keep) / dt
    speed_mean, steering_mean = SPEED_LAG_S * (1 - speed_keep) / dt, STEERING_LAG_S * (1 - steering_keep) / dt
    for car in cars:
        heading, speed, steering = heading_rad[car], speed_mps[car], steering_rad[car]
        rear_x = x_m[car] + rear_axle_x_m * math.cos(heading)
        rear_y = y_m[car] + rear_axle_x_m * math.sin(heading)
        for _ in range(SUBSTEPS):
            speed_error, steering_error = speed - commanded_speed_mps[car], steering - commanded_steering_rad[car]
            distance = (commanded_speed_mps[car] + speed_error * speed_mean) * dt
            turn = distance * math.tan(commanded_steering_rad[car] + steering_error * steering_mean) / wheelbase_m
            # the chord of an arc is as long as distance * sin(turn / 2) / (turn / 2) and points along the mean heading
            half = 0.5 * turn
            chord = distance * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
            rear_x += chord * math.cos(heading + half)
            rear_y += chord * math.sin(heading + half)
            heading += turn
            speed = commanded_speed_mps[car] + speed_error * speed_keep
            steering = commanded_steering_rad[car] + steering_error * steering_keep
        heading = (heading + math.pi) % (2 * math.pi) - math.pi
        x_m[car] = rear_x - rear_axle_x_m * math.cos(heading)
        y_m[car] = rear_y - rear_axle_x_m * math.sin(heading)
        heading_rad[car], speed_mps[car], steering_rad[car] = heading, speed, steering
