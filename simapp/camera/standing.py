"""The compiled rasteriser of what stands in an imported world: triangles with textures, in perspective.

Twice as many samples as pixels each way, one whole number a sample: the upper 21 bits tell how near it is, the lower 10
which triangle, so the nearest of all is the largest. Whole pixels are looked up once in the texture; where triangles
meet, samples are mixed by the triangle filter with which the real camera's picture is shrunk.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH
from simapp.camera.kernel import prefetch
from simapp.camera.mixing import BLOCK, COLUMNS, LINES, MAX_SEEN, NAME, PAD
from simapp.camera.shading import bits_of

_i, _f = np.int32, np.float32
_VARIED = np.float32(-1.0)
"""Tone of a triangle whose greys vary."""
ONE_TONE = np.float32(2.0)
"""A triangle whose greys differ by no more has one tone."""

_FARTHEST, _FARTHEST_NEAR = np.int32(0x3A800000), np.float32(1.0 / 1024.0)
"""Nothing is further than 1,024 m: the float32 and its bits. From there to NEAR_M are less than 2**27 of them."""
_DROPPED = np.int32(~63)

NEAR_M = 0.02
"""What is less deep than this is cut off."""

AHEAD = 16
"""Triangles of a list between the one that is drawn and the one that is on its way from memory."""
LANES = 16
"""Samples that are worked on at once."""

SMALL_PX = 5.0
"""A triangle that is no wider and no higher shows its mean grey."""
MEDIUM_PX, MEDIUM_TONE = 16.0, 20.0
"""So does one of this size whose greys, as seen from so far, differ by no more: 0.0003 of the SSIM with Gazebo's frames
for a tenth of the time in cities."""
SECTORS = 32
"""A list tells for each triangle in which of so many directions it is seen, a bit each."""


@njit(cache=True, nogil=True, error_model="numpy")
def _put_span(words, begin, end, near, slope, name):  # type: ignore[no-untyped-def]
    """Show a triangle in words begin..end-1 where it is nearer; near is 1 / depth in the first one."""
    # a fixed number at once, whatever the span's length: the rest of a loop of any length is done one by one
    count, done = _i(end - begin), _i(0)
    while done < count:
        at = begin + np.uint64(done)  # unsigned: an index that might be negative is not vectorised
        for j in range(LANES):
            place = _i(done + _i(j))
            value = max(_f(near + _f(slope * _f(place))), _FARTHEST_NEAR)
            word = _i(_i(_i(_i(bits_of(value) - _FARTHEST) & _DROPPED) << _i(4)) | name)
            here = at + np.uint64(j)
            words[here] = max(words[here], word if place < count else _i(0))
        done = _i(done + _i(LANES))


@njit(cache=True, nogil=True, error_model="numpy")
def _shown(words, begin, end, near, slope):  # type: ignore[no-untyped-def]
    """How many of the samples that `_put_span` would take show a triangle as near as this one, which is it."""
    count = 0
    for j in range(end - begin):
        value = max(_f(near + _f(slope * _f(j))), _FARTHEST_NEAR)
        word = _i(_i(_i(bits_of(value) - _FARTHEST) & _DROPPED) << _i(4))
        count += 1 if word >= _i(words[begin + j] & ~NAME) else 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _put_span_with_holes(words, begin, end, planes, name, column, row, sizes, alpha, alphas, picture):  # type: ignore[no-untyped-def]
    """The same for a texture with holes; `column` is that of the first sample, in pixels."""
    start = alphas[picture]
    log_height, log_width = sizes[picture, 0, 0], sizes[picture, 0, 1]
    height, width = 1 << log_height, 1 << log_width
    for at in range(begin, end):
        near = planes[name, 0] + planes[name, 1] * column + planes[name, 2] * row
        u = (planes[name, 3] + planes[name, 4] * column + planes[name, 5] * row) / near
        v = (planes[name, 6] + planes[name, 7] * column + planes[name, 8] * row) / near
        column += 0.5
        if near <= 0.0:
            continue
        c, r = int((u - math.floor(u)) * width) & (width - 1), int((v - math.floor(v)) * height) & (height - 1)
        if alpha[start + r * width + c] >= 128:
            value = max(_f(near), _FARTHEST_NEAR)
            word = _i(_i(_i(_i(bits_of(value) - _FARTHEST) & _DROPPED) << _i(4)) | name)
            words[at] = max(words[at], word)


@njit(cache=True, nogil=True, error_model="numpy")
def _see(n, facets, lens, view, has_one_tone, planes, name):  # type: ignore[no-untyped-def]
    """Fill planes[name] (12,): 1, u, v and light, each over the depth, as linear functions of a pixel's place.

    view (3, 3) is the ray of the picture's corner and its steps of one pixel to the right and down, at depth 1.
    """
    x, y, z = lens
    scale = -1.0 / (facets[n, 0] * x + facets[n, 1] * y + facets[n, 2] * z + facets[n, 3])
    for i in range(3):
        along = facets[n, 0] * view[i, 0] + facets[n, 1] * view[i, 1] + facets[n, 2] * view[i, 2]
        planes[name, i] = along * scale
    if has_one_tone:
        return
    for q in range(4, 16, 4):
        here = facets[n, q] * x + facets[n, q + 1] * y + facets[n, q + 2] * z + facets[n, q + 3]
        for i in range(3):
            along = facets[n, q] * view[i, 0] + facets[n, q + 1] * view[i, 1] + facets[n, q + 2] * view[i, 2]
            planes[name, 3 * q // 4 + i] = here * planes[name, i] + along


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(ax, ay, bx, by, cx, cy, name, is_test, picture, sizes, alpha, alphas, planes, words, touched):  # type: ignore[no-untyped-def]
    """Show a triangle of the picture in the samples; returns how many samples show it already if it is a test."""
    # from the top down; the same numbers whichever triangle an edge belongs to: no cracks
    if ay > by:
        ax, ay, bx, by = bx, by, ax, ay
    if by > cy:
        bx, by, cx, cy = cx, cy, bx, by
    if ay > by:
        ax, ay, bx, by = bx, by, ax, ay
    shown = 0
    # line s shows row (s - 0.5) / 2, sample j of it column (j - PAD + 0.5) / 2
    begin = max(math.ceil(2.0 * max(ay, -1.0) + 0.5), 0)
    middle = min(max(math.ceil(2.0 * max(min(by, CAMERA_HEIGHT + 1.0), -1.0) + 0.5), begin), LINES)
    end = min(math.ceil(2.0 * min(cy, CAMERA_HEIGHT + 1.0) + 0.5), LINES)
    if begin >= end:
        return shown
    long_slope = (cx - ax) / (cy - ay)
    upper_slope = (bx - ax) / (by - ay) if by > ay else 0.0
    lower_slope = (cx - bx) / (cy - by) if cy > by else 0.0
    near_step = _f(0.5 * planes[name, 1])
    for s in range(begin, end):
        row = (s - 0.5) * 0.5
        one = ax + (row - ay) * long_slope
        other = ax + (row - ay) * upper_slope if s < middle else bx + (row - by) * lower_slope
        left, right = min(one, other), max(one, other)
        first = math.ceil(2.0 * min(max(left, -1.0), CAMERA_WIDTH + 2.0) - 0.5)
        last = math.ceil(2.0 * min(right, CAMERA_WIDTH + 1.0) - 0.5)
        if first >= last:
            continue
        column = (first + 0.5) * 0.5
        near = _f(planes[name, 0] + planes[name, 1] * column + planes[name, 2] * row)
        at = np.uint64(s * COLUMNS + PAD)
        word, stop = at + np.uint64(first + PAD) - np.uint64(PAD), at + np.uint64(last + PAD) - np.uint64(PAD)
        touched[s] |= (2 << ((last + 1) // (2 * BLOCK))) - (1 << ((first + 2) // (2 * BLOCK)))
        if is_test:
            shown += _shown(words, word, stop, near, near_step)
        elif picture >= 0:
            _put_span_with_holes(words, word, stop, planes, name, column, row, sizes, alpha, alphas, picture)
        else:
            _put_span(words, word, stop, near, near_step, name)
    return shown


def _one_if_of(typingctx: Any, is_true: Any) -> Any:
    """1 or 0 without a branch."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(args[0], ir.IntType(64))

    return types.int64(is_true), codegen


