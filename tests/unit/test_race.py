"""Race rules on hand-driven cars: progress, every way an episode ends, resets and penalties."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.config import RaceConfig
from contract.state import STEP_S, Controls, EpisodeStatus, IntArray
from contract.vehicle import FRONT_POINT_X_M
from simapp.race import IMMOBILE_M, PARK_M, PATIENCE_STEPS, Race, RaceRules
from simapp.reward_service.service import RewardService, ServiceReward
from tests.support import RADIUS_M, RIM, WIDTH_M, BlindSimulator, circle, hold_rad


def race(
    rules: RaceRules, num_cars: int = 1, reward: Callable[[dict[str, object]], float] = lambda params: 1.0
) -> Race:
    return Race(BlindSimulator(num_cars), circle(), rules, [reward] * num_cars)


ONE = np.array([0])


def status_of(row: np.ndarray) -> EpisodeStatus:
    return EpisodeStatus(int(row["status"]))


def drive(race: Race, steering_deg: float, speed_mps: float, limit: int = 2_000) -> list[np.ndarray]:
    rows = []
    for _ in range(limit):
        outcome = race.step(ONE, Controls(np.array([math.radians(steering_deg)]), np.array([speed_mps])))
        rows.append(outcome.rows[0])
        if outcome.over[0]:
            return rows
    return rows


HOLD_DEG = math.degrees(hold_rad(RADIUS_M, 1.0))
"""Steering that keeps a car at 1 m/s on a circle of the track's radius."""


def test_a_clean_lap_ends_complete_after_the_length_of_the_track() -> None:
    it = race(RaceRules(max_steps=2_000))
    it.start(0, 0.0)
    rows = drive(it, HOLD_DEG, 1.0)
    assert status_of(rows[-1]) == EpisodeStatus.lap_complete
    assert rows[-1]["progress_pct"] == 100.0
    # 0.14 m are behind the front point at the start, the start costs 0.1 s, and the last step overshoots; the car is
    # held for the first step, and judged where the last one begins
    expected_s = (2 * math.pi * RADIUS_M - FRONT_POINT_X_M) / RIM + 0.1 + 2 * STEP_S
    assert rows[-1]["time_s"] == pytest.approx(expected_s, abs=0.15)
    assert len(rows) == round(float(rows[-1]["time_s"]) / STEP_S)
    progress = [row["progress_pct"] for row in rows]
    assert progress == sorted(progress)
    assert status_of(rows[0]) == EpisodeStatus.prepare
    assert {status_of(row) for row in rows[1:-1]} == {EpisodeStatus.in_progress}


def test_progress_counts_from_where_the_episode_started() -> None:
    it = race(RaceRules(max_steps=2_000))
    it.start(0, 0.9 * it.track.length_m)
    first = drive(it, HOLD_DEG, 1.0, limit=1)[0]
    assert first["progress_pct"] == pytest.approx(100.0 * FRONT_POINT_X_M / it.track.length_m, abs=1e-3)
    rows = drive(it, HOLD_DEG, 1.0)
    assert status_of(rows[-1]) == EpisodeStatus.lap_complete


def test_off_track_when_the_last_wheel_has_left_the_road() -> None:
    it = race(RaceRules(max_steps=2_000))
    it.start(0, 0.0)
    rows = drive(it, 0.0, 1.0)
    last = rows[-1]
    assert status_of(last) == EpisodeStatus.off_track
    heading, rear_inner_y = last["heading_rad"], 0.08105
    # straight ahead from (R, 0): the rear inner wheel is the last one inside the outer edge
    x = last["x_m"] - (0.14 + 0.081663) * math.cos(heading) - rear_inner_y * math.sin(heading)
    y = last["y_m"] - (0.14 + 0.081663) * math.sin(heading) + rear_inner_y * math.cos(heading)
    assert math.hypot(x, y) > RADIUS_M + WIDTH_M / 2 - 1e-3
    before = rows[-2]
    x -= last["x_m"] - before["x_m"]
    y -= last["y_m"] - before["y_m"]
    assert math.hypot(x, y) < RADIUS_M + WIDTH_M / 2 + 1e-3
    touched = [bool(row["all_wheels_on_track"]) for row in rows]
    assert touched[0]
    assert not touched[-1]
    assert touched.index(False) < len(rows) - 1  # rewards see a wheel off the road before the episode ends


