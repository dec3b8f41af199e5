"""Checks that a route array is a road, with messages that name the row and the fix."""

import numpy as np
import shapely
from numpy.typing import ArrayLike

from contract.errors import InputError
from contract.state import FloatArray, IntArray
from simapp.road.kernels import BOUNDARY_M

MIN_WIDTH_M, MAX_WIDTH_M = 0.3, 3.0
"""Real roads are 0.6..1.4 m wide: outside of this the file is in other units or its edges are mixed up."""
MAX_COORDINATE_M = 1e4
MIN_STEP_M = 1e-3
CLOSING_M = 1e-5
"""A last row this near the first one is the first one again, as sums of floats or float32 files have it."""
MAX_TURN_RAD = np.radians(120.0)
"""A sharper turn from row to row is a row out of order, not a bend (the public tracks turn by 22 degrees at most)."""
MAX_SKEW = 0.35
"""How far the centre may lie off the line from edge to edge, in road widths (at most 0.09 in the public tracks)."""
_COLUMNS = ("centre x", "centre y", "inner x", "inner y", "outer x", "outer y")


def checked_route(array: ArrayLike, where: str) -> FloatArray:
    """A private float64 copy (W, 6) of the route, its inner edge left of the driving direction.

    InputError, beginning with `where` and the row, when it is no road. Rows that repeat the one before whole are kept:
    several public files have one, and the indices of `closest_waypoints` count it. A last row that is the first one but
    for rounding becomes it.
    """
    route = _checked_numbers(array, where)
    _check_steps(route, where)
    _check_ends(route, where)
    _check_widths(route, where)
    route = _with_inner_left(route, where)
    _check_centred(route, where)
    _check_overlap(route, where)
    return route


def _checked_numbers(array: ArrayLike, where: str) -> FloatArray:
    given = np.asarray(array)
    if given.ndim != 2 or given.shape[1] != 6:
        raise InputError(
            f"{where}: shape",
            given.shape,
            "a route is an array of shape (W, 6): centre x, y, inner edge x, y, outer edge x, y",
            "save one row per waypoint, with the six numbers as columns",
        )
    if given.dtype.kind not in "fiu":
        raise InputError(
            f"{where}: dtype", str(given.dtype), "a route holds real numbers, in metres", "save it as float64"
        )
    route = np.array(given, dtype=np.float64, order="C")
    bad = np.argwhere(~np.isfinite(route))
    if len(bad):
        row, column = int(bad[0, 0]), int(bad[0, 1])
        raise InputError(
            f"{where}: row {row}, {_COLUMNS[column]}",
            float(route[row, column]),
            "every number is finite",
            f"remove or mend the row ({len(bad)} such numbers in the file)",
        )
    far = np.argwhere(np.abs(route) > MAX_COORDINATE_M)
    if len(far):
        row, column = int(far[0, 0]), int(far[0, 1])
        raise InputError(
            f"{where}: row {row}, {_COLUMNS[column]}",
            float(route[row, column]),
            f"coordinates lie within {MAX_COORDINATE_M:g} m of the origin",
            "move the track to the origin, and give metres",
        )
    closed = len(route) > 1 and bool(np.abs(route[0] - route[-1]).max() <= CLOSING_M)
    if closed:
        route[-1] = route[0]
    needed = 4 if closed else 2
    if len(route) < needed:
        raise InputError(
            f"{where}: rows",
            len(route),
            "a loop has at least 4 rows (the last repeats the first), an open road at least 2",
            "give a waypoint about every 0.15 m",
        )
    return route


