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
