"""An action space for a lap: the commands of the time-optimal one, gathered into a few, and what that costs.

The lap's commands are clustered in steering and speed, each point weighted by the time that is spent there (weighted
k-means: Lloyd, Least squares quantization in PCM, 1982; seeds after Arthur and Vassilvitskii, k-means++, 2007). What N
actions cost is found by driving: a beam search with the simulator's own vehicle over all sequences of actions, which
keeps the cars that are furthest along the lap and nearest to its line.
"""

from dataclasses import dataclass

import numpy as np

from contract.errors import InputError
from contract.metadata import MAX_ACTIONS, MAX_STEERING_DEG, MIN_ACTIONS, ContinuousActions, DiscreteActions
from contract.state import STEP_S, CarBatch, Controls, FloatArray, IntArray
from contract.vehicle import MAX_SPEED_MPS, MIN_SPEED_MPS
from simapp.params import wheels_on_road
from simapp.tracks import Track, heading_difference
from simapp.vehicle import Makes, drive_cars
from undercut.line.driver import Reference, centre_x_m
from undercut.line.profile import RacingLine

SCALE = np.array([15.0, 1.0])
"""Degrees of steering and m/s of speed that count alike when commands are compared."""
STRAIGHT_DEG = 3.0
"""Commands of less steering are straight on, where actions are mirrored."""
BEAM = 200
"""Cars that are kept each step."""
STRAY_S = (0.03, 0.1)
"""What a car that strays from the line by the unit of each is taken to lose, in seconds: one search with each."""
_DRAWS = 12
_GRID = (0.5, 0.05)
"""Actions are whole multiples of this many degrees and m/s."""


def action_space(line: RacingLine, count: int | None, mirrored: bool = False) -> DiscreteActions | ContinuousActions:
    """`count` actions for the line, or with None the ranges that hold all its commands. InputError for a count that
    no model_metadata.json has."""
    commands = np.column_stack([np.degrees(line.command_rad), line.command_mps])
    if count is None:
        return ranges(commands, mirrored)
    if not MIN_ACTIONS <= count <= MAX_ACTIONS:
        rule = f"{MIN_ACTIONS} to {MAX_ACTIONS} actions, as the console's form has them"
        raise InputError("--count", count, rule, f"choose one of {MIN_ACTIONS} to {MAX_ACTIONS}")
    return clustered(commands, np.diff(line.time_s), count, mirrored)


def clustered(commands: FloatArray, seconds: FloatArray, count: int, mirrored: bool) -> DiscreteActions:
    """`count` actions, MIN_ACTIONS to MAX_ACTIONS, from commands (K, 2) in degrees and m/s that hold for seconds (K,).

    `mirrored` gives each action to the left its twin to the right, so that a policy has what the other direction needs.
    Fewer come back where the lap has no more different commands. Sorted by steering, then speed.
    """
    if mirrored:
        centres = _mirrored(commands, seconds, count)
    else:
        centres = _clusters(commands, seconds, count)
    centres = np.round(centres / _GRID) * _GRID
    centres = np.clip(centres, [-MAX_STEERING_DEG, MIN_SPEED_MPS], [MAX_STEERING_DEG, MAX_SPEED_MPS])
    centres = np.unique(np.round(centres, 2) + 0.0, axis=0)
    return DiscreteActions(centres[:, 0], centres[:, 1])


def ranges(commands: FloatArray, mirrored: bool) -> ContinuousActions:
    """The ranges of a continuous action space that hold all commands (K, 2), rounded outwards."""
    low, high = commands.min(axis=0), commands.max(axis=0)
    left = max(abs(float(low[0])), abs(float(high[0]))) if mirrored else float(high[0])
    right = -left if mirrored else float(low[0])
    steering = (max(_floor(right, 1.0), -MAX_STEERING_DEG), min(_ceil(left, 1.0), MAX_STEERING_DEG))
    speed = (max(_floor(float(low[1]), 0.1), MIN_SPEED_MPS), min(_ceil(float(high[1]), 0.1), MAX_SPEED_MPS))
    return ContinuousActions(steering, speed)


def _floor(value: float, step: float) -> float:
    return round(float(np.floor(value / step + 1e-9)) * step, 6)