def _check_steps(route: FloatArray, where: str) -> None:
    steps = np.hypot(*np.diff(route[:, 0:2], axis=0).T)
    repeated = np.all(route[1:] == route[:-1], axis=1)
    bad = np.flatnonzero((steps < MIN_STEP_M) & ~repeated)
    if len(bad):
        row = int(bad[0])
        raise InputError(
            f"{where}: rows {row} and {row + 1}",
            float(steps[row]),
            f"waypoints are at least {MIN_STEP_M} m apart, unless the whole row is repeated",
            "remove one of the two rows",
        )
    rows = np.flatnonzero(steps > 0.0)
    if len(rows) == 0:
        raise InputError(f"{where}: rows", len(route), "the waypoints differ", "give the waypoints of a road")
    deltas = np.diff(route[:, 0:2], axis=0)[rows]
    if np.array_equal(route[0], route[-1]):
        rows, deltas = np.append(rows, rows[0]), np.vstack([deltas, deltas[:1]])
    cross = deltas[:-1, 0] * deltas[1:, 1] - deltas[:-1, 1] * deltas[1:, 0]
    turns = np.abs(np.arctan2(cross, np.sum(deltas[:-1] * deltas[1:], axis=1)))
    if len(turns) and turns.max() > MAX_TURN_RAD:
        worst = int(np.argmax(turns))
        raise InputError(
            f"{where}: row {int(rows[worst + 1])}",
            f"a turn of {np.degrees(turns[worst]):.0f} degrees",
            f"the centre line turns by at most {np.degrees(MAX_TURN_RAD):.0f} degrees at a row",
            "put the rows in driving order, or give more waypoints in the bend",
        )


def _check_ends(route: FloatArray, where: str) -> None:
    if np.array_equal(route[0], route[-1]):
        return
    gap = float(np.hypot(*(route[-1, 0:2] - route[0, 0:2])))
    steps = np.hypot(*np.diff(route[:, 0:2], axis=0).T)
    width = float(np.hypot(*(route[0, 2:4] - route[0, 4:6])))
    first, last = route[1, 0:2] - route[0, 0:2], route[-1, 0:2] - route[-2, 0:2]
    # ends this near that point the same way are a loop that someone forgot to close; a U-turn's point apart
    if first @ last > 0.0 and gap <= max(width, 2.0 * float(np.median(steps))) and steps.sum() > 4.0 * gap:
        raise InputError(
            f"{where}: rows 0 and {len(route) - 1}",
            f"{gap:.6g} m apart",
            "a loop repeats its first row, all six numbers, at the end; the ends of an open road lie further apart",
            "append a copy of row 0" if gap > MIN_STEP_M else "overwrite the last row with a copy of row 0",
        )


def _check_widths(route: FloatArray, where: str) -> None:
    widths = np.hypot(*(route[:, 2:4] - route[:, 4:6]).T)
    bad = np.flatnonzero((widths < MIN_WIDTH_M) | (widths > MAX_WIDTH_M))
    if len(bad):
        row = int(bad[0])
        raise InputError(
            f"{where}: row {row}",
            f"{widths[row]:.6g} m from inner to outer edge",
            f"the road is {MIN_WIDTH_M} to {MAX_WIDTH_M} m wide",
            f"give metres, and edges that belong to the row's centre ({len(bad)} such rows)",
        )


def _tangents(route: FloatArray) -> FloatArray:
    """Unit tangents (W, 2) at the waypoints: the bisector of the segments before and after; repeated rows share it."""
    deltas = np.diff(route[:, 0:2], axis=0)
    lengths = np.hypot(deltas[:, 0], deltas[:, 1])
    moving = np.flatnonzero(lengths > 0.0)
    unit = deltas[moving] / lengths[moving, None]
    index = np.arange(len(route))
    # the first moving segment at or after a row, and the last one before it
    after, before = np.searchsorted(moving, index), np.searchsorted(moving, index) - 1
    if np.array_equal(route[0], route[-1]):
        after, before = after % len(moving), before % len(moving)
    total = unit[np.clip(after, 0, len(moving) - 1)] + unit[np.clip(before, 0, len(moving) - 1)]
    return np.asarray(total / np.hypot(total[:, 0], total[:, 1])[:, None])


def _left_of_centre(route: FloatArray, edge: slice) -> FloatArray:
    """(W,) how far an edge lies left of the centre line."""
    tangent, arm = _tangents(route), route[:, edge] - route[:, 0:2]
    return np.asarray(tangent[:, 0] * arm[:, 1] - tangent[:, 1] * arm[:, 0])


def _with_inner_left(route: FloatArray, where: str) -> FloatArray:
    inner, outer = _left_of_centre(route, slice(2, 4)), _left_of_centre(route, slice(4, 6))
    if np.all(inner > 0.0) and np.all(outer < 0.0):
        return route
    mirrored = bool(np.all(inner < 0.0) and np.all(outer > 0.0))
    if mirrored and np.array_equal(route[0], route[-1]) and signed_area_m2(route) < 0.0:
        # clockwise files in the wild call the geometric inside `inner`, and that is the right edge
        return np.ascontiguousarray(route[:, [0, 1, 4, 5, 2, 3]])
    if mirrored:
        raise InputError(
            f"{where}: every row",
            "inner edge right of the driving direction",
            "columns 2, 3 are the inner (left) edge and columns 4, 5 the outer (right) one",
            "swap the two pairs of columns, or reverse the order of the rows",
        )
    _check_sides(inner, outer, where)
    return route


