"""Dynamic bicycle model with tyre slip, the model of metadata version 4 and earlier, for many cars at once.

In the car's frame, at the centre of mass, per unit of mass: u ahead, v to the left, r the yaw rate.

    u' = (target - u) / speed_lag + v r - f_front sin(steer)
    v' = f_front cos(steer) + f_rear - u r
    r' = (front_m f_front cos(steer) - rear_m f_rear) / gyration_m²

Each axle carries its share of the weight and pushes against its wheels' sideways sliding s (m/s) with
friction g share s / sqrt(s² + slide²): Coulomb friction as the real simulator's physics engine has it, softened around
rest; linear for small s, never more than friction allows. Nothing is divided by the speed, so the car
stands, creeps and slides by the same equations; standing still needs no special case, and slow steady turns are those
of the kinematic car.
"""

import math
from typing import NamedTuple

from numba import njit

from contract.state import FloatArray, IntArray

SUBSTEPS = 8
GRAVITY_MPS2 = 9.81


class SlipCar(NamedTuple):
    """Numbers of one make of car."""

    friction: float
    """Tyre force at most, as a share of the load."""
    slide_mps: float
    """Sideways sliding at which a tyre gives 1 / sqrt(2) of it."""
    gyration_m: float
    """Radius of gyration about the vertical, in effect: it also stands for what else delays turning."""
    centre: float
    """Centre of mass ahead of the rear axle, in wheelbases; the front axle's share of the load."""
    speed_lag_s: float
    steering_lag_s: float
    steering_gain: float
    """Angle that the wheels take, for each radian commanded."""
    latency_steps: float
    """How late a command takes hold, in steps of 1/15 s, before what conditions add."""


RECORDED = SlipCar(
    friction=0.5,
    slide_mps=0.24,
    gyration_m=0.197,
    centre=0.5,
    speed_lag_s=0.20,
    steering_lag_s=0.063,
    steering_gain=0.684,
    latency_steps=0.29,
)
"""Fitted by tests/tools/calibrate_vehicle.py to recordings of the real simulator (see docs/vehicle.md), but for the
friction, which is in that simulator's description of the car, and the centre, which the recordings hardly tell.
"""


@njit(cache=True, nogil=True)  # no fastmath: results must not depend on the machine
def advance(
    cars: IntArray,
    x_m: FloatArray,
    y_m: FloatArray,
    heading_rad: FloatArray,
    speed_mps: FloatArray,
    steering_rad: FloatArray,
    sideways_mps: FloatArray,
    yaw_rate_rps: FloatArray,
    change_s: FloatArray,
    command_mps: FloatArray,
    command_rad: FloatArray,
    grip: FloatArray,
    car: SlipCar,
    step_s: float,  # numbers of other files come in as arguments: numba's cache does not see those files change
    wheelbase_m: float,
    rear_axle_x_m: float,
) -> None:
    """Advance some cars (indices, (K,)) of a CarBatch's arrays by step_s, by the explicit midpoint rule.

    Commands (K, 2) hold in columns: the first until change_s (K,), the second from then on; command_rad are the angles
    that the wheels tend to. `grip` (K,) multiplies the friction.
    """
    rear_m = car.centre * wheelbase_m
    front_m = wheelbase_m - rear_m
    centre_x_m = rear_axle_x_m + rear_m
    for k in range(len(cars)):
        i = cars[k]
        heading, u, v, r, steering = heading_rad[i], speed_mps[i], sideways_mps[i], yaw_rate_rps[i], steering_rad[i]
        x = x_m[i] + centre_x_m * math.cos(heading)
        y = y_m[i] + centre_x_m * math.sin(heading)
        front = car.friction * grip[k] * GRAVITY_MPS2 * car.centre
        rear = car.friction * grip[k] * GRAVITY_MPS2 * (1.0 - car.centre)
        soft = car.slide_mps * car.slide_mps
        for part in range(2):
            share = change_s[k] / step_s if part == 0 else 1.0 - change_s[k] / step_s
            if share <= 0.0:
                continue
            substeps = math.ceil(SUBSTEPS * share)
            dt = step_s * share / substeps
            target, angle = command_mps[k, part], command_rad[k, part]
            half_keep = math.exp(-0.5 * dt / car.steering_lag_s)
            for _ in range(substeps):
                u0, v0, r0 = u, v, r
                for stage in range(2):  # slopes at the start carry to the middle, those of the middle carry all the way
                    cos_steer, sin_steer = math.cos(steering), math.sin(steering)
                    slide = (v + front_m * r) * cos_steer - u * sin_steer
                    push = -front * slide / math.sqrt(slide * slide + soft)
                    slide = v - rear_m * r
                    rear_push = -rear * slide / math.sqrt(slide * slide + soft)
                    ahead = (target - u) / car.speed_lag_s + v * r - push * sin_steer
                    aside = push * cos_steer + rear_push - u * r
                    turn = (front_m * push * cos_steer - rear_m * rear_push) / (car.gyration_m * car.gyration_m)
                    if stage == 0:
                        u, v, r = u0 + 0.5 * dt * ahead, v0 + 0.5 * dt * aside, r0 + 0.5 * dt * turn
                        middle = heading + 0.5 * dt * r0
                        steering = angle + (steering - angle) * half_keep
                cos_heading, sin_heading = math.cos(middle), math.sin(middle)
                x += dt * (u * cos_heading - v * sin_heading)
                y += dt * (u * sin_heading + v * cos_heading)
                heading += dt * r
                u, v, r = u0 + dt * ahead, v0 + dt * aside, r0 + dt * turn
                steering = angle + (steering - angle) * half_keep
        heading = (heading + math.pi) % (2 * math.pi) - math.pi
        x_m[i] = x - centre_x_m * math.cos(heading)
        y_m[i] = y - centre_x_m * math.sin(heading)
        heading_rad[i], speed_mps[i], sideways_mps[i], yaw_rate_rps[i], steering_rad[i] = heading, u, v, r, steering
