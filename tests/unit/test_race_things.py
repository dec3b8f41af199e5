"""Races with obstacles, bot cars and rivals, driven by hand round a circle: shapely says when outlines overlap."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon

from contract.config import EvaluationConfig, RaceConfig
from contract.metadata import ModelMetadata
from contract.metrics import evaluation_rows
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import STEP_S, Controls, EpisodeStatus, Observations, Poses, ThingKind
from contract.vehicle import BOX_LENGTH_M, BOX_WIDTH_M, FRONT_POINT_X_M, LENGTH_M, MAX_SPEED_MPS, WIDTH_M
from simapp.camera.look import WALL_MARGIN_M
from simapp.race import PIT_M, Race, RaceRules
from simapp.rollout import collect
from simapp.starts import flying, start_line
from simapp.surroundings import CLEAR_AHEAD_M, CLEAR_BESIDE_M
from tests.support import RADIUS_M, RIM, BlindSimulator, circle, hold_rad, keep_lane, outline
from tests.support import WIDTH_M as ROAD_M

LANE_M = ROAD_M / 4
LAP_M = circle().length_m
CRASHED = EpisodeStatus.crashed
TRAINING = RaceRules(max_steps=2_000)
SIZES = {ThingKind.box: (BOX_LENGTH_M, BOX_WIDTH_M), ThingKind.car: (LENGTH_M, WIDTH_M)}


def config(kind: str = "OBJECT_AVOIDANCE", **keys: Any) -> RaceConfig:
    return RaceConfig.model_validate({"race_type": kind, **keys})


def boxes(*positions: tuple[float, int], **keys: Any) -> RaceConfig:
    return config(object_positions=positions, **keys)


def race(rules: RaceRules, things: RaceConfig, cars_in_world: int = 1, reward: Any = lambda params: 1.0) -> Race:
    simulator = BlindSimulator(cars_in_world, np.zeros(cars_in_world, np.int64))
    return Race(simulator, circle(), rules, [reward] * cars_in_world, config=things)


def follow(it: Race, cars: list[int], offset_m: float | list[float], speed_mps: float | list[float]) -> Controls:
    state = it.simulator.cars
    wanted = np.broadcast_to(np.asarray(offset_m, dtype=np.float64), len(cars))
    steering = keep_lane(state.x_m[cars], state.y_m[cars], state.heading_rad[cars], wanted)
    return Controls(steering, np.array(np.broadcast_to(np.asarray(speed_mps, dtype=np.float64), len(cars))))


def car_outline(it: Race, car: int, longer_m: float = 0.0, wider_m: float = 0.0) -> Polygon:
    state = it.simulator.cars
    pose = float(state.x_m[car]), float(state.y_m[car]), float(state.heading_rad[car])
    return outline(*pose, LENGTH_M + longer_m, WIDTH_M + wider_m)


def thing_outlines(it: Race) -> list[Polygon]:
    """Of what stands and drives in car 0's world, other cars aside, by what the simulator was told to show."""
    assert isinstance(it.simulator, BlindSimulator)
    things = it.simulator.things[0]
    shapes = []
    for m, kind in enumerate(things.kind[0].tolist()):
        x, y, heading = float(things.x_m[0, m]), float(things.y_m[0, m]), float(things.heading_rad[0, m])
        shapes.append(outline(x, y, heading, *SIZES[ThingKind(kind)]))
    return shapes


