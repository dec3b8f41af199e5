"""Head to head: the cars of different racers on one track, each with its own policy, sensors and actions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from contract.conditions import Conditions, RandomizationConfig
from contract.config import EvaluationConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.protocols import Phase, Policy, RolloutOrder
from contract.rollout import Rollout
from contract.state import Controls, EpisodeStatus
from contract.vehicle import WIDTH_M
from simapp.race import Race
from simapp.rollout import Drive, choose
from simapp.surroundings import width_at
from simapp.tracks import Track

ROW_M = 0.9
"""From one row of the starting grid to the next."""
BESIDE_M = 0.05
"""Least gap between two cars of a row."""


@dataclass(frozen=True, slots=True)
class Driver:
    """Who drives a racer's car in every world. World w holds the cars w * R + r, where r counts the R racers."""

    policy: Policy
    metadata: ModelMetadata


def race_laps(
    race: Race,
    racers: Sequence[Driver],
    laps: int,
    config: EvaluationConfig,
    seed: int,
    ranges: RandomizationConfig | None = None,
) -> list[list[Rollout]]:
    """Every car of every world drives `laps` laps in a row; each racer's rollouts, world by world and lap by lap.

    A car that has no resets left drops out; who drops out or is done leaves the track. All cars of a world share the
    conditions that are drawn from `ranges`; None is nominal.
    """
    driving = _line_up(race, len(racers), laps, config, seed, ranges)
    done: list[list[Rollout]] = [[] for _ in racers]
    order = RolloutOrder(Phase.evaluation, 0, 0, laps)
    tick = -1
    while driving:
        race.wait()
        tick += 1
        moves = [_moves(race, racer, _moving(race, driving, r, len(racers))) for r, racer in enumerate(racers)]
        cars = np.concatenate([move.cars for move in moves])
        if not cars.size:
            continue
        outcome = race.step(
            cars,
            Controls(
                np.concatenate([move.controls.steering_rad for move in moves]),
                np.concatenate([move.controls.speed_mps for move in moves]),
            ),
        )
        actions = [action for move in moves for action in move.actions]
        for k, car in enumerate(cars.tolist()):
            drive = driving[car]
            drive.actions.append(actions[k])
            drive.rows.append(outcome.rows[k])
            drive.ticks.append(tick)
            if outcome.things is not None:
                drive.things.append((outcome.things, k))
            if outcome.over[k]:
                lap = drive.finish(order, {}, bool(outcome.truncated[k]))
                done[car % len(racers)].append(lap)
                del driving[car]
                if lap.status == EpisodeStatus.lap_complete and (drive.episode + 1) % laps:
                    race.carry_on(car)
                    driving[car] = Drive(drive.episode + 1, drive.random)
                else:
                    race.finish(car)
    return [sorted(rollouts, key=lambda lap: lap.episode) for rollouts in done]


@dataclass(slots=True)
class _Moves:
    """What a racer does in all worlds: actions and controls of its cars (K,)."""

    cars: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    actions: list[np.ndarray] = field(default_factory=list)
    controls: Controls = field(default_factory=lambda: Controls(np.zeros(0), np.zeros(0)))


def _moving(race: Race, driving: dict[int, Drive], racer: int, racers: int) -> np.ndarray:
    return np.array([car for car in sorted(driving) if car % racers == racer and not race.waiting(car)], np.int64)


def _moves(race: Race, racer: Driver, cars: np.ndarray) -> _Moves:
    if not cars.size:
        return _Moves()
    actions = choose(racer.policy.distribution(race.simulator.observe(cars)), None)
    return _Moves(cars, list(actions), racer.metadata.actions.controls(actions))


def _line_up(
    race: Race,
    racers: int,
    laps: int,
    config: EvaluationConfig,
    seed: int,
    ranges: RandomizationConfig | None,
) -> dict[int, Drive]:
    """Put all cars on their world's grid: two a row, beginning with the left lane of the first row."""
    grid_m = _grid(race.track, (racers + 1) // 2, config)
    driving = {}
    for car in range(race.num_cars):
        race.finish(car)  # out of the way while the others line up
    for car in range(race.num_cars):
        world, racer = divmod(car, racers)
        slot = (racer + world) % racers  # sides change from heat to heat
        if racer == 0:
            race.furnish(car, np.random.default_rng([seed, world]), *grid_m)
        # the same scatter and conditions for all cars of a world, so that swapping sides swaps nothing else
        random = np.random.default_rng([seed, world, 1])
        sideways_m, turn_rad = random.normal(0.0, (config.start_jitter_m, math.radians(config.start_jitter_deg)))
        drawn = Conditions.nominal(1, random) if ranges is None else Conditions.drawn(ranges, random)
        race.simulator.vary(np.array([car]), drawn)
        lane_m = 0.25 * width_at(race.track, grid_m[slot // 2]) * (1 if slot % 2 == 0 else -1)
        race.start(car, grid_m[slot // 2], lane_m + sideways_m, turn_rad)
        driving[car] = Drive(world * laps, random)
    return driving


def _grid(track: Track, rows: int, config: EvaluationConfig) -> list[float]:
    """Centre-line distances of the rows of the starting grid; InputError where two cars have no room abreast."""
    first_m = config.start_position_offset % 1.0 * track.length_m
    if not track.closed:
        first_m = max(first_m, (rows - 1) * ROW_M)
    grid_m = [first_m - row * ROW_M for row in range(rows)]
    width_m = min(width_at(track, distance_m) for distance_m in grid_m)
    if 0.5 * width_m < WIDTH_M + BESIDE_M:
        raise InputError(
            f"track {track.name}",
            f"{width_m:.2f} m wide at the start",
            f"two cars of {WIDTH_M} m abreast would overlap: they need {2 * (WIDTH_M + BESIDE_M):.2f} m",
            "race on a wider track",
        )
    return grid_m
