"""The Track: DeepRacer's route array with the geometry that a simulator asks it for."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from contract.state import BoolArray, FloatArray, IntArray, Poses
from simapp.tracks.kernels import points_in_quads, project_points
from simapp.tracks.validation import checked_route, signed_area_m2


@dataclass(slots=True)
class Projection:
    """K points seen from the centre line, each field (K,).

    distance_m   arc length from row 0 along the centre polyline: 0..length, and never `length` itself on a closed track
    offset_m     signed distance from the centre polyline, left of the driving direction positive
    behind       index of the waypoint at or behind the nearest centre-line point
    ahead        index of the next waypoint; on a loop the last one is the repeated first row, never a wrapped 0,
                 which is what DeepRacer's simulator logs (see `nearest_waypoint`)
    heading_rad  tangent of the centre segment from behind to ahead
    width_m      |inner - outer|, interpolated between behind and ahead
    fraction     where between behind (0) and ahead (1) the nearest centre-line point lies
    """

    distance_m: FloatArray
    offset_m: FloatArray
    behind: IntArray
    ahead: IntArray
    heading_rad: FloatArray
    width_m: FloatArray
    fraction: FloatArray

    @property
    def nearest_waypoint(self) -> IntArray:
        """(K,) the nearer of behind and ahead: the simtrace's `closest_waypoint`, 0..W-1, in 33,658 of 33,658 rows of
        recorded AWS console and DeepRacer-for-Cloud simtraces."""
        return np.where(self.fraction <= 0.5, self.behind, self.ahead)


def heading_difference(a_rad: ArrayLike, b_rad: ArrayLike) -> FloatArray:
    """a - b wrapped to [-pi, pi); arrays of any shapes that broadcast."""
    difference = np.asarray(a_rad, dtype=np.float64) - np.asarray(b_rad, dtype=np.float64)
    wrapped = (difference + math.pi) % (2.0 * math.pi) - math.pi
    # the modulo of a number just under a multiple of 2 pi can round up to 2 pi itself
    return np.asarray(np.where(wrapped >= math.pi, -math.pi, wrapped))


@dataclass(frozen=True, eq=False, slots=True)
class Track:
    """A road to drive on, from a route array (W, 6): centre x, y, inner x, y, outer x, y in metres.

    A closed loop repeats its first row at the end, and W counts that row: a reward function's `waypoints` is
    `route[:, :2]` whole. The inner edge is always the left one in driving direction, as in DeepRacer's own
    (counter-clockwise) files; a clockwise route whose inner edge is the geometric inside is turned over on reading.
    All arrays are read-only. Raises InputError, with the row, for a route that is no road.
    """

    name: str
    route: FloatArray = field(repr=False)
    source: str = "memory"
    """Where it came from: a file's path, or "shipped"; errors name it."""

    closed: bool = field(init=False)
    length_m: float = field(init=False)
    widths_m: FloatArray = field(init=False, repr=False)
    _rows: IntArray = field(init=False, repr=False)
    _segments: FloatArray = field(init=False, repr=False)
    _headings_rad: FloatArray = field(init=False, repr=False)
    _quads: FloatArray = field(init=False, repr=False)
    _boxes: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        where = self.name if self.source in ("memory", "shipped") else self.source
        route = checked_route(self.route, where)
        centre, inner, outer = route[:, 0:2], route[:, 2:4], route[:, 4:6]
        deltas = np.diff(centre, axis=0)
        lengths = np.hypot(deltas[:, 0], deltas[:, 1])
        # a row that repeats the one before (several public files have one) makes no segment, but keeps its index
        rows = np.flatnonzero(lengths > 0.0)
        starts = np.concatenate([[0.0], np.cumsum(lengths)])
        segments = np.column_stack([centre[rows], deltas[rows], 1.0 / lengths[rows] ** 2, starts[rows]])
        quads = np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], axis=1)[rows]
        derived: dict[str, object] = {
            "route": route,
            "closed": bool(np.array_equal(route[0], route[-1])),
            "length_m": float(starts[-1]),
            "widths_m": np.hypot(*(inner - outer).T),
            "_rows": rows.astype(np.int64),
            "_segments": segments,
            "_headings_rad": np.arctan2(deltas[rows, 1], deltas[rows, 0]),
            "_quads": quads,
            "_boxes": np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1),
        }
        for key, value in derived.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, key, value)

    @property
    def centre(self) -> FloatArray:
        """(W, 2) centre line."""
        return self.route[:, 0:2]

    @property
    def inner(self) -> FloatArray:
        """(W, 2) left edge."""
        return self.route[:, 2:4]

    @property
    def outer(self) -> FloatArray:
        """(W, 2) right edge."""
        return self.route[:, 4:6]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax of the road in metres."""
        low, high = self._boxes[:, :2].min(axis=0), self._boxes[:, 2:].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def direction(self) -> str:
        """ "ccw" or "cw" as the rows drive a loop round, "open" for a road that is none."""
        if not self.closed:
            return "open"
        return "ccw" if signed_area_m2(self.route) > 0.0 else "cw"

    @property
    def min_radius_m(self) -> float:
        """Radius of the centre line's tightest bend: length by turn at each waypoint; infinite on a straight road."""
        lengths, headings = 1.0 / np.sqrt(self._segments[:, 4]), self._headings_rad
        if self.closed:
            lengths, headings = np.append(lengths, lengths[0]), np.append(headings, headings[0])
        turns = np.abs(heading_difference(headings[1:], headings[:-1]))
        spans = 0.5 * (lengths[1:] + lengths[:-1])
        # rounding turns a straight by 1e-14 rad
        return float(min((spans[turns > 1e-9] / turns[turns > 1e-9]).tolist(), default=math.inf))

    def project(self, x_m: ArrayLike, y_m: ArrayLike) -> Projection:
        """Project points (K,) on the nearest point of the centre polyline."""
        # copies: contiguous and writable whatever came in, since each other memory layout is compiled anew
        x = np.array(x_m, dtype=np.float64, order="C", ndmin=1)
        y = np.array(y_m, dtype=np.float64, order="C", ndmin=1)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"project takes two arrays of one shape (K,), got {x.shape} and {y.shape}")
        distance, offset, fraction = np.empty(x.size), np.empty(x.size), np.empty(x.size)
        segment = np.empty(x.size, dtype=np.int64)
        project_points(x, y, self._segments, self.length_m, self.closed, distance, offset, segment, fraction)
        behind = self._rows[segment]
        ahead = behind + 1
        width = self.widths_m[behind] + fraction * (self.widths_m[ahead] - self.widths_m[behind])
        return Projection(distance, offset, behind, ahead, self._headings_rad[segment], width, fraction)

    def on_road(self, x_m: ArrayLike, y_m: ArrayLike) -> BoolArray:
        """Whether points (any shape) are on the road or its edge: the union of the quads between consecutive rows."""
        x, y = np.array(x_m, dtype=np.float64, order="C"), np.array(y_m, dtype=np.float64, order="C")
        if x.shape != y.shape:
            raise ValueError(f"on_road takes two arrays of one shape, got {x.shape} and {y.shape}")
        inside = np.empty(x.size, dtype=np.bool_)
        points_in_quads(x.ravel(), y.ravel(), self._quads, self._boxes, inside)
        return inside.reshape(x.shape)

    def pose_at(self, distance_m: ArrayLike, offset_m: ArrayLike = 0.0) -> Poses:
        """Poses (K,) along the centre line, `offset_m` to its left; distances wrap on a closed track, and clip on an
        open one."""
        distance, offset = np.broadcast_arrays(
            np.atleast_1d(np.asarray(distance_m, dtype=np.float64)), np.asarray(offset_m, dtype=np.float64)
        )
        distance = distance % self.length_m if self.closed else np.clip(distance, 0.0, self.length_m)
        starts = self._segments[:, 5]
        segment = np.clip(np.searchsorted(starts, distance, side="right") - 1, 0, len(starts) - 1)
        heading = self._headings_rad[segment]
        along, cosine, sine = distance - starts[segment], np.cos(heading), np.sin(heading)
        x = self._segments[segment, 0] + along * cosine - offset * sine
        y = self._segments[segment, 1] + along * sine + offset * cosine
        return Poses(x_m=x, y_m=y, heading_rad=heading)

    def shortest_way(self, distance_m: FloatArray) -> FloatArray:
        """Differences of centre-line distances, the short way round a closed track; open tracks do not wrap."""
        if not self.closed:
            return distance_m
        half = 0.5 * self.length_m
        return np.asarray((distance_m + half) % self.length_m - half)

    def reversed(self) -> "Track":
        """The same road driven the other way: rows flipped, edges swapped so that inner stays left; same name."""
        return replace(self, route=self.route[::-1][:, [0, 1, 4, 5, 2, 3]])
