"""objects_* params on a circle by closed forms, object_in_camera by angles, and tracks turned or mirrored."""

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.config import RaceConfig
from contract.state import CarBatch, Controls, FloatArray, ObjectKind, TrackObjects
from contract.vehicle import BOX_LENGTH_M, BOX_WIDTH_M, CAMERA_HFOV_RAD, CAMERA_X_M, LENGTH_M, WIDTH_M
from simapp.race import Race, RaceRules
from simapp.tracks import Track, load_track
from tests.support import RADIUS_M, BlindSimulator, circle, mirrored
from tests.support import WIDTH_M as ROAD_M

CIRCLE, OVAL = circle(), load_track("first_oval")
LAP_M = CIRCLE.length_m
ROUNDING_M = 2e-3
"""The circle's polyline and its arcs are that far from each other."""

CORNER_M = 6e-3
"""Beside a corner of the polyline the nearest place on it is up to half its turn times the offset off."""

MIXED = RaceConfig(
    race_type="HEAD_TO_MODEL",
    object_positions=((0.75, -1), (0.125, 1)),
    number_of_bot_cars=2,
    bot_car_speed=0.5,
    min_distance_between_bot_cars=1.0,
    min_distance_between_obstacles=1.0,
)


def watched(
    track: Track, config: RaceConfig, cars_in_world: int = 1, is_reversed: bool = False
) -> tuple[Race, list[list[dict[str, Any]]]]:
    """A race, and for each car the params that its reward function was given."""
    told: list[list[dict[str, Any]]] = [[] for _ in range(cars_in_world)]

    def reward_of(car: int) -> Any:
        def reward(params: dict[str, Any]) -> float:
            told[car].append(params)
            return 1.0

        return reward

    simulator = BlindSimulator(cars_in_world, np.zeros(cars_in_world, np.int64))
    rewards = [reward_of(car) for car in range(cars_in_world)]
    race = Race(simulator, track, RaceRules(10_000, resets=10_000), rewards, is_reversed, config)
    race.furnish(0, np.random.default_rng(5))
    return race, told


def step(race: Race, steering_rad: float = 0.05, speed_mps: float = 0.5) -> tuple[CarBatch, TrackObjects]:
    """The cars and the first world's objects as the step found them, which is what rewards are told."""
    cars = np.arange(race.num_cars)
    assert isinstance(race.simulator, BlindSimulator)
    found = copy.deepcopy((race.simulator.cars, race.simulator.objects[0]))
    race.step(cars, Controls(np.full(len(cars), steering_rad), np.full(len(cars), speed_mps)))
    return found


def where_on_circle(x: float, y: float) -> tuple[float, float, float]:
    """Distance along the centre, offset to the left, and direction of the road in degrees."""
    angle = math.atan2(y, x) % (2 * math.pi)
    return (
        angle / (2 * math.pi) * LAP_M,
        RADIUS_M - math.hypot(x, y),
        math.degrees((angle + 1.5 * math.pi) % (2 * math.pi)) - 180,
    )