_one_if: Any = intrinsic(_one_if_of)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_listed(  # type: ignore[no-untyped-def]
    begin,
    end,
    is_test,
    mask,
    lens,
    focal,
    axes,
    view,
    listed,
    bits,
    corners,
    facets,
    pictures,
    has_holes,
    seen_behind,
    plain,
    shade,
    picked,
    sizes,
    alpha,
    alphas,
    planes,
    tones,
    words_of,
    seen,
    places,
    clipped,
    words,
    touched,
    marks,
):
    """Draw the triangles listed[begin:end] into the samples; returns how many there are and the first and last line.

    axes (3, 3): optical axis, left, down as unit vectors; plain (N, 3) are the mean greys of triangles and how much
    they differ, fine and coarse; shade is what brightness is multiplied with; tones[name] is what a triangle's pixels
    all show, if they do, and words_of[name] the same as mixing takes it; clipped (4, 2) and picked (N + 1,) are
    scratch. If there are marks all have one name; if it is a test, nothing is drawn and marks are set.

    The loop is in here and the arrays come one by one: numba counts references to the arrays of a function that calls
    others, each time it is called, and for each array of a tuple. That took longer than to draw a triangle.
    """
    is_marking = marks.shape[0] > 0
    count, top, bottom = 0, LINES, -1
    wide, high = 0.5 * (CAMERA_WIDTH + 2) / focal, 0.5 * (CAMERA_HEIGHT + 2) / focal
    middle_x, middle_y = 0.5 * CAMERA_WIDTH, 0.5 * CAMERA_HEIGHT
    # what is chosen is written down without a branch that would often be guessed wrong
    chosen = 0
    for i in range(begin, end):
        picked[chosen] = listed[i]
        chosen += _one_if(bits[i] & mask != 0)
    kept = 0
    for i in range(chosen):
        prefetch(facets, 16 * picked[min(i + AHEAD, chosen - 1)])
        n = picked[i]
        side = facets[n, 0] * lens[0] + facets[n, 1] * lens[1] + facets[n, 2] * lens[2] + facets[n, 3]
        picked[kept] = n
        kept += _one_if((side > 1e-7) | (seen_behind[n] & (side < -1e-7)))
    for i in range(kept):
        # far apart in memory: asked for before it is needed
        soon = picked[min(i + AHEAD, kept - 1)]
        prefetch(corners, 9 * soon)
        prefetch(corners, 9 * soon + 8)
        prefetch(facets, 16 * soon + 8)
        if count == MAX_SEEN and not is_marking:
            break
        n = picked[i]
        name = _i(1 if is_marking else count + 1)
        x, y, z = corners[n, 0, 0] - lens[0], corners[n, 0, 1] - lens[1], corners[n, 0, 2] - lens[2]
        d0 = x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]
        l0, w0 = x * axes[1, 0] + y * axes[1, 1], x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]
        x, y, z = corners[n, 1, 0] - lens[0], corners[n, 1, 1] - lens[1], corners[n, 1, 2] - lens[2]
        d1 = x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]
        l1, w1 = x * axes[1, 0] + y * axes[1, 1], x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]
        x, y, z = corners[n, 2, 0] - lens[0], corners[n, 2, 1] - lens[1], corners[n, 2, 2] - lens[2]
        d2 = x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]
        l2, w2 = x * axes[1, 0] + y * axes[1, 1], x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]
        if max(d0, d1, d2) < NEAR_M:
            continue
        if (
            (l0 > wide * d0 and l1 > wide * d1 and l2 > wide * d2)
            or (-l0 > wide * d0 and -l1 > wide * d1 and -l2 > wide * d2)
            or (w0 > high * d0 and w1 > high * d1 and w2 > high * d2)
            or (-w0 > high * d0 and -w1 > high * d1 and -w2 > high * d2)
        ):
            continue
        holes = pictures[n] if has_holes[n] else -1
        if min(d0, d1, d2) >= NEAR_M:
            s0, s1, s2 = focal / d0, focal / d1, focal / d2
            x0, y0 = middle_x - s0 * l0, middle_y + s0 * w0
            x1, y1 = middle_x - s1 * l1, middle_y + s1 * w1
            x2, y2 = middle_x - s2 * l2, middle_y + s2 * w2
            upper, lower = min(y0, y1, y2), max(y0, y1, y2)
            size = max(lower - upper, max(x0, x1, x2) - min(x0, x1, x2))
            has_one_tone = (
                size <= SMALL_PX or plain[n, 1] <= ONE_TONE or (size <= MEDIUM_PX and plain[n, 2] <= MEDIUM_TONE)
            )
            if math.ceil(2.0 * upper + 0.5) >= math.ceil(2.0 * lower + 0.5) or math.ceil(
                2.0 * min(x0, x1, x2) - 0.5
            ) >= math.ceil(2.0 * max(x0, x1, x2) - 0.5):
                continue  # between the samples
            _see(n, facets, lens, view, has_one_tone and holes < 0, planes, name)
            shown = _scan(x0, y0, x1, y1, x2, y2, name, is_test, holes, sizes, alpha, alphas, planes, words, touched)
        else:
            points = 0
            has_one_tone = plain[n, 1] <= ONE_TONE
            upper, lower = np.inf, -np.inf
            for corner in range(3):
                a, b, c = (d0, l0, w0) if corner == 0 else (d1, l1, w1) if corner == 1 else (d2, l2, w2)
                e, f, g = (d1, l1, w1) if corner == 0 else (d2, l2, w2) if corner == 1 else (d0, l0, w0)
                if a >= NEAR_M:
                    clipped[points, 0], clipped[points, 1] = middle_x - focal / a * b, middle_y + focal / a * c
                    points += 1
                if (a >= NEAR_M) != (e >= NEAR_M):
                    t = (a - NEAR_M) / (a - e)
                    clipped[points, 0] = middle_x - focal / NEAR_M * (b + t * (f - b))
                    clipped[points, 1] = middle_y + focal / NEAR_M * (c + t * (g - c))
                    points += 1
            if points < 3:
                continue
            for corner in range(points):
                upper, lower = min(upper, clipped[corner, 1]), max(lower, clipped[corner, 1])
            _see(n, facets, lens, view, has_one_tone and holes < 0, planes, name)
            shown = 0
            for corner in range(1, points - 1):
                x0, y0, x1, y1 = clipped[0, 0], clipped[0, 1], clipped[corner, 0], clipped[corner, 1]
                x2, y2 = clipped[corner + 1, 0], clipped[corner + 1, 1]
                shown += _scan(
                    x0, y0, x1, y1, x2, y2, name, is_test, holes, sizes, alpha, alphas, planes, words, touched
                )
        if is_test:
            marks[n] = max(marks[n], shown)
            continue
        first = max(math.ceil(2.0 * max(upper, -1.0) + 0.5), 0)
        last = min(math.ceil(2.0 * min(lower, CAMERA_HEIGHT + 1.0) + 0.5), LINES) - 1
        if first <= last:
            count = 1 if is_marking else count + 1
            seen[name] = n
            tones[name] = min(_f(plain[n, 0] * shade), _f(255.0)) if has_one_tone else _VARIED
            words_of[name] = _i(_i(_f(tones[name] * _f(8.0))) | _i(1 << 20)) if has_one_tone else _i(-1)
            places[name, 0], places[name, 1] = _i(-1000), _i(-1000)
            top, bottom = min(top, first), max(bottom, last)
    return count, top, bottom