def placed(it: Race, car: int) -> tuple[float, float]:
    """Centre-line distance and offset of the car's base_link, by the circle's own geometry."""
    x, y = it.simulator.cars.x_m[car], it.simulator.cars.y_m[car]
    return math.atan2(y, x) % (2 * math.pi) / (2 * math.pi) * LAP_M, RADIUS_M - math.hypot(x, y)


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize(("lane", "speed"), [(1, 1.0), (-1, 2.4)])
def test_a_training_episode_ends_at_the_step_in_which_the_outlines_overlap(
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
        outcome = it.step(np.array([0]), follow(it, [0], lane * LANE_M, speed))
        over = bool(outcome.over[0])
        hit = any(car_outline(it, 0).intersects(thing) for thing in thing_outlines(it))
        assert hit == over == (outcome.rows["status"][0] == CRASHED)
        assert not outcome.truncated[0]
    assert told == [False] * (len(told) - 1) + [True]
    assert 20.0 < outcome.rows["progress_pct"][0] < 25.0


def lap(it: Race, offset_of: Any, speed: float, limit: int = 2_000) -> Rollout:
    """Drive car 0 to the end of its episode; `offset_of(rows)` gives the lane from what has happened so far."""
    rows: list[np.ndarray] = []
    for _ in range(limit):
        outcome = it.step(np.array([0]), follow(it, [0], offset_of(rows), speed))
        rows.append(outcome.rows[0])
        if outcome.over[0]:
            break
    return Rollout(0, 0, {}, {}, np.zeros(len(rows), np.int64), np.stack(rows), bool(outcome.truncated[0]))


@pytest.mark.parametrize(("lane", "behind_m"), [(1, 1.0), (-1, 0.6)])
def test_an_evaluation_pays_is_put_back_behind_the_box_in_the_other_lane_and_finishes(
    lane: int, behind_m: float
) -> None:
    rules = RaceRules(2_000, resets=2, off_track_penalty_s=1.0, collision_penalty_s=4.0, reset_behind_m=behind_m)
    it = race(rules, boxes((0.5, lane)))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, lane * LANE_M)

    def offset_of(rows: list[np.ndarray]) -> float:
        hit = any(row["status"] == CRASHED for row in rows)
        if hit and rows[-1]["status"] == CRASHED:
            assert placed(it, 0) == pytest.approx((0.5 * LAP_M - behind_m, -lane * LANE_M), abs=5e-3)
        return -lane * LANE_M if hit else lane * LANE_M

    driven = lap(it, offset_of, 2.0)
    steps = driven.steps
    (at,) = np.flatnonzero(steps["status"] == CRASHED)
    assert driven.status == EpisodeStatus.lap_complete
    assert steps["time_s"][at + 1] - steps["time_s"][at] == pytest.approx(4.0 + STEP_S)
    assert steps["pause_s"].tolist() == [0.0] * (at + 1) + [4.0] * (len(steps) - at - 1)
    assert driven.time_s == pytest.approx(len(steps) * STEP_S + 4.0)
    # back on the road its front point is ahead of base_link, and it has driven a step
    back_pct = 100.0 * (0.5 - (behind_m - FRONT_POINT_X_M) / LAP_M)
    assert steps["progress_pct"][at + 1] == pytest.approx(back_pct, abs=0.3)
    (row,) = evaluation_rows([driven])
    assert (row.crash_count, row.reset_count, row.off_track_count, row.completion_percentage) == (1, 1, 0, 100)


def test_rules_that_say_no_more_put_a_car_back_a_metre_behind_the_box() -> None:
    it = race(RaceRules(2_000, resets=1), boxes((0.5, 1)))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    behind_m: list[float] = []

    def offset_of(rows: list[np.ndarray]) -> float:
        if rows and rows[-1]["status"] == CRASHED:
            behind_m.append(0.5 * LAP_M - placed(it, 0)[0])
        return -LANE_M if behind_m else LANE_M

    assert lap(it, offset_of, 2.0).status == EpisodeStatus.lap_complete
    assert behind_m == pytest.approx([1.0], abs=5e-3)


def test_who_runs_into_the_same_box_again_is_put_back_further_each_time() -> None:
    """A lane-keeper that knows no boxes, from whichever lane; another box in between, and the count begins anew."""
    rules = RaceRules(2_000, resets=20, collision_penalty_s=1.0, reset_behind_m=0.5)
    it = race(rules, boxes((0.3, 1), (0.6, 1)))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    back_m: list[float] = []

    def offset_of(rows: list[np.ndarray]) -> float:
        if rows and rows[-1]["status"] == CRASHED:
            box_m = (0.3 if len(back_m) < 7 else 0.6) * LAP_M
            back_m.append(box_m - placed(it, 0)[0])
        passing_the_first = len(back_m) == 7 and placed(it, 0)[0] < 0.4 * LAP_M
        return -LANE_M if passing_the_first or len(back_m) == 9 else LANE_M

    assert lap(it, offset_of, 1.0).status == EpisodeStatus.lap_complete
    assert back_m == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5, 2.5, 2.5, 0.5, 1.0], abs=0.01)


def test_penalties_differ_by_what_happened_and_resets_run_out() -> None:
    rules = RaceRules(2_000, resets=2, off_track_penalty_s=1.0, collision_penalty_s=4.0, reset_behind_m=1.0)
    it = race(rules, boxes((0.3, 1)))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    # into the box, then off the road on the right, then off it again
    driven = lap(it, lambda rows: LANE_M if not any(r["status"] == CRASHED for r in rows) else -2.0, 1.0)
    broken = np.flatnonzero(driven.steps["status"] >= EpisodeStatus.crashed)
    names = [EpisodeStatus(int(s)).name for s in driven.steps["status"][broken]]
    assert names == ["crashed", "off_track", "off_track"]
    assert driven.steps["pause_s"][-1] == 5.0
    assert broken[-1] == len(driven) - 1
    (row,) = evaluation_rows([driven])
    assert (row.crash_count, row.off_track_count, row.reset_count) == (1, 2, 2)
    assert row.elapsed_time_in_milliseconds == round(1000 * (len(driven) * STEP_S + 5.0))


