"""Where episodes start, and what the simulator's clock says then."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.config import EvaluationConfig, RaceConfig, TrainingConfig
from contract.state import STEP_S, Controls, EpisodeStatus
from contract.vehicle import FRONT_POINT_X_M
from simapp.race import Race, RaceRules
from simapp.starts import Start, _round_robin_m, between, round_robin, start_line
from tests.support import BlindSimulator, circle

ONE = np.array([0])
TRAINING = TrainingConfig(round_robin_advance_dist=0.1, start_position_offset=0.25, min_eval_trials=3)
STILL = EvaluationConfig(start_jitter_m=0.0, start_jitter_deg=0.0)
MOST = 40


def begun(start_of: Callable[[Race], Start], episode: int, turned: bool = False) -> tuple[float, float]:
    """Share of the lap at which an episode starts, and the reward function's first `sim_time`."""
    told: list[float] = []

    def reward(params: dict[str, object]) -> float:
        assert isinstance(params["sim_time"], float)
        told.append(params["sim_time"])
        return 1.0

    track = circle().reversed() if turned else circle()
    race = Race(BlindSimulator(1), track, RaceRules(MOST), [reward], turned)
    start_of(race)(0, episode, np.random.default_rng(0))
    for _ in range(2):
        row = race.step(ONE, Controls(np.zeros(1), np.ones(1))).rows[0]
    front_m = track.project(row["x_m"], row["y_m"]).distance_m[0]
    return (front_m - FRONT_POINT_X_M) / track.length_m % 1.0, told[0]


@pytest.mark.parametrize("turned", [False, True])
def test_an_evaluation_in_training_starts_where_the_next_training_episode_does(turned: bool) -> None:
    for trained in (7, 20):
        place, _ = begun(lambda race: round_robin(race, TRAINING, STILL), trained, turned)
        assert place == pytest.approx((0.25 + 0.1 * trained) % 1.0, abs=1e-3)
        for trial in range(3):
            number = 30 + trial
            found, _ = begun(partial(between, config=TRAINING, scatter=STILL, trained=trained), number, turned)
            assert found == pytest.approx(place, abs=1e-9)
    # of several worlds each has its own round
    assert begun(lambda race: between(race, TRAINING, STILL, 14, 2), 0)[0] == pytest.approx(0.95, abs=1e-3)


def test_a_share_of_the_episodes_starts_at_the_line_and_the_others_go_round_all_the_same() -> None:
    half = TRAINING.model_copy(update={"start_line_share": 0.5})
    places = [begun(lambda race: round_robin(race, half, STILL), episode)[0] for episode in range(8)]
    assert places == pytest.approx([0.25, 0.25, 0.25, 0.35, 0.25, 0.45, 0.25, 0.55], abs=1e-3)
    # an evaluation between iterations begins where the next training episode would
    for trained in (5, 6):
        found, _ = begun(lambda race, trained=trained: between(race, half, STILL, trained), 0)  # type: ignore[misc]
        assert found == pytest.approx(places[trained], abs=1e-9)
    # either direction has its own
    both = half.model_copy(update={"alternate_driving_direction": True})
    places = [begun(lambda race: round_robin(race, both, STILL), episode)[0] for episode in range(8)]
    assert places == pytest.approx([0.25, 0.25, 0.25, 0.35, 0.25, 0.25, 0.45, 0.55], abs=1e-3)
    # of two worlds each has a first one there
    assert begun(lambda race: round_robin(race, half, STILL, 2), 3)[0] == pytest.approx(0.25, abs=1e-3)


