"""Races with obstacles, bot cars and rivals, driven by hand round a circle: shapely says when outlines overlap."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.config import EvaluationConfig, RaceConfig
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import STEP_S, Controls, EpisodeStatus, Observations, Poses
from contract.vehicle import FRONT_POINT_X_M, LENGTH_M, MAX_SPEED_MPS, WIDTH_M
from simapp.camera.look import WALL_MARGIN_M
from simapp.nearby import CLEAR_AHEAD_M, CLEAR_BESIDE_M
from simapp.race import PARK_M, Race, RaceRules
from simapp.rollout import collect
from simapp.starts import flying, start_line
from simapp.tracks import Track
from tests.raced import (
    CRASHED,
    LANE_M,
    LAP_M,
    TRAINING,
    boxes,
    car_outline,
    config,
    follow,
    lap,
    object_outlines,
    placed,
    race,
)
from tests.support import RADIUS_M, RIM, BlindSimulator, hold_rad


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize(("lane", "speed"), [(1, 1.0), (-1, 2.4)])
def test_a_training_episode_ends_at_the_step_that_finds_the_outlines_overlap(
    parked: bool, lane: int, speed: float
) -> None:
    told = []

    def reward(params: dict[str, object]) -> float:
        told.append(params["is_crashed"])
        return 1.0

    it = race(TRAINING, boxes((0.25, lane), is_obstacle_bot_car=parked), reward=reward)
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, lane * LANE_M)
    over = False
    while not over:
        hit = any(car_outline(it, 0).intersects(outline) for outline in object_outlines(it))
        outcome = it.step(np.array([0]), follow(it, [0], lane * LANE_M, speed))
        over = bool(outcome.over[0])
        assert hit == over == (outcome.rows["status"][0] == CRASHED)
        assert not outcome.truncated[0]
    assert told == [False] * (len(told) - 1) + [True]
    assert 20.0 < outcome.rows["progress_pct"][0] < 25.0


def test_a_box_is_half_a_metre_long_to_those_who_run_into_it() -> None:
    """0.5 m along the road and 0.4 m across, as AWS's simulator has it; hand-worked on a straight road."""
    x = np.arange(0.0, 12.5, 0.5)
    road = Track("straight", np.stack([x, 0 * x, x, 0 * x + 0.5, x, 0 * x - 0.5], axis=1))
    simulator = BlindSimulator(1)
    it = Race(simulator, road, TRAINING, [lambda params: 1.0], config=boxes((0.5, 1)))
    it.furnish(0, np.random.default_rng(0), 0.0)

    def crashes(x_m: float, y_m: float) -> bool:
        it.start(0, 1.0)
        it.step(np.array([0]), Controls(np.zeros(1), np.zeros(1)))  # held
        simulator.place(np.array([0]), Poses(np.array([x_m]), np.array([y_m]), np.zeros(1)))
        return bool(it.step(np.array([0]), Controls(np.zeros(1), np.zeros(1))).rows["status"][0] == CRASHED)

    reach_m, beside_m = 0.25 + LENGTH_M / 2, 0.2 + WIDTH_M / 2
    assert [crashes(6.0 - reach_m + gap, 0.25) for gap in (-1e-6, 1e-6)] == [False, True]
    assert [crashes(6.0 + reach_m + gap, 0.25) for gap in (-1e-6, 1e-6)] == [True, False]
    assert [crashes(6.0, 0.25 - beside_m + gap) for gap in (-1e-6, 1e-6)] == [False, True]


def bots(speed: float, count: int = 1, **keys: Any) -> RaceConfig:
    return config("HEAD_TO_BOT", number_of_bot_cars=count, bot_car_speed=speed, **keys)


def test_when_a_bot_runs_into_a_car_all_bots_stand_for_the_penalty_and_the_car_is_not_charged() -> None:
    """By hand from bot_cars_agent_ctrl.py: 0.4 s are six steps; then all drive one step, and stand again if the car is
    still there."""
    it = race(TRAINING, bots(1.0, 2, penalty_seconds=0.4))
    it.furnish(0, np.random.default_rng(0))
    assert isinstance(it.simulator, BlindSimulator)
    it.start(0, 2.7, LANE_M)  # the first bot stands at 2 m in the inner lane
    speeds = []
    for _ in range(60):
        outcome = it.step(np.array([0]), Controls(np.zeros(1), np.zeros(1)))
        speeds.append(it.simulator.objects[0].speed_mps[0].tolist())
        if outcome.rows["status"][0] == EpisodeStatus.immobilized:
            break
        assert outcome.rows["status"][0] in (EpisodeStatus.prepare, EpisodeStatus.in_progress)
    first = speeds.index([0.0, 0.0])
    assert speeds[:first] == [[1.0, 1.0]] * first
    rest = speeds[first:]
    assert len(rest) > 8
    assert rest == [[0.0, 0.0] if i % 7 < 6 else [1.0, 1.0] for i in range(len(rest))]


