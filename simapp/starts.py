"""Where episodes start: round robin in training, the start line with a little scatter in evaluations."""

import math
from collections.abc import Callable

import numpy as np

from contract.config import EvaluationConfig, TrainingConfig
from simapp.race import Race

Start = Callable[[int, int, np.random.Generator], None]
"""Begins an episode: (car, episode, the episode's own random numbers)."""


def round_robin(race: Race, config: TrainingConfig) -> Start:
    """The start moves on by ROUND_ROBIN_ADVANCE_DIST of the lap each episode; open tracks always start at row 0."""
    moves = config.change_start_position and race.track.closed

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        advance = episode * config.round_robin_advance_dist if moves else 0.0
        race.start(car, (config.start_position_offset + advance) % 1.0 * race.track.length_m)

    return start


def start_line(race: Race, offset: float, config: EvaluationConfig) -> Start:
    """At `offset` (fraction of the lap), scattered sideways and in heading as a car put down by hand is."""

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        sideways_m, turn_rad = random.normal(0.0, (config.start_jitter_m, math.radians(config.start_jitter_deg)))
        race.start(car, offset % 1.0 * race.track.length_m, sideways_m, turn_rad)

    return start