def test_whoever_runs_into_a_rival_from_behind_is_charged_and_the_other_is_not() -> None:
    rules = RaceRules(2_000, resets=5, collision_penalty_s=3.0, reset_behind_m=0.8)
    it = race(rules, config("HEAD_TO_MODEL"), cars_in_world=2)
    it.start(0, 3.0, LANE_M)
    it.start(1, 1.0, LANE_M)
    crashes: list[list[int]] = []
    for step in range(120):
        before = car_outline(it, 0), car_outline(it, 1)
        outcome = it.step(
            np.array([0, 1]), follow(it, [0, 1], LANE_M if not crashes else [LANE_M, -LANE_M], [0.3, 1.5])
        )
        assert not outcome.over.any()
        if CRASHED in outcome.rows["status"]:
            crashes.append(outcome.rows["status"].tolist())
            assert not before[0].intersects(before[1])
            # put back behind where the other one is now, beside its lane
            assert placed(it, 1) == pytest.approx((placed(it, 0)[0] - 0.8, -LANE_M), abs=2e-2)
        assert step < 5 or not car_outline(it, 0).intersects(car_outline(it, 1))
    assert len(crashes) == 1
    assert (crashes[0][0], crashes[0][1]) == (EpisodeStatus.in_progress, CRASHED)
    assert outcome.rows["pause_s"].tolist() == [0.0, 3.0]
    assert outcome.rows["progress_pct"][1] > 40.0  # it overtook


@pytest.mark.parametrize("ahead_m", [0.05, 0.2])
def test_the_side_of_a_car_is_hit_by_the_one_further_back(ahead_m: float) -> None:
    it = race(TRAINING, config("HEAD_TO_MODEL"), cars_in_world=2)
    it.start(0, 2.0 + ahead_m, LANE_M)
    it.start(1, 2.0, -LANE_M)
    for _ in range(60):
        outcome = it.step(np.array([0, 1]), follow(it, [0, 1], 0.0, 1.0))  # both to the middle
        if CRASHED in outcome.rows["status"]:
            break
    assert outcome.rows["status"].tolist() == [EpisodeStatus.in_progress, CRASHED]


def test_a_contact_is_charged_once_and_the_next_one_again() -> None:
    it = race(TRAINING, config("HEAD_TO_MODEL"), cars_in_world=2)
    both = np.array([0, 1])

    def judge(gap_m: float) -> list[int]:
        track = it.track
        ahead, behind = track.pose_at(5.0 + gap_m), track.pose_at(5.0)
        pair = [np.append(a, b) for a, b in ((ahead.x_m, behind.x_m), (ahead.y_m, behind.y_m))]
        it.simulator.place(both, Poses(pair[0], pair[1], np.append(ahead.heading_rad, behind.heading_rad)))
        return [int(place) for place in it.surroundings.charges(both, it.surroundings.survey(both))]

    assert [judge(gap) for gap in (0.5, 0.3, 0.25, 0.3, 0.5, 0.3)] == [
        [-1, -1],
        [-1, 0],
        [-1, -1],
        [-1, -1],
        [-1, -1],
        [-1, 0],
    ]
    # overtaking each other while they touch changes nothing
    assert judge(-0.1) == [-1, -1]
    it.surroundings.forget(0)
    assert judge(-0.1) == [0, -1]


def bots(speed: float, count: int = 1, **keys: Any) -> RaceConfig:
    return config("HEAD_TO_BOT", number_of_bot_cars=count, bot_car_speed=speed, **keys)


def test_a_car_that_a_bot_runs_into_is_not_charged_and_the_bot_waits_behind_it() -> None:
    it = race(TRAINING, bots(1.0))
    it.furnish(0, np.random.default_rng(0))
    assert isinstance(it.simulator, BlindSimulator)
    it.start(0, 2.7, LANE_M)  # the bot stands at 2 m in the inner lane
    speeds, touching = [], 0
    for _ in range(150):
        outcome = it.step(np.array([0]), follow(it, [0], LANE_M, 0.1))
        assert outcome.rows["status"][0] in (EpisodeStatus.prepare, EpisodeStatus.in_progress)
        (bot,) = thing_outlines(it)
        shared = car_outline(it, 0).intersection(bot).area
        touching += shared > 0
        assert shared < 0.08 * WIDTH_M  # not deeper than the step in which it touched
        speeds.append(float(it.simulator.things[0].speed_mps[0, 0]))
    assert touching > 10
    assert speeds.count(0.0) > touching // 2
    assert set(speeds) == {0.0, 1.0}