def test_driving_the_wrong_way_is_reversed_after_fifteen_steps() -> None:
    it = race(RaceRules(max_steps=2_000))
    it.start(0, 5.0, turn_rad=math.pi)
    rows = drive(it, -HOLD_DEG, 1.0)
    assert status_of(rows[-1]) == EpisodeStatus.reversed
    # the first step is held, the second judges the same place: from the third on progress falls
    falls = np.diff([row["progress_pct"] for row in rows]) < 0.0
    assert falls.tolist() == [False] + [True] * 15
    assert rows[-1]["progress_pct"] < 0.0  # behind the line that the episode counts from


def test_the_fifteen_is_the_race_s_own_number() -> None:
    config = RaceConfig(number_of_reverse_counts=4)
    it = Race(BlindSimulator(1), circle(), RaceRules(max_steps=2_000), [lambda params: 1.0], config=config)
    it.start(0, 5.0, turn_rad=math.pi)
    assert len(drive(it, -HOLD_DEG, 1.0)) == 2 + 4


def test_one_step_without_a_fall_begins_the_fifteen_anew() -> None:
    """Standing is no fall, and fewer falls than 15 around it are not added up."""
    simulator, it = pushed()
    found = [push(simulator, it, 0.0 if k % 15 == 14 else -0.001) for k in range(5 * PATIENCE_STEPS)]
    assert EpisodeStatus.reversed not in found
    last = [push(simulator, it, -0.001) for _ in range(PATIENCE_STEPS)]
    assert last[-1] == EpisodeStatus.reversed


def test_a_step_limit_truncates() -> None:
    it = race(RaceRules(max_steps=7))
    it.start(0, 0.0)
    for step in range(1, 8):
        outcome = it.step(ONE, Controls(np.array([0.05]), np.array([0.5])))
        assert outcome.over[0] == outcome.truncated[0] == (step == 7)
    assert status_of(outcome.rows[0]) == EpisodeStatus.time_up


def test_evaluation_puts_back_in_the_nearer_lane_and_holds_for_the_penalty() -> None:
    """The row sequence of a recorded evaluation of AWS's simulator: off_track, pauses that count down, in_progress."""
    it = race(RaceRules(max_steps=2_000, resets=1, off_track_penalty_s=2.0))
    it.start(0, 0.0)
    rows = drive(it, 0.0, 1.0)
    names = [status_of(row).name for row in rows]
    left = names.index("off_track")
    driven = ["in_progress"] * (left - 1)
    assert names == [
        "prepare",
        *driven,
        "off_track",
        *["pause"] * 30,
        *["in_progress"] * (len(rows) - left - 32),
        "off_track",
    ]
    pauses = [row["pause_s"] for row in rows[left : left + 32]]
    assert pauses == pytest.approx([2.0 - STEP_S * k for k in range(31)] + [0.0], abs=1e-9)
    assert rows[left + 30]["pause_s"] == rows[left + 31]["pause_s"] == 0.0
    assert [row["reward"] for row in rows[left : left + 32]] == [1.0] + [0.0] * 30 + [1.0]
    assert [row["time_s"] for row in rows] == pytest.approx(STEP_S * np.arange(1, len(rows) + 1))
    # straight on over the outer edge: the outer lane is the nearer one; base_link stands where the front point last was
    # judged on the road, along the road, and all the while
    last = rows[left - 1]
    back = rows[left + 1]
    for row in rows[left + 1 : left + 32]:
        assert (row["x_m"], row["y_m"], row["heading_rad"]) == (back["x_m"], back["y_m"], back["heading_rad"])
    base = np.array([back["x_m"], back["y_m"]]) - FRONT_POINT_X_M * np.array(
        [math.cos(back["heading_rad"]), math.sin(back["heading_rad"])]
    )
    assert np.hypot(*base) == pytest.approx(RADIUS_M + WIDTH_M / 4, abs=2e-3)
    assert math.atan2(base[1], base[0]) == pytest.approx(math.atan2(last["y_m"], last["x_m"]), abs=2e-3)
    assert back["heading_rad"] == pytest.approx(math.atan2(base[1], base[0]) + math.pi / 2, abs=0.02)
    moved = np.hypot(
        np.diff([row["x_m"] for row in rows[left + 31 :]]), np.diff([row["y_m"] for row in rows[left + 31 :]])
    )
    assert (moved > 0.0).all()


