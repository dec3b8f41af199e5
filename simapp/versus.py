"""Head to head: the cars of different racers on one track, each with its own policy, sensors and actions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from contract.config import EvaluationConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.protocols import Phase, Policy, RolloutOrder
from contract.rollout import Rollout
from contract.state import Controls, EpisodeStatus
from contract.vehicle import WIDTH_M
from simapp.race import Race
from simapp.rollout import Drive, choose

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
    race: Race, racers: Sequence[Driver], laps: int, config: EvaluationConfig, seed: int
) -> list[list[Rollout]]:
    """Every car of every world drives `laps` laps in a row; each racer's rollouts, world by world and lap by lap.

    A car that has no resets left drops out; who drops out or is done leaves the track.
    """
    driving = _line_up(race, len(racers), laps, config, seed)
    done: list[list[Rollout]] = [[] for _ in racers]
    order = RolloutOrder(Phase.evaluation, 0, 0, laps)
    while driving:
        race.wait()
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


def _line_up(race: Race, racers: int, laps: int, config: EvaluationConfig, seed: int) -> dict[int, Drive]:
    """Put all cars on their world's grid: two a row, beginning with the left lane of the first row."""
    start_m = config.start_position_offset % 1.0 * race.track.length_m
    width_m = float(race.track.project(*race.track.route[:1, :2].T).width_m[0])
    if 0.5 * width_m < WIDTH_M + BESIDE_M:
        raise InputError(
            f"track {race.track.name}",
            f"{width_m:.2f} m wide at the start",
            f"two cars of {WIDTH_M} m abreast would overlap: they need {2 * (WIDTH_M + BESIDE_M):.2f} m",
            "race on a wider track",
        )
    driving = {}
    for car in range(race.num_cars):
        race.finish(car)  # out of the way while the others line up
    for car in range(race.num_cars):
        world, racer = divmod(car, racers)
        slot = (racer + world) % racers  # sides change from heat to heat
        if racer == 0:
            grid_m = (start_m - row * ROW_M for row in range((racers + 1) // 2))
            race.furnish(car, np.random.default_rng([seed, world]), *grid_m)
        # the same scatter for all cars of a world, so that swapping sides swaps nothing else
        random = np.random.default_rng([seed, world, 1])
        sideways_m, turn_rad = random.normal(0.0, (config.start_jitter_m, math.radians(config.start_jitter_deg)))
        lane_m = 0.25 * width_m * (1 if slot % 2 == 0 else -1)
        race.start(car, start_m - slot // 2 * ROW_M, lane_m + sideways_m, turn_rad)
        driving[car] = Drive(world * laps, random)
    return driving
