"""The car with tyre slip, and what conditions do to either car, against closed forms and an independent integrator."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from contract.conditions import Conditions
from contract.state import COMMANDS_KEPT, STEP_S, CarBatch, Controls, FloatArray, Poses
from contract.vehicle import MAX_STEERING_RAD, REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import drive_cars, place_cars
from simapp.vehicle.drive import drive_slipping
from simapp.vehicle.kinematic import SPEED_LAG_S
from simapp.vehicle.slip import GRAVITY_MPS2, RECORDED

REAR_M = RECORDED.centre * WHEELBASE_M
FRONT_M = WHEELBASE_M - REAR_M
GRIP_MPS2 = RECORDED.friction * GRAVITY_MPS2
Commands = list[tuple[float, float]]
commands_of_a_drive = st.lists(st.tuples(st.floats(-30, 30), st.floats(0.1, 4.0)), min_size=1, max_size=12)
conditions_of_a_car = st.fixed_dictionaries(
    {
        "latency_steps": st.floats(0, 2),
        "speed_gain": st.floats(0.5, 1.5),
        "steering_gain": st.floats(0.5, 1.5),
        "steering_offset_deg": st.floats(-5, 5),
        "friction": st.floats(0.3, 2),
    }
)


def under(**values: float) -> Conditions:
    """Those of one car."""
    conditions = Conditions.nominal(1)
    for name, value in values.items():
        getattr(conditions, name)[:] = value
    return conditions


def drive(
    commands: Commands, slips: bool, conditions: Conditions | None = None, pose: tuple[float, float, float] = (0, 0, 0)
) -> CarBatch:
    state, one = CarBatch.zeros(1), np.array([0])
    place_cars(state, one, Poses(*(np.array([value], float) for value in pose)))
    for steering_deg, speed in commands:
        controls = Controls(np.radians([steering_deg]), np.array([speed]))
        drive_cars(state, one, controls, np.array([slips]), conditions)
    return state


def steady(steering_deg: float, speed: float, conditions: Conditions | None = None) -> CarBatch:
    return drive([(steering_deg, speed)] * 300, True, conditions)


def in_force(commands: Commands, latency_steps: float) -> list[tuple[float, float, float]]:
    """(steering_deg, speed, seconds) pieces: the car stands uncommanded, then each command for a step, all late."""
    pieces = [(0.0, 0.0, latency_steps * STEP_S)] + [(*command, STEP_S) for command in commands]
    cut, left = [], len(commands) * STEP_S
    for steering_deg, speed, seconds in pieces:
        cut.append((steering_deg, speed, min(seconds, left)))
        left = max(left - seconds, 0.0)
    return [piece for piece in cut if piece[2] > 0.0]


@settings(max_examples=12)
@given(commands_of_a_drive, conditions_of_a_car)
def test_any_drive_under_any_conditions_agrees_with_scipy(commands: Commands, given: dict[str, float]) -> None:
    state = drive(commands, True, under(**given))
    y = np.array([REAR_AXLE_X_M + REAR_M, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])  # centre x, y, heading, u, v, r, steering
    grip = GRIP_MPS2 * given["friction"]
    offset = math.radians(given["steering_offset_deg"])
    for steering_deg, speed, seconds in in_force(commands, RECORDED.latency_steps + given["latency_steps"]):
        angle = RECORDED.steering_gain * given["steering_gain"] * math.radians(steering_deg) + offset
        target = given["speed_gain"] * speed

        def slope(_: float, y: FloatArray, angle: float = angle, target: float = target) -> list[float]:
            _, _, heading, u, v, r, steer = y
            tangent = np.array([-math.sin(steer), math.cos(steer)])  # the front axle's direction, in the car's frame
            slide = tangent @ [u, v + FRONT_M * r]
            front = -grip * RECORDED.centre * math.sin(math.atan(slide / RECORDED.slide_mps)) * tangent
            rear = -grip * (1 - RECORDED.centre) * math.sin(math.atan((v - REAR_M * r) / RECORDED.slide_mps))
            return [
                u * math.cos(heading) - v * math.sin(heading),
                u * math.sin(heading) + v * math.cos(heading),
                r,
                (target - u) / RECORDED.speed_lag_s + front[0] + v * r,
                front[1] + rear - u * r,
                (FRONT_M * front[1] - REAR_M * rear) / RECORDED.gyration_m**2,
                (angle - steer) / RECORDED.steering_lag_s,
            ]

        y = solve_ivp(slope, (0, seconds), y, rtol=1e-8, atol=1e-9).y[:, -1]
    heading = state.heading_rad[0]
    assert state.x_m[0] + (REAR_AXLE_X_M + REAR_M) * math.cos(heading) == pytest.approx(y[0], abs=3e-4)
    assert state.y_m[0] + (REAR_AXLE_X_M + REAR_M) * math.sin(heading) == pytest.approx(y[1], abs=3e-4)
    assert math.remainder(heading - y[2], 2 * math.pi) == pytest.approx(0.0, abs=1e-3)
    for value, expected in zip((state.speed_mps, state.sideways_mps, state.yaw_rate_rps), y[3:6], strict=True):
        assert value[0] == pytest.approx(expected, abs=3e-3)
    assert state.steering_rad[0] == pytest.approx(y[6], abs=1e-9)


@pytest.mark.parametrize("speed", [0.2, 1.0, 2.0])
def test_gentle_steady_turns_are_neutral_and_drift_as_the_linear_tyre_says(speed: float) -> None:
    state = steady(0.5, speed)
    angle = RECORDED.steering_gain * math.radians(0.5)
    assert state.yaw_rate_rps[0] / state.speed_mps[0] == pytest.approx(angle / WHEELBASE_M, rel=1e-3)
    sideways = REAR_M * state.yaw_rate_rps[0]  # of a rear axle that does not slide
    sliding = speed * state.yaw_rate_rps[0] / GRIP_MPS2 * RECORDED.slide_mps
    assert state.sideways_mps[0] == pytest.approx(sideways - sliding, rel=5e-3, abs=1e-6)


@pytest.mark.parametrize("steering_deg", [-30.0, 10.0, 30.0])
def test_a_crawling_car_turns_as_the_kinematic_one(steering_deg: float) -> None:
    slipping = steady(steering_deg, 0.1)
    rolling = drive([(steering_deg, 0.1)] * 300, False, under(steering_gain=RECORDED.steering_gain))
    curvature = slipping.yaw_rate_rps / slipping.speed_mps
    assert curvature[0] == pytest.approx(rolling.yaw_rate_rps[0] / rolling.speed_mps[0], rel=0.01)


def test_full_lock_at_full_speed_slides_wide() -> None:
    state = steady(30.0, 4.0)
    speed = math.hypot(state.speed_mps[0], state.sideways_mps[0])
    radius = speed / state.yaw_rate_rps[0]
    kinematic_radius = WHEELBASE_M / math.tan(RECORDED.steering_gain * MAX_STEERING_RAD)
    assert speed > 2.0
    assert radius > speed**2 / GRIP_MPS2
    assert radius > 2 * kinematic_radius
    slippery = steady(30.0, 4.0, under(friction=0.5))
    assert math.hypot(slippery.speed_mps[0], slippery.sideways_mps[0]) / slippery.yaw_rate_rps[0] > radius


@pytest.mark.parametrize(("slips", "lag"), [(True, RECORDED.speed_lag_s), (False, SPEED_LAG_S)])
@pytest.mark.parametrize("latency", [0.0, 0.3, 1.0, 1.7, 2.0])
def test_on_the_straight_speed_is_a_late_first_order_response(slips: bool, lag: float, latency: float) -> None:
    late = latency + (RECORDED.latency_steps if slips else 0.0)
    for steps in range(1, 8):
        state = drive([(0.0, 2.0)] * steps, slips, under(latency_steps=latency))
        t = max(steps - late, 0.0) * STEP_S
        exact = 3e-4 if slips else 1e-12  # the midpoint rule against an exact one
        assert state.speed_mps[0] == pytest.approx(2.0 * (1 - math.exp(-t / lag)), abs=exact)
        assert state.x_m[0] == pytest.approx(2.0 * (t - lag * (1 - math.exp(-t / lag))), abs=exact)
        assert (state.y_m[0], state.heading_rad[0]) == (0.0, 0.0)
        assert state.commanded_speed_mps[0] == 2.0


def test_a_car_put_down_anew_forgets_its_commands() -> None:
    state, one = drive([(20.0, 3.0)] * 5, True), np.array([0])
    place_cars(state, one, Poses(*np.zeros((3, 1))))
    drive_cars(state, one, Controls(np.zeros(1), np.ones(1)), np.array([True]), under(latency_steps=0.9))
    assert (state.x_m[0], state.speed_mps[0], state.steering_rad[0], state.yaw_rate_rps[0]) == (0, 0, 0, 0)


@pytest.mark.parametrize("slips", [True, False])
def test_gains_and_offset_are_those_of_other_commands(slips: bool) -> None:
    varied = drive([(20.0, 2.0), (-10.0, 1.0)], slips, under(speed_gain=0.9, steering_gain=1.1))
    plain = drive([(22.0, 1.8), (-11.0, 0.9)], slips)
    assert varied.x_m[0] == pytest.approx(plain.x_m[0], rel=1e-12)
    assert varied.heading_rad[0] == pytest.approx(plain.heading_rad[0], rel=1e-12)
    assert math.degrees(varied.commanded_steering_rad[0]) == pytest.approx(-10.0)
    gain = RECORDED.steering_gain if slips else 1.0
    offset = drive([(5.0 * gain + 3.0, 1.0)] * 90, slips, under(steering_gain=1 / gain))
    assert drive([(5.0, 1.0)] * 90, slips, under(steering_offset_deg=3.0)).steering_rad[0] == pytest.approx(
        offset.steering_rad[0], rel=1e-9
    )


@settings(max_examples=30)
@given(commands_of_a_drive, st.booleans(), st.floats(0, 2))
def test_mirrored_commands_give_the_mirrored_path(commands: Commands, slips: bool, latency: float) -> None:
    left = drive(commands, slips, under(latency_steps=latency))
    right = drive([(-steering, speed) for steering, speed in commands], slips, under(latency_steps=latency))
    assert right.x_m[0] == pytest.approx(left.x_m[0], abs=1e-12)
    assert right.y_m[0] == pytest.approx(-left.y_m[0], abs=1e-12)
    assert math.remainder(right.heading_rad[0] + left.heading_rad[0], 2 * math.pi) == pytest.approx(0.0, abs=1e-12)
    assert right.sideways_mps[0] == -left.sideways_mps[0]


@settings(max_examples=30)
@given(commands_of_a_drive, st.booleans(), st.floats(-50, 50), st.floats(-50, 50), st.floats(-3.1, 3.1))
def test_the_same_path_from_anywhere(commands: Commands, slips: bool, x: float, y: float, heading: float) -> None:
    here, there = drive(commands, slips), drive(commands, slips, pose=(x, y, heading))
    cos, sin = math.cos(heading), math.sin(heading)
    assert there.x_m[0] == pytest.approx(x + here.x_m[0] * cos - here.y_m[0] * sin, abs=1e-9)
    assert there.y_m[0] == pytest.approx(y + here.x_m[0] * sin + here.y_m[0] * cos, abs=1e-9)
    turned = there.heading_rad[0] - here.heading_rad[0] - heading
    assert math.remainder(turned, 2 * math.pi) == pytest.approx(0.0, abs=1e-9)


def test_a_mixed_crowd_drives_as_each_car_alone() -> None:
    rng, count, cars = np.random.default_rng(5), 40, np.arange(40)
    crowd, slips = CarBatch.zeros(count), rng.random(count) < 0.5
    conditions = Conditions.nominal(count)
    conditions.latency_steps[:], conditions.friction[:] = rng.uniform(0, 2, count), rng.uniform(0.5, 2, count)
    steering, speed = rng.uniform(-0.5, 0.5, (30, count)), rng.uniform(0.1, 4, (30, count))
    for t in range(30):
        drive_cars(crowd, cars, Controls(steering[t], speed[t]), slips, conditions)
    for car in (*np.flatnonzero(slips)[:2], *np.flatnonzero(~slips)[:2]):
        one = np.array([car])
        commands = list(zip(np.degrees(steering[:, car]), speed[:, car], strict=True))
        alone = drive(commands, bool(slips[car]), conditions.of(one))
        for name in ("x_m", "y_m", "heading_rad"):
            assert getattr(crowd, name)[car] == pytest.approx(getattr(alone, name)[0], rel=1e-11)
    again = CarBatch.zeros(count)
    for t in range(30):
        for part in (cars[::2], cars[1::2]):
            theirs = Controls(steering[t, part], speed[t, part])
            drive_cars(again, part, theirs, slips[part], conditions.of(part))
    for name in CarBatch.__slots__:
        assert np.array_equal(getattr(again, name), getattr(crowd, name)), name


def test_nominal_conditions_change_no_bit() -> None:
    plain, nominal, one = CarBatch.zeros(1), CarBatch.zeros(1), np.array([0])
    for steering in np.linspace(-0.5, 0.5, 20):
        controls = Controls(np.array([steering]), np.array([2.0]))
        drive_cars(plain, one, controls)
        drive_cars(nominal, one, controls, np.array([False]), under())
    for name in CarBatch.__slots__:
        assert np.array_equal(getattr(plain, name), getattr(nominal, name)), name


def test_as_late_as_a_car_remembers() -> None:
    state, one = CarBatch.zeros(1), np.array([0])
    car = RECORDED._replace(latency_steps=float(COMMANDS_KEPT))
    for _ in range(COMMANDS_KEPT):
        drive_slipping(state, one, Controls(np.zeros(1), np.ones(1)), under(), car)
        assert state.speed_mps[0] == 0.0
    drive_slipping(state, one, Controls(np.zeros(1), np.ones(1)), under(), car)
    assert state.speed_mps[0] == pytest.approx(1 - math.exp(-STEP_S / car.speed_lag_s), abs=3e-4)
