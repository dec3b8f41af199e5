"""Scores recorded episodes with another reward function: the params are rebuilt from the traces and the track."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from contract.errors import InputError
from contract.state import HELD, STEP_S, EpisodeStatus, FloatArray
from contract.vehicle import FRONT_POINT_X_M
from simapp.params import RaceState, RewardParams, wheels_on_road
from simapp.tracks import Track
from undercut.analysis.log import Episode, Kind, RunLog
from undercut.analysis.places import SECTORS, LapScale

UNKNOWN = (
    *("closest_objects", "objects_location", "objects_left_of_center", "objects_speed", "objects_heading"),
    *("objects_distance_from_center", "objects_distance", "object_in_camera"),
)
"""Params that no simtrace tells; a rescored function sees an empty track."""

Reward = Callable[[dict[str, Any]], float]


@dataclass(frozen=True, slots=True)
class Rescored:
    """An episode with the rewards (T,) that it got and that it would get."""

    episode: Episode
    old: FloatArray
    new: FloatArray


@dataclass(frozen=True, slots=True)
class Correlations:
    """Of the episodes' reward sums, Pearson's r: with progress over all of them, with lap time over complete laps (a
    reward that makes fast is below 0); None where it is not defined."""

    progress: float | None
    lap_time: float | None


@dataclass(frozen=True, slots=True)
class Rescoring:
    """What a new reward function says of the old episodes.

    unknown_read       params that it reads and that the traces do not tell
    old, new           correlations of the reward sums
    rank_correlation   Spearman's rho of the old and new ranking of the episodes, None where one has no ranks
    by_sector          (SECTORS, 2) mean reward of a step, old and new; NaN where no car was
    largest_difference of a step's old and new reward
    """

    episodes: list[Rescored]
    unknown_read: list[str]
    old: Correlations
    new: Correlations
    rank_correlation: float | None
    by_sector: FloatArray
    largest_difference: float

    def movers(self, count: int) -> list[tuple[Episode, int, int]]:
        """The episodes whose ranks change most: (episode, old rank, new rank), 1 is the most reward."""
        old, new = (_ranks([float(getattr(it, name).sum()) for it in self.episodes]) for name in ("old", "new"))
        order = sorted(range(len(old)), key=lambda i: (-abs(old[i] - new[i]), old[i]))
        return [(self.episodes[i].episode, old[i], new[i]) for i in order[:count] if old[i] != new[i]]


def rescore(log: RunLog, reward: Reward) -> Rescoring:
    """Score every traced episode of a log. One instance of the function sees them in the order in which they were
    driven; in a training each car had its own.

    InputError where the track is not known or nothing was traced; RewardError when the racer's function fails.
    """
    if log.track is None:
        raise InputError(
            f"the logs of {log.name}",
            log.track_name or "no known track",
            "waypoints and the distance from the centre line come from the track",
            "name it with --track, or add its route file with: undercut tracks add FILE.npy",
        )
    episodes = sorted(log.traced(*Kind), key=lambda it: (it.iteration, it.kind is not Kind.training, it.number))
    if not episodes:
        raise InputError(
            f"the logs of {log.name}", "no simtraces", "rewards are computed from simtraces", "name logs that have some"
        )
    read: set[str] = set()
    scored = []
    for episode in episodes:
        steps = zip(params_of(log.track, bool(log.is_reversed), episode), _held(episode.steps), strict=True)
        values = [0.0 if held else reward(_Watched(params, read)) for params, held in steps]
        scored.append(Rescored(episode, episode.steps["reward"].astype(np.float64), np.array(values)))
    return Rescoring(
        episodes=scored,
        unknown_read=[name for name in UNKNOWN if name in read],
        old=_correlations(scored, "old"),
        new=_correlations(scored, "new"),
        rank_correlation=_rank_correlation(scored),
        by_sector=_by_sector(log, scored),
        largest_difference=float(max(np.abs(it.old - it.new).max() for it in scored)),
    )


def params_of(track: Track, is_reversed: bool, episode: Episode) -> Iterator[dict[str, Any]]:
    """The params of each step as the episode's reward function saw them, but for the objects."""
    steps = episode.steps
    where = track.project(steps["x_m"], steps["y_m"])
    heading = steps["heading_rad"]
    rear_x_m = steps["x_m"] - FRONT_POINT_X_M * np.cos(heading)  # of base_link; the file has the front point
    rear_y_m = steps["y_m"] - FRONT_POINT_X_M * np.sin(heading)
    state = RaceState(
        rows=steps,
        where=where,
        steps=episode.numbers,
        neighbours=None,
        is_crashed=steps["status"] == EpisodeStatus.crashed,
        is_offtrack=np.asarray(~wheels_on_road(track, rear_x_m, rear_y_m, heading).any(axis=1)),
        clock_s=steps["time_s"] - STEP_S,  # the file's stamps are of the steps' ends
    )
    yield from RewardParams(track, is_reversed).build(state)


def _held(steps: np.ndarray) -> list[bool]:
    """In which steps (T,) the car was held, when no reward function is called; a lap may end within a pause."""
    paused = np.concatenate([[False], steps["pause_s"][:-1] > 0.0])
    held: list[bool] = (np.isin(steps["status"], HELD) | paused).tolist()
    return held


class _Watched(dict[str, Any]):
    """Params that note which of them are read."""

    def __init__(self, params: dict[str, Any], read: set[str]) -> None:
        super().__init__(params)
        self._read = read

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        return super().get(name, default)


def _correlations(scored: Sequence[Rescored], name: str) -> Correlations:
    sums = np.array([float(getattr(it, name).sum()) for it in scored])
    progress = np.array([it.episode.completion_pct for it in scored])
    complete = np.array([it.episode.complete for it in scored])
    times = np.array([it.episode.time_s for it in scored])
    return Correlations(_pearson(sums, progress), _pearson(sums[complete], times[complete]))


def _pearson(a: FloatArray, b: FloatArray) -> float | None:
    if len(a) < 3 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _rank_correlation(scored: Sequence[Rescored]) -> float | None:
    old, new = (np.array([float(getattr(it, name).sum()) for it in scored]) for name in ("old", "new"))
    if len(old) < 3 or np.ptp(old) == 0.0 or np.ptp(new) == 0.0:
        return None
    return float(stats.spearmanr(old, new).statistic)


def _ranks(sums: Sequence[float]) -> list[int]:
    """1 for the largest; equal ones share the best rank."""
    return [int(rank) for rank in stats.rankdata(-np.array(sums), method="min")]


def _by_sector(log: RunLog, scored: Sequence[Rescored]) -> FloatArray:
    sectors = np.concatenate([LapScale.of(log).sectors(it.episode.steps) for it in scored])
    table = np.full((SECTORS, 2), np.nan)
    for column, name in enumerate(("old", "new")):
        values = np.concatenate([getattr(it, name) for it in scored])
        for sector in range(SECTORS):
            here = values[sectors == sector]
            if len(here):
                table[sector, column] = here.mean()
    return table
