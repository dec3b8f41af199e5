"""Kinematic bicycle model of the DeepRacer car, the model of metadata version 5 and later, for many cars at once.

Rear-axle reference: x' = v cos h, y' = v sin h, h' = v tan(steer) / wheelbase (no tyre slip). Motor and steering servo
follow their commands as first-order lags. Within a substep speed and steering are held at their mean, so the path
is an exact arc and a constant-steer lap closes on itself to rounding error.
"""

import math

from numba import njit

from contract.state import FloatArray, IntArray

SUBSTEPS = 8
SPEED_LAG_S = 0.25
"""From recorded simtraces: cars commanded 1 to 2 m/s from rest pass 63 % of it after 3 to 5 steps."""
STEERING_LAG_S = 0.10
"""A servo slews 30 degrees in about 0.1 s; the open-loop error on recorded simtraces is flat from 0.02 to 0.2 s."""


@njit(cache=True, nogil=True)  # no fastmath: results must not depend on the machine
def advance(
    cars: IntArray,
    x_m: FloatArray,
    y_m: FloatArray,
    heading_rad: FloatArray,
    speed_mps: FloatArray,
    steering_rad: FloatArray,
    yaw_rate_rps: FloatArray,
    change_s: FloatArray,
    command_mps: FloatArray,
    command_rad: FloatArray,
    step_s: float,  # numbers of other files come in as arguments: numba's cache does not see those files change
    wheelbase_m: float,
    rear_axle_x_m: float,
) -> None:
    """Advance some cars (indices, (K,)) of a CarBatch's arrays by step_s.

    Commands (K, 2) hold in columns: the first until change_s (K,), the second from then on.
    """
    for k in range(len(cars)):
        car = cars[k]
        heading, speed, steering = heading_rad[car], speed_mps[car], steering_rad[car]
        rear_x = x_m[car] + rear_axle_x_m * math.cos(heading)
        rear_y = y_m[car] + rear_axle_x_m * math.sin(heading)
        for part in range(2):
            share = change_s[k] / step_s if part == 0 else 1.0 - change_s[k] / step_s
            if share <= 0.0:
                continue
            substeps = math.ceil(SUBSTEPS * share)
            dt = step_s * share / substeps
            target, angle = command_mps[k, part], command_rad[k, part]
            speed_keep, steering_keep = math.exp(-dt / SPEED_LAG_S), math.exp(-dt / STEERING_LAG_S)
            # mean of a first-order response over dt: the lag's remainder integrates to lag * (1 - keep) / dt
            speed_mean = SPEED_LAG_S * (1 - speed_keep) / dt
            steering_mean = STEERING_LAG_S * (1 - steering_keep) / dt
            for _ in range(substeps):
                speed_error, steering_error = speed - target, steering - angle
                distance = (target + speed_error * speed_mean) * dt
                turn = distance * math.tan(angle + steering_error * steering_mean) / wheelbase_m
                # the chord of an arc is as long as distance * sin(turn / 2) / (turn / 2), along the mean heading
                half = 0.5 * turn
                chord = distance * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
                rear_x += chord * math.cos(heading + half)
                rear_y += chord * math.sin(heading + half)
                heading += turn
                speed = target + speed_error * speed_keep
                steering = angle + steering_error * steering_keep
        heading = (heading + math.pi) % (2 * math.pi) - math.pi
        x_m[car] = rear_x - rear_axle_x_m * math.cos(heading)
        y_m[car] = rear_y - rear_axle_x_m * math.sin(heading)
        heading_rad[car], speed_mps[car], steering_rad[car] = heading, speed, steering
        yaw_rate_rps[car] = speed * math.tan(steering) / wheelbase_m
