"""How episodes begin: where, on which course, under which conditions."""

import math
from collections.abc import Callable

import numpy as np

from contract.conditions import Conditions, RandomizationConfig
from contract.config import EvaluationConfig, TrainingConfig
from contract.state import STEP_S
from simapp.race import Race
from simapp.road import Track

Start = Callable[[int, int, np.random.Generator], None]
"""Begins an episode: (car, episode, the episode's own random numbers)."""


def round_robin(race: Race, config: TrainingConfig, scatter: EvaluationConfig, worlds: int = 1) -> Start:
    """The start moves on by ROUND_ROBIN_ADVANCE_DIST of the lap each episode; open tracks always start at row 0.

    START_LINE_SHARE of the episodes begin where the first one does, scattered as `start_line` does. Of several worlds
    each has its own round, since every so many-th episode drives there.
    """

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        turn, clock_s = episode // worlds, _clock_s(race, episode * (config.min_eval_trials + 1))
        distance_m = _round_robin_m(config, race.track, turn)
        race.furnish(car, random, distance_m)
        if _is_at_start_line(config, turn):
            race.start(car, distance_m, *_scattered(scatter, random), clock_s)
        else:
            race.start(car, distance_m, clock_s=clock_s)

    return start


def between(race: Race, config: TrainingConfig, scatter: EvaluationConfig, trained: int, worlds: int = 1) -> Start:
    """An evaluation after `trained` training episodes: all trials start where the next training episode does, as in
    AWS's simulator (rollout_agent_ctrl.py `_get_car_start_model_state`, `finish_episode`), and scattered as
    `start_line` does, since they would else be one and the same drive."""

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        distance_m = _round_robin_m(config, race.track, trained // worlds)
        trials = config.min_eval_trials
        race.furnish(car, random, distance_m)
        clock_s = _clock_s(race, trained * (trials + 1) - trials + episode % trials)
        race.start(car, distance_m, *_scattered(scatter, random), clock_s, beside=scatter.start_beside)

    return start


def start_line(race: Race, config: EvaluationConfig) -> Start:
    """At START_POSITION_OFFSET, scattered sideways and in heading as a car put down by hand is."""

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        scatter = _scattered(config, random)
        distance_m = config.start_position_offset % 1.0 * race.track.length_m
        race.furnish(car, random, distance_m)
        race.start(car, distance_m, *scatter, _clock_s(race, episode), beside=config.start_beside)

    return start


def _round_robin_m(config: TrainingConfig, track: Track, episode: int) -> float:
    """Centre-line distance at which a training's episode starts."""
    advance = 0.0
    if config.change_start_position and track.closed and not _is_at_start_line(config, episode):
        advance = (episode - _at_start_line(config, episode)) * config.round_robin_advance_dist
    return (config.start_position_offset + advance) % 1.0 * track.length_m


def _at_start_line(config: TrainingConfig, episodes: int) -> int:
    """How many of the first `episodes` begin at the start line by START_LINE_SHARE, the very first one among them; with
    ALTERNATE_DRIVING_DIRECTION as many of either direction's."""
    share, ways = config.start_line_share, 2 if config.alternate_driving_direction else 1
    rounds, more = divmod(episodes, ways)
    before, after = math.ceil(rounds * share), math.ceil((rounds + 1) * share)
    return ways * before + more * (after - before)


def _is_at_start_line(config: TrainingConfig, episode: int) -> bool:
    return _at_start_line(config, episode + 1) > _at_start_line(config, episode)


def _scattered(config: EvaluationConfig, random: np.random.Generator) -> tuple[float, float]:
    """Metres to the left, and radians."""
    sideways_m, turn_rad = random.normal(0.0, (config.start_jitter_m, math.radians(config.start_jitter_deg)))
    return float(sideways_m), float(turn_rad)


def _clock_s(race: Race, turn: int) -> float:
    """The simulator's clock at the start of an episode. Like `sim_time` in AWS's simulator it goes on from episode to
    episode: each turn has the time that the longest may take, so that it does not matter who drives beside whom."""
    return turn * (race.rules.max_steps + 1) * STEP_S


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