@njit(cache=True, nogil=True, error_model="numpy")
def aim(lens, camera, axes, view):  # type: ignore[no-untyped-def]
    """Fill axes (3, 3): optical axis, left and down; and view (3, 3): the ray of the picture's corner and its steps."""
    focal, sin, cos = camera[0], camera[1], camera[2]
    axes[0, 0], axes[0, 1], axes[0, 2] = lens[2] * cos, lens[3] * cos, -sin
    axes[1, 0], axes[1, 1], axes[1, 2] = -lens[3], lens[2], 0.0
    axes[2, 0], axes[2, 1], axes[2, 2] = -lens[2] * sin, -lens[3] * sin, -cos
    for i in range(3):
        view[0, i] = axes[0, i] + (0.5 * CAMERA_WIDTH * axes[1, i] - 0.5 * CAMERA_HEIGHT * axes[2, i]) / focal
        view[1, i], view[2, i] = -axes[1, i] / focal, axes[2, i] / focal


@njit(cache=True, nogil=True, error_model="numpy")
def cell_of(cells, x, y, outside):  # type: ignore[no-untyped-def]
    """What a grid (origin x, y, 1 / cell, numbers (rows, columns)) says of a lens at (x, y); `outside` of the grid."""
    origin_x, origin_y, per_m, grid = cells
    column, row = math.floor((x - origin_x) * per_m), math.floor((y - origin_y) * per_m)
    if 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]:
        return grid[row, column]
    return outside


