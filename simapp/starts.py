"""How episodes begin: where, on which course, under which conditions."""

import math
from collections.abc import Callable

import numpy as np

from contract.conditions import Conditions, RandomizationConfig
from contract.config import EvaluationConfig, TrainingConfig
from simapp.race import Race

Start = Callable[[int, int, np.random.Generator], None]
"""Begins an episode: (car, episode, the episode's own random numbers)."""


def round_robin(race: Race, config: TrainingConfig, worlds: int = 1) -> Start:
    """The start moves on by ROUND_ROBIN_ADVANCE_DIST of the lap each episode; open tracks always start at row 0.

    Of several worlds each has its own round, since every so many-th episode drives there.
    """
    moves = config.change_start_position and race.track.closed

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        advance = episode // worlds * config.round_robin_advance_dist if moves else 0.0
        distance_m = (config.start_position_offset + advance) % 1.0 * race.track.length_m
        race.furnish(car, random, distance_m)
        race.start(car, distance_m)

    return start


def start_line(race: Race, config: EvaluationConfig) -> Start:
    """At START_POSITION_OFFSET, scattered sideways and in heading as a car put down by hand is."""

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        sideways_m, turn_rad = random.normal(0.0, (config.start_jitter_m, math.radians(config.start_jitter_deg)))
        distance_m = config.start_position_offset % 1.0 * race.track.length_m
        race.furnish(car, random, distance_m)
        race.start(car, distance_m, sideways_m, turn_rad)

    return start


def flying(race: Race, first: Start) -> Start:
    """IS_CONTINUOUS: after a complete lap the next one begins as the car drives; `first` begins all others. For one
    call of `collect`."""
    begun: set[int] = set()

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        if car in begun and race.has_completed_lap(car):
            race.carry_on(car)
        else:
            first(car, episode, random)
        begun.add(car)

    return start


def conditioned(race: Race, ranges: RandomizationConfig | None, first: Start) -> Start:
    """Draws the car's conditions for each episode before `first` begins it; without ranges they are nominal."""

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        drawn = Conditions.nominal(1, random) if ranges is None else Conditions.drawn(ranges, random)
        race.simulator.vary(np.array([car]), drawn)
        first(car, episode, random)

    return start