def test_lists_hold_obstacles_then_bots_then_rivals() -> None:
    race, told = watched(CIRCLE, MIXED, cars_in_world=2)
    race.start(0, 6.0, 0.1)
    race.start(1, 10.0, -0.15)
    for _ in range(9):
        rival, _ = step(race)
    params = told[0][-1]
    location = np.array(params["objects_location"])
    assert all(type(point) is tuple for point in params["objects_location"])
    lane_m = ROAD_M / 4
    for k, (fraction, lane) in enumerate(MIXED.object_positions):
        angle, radius = 2 * math.pi * fraction, RADIUS_M - lane * lane_m  # inner is left on this circle
        assert location[k] == pytest.approx([radius * math.cos(angle), radius * math.sin(angle)], abs=2 * ROUNDING_M)
    assert location[4] == pytest.approx([rival.x_m[1], rival.y_m[1]])
    closed = np.array([where_on_circle(x, y) for x, y in location])
    assert params["objects_distance"] == pytest.approx(closed[:, 0], abs=CORNER_M)
    assert params["objects_distance_from_center"] == pytest.approx(np.abs(closed[:, 1]), abs=ROUNDING_M)
    assert params["objects_left_of_center"] == (closed[:, 1] > 0).tolist() == [False, True, True, False, False]
    assert params["objects_speed"] == pytest.approx([0.0, 0.0, 0.5, 0.5, rival.speed_mps[1]])
    assert params["objects_heading"][:2] == [0.0, 0.0]  # as AWS documents for what stands
    assert params["objects_heading"][2:4] == pytest.approx(np.radians(closed[2:4, 2]), abs=0.009)
    assert params["objects_heading"][4] == pytest.approx(rival.heading_rad[1])
    # bots began at 1 m and END_M before the line, in alternating lanes, and have driven eight steps of 0.5 m/s
    assert closed[2:4, 0] == pytest.approx(np.array([1.0, LAP_M - 1.0]) + 8 * 0.5 / 15, abs=0.01)
    assert told[1][-1]["objects_location"][4] == (rival.x_m[0], rival.y_m[0])
    assert all(isinstance(value, float) for value in params["objects_heading"] + params["objects_distance"])


def test_headings_of_objects_in_degrees_where_the_run_asks_for_them() -> None:
    """`objects_heading_in`: as AWS documents them, though its simulator gives radians."""
    found = []
    for changed in ({"objects_heading_in": "degrees"}, {}):
        race, told = watched(CIRCLE, MIXED.model_copy(update=changed), cars_in_world=2)
        race.start(0, 6.0, 0.1)
        race.start(1, 10.0, -0.15)
        step(race)
        step(race)
        found.append(told[0][-1]["objects_heading"])
    assert [math.radians(heading) for heading in found[0]] == pytest.approx(found[1])
    assert max(map(abs, found[1])) > 0.5  # where the units differ


def test_parked_cars_point_along_the_road_and_stand() -> None:
    race, told = watched(
        CIRCLE, RaceConfig(race_type="OBJECT_AVOIDANCE", object_positions=((0.4, 1),), is_obstacle_bot_car=True)
    )
    race.start(0, 0.0)
    step(race)  # held
    step(race)
    (params,) = told[0]
    assert params["objects_heading"] == pytest.approx([math.radians(0.4 * 360 + 90 - 360)], abs=0.014)
    assert params["objects_speed"] == [0.0]


def test_an_empty_race_tells_what_aws_tells() -> None:
    race, told = watched(CIRCLE, RaceConfig())
    race.start(0, 0.0)
    step(race)  # held
    step(race)
    params = told[0][0]
    assert params["closest_objects"] == [0, 0]
    assert params["object_in_camera"] is False
    assert [params[key] for key in params if key.startswith("objects_")] == [[]] * 6
    assert len(params) == 27


@settings(max_examples=10)
@given(
    at=st.floats(0.0, 1.0),
    fractions=st.lists(st.integers(0, 19), min_size=1, max_size=5, unique=True),
    turned=st.booleans(),
)
def test_closest_objects_are_the_next_behind_and_ahead_round_the_lap(
    at: float, fractions: list[int], turned: bool
) -> None:
    positions: Any = tuple((f / 20, 1 if f % 2 else -1) for f in fractions)
    track = CIRCLE.reversed() if turned else CIRCLE
    config = RaceConfig(race_type="OBJECT_AVOIDANCE", object_positions=positions, min_distance_between_obstacles=0.5)
    race, told = watched(track, config, is_reversed=turned)
    race.start(0, at * LAP_M)
    step(race, 0.0, 0.1)  # held
    step(race, 0.0, 0.1)
    params = told[0][0]
    here = params["projection_distance"]
    distances = params["objects_distance"]
    for told_m, fraction in zip(distances, fractions, strict=True):  # in the driving direction, whichever that is
        assert math.remainder(told_m - fraction / 20 * LAP_M, LAP_M) == pytest.approx(0.0, abs=CORNER_M)
    ahead = min(range(len(distances)), key=lambda i: (distances[i] - here) % LAP_M)
    behind = min(range(len(distances)), key=lambda i: (here - distances[i]) % LAP_M)
    assert params["closest_objects"] == [behind, ahead]
    assert params["is_reversed"] is turned


