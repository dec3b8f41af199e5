"""Where obstacles and bot cars stand: distances by shapely's projection, lanes by the road's own width."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from shapely import LineString, Point

from contract.config import RaceConfig
from contract.errors import InputError, InputWarning
from contract.state import FloatArray, ObjectKind, TrackObjects
from simapp.contact import outlines, overlaps
from simapp.objects import CLEAR_M, Course
from simapp.tracks import Track, load_track
from tests.support import RADIUS_M, WIDTH_M, circle, mirrored

LAP_M = circle().length_m
CORNER_M = 6e-3
"""Beside a corner of the polyline the nearest place on it is up to half its turn times the offset off."""
OVAL, STRIP = load_track("first_oval"), load_track("drag_strip")


def race(kind: str = "OBJECT_AVOIDANCE", **keys: Any) -> RaceConfig:
    return RaceConfig.model_validate({"race_type": kind, "obstacle_distance_in": "metres", **keys})


def placed(track: Track, config: RaceConfig, seed: int = 0, keep: tuple[float, ...] = ()) -> TrackObjects:
    return Course(track, config).objects(np.random.default_rng(seed), keep)


def along(track: Track, objects: TrackObjects) -> FloatArray:
    line = LineString(track.centre)
    points = zip(objects.x_m[0], objects.y_m[0], strict=True)
    return np.array([line.project(Point(x, y)) for x, y in points])


def apart(track: Track, a: float, b: float) -> float:
    gap = abs(a - b)
    return min(gap, track.length_m - gap) if track.closed else gap


@settings(max_examples=30)
@given(
    track=st.sampled_from([circle(), OVAL, OVAL.reversed(), STRIP]),
    obstacles=st.integers(0, 4),
    bots=st.integers(0, 4),
    spacing=st.tuples(st.floats(0.5, 1.2), st.floats(0.5, 1.2)),
    shuffled=st.tuples(st.booleans(), st.booleans()),
    start=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32),
)
def test_minimum_distances_and_lanes(
    track: Track,
    obstacles: int,
    bots: int,
    spacing: tuple[float, float],
    shuffled: tuple[bool, bool],
    start: float,
    seed: int,
) -> None:
    config = race(
        "HEAD_TO_MODEL",
        number_of_obstacles=obstacles,
        number_of_bot_cars=bots,
        min_distance_between_obstacles=spacing[0],
        min_distance_between_bot_cars=spacing[1],
        randomize_obstacle_locations=shuffled[0],
        randomize_bot_car_locations=shuffled[1],
    )
    try:
        objects = placed(track, config, seed, (start * track.length_m,))
    except InputError as error:
        assert track is STRIP and obstacles and bots and "NUMBER_OF" in error.where
        return
    assert objects.kind.tolist() == [[ObjectKind.box] * obstacles + [ObjectKind.car] * bots]
    where = along(track, objects)
    own = [spacing[0]] * obstacles + [spacing[1]] * bots
    for i, j in itertools.combinations(range(len(own)), 2):
        # each of the two may be moved by a corner: the nearest place of a lane to a place of the centre line
        assert apart(track, where[i], where[j]) >= max(own[i], own[j]) - 2 * CORNER_M
    projection = track.project(objects.x_m[0], objects.y_m[0])
    np.testing.assert_allclose(np.abs(projection.offset_m), projection.width_m / 4, atol=CORNER_M)
    boxes = (objects.x_m, objects.y_m, objects.heading_rad, *outlines(objects))
    for i in range(objects.places):
        hits = overlaps(tuple(values[:, i] for values in boxes), boxes)[0]
        assert hits.sum() == 1, "objects stand in each other"


def test_obstacles_in_the_way_of_every_start_are_told_of() -> None:
    """By AWS's default, 2 per cent of the lap, the first one stands half a metre past the line."""
    told = "stands 0.50 m past the line, where a car that starts runs into it, in each evaluation; set it to 11 or more"
    with pytest.warns(InputWarning, match=rf"MIN_DISTANCE_BETWEEN_OBSTACLES: the first obstacle on .* {told}"):
        Course(circle(), RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Course(circle(), race(number_of_obstacles=6, min_distance_between_obstacles=2.0))
        Course(circle(), RaceConfig(number_of_obstacles=6, min_distance_between_obstacles=12.0))
        Course(circle(), RaceConfig(number_of_obstacles=6, randomize_obstacle_locations=True))


@settings(max_examples=25)
@given(start=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=2), seed=st.integers(0, 2**32))
def test_random_objects_leave_room_for_starting_cars(start: list[float], seed: int) -> None:
    keep = tuple(fraction * LAP_M for fraction in start)
    config = race("HEAD_TO_BOT", number_of_bot_cars=5, randomize_bot_car_locations=True)
    for where in along(circle(), placed(circle(), config, seed, keep)):
        assert all(apart(circle(), where, car % LAP_M) >= CLEAR_M - CORNER_M for car in keep)


