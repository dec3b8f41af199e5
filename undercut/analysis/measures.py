"""Numbers of a run, iteration by iteration and episode by episode."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.state import STEP_S, EpisodeStatus, FloatArray
from contract.vehicle import MAX_SPEED_MPS
from undercut.analysis.log import Episode, Kind, RunLog
from undercut.analysis.places import SECTORS, LapScale, exits


@dataclass(frozen=True, slots=True)
class IterationSummary:
    """One iteration. Rewards are sums over an episode, completions per cent of a lap, times simulated seconds; numbers
    of what an iteration has not are None. `exits` are counted in the training traces."""

    iteration: int
    episodes: int
    steps: int | None
    reward: float | None
    reward_deviation: float | None
    completion_pct: float | None
    complete: int
    best_lap_s: float | None
    exits: int | None
    checks: int
    check_reward: float | None
    check_completion_pct: float | None
    check_complete: int
    check_best_lap_s: float | None
    entropy: float | None


def iteration_table(log: RunLog) -> list[IterationSummary]:
    """All iterations that anything is known of, in their order."""
    training: dict[int, list[Episode]] = {}
    checks: dict[int, list[Episode]] = {}
    for episode in log.episodes:
        if episode.kind is not Kind.evaluation:
            (training if episode.kind is Kind.training else checks).setdefault(episode.iteration, []).append(episode)
    table = []
    for iteration in log.iterations:
        trained, checked = training.get(iteration, []), checks.get(iteration, [])
        rewards = np.array([episode.reward for episode in trained])
        traced = [episode for episode in trained if len(episode.steps)]
        table.append(
            IterationSummary(
                iteration=iteration,
                episodes=len(trained),
                steps=sum(len(episode.steps) for episode in traced) if traced else None,
                reward=mean(rewards),
                reward_deviation=float(rewards.std(ddof=1)) if len(rewards) > 1 else None,
                completion_pct=mean([episode.completion_pct for episode in trained]),
                complete=sum(episode.complete for episode in trained),
                best_lap_s=best_lap_s(trained),
                exits=len(exits(traced)) if traced else None,
                checks=len(checked),
                check_reward=mean([episode.reward for episode in checked]),
                check_completion_pct=mean([episode.completion_pct for episode in checked]),
                check_complete=sum(episode.complete for episode in checked),
                check_best_lap_s=best_lap_s(checked),
                entropy=log.update("entropy", iteration),
            )
        )
    return table


def mean(values: Sequence[float] | FloatArray) -> float | None:
    """None of nothing, or where a value is not known."""
    if not len(values):
        return None
    result = float(np.mean(values))
    return result if math.isfinite(result) else None


def best_lap_s(episodes: Sequence[Episode]) -> float | None:
    """Time of the fastest complete lap."""
    return min((episode.time_s for episode in episodes if episode.complete), default=None)


JUMP_M = 1.0
"""Of progress in one step; at top speed a car drives 0.27 m."""


@dataclass(frozen=True, slots=True)
class Smoothness:
    """How calmly a car is commanded.

    mean_speed_mps     of the commands
    driven_speed_mps   distance by time, jumps of resets left out
    steering_deg       mean change of the commanded steering from one step to the next
    speed_mps          mean change of the commanded speed from one step to the next
    swings_per_s       how often a second the steering goes from one side to the other
    """

    mean_speed_mps: float
    driven_speed_mps: float
    steering_deg: float
    speed_mps: float
    swings_per_s: float


def smoothness(steps: np.ndarray) -> Smoothness | None:
    """Of the rows (T,) of an episode; None of fewer than two."""
    if len(steps) < 2:
        return None
    steering_deg = np.degrees(steps["steering_rad"])
    sides = np.sign(steering_deg)
    sides = sides[sides != 0.0]
    swings = int(np.count_nonzero(np.diff(sides)))
    _, speeds = driven(steps)
    return Smoothness(
        mean_speed_mps=float(steps["speed_mps"].mean()),
        driven_speed_mps=float(speeds.mean()) if len(speeds) else 0.0,
        steering_deg=float(np.abs(np.diff(steering_deg)).mean()),
        speed_mps=float(np.abs(np.diff(steps["speed_mps"])).mean()),
        swings_per_s=swings / (len(steps) * STEP_S),
    )


def driven(steps: np.ndarray) -> tuple[np.ndarray, FloatArray]:
    """Which of the T - 1 moves between steps were driven, and not a reset's jump; and the speeds (S,) of those."""
    moved_m = np.hypot(np.diff(steps["x_m"]), np.diff(steps["y_m"]))
    took_s = np.diff(steps["time_s"])
    moves = (took_s > 0.0) & (moved_m <= 1.5 * MAX_SPEED_MPS * STEP_S)
    return moves, moved_m[moves] / took_s[moves]


def jumps(episode: Episode) -> np.ndarray:
    """The rows at which progress rose by more than any car drives: it got onto another part of the road."""
    steps = episode.steps
    gained_m = np.diff(steps["progress_pct"]) / 100.0 * episode.track_length_m
    moves, _ = driven(steps)
    return steps[1:][moves & (gained_m > JUMP_M)]


@dataclass(frozen=True, slots=True)
class SectorTimes:
    """Seconds in each sector (SECTORS,) of a lap, where it began at the start line."""

    lap: Episode
    seconds: FloatArray


def sector_times(laps: Sequence[Episode], scale: LapScale) -> list[SectorTimes]:
    """Of complete laps without a reset, by the sectors of their steps."""
    found = []
    for lap in laps:
        if lap.outcome is not EpisodeStatus.lap_complete or lap.resets or not len(lap.steps):
            continue
        seconds = np.diff(lap.steps["time_s"], prepend=lap.steps["time_s"][0] - STEP_S)
        totals = np.zeros(SECTORS)
        np.add.at(totals, scale.sectors(lap.steps), seconds)
        found.append(SectorTimes(lap, totals))
    return found