def _ceil(value: float, step: float) -> float:
    return round(float(np.ceil(value / step - 1e-9)) * step, 6)


def _mirrored(commands: FloatArray, seconds: FloatArray, count: int) -> FloatArray:
    """Clusters of the commands as if all turned left, each twice, and of those straight on, in the shares that leave
    commands least far from their clusters."""
    folded = np.column_stack([np.abs(commands[:, 0]), commands[:, 1]])
    turns = folded[:, 0] > STRAIGHT_DEG
    best, least = np.zeros((0, 2)), np.inf
    for straight in range(count % 2, count + 1, 2):
        pairs = (count - straight) // 2
        if (pairs == 0 and turns.any()) or (straight == 0 and not turns.any()):
            continue
        sides = _clusters(folded[turns], seconds[turns], pairs) if turns.any() else np.zeros((0, 2))
        middle = _clusters(folded[~turns], seconds[~turns], straight) if (~turns).any() else np.zeros((0, 2))
        middle[:, 0] = 0.0
        if not len(middle) and straight:  # a lap of turns only still gets its action straight on
            middle = np.array([[0.0, float(np.average(folded[:, 1], weights=seconds))]])
        tried = np.vstack([sides, middle])
        cost = float(seconds @ _squares(folded, tried).min(axis=1))
        if cost < least:
            best, least = np.vstack([sides, sides * [-1.0, 1.0], middle]), cost
        if straight >= 5:
            break
    return best


def _clusters(points: FloatArray, weights: FloatArray, count: int) -> FloatArray:
    """(C, 2) centres of at most `count` clusters of points (K, 2), the best of several draws."""
    different = np.unique(np.round(points / SCALE, 3), axis=0)
    count = min(count, len(different))
    if count == 0:
        return np.zeros((0, 2))
    best, least = points[:count], np.inf
    for draw in range(_DRAWS):
        centres = _seeds(points, weights, count, np.random.default_rng(draw))
        for _ in range(60):
            nearest = _squares(points, centres).argmin(axis=1)
            sums = np.stack([np.bincount(nearest, weights * points[:, k], count) for k in range(2)], axis=1)
            mass = np.bincount(nearest, weights, count)[:, np.newaxis]
            moved = np.where(mass > 0.0, sums / np.maximum(mass, 1e-12), centres)
            if np.allclose(moved, centres):
                break
            centres = moved
        cost = float(weights @ _squares(points, centres).min(axis=1))
        if cost < least:
            best, least = centres, cost
    return best


def _seeds(points: FloatArray, weights: FloatArray, count: int, random: np.random.Generator) -> FloatArray:
    chosen = [points[random.choice(len(points), p=weights / weights.sum())]]
    while len(chosen) < count:
        away = weights * _squares(points, np.array(chosen)).min(axis=1)
        total = away.sum()
        share = away / total if total > 0.0 else None
        chosen.append(points[random.choice(len(points), p=share)])
    return np.array(chosen)


def _squares(points: FloatArray, centres: FloatArray) -> FloatArray:
    """(K, C) squared distances."""
    apart = (points[:, np.newaxis] - centres[np.newaxis]) / SCALE
    return np.asarray(np.einsum("kcd,kcd->kc", apart, apart))


@dataclass(frozen=True, slots=True)
class DiscreteLap:
    """A lap that was driven with a list of actions: its time from line to line, and the actions taken, step by step."""

    lap_s: float
    taken: IntArray


def best_lap(track: Track, line: RacingLine, actions: DiscreteActions) -> DiscreteLap | None:
    """The fastest lap that a beam search finds with these actions, begun at speed after a lap of the same; None where
    all cars leave the road."""
    found = [lap for stray_s in STRAY_S if (lap := _search(track, line, actions, stray_s)) is not None]
    return min(found, key=lambda lap: lap.lap_s, default=None)


def _search(track: Track, line: RacingLine, actions: DiscreteActions, stray_s: float) -> DiscreteLap | None:
    search = _Beam(track, line, actions, stray_s)
    length = search.reference.path.length_m
    for _ in range(int(2.0 * 3.0 * line.limit_s / STEP_S) + 30):
        if not search.advance():
            return None
        if search.travelled_m.max() >= 2.0 * length:
            return search.lap(int(search.travelled_m.argmax()), length)
    return None