def test_a_full_track_drops_the_room_for_cars_but_not_the_minimum() -> None:
    config = race(number_of_obstacles=9, min_distance_between_obstacles=LAP_M / 9, randomize_obstacle_locations=True)
    where = np.sort(along(circle(), placed(circle(), config, 3, (1.0, 5.0))))
    np.testing.assert_allclose(np.diff(where), LAP_M / 9, atol=2 * CORNER_M)


def test_random_places_are_uniform_and_lanes_even() -> None:
    config = race(number_of_obstacles=2, randomize_obstacle_locations=True)
    course, random = Course(circle(), config), np.random.default_rng(7)
    rows = [course.objects(random) for _ in range(400)]
    angle = np.array([np.arctan2(row.y_m[0], row.x_m[0]) % (2 * np.pi) for row in rows]) * RADIUS_M
    assert stats.kstest(angle[:, 0] / LAP_M, "uniform").pvalue > 0.01
    gap = (angle[:, 1] - angle[:, 0]) % LAP_M
    assert stats.kstest((gap - 2.0) / (LAP_M - 4.0), "uniform").pvalue > 0.01
    inner = np.array([np.hypot(row.x_m[0], row.y_m[0]) < RADIUS_M for row in rows])
    assert stats.binomtest(int(inner.sum()), inner.size).pvalue > 0.01


@pytest.mark.parametrize(("percent", "first_m"), [(10.0, 0.1 * LAP_M), (2.0, max(0.02 * LAP_M, 0.5))])
def test_minimum_distances_of_obstacles_in_per_cent_of_the_lap(percent: float, first_m: float) -> None:
    """As obstacles_agent_ctrl.py reads them since 2024-10, but half a metre at least."""
    config = RaceConfig(
        race_type="OBJECT_AVOIDANCE", number_of_obstacles=3, min_distance_between_obstacles=percent
    )  # per cent is the default
    expected = np.linspace(first_m, LAP_M - 1.0, 3)
    assert along(circle(), placed(circle(), config)) == pytest.approx(expected, abs=CORNER_M)


def test_evenly_spaced_in_alternating_lanes_from_the_inner_one() -> None:
    objects = placed(circle(), race(number_of_obstacles=6))
    np.testing.assert_allclose(along(circle(), objects), np.linspace(2.0, LAP_M - 1.0, 6), atol=CORNER_M)
    radius = RADIUS_M - WIDTH_M / 4 * np.array([1, -1, 1, -1, 1, -1])
    np.testing.assert_allclose(np.hypot(objects.x_m[0], objects.y_m[0]), radius, atol=CORNER_M)


@pytest.mark.parametrize("track", [circle(), OVAL, STRIP])
def test_positions_count_in_the_driving_direction_and_inner_stays_inner(track: Track) -> None:
    config = race(object_positions=[(0.1, 1), (0.35, -1), (0.9, -1)], number_of_obstacles=1)
    ahead, turned = placed(track, config), track.reversed()
    back = Course(turned, config, is_reversed=True).objects(np.random.default_rng(0))
    for driven, objects in ((track, ahead), (turned, back)):
        np.testing.assert_allclose(along(driven, objects), np.array([0.1, 0.35, 0.9]) * track.length_m, atol=1e-2)
        # on the track's own left: the open road's inner lane; a loop's inside
        assert (track.project(objects.x_m[0], objects.y_m[0]).offset_m > 0).tolist() == [True, False, False]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_mirrored_tracks_have_mirrored_courses(seed: int) -> None:
    keys = {"number_of_obstacles": 3, "number_of_bot_cars": 3, "randomize_obstacle_locations": True}
    config = race("HEAD_TO_BOT", **keys)
    one, other = placed(OVAL, config, seed), placed(mirrored(OVAL), config, seed)
    np.testing.assert_allclose(other.x_m, one.x_m, atol=1e-9)
    np.testing.assert_allclose(other.y_m, -one.y_m, atol=1e-9)
    np.testing.assert_allclose(np.sin(other.heading_rad + one.heading_rad), 0.0, atol=1e-9)


