"""The car against closed forms and an independent integrator."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from contract.state import STEP_S, CarBatch, Controls, Poses
from contract.vehicle import REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import drive_cars, place_cars
from simapp.vehicle.kinematic import SPEED_LAG_S, STEERING_LAG_S

ONE = np.array([0])


def controls(steering_deg: float, speed_mps: float, num: int = 1) -> Controls:
    return Controls(np.full(num, math.radians(steering_deg)), np.full(num, speed_mps))


def at_origin(num: int = 1) -> CarBatch:
    state = CarBatch.zeros(num)
    place_cars(state, np.arange(num), Poses(np.zeros(num), np.zeros(num), np.zeros(num)))
    return state


@pytest.mark.parametrize("steering_deg", [-30.0, -10.0, 5.0, 30.0])
def test_constant_steering_drives_a_circle_of_the_bicycle_model(steering_deg: float) -> None:
    state = at_origin()
    for _ in range(60):  # lags die out
        drive_cars(state, ONE, controls(steering_deg, 1.5))
    rear = []
    for _ in range(200):
        drive_cars(state, ONE, controls(steering_deg, 1.5))
        heading = state.heading_rad[0]
        rear.append(
            (state.x_m[0] + REAR_AXLE_X_M * math.cos(heading), state.y_m[0] + REAR_AXLE_X_M * math.sin(heading))
        )
    points = np.array(rear)
    # least-squares circle (Kasa)
    matrix = np.column_stack([2 * points, np.ones(len(points))])
    cx, cy, c = np.linalg.lstsq(matrix, (points**2).sum(axis=1), rcond=None)[0]
    radius = math.sqrt(c + cx**2 + cy**2)
    assert radius == pytest.approx(WHEELBASE_M / math.tan(math.radians(abs(steering_deg))), rel=1e-9)
    assert np.hypot(points[:, 0] - cx, points[:, 1] - cy) == pytest.approx(radius, rel=1e-9)


def test_straight_line_acceleration_is_the_first_order_response() -> None:
    state = at_origin()
    for step in range(1, 40):
        drive_cars(state, ONE, controls(0.0, 2.0))
        t = step * STEP_S
        assert state.speed_mps[0] == pytest.approx(2.0 * (1 - math.exp(-t / SPEED_LAG_S)), rel=1e-12)
        assert state.x_m[0] == pytest.approx(2.0 * (t - SPEED_LAG_S * (1 - math.exp(-t / SPEED_LAG_S))), rel=1e-9)
        assert state.y_m[0] == 0.0


@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(0.1, 4.0)), min_size=1, max_size=12))
def test_any_drive_agrees_with_scipy(commands: list[tuple[float, float]]) -> None:
    state = at_origin()
    expected = np.array([REAR_AXLE_X_M, 0.0, 0.0, 0.0, 0.0])  # rear x, y, heading, speed, steering
    for steering_deg, speed in commands:
        drive_cars(state, ONE, controls(steering_deg, speed))
        command = math.radians(steering_deg)

        def slope(_: float, y: np.ndarray, command: float = command, speed: float = speed) -> list[float]:
            _, _, heading, v, steer = y
            turn = v * math.tan(steer) / WHEELBASE_M
            ahead = (v * math.cos(heading), v * math.sin(heading))
            return [*ahead, turn, (speed - v) / SPEED_LAG_S, (command - steer) / STEERING_LAG_S]

        expected = solve_ivp(slope, (0, STEP_S), expected, rtol=1e-9, atol=1e-10).y[:, -1]
    heading = state.heading_rad[0]
    assert state.x_m[0] == pytest.approx(expected[0] - REAR_AXLE_X_M * math.cos(heading), abs=3e-3)
    assert state.y_m[0] == pytest.approx(expected[1] - REAR_AXLE_X_M * math.sin(heading), abs=3e-3)
    assert math.remainder(heading - expected[2], 2 * math.pi) == pytest.approx(0.0, abs=1e-2)
    assert state.speed_mps[0] == pytest.approx(expected[3], abs=1e-7)


def test_commands_are_clipped_to_the_car() -> None:
    state = at_origin()
    drive_cars(state, ONE, controls(90.0, 99.0))
    assert state.commanded_steering_rad[0] == pytest.approx(math.radians(30))
    assert state.commanded_speed_mps[0] == 4.0
    drive_cars(state, ONE, controls(-90.0, -1.0))
    assert state.commanded_steering_rad[0] == pytest.approx(math.radians(-30))
    assert state.commanded_speed_mps[0] == 0.1


def test_a_car_drives_the_same_alone_and_in_a_crowd() -> None:
    rng = np.random.default_rng(3)
    crowd, alone = at_origin(50), at_origin(1)
    for _ in range(30):
        steering, speed = rng.uniform(-0.5, 0.5, 50), rng.uniform(0.1, 4, 50)
        drive_cars(crowd, np.arange(50), Controls(steering, speed))
        drive_cars(alone, ONE, Controls(steering[17:18], speed[17:18]))
    assert crowd.x_m[17] == alone.x_m[0]
    assert crowd.heading_rad[17] == alone.heading_rad[0]


def test_cars_that_are_not_driven_stand_still() -> None:
    state = at_origin(3)
    drive_cars(state, np.array([0, 2]), controls(10.0, 2.0, 2))
    assert state.x_m[1] == 0.0
    assert state.x_m[0] == state.x_m[2] > 0.0
