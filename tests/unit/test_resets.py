"""Who is put back after what, where, for how long, and what the metrics say of it; by hand from the rules."""

import itertools
import math

import numpy as np
import pytest

from contract.config import EvaluationConfig
from contract.metrics import evaluation_rows
from contract.rollout import Rollout
from contract.state import BROKEN, HELD, STEP_S, Controls, EpisodeStatus, Poses
from contract.vehicle import FRONT_POINT_X_M
from simapp.race import RaceRules
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
    names_of,
    placed,
    race,
)
from tests.support import RADIUS_M


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
        if hit and rows[-1]["status"] in (CRASHED, EpisodeStatus.pause):
            assert placed(it, 0) == pytest.approx((0.5 * LAP_M - behind_m, -lane * LANE_M), abs=5e-3)
        return -lane * LANE_M if hit else lane * LANE_M

    driven = lap(it, offset_of, 2.0)
    steps, names = driven.steps, names_of(driven)
    at = names.index("crashed")
    assert driven.status == EpisodeStatus.lap_complete
    assert names[at : at + 62] == ["crashed", *["pause"] * 60, "in_progress"]
    assert steps["pause_s"][at : at + 61] == pytest.approx(4.0 - STEP_S * np.arange(61), abs=1e-9)
    assert not steps["pause_s"][at + 61 :].any()
    assert driven.time_s == pytest.approx(len(steps) * STEP_S)
    back_pct = 100.0 * (0.5 - (behind_m - FRONT_POINT_X_M) / LAP_M)
    assert steps["progress_pct"][at + 1 : at + 62] == pytest.approx([back_pct] * 61, abs=0.1)
    (row,) = evaluation_rows([driven])
    assert (row.crash_count, row.reset_count, row.off_track_count, row.completion_percentage) == (1, 1, 0, 100)
    assert row.elapsed_time_in_milliseconds == round(1000 * len(driven) * STEP_S)


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


@pytest.mark.parametrize(
    ("mercy_after", "back_m"),
    [(0, [0.8] * 7), (1, [-1.2]), (3, [0.8, 0.8, -1.2])],
    ids=["without mercy", "at once", "at the third"],
)
def test_mercy_puts_a_car_past_the_box_that_it_is_reset_at_again_and_again(
    mercy_after: int, back_m: list[float]
) -> None:
    """Two boxes, and a driver who runs into whichever is ahead: each box has its own count."""
    rules = RaceRules(
        2_000, resets=7, collision_penalty_s=0.2, reset_behind_m=0.8, mercy_after=mercy_after, reset_ahead_m=1.2
    )
    it = race(rules, boxes((0.3, 1), (0.6, -1)))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    found: list[float] = []

    def offset_of(rows: list[np.ndarray]) -> float:
        here_m = placed(it, 0)[0]
        if rows and rows[-1]["status"] == CRASHED:
            box_m = (0.3 if len(found) < len(back_m) else 0.6) * LAP_M
            found.append(box_m - here_m)
        return LANE_M if here_m < 0.3 * LAP_M else -LANE_M

    driven = lap(it, offset_of, 1.0)
    # with mercy it comes past both boxes; without, it uses up its resets at the first
    assert driven.status == (EpisodeStatus.lap_complete if mercy_after else CRASHED)
    assert found == pytest.approx((back_m * 2 if mercy_after else back_m), abs=0.01)


def test_who_leaves_the_road_near_a_box_is_put_back_behind_it_too() -> None:
    """Whatever the reason: an obstacle within a metre of the place is in its way."""
    rules = RaceRules(2_000, resets=1, off_track_penalty_s=1.0, reset_behind_m=0.7)
    for fraction, behind in ((0.24, True), (0.5, False)):
        it = race(rules, boxes((fraction, 1)))
        it.furnish(0, np.random.default_rng(0), 0.0)
        it.start(0, 0.2 * LAP_M, -LANE_M)
        driven = lap(it, lambda rows: -2.0, 1.0, limit=40)
        names = names_of(driven)
        at = names.index("off_track")
        it.start(0, 0.2 * LAP_M, -LANE_M)
        rows = [it.step(np.array([0]), follow(it, [0], -2.0, 1.0)).rows[0] for _ in range(at + 2)]
        before = math.atan2(rows[at - 1]["y_m"], rows[at - 1]["x_m"]) / (2 * math.pi) * LAP_M
        assert (abs(fraction * LAP_M - before) < 1.0) is behind
        expected_m = fraction * LAP_M - 0.7 if behind else before
        assert placed(it, 0) == pytest.approx((expected_m, -LANE_M), abs=0.01)


