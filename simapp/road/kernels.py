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
    x_m,
    y_m,
    segments,
    segment_of,
    fraction,
    left,
    left_first,
    left_found,
    right,
    right_first,
    right_found,
    width_m,
    is_left,
):
    """From the edges' points nearest to a centre-line point: the road's width there, and whether the point (K,) that
    the centre-line point belongs to is nearer to the left one. The last two arrays (K,) are written."""
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


@njit(cache=True, nogil=True, error_model="numpy")
def _strictly_inside(px: float, py: float, route: FloatArray, j: int) -> bool:
    """Whether the point lies within the quad of rows j and j + 1, off its edges."""
    sign = 0.0
    for i in range(4):
        # inner j, inner j + 1, outer j + 1, outer j
        from_row, from_edge = j + (1 if i in (1, 2) else 0), 2 if i < 2 else 4
        to_row, to_edge = j + (1 if i in (0, 1) else 0), 2 if i in (0, 3) else 4
        ax, ay = route[from_row, from_edge], route[from_row, from_edge + 1]
        dx, dy = route[to_row, to_edge] - ax, route[to_row, to_edge + 1] - ay
        cross = dx * (py - ay) - dy * (px - ax)
        if abs(cross) <= BOUNDARY_M * math.sqrt(dx * dx + dy * dy) or cross * sign < 0.0:
            return False
        sign = cross
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _edges_cross(route: FloatArray, i: int, j: int) -> bool:
    """Whether an edge between rows i and i + 1 crosses one between rows j and j + 1; touching is no crossing."""
    for a in range(2, 6, 2):
        ax, ay, bx, by = route[i, a], route[i, a + 1], route[i + 1, a], route[i + 1, a + 1]
        for c in range(2, 6, 2):
            cx, cy, dx, dy = route[j, c], route[j, c + 1], route[j + 1, c], route[j + 1, c + 1]
            side_c = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            side_d = (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
            side_a = (dx - cx) * (ay - cy) - (dy - cy) * (ax - cx)
            side_b = (dx - cx) * (by - cy) - (dy - cy) * (bx - cx)
            if side_c * side_d < 0.0 and side_a * side_b < 0.0:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def first_overlap(
    route: FloatArray, starts: FloatArray, boxes: FloatArray, closed: bool, apart_m: float
) -> tuple[int, int]:
    """Rows (i, j), more than `apart_m` of centre line apart, where the road lies over itself, or (-1, -1).

    `route` (W, 6), `starts` (W,) arc length at each row, `boxes` (W - 1, 4) xmin, ymin, xmax, ymax of the quads. Two
    stretches overlap when their edges cross, or when one has its centre or an edge within the other (lanes side by
    side, a file of two laps). Edges that only touch are no overlap.
    """
    count = route.shape[0] - 1
    for i in range(count):
        for j in range(i + 1, count):
            if boxes[i, 0] > boxes[j, 2] or boxes[j, 0] > boxes[i, 2]:
                continue
            if boxes[i, 1] > boxes[j, 3] or boxes[j, 1] > boxes[i, 3]:
                continue
            gap = starts[j] - starts[i + 1]
            if closed:
                gap = min(gap, starts[count] - (starts[j + 1] - starts[i]))
            if gap <= apart_m:
                continue
            if _edges_cross(route, i, j):
                return i, j
            # rows alone could all lie on the seams between the other stretch's quads, as in a file of two laps
            for point in range(0, 6, 2):
                for part in (0.0, 0.5):
                    x = route[i, point] + part * (route[i + 1, point] - route[i, point])
                    y = route[i, point + 1] + part * (route[i + 1, point + 1] - route[i, point + 1])
                    if _strictly_inside(x, y, route, j):
                        return i, j
    return -1, -1
