"""Head to head: the cars of different racers on one track, each with its own policy, sensors and actions."""

import math
from collections.abc import Sequence

import numpy as np

from contract.conditions import Conditions, RandomizationConfig
from contract.config import EvaluationConfig
from contract.errors import InputError
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from contract.vehicle import LENGTH_M, WIDTH_M
from simapp.nearby import lane_offsets
from simapp.race import Race
from simapp.road import Track
from simapp.rollout import OngoingEpisode, Racer, drive

BESIDE_M = 0.05
"""Least gap between two cars side by side."""


def race_laps(
    race: Race,
    racers: Sequence[Racer],
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

    def finish(car: int) -> Rollout:
        episode = driving.pop(car)
        is_cut = bool(episode.rows[-1]["status"] == EpisodeStatus.time_up)
        done[car % len(racers)].append(episode.finish(order, {}, is_cut, ticked=True))
        return done[car % len(racers)][-1]

    def end(car: int, truncated: bool) -> None:
        world, random = car // len(racers), driving[car].random
        lap = finish(car)
        if lap.status == EpisodeStatus.lap_complete and (lap.episode + 1) % laps:
            race.carry_on(car)
            driving[car] = OngoingEpisode(lap.episode + 1, random)
            return
        places = config.park_positions
        race.park(car, places[parked[world]] if parked[world] < len(places) else None)
        parked[world] += 1
        if config.done_condition == "any":
            for other in [it for it in driving if it // len(racers) == world]:
                finish(other)
                race.park(other)

    drive(race, racers, driving, order, end)
    return [sorted(rollouts, key=lambda lap: lap.episode) for rollouts in done]


def _line_up(
    race: Race,
    racers: int,
    laps: int,
    config: EvaluationConfig,
    seed: int,
    ranges: RandomizationConfig | None,
) -> dict[int, OngoingEpisode]:
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
        driving[car] = OngoingEpisode(world * laps, random)
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
