"""Head to head on a circle: cars that keep the lane they are in, so that only the rules decide."""

import math
from typing import Any

import numpy as np
import pytest

from contract.conditions import Conditions, RandomizationConfig
from contract.config import EvaluationConfig, RaceConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution
from contract.rollout import Rollout
from contract.state import STEP_S, Controls, EpisodeStatus, IntArray, Observations
from contract.vehicle import LENGTH_M, MAX_STEERING_RAD, WIDTH_M
from simapp.head_to_head import race_laps
from simapp.race import Race, RaceRules, StepOutcome
from simapp.rollout import Racer
from simapp.tracks import Track
from tests.support import RADIUS_M, RIM, BlindSimulator, circle, keep_lane, outline, ring
from tests.support import WIDTH_M as ROAD_M

LANE_M = ROAD_M / 4
STILL = EvaluationConfig(start_jitter_m=0.0, start_jitter_deg=0.0, done_condition="all")
GAP_M = 0.75
"""From car to car on the grid: START_POS_OFFSET."""
COMPLETE, CRASHED = EpisodeStatus.lap_complete, EpisodeStatus.crashed
RULES = RaceRules(3_000, resets=5, off_track_penalty_s=1.0, collision_penalty_s=3.0)


class PoseSimulator(BlindSimulator):
    """Cars that know where they are, and what conditions they drive under."""

    def __init__(self, num_cars: int, worlds: IntArray) -> None:
        super().__init__(num_cars, worlds)
        self.conditions = Conditions.nominal(num_cars)

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        self.conditions.put(cars, conditions)

    def observe(self, cars: IntArray) -> Observations:
        state = self.cars
        return {"POSE": np.stack([state.x_m[cars], state.y_m[cars], state.heading_rad[cars]], axis=1)}


class KeepsItsLane:
    """A policy: whichever lane the car is in, it stays there."""

    def distribution(self, observations: Observations) -> ActionDistribution:
        x, y, heading = observations["POSE"].T
        lane = np.where(np.hypot(x, y) < RADIUS_M, LANE_M, -LANE_M)
        steering = keep_lane(x, y, heading, lane) / MAX_STEERING_RAD
        return ActionDistribution(mean=np.stack([steering, np.zeros(len(x))], axis=1), deviation=np.ones((len(x), 2)))


def driver(speed: float) -> Racer:
    return Racer(
        KeepsItsLane(),
        ModelMetadata.parse(
            '{"action_space_type": "continuous", "action_space": {"steering_angle": {"low": -30, "high": 30},'
            f' "speed": {{"low": {speed}, "high": {speed}}}}}, "sensor": ["FRONT_FACING_CAMERA"], "version": "5"}}'
        ),
    )


