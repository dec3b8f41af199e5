"""Rollouts with made-up but plausible numbers, for tests of what is written from rollouts."""

from collections.abc import Sequence

import numpy as np

from contract.rollout import Rollout
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus


def drive(
    episode: int,
    end: EpisodeStatus,
    *,
    length: int = 30,
    progress_pct: float = 40.0,
    iteration: int = 0,
    continuous: bool = False,
    reward: float = 0.75,
) -> Rollout:
    """An episode round a circle of 3 m, different for every episode number."""
    random = np.random.default_rng([7, episode])
    angle = np.linspace(0.0, 2.0 * np.pi * progress_pct / 100.0, length)
    steps = np.zeros(length, STEP_DTYPE)
    steps["x_m"], steps["y_m"] = 3.0 * np.cos(angle), 3.0 * np.sin(angle) + 0.1 * random.random(length)
    steps["heading_rad"] = (angle + 1.5 * np.pi) % (2.0 * np.pi) - np.pi
    steps["steering_rad"] = random.uniform(-0.5, 0.5, length)
    steps["speed_mps"] = random.uniform(0.1, 4.0, length)
    steps["reward"] = reward
    steps["progress_pct"] = np.linspace(progress_pct / length, progress_pct, length)
    steps["closest_waypoint"] = np.arange(length)
    steps["all_wheels_on_track"] = random.random(length) < 0.9
    steps["status"] = EpisodeStatus.in_progress
    steps["status"][0] = EpisodeStatus.prepare
    steps["status"][-1] = end
    steps["time_s"] = STEP_S * np.arange(1, length + 1)
    actions = random.uniform(-1.0, 1.0, (length, 2)) if continuous else random.integers(0, 14, length)
    return Rollout(episode, iteration, {}, {}, actions, steps, truncated=end is EpisodeStatus.time_up)


def made_up(iteration: int, ends: Sequence[EpisodeStatus], continuous: bool = False) -> list[Rollout]:
    """An iteration of an episode for each end; lengths and progress differ."""
    return [
        drive(
            len(ends) * iteration + k,
            end,
            length=20 + 5 * k + iteration,
            progress_pct=100.0 if end is EpisodeStatus.lap_complete else 10.0 * (k + 1) + iteration,
            iteration=iteration,
            continuous=continuous,
        )
        for k, end in enumerate(ends)
    ]