def test_penalties_differ_by_what_happened_and_resets_run_out() -> None:
    rules = RaceRules(2_000, resets=2, off_track_penalty_s=1.0, collision_penalty_s=4.0, reset_behind_m=1.0)
    it = race(rules, boxes((0.3, 1)))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    # into the box, then off the road on the right, then off it again
    driven = lap(it, lambda rows: LANE_M if not any(r["status"] == CRASHED for r in rows) else -2.0, 1.0)
    names = names_of(driven)
    assert [name for name in names if name not in ("prepare", "in_progress", "pause")] == [
        *("crashed", "off_track", "off_track")
    ]
    assert names.count("pause") == 60 + 15
    assert names[-1] == "off_track"
    (row,) = evaluation_rows([driven])
    assert (row.crash_count, row.off_track_count, row.reset_count) == (1, 2, 3)
    assert row.elapsed_time_in_milliseconds == round(1000 * len(driven) * STEP_S)


def test_whoever_runs_into_a_rival_is_held_there_and_cannot_be_hit_and_the_other_drives_on() -> None:
    rules = RaceRules(2_000, resets=5, collision_penalty_s=3.0, reset_behind_m=0.8)
    it = race(rules, config("HEAD_TO_MODEL"), cars_in_world=2)
    it.start(0, 3.0, LANE_M)
    it.start(1, 1.0, LANE_M)
    both, seen = np.array([0, 1]), []
    where: list[tuple[float, float]] = []
    for _ in range(120):
        hit = car_outline(it, 0).intersects(car_outline(it, 1))
        outcome = it.step(both, follow(it, [0, 1], LANE_M, [0.3, 1.5]))
        assert not outcome.over.any()
        seen.append(outcome.rows["status"].tolist())
        where.append((outcome.rows["x_m"][1], outcome.rows["y_m"][1]))
        assert CRASHED not in seen[-1] or hit
    assert all(row[0] in (EpisodeStatus.prepare, EpisodeStatus.in_progress) for row in seen)
    at = next(k for k, row in enumerate(seen) if row[1] == CRASHED)
    assert [row[1] for row in seen[at : at + 47]] == [CRASHED, *[EpisodeStatus.pause] * 45, EpisodeStatus.in_progress]
    assert len(set(where[at : at + 47])) == 1


def test_who_is_held_for_a_penalty_cannot_be_hit() -> None:
    rules = RaceRules(2_000, resets=5, off_track_penalty_s=3.0)
    it = race(rules, config("HEAD_TO_MODEL"), cars_in_world=2)
    it.start(0, 3.0, -LANE_M)
    it.start(1, 1.0, -LANE_M)
    both, touched = np.array([0, 1]), 0
    for _ in range(75):
        outcome = it.step(both, follow(it, [0, 1], [-2.0, -LANE_M], [1.0, 1.0]))
        status = outcome.rows["status"].tolist()
        assert status[1] in (EpisodeStatus.prepare, EpisodeStatus.in_progress)
        if status[0] == EpisodeStatus.pause:
            touched += car_outline(it, 0).intersects(car_outline(it, 1))
    assert touched > 3  # it drove through the one that is held


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


def test_a_contact_is_charged_to_the_one_whose_front_is_further_back() -> None:
    it = race(TRAINING, config("HEAD_TO_MODEL"), cars_in_world=2)
    both, yes = np.array([0, 1]), np.ones(2, np.bool_)

    def judge(gap_m: float, runs: np.ndarray = yes, solid: np.ndarray = yes) -> list[int]:
        track = it.track
        ahead, behind = track.pose_at(5.0 + gap_m), track.pose_at(5.0)
        pair = [np.append(a, b) for a, b in ((ahead.x_m, behind.x_m), (ahead.y_m, behind.y_m))]
        heading = np.append(ahead.heading_rad, behind.heading_rad)
        it.simulator.place(both, Poses(pair[0], pair[1], heading))
        x, y = (pair[i] + FRONT_POINT_X_M * f(heading) for i, f in enumerate((np.cos, np.sin)))
        front_m = track.project(x, y).distance_m
        neighbours = it.nearby.around_cars(both)
        return [int(place) for place in it.nearby.charges(both, neighbours, front_m, runs, solid)]

    assert [judge(gap) for gap in (0.5, 0.3, -0.3, -0.5)] == [[-1, -1], [-1, 0], [0, -1], [-1, -1]]
    assert judge(0.3, runs=np.array([True, False])) == [-1, -1]
    assert judge(0.3, solid=np.array([False, True])) == [-1, -1]