class WatchedRace(Race):
    """Keeps which cars drove together in each step, what their clocks said, and where they stood before the first."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.steps: list[dict[int, float]] = []
        self.grid: list[tuple[float, float, float]] = []

    def step(self, cars: IntArray, controls: Controls) -> StepOutcome:
        if not self.grid:
            state = self.simulator.cars
            self.grid = list(zip(state.x_m.tolist(), state.y_m.tolist(), state.heading_rad.tolist(), strict=True))
        outcome = super().step(cars, controls)
        self.steps.append(dict(zip(cars.tolist(), outcome.rows["time_s"].tolist(), strict=True)))
        return outcome


def watched(
    worlds: int, racers: int, rules: RaceRules = RULES, track: Track | None = None, **objects: Any
) -> WatchedRace:
    config = RaceConfig.model_validate({"race_type": "HEAD_TO_MODEL", **objects})
    cars = worlds * racers
    simulator = PoseSimulator(cars, np.repeat(np.arange(worlds), racers))
    return WatchedRace(simulator, track or circle(), rules, [lambda params: 1.0] * cars, config=config)


def same(a: list[Rollout], b: list[Rollout]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.steps, y.steps) and np.array_equal(x.actions, y.actions) for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("speeds", [(2.2, 2.8), pytest.param((1.0, 2.5, 1.4, 1.8), marks=pytest.mark.slow)])
def test_a_world_does_not_depend_on_how_many_others_there_are(speeds: tuple[float, ...]) -> None:
    racers, objects = [driver(speed) for speed in speeds], dict[str, Any](number_of_bot_cars=2, bot_car_speed=0.6)
    few = race_laps(watched(1, len(speeds), **objects), racers, 1, EvaluationConfig(), 7)
    many = race_laps(watched(3, len(speeds), **objects), racers, 1, EvaluationConfig(), 7)
    for r in range(len(speeds)):
        assert [lap.episode for lap in many[r]] == [0, 1, 2]
        assert same(few[r], many[r][:1])
        # worlds differ: the scatter does
        assert not np.array_equal(many[r][0].steps["x_m"][0], many[r][1].steps["x_m"][0])


def test_swapping_the_order_of_the_racers_swaps_nothing_but_the_order() -> None:
    slow, fast = driver(1.8), driver(2.4)
    swapping = STILL.model_copy(update={"change_grid": True})
    one = race_laps(watched(2, 2), [slow, fast], 1, swapping, 1)
    other = race_laps(watched(2, 2), [fast, slow], 1, swapping, 1)
    # who is first on the grid in heat 0 of one is that in heat 1 of the other
    assert same(one[0], other[1][::-1])
    assert same(one[1], other[0][::-1])
    for a, b in zip(*one, strict=True):
        assert a.status == b.status == COMPLETE
        assert b.time_s < a.time_s
    # heat 0 has the slow car on the line in the outer lane, heat 1 behind it in the inner one
    assert one[0][0].time_s == pytest.approx(2 * math.pi * (RADIUS_M + LANE_M) / 1.8, rel=0.03)
    assert one[0][1].time_s == pytest.approx((2 * math.pi + GAP_M / RADIUS_M) * (RADIUS_M - LANE_M) / 1.8, rel=0.03)


@pytest.mark.parametrize("racers", [2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_the_grid_is_in_alternating_lanes_and_progress_counts_from_the_line(racers: int) -> None:
    race = watched(2, racers)
    laps = race_laps(race, [driver(2.2)] * racers, 1, EvaluationConfig(done_condition="all"), 3)
    assert all(lap.status == COMPLETE for rollouts in laps for lap in rollouts)
    for world in range(2):
        cars = race.grid[world * racers : (world + 1) * racers]
        shapes = [outline(*pose, LENGTH_M, WIDTH_M) for pose in cars]
        assert all(a.distance(b) > 0.05 for i, a in enumerate(shapes) for b in shapes[:i])
        for slot, (x, y, _) in enumerate(cars):
            behind_m = -math.remainder(math.atan2(y, x), 2 * math.pi) * RADIUS_M
            assert behind_m == pytest.approx(slot * GAP_M, abs=0.02)
            assert RADIUS_M - math.hypot(x, y) == pytest.approx(LANE_M if slot % 2 else -LANE_M, abs=0.08)
            first_pct = laps[slot][world].steps["progress_pct"][0]
            assert first_pct == pytest.approx(100.0 * (0.14 - behind_m) / race.track.length_m, abs=0.15)
            assert (first_pct < 0.0) == (slot > 0)


def test_a_penalty_is_served_on_the_track_while_the_other_drives_on() -> None:
    pair = [driver(2.2), driver(2.0)]
    race = watched(1, 2, object_positions=((0.5, 1),))
    (clean,), (hit,) = race_laps(race, pair, 1, STILL, 0)
    assert hit.status == clean.status == COMPLETE
    (at,) = np.flatnonzero(hit.steps["status"] == CRASHED)
    assert hit.steps["pause_s"][at : at + 46] == pytest.approx(3.0 - STEP_S * np.arange(46), abs=1e-9)
    assert hit.time_s == pytest.approx(len(hit) * STEP_S)
    # its clock goes with the world's: both have the same time as long as both drive
    for clocks in race.steps[: len(clean)]:
        assert clocks[0] == pytest.approx(clocks[1])
    # the other one does not notice: it drives as it would without the box
    (alone,), _ = race_laps(watched(1, 2), pair, 1, STILL, 0)
    assert np.array_equal(alone.steps, clean.steps)


def test_the_first_who_is_done_ends_the_race_unless_all_have_to_be() -> None:
    places = ((7.0, -5.0), (8.0, -5.0))
    for condition in ("any", "all"):
        config = STILL.model_copy(update={"done_condition": condition, "park_positions": places})
        race = watched(1, 2)
        (fast,), (slow,) = race_laps(race, [driver(2.4), driver(1.2)], 1, config, 0)
        assert fast.status == COMPLETE
        state = race.simulator.cars
        assert (state.x_m[0], state.y_m[0]) == places[0]
        if condition == "all":
            assert slow.status == COMPLETE
            assert (state.x_m[1], state.y_m[1]) == places[1]
        else:
            assert (slow.status, slow.truncated) == (EpisodeStatus.in_progress, False)
            assert len(slow) == len(fast)
            assert 40.0 < slow.progress_pct < 60.0


def test_who_drops_out_is_done_too() -> None:
    race = watched(1, 2, RaceRules(3_000, resets=0), object_positions=((0.25, 1),))
    (first,), (second,) = race_laps(race, [driver(2.0), driver(2.0)], 1, EvaluationConfig(), 0)
    assert (first.status, second.status) == (EpisodeStatus.in_progress, CRASHED)


def test_without_penalty_seconds_a_car_is_held_for_one_step() -> None:
    race = watched(1, 2, RaceRules(3_000, resets=5), object_positions=((0.5, 1),))
    _, (hit,) = race_laps(race, [driver(1.4), driver(2.2)], 1, STILL, 0)
    assert hit.status == COMPLETE
    assert (hit.steps["status"] == CRASHED).sum() == (hit.steps["status"] == EpisodeStatus.pause).sum() == 1


@pytest.mark.slow
def test_who_has_no_resets_left_drops_out_and_leaves_the_road() -> None:
    rules = RaceRules(3_000, resets=0)
    race = watched(2, 2, rules, object_positions=((0.5, 1),))
    swapping = STILL.model_copy(update={"change_grid": True})
    first, second = race_laps(race, [driver(2.0), driver(2.2)], 2, swapping, 0)
    # places change: the inner lane, with the box, is the second racer's in heat 0 and the first's in heat 1
    assert [(lap.episode, lap.status) for lap in first] == [(0, COMPLETE), (1, COMPLETE), (2, CRASHED)]
    assert [(lap.episode, lap.status) for lap in second] == [(0, CRASHED), (2, COMPLETE), (3, COMPLETE)]
    assert not race.track.on_road(race.simulator.cars.x_m, race.simulator.cars.y_m).any()


def test_flying_laps_of_a_race_add_up() -> None:
    race = watched(1, 2)
    laps = race_laps(race, [driver(2.0), driver(2.0)], 2, STILL, 0)
    for rollouts, lane in zip(laps, (-LANE_M, LANE_M), strict=True):
        assert [lap.episode for lap in rollouts] == [0, 1]
        whole = np.concatenate([lap.steps for lap in rollouts])
        moved = np.hypot(np.diff(whole["x_m"]), np.diff(whole["y_m"]))
        assert moved[20:] == pytest.approx(np.full(len(moved) - 20, 2.0 * RIM * STEP_S), rel=0.02)
        assert sum(lap.time_s for lap in rollouts) == pytest.approx(len(whole) * STEP_S)
        assert rollouts[1].time_s == pytest.approx(2 * math.pi * (RADIUS_M - lane) / (2.0 * RIM), abs=0.15)


@pytest.mark.slow
def test_a_rival_that_is_hit_from_behind_drives_on() -> None:
    # in flying laps it meets the slow one in the same lane, after the box has sent it there
    rules = RaceRules(3_000, resets=100, collision_penalty_s=3.0)
    race = watched(1, 2, rules, object_positions=((0.25, 1),))
    slow, fast = race_laps(race, [driver(0.8), driver(2.4)], 2, STILL, 0)
    crashes = sum(int((lap.steps["status"] == CRASHED).sum()) for lap in fast)
    assert crashes >= 2  # the box, then the slow car
    assert sum(int((lap.steps["status"] == EpisodeStatus.pause).sum()) for lap in fast) == 45 * crashes
    assert all((lap.steps["status"] != CRASHED).all() for lap in slow)
    assert [lap.status for lap in fast + slow] == [COMPLETE] * 4


def test_a_step_limit_ends_a_race_too() -> None:
    race = watched(1, 2, RaceRules(40, resets=5))
    laps = race_laps(race, [driver(1.5), driver(0.5)], 2, STILL, 0)
    assert [[(lap.status, lap.truncated, len(lap)) for lap in rollouts] for rollouts in laps] == [
        [(EpisodeStatus.time_up, True, 40)],
        [(EpisodeStatus.time_up, True, 40)],
    ]


def test_conditions_are_drawn_once_a_world() -> None:
    for ranges in (None, RandomizationConfig()):
        race = watched(2, 2, RaceRules(1))
        race_laps(race, [driver(2.5)] * 2, 1, EvaluationConfig(), 5, ranges)
        assert isinstance(race.simulator, PoseSimulator)
        drawn = race.simulator.conditions
        assert drawn.is_nominal.tolist() == [ranges is None] * 4
        for values in (drawn.seed, drawn.light, drawn.speed_gain):
            assert values[0] == values[1]
            assert values[2] == values[3]
        assert drawn.seed[0] != drawn.seed[2]


@pytest.mark.parametrize("width", [0.35, 0.48])
def test_a_road_too_narrow_for_two_abreast(width: float) -> None:
    narrow = Track("alley", ring(radius=3.0, width=width))
    race = watched(1, 2, track=narrow)
    abreast = STILL.model_copy(update={"start_pos_offset": 0.0})
    with pytest.raises(InputError, match=rf"track alley.*{width / 2:.2f} m from lane to lane(.|\n)*0\.25 m"):
        race_laps(race, [driver(1.0)] * 2, 1, abreast, 0)


def test_an_open_road_has_its_grid_after_its_beginning() -> None:
    x = np.arange(0.0, 12.5, 0.5)
    road = Track("straight", np.stack([x, 0 * x, x, 0 * x + 0.5, x, 0 * x - 0.5], axis=1))
    race = watched(1, 4, RaceRules(1), track=road)
    race_laps(race, [driver(1.0)] * 4, 1, STILL, 0)
    assert np.array(race.grid)[:, 0] == pytest.approx([2.25, 1.5, 0.75, 0.0])
    assert np.array(race.grid)[:, 1] == pytest.approx([-0.25, 0.25, -0.25, 0.25])
