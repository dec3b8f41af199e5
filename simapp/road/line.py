"""A polyline with the questions that a road asks of its centre line, its edges and its lanes."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from contract.state import BoolArray, FloatArray, IntArray, Poses
from simapp.road.kernels import BOUNDARY_M, near_segments, points_in_ring, project_points

BANDS = 128
"""Horizontal bands of a ring, so that a point is compared with the few sides in its own."""


@dataclass(frozen=True, eq=False, slots=True)
class Line:
    """W points one after the other; a closed line ends where it begins. All arrays are read-only.

    segments      (S, 6): start x, start y, delta x, delta y, 1 / length**2, arc length at the start
    headings_rad  (S,) of the segments
    rows          (S,) the point that each begins at: one that repeats the point before makes no segment
    """

    segments: FloatArray
    headings_rad: FloatArray
    rows: IntArray
    length_m: float
    closed: bool

    @classmethod
    def of(cls, points: FloatArray, closed: bool) -> Self:
        """Of points (W, 2); W equal ones make one segment of no length."""
        deltas = np.diff(points, axis=0)
        lengths = np.hypot(deltas[:, 0], deltas[:, 1])
        rows = np.flatnonzero(lengths > 0.0)
        rows = rows if len(rows) else np.zeros(1, np.int64)
        starts = np.concatenate([[0.0], np.cumsum(lengths)])
        squares = lengths[rows] ** 2
        inverse = np.divide(1.0, squares, out=np.zeros(len(rows)), where=squares > 0.0)
        segments = np.column_stack([points[rows], deltas[rows], inverse, starts[rows]])
        headings = np.arctan2(deltas[rows, 1], deltas[rows, 0])
        rows = rows.astype(np.int64)
        for array in (segments, headings, rows):
            array.setflags(write=False)
        return cls(segments, headings, rows, float(starts[-1]), closed)

    def project(self, x_m: FloatArray, y_m: FloatArray) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
        """Of points (K,) the nearest points of the line: arc length, signed distance from the line (left positive),
        segment, and where in it (0..1)."""
        distance, offset, fraction = np.empty(x_m.size), np.empty(x_m.size), np.empty(x_m.size)
        segment = np.empty(x_m.size, dtype=np.int64)
        project_points(x_m, y_m, self.segments, self.length_m, self.closed, distance, offset, segment, fraction)
        return distance, offset, segment, fraction

    def pose_at(self, distance_m: ArrayLike, offset_m: ArrayLike = 0.0) -> Poses:
        """Poses (K,) along the line, `offset_m` to its left; distances wrap on a closed line and clip on an open."""
        distance, offset = np.broadcast_arrays(
            np.atleast_1d(np.asarray(distance_m, dtype=np.float64)), np.asarray(offset_m, dtype=np.float64)
        )
        distance = distance % self.length_m if self.closed else np.clip(distance, 0.0, self.length_m)
        starts = self.segments[:, 5]
        segment = np.clip(np.searchsorted(starts, distance, side="right") - 1, 0, len(starts) - 1)
        heading = self.headings_rad[segment]
        along, cosine, sine = distance - starts[segment], np.cos(heading), np.sin(heading)
        x = self.segments[segment, 0] + along * cosine - offset * sine
        y = self.segments[segment, 1] + along * sine + offset * cosine
        return Poses(x_m=x, y_m=y, heading_rad=heading)

    def nearest(self, x_m: FloatArray, y_m: FloatArray) -> Poses:
        """The nearest poses of the line to points (K,)."""
        _, _, segment, fraction = self.project(x_m, y_m)
        start, delta = self.segments[segment, :2], self.segments[segment, 2:4]
        x, y = (start + fraction[:, np.newaxis] * delta).T
        return Poses(x_m=x, y_m=y, heading_rad=self.headings_rad[segment])


def near(line: Line, edge: Line) -> tuple[IntArray, IntArray]:
    """Which segments of an edge can be the nearest to a point on each segment s of the line: those that the second
    array names from first[s] to first[s + 1]."""
    first = np.zeros(len(line.segments) + 1, np.int64)
    found = np.empty(len(line.segments) * len(edge.segments), np.int64)
    near_segments(line.segments, edge.segments, first, found)
    return first, found[: first[-1]].copy()


@dataclass(frozen=True, eq=False, slots=True)
class Ring:
    """A closed polyline that divides inside from outside, whichever way its sides cross each other. See
    kernels.points_in_ring for the arrays."""

    sides: FloatArray
    area_m2: float
    bands: FloatArray
    first: IntArray
    in_band: IntArray

    @classmethod
    def of(cls, points: FloatArray) -> Self:
        """Of points (W, 2), the last one the first."""
        x, y = (points - points[0]).T
        sides = np.column_stack([points[:-1], np.diff(points, axis=0)])
        sides = np.ascontiguousarray(sides[np.any(sides[:, 2:] != 0.0, axis=1)])
        ends = sides[:, 1], sides[:, 1] + sides[:, 3]
        low, high = np.minimum(*ends) - 2 * BOUNDARY_M, np.maximum(*ends) + 2 * BOUNDARY_M
        begin, end = float(low.min(initial=np.inf)), float(high.max(initial=-np.inf))
        bands = np.array([begin, BANDS / (end - begin)]) if len(sides) else np.zeros(2)
        here = np.arange(BANDS)[:, np.newaxis]
        # one band more on either side than rounding could need
        from_band, to_band = (np.floor((edge - bands[0]) * bands[1]) for edge in (low, high))
        among = (here >= from_band - 1) & (here <= to_band + 1)
        first = np.concatenate([[0], np.cumsum(among.sum(axis=1))]).astype(np.int64)
        area_m2 = 0.5 * abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])))
        return cls(sides, area_m2, bands, first, np.nonzero(among)[1].astype(np.int64))

    def contains(self, x_m: FloatArray, y_m: FloatArray) -> tuple[BoolArray, BoolArray]:
        """Whether points (K,) are inside, and whether they are on it."""
        inside, on_edge = np.empty(x_m.size, dtype=np.bool_), np.empty(x_m.size, dtype=np.bool_)
        points_in_ring(x_m, y_m, self.sides, self.bands, self.first, self.in_band, inside, on_edge)
        return inside, on_edge
