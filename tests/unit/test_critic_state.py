"""The simulator's state as a critic reads it, and its way into rollouts and over the wire."""

import math
from dataclasses import replace

import numpy as np
import pytest

from contract.config import RaceConfig
from contract.errors import WireError
from contract.learning import CRITIC_STATE, CRITIC_STATE_SIZE
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import Observations
from contract.vehicle import FRONT_POINT_X_M
from contract.wire import RolloutRules, read_worker_message, rollout_of, rollout_to_bytes
from simapp.critic_state import AHEAD_M
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from tests.stock_coach import metadata
from tests.support import RADIUS_M, WIDTH_M, BlindSimulator, circle

MODEL: ModelMetadata = metadata()
OFFSET, HALF, SIN, COS, SPEED = range(5)
AHEAD = 15 + 8


class _Straight:
    def distribution(self, observations: Observations) -> ActionDistribution:
        return ActionDistribution(
            probabilities=np.tile([0.0, 0.0, 0.0, 1.0, 0.0], (len(observations[CRITIC_STATE]), 1))
        )


def race(cars: int = 1, config: RaceConfig | None = None) -> Race:
    rewards = [lambda params: 1.0] * cars
    return Race(BlindSimulator(cars), circle(), RaceRules(30), rewards, config=config or RaceConfig(), with_state=True)


def state(it: Race, distance_m: float, offset_m: float = 0.0, turn_rad: float = 0.0) -> np.ndarray:
    it.start(0, distance_m, offset_m, turn_rad)
    return np.asarray(it.observe(np.array([0]))[CRITIC_STATE][0])


def driven(cars: int, order: RolloutOrder) -> list[Rollout]:
    it = race(cars)

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        it.start(car, 1.0 + episode)

    return collect(it, _Straight(), MODEL, order, start, seed=1)


def test_it_tells_where_the_car_is_on_the_road() -> None:
    found = state(race(), 2.0, offset_m=0.1)
    assert found.dtype == np.float32 and found.shape == (CRITIC_STATE_SIZE,)
    # the front point lies on the tangent of a circle around the centre line's
    front_m = math.hypot(RADIUS_M - 0.1, FRONT_POINT_X_M)
    assert found[OFFSET] * WIDTH_M / 2 == pytest.approx(RADIUS_M - front_m, abs=2e-3)
    assert found[HALF] == pytest.approx(WIDTH_M / 2, abs=1e-3)
    behind_rad = math.atan(FRONT_POINT_X_M / (RADIUS_M - 0.1))
    assert found[SIN] == pytest.approx(math.sin(-behind_rad), abs=0.02)
    assert found[SPEED] == 0.0
    turned = state(race(), 2.0, turn_rad=0.3)
    assert math.atan2(turned[SIN], turned[COS]) == pytest.approx(0.3 - math.atan(FRONT_POINT_X_M / RADIUS_M), abs=0.03)


def test_the_road_ahead_is_in_the_cars_frame_and_the_same_all_round_a_circle() -> None:
    count = len(AHEAD_M)
    first, later = state(race(), 1.0)[AHEAD : AHEAD + 4 * count], state(race(), 9.0)[AHEAD : AHEAD + 4 * count]
    assert first == pytest.approx(later, abs=0.02)
    along, left, sin, cos = first.reshape(4, count)
    angle = AHEAD_M / RADIUS_M + math.atan(FRONT_POINT_X_M / RADIUS_M)
    assert along * AHEAD_M == pytest.approx(RADIUS_M * np.sin(angle) - FRONT_POINT_X_M, abs=0.03)
    assert left * AHEAD_M == pytest.approx(RADIUS_M * (1.0 - np.cos(angle)), abs=0.03)
    assert np.unwrap(np.arctan2(sin, cos)) == pytest.approx(angle, abs=0.03)


def test_the_place_on_the_lap_tells_circles_apart_that_look_alike() -> None:
    places = np.stack([state(race(), distance)[15:23] for distance in (1.0, 5.0, 9.0)])
    assert min(np.abs(a - b).max() for a, b in ((places[0], places[1]), (places[1], places[2]))) > 0.3


def test_what_stands_ahead_is_in_it_the_nearest_first() -> None:
    boxes = RaceConfig(race_type="OBJECT_AVOIDANCE", object_positions=((0.3, 1), (0.5, -1)), number_of_obstacles=2)
    it = race(config=boxes)
    it.furnish(0, np.random.default_rng(0), 0.0)
    found = state(it, 1.0)[-12:].reshape(3, 4)
    assert found[0, 0] > found[1, 0] > 0.0 and found[2].tolist() == [0.0] * 4
    assert found[0, 1] > 0.0 > found[1, 1], "the inner lane is the left one"
    assert np.abs(state(race(), 1.0)[-12:]).max() == 0.0


def test_rollouts_hold_it_beside_what_is_seen_and_the_wire_checks_it() -> None:
    rollouts, alone = driven(2, RolloutOrder(Phase.training, 0, 0, 3)), driven(1, RolloutOrder(Phase.training, 0, 1, 1))
    for rollout in rollouts:
        states = rollout.observations[CRITIC_STATE]
        assert (
            states.shape == (len(rollout), CRITIC_STATE_SIZE) and rollout.final[CRITIC_STATE].shape == states[0].shape
        )
        assert np.isfinite(states).all() and np.abs(states).max() < 8.0
        assert states[0, SPEED] == 0.0 < states[5, SPEED]
    assert np.array_equal(rollouts[1].observations[CRITIC_STATE], alone[0].observations[CRITIC_STATE])
    rules = RolloutRules.of(MODEL, 100, with_state=True)
    message, body = read_worker_message(rollout_to_bytes(rollouts[0], "a" * 16, 1, "b" * 64), rules.most_bytes)
    got = rollout_of(message, body, rules)  # type: ignore[arg-type]
    assert np.array_equal(got.observations[CRITIC_STATE], rollouts[0].observations[CRITIC_STATE])
    seen = {name: values for name, values in rollouts[0].observations.items() if name != CRITIC_STATE}
    without = replace(rollouts[0], observations=seen)
    message, body = read_worker_message(rollout_to_bytes(without, "a" * 16, 1, "b" * 64), rules.most_bytes)
    with pytest.raises(WireError):
        rollout_of(message, body, rules)  # type: ignore[arg-type]