def test_what_starts_at_the_line_is_scattered_as_laps_of_an_evaluation_are() -> None:
    wide, third = EvaluationConfig(start_jitter_m=0.05), TrainingConfig(start_line_share=1 / 3)

    def first_pose(start_of: Callable[[Race], Start], episode: int) -> tuple[float, float]:
        race = Race(BlindSimulator(1), circle(), RaceRules(MOST), [lambda params: 1.0])
        start_of(race)(0, episode, np.random.default_rng(5))
        row = race.step(ONE, Controls(np.zeros(1), np.zeros(1))).rows[0]
        return float(row["x_m"]), float(row["y_m"])

    by_an_evaluation = first_pose(lambda race: start_line(race, wide), 0)
    at_the_line = [first_pose(lambda race: round_robin(race, third, wide), episode) for episode in (0, 3)]
    assert at_the_line == [by_an_evaluation, by_an_evaluation]
    assert first_pose(lambda race: round_robin(race, third, wide), 1) == first_pose(
        lambda race: round_robin(race, TrainingConfig(), wide), 0
    )


@given(st.floats(0.0, 1.0), st.integers(1, 60))
def test_of_any_number_of_episodes_the_share_starts_at_the_line(share: float, count: int) -> None:
    """Never more than one from it, and with positions a seventh of a lap apart told by where they start."""
    config = TrainingConfig(start_line_share=share, round_robin_advance_dist=1 / 7)
    course = circle()
    places = [_round_robin_m(config, course, episode) / course.length_m for episode in range(count)]
    moving = [round(place * 7) % 7 for place in places if place > 1e-6]
    assert moving == [turn % 7 for turn in range(1, 400) if turn % 7][: len(moving)], "each place in turn"
    at_line = sum(place <= 1e-6 for place in places)
    rounds = len(moving) // 6 + 2  # the round itself comes by the line
    assert count * share - 1 <= at_line <= count * share + 1 + rounds


def test_an_evaluation_of_its_own_starts_at_the_line() -> None:
    for trial in range(3):
        assert (begun(lambda race: start_line(race, STILL), trial)[0] + 0.5) % 1.0 == pytest.approx(0.5, abs=1e-3)


def test_the_simulators_clock_runs_on_from_episode_to_episode() -> None:
    """Whoever drives which: training episodes and the evaluations between them, each after the longest before it."""
    clocks = [begun(lambda race: round_robin(race, TRAINING, STILL), episode)[1] for episode in (0, 1)]
    clocks += [begun(lambda race: between(race, TRAINING, STILL, 2), trial)[1] for trial in range(3)]
    clocks += [begun(lambda race: round_robin(race, TRAINING, STILL), episode)[1] for episode in (2, 3)]
    assert all(np.diff(clocks) > MOST * STEP_S)
    assert clocks[0] == pytest.approx(STEP_S)  # the first call is in step 2
    laps = [begun(lambda race: start_line(race, STILL), trial)[1] for trial in range(3)]
    assert all(np.diff(laps) > MOST * STEP_S)


@pytest.mark.parametrize("lane", [1, -1])
def test_evaluations_look_for_room_at_the_start_only_where_the_run_says_so(lane: int) -> None:
    """A box in either lane at the line reaches the middle of the road; by hand: 0.2 m of box and 0.1 m of car."""

    def starts(start_of: Callable[[Race], Start]) -> tuple[float, int]:
        config = RaceConfig(race_type="OBJECT_AVOIDANCE", object_positions=((0.0, lane),))  # type: ignore[arg-type]
        race = Race(BlindSimulator(1), circle(), RaceRules(MOST), [lambda params: 1.0], config=config)
        start_of(race)(0, 0, np.random.default_rng(0))
        for _ in range(2):
            row = race.step(ONE, Controls(np.zeros(1), np.ones(1))).rows[0]
        return float(race.track.project(row["x_m"], row["y_m"]).offset_m[0]), int(row["status"])

    looking = STILL.model_copy(update={"start_beside": True})
    at_line = TRAINING.model_copy(update={"start_position_offset": 0.0})
    for begin in (
        lambda race: start_line(race, looking),
        lambda race: between(race, at_line, looking, 0),
        lambda race: round_robin(race, at_line, STILL),
    ):
        offset_m, status = starts(begin)
        assert status == EpisodeStatus.in_progress
        assert offset_m * lane < -0.1
    for begin in (lambda race: start_line(race, STILL), lambda race: between(race, at_line, STILL, 0)):
        offset_m, status = starts(begin)
        assert status == EpisodeStatus.crashed
        assert abs(offset_m) < 0.02