@njit(cache=True, nogil=True, error_model="numpy")
def _sectors(lens, camera):  # type: ignore[no-untyped-def]
    """Bits of the directions that a frame sees, half a sector more on both sides."""
    ahead = camera[2] - 0.5 * CAMERA_HEIGHT / camera[0] * abs(camera[1])
    half = math.atan(0.5 * CAMERA_WIDTH / camera[0] / max(ahead, 0.2))
    middle = math.atan2(lens[3], lens[2])
    per = SECTORS / (2.0 * math.pi)
    first, last = math.floor((middle - half) * per), math.floor((middle + half) * per)
    mask = np.uint32(0)
    for s in range(first, min(last, first + SECTORS - 1) + 1):
        mask |= np.uint32(1) << np.uint32(s & (SECTORS - 1))
    return mask


@njit(cache=True, nogil=True, error_model="numpy")
def work_space(count):  # type: ignore[no-untyped-def]
    """Scratch of `rasterise` for a world of `count` triangles: samples (LINES * COLUMNS and more,), blocks of each line
    with samples in them; of the triangles in view planes, tones, tones as samples, numbers, and where they were looked
    up; corners of a clipped one, axes and rays of the view, and triangles of the list that may be in view."""
    return (
        np.zeros(LINES * COLUMNS + LANES, np.int32),
        np.zeros(LINES, np.int64),
        np.empty((MAX_SEEN + 1, 12)),
        np.empty(MAX_SEEN + 1, np.float32),
        np.zeros(MAX_SEEN + 1, np.int32),
        np.empty(MAX_SEEN + 1, np.int64),
        np.empty((MAX_SEEN + 1, 2), np.int32),
        np.empty((4, 2)),
        np.empty((3, 3)),
        np.empty((3, 3)),
        np.empty(count + 1, np.int64),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def rasterise(lens, camera, shade, solids, textures, lists, is_test, marks, work):  # type: ignore[no-untyped-def]
    """Put what stands into the samples of one frame; returns the first and the last line with any.

    lens     (4,) x, y, cos and sin of the view's heading      camera  (4,) focal_px, sin pitch, cos pitch, height_m
    solids   (corners (N, 3, 3), facets (N, 16), picture (N,), has holes (N,), is seen from behind (N,), greys (N, 3)),
             with `shade` as their factor
    textures of simapp.camera.textures.Textures
    lists    ((origin x, y, 1 / cell, grid of list numbers), starts (L + 1,), triangles, sectors as bits); list 0 is all
    is_test, marks as in `_draw_listed`; marks (0,) for a frame
    work     of `work_space`
    """
    corners, facets, pictures, has_holes, seen_behind, plain = solids
    sizes, alpha, alphas = textures[2], textures[3], textures[4]
    cells, starts, listed, bits = lists
    words, touched, planes, tones, words_of, seen, places, clipped, axes, view, picked = work
    aim(lens, camera, axes, view)
    own = cell_of(cells, lens[0], lens[1], 0)
    _, top, bottom = _draw_listed(
        starts[own],
        starts[own + 1],
        is_test,
        _sectors(lens, camera),
        (lens[0], lens[1], camera[3]),
        camera[0],
        axes,
        view,
        listed,
        bits,
        corners,
        facets,
        pictures,
        has_holes,
        seen_behind,
        plain,
        _f(shade),
        picked,
        sizes,
        alpha,
        alphas,
        planes,
        tones,
        words_of,
        seen,
        places,
        clipped,
        words,
        touched,
        marks,
    )
    return top, bottom


@njit(cache=True, nogil=True, error_model="numpy")
def wipe(words, touched, top, bottom):  # type: ignore[no-untyped-def]
    """Make lines top..bottom ready for the next frame."""
    for s in range(top, bottom + 1):
        if touched[s] != 0:
            words[s * COLUMNS : (s + 1) * COLUMNS] = 0
            touched[s] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def count_samples(lenses, camera, solids, textures, lists, marks):  # type: ignore[no-untyped-def]
    """Fill marks (N,) int64: how many samples show a triangle in the frame of lenses (K, 4) that shows most of it."""
    work = work_space(len(solids[2]))
    words, touched = work[0], work[1]
    for k in range(lenses.shape[0]):
        top, bottom = LINES, -1
        for is_test in (False, True):
            first, last = rasterise(lenses[k], camera, 1.0, solids, textures, lists, is_test, marks, work)
            top, bottom = min(top, first), max(bottom, last)
        wipe(words, touched, top, bottom)


@njit(cache=True, nogil=True, error_model="numpy")
def _is_full(words, s):  # type: ignore[no-untyped-def]
    """Whether something stands in each sample of line s that a pixel of the picture is mixed from."""
    line = words[s * COLUMNS + PAD - 1 : s * COLUMNS + PAD + 2 * CAMERA_WIDTH + 1]
    least = line[0]
    for j in range(2 * CAMERA_WIDTH + 2):
        least = min(least, line[j])
    return least > 0


@njit(cache=True, nogil=True, error_model="numpy")
def hidden_rows(words, touched, row):  # type: ignore[no-untyped-def]
    """The first and the last row + 1, from `row` upwards and downwards, behind which nothing is seen of ground and sky.

    Row r is mixed from lines 2 r to 2 r + 3.
    """
    above = min(2 * row + 1, LINES - 1)
    while above >= 0 and touched[above] != 0 and _is_full(words, above):
        above -= 1
    below = 2 * row
    while below < LINES and touched[below] != 0 and _is_full(words, below):
        below += 1
    return min(above // 2 + 1, row), max((below - 2) // 2, row)


@njit(cache=True, nogil=True, error_model="numpy")
def put_depths(lines, planes, first_row, last_row, depths):  # type: ignore[no-untyped-def]
    """1 / depth of the triangle in each pixel's lower right sample of the four."""
    for r in range(first_row, last_row + 1):
        line = lines[2 * r + 2]
        for j in range(CAMERA_WIDTH):
            name = line[2 * j + PAD + 1] & NAME
            if name > 0:
                plane = planes[name]
                depths[r, j] = _f(plane[0] + plane[1] * (j + 0.75) + plane[2] * (r + 0.75))
