"""How far a lap is from the time-optimal one: in all, sector by sector, and by what was done worse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.state import BROKEN, EpisodeStatus, FloatArray
from simapp.tracks import Track
from undercut.analysis.limit import Limit
from undercut.analysis.log import Episode, Kind, RunLog
from undercut.analysis.places import SECTORS

CELL_M = 0.1
"""Laps are compared in cells of this length of the centre line."""
BRAKING_MPS2 = 0.5
"""A car that loses more speed than this brakes."""
CAUSES = ("line", "braking", "speed")
"""What time is lost by: a longer way, slowing down, and going slower than the limit otherwise."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What a lap loses against the limit, in seconds. Gains are negative.

    lap_s, limit_s  the two laps' times
    by_cell         (C, 3) by cells of the centre line and CAUSES
    by_sector       (SECTORS, 3)
    """

    lap_s: float
    limit_s: float
    by_cell: FloatArray
    by_sector: FloatArray

    @property
    def lost_s(self) -> float:
        return self.lap_s - self.limit_s

    @property
    def ratio(self) -> float:
        return self.lap_s / self.limit_s

    @property
    def by_cause(self) -> dict[str, float]:
        return dict(zip(CAUSES, self.by_cell.sum(axis=0).tolist(), strict=True))


def gap_of(steps: np.ndarray, limit: Limit, track: Track) -> Gap | None:
    """The gap of a lap, steps (T,) of STEP_DTYPE, driven whole and without a reset from the start line on; None
    of any other.

    In each cell of the centre line the lap has a time and a way, and so has the limit. Driving the longer way at the
    limit's speed is what the `line` costs; the rest is speed, and `braking` where the car slowed down.
    """
    rows = steps[steps["status"] != EpisodeStatus.prepare]
    if len(rows) < 4 or rows["status"][-1] != EpisodeStatus.lap_complete or np.isin(rows["status"], BROKEN).any():
        return None
    distance, _ = track.along(rows["x_m"], rows["y_m"])
    way = np.cumsum(np.concatenate([[0.0], track.shortest_way(np.diff(distance))])) + _signed(track, distance[0])
    lap_s = float(rows["time_s"][-1])
    if way[-1] < 0.9 * track.length_m or abs(way[0]) > 1.0:
        return None
    driven = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(rows["x_m"]), np.diff(rows["y_m"])))])
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(way)) > 0.0])
    way, driven, time = way[rising], driven[rising], rows["time_s"][rising]
    edges = np.linspace(0.0, track.length_m, max(round(track.length_m / CELL_M), SECTORS) + 1)
    # before the first row the car stood, after the last one it rolls on as it was
    seconds = np.diff(_at(edges, way, time, lap_s))
    metres = np.diff(_at(edges, way, driven, None))
    best_s, best_m = _of_limit(limit, edges, track)
    pace = best_s / np.maximum(best_m, 1e-9)
    longer = (metres - best_m) * pace
    slower = seconds - best_s - longer
    speed = np.gradient(metres / np.maximum(seconds, 1e-9)) / np.maximum(seconds, 1e-9)
    brakes = speed < -BRAKING_MPS2
    by_cell = np.column_stack([longer, np.where(brakes, slower, 0.0), np.where(brakes, 0.0, slower)])
    sector = np.minimum((0.5 * (edges[1:] + edges[:-1]) / track.length_m * SECTORS).astype(np.int64), SECTORS - 1)
    by_sector = np.zeros((SECTORS, len(CAUSES)))
    np.add.at(by_sector, sector, by_cell)
    return Gap(lap_s, limit.lap_s, by_cell, by_sector)


def _signed(track: Track, distance_m: float) -> float:
    """Distance of the first row past the start line, below 0 before it."""
    return float(track.shortest_way(np.array([distance_m]))[0])


def _at(edges: FloatArray, way: FloatArray, values: FloatArray, end: float | None) -> FloatArray:
    """Values at cells' edges: from 0 at the first to `end`, or as far as the last row's slope goes, at the last."""
    inner = np.interp(edges, way, values)
    past = edges > way[-1]
    slope = (values[-1] - values[-2]) / (way[-1] - way[-2])
    inner[past] = values[-1] + slope * (edges[past] - way[-1])
    before = edges < way[0]
    slope = (values[1] - values[0]) / (way[1] - way[0])
    inner[before] = values[0] - slope * (way[0] - edges[before]) if end is None else values[0] * edges[before] / way[0]
    if end is not None:
        inner[0], inner[-1] = 0.0, end
    return np.asarray(inner)


def _of_limit(limit: Limit, edges: FloatArray, track: Track) -> tuple[FloatArray, FloatArray]:
    """Seconds and metres (C,) of the limit in each cell."""
    x, y = np.append(limit.x_m, limit.x_m[0]), np.append(limit.y_m, limit.y_m[0])
    driven = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    place = np.append(limit.distance_m, limit.distance_m[0] + track.length_m)
    rising = np.concatenate([[True], np.diff(place) > 0.0])
    place, driven, time = place[rising], driven[rising], limit.time_s[rising]
    wrapped = np.concatenate([place[:-1] - track.length_m, place])

    def cells(values: FloatArray) -> FloatArray:
        whole = values[-1]
        return np.diff(np.interp(edges, wrapped, np.concatenate([values[:-1] - whole, values])))

    return cells(time), cells(driven)


def best_gap(log: RunLog) -> tuple[Episode, Gap] | None:
    """The fastest clean lap of the evaluation, else of evaluations in training, else of the training, and its gap; None
    where nobody has asked for the limit, or no lap is clean."""
    if log.limit is None or log.track is None:
        return None
    for kind in (Kind.evaluation, Kind.check, Kind.training):
        for lap in sorted((it for it in log.traced(kind) if it.complete), key=lambda lap: lap.time_s):
            gap = gap_of(lap.steps, log.limit, log.track)
            if gap is not None:
                return lap, gap
    return None


def best_gap_of(laps: Sequence[np.ndarray], limit: Limit, track: Track) -> Gap | None:
    """The gap of the fastest clean lap among steps of laps; None where none is clean."""
    gaps = [gap for steps in laps if (gap := gap_of(steps, limit, track)) is not None]
    return min(gaps, key=lambda gap: gap.lap_s, default=None)