@pytest.mark.parametrize(("penalty_s", "pauses"), [(0.0, 1), (0.01, 1), (STEP_S, 1), (0.1, 2), (5.0, 75)])
def test_a_penalty_is_at_least_one_pause(penalty_s: float, pauses: int) -> None:
    it = race(RaceRules(max_steps=2_000, resets=1, off_track_penalty_s=penalty_s))
    it.start(0, 0.0)
    names = [status_of(row).name for row in drive(it, 0.0, 1.0)]
    assert names.count("pause") == pauses


PENALTIES: dict[str, Any] = {"off_track_penalty_s": 0.2, "collision_penalty_s": 0.4, "immobilized_penalty_s": 0.6}


@pytest.mark.parametrize(
    ("steering_deg", "speed", "turn", "more", "status", "pauses"),
    [
        (0.0, 1.0, 0.0, {}, "off_track", 3),
        (-HOLD_DEG, 1.0, math.pi, {}, "reversed", 3),
        (-HOLD_DEG, 1.0, math.pi, {"reverse_penalty_s": 0.8}, "reversed", 12),
        (0.0, 0.0, 0.0, {}, "immobilized", 9),
    ],
)
def test_each_cause_has_its_penalty(
    steering_deg: float, speed: float, turn: float, more: dict[str, Any], status: str, pauses: int
) -> None:
    simulator = BlindSimulator(1) if speed else Pushed(1)
    rules = replace(RaceRules(2_000, resets=1, **PENALTIES), **more)
    it = Race(simulator, circle(), rules, [lambda params: 1.0])
    it.start(0, 5.0, turn_rad=turn)
    names = [status_of(row).name for row in drive(it, steering_deg, speed, limit=60)]
    at = names.index(status)
    assert names[at + 1 :].index("in_progress") == pauses
    assert names[at + 1 : at + 1 + pauses] == ["pause"] * pauses


def test_turned_round_or_stuck_it_is_put_back_along_the_road() -> None:
    it = race(RaceRules(2_000, resets=1))
    it.start(0, 5.0, turn_rad=math.pi)
    rows = drive(it, -HOLD_DEG, 1.0, limit=40)
    (at,) = np.flatnonzero([status_of(row) == EpisodeStatus.reversed for row in rows])
    assert all(np.diff([row["progress_pct"] for row in rows[at + 2 : at + 20]]) >= 0.0)


def test_the_race_s_duration_ends_it() -> None:
    it = race(RaceRules(2_000, duration_s=1.0))
    it.start(0, 0.0)
    rows = drive(it, HOLD_DEG, 1.0)
    assert status_of(rows[-1]) == EpisodeStatus.time_up
    # judged when 16 steps have gone by, the first time that it is more than a second
    assert len(rows) == 17


def test_rules_that_say_no_more_charge_no_seconds() -> None:
    it = race(RaceRules(max_steps=2_000, resets=1))
    it.start(0, 0.0)
    rows = drive(it, 0.0, 1.0)
    assert [status_of(row) for row in rows].count(EpisodeStatus.off_track) == 2
    assert all(row["pause_s"] == 0.0 for row in rows)
    assert [status_of(row) for row in rows].count(EpisodeStatus.pause) == 1
    assert rows[-1]["time_s"] == pytest.approx(len(rows) * STEP_S)


def test_rewards_are_told_whether_the_track_is_driven_against_its_order() -> None:
    seen = []

    def reward(params: dict[str, object]) -> float:
        seen.append(params["is_reversed"])
        return 1.0

    for it in (
        race(RaceRules(max_steps=9), reward=reward),
        Race(BlindSimulator(1), circle(), RaceRules(max_steps=9), [reward], is_reversed=True),
    ):
        it.start(0, 0.0)
        drive(it, 0.0, 1.0, limit=2)
    assert seen == [False, True]


