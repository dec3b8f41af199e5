"""The time-optimal lap: the simulator's own car, closed forms, and what must hold of any optimum."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from contract.car import Car, car_of_version
from contract.state import STEP_S, CarBatch, Controls, FloatArray
from contract.vehicle import REAR_AXLE_X_M, WHEELBASE_M
from simapp.params import wheels_on_road
from simapp.tracks import load_track
from simapp.vehicle import Makes, drive_cars
from tests.line_support import ring
from undercut.line.corridor import corridor_of
from undercut.line.optimum import GRIP_TRIED, STATES, initial, slopes, solve, speed_profile

COARSE_M = 0.12


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([4, 5]),
    st.floats(0.5, 3.5),
    st.floats(-0.4, 0.4),
    st.floats(-3.0, 3.0),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
    st.floats(0.5, 3.5),
)
def test_the_equations_are_those_of_the_simulators_car(
    version: int, u: float, v: float, r: float, delta: float, command: float, rim: float
) -> None:
    """Integrated over a step by scipy, in world coordinates (no curvature), against the simulator's kernel."""
    car = dataclasses.replace(car_of_version(version), latency_steps=0.0, speed_lag_s=0.0)
    cars, one = CarBatch.zeros(1), np.array([0])
    cars.speed_mps[0], cars.sideways_mps[0], cars.yaw_rate_rps[0], cars.steering_rad[0] = u, v, r, delta
    cars.rim_mps[0] = rim
    # the command has held before: a change would kick version 4's wheels, which slopes take as a rate
    speed = rim * car.command_radius_m / car.wheel_radius_m
    cars.commanded_steering_rad[0] = cars.earlier_steering_rad[0] = command
    cars.commanded_speed_mps[0] = cars.earlier_speed_mps[0] = speed
    drive_cars(cars, one, Controls(np.array([command]), np.array([speed])), Makes.of_cars([car]))

    def rates(time: float, state: FloatArray) -> FloatArray:
        found, along = slopes(np, car, state[:8], (0.0, 0.0), 0.0)
        return np.array([*found, along])

    begin = [0.0, 0.0, u, v, r, delta, command, rim, 0.0]
    end = solve_ivp(rates, (0.0, STEP_S), begin, rtol=1e-6, atol=1e-7, method="LSODA").y[:, -1]
    centre = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    x = cars.x_m[0] + centre * math.cos(cars.heading_rad[0]) - centre
    y = cars.y_m[0] + centre * math.sin(cars.heading_rad[0])
    mine = [y, cars.heading_rad[0], cars.speed_mps[0], cars.sideways_mps[0], cars.yaw_rate_rps[0], cars.steering_rad[0]]
    assert [*mine, x] == pytest.approx([*end[:6], end[8]], abs=0.02)


def test_a_point_on_a_circle_is_as_fast_as_its_grip() -> None:
    radius, grip = 2.5, 6.0
    curvature = np.full(200, 1.0 / radius)
    speed = speed_profile(curvature, 2.0 * math.pi * radius / 200, grip, grip, 10.0)
    assert speed == pytest.approx(math.sqrt(grip * radius))
    assert speed_profile(curvature, 0.1, grip, grip, 3.0) == pytest.approx(3.0)


def test_a_point_on_an_oval_speeds_up_and_brakes_by_torricelli() -> None:
    radius, straight, grip, count = 1.0, 6.0, 4.0, 6000
    length = 2.0 * straight + 2.0 * math.pi * radius
    s = (np.arange(count) + 0.5) * length / count
    half = s % (0.5 * length)
    speed = speed_profile(np.where(half < straight, 0.0, 1.0 / radius), length / count, grip, grip, 100.0)
    corner = math.sqrt(grip * radius)
    top = math.sqrt(corner**2 + 2.0 * grip * 0.5 * straight)
    by_hand = 2.0 * (math.pi * radius / corner + 2.0 * (top - corner) / grip)
    assert float(np.sum(length / count / speed)) == pytest.approx(by_hand, rel=2e-3)
    assert speed.max() == pytest.approx(top, rel=2e-3)


