"""The rollout loop: whole episodes in order, independent of how many cars drive side by side."""

import math

import numpy as np
import pytest

from contract.config import EvaluationConfig, TrainingConfig
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import EpisodeStatus, UInt8Array
from simapp.race import Race, RaceRules
from simapp.rollout import OngoingEpisode, choose, collect
from simapp.starts import round_robin, start_line
from tests.support import BlindSimulator, circle

METADATA = ModelMetadata.parse(
    '{"action_space": [{"steering_angle": 3, "speed": 1}, {"steering_angle": 20, "speed": 1},'
    ' {"steering_angle": -20, "speed": 2}], "sensor": ["FRONT_FACING_CAMERA"],'
    ' "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW", "version": "5"}'
)


class Fixed:
    """A policy that says the same whatever it sees."""

    def __init__(self, *probabilities: float) -> None:
        self.row = np.array(probabilities)

    def distribution(self, observations: dict[str, UInt8Array]) -> ActionDistribution:
        return ActionDistribution(probabilities=np.tile(self.row, (len(observations["FRONT_FACING_CAMERA"]), 1)))


def drive(num_cars: int, order: RolloutOrder, *probabilities: float, max_steps: int = 400) -> list[Rollout]:
    race = Race(BlindSimulator(num_cars), circle(), RaceRules(max_steps), [lambda params: 1.0] * num_cars)
    start = (
        round_robin(race, TrainingConfig(), EvaluationConfig())
        if order.phase == Phase.training
        else start_line(race, EvaluationConfig())
    )
    return collect(race, Fixed(*probabilities), METADATA, order, start, seed=4)


@pytest.mark.parametrize("num_cars", [1, 3, 20])
def test_episodes_do_not_depend_on_the_number_of_cars(num_cars: int) -> None:
    order = RolloutOrder(Phase.training, 2, first=5, count=8)
    expected, got = drive(8, order, 0.8, 0.1, 0.1), drive(num_cars, order, 0.8, 0.1, 0.1)
    assert [rollout.episode for rollout in got] == list(range(5, 13))
    for a, b in zip(expected, got, strict=True):
        assert np.array_equal(a.steps, b.steps)
        assert np.array_equal(a.actions, b.actions)
    assert len({len(rollout) for rollout in got}) > 1  # the episodes differ from each other


def test_training_keeps_what_the_policy_saw_and_moves_the_start_on() -> None:
    rollouts = drive(4, RolloutOrder(Phase.training, 0, 0, 4), 1.0, 0.0, 0.0)
    for rollout in rollouts:
        assert rollout.observations["FRONT_FACING_CAMERA"].shape == (len(rollout), 120, 160, 1)
        assert rollout.final["FRONT_FACING_CAMERA"].shape == (120, 160, 1)
        assert rollout.iteration == 0
    angles = [math.atan2(rollout.steps["y_m"][0], rollout.steps["x_m"][0]) for rollout in rollouts]
    assert np.diff(angles) == pytest.approx(2 * math.pi * 0.05, abs=1e-3)


def test_evaluation_takes_the_mode_and_scatters_the_start() -> None:
    rollouts = drive(5, RolloutOrder(Phase.evaluation, 0, 0, 5), 0.4, 0.35, 0.25)
    assert all((rollout.actions == 0).all() for rollout in rollouts)
    assert all(not rollout.observations for rollout in rollouts)
    first = np.array([rollout.steps["x_m"][0] for rollout in rollouts])
    assert 0.001 < first.std() < 0.1
    again = drive(5, RolloutOrder(Phase.evaluation, 0, 0, 5), 0.4, 0.35, 0.25)
    assert all(np.array_equal(a.steps, b.steps) for a, b in zip(rollouts, again, strict=True))


def test_only_the_step_limit_truncates() -> None:
    cut = drive(2, RolloutOrder(Phase.training, 0, 0, 2), 1.0, 0.0, 0.0, max_steps=30)
    assert all(rollout.truncated and rollout.status == EpisodeStatus.time_up for rollout in cut)
    ended = drive(2, RolloutOrder(Phase.training, 0, 0, 2), 0.0, 1.0, 0.0)
    assert all(not rollout.truncated and rollout.status == EpisodeStatus.off_track for rollout in ended)


class _Drive:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)


def test_sampled_actions_follow_the_probabilities() -> None:
    drives = [_Drive(seed) for seed in range(4_000)]
    said = ActionDistribution(probabilities=np.tile([0.2, 0.5, 0.0, 0.3], (4_000, 1)))
    counts = np.bincount(choose(said, drives), minlength=4) / 4_000  # type: ignore[arg-type]
    assert counts == pytest.approx([0.2, 0.5, 0.0, 0.3], abs=0.03)
    assert counts[2] == 0.0


def test_sampled_continuous_actions_have_mean_and_deviation() -> None:
    drives = [_Drive(seed) for seed in range(4_000)]
    said = ActionDistribution(mean=np.tile([0.3, -0.2], (4_000, 1)), deviation=np.tile([0.1, 0.5], (4_000, 1)))
    drawn = choose(said, drives)  # type: ignore[arg-type]
    assert drawn.mean(axis=0) == pytest.approx([0.3, -0.2], abs=0.03)
    assert drawn.std(axis=0) == pytest.approx([0.1, 0.5], abs=0.03)
    assert np.array_equal(choose(said, None), np.tile([0.3, -0.2], (4_000, 1)))


def test_e_greedy_takes_the_likeliest_but_for_its_share_of_random_actions() -> None:
    said = ActionDistribution(probabilities=np.tile([0.3, 0.5, 0.2], (20_000, 1)))
    drives = [OngoingEpisode(0, np.random.default_rng([9, k])) for k in range(20_000)]
    taken = np.bincount(choose(said, drives, epsilon=0.3), minlength=3) / 20_000
    np.testing.assert_allclose(taken, [0.1, 0.8, 0.1], atol=0.01)
