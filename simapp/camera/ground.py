"""The ground of a track's world, drawn exactly from the route: field, asphalt, edge lines, dashed centre line.

All compiled code that knows the printed sizes is in this file: numba's cache notices changes of a function's own file
only, so a size that lived elsewhere could change and the pictures not.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.state import FloatArray, IntArray, UInt8Array
from simapp.camera.look import (
    ASPHALT_RGB,
    DASH_RGB,
    FIELD_RGB,
    GREY,
    LINE_RGB,
    TILE_MM,
    SurfaceTextures,
)
from simapp.road import Track

# what is printed on the 2018 track, in inches: 3, 1, 2, 4; measured in frames of the real simulator
LINE_WIDTH_M = 0.0762
DASH_WIDTH_M = 0.0254
DASH_LENGTH_M = 0.0508
DASH_PERIOD_M = 0.1016

BLOCK, PART = 128, 16
"""Ground is painted in squares of this many texels, each with the few pieces of road that reach it."""

_REACH_M = 0.02  # beyond this from its edge the road has no influence on any texel


@dataclass(frozen=True, slots=True)
class Road:
    """A track's road as pieces: quads (M, 8) of corner x, y in order; edge lines (E, 4) from x, y to x, y; centre-line
    segments (C, 5) from x, y to x, y and the arc length at the start. All metres, float64.
    """

    quads: FloatArray
    edges: FloatArray
    centre: FloatArray

    @classmethod
    def of(cls, track: Track) -> "Road":
        inner, outer, centre = track.inner, track.outer, track.centre
        lengths = np.hypot(*np.diff(centre, axis=0).T)
        arc = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        # a whole number of dashes on a closed line: no cut dash at the start
        dashes = max(round(float(lengths.sum()) / DASH_PERIOD_M), 1)
        stretch = dashes * DASH_PERIOD_M / float(lengths.sum()) if track.closed else 1.0
        edges = np.concatenate([np.hstack([line[:-1], line[1:]]) for line in (inner, outer)])
        return cls(
            quads=np.ascontiguousarray(np.hstack([inner[:-1], inner[1:], outer[1:], outer[:-1]])),
            edges=np.ascontiguousarray(edges[np.any(edges[:, :2] != edges[:, 2:], axis=1)]),
            centre=np.column_stack([centre[:-1], centre[1:], arc * stretch])[lengths > 0.0],
        )


@njit(cache=True, nogil=True, error_model="numpy")
def _in_triangle(x: float, y: float, ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> bool:
    a = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    b = (cx - bx) * (y - by) - (cy - by) * (x - bx)
    c = (ax - cx) * (y - cy) - (ay - cy) * (x - cx)
    # borders count as inside, so neighbours leave no cracks
    return (a >= -1e-12 and b >= -1e-12 and c >= -1e-12) or (a <= 1e-12 and b <= 1e-12 and c <= 1e-12)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(x: float, y: float, pieces: FloatArray, i: int) -> tuple[float, float]:
    """Squared distance to a segment, and how far along it (0..1) its nearest point lies."""
    ax, ay = pieces[i, 0], pieces[i, 1]
    dx, dy = pieces[i, 2] - ax, pieces[i, 3] - ay
    t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
    t = min(max(t, 0.0), 1.0)
    ex, ey = x - ax - t * dx, y - ay - t * dy
    return ex * ex + ey * ey, t


@njit(cache=True, nogil=True, error_model="numpy")
def _coverage_at(
    x: float, y: float, soft: float, road: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[float, float, float]:
    """Shares of road, edge line and dash around a point, 0..1, averaged over a spot `soft` metres wide.

    Each covers what comes before it: field, then asphalt, then line, then dash. `road` is (quads, edges, centre).
    """
    quads, edges, centre = road
    inside = False
    for i in range(quads.shape[0]):  # not `for q in quads`: each row would be an object of its own
        ax, ay, cx, cy = quads[i, 0], quads[i, 1], quads[i, 4], quads[i, 5]
        if _in_triangle(x, y, ax, ay, quads[i, 2], quads[i, 3], cx, cy) or _in_triangle(
            x, y, ax, ay, cx, cy, quads[i, 6], quads[i, 7]
        ):
            inside = True
            break
    square = 1e12
    for i in range(edges.shape[0]):
        square = min(square, _nearest(x, y, edges, i)[0])
    depth = np.sqrt(square) if inside else -np.sqrt(square)
    on_road = min(max(0.5 + depth / soft, 0.0), 1.0)
    if on_road == 0.0:
        return 0.0, 0.0, 0.0
    on_line = min(max(0.5 + (LINE_WIDTH_M - depth) / soft, 0.0), 1.0)
    square, arc = 1e12, 0.0
    for i in range(centre.shape[0]):
        found, t = _nearest(x, y, centre, i)
        if found < square:
            length = np.sqrt((centre[i, 2] - centre[i, 0]) ** 2 + (centre[i, 3] - centre[i, 1]) ** 2)
            square, arc = found, centre[i, 4] + t * length
    across = min(max(0.5 + (DASH_WIDTH_M / 2 - np.sqrt(square)) / soft, 0.0), 1.0)
    phase = arc % DASH_PERIOD_M
    if phase < DASH_LENGTH_M:
        ahead = min(phase, DASH_LENGTH_M - phase)
    else:
        ahead = -min(phase - DASH_LENGTH_M, DASH_PERIOD_M - phase)
    return on_road, on_line * on_road, across * min(max(0.5 + ahead / soft, 0.0), 1.0) * on_road


@njit(cache=True, nogil=True, error_model="numpy")
def _candidates(pieces: FloatArray, xmin: float, ymin: float, xmax: float, ymax: float) -> IntArray:
    """Indices of the pieces (all even columns but an odd last one are x, odd ones y) whose box meets the given one."""
    points = pieces.shape[1] // 2
    found = np.empty(pieces.shape[0], np.int64)
    count = 0
    for i in range(pieces.shape[0]):
        left, right, low, high = np.inf, -np.inf, np.inf, -np.inf
        for p in range(points):
            left, right = min(left, pieces[i, 2 * p]), max(right, pieces[i, 2 * p])
            low, high = min(low, pieces[i, 2 * p + 1]), max(high, pieces[i, 2 * p + 1])
        if left <= xmax and right >= xmin and low <= ymax and high >= ymin:
            found[count] = i
            count += 1
    return found[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _near(
    road: tuple[FloatArray, FloatArray, FloatArray],
    origin: tuple[float, float],
    texel: float,
    top: int,
    left: int,
    bottom: int,
    right: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The pieces of the road that have an influence on these rows and columns of texels."""
    quads, edges, centre = road
    x0, x1 = origin[0] + left * texel, origin[0] + right * texel
    y0, y1 = origin[1] + top * texel, origin[1] + bottom * texel
    reach = LINE_WIDTH_M + _REACH_M
    return (
        quads[_candidates(quads, x0 - _REACH_M, y0 - _REACH_M, x1 + _REACH_M, y1 + _REACH_M)],
        edges[_candidates(edges, x0 - reach, y0 - reach, x1 + reach, y1 + reach)],
        centre[_candidates(centre, x0 - _REACH_M, y0 - _REACH_M, x1 + _REACH_M, y1 + _REACH_M)],
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _paint(
    picture: UInt8Array,
    origin: tuple[float, float],
    texel: float,
    road: tuple[FloatArray, FloatArray, FloatArray],
    tiles: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    tones: FloatArray,
) -> None:
    field, asphalt, line = tiles
    period = field.shape[0]
    height, width, channels = picture.shape
    bare = np.empty((period, period, channels), np.uint8)
    for r in range(period):
        for c in range(period):
            for i in range(channels):
                bare[r, c, i] = np.uint8(min(max(tones[i, 0] * field[r, c], 0.0), 255.0) + 0.5)
    for top in range(0, height, BLOCK):
        for left in range(0, width, BLOCK):
            bottom, right = min(top + BLOCK, height), min(left + BLOCK, width)
            around = _near(road, origin, texel, top, left, bottom, right)
            # of those few, the fewer that reach a part of the block
            part = BLOCK if around[0].shape[0] == 0 else PART
            for high in range(top, bottom, part):
                for west in range(left, right, part):
                    low, east = min(high + part, bottom), min(west + part, right)
                    near = around if part == BLOCK else _near(around, origin, texel, high, west, low, east)
                    only_field = near[0].shape[0] == 0
                    for r in range(high, low):
                        tr, tc = r % period, west % period - 1
                        for c in range(west, east):
                            tc = tc + 1 if tc + 1 < period else 0
                            on_road, on_line, on_dash = 0.0, 0.0, 0.0
                            if not only_field:
                                x, y = origin[0] + (c + 0.5) * texel, origin[1] + (r + 0.5) * texel
                                on_road, on_line, on_dash = _coverage_at(x, y, texel, near)
                            if on_road == 0.0:
                                for i in range(channels):
                                    picture[r, c, i] = bare[tr, tc, i]
                                continue
                            for i in range(channels):
                                tone = tones[i, 0] * field[tr, tc]
                                tone += (tones[i, 1] * asphalt[tr, tc] - tone) * on_road
                                tone += (tones[i, 2] * line[tr, tc] - tone) * on_line
                                tone += (tones[i, 3] - tone) * on_dash
                                picture[r, c, i] = np.uint8(min(max(tone, 0.0), 255.0) + 0.5)


def grid_over(
    bounds: tuple[float, float, float, float], least_mm: int, most_texels: int, levels: int
) -> tuple[int, tuple[float, float], tuple[int, int]]:
    """Texels over xmin, ymin, xmax, ymax: their size in mm, where the first begins in metres, and (rows, columns).

    The size is the least of which at most so many lie within. They begin and end at whole texels of the coarsest of so
    many levels, and cells of the texture fall on the world's millimetres.
    """
    xmin, ymin, xmax, ymax = bounds
    area_mm2 = (xmax - xmin) * (ymax - ymin) * 1e6
    texel_mm = next(mm for mm in range(least_mm, TILE_MM) if TILE_MM % mm == 0 and area_mm2 / mm**2 <= most_texels)
    side = 2 ** (levels - 1)
    block_m = texel_mm * side / 1000
    left, bottom = (math.floor(value / block_m) for value in (xmin, ymin))
    right, top = (math.ceil(value / block_m) for value in (xmax, ymax))
    return texel_mm, (left * block_m, bottom * block_m), ((top - bottom) * side, (right - left) * side)


def paint_ground(
    road: Road, look: SurfaceTextures, origin_m: tuple[float, float], texel_mm: int, shape: tuple[int, int]
) -> UInt8Array:
    """Grey picture of the ground, `shape` (rows, columns) texels of texel_mm from origin_m; row 0 is the southernmost.

    Each texel is the mean of what it covers. texel_mm divides TILE_MM.
    """
    return _painted(road, look, origin_m, texel_mm, shape, _INKS @ GREY[:, None])[..., 0]


def paint_ground_rgb(
    road: Road, look: SurfaceTextures, origin_m: tuple[float, float], texel_mm: int, shape: tuple[int, int]
) -> UInt8Array:
    """The same in colour, (rows, columns, 4): red, green, blue, and 0 that makes a texel one word."""
    return _painted(road, look, origin_m, texel_mm, shape, np.column_stack([_INKS, np.zeros(4)]))


_INKS = np.stack([FIELD_RGB, ASPHALT_RGB, LINE_RGB, DASH_RGB])


def _painted(
    road: Road,
    look: SurfaceTextures,
    origin_m: tuple[float, float],
    texel_mm: int,
    shape: tuple[int, int],
    inks: FloatArray,
) -> UInt8Array:
    """(rows, columns, C) for inks (4, C): field, asphalt, line, dash."""
    period = TILE_MM // texel_mm
    # texture cells are whole millimetres from the world's origin; the map's origin is a multiple of the texel
    shift = [round(o * 1000 / texel_mm) for o in origin_m]

    def tile_of(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        mean = tile.reshape(period, texel_mm, period, texel_mm).mean(axis=(1, 3))
        return np.ascontiguousarray(np.roll(mean, (-shift[1], -shift[0]), axis=(0, 1)))

    picture = np.empty((*shape, inks.shape[1]), np.uint8)
    tiles = (tile_of(look.field), tile_of(look.asphalt), tile_of(look.line))
    tones = np.ascontiguousarray(inks.T)
    _paint(picture, origin_m, texel_mm / 1000, (road.quads, road.edges, road.centre), tiles, tones)
    return picture