class _Beam:
    """Cars that take different actions, the best of them kept each step."""

    def __init__(self, track: Track, line: RacingLine, actions: DiscreteActions, stray_s: float) -> None:
        self._track, self._car, self._stray_s = track, line.car, stray_s
        self.reference = Reference.of(line)
        self._commands = np.column_stack([np.radians(actions.steering_deg), actions.speed_mps])
        self._back_m = centre_x_m(line.car)
        self._cars = CarBatch.zeros(1)
        self._cars.x_m[0], self._cars.y_m[0], self._cars.heading_rad[0] = self.reference.first_pose(line.car)
        self.reference.push(self._cars, 0, line.car)
        self.travelled_m = np.zeros(1)
        self._parents: list[IntArray] = []
        self._taken: list[IntArray] = []
        self._travelled: list[FloatArray] = [np.zeros(1)]

    def advance(self) -> bool:
        """One step of all cars with each action; whether any is left."""
        count, choices = len(self.travelled_m), len(self._commands)
        parents = np.repeat(np.arange(count), choices)
        taken = np.tile(np.arange(choices), count)
        cars = CarBatch(*(getattr(self._cars, name)[parents] for name in CarBatch.__slots__))
        everyone: IntArray = np.arange(len(parents))
        controls = Controls(self._commands[taken, 0], self._commands[taken, 1])
        drive_cars(cars, everyone, controls, Makes.of_cars([self._car] * len(parents)))
        before = self.travelled_m[parents]
        x = cars.x_m + self._back_m * np.cos(cars.heading_rad)
        y = cars.y_m + self._back_m * np.sin(cars.heading_rad)
        length = self.reference.path.length_m
        where, offset = self.reference.locate(x, y, before + np.maximum(cars.speed_mps, 0.0) * STEP_S)
        moved = (where - before + 0.5 * length) % length - 0.5 * length
        travelled = before + moved
        heading, speed, time = self.reference.at(where)
        laps = np.floor(travelled / length)
        ahead_s = time + laps * self.reference.time_s[-1]
        strays = (
            (offset / 0.10) ** 2
            + (heading_difference(cars.heading_rad, heading) / 0.2) ** 2
            + ((cars.speed_mps - speed) / 0.6) ** 2
        )
        score = ahead_s - self._stray_s * strays
        fits = wheels_on_road(self._track, cars.x_m, cars.y_m, cars.heading_rad).any(axis=1) & (moved > 0.0)
        if not fits.any():
            return False
        score[~fits] = -np.inf
        kept = _best_different(
            score,
            np.column_stack(
                [where / 0.06, offset / 0.02, cars.heading_rad / 0.04, cars.speed_mps / 0.15, cars.steering_rad / 0.08]
            ),
        )
        self._cars = CarBatch(*(getattr(cars, name)[kept] for name in CarBatch.__slots__))
        self.travelled_m = travelled[kept]
        self._parents.append(parents[kept])
        self._taken.append(taken[kept])
        self._travelled.append(self.travelled_m)
        return True

    def lap(self, winner: int, length_m: float) -> DiscreteLap:
        """The winner's second lap."""
        line, taken, car = [], [], winner
        for step in range(len(self._taken) - 1, -1, -1):
            line.append(float(self._travelled[step + 1][car]))
            taken.append(int(self._taken[step][car]))
            car = int(self._parents[step][car])
        travelled = np.array([0.0, *line[::-1]])
        passed = np.interp([length_m, 2.0 * length_m], travelled, STEP_S * np.arange(len(travelled)))
        first = int(np.searchsorted(travelled, length_m))
        return DiscreteLap(float(passed[1] - passed[0]), np.array(taken[::-1])[first - 1 :])


def _best_different(score: FloatArray, cells: FloatArray) -> IntArray:
    """Indices of the BEAM best of finite score, one in each cell of nearly equal states."""
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])][: 8 * BEAM]
    _, first = np.unique(np.floor(cells[order]).astype(np.int64), axis=0, return_index=True)
    return order[np.sort(first)][:BEAM]