@settings(max_examples=25)
@given(at=st.floats(0.0, 1.0), offset=st.floats(-0.3, 0.3), turn=st.floats(-3.1, 3.1), parked=st.booleans())
def test_object_in_camera_is_the_next_one_by_the_angles_of_its_corners(
    at: float, offset: float, turn: float, parked: bool
) -> None:
    config = RaceConfig(
        race_type="OBJECT_AVOIDANCE", object_positions=((0.1, 1), (0.4, -1), (0.75, 1)), is_obstacle_bot_car=parked
    )
    race, told = watched(CIRCLE, config)
    race.start(0, at * LAP_M, offset, turn)
    step(race, 0.0, 0.1)  # held
    car, placed = step(race, 0.0, 0.1)
    params = told[0][0]
    k = params["closest_objects"][1]
    length, width = {ObjectKind.box: (BOX_LENGTH_M, BOX_WIDTH_M), ObjectKind.car: (LENGTH_M, WIDTH_M)}[
        ObjectKind(int(placed.kind[0, k]))
    ]
    heading, middle = placed.heading_rad[0, k], np.array([placed.x_m[0, k], placed.y_m[0, k]])
    along, across = np.array([math.cos(heading), math.sin(heading)]), np.array([-math.sin(heading), math.cos(heading)])
    points = [middle] + [middle + a * along * length / 2 + b * across * width / 2 for a in (-1, 1) for b in (-1, 1)]
    lens = np.array(
        [car.x_m[0] + CAMERA_X_M * math.cos(car.heading_rad[0]), car.y_m[0] + CAMERA_X_M * math.sin(car.heading_rad[0])]
    )
    angles = [math.remainder(math.atan2(*(point - lens)[::-1]) - car.heading_rad[0], 2 * math.pi) for point in points]
    half = CAMERA_HFOV_RAD / 2
    if min(abs(abs(angle) - half) for angle in angles) > 1e-9:
        assert params["object_in_camera"] is any(abs(angle) < half for angle in angles)


def moved(track: Track, turn_rad: float, x_m: float, y_m: float) -> Track:
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    pairs = track.route.reshape(-1, 3, 2) @ np.array([[cos, sin], [-sin, cos]]) + [x_m, y_m]
    route = pairs.reshape(-1, 6)
    route[-1] = route[0]
    return Track(track.name, route)


RACES = [
    RaceConfig(),
    RaceConfig(
        race_type="HEAD_TO_MODEL",
        number_of_obstacles=3,
        randomize_obstacle_locations=True,
        min_distance_between_obstacles=0.6,
        number_of_bot_cars=2,
        randomize_bot_car_locations=True,
        min_distance_between_bot_cars=0.6,
        is_lane_change=True,
        lower_lane_change_time=0.2,
        upper_lane_change_time=0.8,
        bot_car_speed=0.7,
    ),
]


def drive(track: Track, config: RaceConfig, plan: FloatArray, side: float = 1.0) -> list[dict[str, Any]]:
    """Two cars under the plan's steering (T,) and resets; what the first one is told. `side` -1 is the mirror's."""
    race, told = watched(track, config, cars_in_world=2)
    race.start(0, 0.3 * track.length_m, 0.07 * side, 0.1 * side)
    race.start(1, 0.2 * track.length_m, -0.13 * side, 0.0)
    for steering_rad in plan:
        step(race, side * float(steering_rad), 1.3)
    return told[0]


