"""Compiled geometry kernels: brute force over a track's 20..400 segments, one thread, no state.

Each point is worked out alone, so a result never depends on how many points share the call.
"""

import math

import numpy as np
from numba import njit

from contract.state import FloatArray, IntArray

BOUNDARY_M = 1e-9
"""Points this near an edge count as on it: edge lines are road, and rounding opens no cracks between quads."""


@njit(cache=True, nogil=True, error_model="numpy")
def project_points(
    x_m: FloatArray,
    y_m: FloatArray,
    segments: FloatArray,
    length_m: float,
    closed: bool,
    distance_m: FloatArray,
    offset_m: FloatArray,
    segment_of: IntArray,
    fraction: FloatArray,
) -> None:
    """Nearest centre-line point of each point (K,); the last four arrays (K,) are written.

    `segments` is (S, 6): start x, start y, delta x, delta y, 1 / length**2, arc length at the start; all of length > 0.
    A vertex belongs to the segment that begins there (DeepRacer's bisect_right), so on a closed line the
    start/finish point has distance 0, never `length_m`.
    """
    count = segments.shape[0]
    for k in range(x_m.size):
        px, py = x_m[k], y_m[k]
        best, best_t, best_square, nearer = 0, 0.0, math.inf, math.inf
        for s in range(count):
            ax, ay, dx, dy = px - segments[s, 0], py - segments[s, 1], segments[s, 2], segments[s, 3]
            t = min(max((ax * dx + ay * dy) * segments[s, 4], 0.0), 1.0)
            ex, ey = ax - t * dx, ay - t * dy
            square = ex * ex + ey * ey
            if square < nearer:
                best, best_t, best_square = s, t, square
                # two segments as near as each other are usual: a corner of the centre line lies amid two of the inner
                # lane. The first one counts, whatever rounding says of the second.
                nearer = square * (1.0 - 1e-12)
        # the side comes from the segment that was found, before the vertex moves on to the next one: right of a
        # left-hand corner stays right for both
        cross = segments[best, 2] * (py - segments[best, 1]) - segments[best, 3] * (px - segments[best, 0])
        offset_m[k] = math.copysign(math.sqrt(best_square), cross) + 0.0  # no -0.0 in files
        if best_t == 1.0 and (closed or best + 1 < count):
            best, best_t = (best + 1) % count, 0.0
        start = segments[best, 5]
        end = segments[best + 1, 5] if best + 1 < count else length_m
        distance_m[k] = start + best_t * (end - start)
        segment_of[k], fraction[k] = best, best_t


@njit(cache=True, nogil=True, error_model="numpy")
def _square_to(px: float, py: float, segments: FloatArray, s: int) -> tuple[float, float, float]:
    """Squared distance of a point to segment s, and the nearest point of that."""
    dx, dy = segments[s, 2], segments[s, 3]
    ax, ay = px - segments[s, 0], py - segments[s, 1]
    t = min(max((ax * dx + ay * dy) * segments[s, 4], 0.0), 1.0)
    ex, ey = ax - t * dx, ay - t * dy
    return ex * ex + ey * ey, px - ex, py - ey


@njit(cache=True, nogil=True, error_model="numpy")
def near_segments(segments: FloatArray, edge: FloatArray, first: IntArray, found: IntArray) -> None:
    """See `line.near`; `first` (S + 1,) and the beginning of `found` (S * E,) are written.

    A point of a segment is at most half its length from the middle: an edge segment that is further from the middle
    than the nearest one by more than the whole length is the nearest of none.
    """
    count = 0
    away = np.empty(edge.shape[0])
    for s in range(segments.shape[0]):
        x, y = segments[s, 0] + 0.5 * segments[s, 2], segments[s, 1] + 0.5 * segments[s, 3]
        least = math.inf
        for e in range(edge.shape[0]):
            away[e] = math.sqrt(_square_to(x, y, edge, e)[0])
            least = min(least, away[e])
        reach = least + math.hypot(segments[s, 2], segments[s, 3]) + BOUNDARY_M
        for e in range(edge.shape[0]):
            if away[e] <= reach:
                found[count] = e
                count += 1
        first[s + 1] = count


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_point(x: float, y: float, edge: FloatArray, first: int, last: int, found: IntArray) -> tuple[float, float]:
    best, best_x, best_y = math.inf, 0.0, 0.0
    for i in range(first, last):
        square, ex, ey = _square_to(x, y, edge, found[i])
        if square < best:
            best, best_x, best_y = square, ex, ey
    return best_x, best_y


@njit(cache=True, nogil=True, error_model="numpy")
def edge_points(  # type: ignore[no-untyped-def]
    x_m, y_m, segments, segment_of, fraction, left_edge, right_edge, width_m, is_left
):
    """From the edges' points nearest to a centre-line point: the road's width there, and whether the point (K,) that
    the centre-line point belongs to is nearer to the left one. The last two arrays (K,) are written. An edge is its
    segments, and those near each of the centre line's: where they begin in a list, and the list."""
    left, left_first, left_found = left_edge
    right, right_first, right_found = right_edge
    for k in range(x_m.size):
        s = segment_of[k]
        x, y = segments[s, 0] + fraction[k] * segments[s, 2], segments[s, 1] + fraction[k] * segments[s, 3]
        lx, ly = _nearest_point(x, y, left, left_first[s], left_first[s + 1], left_found)
        rx, ry = _nearest_point(x, y, right, right_first[s], right_first[s + 1], right_found)
        width_m[k] = math.hypot(lx - rx, ly - ry)
        to_left = (lx - x_m[k]) ** 2 + (ly - y_m[k]) ** 2
        is_left[k] = to_left < (rx - x_m[k]) ** 2 + (ry - y_m[k]) ** 2


@njit(cache=True, nogil=True, error_model="numpy")
def points_in_ring(  # type: ignore[no-untyped-def]
    x_m, y_m, ring, bands, first, sides, inside, on_edge
):
    """Whether each point (K,) is inside a ring by the even-odd rule, and whether it is on it; the last two arrays (K,)
    are written. `ring` is (R, 4): start x, start y, delta x, delta y of its sides, which may cross each other.

    `bands` says where the first of the horizontal bands begins and how many a metre there are: those sides come into
    band b that `sides` names from first[b] to first[b + 1].
    """
    for k in range(x_m.size):
        px, py = x_m[k], y_m[k]
        odd, touches = False, False
        band = math.floor((py - bands[0]) * bands[1])
        if 0 <= band < first.size - 1:
            for j in range(first[band], first[band + 1]):
                i = sides[j]
                ay, dy = ring[i, 1], ring[i, 3]
                low, high = (ay, ay + dy) if dy >= 0.0 else (ay + dy, ay)
                if py < low - BOUNDARY_M or py > high + BOUNDARY_M:
                    continue
                ax, dx = ring[i, 0], ring[i, 2]
                rx, ry = px - ax, py - ay
                cross = dx * ry - dy * rx
                length = math.sqrt(dx * dx + dy * dy)
                if abs(cross) <= BOUNDARY_M * length:
                    along = dx * rx + dy * ry
                    if -BOUNDARY_M * length <= along <= (length + BOUNDARY_M) * length:
                        touches = True
                        break
                # a ray to the right meets the side: it lies right of the point, and on both sides of its height
                if (ay <= py) != (ay + dy <= py) and (cross > 0.0) == (dy > 0.0):
                    odd = not odd
        inside[k], on_edge[k] = odd, touches
