"""The car against closed forms, an independent integrator and what every car must do."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from contract.car import Car, car_of_version
from contract.conditions import Conditions
from contract.state import COMMANDS_KEPT, STEP_S, CarBatch, Controls, FloatArray, Poses
from contract.vehicle import REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import Makes, drive_cars, place_cars

ONE = np.array([0])
GRAVITY = 9.81
VERSIONS = (4, 5)
Commands = list[tuple[float, float]]
command_of_a_step = st.tuples(st.floats(-30, 30), st.floats(0.1, 4.0))
commands_of_a_drive = st.lists(command_of_a_step, min_size=1, max_size=12)
conditions_of_a_car = st.fixed_dictionaries(
    {
        "latency_steps": st.floats(0, 2),
        "speed_gain": st.floats(0.5, 1.5),
        "steering_gain": st.floats(0.5, 1.5),
        "steering_offset_deg": st.floats(-5, 5),
        "friction": st.floats(0.5, 1.5),
    }
)


def under(**values: float) -> Conditions:
    """Those of one car."""
    conditions = Conditions.nominal(1)
    for name, value in values.items():
        getattr(conditions, name)[:] = value
    return conditions


def drive(
    commands: Commands, car: Car, conditions: Conditions | None = None, pose: tuple[float, float, float] = (0, 0, 0)
) -> CarBatch:
    state = CarBatch.zeros(1)
    place_cars(state, ONE, Poses(*(np.array([value], float) for value in pose)))
    for steering_deg, speed in commands:
        controls = Controls(np.radians([steering_deg]), np.array([speed]))
        drive_cars(state, ONE, controls, Makes.of_cars([car]), conditions)
    return state


def straight(version: int, **changed: Any) -> Car:
    """The version's car without the toe of its front wheels."""
    return dataclasses.replace(car_of_version(version), steering_offset_deg=0.0, **changed)


def steady(steering_deg: float, speed: float, car: Car, conditions: Conditions | None = None) -> CarBatch:
    return drive([(steering_deg, speed)] * 200, car, conditions)


def in_force(commands: Commands, latency_steps: float) -> list[tuple[float, float, float]]:
    """(steering_deg, speed, seconds) pieces: the car stands uncommanded, then each command for a step, all late."""
    pieces = [(0.0, 0.0, latency_steps * STEP_S)] + [(*command, STEP_S) for command in commands]
    cut, left = [], len(commands) * STEP_S
    for steering_deg, speed, seconds in pieces:
        cut.append((steering_deg, speed, min(seconds, left)))
        left = max(left - seconds, 0.0)
    return [piece for piece in cut if piece[2] > 0.0]


def kick(car: Car, change: float) -> float:
    """What a command that changes by so many radians turns the wheels by at once."""
    return math.copysign(min(car.steering_kick_rad, 2 * abs(change)), change)


def slopes(car: Car, grip: float, angle: float, target: float, y: FloatArray) -> list[float]:
    """The equations of motion written anew with vectors: y = centre x, y, heading, u, v, r, steering, rim speed."""
    _, _, heading, u, v, r, steer, rim = y
    rear_m = car.centre * WHEELBASE_M
    force, moment = np.zeros(2), 0.0
    for x, share, turned in ((WHEELBASE_M - rear_m, car.centre, steer), (-rear_m, 1 - car.centre, 0.0)):
        for side in (car.half_track_m, -car.half_track_m):
            along = np.array([math.cos(turned), math.sin(turned)])
            across = np.array([-along[1], along[0]])
            contact = np.array([u - r * side, v + r * x]) - rim * along
            pushed = np.zeros(2)
            for direction in (along, across):
                pushed -= math.sin(math.atan(contact @ direction / car.slide_mps)) * direction
            pushed *= car.friction * grip * GRAVITY * share / 2
            force += pushed
            moment += x * pushed[1] - side * pushed[0]
    return [
        u * math.cos(heading) - v * math.sin(heading),
        u * math.sin(heading) + v * math.cos(heading),
        r,
        force[0] + v * r,
        force[1] - u * r,
        moment / car.gyration_m**2,
        (angle - steer) / car.steering_lag_s,
        (target - rim) / car.speed_lag_s,
    ]


