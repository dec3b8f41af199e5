"""Where on the lap it happens: sectors, exits, actions, and maps of time and reward."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.metadata import ContinuousActions, DiscreteActions
from contract.state import BROKEN, STEP_S, FloatArray, IntArray
from undercut.analysis.log import Episode, Kind, RunLog, actions_of, rows_of

SECTORS = 10
STEERING_BINS = 12
"""Of continuous steering, over its range."""
CELL_M = 0.10
"""Side of a heat map's cell."""


@dataclass(frozen=True, slots=True)
class LapScale:
    """Places along a lap as shares from 0 to 1, from the start line on: by the centre line where the track is known,
    else by the traces' closest waypoints, which are about evenly spread.

    starts  (W,) the share at which each waypoint lies
    """

    log: RunLog
    starts: FloatArray

    @classmethod
    def of(cls, log: RunLog) -> "LapScale":
        if log.track is not None:
            spans = np.hypot(*np.diff(log.track.centre, axis=0).T)
            return cls(log, np.r_[0.0, np.cumsum(spans)] / log.track.length_m)
        waypoints = [int(episode.steps["closest_waypoint"].max()) for episode in log.traced(*Kind)]
        count = max(waypoints, default=0) + 1
        return cls(log, np.arange(count) / count)

    def shares(self, rows: np.ndarray) -> FloatArray:
        """(R,) of the lap, below 1, for rows of STEP_DTYPE."""
        track = self.log.track
        if track is not None:
            share = track.project(rows["x_m"], rows["y_m"]).distance_m / track.length_m
        else:
            share = self.starts[np.clip(rows["closest_waypoint"], 0, len(self.starts) - 1)]
        return np.minimum(share, np.nextafter(1.0, 0.0))

    def sectors(self, rows: np.ndarray, count: int = SECTORS) -> IntArray:
        """(R,) the sector of each row, from 0."""
        return (self.shares(rows) * count).astype(np.int64)

    def waypoint(self, share: float) -> int:
        """The waypoint at or behind a place."""
        return int(np.searchsorted(self.starts, share, side="right") - 1)

    def waypoints(self, sector: int, count: int = SECTORS) -> tuple[int, int]:
        """First and last waypoint of a sector."""
        first = int(np.searchsorted(self.starts, sector / count))
        last = int(np.searchsorted(self.starts, (sector + 1) / count)) - 1
        return first, max(first, last)


def exits(episodes: Sequence[Episode]) -> np.ndarray:
    """The rows at which a car left the road, crashed, stood still or turned round; its `status` says which."""
    rows = rows_of(episodes)
    return rows[np.isin(rows["status"], BROKEN)]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A stretch of the lap, from one share to another over the start line where begin > end, with `count` of the
    `total` exits."""

    begin: float
    end: float
    count: int
    total: int

    @property
    def share_of_lap(self) -> float:
        return (self.end - self.begin) % 1.0


def densest(shares: FloatArray, width: float = 1.0 / SECTORS) -> Cluster | None:
    """The stretch of `width` of a lap that holds most of the places (K,), drawn in to the first and last of them."""
    if not len(shares):
        return None
    places = np.sort(shares)
    round_again = np.r_[places, places + 1.0]
    counts = np.searchsorted(round_again, places + width, side="right") - np.arange(len(places))
    counts = np.minimum(counts, len(places))
    first = int(counts.argmax())
    last = round_again[first + int(counts[first]) - 1]
    return Cluster(float(places[first]), float(last % 1.0), int(counts[first]), len(places))


def shares_by_sector(sectors: IntArray, taken: IntArray, count: int, actions: int) -> FloatArray:
    """(count, actions): of the steps in each sector, the share that took each action; a sector that was never driven
    is all 0, the others add up to 1."""
    counts = np.zeros((count, actions))
    np.add.at(counts, (sectors, taken), 1.0)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


@dataclass(frozen=True, slots=True)
class ActionUse:
    """Which actions are taken: `overall` (A,) of all steps, `by_sector` (SECTORS, A) of each sector's."""

    labels: list[str]
    overall: FloatArray
    by_sector: FloatArray
    steps: int
    continuous: bool