NUMBERS = (
    "distance_from_center",
    "projection_distance",
    "progress",
    "speed",
    "track_width",
    "track_length",
    "sim_time",
    "steps",
)
SAME = (*NUMBERS, "objects_distance", "objects_distance_from_center", "objects_speed", "steering_angle")
EXACT = (
    "all_wheels_on_track",
    "is_crashed",
    "is_offtrack",
    "is_reversed",
    "closest_waypoints",
    "closest_objects",
    "object_in_camera",
)


def sides(params: dict[str, Any]) -> list[int]:
    """1 left, -1 right, of the car and the objects; 0 on the centre line, where rounding decides."""
    left = [params["is_left_of_center"], *params["objects_left_of_center"]]
    off_m = [params["distance_from_center"], *params["objects_distance_from_center"]]
    return [0 if off < 1e-9 else 1 if side else -1 for side, off in zip(left, off_m, strict=True)]


def assert_same(a: dict[str, Any], b: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        assert np.asarray(a[key], dtype=float) == pytest.approx(np.asarray(b[key], dtype=float), abs=1e-6), key
    for key in EXACT:
        assert a[key] == b[key], key


@settings(max_examples=4)
@given(
    turn=st.floats(-math.pi, math.pi),
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    plan=st.lists(st.floats(-0.45, 0.45), min_size=30, max_size=30),
    config=st.sampled_from(RACES),
)
def test_moving_and_turning_the_track_changes_nothing_but_coordinates(
    turn: float, shift: tuple[float, float], plan: list[float], config: RaceConfig
) -> None:
    here = drive(OVAL, config, np.array(plan))
    there = drive(moved(OVAL, turn, *shift), config, np.array(plan))
    spin = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    for a, b in zip(here, there, strict=True):
        assert_same(a, b, SAME)
        assert sides(a) == sides(b)
        for key in ("waypoints", "objects_location"):
            points = np.array(a[key], dtype=float).reshape(-1, 2) @ spin + shift
            assert np.array(b[key], dtype=float).reshape(-1, 2) == pytest.approx(points, abs=1e-6)
        assert np.array([b["x"], b["y"]]) == pytest.approx(np.array([a["x"], a["y"]]) @ spin + shift, abs=1e-6)
        assert math.remainder(b["heading"] - a["heading"] - math.degrees(turn), 360.0) == pytest.approx(0.0, abs=1e-6)
        moving = np.flatnonzero(np.array(a["objects_heading"]))
        turned = np.array(b["objects_heading"])[moving] - np.array(a["objects_heading"])[moving] - turn
        assert [math.remainder(angle, math.tau) for angle in turned] == pytest.approx([0.0] * len(moving), abs=1e-6)


@settings(max_examples=4)
@given(plan=st.lists(st.floats(-0.45, 0.45), min_size=30, max_size=30), config=st.sampled_from(RACES))
def test_a_mirrored_track_gives_mirrored_params(plan: list[float], config: RaceConfig) -> None:
    here = drive(OVAL, config, np.array(plan))
    there = drive(mirrored(OVAL), config, np.array(plan), side=-1.0)
    for a, b in zip(here, there, strict=True):
        assert_same(a, b, SAME[:-1])
        assert b["steering_angle"] == pytest.approx(-a["steering_angle"])
        assert sides(b) == [-side for side in sides(a)]
        for key in ("waypoints", "objects_location"):
            assert np.array(b[key], dtype=float).reshape(-1, 2) == pytest.approx(
                np.array(a[key], dtype=float).reshape(-1, 2) * [1, -1], abs=1e-6
            )
        assert (b["x"], b["y"]) == pytest.approx((a["x"], -a["y"]), abs=1e-6)
        assert math.remainder(a["heading"] + b["heading"], 360.0) == pytest.approx(0.0, abs=1e-6)
        for one, other in zip(a["objects_heading"], b["objects_heading"], strict=True):
            assert math.remainder(one + other, math.tau) == pytest.approx(0.0, abs=1e-6)