@settings(max_examples=5)
@given(st.lists(command_of_a_step, min_size=1, max_size=6), conditions_of_a_car, st.sampled_from(VERSIONS))
def test_any_drive_under_any_conditions_agrees_with_scipy(
    commands: Commands, given: dict[str, float], version: int
) -> None:
    car = dataclasses.replace(car_of_version(version), speed_lag_s=0.05, steering_kick_rad=0.0, slide_mps=0.25)
    state = drive(commands, car, under(**given))
    arm = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    y = np.array([arm, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    offset = before = math.radians(given["steering_offset_deg"] + car.steering_offset_deg)
    for steering_deg, speed, seconds in in_force(commands, car.latency_steps + given["latency_steps"]):
        angle = car.steering_gain * given["steering_gain"] * math.radians(steering_deg) + offset
        target = min(given["speed_gain"] * speed * car.wheel_radius_m / car.command_radius_m, car.top_speed_mps)

        y[6] += kick(car, angle - before)
        before = angle

        def slope(_: float, y: FloatArray, angle: float = angle, target: float = target) -> list[float]:
            return slopes(car, given["friction"], angle, target, y)

        y = solve_ivp(slope, (0, seconds), y, method="LSODA", rtol=1e-6, atol=1e-8).y[:, -1]
    heading = state.heading_rad[0]
    assert state.x_m[0] + arm * math.cos(heading) == pytest.approx(y[0], abs=4e-3)
    assert state.y_m[0] + arm * math.sin(heading) == pytest.approx(y[1], abs=4e-3)
    assert math.remainder(heading - y[2], 2 * math.pi) == pytest.approx(0.0, abs=8e-3)
    for value, expected in zip((state.speed_mps, state.sideways_mps), y[3:5], strict=True):
        assert value[0] == pytest.approx(expected, abs=0.04)
    assert (state.steering_rad[0], state.rim_mps[0]) == pytest.approx((y[6], y[7]), abs=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("steering_deg", [5.0, 15.0, 30.0])
def test_a_slow_car_turns_where_its_four_tyres_rub_least(version: int, steering_deg: float) -> None:
    """At a crawl forces must balance without inertia. Each force is the slope of a wheel's rubbing, so the car's motion
    is that of least rubbing: here searched, in the model integrated."""
    car = straight(version, slide_mps=0.05)
    speed = 0.1 * car.wheel_radius_m / car.command_radius_m
    wheel = car.steering_gain * math.radians(steering_deg)
    rear_m = car.centre * WHEELBASE_M

    def rubbing(z: FloatArray) -> float:
        u, v, r = z * [1.0, 1.0, 10.0]
        total = 0.0
        for x, share, turned in ((WHEELBASE_M - rear_m, car.centre, wheel), (-rear_m, 1 - car.centre, 0.0)):
            for side in (car.half_track_m, -car.half_track_m):
                moved = complex(u - r * side, v + r * x) * complex(math.cos(turned), -math.sin(turned)) - speed
                total += share * (math.hypot(moved.real, car.slide_mps) + math.hypot(moved.imag, car.slide_mps))
        return total

    best = minimize(rubbing, [speed, 0.0, 0.02], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}).x
    state = steady(steering_deg, 0.1, car)
    assert state.yaw_rate_rps[0] == pytest.approx(10.0 * best[2], rel=0.03)
    assert state.speed_mps[0] == pytest.approx(best[0], rel=0.02)
    turning = state.yaw_rate_rps[0] / state.speed_mps[0] / (math.tan(wheel) / WHEELBASE_M)
    assert 0.4 < turning < 0.9  # without Ackermann and differential: about two thirds of what the wheels' angle says


@pytest.mark.parametrize("version", VERSIONS)
def test_speed_rises_at_what_friction_gives_and_ends_at_what_the_joints_allow(version: int) -> None:
    car = straight(version, latency_steps=0.0, speed_lag_s=0.0)
    grip = car.friction * GRAVITY
    for steps in range(1, 4):
        state = drive([(0.0, 4.0)] * steps, car)
        assert state.speed_mps[0] == pytest.approx(grip * steps * STEP_S, rel=0.01)
        assert state.x_m[0] == pytest.approx(grip * (steps * STEP_S) ** 2 / 2, rel=0.01)
        assert (state.y_m[0], state.heading_rad[0], state.sideways_mps[0]) == (0.0, 0.0, 0.0)
    assert steady(0.0, 4.0, car).speed_mps[0] == pytest.approx(3.6, rel=1e-6)
    assert steady(0.0, 2.0, car).speed_mps[0] == pytest.approx(2.0 * 36 / 35, rel=1e-6)
    braked = drive([(0.0, 3.0)] * 60 + [(0.0, 1.0)] * 2, car)
    assert braked.speed_mps[0] == pytest.approx(3.0 * 36 / 35 - 2 * grip * STEP_S, rel=0.03)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_car_at_4_mps_leaves_a_bend_of_1_m(version: int) -> None:
    """The angle is the one that drives a circle of 1 m at a crawl."""
    car = car_of_version(version)
    low, high = 0.0, 30.0
    for _ in range(30):
        middle = (low + high) / 2
        slow = steady(middle, 0.3, car)
        low, high = (middle, high) if slow.yaw_rate_rps[0] < slow.speed_mps[0] else (low, middle)
    entered = [(0.0, 4.0)] * 30 + [(high, 4.0)] * 20
    fast = drive(entered, car)
    speed = math.hypot(fast.speed_mps[0], fast.sideways_mps[0])
    radius = speed / fast.yaw_rate_rps[0]
    assert speed > 3.4
    assert radius > 1.5
    assert speed**2 / radius <= math.sqrt(2) * car.friction * GRAVITY
    slippery = drive(entered, car, under(friction=0.8))
    assert math.hypot(slippery.speed_mps[0], slippery.sideways_mps[0]) / slippery.yaw_rate_rps[0] > radius


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("latency", [0.0, 0.3, 1.0, 1.6])
def test_late_commands_take_hold_within_the_step(version: int, latency: float) -> None:
    car = straight(version, speed_lag_s=0.1, steering_kick_rad=0.0)
    late = latency + car.latency_steps
    for steps in range(1, 6):
        state = drive([(10.0, 2.0)] * steps, car, under(latency_steps=latency))
        t = max(steps - late, 0.0) * STEP_S
        assert state.rim_mps[0] == pytest.approx(2.0 * 36 / 35 * (1 - math.exp(-t / 0.1)), abs=1e-12)
        wheels = car.steering_gain * math.radians(10.0)
        left = (wheels - kick(car, wheels)) * math.exp(-t / car.steering_lag_s) if t > 0.0 else wheels
        assert state.steering_rad[0] == pytest.approx(wheels - left, abs=1e-12)
        assert state.commanded_speed_mps[0] == 2.0


def test_a_new_command_kicks_the_hinges_of_version_4_and_then_they_creep() -> None:
    car = straight(4, latency_steps=0.5)
    kick, keep = car.steering_kick_rad, math.exp(-0.5 * STEP_S / car.steering_lag_s)
    for degrees, jump in ((20.0, kick), (-20.0, -kick), (0.5, 2 * math.radians(0.5))):
        state = drive([(degrees, 1.0)], car)
        angle = math.radians(degrees)
        assert state.steering_rad[0] == pytest.approx(angle + (jump - angle) * keep, abs=1e-12)


def test_as_late_as_a_car_remembers() -> None:
    car = dataclasses.replace(car_of_version(5), latency_steps=COMMANDS_KEPT - 1.0)
    assert drive([(0.0, 1.0)] * COMMANDS_KEPT, car, under(latency_steps=1.0)).speed_mps[0] == 0.0
    assert drive([(0.0, 1.0)] * (COMMANDS_KEPT + 1), car, under(latency_steps=1.0)).speed_mps[0] > 0.0


def test_a_car_put_down_anew_forgets_its_commands() -> None:
    car = car_of_version(5)
    state = drive([(20.0, 3.0)] * 5, car)
    place_cars(state, ONE, Poses(*np.zeros((3, 1))))
    drive_cars(state, ONE, Controls(np.zeros(1), np.ones(1)), Makes.of_cars([car]), under(latency_steps=0.665))
    still = (state.x_m, state.speed_mps, state.steering_rad, state.yaw_rate_rps, state.rim_mps)
    assert [values[0] for values in still] == [0.0] * 5


def test_commands_are_clipped_to_the_car() -> None:
    state = drive([(90.0, 99.0)], car_of_version(5))
    assert (math.degrees(state.commanded_steering_rad[0]), state.commanded_speed_mps[0]) == pytest.approx((30.0, 4.0))
    state = drive([(-90.0, -1.0)], car_of_version(5))
    assert (math.degrees(state.commanded_steering_rad[0]), state.commanded_speed_mps[0]) == pytest.approx((-30.0, 0.1))


@pytest.mark.parametrize("version", VERSIONS)
def test_gains_and_offset_are_those_of_other_commands(version: int) -> None:
    car = straight(version)
    varied = drive([(20.0, 2.0), (-10.0, 1.0)], car, under(speed_gain=0.9, steering_gain=1.1))
    plain = drive([(22.0, 1.8), (-11.0, 0.9)], car)
    assert varied.x_m[0] == pytest.approx(plain.x_m[0], rel=1e-12)
    assert varied.heading_rad[0] == pytest.approx(plain.heading_rad[0], rel=1e-12)
    assert math.degrees(varied.commanded_steering_rad[0]) == pytest.approx(-10.0)
    offset = steady(5.0, 1.0, car, under(steering_offset_deg=3.0))
    assert math.degrees(offset.steering_rad[0]) == pytest.approx(5.0 * car.steering_gain + 3.0, rel=1e-9)
    pulling = steady(5.0, 1.0, dataclasses.replace(car, steering_offset_deg=3.0))
    assert pulling.steering_rad[0] == pytest.approx(offset.steering_rad[0], rel=1e-12)


@settings(max_examples=30)
@given(commands_of_a_drive, st.sampled_from(VERSIONS), st.floats(0, 2))
def test_mirrored_commands_give_the_mirrored_path(commands: Commands, version: int, latency: float) -> None:
    car = car_of_version(version)
    left = drive(commands, car, under(latency_steps=latency))
    twin = dataclasses.replace(car, steering_offset_deg=-car.steering_offset_deg)  # mirrored toe of version 4
    right = drive([(-steering, speed) for steering, speed in commands], twin, under(latency_steps=latency))
    assert right.x_m[0] == pytest.approx(left.x_m[0], abs=1e-12)
    assert right.y_m[0] == pytest.approx(-left.y_m[0], abs=1e-12)
    assert math.remainder(right.heading_rad[0] + left.heading_rad[0], 2 * math.pi) == pytest.approx(0.0, abs=1e-12)
    assert right.sideways_mps[0] == -left.sideways_mps[0]


@settings(max_examples=30)
@given(commands_of_a_drive, st.sampled_from(VERSIONS), st.floats(-50, 50), st.floats(-50, 50), st.floats(-3.1, 3.1))
def test_the_same_path_from_anywhere(commands: Commands, version: int, x: float, y: float, heading: float) -> None:
    car = car_of_version(version)
    here, there = drive(commands, car), drive(commands, car, pose=(x, y, heading))
    cos, sin = math.cos(heading), math.sin(heading)
    assert there.x_m[0] == pytest.approx(x + here.x_m[0] * cos - here.y_m[0] * sin, abs=1e-9)
    assert there.y_m[0] == pytest.approx(y + here.x_m[0] * sin + here.y_m[0] * cos, abs=1e-9)
    turned = there.heading_rad[0] - here.heading_rad[0] - heading
    assert math.remainder(turned, 2 * math.pi) == pytest.approx(0.0, abs=1e-9)


def test_a_mixed_crowd_drives_as_each_car_alone() -> None:
    rng, count, cars = np.random.default_rng(5), 40, np.arange(40)
    made = [car_of_version(int(version)) for version in rng.choice(VERSIONS, count)]
    makes, crowd = Makes.of_cars(made), CarBatch.zeros(count)
    conditions = Conditions.nominal(count)
    conditions.latency_steps[:], conditions.friction[:] = rng.uniform(0, 2, count), rng.uniform(0.5, 2, count)
    steering, speed = rng.uniform(-0.5, 0.5, (30, count)), rng.uniform(0.1, 4, (30, count))
    for t in range(30):
        drive_cars(crowd, cars, Controls(steering[t], speed[t]), makes, conditions)
    for car in (0, 7, 33):
        commands = list(zip(np.degrees(steering[:, car]), speed[:, car], strict=True))
        alone = drive(commands, made[car], conditions.of(np.array([car])))
        for name in ("x_m", "y_m", "heading_rad"):
            assert getattr(crowd, name)[car] == pytest.approx(getattr(alone, name)[0], rel=1e-9)
    again = CarBatch.zeros(count)
    for t in range(30):
        for part in (cars[::2], cars[1::2]):
            theirs = Controls(steering[t, part], speed[t, part])
            drive_cars(again, part, theirs, makes.of(part), conditions.of(part))
    for name in CarBatch.__slots__:
        assert np.array_equal(getattr(again, name), getattr(crowd, name)), name


def test_the_default_car_is_that_of_version_5_and_nominal_conditions_change_no_bit() -> None:
    plain, nominal = CarBatch.zeros(1), CarBatch.zeros(1)
    for steering in np.linspace(-0.5, 0.5, 20):
        controls = Controls(np.array([steering]), np.array([2.0]))
        drive_cars(plain, ONE, controls)
        drive_cars(nominal, ONE, controls, Makes.of_cars([car_of_version(5)]), under())
    for name in CarBatch.__slots__:
        assert np.array_equal(getattr(plain, name), getattr(nominal, name)), name


def test_cars_that_are_not_driven_stand_still() -> None:
    state = CarBatch.zeros(3)
    for _ in range(3):
        drive_cars(state, np.array([0, 2]), Controls(np.full(2, 0.2), np.full(2, 2.0)))
    assert state.x_m[1] == 0.0
    assert state.x_m[0] == state.x_m[2] > 0.0


@pytest.mark.parametrize("friction", [0.05, 3.0])
@pytest.mark.parametrize("slide_mps", [0.05, 2.0])
def test_the_stiffest_car_of_a_car_file_stays_finite(friction: float, slide_mps: float) -> None:
    car = dataclasses.replace(car_of_version(5), friction=friction, slide_mps=slide_mps, gyration_m=0.05)
    commands = [(30.0 * (-1) ** (t // 3), 4.0 if t % 5 else 0.1) for t in range(60)]
    state = drive(commands, car, under(friction=3.0))
    assert math.hypot(state.speed_mps[0], state.sideways_mps[0]) < 6.0
    assert abs(state.yaw_rate_rps[0]) < 60.0


def test_randomisation_reaches_from_one_generation_to_the_other() -> None:
    first, other = Makes.of_cars([car_of_version(5)] * 3), Makes.of_cars([car_of_version(4)] * 3)
    mixed = first.towards(other, np.array([0.0, 1.0, 0.5]))
    for name in Makes.__slots__:
        mine, theirs, found = getattr(first, name), getattr(other, name), getattr(mixed, name)
        assert np.array_equal(found[0], mine[0])
        assert found[1] == pytest.approx(theirs[1], rel=1e-12)
        assert found[2] == pytest.approx((mine[2] + theirs[2]) / 2, rel=1e-12)