def test_the_reward_sees_the_step_and_its_value_is_the_row() -> None:
    seen = []

    def reward(params: dict[str, object]) -> float:
        seen.append(params)
        return float(len(seen))

    it = race(RaceRules(max_steps=2_000), reward=reward)
    it.start(0, 0.0, clock_s=100.0)
    rows = drive(it, HOLD_DEG, 1.0, limit=6)
    # the first step is `prepare`: the car is held, and the function is not called
    assert [row["reward"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [params["steps"] for params in seen] == [2.0, 3.0, 4.0, 5.0, 6.0]
    for params, row in zip(seen, rows[1:], strict=True):
        assert params["x"] == row["x_m"]
        assert params["progress"] == row["progress_pct"]
        assert params["speed"] == row["speed_mps"] == 1.0
        assert params["steering_angle"] == pytest.approx(HOLD_DEG)
        assert params["sim_time"] == pytest.approx(100.0 + row["time_s"] - STEP_S)
    assert seen[0]["waypoints"] is not seen[1]["waypoints"]


def test_a_step_is_judged_where_it_begins() -> None:
    """Rows 1 and 2 hold the place of the start; what the second command does shows in row 3."""
    it = race(RaceRules(max_steps=2_000))
    it.start(0, 0.0)
    rows = drive(it, 10.0, 2.0, limit=4)
    places = [(row["x_m"], row["y_m"], row["heading_rad"]) for row in rows]
    assert places[0] == places[1] == pytest.approx((RADIUS_M, FRONT_POINT_X_M, math.pi / 2), abs=0.02)
    assert places[2] != places[1]
    assert places[3] != places[2]
    state = it.simulator.cars  # has driven on
    assert math.hypot(state.x_m[0] - rows[-1]["x_m"], state.y_m[0] - rows[-1]["y_m"]) != FRONT_POINT_X_M


def test_rewards_from_outside_are_asked_once_a_step_for_all_cars() -> None:
    class Service:
        asked: ClassVar[list[list[int]]] = []

        def score(self, cars: list[int], params: list[dict[str, object]]) -> list[float]:
            self.asked.append(cars)
            return [10.0 * car for car in cars]

    service = cast(RewardService, Service())
    rewards: list[Callable[[dict[str, object]], float]] = [ServiceReward(service, 7), ServiceReward(service, 8)]
    it = Race(BlindSimulator(3), circle(), RaceRules(max_steps=9), [rewards[0], lambda params: 1.0, rewards[1]])
    for car in range(3):
        it.start(car, 2.0 * car)
    for expected in ([0.0, 0.0, 0.0], [70.0, 1.0, 80.0]):
        rows = it.step(np.arange(3), Controls(np.zeros(3), np.ones(3))).rows
        assert rows["reward"].tolist() == expected
    assert Service.asked == [[7, 8]]


def test_cars_do_not_touch_each_other() -> None:
    many, alone = race(RaceRules(max_steps=2_000), num_cars=3), race(RaceRules(max_steps=2_000))
    for car in range(3):
        many.start(car, 2.0 * car)
    alone.start(0, 2.0)
    for _ in range(40):
        steering = np.radians([20.0, 5.0, -20.0])
        out = many.step(np.arange(3), Controls(steering, np.full(3, 1.0)))
        one = alone.step(ONE, Controls(steering[1:2], np.full(1, 1.0)))
        assert out.rows[1] == one.rows[0]


class Pushed(BlindSimulator):
    """A car that only moves when the test says so."""

    def step(self, cars: IntArray, controls: Controls) -> None:
        pass


def pushed() -> tuple[Pushed, Race]:
    simulator = Pushed(1)
    it = Race(simulator, circle(), RaceRules(max_steps=2_000), [lambda params: 1.0])
    it.start(0, 3.0)
    assert push(simulator, it, 0.0) == EpisodeStatus.prepare
    assert push(simulator, it, 0.01) == EpisodeStatus.in_progress
    return simulator, it


def push(simulator: Pushed, it: Race, ahead_m: float) -> EpisodeStatus:
    """What the next step finds when the car has come so many metres ahead."""
    simulator.cars.x_m += ahead_m * np.cos(simulator.cars.heading_rad)
    simulator.cars.y_m += ahead_m * np.sin(simulator.cars.heading_rad)
    return status_of(it.step(ONE, Controls(np.zeros(1), np.ones(1))).rows[0])


def test_a_car_that_stands_for_fifteen_steps_is_immobilised() -> None:
    simulator, it = pushed()
    found = [push(simulator, it, 0.99 * IMMOBILE_M) for _ in range(PATIENCE_STEPS)]
    assert found == [*[EpisodeStatus.in_progress] * (PATIENCE_STEPS - 1), EpisodeStatus.immobilized]


def test_a_car_that_never_moves_is_immobilised_in_step_sixteen() -> None:
    """Step 1 is held and does not count; step 2 finds the car where step 1 did."""
    it = Race(Pushed(1), circle(), RaceRules(max_steps=2_000), [lambda params: 1.0])
    it.start(0, 3.0)
    rows = drive(it, 0.0, 1.0)
    assert (len(rows), status_of(rows[-1])) == (16, EpisodeStatus.immobilized)


def test_one_step_that_is_long_enough_begins_the_fifteen_anew() -> None:
    simulator, it = pushed()
    found = [push(simulator, it, 1.01 * IMMOBILE_M if k % 15 == 14 else 0.0) for k in range(5 * PATIENCE_STEPS)]
    assert EpisodeStatus.immobilized not in found
    last = [push(simulator, it, 0.0) for _ in range(PATIENCE_STEPS)]
    assert EpisodeStatus.immobilized in last


@settings(max_examples=150)
@given(st.floats(0.2, 0.65), st.sampled_from([-1, 1]), st.floats(-math.pi, math.pi), st.floats(0.0, 18.0))
def test_wheels_on_the_road_by_another_geometry(off_m: float, side: int, turn_rad: float, distance_m: float) -> None:
    """Oracle: four points by complex numbers, in the ring between two circles. The car stands about an edge."""
    simulator, it = pushed()
    it.start(0, distance_m, side * off_m, turn_rad)
    place = complex(simulator.cars.x_m[0], simulator.cars.y_m[0])
    ahead = complex(math.cos(simulator.cars.heading_rad[0]), math.sin(simulator.cars.heading_rad[0]))
    tangent = complex(-place.imag, place.real) / abs(place)
    assert abs(ahead - tangent * complex(math.cos(turn_rad), math.sin(turn_rad))) < 0.02  # the circle has 240 corners
    wheels = [0.082311 + 0.079601j, 0.082311 - 0.079601j, -0.081663 + 0.08105j, -0.081663 - 0.08105j]
    beyond_m = [abs(abs(place + wheel * ahead) - RADIUS_M) - WIDTH_M / 2 for wheel in wheels]
    if min(map(abs, beyond_m)) < 1e-3:
        return  # too near the edge of a road made of straight pieces
    it.step(ONE, Controls(np.zeros(1), np.zeros(1)))  # held
    row = it.step(ONE, Controls(np.zeros(1), np.zeros(1))).rows[0]
    assert bool(row["all_wheels_on_track"]) == all(beyond < 0.0 for beyond in beyond_m)
    assert (status_of(row) == EpisodeStatus.off_track) == all(beyond > 0.0 for beyond in beyond_m)


def test_cars_that_have_finished_stand_beside_the_wall_each_in_a_place_of_its_own() -> None:
    simulator = BlindSimulator(4, np.array([0, 1, 0, 1]))
    it = Race(simulator, circle(), RaceRules(max_steps=9), [lambda params: 1.0] * 4)
    xmin, ymin, *_ = it.track.bounds
    for car in range(4):
        it.start(car, 1.0 + car)
        it.park(car)
    assert simulator.cars.x_m == pytest.approx([xmin + PARK_M] * 2 + [xmin + 2 * PARK_M] * 2)
    assert simulator.cars.y_m == pytest.approx([ymin - PARK_M] * 4)
    it.park(2, (7.0, -5.0))
    assert (simulator.cars.x_m[2], simulator.cars.y_m[2]) == (7.0, -5.0)
