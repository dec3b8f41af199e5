"""The 27 params: names, types, units and signs against hand-worked numbers, and that nothing leaks between calls."""

import copy
import math
from typing import Any

import numpy as np
import pytest

from contract.state import STEP_DTYPE, EpisodeStatus
from simapp.params import RaceState, RewardParams
from simapp.tracks import Track, load_track

TYPES: dict[str, type] = {
    "all_wheels_on_track": bool,
    "is_left_of_center": bool,
    "is_reversed": bool,
    "is_crashed": bool,
    "is_offtrack": bool,
    "object_in_camera": bool,
    "x": float,
    "y": float,
    "heading": float,
    "distance_from_center": float,
    "projection_distance": float,
    "progress": float,
    "speed": float,
    "steering_angle": float,
    "track_width": float,
    "track_length": float,
    "sim_time": float,
    "steps": float,
    "waypoints": list,
    "closest_waypoints": list,
    "closest_objects": list,
    "objects_location": list,
    "objects_left_of_center": list,
    "objects_speed": list,
    "objects_heading": list,
    "objects_distance_from_center": list,
    "objects_distance": list,
}


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """A straight road along x from 0 to 10 m, 1 m wide, a waypoint each metre."""
    x = np.arange(11.0)
    zero = np.zeros(11)
    route = np.stack([x, zero, x, zero + 0.5, x, zero - 0.5], axis=1)
    file = tmp_path_factory.mktemp("tracks") / "straight.npy"
    np.save(file, route)
    return load_track(str(file))


def race_state(track: Track, **fields: list[Any]) -> RaceState:
    count = len(next(iter(fields.values())))
    clock_s = np.array(fields.pop("clock_s", [0.0] * count))
    rows = np.zeros(count, STEP_DTYPE)
    for name, values in fields.items():
        rows[name] = values
    crashed, off_track = (rows["status"] == status for status in (EpisodeStatus.crashed, EpisodeStatus.off_track))
    where = track.project(rows["x_m"], rows["y_m"])
    return RaceState(rows, where, np.arange(1, count + 1), None, crashed, off_track, clock_s)


def test_names_and_types_are_exactly_the_contracts(track: Track) -> None:
    (params,) = RewardParams(track).build(race_state(track, x_m=[2.25], y_m=[0.1]))
    assert {key: type(value) for key, value in params.items()} == TYPES
    assert len(params) == 27
    assert [type(point) for point in params["waypoints"]] == [tuple] * 11
    assert [type(index) for index in params["closest_waypoints"]] == [int, int]
    assert type(params["waypoints"][0][0]) is float


def test_values_and_units(track: Track) -> None:
    state = race_state(
        track,
        x_m=[2.25, 7.5],
        y_m=[0.1, -0.4],
        heading_rad=[math.pi / 4, -math.pi / 2],
        steering_rad=[math.radians(30), math.radians(-15)],
        speed_mps=[1.5, 4.0],
        progress_pct=[22.5, 75.0],
        time_s=[7.0, 8.0],
        clock_s=[1.2, 3.4],
        all_wheels_on_track=[True, False],
        status=[EpisodeStatus.in_progress, EpisodeStatus.off_track],
    )
    left, right = RewardParams(track).build(state)
    expected = {
        "x": 2.25,
        "y": 0.1,
        "heading": 45.0,
        "steering_angle": 30.0,
        "speed": 1.5,
        "progress": 22.5,
        "sim_time": 1.2,
        "steps": 1.0,
        "distance_from_center": 0.1,
        "projection_distance": 2.25,
        "track_width": 1.0,
        "track_length": 10.0,
    }
    assert {key: left[key] for key in expected} == pytest.approx(expected)
    assert left["waypoints"] == [(float(i), 0.0) for i in range(11)]
    assert (left["closest_waypoints"], right["closest_waypoints"]) == ([2, 3], [7, 8])
    assert (left["is_left_of_center"], right["is_left_of_center"]) == (True, False)
    assert (left["all_wheels_on_track"], right["all_wheels_on_track"]) == (True, False)
    assert (left["is_offtrack"], right["is_offtrack"]) == (False, True)
    assert (right["heading"], right["steering_angle"]) == pytest.approx((-90.0, -15.0))
    assert (right["distance_from_center"], right["steps"]) == pytest.approx((0.4, 2.0))


@pytest.mark.parametrize(
    ("heading_rad", "heading_deg"),
    [(0.0, 0.0), (math.radians(190), -170.0), (math.radians(-190), 170.0), (7 * math.pi / 3, 60.0), (-20.0, -65.916)],
)
def test_heading_is_wrapped(track: Track, heading_rad: float, heading_deg: float) -> None:
    (params,) = RewardParams(track).build(race_state(track, x_m=[1.0], heading_rad=[heading_rad]))
    assert params["heading"] == pytest.approx(heading_deg, abs=1e-3)
    assert -180.0 <= params["heading"] <= 180.0


@pytest.mark.parametrize(("status", "crashed"), [(EpisodeStatus.crashed, True), (EpisodeStatus.in_progress, False)])
def test_crashed(track: Track, status: EpisodeStatus, crashed: bool) -> None:
    (params,) = RewardParams(track).build(race_state(track, x_m=[1.0], status=[status]))
    assert params["is_crashed"] is crashed
    assert params["is_offtrack"] is False


def test_crashed_and_off_track_do_not_depend_on_each_other_or_on_how_the_episode_ends(track: Track) -> None:
    state = race_state(track, x_m=[1.0], status=[EpisodeStatus.lap_complete])
    state.is_crashed[0] = state.is_offtrack[0] = True
    (params,) = RewardParams(track).build(state)
    assert (params["is_crashed"], params["is_offtrack"]) == (True, True)


def test_the_end_of_an_open_road_is_between_the_last_waypoint_and_the_first(track: Track) -> None:
    """AWS's bisection of the waypoints' distances wraps there; before the road's beginning it does not."""
    at = race_state(track, x_m=[10.0, 12.0, 9.999, 0.0, -3.0])
    found = [params["closest_waypoints"] for params in RewardParams(track).build(at)]
    assert found == [[10, 0], [10, 0], [9, 10], [0, 1], [0, 1]]


def test_reversed_is_the_races_setting(track: Track) -> None:
    state = race_state(track, x_m=[1.0], heading_rad=[math.pi])
    assert RewardParams(track).build(state)[0]["is_reversed"] is False
    assert RewardParams(track.reversed(), is_reversed=True).build(state)[0]["is_reversed"] is True


def test_without_objects_the_lists_are_empty(track: Track) -> None:
    (params,) = RewardParams(track).build(race_state(track, x_m=[1.0]))
    assert params["closest_objects"] == [0, 0]
    assert params["object_in_camera"] is False
    assert [value for key, value in params.items() if key.startswith("objects_")] == [[]] * 6


def test_what_a_racer_changes_stays_in_its_call(track: Track) -> None:
    builder = RewardParams(track)
    state = race_state(track, x_m=[1.0, 1.0])
    first, second = builder.build(state)
    untouched = copy.deepcopy(second)
    for value in first.values():
        if isinstance(value, list):
            value.append("mine")
            value.reverse()
    first["speed"] = None
    del first["x"]
    assert second == untouched
    again = builder.build(state)[0]
    assert {**again, "steps": 0.0} == {**untouched, "steps": 0.0}