def test_a_bot_that_runs_into_a_car_waits_behind_it_where_the_run_says_so() -> None:
    it = race(TRAINING, bots(1.0, bots_halt=False))
    it.furnish(0, np.random.default_rng(0))
    assert isinstance(it.simulator, BlindSimulator)
    it.start(0, 2.7, LANE_M)  # the bot stands at 2 m in the inner lane
    speeds, touching = [], 0
    for _ in range(150):
        outcome = it.step(np.array([0]), follow(it, [0], LANE_M, 0.1))
        assert outcome.rows["status"][0] in (EpisodeStatus.prepare, EpisodeStatus.in_progress)
        (bot,) = object_outlines(it)
        shared = car_outline(it, 0).intersection(bot).area
        touching += shared > 0
        assert shared < 0.08 * WIDTH_M  # not deeper than the step in which it touched
        speeds.append(float(it.simulator.objects[0].speed_mps[0, 0]))
    assert touching > 10
    assert speeds.count(0.0) > touching // 2
    assert set(speeds) == {0.0, 1.0}


@pytest.mark.parametrize("leaves", [lambda it: it.park(0), lambda it: it.start(0, 6.0)], ids=["parked", "start"])
def test_a_bot_that_waits_behind_a_car_drives_on_once_that_is_elsewhere(leaves: Any) -> None:
    it = race(TRAINING, bots(1.0, bots_halt=False), cars_in_world=2)
    it.furnish(0, np.random.default_rng(0))
    assert isinstance(it.simulator, BlindSimulator)
    it.start(0, 2.7, LANE_M)  # the bot stands at 2 m in the inner lane
    it.start(1, 12.0, -LANE_M)
    speeds = [1.0]
    while speeds[-2:] != [0.0, 0.0]:
        it.step(np.array([0, 1]), follow(it, [0, 1], [LANE_M, -LANE_M], [0.0, 0.1]))
        speeds.append(float(it.simulator.objects[0].speed_mps[0, 0]))
    leaves(it)
    for _ in range(3):
        it.step(np.array([1]), follow(it, [1], -LANE_M, 0.1))
        assert it.simulator.objects[0].speed_mps[0, 0] == 1.0


@pytest.mark.parametrize("speed", [0.0, 0.5])
def test_running_into_a_bot_is_a_crash(speed: float) -> None:
    it = race(TRAINING, bots(speed))
    it.furnish(0, np.random.default_rng(0))
    it.start(0, 0.5, LANE_M)
    driven = lap(it, lambda rows: LANE_M, 1.5)
    assert driven.status == CRASHED
    assert car_outline(it, 0).intersects(object_outlines(it)[0])
    # the bot has driven on meanwhile
    assert driven.time_s == pytest.approx((2.0 - 0.5 - LENGTH_M) / (1.5 - speed), abs=0.45)


def test_bots_never_touch_each_other_or_boxes_while_a_car_stalls_among_them() -> None:
    it = race(TRAINING, bots(0.8, 6, number_of_obstacles=2, is_lane_change=True, min_distance_between_bot_cars=1.0))
    it.furnish(0, np.random.default_rng(3))
    it.start(0, 8.0, LANE_M)
    for _ in range(150):
        it.step(np.array([0]), follow(it, [0], LANE_M, 0.1))
        outlines = object_outlines(it)
        assert not any(a.intersects(b) for i, a in enumerate(outlines) for b in outlines[:i])


def test_a_start_beside_a_box_is_in_the_other_lane() -> None:
    for lane in (1, -1):
        it = race(TRAINING, boxes((0.0, lane)))
        it.furnish(0, np.random.default_rng(0), 0.0)
        it.start(0, 0.0)
        distance, offset = placed(it, 0)
        assert (min(distance, LAP_M - distance), offset) == pytest.approx((0.0, -lane * LANE_M), abs=1e-2)
        row = it.step(np.array([0]), follow(it, [0], offset, 1.0)).rows[0]
        assert row["progress_pct"] == pytest.approx(100.0 * FRONT_POINT_X_M / LAP_M, rel=0.1)