def crossed_rows(route: FloatArray) -> IntArray:
    """Rows one of whose edges lies on the wrong side of the centre line, as in AWS's own Tokyo_Training_track."""
    inner, outer = _left_of_centre(route, slice(2, 4)), _left_of_centre(route, slice(4, 6))
    return np.flatnonzero((inner <= 0.0) | (outer >= 0.0))


def _check_sides(inner: FloatArray, outer: FloatArray, where: str) -> None:
    """That the inner edge is left of the outer one in every row, and the centre between them in most."""
    swapped = inner <= outer
    beside = (inner <= 0.0) | (outer >= 0.0)
    if swapped.any():
        most_swapped = np.count_nonzero(swapped) * 2 > len(swapped)
        row = int(np.argmax(~swapped if most_swapped else swapped))
    elif np.count_nonzero(beside) * 2 > len(beside):
        row = int(np.argmax(beside))
    else:
        return
    name, off = ("inner", inner) if inner[row] <= 0.0 else ("outer", outer)
    raise InputError(
        f"{where}: row {row}",
        f"{name} edge {abs(off[row]):.3g} m {'left' if off[row] > 0.0 else 'right'} of the centre",
        "the inner edge lies left of the outer one in driving direction in every row, and the centre line between them "
        "in most",
        f"mend the {name} edge of the row: the centre lies between the two edges",
    )


def _check_centred(route: FloatArray, where: str) -> None:
    across = route[:, 2:4] - route[:, 4:6]
    arm = route[:, 0:2] - route[:, 4:6]
    square = np.sum(across * across, axis=1)
    skew = np.abs(across[:, 0] * arm[:, 1] - across[:, 1] * arm[:, 0]) / square
    if skew.max() > MAX_SKEW:
        row = int(np.argmax(skew))
        raise InputError(
            f"{where}: row {row}",
            f"centre {skew[row] * np.sqrt(square[row]):.3g} m off the line from inner to outer edge",
            f"the centre lies between the edges, off their line by at most {MAX_SKEW} road widths",
            "give each row the edge points across from its centre",
        )


def _check_overlap(route: FloatArray, where: str) -> None:
    width = float(np.hypot(*(route[:, 2:4] - route[:, 4:6]).T).max())
    starts = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(route[:, 0:2], axis=0).T))])
    inner, outer = route[:, 2:4], route[:, 4:6]
    rows = np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], axis=1)
    quads = np.asarray(shapely.make_valid(shapely.polygons(rows)))  # folded ones of tight bends are two triangles
    one, other = shapely.STRtree(quads).query(quads, predicate="intersects")
    gap = starts[other] - starts[one + 1]
    if np.array_equal(route[0], route[-1]):
        gap = np.minimum(gap, starts[-1] - (starts[other + 1] - starts[one]))
    # a bend tighter than half the width folds its inner edge over rows at most this far apart, and stays one road
    distant = (one < other) & (gap > 0.5 * np.pi * width)
    one, other = one[distant], other[distant]
    over = shapely.area(shapely.intersection(quads[one], quads[other])) > BOUNDARY_M  # m2: seams only touch
    if not over.any():
        return
    first, second = min(zip(one[over].tolist(), other[over].tolist(), strict=True))
    distance = float(np.hypot(*(route[first, 0:2] - route[second, 0:2])))
    raise InputError(
        f"{where}: rows {first} and {second}",
        f"centre lines {distance:.3g} m apart",
        f"stretches of road that are not neighbours do not overlap (road {width:.3g} m wide)",
        "move the two stretches apart; a road that crosses itself has no unique place for a car on the crossing",
    )


def signed_area_m2(route: FloatArray) -> float:
    """Area within the centre line of a closed route, positive when it is driven counter-clockwise."""
    x, y = route[:, 0] - route[0, 0], route[:, 1] - route[0, 1]
    return float(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
