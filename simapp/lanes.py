"""The two lanes of a road as smooth curves, for what drives along them: through the lanes of the track at each row."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from contract.state import FloatArray, Poses
from simapp.road import Track, heading_difference

MIN_WIDTH_M = 0.02
"""Least distance of a lane from the middle of the two, where a road's edges nearly meet."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Where a track's lanes run.

    nodes  (S + 1, 6): arc length along the centre line, x, y, heading of the tangent (unwrapped), and of the two lanes
           the middle (left of the centre line positive) and half the distance between them
    """

    nodes: FloatArray
    length_m: float

    @classmethod
    def of(cls, track: Track) -> "Lanes":
        deltas = np.diff(track.centre, axis=0)
        lengths = np.hypot(*deltas.T)
        rows = np.append(lengths > 0.0, True)  # a repeated row makes no segment
        deltas, lengths = deltas[lengths > 0.0], lengths[lengths > 0.0]
        segments = np.arctan2(deltas[:, 1], deltas[:, 0])
        turns = heading_difference(segments[1:], segments[:-1])
        # the tangent of the arc through three points divides the turn as the chords' lengths
        before = lengths[:-1] / (lengths[:-1] + lengths[1:])
        along = np.concatenate([[0.0], np.cumsum(turns)]) + segments[0]
        headings = np.concatenate([[segments[0]], along[:-1] + before * turns, [along[-1]]])
        if track.closed:
            turn = float(heading_difference(segments[0], segments[-1]))
            share = lengths[-1] / (lengths[-1] + lengths[0])
            headings[0] -= (1.0 - share) * turn
            headings[-1] += share * turn
        starts = np.concatenate([[0.0], np.cumsum(lengths)])
        x, y = track.centre[rows].T
        left, right = (_offset(lane.nearest(x, y), x, y, headings) for lane in track.lanes)
        apart = np.maximum(0.5 * (left - right), MIN_WIDTH_M)
        nodes = np.column_stack([starts, x, y, headings, 0.5 * (left + right), apart])
        return cls(np.ascontiguousarray(nodes), float(starts[-1]))

    @property
    def squeeze(self) -> float:
        """How short a metre of the centre line becomes in the inner lane of the tightest bend, at most 1."""
        nodes = self.nodes
        curvature = np.abs(np.diff(nodes[:, 3]) / np.diff(nodes[:, 0]))
        beside = np.abs(nodes[:, 4]) + nodes[:, 5]
        return float(np.clip(np.min(1.0 - curvature * np.maximum(beside[1:], beside[:-1])), 0.35, 1.0))

    def middle_and_half(self, distance_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """At centre-line distances (n,): how far left of the centre line the middle of the two lanes is, and half the
        distance between them."""
        middle, half = (np.interp(distance_m % self.length_m, self.nodes[:, 0], self.nodes[:, i]) for i in (4, 5))
        return middle, half

    def poses(self, distance_m: FloatArray, fraction: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y and heading (n,) at centre-line distances (n,), `fraction` (n,) of the way from the lanes' middle to
        the left one: 1 is that, -1 the right one."""
        x_m, y_m, heading_rad = (np.empty(len(distance_m)) for _ in range(3))
        lane_poses(self.nodes, self.length_m, distance_m, fraction, x_m, y_m, heading_rad)
        return x_m, y_m, heading_rad


def _offset(lane: Poses, x_m: FloatArray, y_m: FloatArray, heading_rad: FloatArray) -> FloatArray:
    """(n,) how far the places in a lane lie left of points on the centre line."""
    dx, dy = lane.x_m - x_m, lane.y_m - y_m
    return np.asarray(np.copysign(np.hypot(dx, dy), dy * np.cos(heading_rad) - dx * np.sin(heading_rad)))


@njit(cache=True, nogil=True, error_model="numpy")
def lane_pose(nodes, length_m, distance_m, fraction, slope):  # type: ignore[no-untyped-def]
    """x, y, heading at a centre-line distance, `fraction` of the way from the lanes' middle to the left one, which
    changes by `slope` a metre; and half the distance between the lanes there. Distances wrap on open roads too.
    """
    s = distance_m % length_m
    low, high = 0, nodes.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if nodes[middle, 0] <= s:
            low = middle
        else:
            high = middle
    span = nodes[low + 1, 0] - nodes[low, 0]
    t = (s - nodes[low, 0]) / span
    x = nodes[low, 1] + t * (nodes[low + 1, 1] - nodes[low, 1])
    y = nodes[low, 2] + t * (nodes[low + 1, 2] - nodes[low, 2])
    turn = nodes[low + 1, 3] - nodes[low, 3]
    heading = nodes[low, 3] + t * turn
    shift = nodes[low + 1, 4] - nodes[low, 4]
    widening = nodes[low + 1, 5] - nodes[low, 5]
    half = nodes[low, 5] + t * widening
    offset = nodes[low, 4] + t * shift + fraction * half
    sideways = slope * half + (shift + fraction * widening) / span
    drift = math.atan2(sideways, max(1.0 - offset * turn / span, 0.05))
    return x - offset * math.sin(heading), y + offset * math.cos(heading), heading + drift, half


@njit(cache=True, nogil=True, error_model="numpy")
def lane_poses(nodes, length_m, distance_m, fraction, x_m, y_m, heading_rad):  # type: ignore[no-untyped-def]
    """`lane_pose` of many places (n,); the last three arrays are written."""
    for i in range(distance_m.size):
        x_m[i], y_m[i], heading_rad[i], _ = lane_pose(nodes, length_m, distance_m[i], fraction[i], 0.0)
