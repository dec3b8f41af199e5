"""How far a lap is from the time-optimal one: in all, sector by sector, and by what was done worse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from contract.state import BROKEN, STEP_S, EpisodeStatus, FloatArray
from contract.vehicle import FRONT_POINT_X_M
from simapp.tracks import Track
from undercut.analysis.limit import Limit
from undercut.analysis.log import Episode, Kind, RunLog
from undercut.analysis.places import SECTORS

CELL_M = 0.1
"""Laps are compared in cells of this length of the centre line."""
BRAKING_MPS2 = 0.5
"""A car that loses more speed than this brakes."""
SMOOTHED = 3
"""Steps over which a car's speed is taken."""
STANDING_MPS = 1.0
"""A lap that is slower than this from its first step to its second began from a standstill."""
CAUSES = ("line", "braking", "speed")
"""What time is lost by: a longer way, slowing down, and going slower than the limit otherwise."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What a lap loses against the limit, in seconds. Gains are negative.

    lap_s, limit_s  the two laps' times
    by_cell         (C, 3) by cells of the centre line and CAUSES
    by_sector       (SECTORS, 3)
    start_s         of what is lost: what the start from a standstill costs any car; 0 of a flying lap
    """

    lap_s: float
    limit_s: float
    by_cell: FloatArray
    by_sector: FloatArray
    start_s: float = 0.0

    @property
    def lost_s(self) -> float:
        return self.lap_s - self.limit_s

    @property
    def ratio(self) -> float:
        return self.lap_s / self.limit_s

    @property
    def by_cause(self) -> dict[str, float]:
        return dict(zip(CAUSES, self.by_cell.sum(axis=0).tolist(), strict=True))

    @property
    def lost_by(self) -> str:
        """The causes in words, and the start's part of them where the lap began from a standstill."""
        causes = ", ".join(f"{name} {seconds:+.2f} s" for name, seconds in self.by_cause.items())
        return causes + (f" ({self.start_s:.2f} s by the start from a standstill)" if self.start_s else "")


def gap_of(steps: np.ndarray, limit: Limit, track: Track) -> Gap | None:
    """The gap of a lap, steps (T,) of STEP_DTYPE, that was driven whole and without a reset; None of any other. It may
    begin anywhere, as training's laps do.

    In each cell of the centre line the lap has a time and a way, and so has the limit. Driving the longer way at the
    limit's speed is what the `line` costs; the rest is speed, and `braking` where the car slowed down.
    """
    rows = steps[steps["status"] != EpisodeStatus.prepare]
    if len(rows) < 4 or rows["status"][-1] != EpisodeStatus.lap_complete or np.isin(rows["status"], BROKEN).any():
        return None
    distance, _ = track.along(rows["x_m"], rows["y_m"])
    way = np.cumsum(np.concatenate([[0.0], track.shortest_way(np.diff(distance))]))
    length = track.length_m
    if way[-1] < 0.9 * length:
        return None
    way += FRONT_POINT_X_M  # steps hold that point, and a lap counts from base_link's place
    begun = float(distance[0]) - FRONT_POINT_X_M
    lap_s = float(rows["time_s"][-1])
    driven = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(rows["x_m"]), np.diff(rows["y_m"])))])
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(way)) > 0.0])
    count = max(round(length / CELL_M), SECTORS)
    edges = length * np.arange(count + 1) / count
    seconds = np.interp(edges, np.append(0.0, way[rising]), np.append(0.0, rows["time_s"][rising]))
    seconds[-1] = lap_s
    metres = _carried_on(edges, way[rising], driven[rising])
    best_s, best_m = _of_limit(limit, edges + begun, track)
    took, went = np.diff(np.minimum(seconds, lap_s)), np.diff(metres)
    longer = (went - best_m) * best_s / np.maximum(best_m, 1e-9)
    slower = took - best_s - longer
    slowing = np.interp(0.5 * (edges[1:] + edges[:-1]), way[rising], _speeding_up(rows)[rising]) < -BRAKING_MPS2
    by_cell = np.column_stack([longer, np.where(slowing, slower, 0.0), np.where(slowing, 0.0, slower)])
    by_cell = np.roll(by_cell, round(begun / length * count), axis=0)
    by_sector = np.zeros((SECTORS, len(CAUSES)))
    np.add.at(by_sector, np.arange(count) * SECTORS // count, by_cell)
    stood = driven[1] < STANDING_MPS * STEP_S
    start_s = limit.standing_s - limit.lap_s if limit.standing_s and stood else 0.0
    return Gap(lap_s, limit.lap_s, by_cell, by_sector, start_s)


def _speeding_up(rows: np.ndarray) -> FloatArray:
    """(R,) m/s², from the way between rows."""
    way = np.hypot(np.diff(rows["x_m"]), np.diff(rows["y_m"]))
    speed = uniform_filter1d(way / STEP_S, SMOOTHED, mode="nearest")
    return np.asarray(np.gradient(np.append(speed, speed[-1])) / STEP_S)


def _carried_on(edges: FloatArray, way: FloatArray, driven: FloatArray) -> FloatArray:
    """Metres driven at cells' edges, before the first row and after the last one as its neighbours go."""
    first = (driven[1] - driven[0]) / (way[1] - way[0])
    last = (driven[-1] - driven[-2]) / (way[-1] - way[-2])
    metres = np.interp(edges, way, driven)
    metres = np.where(edges < way[0], driven[0] - first * (way[0] - edges), metres)
    return np.asarray(np.where(edges > way[-1], driven[-1] + last * (edges - way[-1]), metres))


def _of_limit(limit: Limit, places: FloatArray, track: Track) -> tuple[FloatArray, FloatArray]:
    """Seconds and metres (C,) of the limit between places (C + 1,) along the centre line, over the start line too."""
    x, y = np.append(limit.x_m, limit.x_m[0]), np.append(limit.y_m, limit.y_m[0])
    driven = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    place = np.append(limit.distance_m, limit.distance_m[0] + track.length_m)
    rising = np.concatenate([[True], np.diff(place) > 0.0])
    place, driven, time = place[rising], driven[rising], limit.time_s[rising]

    def cells(values: FloatArray) -> FloatArray:
        laps = np.floor((places - place[0]) / track.length_m)
        return np.diff(laps * values[-1] + np.interp(places - laps * track.length_m, place, values))

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
