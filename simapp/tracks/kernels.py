"""Compiled geometry kernels: brute force over a track's 20..400 segments, one thread, no state.

Each point is worked out alone, so a result never depends on how many points share the call.
"""

import math

from numba import njit

from contract.state import BoolArray, FloatArray, IntArray

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
        best, best_t, best_square = 0, 0.0, math.inf
        for s in range(count):
            ax, ay, dx, dy = px - segments[s, 0], py - segments[s, 1], segments[s, 2], segments[s, 3]
            t = min(max((ax * dx + ay * dy) * segments[s, 4], 0.0), 1.0)
            ex, ey = ax - t * dx, ay - t * dy
            square = ex * ex + ey * ey
            if square < best_square:
                best, best_t, best_square = s, t, square
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
def points_in_quads(x_m: FloatArray, y_m: FloatArray, quads: FloatArray, boxes: FloatArray, inside: BoolArray) -> None:
    """Whether each point (K,) is in or on any quad; `inside` (K,) is written.

    `quads` is (Q, 4, 2) corners in order, `boxes` (Q, 4) their xmin, ymin, xmax, ymax. Winding number, so quads of
    either orientation, and ones folded by a bend tighter than the road's half width, count as their whole area.
    """
    for k in range(x_m.size):
        px, py = x_m[k], y_m[k]
        inside[k] = False
        for q in range(quads.shape[0]):
            if (
                px < boxes[q, 0] - BOUNDARY_M
                or px > boxes[q, 2] + BOUNDARY_M
                or py < boxes[q, 1] - BOUNDARY_M
                or py > boxes[q, 3] + BOUNDARY_M
            ):
                continue
            winding = 0
            on_edge = False
            for i in range(4):
                ax, ay = quads[q, i, 0], quads[q, i, 1]
                dx, dy = quads[q, (i + 1) & 3, 0] - ax, quads[q, (i + 1) & 3, 1] - ay
                rx, ry = px - ax, py - ay
                cross = dx * ry - dy * rx
                length = math.sqrt(dx * dx + dy * dy)
                if abs(cross) <= BOUNDARY_M * length:
                    along = dx * rx + dy * ry
                    if -BOUNDARY_M * length <= along <= (length + BOUNDARY_M) * length:
                        on_edge = True
                        break
                if ay <= py:
                    if ay + dy > py and cross > 0.0:
                        winding += 1
                elif ay + dy <= py and cross < 0.0:
                    winding -= 1
            if on_edge or winding != 0:
                inside[k] = True
                break


@njit(cache=True, nogil=True, error_model="numpy")
def first_crossing(route: FloatArray, starts: FloatArray, closed: bool, apart_m: float) -> tuple[int, int]:
    """Rows (i, j), more than `apart_m` of centre line apart, where the road lies over itself, or (-1, -1).

    `route` (W, 6), `starts` (W,) arc length at each row. Two stretches overlap when their edges cross, or when one runs
    along inside the other (a file of two laps): then a waypoint is nearer to the other's centre than half its width.
    Edges that only touch are no overlap.
    """
    count = route.shape[0] - 1
    length = starts[count]
    for i in range(count):
        for j in range(i + 1, count):
            gap = starts[j] - starts[i + 1]
            if closed:
                gap = min(gap, length - (starts[j + 1] - starts[i]))
            if gap <= apart_m:
                continue
            mx, my = route[i, 0] - route[j, 0], route[i, 1] - route[j, 1]
            ex, ey = route[j + 1, 0] - route[j, 0], route[j + 1, 1] - route[j, 1]
            square = ex * ex + ey * ey
            t = min(max((mx * ex + my * ey) / square, 0.0), 1.0) if square > 0.0 else 0.0
            wx, wy = route[j, 2] - route[j, 4], route[j, 3] - route[j, 5]
            if 4.0 * ((mx - t * ex) ** 2 + (my - t * ey) ** 2) < wx * wx + wy * wy:
                return i, j
            for a in range(2, 6, 2):
                ax, ay, bx, by = route[i, a], route[i, a + 1], route[i + 1, a], route[i + 1, a + 1]
                for c in range(2, 6, 2):
                    cx, cy, dx, dy = route[j, c], route[j, c + 1], route[j + 1, c], route[j + 1, c + 1]
                    if max(ax, bx) < min(cx, dx) or max(cx, dx) < min(ax, bx):
                        continue
                    if max(ay, by) < min(cy, dy) or max(cy, dy) < min(ay, by):
                        continue
                    side_c = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
                    side_d = (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
                    side_a = (dx - cx) * (ay - cy) - (dy - cy) * (ax - cx)
                    side_b = (dx - cx) * (by - cy) - (dy - cy) * (bx - cx)
                    if side_c * side_d < 0.0 and side_a * side_b < 0.0:
                        return i, j
    return -1, -1