def _fastest_steady_lap(car: Car, low_m: float, high_m: float) -> float:
    """The least time of a ring's laps at constant commands between two radii, driven by the simulator until steady."""
    grid = np.meshgrid(np.radians(np.arange(2.0, 30.1, 0.5)), np.arange(1.0, 3.55, 0.1))
    steering, speed = (it.ravel() for it in grid)
    cars, everyone = CarBatch.zeros(len(steering)), np.arange(len(steering))
    cars.speed_mps[:] = speed
    makes = Makes.of_cars([car] * len(steering))
    for _ in range(60):
        drive_cars(cars, everyone, Controls(steering, speed), makes)
    radius = np.hypot(cars.speed_mps, cars.sideways_mps) / np.maximum(cars.yaw_rate_rps, 1e-6)
    fits = (radius > low_m) & (radius < high_m)
    return float((2.0 * math.pi / cars.yaw_rate_rps[fits]).min())


def test_a_wide_ring_is_driven_on_its_inside_at_full_speed() -> None:
    """Where grip is plenty, the lap is the inner edge's length by the wheels' top speed."""
    car = car_of_version(5)
    lap = solve(corridor_of(ring(4.0, 0.6), 0.0, 0.2), car)
    # the outer wheels alone are on the road: their track's half width further in than the edge
    by_hand = 2.0 * math.pi * (3.7 - 0.0803) / car.top_speed_mps
    assert lap.lap_s == pytest.approx(by_hand, rel=0.02)
    assert lap.lap_s <= _fastest_steady_lap(car, 3.7 - 0.08, 4.3 + 0.08)


@pytest.mark.slow
def test_a_tight_ring_is_no_slower_than_the_simulators_best_steady_circle() -> None:
    """Faster it is: a car whose wheels spin or brake turns more sharply than one that rolls, so that it pulses."""
    car = car_of_version(5)
    lap = solve(corridor_of(ring(1.2, 0.6), 0.0, COARSE_M), car)
    assert lap.lap_s <= _fastest_steady_lap(car, 0.9 - 0.08, 1.5 + 0.08)


@pytest.mark.slow
def test_the_lap_keeps_all_limits_and_is_faster_than_where_it_began() -> None:
    track, car = load_track("kidney"), car_of_version(5)
    corridor = corridor_of(track, 0.0, COARSE_M)
    lap = solve(corridor, car)
    assert np.abs(lap.column("command")).max() <= math.radians(30.0) + 1e-6
    assert lap.column("rim").min() >= 0.1 and lap.column("rim").max() <= car.top_speed_mps + 1e-6
    assert lap.lap_s < initial(corridor, car, GRIP_TRIED[0]).lap_s
    assert lap.states.shape == (len(corridor.x_m), len(STATES))
    heading = corridor.heading_rad + lap.column("xi")
    back = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    x, y = (corridor.points(lap.column("n")) - back * np.column_stack([np.cos(heading), np.sin(heading)])).T
    inside = wheels_on_road(track, x.copy(), y.copy(), heading).any(axis=1)
    assert inside.mean() > 0.97  # at the limit a wheel stands on the edge: a millimetre either way
    # and the other direction takes as long: a car without toe has no better side
    back_s = solve(corridor_of(track.reversed(), 0.0, COARSE_M), car).lap_s
    assert back_s == pytest.approx(lap.lap_s, rel=0.004)


@pytest.mark.slow
def test_less_room_and_less_grip_are_slower() -> None:
    track, car = load_track("first_oval"), car_of_version(5)

    def lap_s(margin_m: float, wheels: str, friction: float = 1.0) -> float:
        make = dataclasses.replace(car, friction=friction)
        return solve(corridor_of(track, margin_m, 2.0 * COARSE_M), make, margin_m, wheels).lap_s

    free = lap_s(0.0, "one")
    assert free < lap_s(0.1, "one") < lap_s(0.0, "all")
    assert free < lap_s(0.0, "one", 0.5)