@pytest.mark.parametrize("leaves", [lambda it: it.finish(0), lambda it: it.start(0, 6.0)], ids=["pit", "start"])
def test_a_bot_that_waits_behind_a_car_drives_on_once_that_is_elsewhere(leaves: Any) -> None:
    it = race(TRAINING, bots(1.0), cars_in_world=2)
    it.furnish(0, np.random.default_rng(0))
    assert isinstance(it.simulator, BlindSimulator)
    it.start(0, 2.7, LANE_M)  # the bot stands at 2 m in the inner lane
    it.start(1, 12.0, -LANE_M)
    speeds = [1.0]
    while speeds[-2:] != [0.0, 0.0]:
        it.step(np.array([0, 1]), follow(it, [0, 1], [LANE_M, -LANE_M], [0.0, 0.1]))
        speeds.append(float(it.simulator.things[0].speed_mps[0, 0]))
    leaves(it)
    for _ in range(3):
        it.step(np.array([1]), follow(it, [1], -LANE_M, 0.1))
        assert it.simulator.things[0].speed_mps[0, 0] == 1.0


@pytest.mark.parametrize("speed", [0.0, 0.5])
def test_running_into_a_bot_is_a_crash(speed: float) -> None:
    it = race(TRAINING, bots(speed))
    it.furnish(0, np.random.default_rng(0))
    it.start(0, 0.5, LANE_M)
    driven = lap(it, lambda rows: LANE_M, 1.5)
    assert driven.status == CRASHED
    assert car_outline(it, 0).intersects(thing_outlines(it)[0])
    # the bot has driven on meanwhile
    assert driven.time_s == pytest.approx((2.0 - 0.5 - LENGTH_M) / (1.5 - speed), abs=0.45)


def test_bots_never_touch_each_other_or_boxes_while_a_car_stalls_among_them() -> None:
    it = race(TRAINING, bots(0.8, 6, number_of_obstacles=2, is_lane_change=True, min_distance_between_bot_cars=1.0))
    it.furnish(0, np.random.default_rng(3))
    it.start(0, 8.0, LANE_M)
    for _ in range(150):
        it.step(np.array([0]), follow(it, [0], LANE_M, 0.1))
        outlines = thing_outlines(it)
        assert not any(a.intersects(b) for i, a in enumerate(outlines) for b in outlines[:i])


def test_a_start_beside_a_box_is_in_the_other_lane() -> None:
    for lane in (1, -1):
        it = race(TRAINING, boxes((0.0, lane)))
        it.furnish(0, np.random.default_rng(0), 0.0)
        it.start(0, 0.0)
        distance, offset = placed(it, 0)
        assert (min(distance, LAP_M - distance), offset) == pytest.approx((0.0, -lane * LANE_M), abs=1e-2)
        row = it.step(np.array([0]), follow(it, [0], offset, 1.0)).rows[0]
        assert 0.5 < row["progress_pct"] < 1.5


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
    assert not any(around.intersects(thing) for thing in thing_outlines(it))
    behind_m = (start * LAP_M - placed(it, 0)[0] + LAP_M / 2) % LAP_M - LAP_M / 2
    assert -0.02 < behind_m < 4.0
    assert 0.0 < it.step(np.array([0]), follow(it, [0], placed(it, 0)[1], 1.0)).rows["progress_pct"][0] < 1.5


def test_a_car_that_leaves_the_road_at_top_speed_does_not_reach_the_pit() -> None:
    # the front bumper when the rear axle was just on the road before a step at full speed
    furthest_m = 0.5 * LENGTH_M + 0.081663 + MAX_SPEED_MPS * STEP_S
    assert furthest_m < PIT_M - 0.5 * WIDTH_M
    assert PIT_M + 0.5 * WIDTH_M < WALL_MARGIN_M


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
    assert total_s == pytest.approx((3 * LAP_M - FRONT_POINT_X_M) / (1.5 * RIM) + 0.1, abs=0.2)


def test_a_flying_lap_after_one_that_ended_early_begins_at_the_line() -> None:
    driven = flown(1, 2)
    assert [rollout.status for rollout in driven] == [EpisodeStatus.off_track] * 2
    assert np.array_equal(driven[0].steps, driven[1].steps)