@settings(max_examples=8)
@given(
    start=st.floats(0.0, 1.0),
    offset=st.floats(-0.1, 0.1),
    fractions=st.lists(st.integers(0, 23), min_size=4, max_size=16, unique=True),
    lanes=st.integers(0, 2**16 - 1),
)
def test_a_start_has_room_whatever_stands_there(start: float, offset: float, fractions: list[int], lanes: int) -> None:
    positions = [(f / 24, 1 if lanes >> i & 1 else -1) for i, f in enumerate(fractions)]
    it = race(TRAINING, boxes(*positions, min_distance_between_obstacles=0.5))
    it.furnish(0, np.random.default_rng(0), start * LAP_M)
    it.start(0, start * LAP_M, offset)
    around = car_outline(it, 0, 2 * CLEAR_AHEAD_M - 1e-9, 2 * CLEAR_BESIDE_M - 1e-9)
    assert not any(around.intersects(outline) for outline in object_outlines(it))
    behind_m = (start * LAP_M - placed(it, 0)[0] + LAP_M / 2) % LAP_M - LAP_M / 2
    assert -0.02 < behind_m < 4.0
    assert 0.0 < it.step(np.array([0]), follow(it, [0], placed(it, 0)[1], 1.0)).rows["progress_pct"][0] < 1.5


def test_a_car_that_leaves_the_road_at_top_speed_does_not_reach_the_pit() -> None:
    # the front bumper when the rear axle was just on the road before a step at full speed
    furthest_m = 0.5 * LENGTH_M + 0.081663 + MAX_SPEED_MPS * STEP_S
    assert furthest_m < PARK_M - 0.5 * WIDTH_M
    assert PARK_M + 0.5 * WIDTH_M < WALL_MARGIN_M


METADATA = ModelMetadata.parse(
    f'{{"action_space": [{{"steering_angle": {math.degrees(hold_rad(RADIUS_M, 1.5))}, "speed": 1.5}},'
    ' {"steering_angle": -30, "speed": 1.5}],'
    ' "sensor": ["FRONT_FACING_CAMERA"], "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW", "version": "5"}'
)


class Always:
    """A policy of one action."""

    def __init__(self, action: int) -> None:
        self.row = np.eye(2)[action]

    def distribution(self, observations: Observations) -> ActionDistribution:
        return ActionDistribution(probabilities=np.tile(self.row, (len(observations["FRONT_FACING_CAMERA"]), 1)))


def flown(action: int, laps: int) -> list[Rollout]:
    it = race(RaceRules(1_000, resets=0), RaceConfig())
    still = EvaluationConfig(start_jitter_m=0.0, start_jitter_deg=0.0)
    start = flying(it, start_line(it, still))
    return collect(it, Always(action), METADATA, RolloutOrder(Phase.evaluation, 0, 0, laps), start, seed=1)


def test_flying_laps_follow_each_other_without_a_stop() -> None:
    driven = flown(0, 3)
    assert [rollout.episode for rollout in driven] == [0, 1, 2]
    assert {rollout.status for rollout in driven} == {EpisodeStatus.lap_complete}
    whole = np.concatenate([rollout.steps for rollout in driven])
    moved = np.hypot(np.diff(whole["x_m"]), np.diff(whole["y_m"]))
    front_m = math.hypot(RADIUS_M, FRONT_POINT_X_M) / RADIUS_M * 1.5 * RIM * STEP_S
    assert moved[20:] == pytest.approx(np.full(len(moved) - 20, front_m), abs=2e-3)  # no teleport, no standing start
    for before, after in pairwise(driven):
        assert after.steps["time_s"][0] == pytest.approx(STEP_S)
        assert 100 * front_m <= LAP_M * after.steps["progress_pct"][0] + 0.1 < 200 * front_m + 0.1
        assert len(after) == pytest.approx(LAP_M / (1.5 * RIM * STEP_S), abs=1.5)
        assert len(before) >= len(after) - 1  # a standing start costs 0.1 s, and steps round
    total_s = sum(rollout.time_s for rollout in driven)
    assert total_s == pytest.approx(len(whole) * STEP_S)
    # the start costs 0.1 s, the car is held for the first step, and judged where the last one begins
    assert total_s == pytest.approx((3 * LAP_M - FRONT_POINT_X_M) / (1.5 * RIM) + 0.1 + 2 * STEP_S, abs=0.2)


def test_a_flying_lap_after_one_that_ended_early_begins_at_the_line() -> None:
    driven = flown(1, 2)
    assert [rollout.status for rollout in driven] == [EpisodeStatus.off_track] * 2
    assert np.array_equal(driven[0].steps, driven[1].steps)