def test_the_generator_alone_decides() -> None:
    config = race("HEAD_TO_BOT", number_of_bot_cars=6, randomize_bot_car_locations=True)
    course = Course(OVAL, config)
    first, second, other = (course.objects(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.x_m, second.x_m) and np.array_equal(first.heading_rad, second.heading_rad)
    assert not np.allclose(first.x_m, other.x_m)


def test_parked_cars_have_colours_and_numbers_decide_whatever_the_race_type_says() -> None:
    objects = placed(OVAL, race(number_of_obstacles=4, is_obstacle_bot_car=True))
    assert (objects.kind == ObjectKind.car).all() and objects.colour.tolist() == [[0, 1, 2, 3]]
    assert (objects.speed_mps == 0.0).all()
    assert placed(OVAL, race("TIME_TRIAL")).places == 0
    for keys, places in (
        ({"number_of_obstacles": 3, "number_of_bot_cars": 2}, 5),
        ({"object_positions": [(0.5, 1)]}, 1),
    ):
        assert placed(OVAL, race("TIME_TRIAL", **keys)).places == places


@pytest.mark.parametrize(
    ("config", "where", "said"),
    [
        (race(), "NUMBER_OF_OBSTACLES", "set NUMBER_OF_OBSTACLES, for example to 6"),
        (race("HEAD_TO_BOT"), "NUMBER_OF_BOT_CARS", "set NUMBER_OF_BOT_CARS, for example to 6"),
        (race(number_of_obstacles=20), "NUMBER_OF_OBSTACLES", "need 40.00 m; first_oval is 17.42 m long"),
        (
            race(number_of_obstacles=9, min_distance_between_obstacles=2.5, randomize_obstacle_locations=True),
            "NUMBER_OF_OBSTACLES",
            "to 6 at most, or MIN_DISTANCE_BETWEEN_OBSTACLES to 1.93 at most",
        ),
        (
            race(number_of_obstacles=9, min_distance_between_obstacles=15.0, obstacle_distance_in="percent"),
            "NUMBER_OF_OBSTACLES",
            "MIN_DISTANCE_BETWEEN_OBSTACLES to 10.47 at most",  # (17.42 m - 1 m) / 9 is 10.47 % of 17.42 m
        ),
        (race("HEAD_TO_BOT", number_of_bot_cars=9), "NUMBER_OF_BOT_CARS", "set NUMBER_OF_BOT_CARS to 8 at most"),
        (race("HEAD_TO_BOT", number_of_bot_cars=6, number_of_obstacles=6), "NUMBER_OF_OBSTACLES and", "no room"),
        (race(object_positions=[(0.5, 1), (1.2, 1)]), "OBJECT_POSITIONS[1]", "fraction of the lap from 0 to 1"),
        (race(object_positions=[(-0.1, 1)]), "OBJECT_POSITIONS[0]", "fraction of the lap from 0 to 1"),
        (race(object_positions=[(0.5, 1), (0.1, 1), (0.51, 1)]), "OBJECT_POSITIONS[2]", "OBJECT_POSITIONS[0]"),
        (race(object_positions=[(0.0, 1), (1.0, 1)]), "OBJECT_POSITIONS[1]", "overlap"),
        (
            race("HEAD_TO_BOT", number_of_bot_cars=2, min_distance_between_bot_cars=0.2),
            "MIN_DISTANCE_BETWEEN_BOT_CARS",
            "write 0.5 or more",
        ),
        (race("HEAD_TO_BOT", number_of_bot_cars=2, bot_car_speed=0, is_lane_change=True), "BOT_CAR_SPEED", "0.2"),
    ],
)
def test_what_does_not_fit_is_refused(config: RaceConfig, where: str, said: str) -> None:
    with pytest.raises(InputError, match=r"rule: .*\n  fix: ") as caught:
        Course(OVAL, config)
    assert caught.value.where.startswith(where)
    assert said in str(caught.value)


@pytest.mark.parametrize("limit", [6, 8])
def test_the_limit_that_the_error_names_fits(limit: int) -> None:
    spacing = {6: 2.5, 8: 2.0}[limit]
    for shuffled in (False, True):
        config = race(
            number_of_obstacles=limit,
            min_distance_between_obstacles=spacing,
            randomize_obstacle_locations=shuffled,
        )
        assert placed(OVAL, config).places == limit
