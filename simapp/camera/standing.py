"""The compiled rasteriser of what stands in an imported world: triangles with textures, in perspective, over frames of
ground and sky.

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
from simapp.camera.kernel import load_2x2

_i, _f = np.int32, np.float32
_VARIED, _UNKNOWN = np.float32(-2.0), np.float32(-1.0)
"""A triangle whose greys vary, and one of a single grey that nobody has asked for yet."""

PAD = 8
"""Samples left of the picture in a line: one is used, the others keep lines apart."""
LINES, COLUMNS = 2 * CAMERA_HEIGHT + 2, 2 * CAMERA_WIDTH + 2 * PAD

MAX_SEEN = 1023
"""Triangles that one frame draws at most; what comes later in the list is left out."""
_NAME = np.int32(MAX_SEEN)
_FARTHEST, _FARTHEST_NEAR = np.int32(0x3A800000), np.float32(1.0 / 1024.0)
"""Nothing is further than 1,024 m: the float32 and its bits. From there to NEAR_M are less than 2**27 of them."""
_DROPPED = np.int32(~63)

NEAR_M = 0.02
"""What is less deep than this is cut off."""

SPAN = 16
"""Pixels between which textures run straight."""
NEARBY_PX = 2
"""Where triangles meet, one is as grey as it was last so near."""
SMALL_PX = 5.0
"""A triangle that is no wider and no higher shows one grey."""
SECTORS = 32
"""A list tells for each triangle in which of so many directions it is seen, a bit each."""


def _bits_of(typingctx: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


_bits: Any = intrinsic(_bits_of)


@njit(cache=True, nogil=True, error_model="numpy")
def _put_span(words, begin, end, near, slope, name):  # type: ignore[no-untyped-def]
    """Show a triangle in words begin..end-1 where it is nearer; near is 1 / depth in the first one."""
    for j in range(end - begin):
        value = max(_f(near + _f(slope * _f(j))), _FARTHEST_NEAR)
        word = _i(_i(_i(_i(_bits(value) - _FARTHEST) & _DROPPED) << _i(4)) | name)
        at = begin + j  # unsigned: an index that might be negative is not vectorised
        words[at] = max(words[at], word)


@njit(cache=True, nogil=True, error_model="numpy")
def _shown(words, begin, end, near, slope):  # type: ignore[no-untyped-def]
    """How many of the samples that `_put_span` would take show a triangle as near as this one, which is it."""
    count = 0
    for j in range(end - begin):
        value = max(_f(near + _f(slope * _f(j))), _FARTHEST_NEAR)
        word = _i(_i(_i(_bits(value) - _FARTHEST) & _DROPPED) << _i(4))
        count += 1 if word >= _i(words[begin + j] & ~_NAME) else 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _put_span_with_holes(words, begin, end, planes, name, column, row, textures, picture):  # type: ignore[no-untyped-def]
    """The same for a texture with holes; `column` is that of the first sample, in pixels."""
    alpha, start = textures[3], textures[4][picture]
    log_height, log_width = textures[2][picture, 0, 0], textures[2][picture, 0, 1]
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
            word = _i(_i(_i(_i(_bits(value) - _FARTHEST) & _DROPPED) << _i(4)) | name)
            words[at] = max(words[at], word)


@njit(cache=True, nogil=True, error_model="numpy")
def _see(n, facets, lens, view, planes, name):  # type: ignore[no-untyped-def]
    """Fill planes[name] (12,): 1, u, v and light, each over the depth, as linear functions of a pixel's place.

    view (3, 3) is the ray of the picture's corner and its steps of one pixel to the right and down, at depth 1.
    """
    x, y, z = lens
    scale = -1.0 / (facets[n, 0] * x + facets[n, 1] * y + facets[n, 2] * z + facets[n, 3])
    for i in range(3):
        along = facets[n, 0] * view[i, 0] + facets[n, 1] * view[i, 1] + facets[n, 2] * view[i, 2]
        planes[name, i] = along * scale
    for q in range(4, 16, 4):
        here = facets[n, q] * x + facets[n, q + 1] * y + facets[n, q + 2] * z + facets[n, q + 3]
        for i in range(3):
            along = facets[n, q] * view[i, 0] + facets[n, q + 1] * view[i, 1] + facets[n, q + 2] * view[i, 2]
            planes[name, 3 * q // 4 + i] = here * planes[name, i] + along


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(ax, ay, bx, by, cx, cy, name, is_test, picture, textures, planes, words):  # type: ignore[no-untyped-def]
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
        if is_test:
            shown += _shown(words, word, stop, near, near_step)
        elif picture >= 0:
            _put_span_with_holes(words, word, stop, planes, name, column, row, textures, picture)
        else:
            _put_span(words, word, stop, near, near_step, name)
    return shown


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_triangle(n, name, is_test, solids, textures, lens, axes, view, focal, planes, tones, clipped, words):  # type: ignore[no-untyped-def]
    """Draw a triangle into the samples; returns the first and the last line that it may have touched. If it is a test,
    it is not drawn, and the second is how many samples show it already.

    axes (3, 3): optical axis, left, down as unit vectors; tones[name] says whether it has one grey; clipped (4, 2) is
    scratch
    """
    corners = solids[0]
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
        return LINES, -1
    wide, high = 0.5 * (CAMERA_WIDTH + 2) / focal, 0.5 * (CAMERA_HEIGHT + 2) / focal
    if (
        (l0 > wide * d0 and l1 > wide * d1 and l2 > wide * d2)
        or (-l0 > wide * d0 and -l1 > wide * d1 and -l2 > wide * d2)
        or (w0 > high * d0 and w1 > high * d1 and w2 > high * d2)
        or (-w0 > high * d0 and -w1 > high * d1 and -w2 > high * d2)
    ):
        return LINES, -1
    holes = solids[2][n] if solids[3][n] else -1
    middle_x, middle_y = 0.5 * CAMERA_WIDTH, 0.5 * CAMERA_HEIGHT
    if min(d0, d1, d2) >= NEAR_M:
        s0, s1, s2 = focal / d0, focal / d1, focal / d2
        x0, y0 = middle_x - s0 * l0, middle_y + s0 * w0
        x1, y1 = middle_x - s1 * l1, middle_y + s1 * w1
        x2, y2 = middle_x - s2 * l2, middle_y + s2 * w2
        top, bottom = min(y0, y1, y2), max(y0, y1, y2)
        is_small = bottom - top <= SMALL_PX and max(x0, x1, x2) - min(x0, x1, x2) <= SMALL_PX
        tones[name] = _UNKNOWN if is_small else _VARIED
        if math.ceil(2.0 * top + 0.5) >= math.ceil(2.0 * bottom + 0.5) or math.ceil(
            2.0 * min(x0, x1, x2) - 0.5
        ) >= math.ceil(2.0 * max(x0, x1, x2) - 0.5):
            return LINES, -1  # between the samples
        _see(n, solids[1], lens, view, planes, name)
        shown = _scan(x0, y0, x1, y1, x2, y2, name, is_test, holes, textures, planes, words)
    else:
        count = 0
        tones[name] = _VARIED
        top, bottom = np.inf, -np.inf
        for i in range(3):
            a, b, c = (d0, l0, w0) if i == 0 else (d1, l1, w1) if i == 1 else (d2, l2, w2)
            e, f, g = (d1, l1, w1) if i == 0 else (d2, l2, w2) if i == 1 else (d0, l0, w0)
            if a >= NEAR_M:
                clipped[count, 0], clipped[count, 1] = middle_x - focal / a * b, middle_y + focal / a * c
                count += 1
            if (a >= NEAR_M) != (e >= NEAR_M):
                t = (a - NEAR_M) / (a - e)
                clipped[count, 0] = middle_x - focal / NEAR_M * (b + t * (f - b))
                clipped[count, 1] = middle_y + focal / NEAR_M * (c + t * (g - c))
                count += 1
        if count < 3:
            return LINES, -1
        for i in range(count):
            top, bottom = min(top, clipped[i, 1]), max(bottom, clipped[i, 1])
        _see(n, solids[1], lens, view, planes, name)
        shown = 0
        for i in range(1, count - 1):
            x0, y0, x1, y1 = clipped[0, 0], clipped[0, 1], clipped[i, 0], clipped[i, 1]
            x2, y2 = clipped[i + 1, 0], clipped[i + 1, 1]
            shown += _scan(x0, y0, x1, y1, x2, y2, name, is_test, holes, textures, planes, words)
    first = max(math.ceil(2.0 * max(top, -1.0) + 0.5), 0)
    last = min(math.ceil(2.0 * min(bottom, CAMERA_HEIGHT + 1.0) + 0.5), LINES) - 1
    if first > last:
        return LINES, -1
    return first, shown if is_test else last


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(lines, first_row, last_row, planes, tones, seen, pictures, textures, shade, work, frame):  # type: ignore[no-untyped-def]
    """Put the samples over rows first_row..last_row of the frame.

    work: scratch of `draw_standing`. `names` (rows + 2, width + 2) is the triangle of a pixel whose four samples agree,
    else -1; `evens` and `odds` are the samples of the left and right halves of pixels: triangles first, then greys.
    """
    names, greys, evens, odds, sums, alone, places, recent, runs = work
    for r in range(first_row - 1, last_row + 2):
        here = names[r + 1]
        even0, odd0, even1, odd1 = evens[2 * r + 2], odds[2 * r + 2], evens[2 * r + 3], odds[2 * r + 3]
        for half in range(2):
            even, odd = evens[2 * r + 2 + half], odds[2 * r + 2 + half]
            s = 2 * r + 1 + half
            # two samples at a time, as one long word: what lies apart is not vectorised
            both = lines[min(max(s, 0), LINES - 1), PAD - 2 :].view(np.int64)
            for j in range(CAMERA_WIDTH + 2):
                word = both[j]
                even[j], odd[j] = _i(_i(word) & _NAME), _i(_i(word >> 32) & _NAME)
        for j in range(CAMERA_WIDTH + 2):
            one = even0[j]
            apart = _i(_i(_i(one ^ odd0[j]) | _i(one ^ even1[j])) | _i(one ^ odd1[j]))
            here[j] = one if apart == _i(0) else _i(-1)
        count = _find_runs(here, even0, odd0, even1, odd1, runs)
        alone[r + 1] = here[0] if runs[0, 2] == CAMERA_WIDTH + 2 else _i(-1)
        _shade_runs(
            runs,
            count,
            r,
            planes,
            tones,
            seen,
            pictures,
            textures[0],
            textures[1],
            textures[2],
            shade,
            places,
            recent,
            greys[r + 1],
            even0,
            odd0,
            even1,
            odd1,
        )
    for r in range(first_row, last_row + 1):
        above, here, below = names[r], names[r + 1], names[r + 2]
        if alone[r + 1] >= 0 and alone[r] == alone[r + 1] == alone[r + 2]:
            if alone[r + 1] > 0:
                grey, row = greys[r + 1][1:], frame[r]
                for j in range(CAMERA_WIDTH):
                    row[j] = np.uint8(_i(_f(grey[j] + _f(0.5))))
            continue
        e0, e1, e2, e3 = evens[2 * r + 1], evens[2 * r + 2], evens[2 * r + 3], evens[2 * r + 4]
        o0, o1, o2, o3 = odds[2 * r + 1], odds[2 * r + 2], odds[2 * r + 3], odds[2 * r + 4]
        even, odd, kept = sums[0], sums[1], sums[2]
        for j in range(CAMERA_WIDTH + 2):
            even[j] = _i(_i(e0[j] + e3[j]) + _i(_i(3) * _i(e1[j] + e2[j])))
            odd[j] = _i(_i(o0[j] + o3[j]) + _i(_i(3) * _i(o1[j] + o2[j])))
            apart = _i(_i(above[j] ^ here[j]) | _i(here[j] ^ below[j]))
            kept[j] = here[j] if apart == _i(0) else _i(-1)
        # views, since an index that might be negative is not vectorised
        _put_row(odd, even[1:], odd[1:], even[2:], kept, kept[1:], kept[2:], greys[r + 1][1:], frame[r])


@njit(cache=True, nogil=True, error_model="numpy")
def _find_runs(here, even0, odd0, even1, odd1, runs):  # type: ignore[no-untyped-def]
    """Fill runs (R, 4): triangle, first pixel, last pixel + 1, and whether it is one of several in a pixel; returns how
    many there are. What is nothing, 0, is among them where it is alone."""
    count, j = 0, 0
    while j < here.shape[0]:
        name, end = here[j], j + 1
        if name >= 0:
            while end + 16 <= here.shape[0]:
                part = here[end : end + 16]
                apart = _i(0)
                for i in range(16):
                    apart |= _i(part[i] ^ name)
                if apart != 0:
                    break
                end += 16
            while end < here.shape[0] and here[end] == name:
                end += 1
            runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = name, j, end, 0
            count += 1
        else:
            a, b, c, d = even0[j], odd0[j], even1[j], odd1[j]
            for i in range(4):
                name = a if i == 0 else b if i == 1 else c if i == 2 else d
                is_new = (i < 1 or name != a) and (i < 2 or name != b) and (i < 3 or name != c)
                if name > 0 and is_new:
                    runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = name, j, end, 1
                    count += 1
        j = end
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _shade_runs(  # type: ignore[no-untyped-def]
    runs,
    count,
    r,
    planes,
    tones,
    seen,
    pictures,
    pairs,
    starts,
    sizes,
    shade,
    places,
    recent,
    out,
    even0,
    odd0,
    even1,
    odd1,
):
    """Greys of the runs of row r, counted from one left of the picture: `out` (width + 2,) float32 where a triangle has
    whole pixels, and its samples, which hold a grey in eighths and a one from bit 20 on."""
    y = r + 0.5
    for k in range(count):
        name, first, last = runs[k, 0], runs[k, 1], runs[k, 2]
        if name == 0:
            continue
        is_mixed = runs[k, 3] == 1
        value = tones[name]
        if value < _f(0.0) and is_mixed:
            # the triangle's grey beside this pixel, or above it, will do
            if places[name, 0] >= (r << 8) - 256 and abs((places[name, 0] & 255) - first) <= NEARBY_PX:
                value = recent[name, 0]
            elif places[name, 1] >= (r << 8) - 256 and abs((places[name, 1] & 255) - first) <= NEARBY_PX:
                value = recent[name, 1]
        if value >= _f(0.0):
            if not is_mixed:
                for j in range(first, last):
                    out[j] = value
        else:
            picture = pictures[seen[name]]
            place = first
            near0, near_x = planes[name, 0] + planes[name, 2] * y, planes[name, 1]
            light_0, light_x = (planes[name, 9] + planes[name, 11] * y) * shade, planes[name, 10] * shade
            u_0, u_x = planes[name, 3] + planes[name, 5] * y, planes[name, 4]
            v_0, v_x = planes[name, 6] + planes[name, 8] * y, planes[name, 7]
            while place < last:
                end = min(place + SPAN, last)
                x0, x1 = place - 0.5, end - 1.5
                z0 = 1.0 / max(near0 + near_x * x0, 1e-6)
                z1 = z0 if end - place == 1 else 1.0 / max(near0 + near_x * x1, 1e-6)
                share = 0.0 if end - place == 1 else 1.0 / (end - place - 1)
                light = (light_0 + light_x * x0) * z0
                light_step = ((light_0 + light_x * x1) * z1 - light) * share
                if picture < 0:
                    start_light, step_light = _f(255.0 * light), _f(255.0 * light_step)
                    part = out[place:end]
                    for j in range(end - place):
                        part[j] = min(_f(start_light + _f(step_light * _f(j))), _f(255.0))
                    place = end
                    continue
                u, v = (u_0 + u_x * x0) * z0, (v_0 + v_x * x0) * z0
                u_step, v_step = ((u_0 + u_x * x1) * z1 - u) * share, ((v_0 + v_x * x1) * z1 - v) * share
                width, height = 1 << sizes[picture, 0, 1], 1 << sizes[picture, 0, 0]
                # texels a pixel, across and down: of the longer one a quarter, and the mean of both, at least
                ux, vx = (u_x - u * near_x) * z0 * width, (v_x - v * near_x) * z0 * height
                uy = (planes[name, 5] - u * planes[name, 2]) * z0 * width
                vy = (planes[name, 8] - v * planes[name, 2]) * z0 * height
                across, down = ux * ux + vx * vx, uy * uy + vy * vy
                square = max(math.sqrt(across * down), max(across, down) * 0.0625)
                level = 0
                while square > 2.0 and level < starts.shape[1] - 1:
                    square *= 0.25
                    level += 1
                log_height, log_width = sizes[picture, level, 0], sizes[picture, level, 1]
                wide, high = float(1 << log_width), float(1 << log_height)
                u, v = (u - math.floor(u)) * wide - 0.5, (v - math.floor(v)) * high - 0.5
                # 16.16 fixed point; the most that a step can be keeps a span within 31 bits
                most = 32000.0 / SPAN
                du = _i(min(max(u_step * wide, -most), most) * 65536.0)
                dv = _i(min(max(v_step * high, -most), most) * 65536.0)
                at_u, at_v = _i(min(u, 16000.0) * 65536.0), _i(min(v, 16000.0) * 65536.0)
                start, u_mask, v_mask = starts[picture, level], (1 << log_width) - 1, (1 << log_height) - 1
                for j in range(place, end):
                    four = load_2x2(pairs, start + ((at_v >> 16) & v_mask) * (u_mask + 2) + ((at_u >> 16) & u_mask))
                    right, low = (at_u >> 8) & 255, (at_v >> 8) & 255
                    west = (four & 255) * (256 - low) + ((four >> 8) & 255) * low
                    east = ((four >> 16) & 255) * (256 - low) + (four >> 24) * low
                    grey = west * (256 - right) + east * right
                    lit = _f(_f(grey) * _f(1.0 / 65536.0) * _f(light + light_step * (j - place)))
                    out[j] = min(lit, _f(255.0))
                    at_u, at_v = _i(at_u + du), _i(at_v + dv)
                place = end
            value = max(out[first], _f(0.0))
            if tones[name] == _UNKNOWN:
                tones[name] = value
            places[name, 0], recent[name, 0] = (r << 8) + first, value
            places[name, 1], recent[name, 1] = (r << 8) + last - 1, max(out[last - 1], _f(0.0))
        if is_mixed:
            word = _i(_i(_f(value * _f(8.0))) | _i(1 << 20))
            if even0[first] == name:
                even0[first] = word
            if odd0[first] == name:
                odd0[first] = word
            if even1[first] == name:
                even1[first] = word
            if odd1[first] == name:
                odd1[first] = word
        else:
            shades, west0, east0 = out[first:last], even0[first:last], odd0[first:last]
            west1, east1 = even1[first:last], odd1[first:last]
            for j in range(last - first):
                word = _i(_i(_f(shades[j] * _f(8.0))) | _i(1 << 20))
                west0[j], east0[j], west1[j], east1[j] = word, word, word, word


@njit(cache=True, nogil=True, error_model="numpy")
def _put_row(before, even, odd, after, left, middle, right, grey, row):  # type: ignore[no-untyped-def]
    """Put a row of sums of samples over a row of the frame; where all around is one triangle, its own grey."""
    for j in range(CAMERA_WIDTH):
        total = _i(_i(before[j] + after[j]) + _i(_i(3) * _i(even[j] + odd[j])))
        cover, value = _i(total >> 20), _i(total & _i((1 << 20) - 1))
        behind = _i(_i(row[j]) << 3)
        mixed = _i(_i(_i(value + _i(_i(_i(64) - cover) * behind)) + _i(256)) >> 9)
        apart = _i(_i(left[j] ^ middle[j]) | _i(middle[j] ^ right[j]))
        whole = _i(_f(grey[j] + _f(0.5)))
        is_whole = _i(_i(apart == _i(0)) & _i(middle[j] > _i(0)))
        row[j] = np.uint8(whole if is_whole != _i(0) else mixed)


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
def cell_of(cells, x, y):  # type: ignore[no-untyped-def]
    """The list that a lens at (x, y) draws; the last one, everything, outside of the grid."""
    origin_x, origin_y, per_m, grid = cells
    column, row = math.floor((x - origin_x) * per_m), math.floor((y - origin_y) * per_m)
    if 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]:
        return grid[row, column]
    return 0


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
def draw_standing(lenses, cameras, shades, solids, textures, lists, frames, depths, marks):  # type: ignore[no-untyped-def]
    """Draw what stands over frames (K, CAMERA_HEIGHT, CAMERA_WIDTH) uint8 of ground and sky.

    lenses   (K, 4) x, y, cos and sin of the view's heading      shades  (K,) brightness factors
    cameras  (K, 4) focal_px, sin pitch, cos pitch, height_m
    solids   (corners (N, 3, 3), facets (N, 16), picture (N,), has holes (N,), is seen from behind (N,))
    textures of simapp.camera.textures.Textures
    lists    ((origin x, y, 1 / cell, grid of list numbers), starts (L + 1,), triangles, sectors as bits); list 0 is all
    depths   (K, CAMERA_HEIGHT, CAMERA_WIDTH) float32: 1 / depth of what is drawn in a pixel, 0 where nothing is; filled
             if K is not 0
    marks    (N,) int64: how many samples show a triangle in the frame that shows most of it, if N is not 0; then no
             frame is drawn
    """
    facets, seen_behind = solids[1], solids[4]
    is_marking = marks.shape[0] > 0
    cells, starts, listed, bits = lists
    lines = np.zeros((LINES, COLUMNS), np.int32)
    words, clipped = lines.reshape(-1), np.empty((4, 2))
    axes, view = np.empty((3, 3)), np.empty((3, 3))
    planes, seen = np.empty((MAX_SEEN + 1, 12)), np.empty(MAX_SEEN + 1, np.int64)
    tones = np.empty(MAX_SEEN + 1, np.float32)
    runs = np.empty((4 * CAMERA_WIDTH + 8, 4), np.int64)
    places, recent = np.empty((MAX_SEEN + 1, 2), np.int32), np.empty((MAX_SEEN + 1, 2), np.float32)
    wide = CAMERA_WIDTH + 2
    names = np.zeros((CAMERA_HEIGHT + 2, wide), np.int32)
    greys = np.zeros((CAMERA_HEIGHT + 2, wide), np.float32)
    evens, odds = np.zeros((2 * CAMERA_HEIGHT + 4, wide), np.int32), np.zeros((2 * CAMERA_HEIGHT + 4, wide), np.int32)
    sums, alone = np.zeros((3, wide), np.int32), np.zeros(CAMERA_HEIGHT + 2, np.int32)
    for k in range(frames.shape[0]):
        camera = cameras[k]
        aim(lenses[k], camera, axes, view)
        lens = (lenses[k, 0], lenses[k, 1], camera[3])
        mask = _sectors(lenses[k], camera)
        own = cell_of(cells, lens[0], lens[1])
        count, top, bottom = 0, LINES, -1
        for i in range(starts[own], starts[own + 1]):
            if bits[i] & mask == 0 or (count == MAX_SEEN and not is_marking):
                continue
            n = listed[i]
            side = facets[n, 0] * lens[0] + facets[n, 1] * lens[1] + facets[n, 2] * lens[2] + facets[n, 3]
            if side <= 1e-7 and (side >= -1e-7 or not seen_behind[n]):
                continue
            name = 1 if is_marking else count + 1
            first, last = _draw_triangle(
                n, _i(name), False, solids, textures, lens, axes, view, camera[0], planes, tones, clipped, words
            )
            if first <= last:
                count = name
                seen[name] = n
                places[name, 0], places[name, 1] = _i(-1000), _i(-1000)
                top, bottom = min(top, first), max(bottom, last)
        if bottom < top:
            continue
        if is_marking:
            for i in range(starts[own], starts[own + 1]):
                n = listed[i]
                side = facets[n, 0] * lens[0] + facets[n, 1] * lens[1] + facets[n, 2] * lens[2] + facets[n, 3]
                if side > 1e-7 or (side < -1e-7 and seen_behind[n]):
                    first, last = _draw_triangle(
                        n, _i(1), True, solids, textures, lens, axes, view, camera[0], planes, tones, clipped, words
                    )
                    if first < LINES:
                        marks[n] = max(marks[n], last)
        else:
            first_row, last_row = max((top - 1) // 2, 0), min(bottom // 2, CAMERA_HEIGHT - 1)
            work = (names, greys, evens, odds, sums, alone, places, recent, runs)
            _mix(lines, first_row, last_row, planes, tones, seen, solids[2], textures, shades[k], work, frames[k])
            if depths.shape[0] > 0:
                _put_depths(lines, planes, first_row, last_row, depths[k])
        for s in range(top, bottom + 1):
            lines[s] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _put_depths(lines, planes, first_row, last_row, depths):  # type: ignore[no-untyped-def]
    """1 / depth of the triangle in each pixel's lower right sample of the four."""
    for r in range(first_row, last_row + 1):
        line = lines[2 * r + 2]
        for j in range(CAMERA_WIDTH):
            name = line[2 * j + PAD + 1] & _NAME
            if name > 0:
                plane = planes[name]
                depths[r, j] = _f(plane[0] + plane[1] * (j + 0.75) + plane[2] * (r + 0.75))