def runs_of(names: list[str]) -> list[tuple[str, int]]:
    """Statuses and how many rows running have each; those of drives, which take as long as they take, count as 0."""
    found = [(name, len(list(group))) for name, group in itertools.groupby(names)]
    return [(name, 0 if name == "in_progress" else count) for name, count in found]


CLEAN = [("prepare", 1), ("in_progress", 0), ("lap_complete", 1)]


def held(status: str, pauses: int) -> list[tuple[str, int]]:
    return [("prepare", 1), ("in_progress", 0), (status, 1), ("pause", pauses), ("in_progress", 0), ("lap_complete", 1)]


# what happens once on the way, at 1 m/s from the middle of the lap on, and what the rules say of it
SCRIPTS = {
    "finish": (config("TIME_TRIAL"), CLEAN, (0, 0, 0, 0)),
    "leave the road": (config("TIME_TRIAL"), held("off_track", 30), (0, 0, 1, 0)),
    "hit a box": (boxes((0.5, 1)), held("crashed", 75), (1, 0, 0, 0)),
    "stop": (config("TIME_TRIAL"), held("immobilized", 1), (0, 1, 0, 0)),
    "turn round": (config("TIME_TRIAL"), held("reversed", 30), (0, 0, 0, 1)),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_whole_evaluations_by_hand(script: str) -> None:
    """With the defaults of an evaluation: 2 s off the road, 5 s for a crash, 2 s turned round, none for standing."""
    objects, rows, counts = SCRIPTS[script]
    it = race(RaceRules.of(EvaluationConfig(), 5_000, 10_000), objects)
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    found: list[np.ndarray] = []
    over = False
    while not over:
        done = any(EpisodeStatus(int(row["status"])) in BROKEN for row in found)
        mishap = not done and script in ("leave the road", "stop", "turn round") and placed(it, 0)[0] > 0.4 * LAP_M
        controls = follow(it, [0], LANE_M if not done else -LANE_M, 1.0)
        if mishap and script == "leave the road":
            controls = Controls(np.zeros(1), np.ones(1))  # straight on
        if mishap and script == "turn round":
            it.simulator.cars.heading_rad[0] = (
                math.atan2(it.simulator.cars.y_m[0], it.simulator.cars.x_m[0]) - math.pi / 2
            )
            controls = Controls(np.array([-math.atan(0.16397 / RADIUS_M)]), np.ones(1))
        state, where = it.simulator.cars, None
        if mishap and script == "stop":
            where = Poses(state.x_m.copy(), state.y_m.copy(), state.heading_rad.copy())
        outcome = it.step(np.array([0]), controls)
        found.append(outcome.rows[0])
        over = bool(outcome.over[0])
        if where is not None:
            it.simulator.place(np.array([0]), where)
    driven = Rollout(0, 0, {}, {}, np.zeros(len(found), np.int64), np.stack(found), False)
    assert runs_of(names_of(driven)) == rows
    (row,) = evaluation_rows([driven])
    told = (row.crash_count, row.immobilized_count, row.off_track_count, row.reversed_count)
    assert (told, row.reset_count, row.trial) == (counts, sum(counts), 1)
    assert (row.completion_percentage, row.episode_status) == (100, "Lap complete")
    assert row.elapsed_time_in_milliseconds == round(1000 * STEP_S * len(found))
    rewards = np.array([row["reward"] for row in found])
    is_held = np.isin([row["status"] for row in found], HELD)
    assert rewards.tolist() == np.where(is_held, 0.0, 1.0).tolist()


def test_running_into_a_bot_holds_the_car_where_it_is() -> None:
    """A bot drives on meanwhile: 5 s at 0.2 m/s are a metre."""
    it = race(RaceRules.of(EvaluationConfig(), 5_000, 3), config("HEAD_TO_BOT", number_of_bot_cars=1))
    it.furnish(0, np.random.default_rng(0), 0.0)
    it.start(0, 0.0, LANE_M)
    driven = lap(it, lambda rows: LANE_M if not any(row["status"] == CRASHED for row in rows) else -LANE_M, 1.0)
    names = names_of(driven)
    at = names.index("crashed")
    assert runs_of(names[at : at + 77]) == [("crashed", 1), ("pause", 75), ("in_progress", 0)]
    steps = driven.steps[at : at + 77]
    assert len({(row["x_m"], row["y_m"], row["heading_rad"]) for row in steps}) == 1
    assert driven.status == EpisodeStatus.lap_complete
    (row,) = evaluation_rows([driven])
    assert (row.crash_count, row.reset_count) == (1, 1)