def action_use(log: RunLog, episodes: Sequence[Episode], scale: LapScale) -> ActionUse | None:
    """None when nothing was driven."""
    rows, actions = rows_of(episodes), actions_of(episodes)
    if not len(rows) or len(rows) != len(actions):
        return None
    continuous = actions.ndim == 2
    if continuous:
        taken, labels = steering_bins(log, rows)
    else:
        taken, labels = actions.astype(np.int64), discrete_labels(log, rows, actions.astype(np.int64))
        if taken.min() < 0 or taken.max() >= len(labels):
            return None
    by_sector = shares_by_sector(scale.sectors(rows), taken, SECTORS, len(labels))
    overall = np.bincount(taken, minlength=len(labels)) / len(taken)
    return ActionUse(labels, overall, by_sector, len(taken), continuous)


def steering_bins(log: RunLog, rows: np.ndarray) -> tuple[IntArray, list[str]]:
    """Commanded steering (R,) in bins of its range, and their labels."""
    limits = log.actions.steering_deg if isinstance(log.actions, ContinuousActions) else None
    steering_deg = np.degrees(rows["steering_rad"])
    low, high = limits or (float(steering_deg.min()), float(steering_deg.max()))
    return binned(steering_deg, low, max(high, low + 1.0))


def binned(steering_deg: FloatArray, low: float, high: float) -> tuple[IntArray, list[str]]:
    """Steering (R,) in STEERING_BINS of a range, and the bins' labels."""
    edges = np.linspace(low, high, STEERING_BINS + 1)
    labels = [f"{signed(edges[i])} to {signed(edges[i + 1])}°" for i in range(STEERING_BINS)]
    return np.clip(np.searchsorted(edges, steering_deg, side="right") - 1, 0, STEERING_BINS - 1), labels


_MAX_ACTIONS = 1000
"""A higher index in a trace is no action."""


def discrete_labels(log: RunLog, rows: np.ndarray, actions: IntArray) -> list[str]:
    """One an action: from the metadata, or else from what the traces commanded with that index."""
    if isinstance(log.actions, DiscreteActions) and actions.max() < log.actions.size:
        pairs = list(zip(log.actions.steering_deg.tolist(), log.actions.speed_mps.tolist(), strict=True))
        return [command_label(steering, speed) for steering, speed in pairs]
    labels = []
    for action in range(min(int(actions.max()), _MAX_ACTIONS) + 1):
        at = np.flatnonzero(actions == action)
        if len(at):
            row = rows[at[0]]
            labels.append(command_label(float(np.degrees(row["steering_rad"])), float(row["speed_mps"])))
        else:
            labels.append(f"action {action}, never taken")
    return labels


def command_label(steering_deg: float, speed_mps: float) -> str:
    """For example "+15° 1.0 m/s"."""
    return f"{signed(steering_deg)}° {speed_mps:.1f} m/s"


def signed(value: float) -> str:
    """With its sign and at most one decimal: +12.5, -3, 0."""
    text = f"{value:+.1f}".removesuffix(".0")
    return text if float(text) else "0"


@dataclass(frozen=True, slots=True)
class HeatMaps:
    """On a grid of cells with the edges x_m (X + 1,) and y_m (Y + 1,): seconds spent, (Y, X), and mean reward of a
    step, NaN where no car was."""

    x_m: FloatArray
    y_m: FloatArray
    seconds: FloatArray
    reward: FloatArray


def heat_maps(rows: np.ndarray) -> HeatMaps | None:
    """None when nothing was driven."""
    if not len(rows):
        return None
    edges = []
    for name in ("x_m", "y_m"):
        low, high = np.floor(rows[name].min() / CELL_M), np.floor(rows[name].max() / CELL_M) + 1
        if high - low > _MAX_CELLS:
            return None
        edges.append(np.arange(low, high + 1) * CELL_M)
    x_m, y_m = edges
    steps, *_ = np.histogram2d(rows["y_m"], rows["x_m"], bins=(y_m, x_m))
    rewards, *_ = np.histogram2d(rows["y_m"], rows["x_m"], bins=(y_m, x_m), weights=rows["reward"])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(steps > 0, rewards / steps, np.nan)
    return HeatMaps(x_m, y_m, steps * STEP_S, mean)


_MAX_CELLS = 2000
"""A map of more than 200 m is a broken position, and no track."""
