"""The room that a car has: a smooth closed reference along a road, with the road's edges to its left and right.

The optimisation works in coordinates of such a reference: the distance along it and the offset to its left. They break
down where the offset reaches the centre of the reference's curvature. So the reference is no centre line, which may be
as tight as it likes, but a short and straight line between the edges, found in a few rounds from the smoothed centre
line. It is also the line that the optimisation starts with.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csc_matrix, diags, eye
from scipy.sparse.linalg import splu

from contract.errors import InputError
from contract.state import BoolArray, FloatArray
from contract.vehicle import WIDTH_M
from simapp.tracks import Track

SPACING_M = 0.06
"""Between the points of the reference: the car's steering answers within 0.16 s, which is half a metre."""
WINDOW_M = 1.5
"""An edge is looked for so far before and behind the row of the centre line that is nearest."""
_SMOOTH_M = 0.15
"""Standard deviation of the centre line's smoothing."""
_ROUNDS = 6
_TRUST = 0.7
"""A round moves a point towards the centre of curvature by this share of the radius at most."""


@dataclass(frozen=True, slots=True)
class Corridor:
    """N points of a closed reference, evenly spaced, each field (N,) unless it says more.

    x_m, y_m      the points; the first is abreast of the track's start line
    heading_rad   tangent, not wrapped: it grows by +-2 pi in a lap
    curvature     1/m, left positive
    left_m        offset of the left edge, measured along the normal, left positive
    right_m       offset of the right edge; usually negative
    spacing_m     between two points
    """

    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    curvature: FloatArray
    left_m: FloatArray
    right_m: FloatArray
    spacing_m: float

    @property
    def length_m(self) -> float:
        return self.spacing_m * len(self.x_m)

    def points(self, offset_m: FloatArray) -> FloatArray:
        """(N, 2) points at offsets (N,) to the left."""
        normal = np.column_stack([-np.sin(self.heading_rad), np.cos(self.heading_rad)])
        return np.asarray(np.column_stack([self.x_m, self.y_m]) + offset_m[:, np.newaxis] * normal)


def corridor_of(track: Track, inset_m: float, spacing_m: float = SPACING_M) -> Corridor:
    """The corridor of a closed track around its least bent line, which stays `inset_m` inside of the edges.

    InputError for an open road, which has no lap, and for one that is too narrow for the car.
    """
    if not track.closed:
        raise InputError(
            "track", track.name, "a lap needs a closed track", "name one that is a loop (undercut tracks list)"
        )
    check_width(track, inset_m)
    count = max(round(track.length_m / spacing_m), 24)
    distance = track.length_m * np.arange(count) / count
    poses = track.pose_at(distance)
    sigma = _SMOOTH_M / (track.length_m / count)
    points = gaussian_filter1d(np.column_stack([poses.x_m, poses.y_m]), sigma, axis=0, mode="wrap")
    corridor = _measured(track, points, count)
    for _ in range(_ROUNDS):
        offset = _least_bent(corridor, inset_m)
        corridor = _measured(track, corridor.points(offset), count)
        if np.abs(offset).max() < 0.02:
            break
    return corridor


def check_width(track: Track, inset_m: float) -> None:
    """InputError where the car does not fit between the edges with so much room to each."""
    narrowest = int(np.argmin(track.widths_m))
    width, needed = float(track.widths_m[narrowest]), WIDTH_M + 2.0 * max(inset_m, 0.0)
    if width < needed:
        raise InputError(
            f"track {track.name}, row {narrowest}",
            f"road {width:.3f} m wide",
            f"the car is {WIDTH_M} m wide, and with the margin it needs {needed:.3f} m",
            "give the road more width there, or a smaller --margin",
        )


def _measured(track: Track, points: FloatArray, count: int) -> Corridor:
    """The corridor around the closed line through the points (K, 2), `count` points of it."""
    ring = np.vstack([points, points[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    curve = CubicSpline(along, ring, bc_type="periodic")
    # by the true arc length, and from the start line on
    fine = np.linspace(0.0, along[-1], 8 * count + 1)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve(fine), axis=0).T))])
    start = float(np.interp(_abreast(track, curve(fine[:-1])), np.arange(len(fine)), arc))
    s = start + arc[-1] * np.arange(count) / count
    parameter = np.interp(s % arc[-1], arc, fine)
    x, y = curve(parameter).T
    dx, dy = curve(parameter, 1).T
    ddx, ddy = curve(parameter, 2).T
    curvature = (dx * ddy - dy * ddx) / np.hypot(dx, dy) ** 3
    heading = np.unwrap(np.arctan2(dy, dx))
    left, right = _edges(track, x, y, heading)
    return Corridor(x, y, heading, curvature, left, right, float(arc[-1]) / count)


def _abreast(track: Track, points: FloatArray) -> float:
    """Where among closed points (K, 2) the lap begins, as an index with a fraction: at centre-line distance 0."""
    distance, _ = track.along(points[:, 0], points[:, 1])
    way = track.shortest_way(distance)
    after = np.roll(way, -1)
    crossing = np.flatnonzero((way < 0.0) & (after >= 0.0) & (after - way < 0.25 * track.length_m))
    if not len(crossing):
        return 0.0
    k = int(crossing[0])
    return k + float(-way[k] / (after[k] - way[k]))


