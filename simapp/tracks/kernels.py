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
