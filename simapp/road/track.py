"""The Track: DeepRacer's route array with the geometry that a simulator asks it for."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from contract.state import BoolArray, FloatArray, IntArray, Poses
from simapp.road.kernels import edge_points
from simapp.road.line import Line, Ring, near
from simapp.road.validation import checked_route, signed_area_m2

Edge = tuple[FloatArray, IntArray, IntArray]
"""Segments, and those near each segment of the centre line: where they begin in a list, and the list."""


@dataclass(slots=True)
class Projection:
    """K points seen from the centre line, each field (K,).

    distance_m   arc length from row 0 along the centre polyline: 0..length, and never `length` itself on a closed track
    offset_m     signed distance from the centre polyline, left of the driving direction positive
    behind       index of the waypoint at or behind the nearest centre-line point
    ahead        index of the next waypoint; on a loop the last one is the repeated first row, never a wrapped 0,
                 which is what DeepRacer's simulator logs (see `nearest_waypoint`)
    heading_rad  tangent of the centre segment from behind to ahead
    width_m      distance between the points of the two edges that are nearest to the nearest centre-line point, as in
                 AWS's simulator (track_data.py get_nearest_points): the rows of the edges need not be opposite it
    is_left      whether the left one of those two points is the nearer to the point: AWS's is_left_of_center
    fraction     where between behind (0) and ahead (1) the nearest centre-line point lies
    """

    distance_m: FloatArray
    offset_m: FloatArray
    behind: IntArray
    ahead: IntArray
    heading_rad: FloatArray
    width_m: FloatArray
    is_left: BoolArray
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
    world: Path | None = None
    """The folder of the imported world that the road lies in (simapp.worlds.World.load reads it); None: it has only
    the built-in look."""

    closed: bool = field(init=False)
    length_m: float = field(init=False)
    widths_m: FloatArray = field(init=False, repr=False)
    """(W,) the road's width at each row."""
    lanes: tuple[Line, Line] = field(init=False, repr=False)
    """The left and the right lane, half-way from the centre line to the edge row by row, as in AWS's simulator."""
    _line: Line = field(init=False, repr=False)
    _edges: tuple[Edge, Edge] = field(init=False, repr=False)
    _rings: tuple[Ring, ...] = field(init=False, repr=False)

    @classmethod
    def load(cls, name_or_path: str) -> "Track":
        """A shipped track, one of the working directory's tracks/, or a file; see `simapp.tracks.load_track`.

        >>> track = Track.load("paddock_cw")
        >>> track.closed, round(track.length_m, 2)
        (True, 17.72)
        """
        from simapp.tracks import load_track

        return load_track(name_or_path, [Path("tracks")])

    def __post_init__(self) -> None:
        where = self.name if self.source in ("memory", "shipped") else self.source
        route = checked_route(self.route, where)
        centre, inner, outer = route[:, 0:2], route[:, 2:4], route[:, 4:6]
        closed = bool(np.array_equal(route[0], route[-1]))
        line, left, right = (Line.of(edge, closed) for edge in (centre, inner, outer))
        derived: dict[str, object] = {
            "route": route,
            "closed": closed,
            "length_m": line.length_m,
            "lanes": tuple(Line.of(0.5 * (edge + centre), closed) for edge in (inner, outer)),
            "_line": line,
            "_edges": tuple((edge.segments, *near(line, edge)) for edge in (left, right)),
            "_rings": _rings(inner, outer, closed),
        }
        for key, value in derived.items():
            object.__setattr__(self, key, value)
        route.setflags(write=False)
        widths_m = self.project(centre[:, 0], centre[:, 1]).width_m
        widths_m.setflags(write=False)
        object.__setattr__(self, "widths_m", widths_m)

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
        edges = self.route[:, 2:].reshape(-1, 2)
        low, high = edges.min(axis=0), edges.max(axis=0)
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
        lengths, headings = 1.0 / np.sqrt(self._line.segments[:, 4]), self._line.headings_rad
        if self.closed:
            lengths, headings = np.append(lengths, lengths[0]), np.append(headings, headings[0])
        turns = np.abs(heading_difference(headings[1:], headings[:-1]))
        spans = 0.5 * (lengths[1:] + lengths[:-1])
        # rounding turns a straight by 1e-14 rad
        return float(min((spans[turns > 1e-9] / turns[turns > 1e-9]).tolist(), default=math.inf))

    def project(self, x_m: ArrayLike, y_m: ArrayLike) -> Projection:
        """Project points (K,) on the nearest point of the centre polyline."""
        x, y = _points(x_m, y_m)
        line = self._line
        distance, offset, segment, fraction = line.project(x, y)
        width, is_left = np.empty(x.size), np.empty(x.size, dtype=np.bool_)
        edge_points(x, y, line.segments, segment, fraction, *self._edges, width, is_left)
        behind = line.rows[segment]
        return Projection(distance, offset, behind, behind + 1, line.headings_rad[segment], width, is_left, fraction)

    def along(self, x_m: ArrayLike, y_m: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Distance along the centre line, and offset to its left, of points (K,): what `project` says of them, without
        the road's edges there."""
        distance, offset, _, _ = self._line.project(*_points(x_m, y_m))
        return distance, offset

    def on_road(self, x_m: ArrayLike, y_m: ArrayLike) -> BoolArray:
        """Whether points (any shape) are on the road or its edge: within the outer of the two edges and not within the
        other; an open road is within its edges and its ends (track_data.py `_road_poly_`)."""
        x, y = np.array(x_m, dtype=np.float64, order="C"), np.array(y_m, dtype=np.float64, order="C")
        if x.shape != y.shape:
            raise ValueError(f"on_road takes two arrays of one shape, got {x.shape} and {y.shape}")
        x_m, y_m = x.ravel(), y.ravel()
        on, touches = self._rings[0].contains(x_m, y_m)
        for ring in self._rings[1:]:
            inside, on_edge = ring.contains(x_m, y_m)
            on, touches = on & ~inside, touches | on_edge
        return (on | touches).reshape(x.shape)

    def pose_at(self, distance_m: ArrayLike, offset_m: ArrayLike = 0.0) -> Poses:
        """Poses (K,) along the centre line, `offset_m` to its left; distances wrap on a closed track, and clip on an
        open one."""
        return self._line.pose_at(distance_m, offset_m)

    def lane_poses(self, distance_m: ArrayLike) -> tuple[Poses, Poses]:
        """Poses (K,) in the left lane and in the right one, nearest to these places of the centre line: where AWS's
        simulator puts obstacles, and cars that are reset (rollout_agent_ctrl.py `_get_reset_poses`)."""
        at = self._line.pose_at(distance_m)
        left, right = (lane.nearest(at.x_m, at.y_m) for lane in self.lanes)
        return left, right

    def lane_pose(self, distance_m: ArrayLike, is_left: ArrayLike) -> Poses:
        """`lane_poses` of the lanes that are asked for, (K,)."""
        left, right = self.lane_poses(distance_m)
        return Poses(*(np.where(is_left, getattr(left, name), getattr(right, name)) for name in Poses.__slots__))

    def shortest_way(self, distance_m: FloatArray) -> FloatArray:
        """Differences of centre-line distances, the short way round a closed track; open tracks do not wrap."""
        if not self.closed:
            return distance_m
        half = 0.5 * self.length_m
        return np.asarray((distance_m + half) % self.length_m - half)

    def reversed(self) -> "Track":
        """The same road driven the other way: rows flipped, edges swapped so that inner stays left; same name."""
        return replace(self, route=self.route[::-1][:, [0, 1, 4, 5, 2, 3]])


def _points(x_m: ArrayLike, y_m: ArrayLike) -> tuple[FloatArray, FloatArray]:
    # copies: contiguous and writable whatever came in, since each other memory layout is compiled anew
    x = np.array(x_m, dtype=np.float64, order="C", ndmin=1)
    y = np.array(y_m, dtype=np.float64, order="C", ndmin=1)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"project takes two arrays of one shape (K,), got {x.shape} and {y.shape}")
    return x, y


def _rings(inner: FloatArray, outer: FloatArray, closed: bool) -> tuple[Ring, ...]:
    """The ring that the road is within, and of a loop the other one, which it is not within."""
    if not closed:
        return (Ring.of(np.vstack([outer, inner[::-1], outer[:1]])),)
    return tuple(sorted((Ring.of(inner), Ring.of(outer)), key=lambda ring: -ring.area_m2))