def _edges(track: Track, x_m: FloatArray, y_m: FloatArray, heading_rad: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Offsets (N,) of the left and the right edge from points (N,), along their normals."""
    normal = np.column_stack([-np.sin(heading_rad), np.cos(heading_rad)])
    points = np.column_stack([x_m, y_m])
    where = track.project(x_m, y_m)
    centre = track.centre[:-1]
    row = np.where(where.fraction <= 0.5, where.behind, where.ahead) % len(centre)
    left, right = (
        _crossings(points, normal, edge, row, track.length_m) for edge in (track.inner[:-1], track.outer[:-1])
    )
    return left, right


def _crossings(
    points: FloatArray, normal: FloatArray, edge: FloatArray, row: np.ndarray, length_m: float
) -> FloatArray:
    """Offsets (N,) at which normals (N, 2) through points meet a closed edge (W, 2) near its rows (N,): of several
    crossings the one nearest to the row's own point."""
    rows = len(edge)
    reach = min(max(3, int(np.ceil(WINDOW_M / length_m * rows))), (rows - 1) // 2)
    near = (row[:, np.newaxis] + np.arange(-reach, reach)) % rows
    a, b = edge[near], edge[(near + 1) % rows]
    to_a, to_b = a - points[:, np.newaxis], b - points[:, np.newaxis]
    tangent = np.stack([normal[:, 1], -normal[:, 0]], axis=1)
    ahead_a, ahead_b = np.einsum("nwk,nk->nw", to_a, tangent), np.einsum("nwk,nk->nw", to_b, tangent)
    across_a, across_b = np.einsum("nwk,nk->nw", to_a, normal), np.einsum("nwk,nk->nw", to_b, normal)
    crosses = (ahead_a <= 0.0) != (ahead_b <= 0.0)
    span = np.where(crosses, ahead_b - ahead_a, 1.0)
    offset = across_a - ahead_a * (across_b - across_a) / span
    expected = np.einsum("nk,nk->n", edge[row] - points, normal)
    away = np.where(crosses, np.abs(offset - expected[:, np.newaxis]), np.inf)
    best = away.argmin(axis=1)
    at = np.arange(len(points))
    # a normal that meets the edge nowhere near: its row's own point stands for it
    return np.asarray(np.where(np.isfinite(away[at, best]), offset[at, best], expected))


def _least_bent(corridor: Corridor, inset_m: float) -> FloatArray:
    """Offsets (N,) within the corridor at which the second differences of the points have the least sum of squares.

    They measure curvature where points stay as far apart, and shrink with a line that gets shorter: of lines that bend
    alike the short one is found. The line of least curvature proper swings out, and is a worse place to begin.
    """
    count, h = len(corridor.x_m), corridor.spacing_m
    second = _ring(count, (1.0, -2.0, 1.0)) / h**2
    normal = np.column_stack([-np.sin(corridor.heading_rad), np.cos(corridor.heading_rad)])
    straight = np.column_stack([corridor.x_m, corridor.y_m])
    hessian, slope = csc_matrix((count, count)), np.zeros(count)
    for k in range(2):
        part = second @ diags(normal[:, k])
        hessian = hessian + part.T @ part
        slope = slope + part.T @ (second @ straight[:, k])
    hessian = csc_matrix(h * (hessian + 1e-6 * eye(count)))
    low, high = corridor.right_m + inset_m, corridor.left_m - inset_m
    middle = 0.5 * (low + high)
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    room = _TRUST / np.maximum(np.abs(corridor.curvature), 1e-3)
    low = np.where(corridor.curvature < 0.0, np.maximum(low, -room), low)
    high = np.where(corridor.curvature > 0.0, np.minimum(high, room), high)
    high = np.maximum(high, low)
    return least_squares_in_bounds(hessian, h * slope, low, high)


def _ring(count: int, weights: tuple[float, float, float]) -> csc_matrix:
    """The circulant matrix that weighs each value and its two neighbours."""
    before, here, after = weights
    matrix = diags([before, here, after], [-1, 0, 1], shape=(count, count), format="lil")
    matrix[0, count - 1], matrix[count - 1, 0] = before, after
    return csc_matrix(matrix)


def least_squares_in_bounds(hessian: csc_matrix, slope: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """The x (N,) within bounds that minimises x' H x / 2 + slope' x, H positive definite and sparse: projected Newton
    steps with line search (Bertsekas, Projected Newton methods for problems with simple constraints, 1982)."""
    x = np.clip(np.zeros(len(low)), low, high)

    def value(at: FloatArray) -> float:
        return float(0.5 * at @ (hessian @ at) + slope @ at)

    for _ in range(100):
        gradient = hessian @ x + slope
        held: BoolArray = ((x <= low) & (gradient > 0.0)) | ((x >= high) & (gradient < 0.0))
        free = np.flatnonzero(~held)
        if not len(free):
            break
        step = np.zeros(len(x))
        step[free] = -splu(csc_matrix(hessian[free][:, free])).solve(gradient[free])
        size, before, decrease = 1.0, value(x), float(-gradient @ step)
        if decrease <= 1e-10 * (1.0 + abs(before)):
            break
        while size > 1e-6:
            tried = np.clip(x + size * step, low, high)
            if value(tried) <= before + 1e-4 * float(gradient @ (tried - x)):
                break
            size *= 0.5
        x = tried
    return x
