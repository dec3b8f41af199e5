"""The two lanes of a road: smooth curves a quarter of the road's width left and right of the centre line."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from contract.state import FloatArray
from simapp.tracks import Track
from simapp.tracks.track import heading_difference


@dataclass(frozen=True, slots=True)
class Lanes:
    """Where a track's lanes run.

    nodes  (S + 1, 5): arc length along the centre line, x, y, heading of the tangent (unwrapped), quarter of the width
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
        nodes = np.column_stack([starts, track.centre[rows], headings, 0.25 * track.widths_m[rows]])
        return cls(np.ascontiguousarray(nodes), float(starts[-1]))

    @property
    def squeeze(self) -> float:
        """How short a metre of the centre line becomes in the inner lane of the tightest bend, at most 1."""
        nodes = self.nodes
        curvature = np.abs(np.diff(nodes[:, 3]) / np.diff(nodes[:, 0]))
        quarter = np.maximum(nodes[1:, 4], nodes[:-1, 4])
        return float(np.clip(np.min(1.0 - curvature * quarter), 0.35, 1.0))

    def poses(self, distance_m: FloatArray, fraction: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y and heading (n,) at centre-line distances (n,), `fraction` (n,) of the way to the left lane (-1..1)."""
        x_m, y_m, heading_rad = (np.empty(len(distance_m)) for _ in range(3))
        lane_poses(self.nodes, self.length_m, distance_m, fraction, x_m, y_m, heading_rad)
        return x_m, y_m, heading_rad


@njit(cache=True, nogil=True, error_model="numpy")
def lane_pose(nodes, length_m, distance_m, fraction, slope):  # type: ignore[no-untyped-def]
    """x, y, heading at a centre-line distance, `fraction` of the way to the left lane, which changes by `slope` a
    metre; and the quarter of the road's width there. Distances wrap on open roads too.
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
    widening = nodes[low + 1, 4] - nodes[low, 4]
    quarter = nodes[low, 4] + t * widening
    offset = fraction * quarter
    sideways = slope * quarter + fraction * widening / span
    drift = math.atan2(sideways, max(1.0 - offset * turn / span, 0.05))
    return x - offset * math.sin(heading), y + offset * math.cos(heading), heading + drift, quarter


@njit(cache=True, nogil=True, error_model="numpy")
def lane_poses(nodes, length_m, distance_m, fraction, x_m, y_m, heading_rad):  # type: ignore[no-untyped-def]
    """`lane_pose` of many places (n,); the last three arrays are written."""
    for i in range(distance_m.size):
        x_m[i], y_m[i], heading_rad[i], _ = lane_pose(nodes, length_m, distance_m[i], fraction[i], 0.0)
