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
from contract.vehicle import LENGTH_M, WIDTH_M
from simapp.race import Race
from simapp.rollout import Drive, choose
from simapp.surroundings import lane_offsets
from simapp.tracks import Track

BESIDE_M = 0.05
"""Least gap between two cars side by side."""


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

    A car that has no resets left drops out. With the first car of a world that is done its race is over, and the
    others' laps end where they are; with DONE_CONDITION all it goes on until all are done, and who is done is parked.
    All cars of a world share the conditions that are drawn from `ranges`; None is nominal.
    """
    driving = _line_up(race, len(racers), laps, config, seed, ranges)
    done: list[list[Rollout]] = [[] for _ in racers]
    order = RolloutOrder(Phase.evaluation, 0, 0, laps)
    parked = dict.fromkeys(range(race.num_cars // len(racers)), 0)
    tick = -1

    def ends(car: int) -> Rollout:
        drive = driving.pop(car)
        lap = drive.finish(order, {}, bool(drive.rows[-1]["status"] == EpisodeStatus.time_up))
        done[car % len(racers)].append(lap)
        return lap

    while driving:
        tick += 1
        moves = [_moves(race, racer, _moving(driving, r, len(racers))) for r, racer in enumerate(racers)]
        cars = np.concatenate([move.cars for move in moves])
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
        for car in cars[outcome.over].tolist():
            if car not in driving:
                continue  # the race of its world ended with another car in this very step
            world, random = car // len(racers), driving[car].random
            lap = ends(car)
            if lap.status == EpisodeStatus.lap_complete and (lap.episode + 1) % laps:
                race.carry_on(car)
                driving[car] = Drive(lap.episode + 1, random)
                continue
            places = config.park_positions
            race.park(car, places[parked[world]] if parked[world] < len(places) else None)
            parked[world] += 1
            if config.done_condition == "any":
                for other in [it for it in driving if it // len(racers) == world]:
                    ends(other)
                    race.park(other)
    return [sorted(rollouts, key=lambda lap: lap.episode) for rollouts in done]


@dataclass(slots=True)
class _Moves:
    """What a racer does in all worlds: actions and controls of its cars (K,)."""

    cars: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    actions: list[np.ndarray] = field(default_factory=list)
    controls: Controls = field(default_factory=lambda: Controls(np.zeros(0), np.zeros(0)))


def _moving(driving: dict[int, Drive], racer: int, racers: int) -> np.ndarray:
    return np.array([car for car in sorted(driving) if car % racers == racer], np.int64)


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
    """Put all cars on their world's grid; progress counts from the line that the first of them stands on."""
    grid = _grid(race.track, racers, config)
    line_m = grid[0][0]
    driving = {}
    for car in range(race.num_cars):
        race.park(car)  # out of the way while the others line up
    for car in range(race.num_cars):
        world, racer = divmod(car, racers)
        slot = (racer + world) % racers if config.change_grid else racer
        if racer == 0:
            race.furnish(car, np.random.default_rng([seed, world]), *(distance_m for distance_m, _ in grid))
        # the same scatter and conditions for all cars of a world: another place on the grid changes nothing else
        random = np.random.default_rng([seed, world, 1])
        sideways_m, turn_rad = random.normal(0.0, (config.start_jitter_m, math.radians(config.start_jitter_deg)))
        drawn = Conditions.nominal(1, random) if ranges is None else Conditions.drawn(ranges, random)
        race.simulator.vary(np.array([car]), drawn)
        distance_m, lane_m = grid[slot]
        race.start(car, distance_m, lane_m + sideways_m, turn_rad, line_m=line_m, beside=config.start_beside)
        driving[car] = Drive(world * laps, random)
    return driving


def _grid(track: Track, racers: int, config: EvaluationConfig) -> list[tuple[float, float]]:
    """Where each car of the grid stands: distance along the centre line, and left of it.

    As in AWS's simulator (rollout_agent_ctrl.py `_start_lane_`, track_geom/utils.py `get_start_positions`) each is
    START_POS_OFFSET behind the one before, the first in the outer lane, the second in the inner one, and so on.
    InputError where two cars side by side have no room.
    """
    gap_m = config.start_pos_offset
    first_m = config.start_position_offset % 1.0 * track.length_m
    if not track.closed:
        first_m = max(first_m, (racers - 1) * gap_m)
    inner_is_left = track.direction != "cw"
    grid = []
    for slot in range(racers):
        distance_m = first_m - slot * gap_m
        left_m, right_m = lane_offsets(track, distance_m)
        grid.append((distance_m, left_m if (slot % 2 == 1) == inner_is_left else right_m))
        if gap_m < LENGTH_M and left_m - right_m < WIDTH_M + BESIDE_M:
            raise InputError(
                f"track {track.name}",
                f"{left_m - right_m:.2f} m from lane to lane at the start",
                f"cars of {WIDTH_M} m side by side (START_POS_OFFSET {gap_m:g}) need {WIDTH_M + BESIDE_M:.2f} m",
                f"set START_POS_OFFSET to {LENGTH_M:.2f} or more, or race on a wider track",
            )
    return grid
