"""Samples of what stands become pixels: whole pixels are looked up once in the texture; where triangles meet, samples
are mixed by the triangle filter with which the real camera's picture is shrunk.
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


def _bits_of(typingctx: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


bits_of: Any = intrinsic(_bits_of)

_UNKNOWN = np.float32(-1.0)
"""A triangle of a single grey that nobody has asked for yet."""

PAD = 8
"""Samples left of the picture in a line: one is used, the others keep lines apart."""
LINES, COLUMNS = 2 * CAMERA_HEIGHT + 2, 2 * CAMERA_WIDTH + 2 * PAD
BLOCK = 8
"""Pixels that are mixed or left alone together."""
BLOCKS = -(-(CAMERA_WIDTH + 2) // BLOCK)

MAX_SEEN = 1023
"""Triangles that one frame draws at most; what comes later in the list is left out."""
NAME = np.int32(MAX_SEEN)
"""The bits of a sample that tell its triangle."""

SPAN = 16
"""Pixels between which textures run straight."""
NEARBY_PX = 2
"""Where triangles meet, one is as grey as it was last so near."""


@njit(cache=True, nogil=True, error_model="numpy")
def _run_of_blocks(mask, begin):  # type: ignore[no-untyped-def]
    """The first blocks from `begin` on that are set in a mask, and the first one after them that is not."""
    while begin < BLOCKS and (mask >> begin) & 1 == 0:
        begin += 1
    end = begin
    while end < BLOCKS and (mask >> end) & 1 == 1:
        end += 1
    return begin, end


@njit(cache=True, nogil=True, error_model="numpy")
def mix(twos, touched, first_row, last_row, planes, tones, seen, pictures, textures, shade, work, frame):  # type: ignore[no-untyped-def]
    """Put the samples over rows first_row..last_row of the frame.

    twos (LINES, COLUMNS / 2) int64 are two samples each.
    touched (LINES,) are the blocks of each line where there are samples, a bit each: pixels that none of them reaches
    are left alone.
    work: scratch of `draw_standing`. `names` (rows + 2, width + 2) is the triangle of a pixel whose four samples agree,
    else -1; `evens` and `odds` are the samples of the left and right halves of pixels: triangles first, then greys;
    `near` (rows + 4,) are the blocks of a row with samples in it or next to it.

    Rows are cut out of these in functions that call no other: there, numba counts no references, which took longer than
    the work itself.
    """
    names, greys, evens, odds, sums, alone, places, recent, runs, near = work
    pairs, starts, sizes = textures[0], textures[1], textures[2]
    for r in range(first_row - 2, last_row + 3):
        blocks = np.int64(0)
        for s in range(2 * r - 1, 2 * r + 5):
            blocks |= touched[min(max(s, 0), LINES - 1)]
        near[r + 2] = blocks
    for r in range(first_row - 1, last_row + 2):
        blocks = near[r + 1] | near[r + 2] | near[r + 3]
        blocks = (blocks | (blocks << 1) | (blocks >> 1)) & ((1 << BLOCKS) - 1)
        alone[r + 1] = _i(-1)
        begin, end = _run_of_blocks(blocks, 0)
        while begin < end:
            first, last = begin * BLOCK, min(end * BLOCK, CAMERA_WIDTH + 2)
            _name_pixels(twos, r, first, last, names, evens, odds)
            count = _find_runs(r, first, last, names, evens, odds, runs)
            if runs[0, 1] == 0 and runs[0, 2] == CAMERA_WIDTH + 2:
                alone[r + 1] = names[r + 1, 0]
            _shade_runs(
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
                greys,
                evens,
                odds,
            )
            begin, end = _run_of_blocks(blocks, end)
    for r in range(first_row, last_row + 1):
        if alone[r + 1] >= 0 and alone[r] == alone[r + 1] == alone[r + 2]:
            if alone[r + 1] > 0:
                _put_whole_row(r, greys, frame)
            continue
        begin, end = _run_of_blocks(near[r + 2], 0)
        while begin < end:
            first, last = max(begin * BLOCK - 2, 0), min(end * BLOCK, CAMERA_WIDTH)
            _mix_pixels(r, first, last, names, greys, evens, odds, sums, frame)
            begin, end = _run_of_blocks(near[r + 2], end)


@njit(cache=True, nogil=True, error_model="numpy")
def _name_pixels(pairs, r, first, last, names, evens, odds):  # type: ignore[no-untyped-def]
    """The triangles of row r's samples and pixels first..last-1, counted from one left of the picture. pairs (LINES,
    COLUMNS / 2) are two samples each, as one long word: what lies apart is not vectorised."""
    for half in range(2):
        even, odd = evens[2 * r + 2 + half][first:last], odds[2 * r + 2 + half][first:last]
        s = 2 * r + 1 + half
        both = pairs[min(max(s, 0), LINES - 1)][first + PAD // 2 - 1 : last + PAD // 2 - 1]
        for j in range(last - first):
            word = both[j]
            even[j], odd[j] = _i(_i(word) & NAME), _i(_i(word >> 32) & NAME)
    even0, odd0 = evens[2 * r + 2][first:last], odds[2 * r + 2][first:last]
    even1, odd1 = evens[2 * r + 3][first:last], odds[2 * r + 3][first:last]
    own = names[r + 1][first:last]
    for j in range(last - first):
        one = even0[j]
        apart = _i(_i(_i(one ^ odd0[j]) | _i(one ^ even1[j])) | _i(one ^ odd1[j]))
        own[j] = one if apart == _i(0) else _i(-1)


@njit(cache=True, nogil=True, error_model="numpy")
def _mix_pixels(r, first, last, names, greys, evens, odds, sums, frame):  # type: ignore[no-untyped-def]
    """Put the samples over pixels first..last-1 of row r; where all around is one triangle, its own grey."""
    stop = last + 2
    above, here, below = names[r][first:stop], names[r + 1][first:stop], names[r + 2][first:stop]
    e0, e1, e2, e3 = (
        evens[2 * r + 1][first:stop],
        evens[2 * r + 2][first:stop],
        evens[2 * r + 3][first:stop],
        evens[2 * r + 4][first:stop],
    )
    o0, o1, o2, o3 = (
        odds[2 * r + 1][first:stop],
        odds[2 * r + 2][first:stop],
        odds[2 * r + 3][first:stop],
        odds[2 * r + 4][first:stop],
    )
    even, odd, kept = sums[0], sums[1], sums[2]
    for j in range(stop - first):
        even[j] = _i(_i(e0[j] + e3[j]) + _i(_i(3) * _i(e1[j] + e2[j])))
        odd[j] = _i(_i(o0[j] + o3[j]) + _i(_i(3) * _i(o1[j] + o2[j])))
        apart = _i(_i(above[j] ^ here[j]) | _i(here[j] ^ below[j]))
        kept[j] = here[j] if apart == _i(0) else _i(-1)
    # views, since an index that might be negative is not vectorised
    before, even, odd, after = odd, even[1:], odd[1:], even[2:]
    left, middle, right = kept, kept[1:], kept[2:]
    grey, row = greys[r + 1][first + 1 : last + 1], frame[r][first:last]
    for j in range(last - first):
        total = _i(_i(before[j] + after[j]) + _i(_i(3) * _i(even[j] + odd[j])))
        cover, value = _i(total >> 20), _i(total & _i((1 << 20) - 1))
        behind = _i(_i(row[j]) << 3)
        mixed = _i(_i(_i(value + _i(_i(_i(64) - cover) * behind)) + _i(256)) >> 9)
        apart = _i(_i(left[j] ^ middle[j]) | _i(middle[j] ^ right[j]))
        whole = _i(_f(grey[j] + _f(0.5)))
        is_whole = _i(_i(apart == _i(0)) & _i(middle[j] > _i(0)))
        row[j] = np.uint8(whole if is_whole != _i(0) else mixed)


@njit(cache=True, nogil=True, error_model="numpy")
def _put_whole_row(r, greys, frame):  # type: ignore[no-untyped-def]
    """Row r is one triangle, as are those above and below."""
    grey, row = greys[r + 1][1:], frame[r]
    for j in range(CAMERA_WIDTH):
        row[j] = np.uint8(_i(_f(grey[j] + _f(0.5))))


@njit(cache=True, nogil=True, error_model="numpy")
def _find_runs(r, j, stop, names, evens, odds, runs):  # type: ignore[no-untyped-def]
    """Fill runs (R, 4): triangle, first pixel, last pixel + 1, and whether it is one of several in a pixel; returns how
    many there are from pixel j to stop - 1. What is nothing, 0, is among them where it is alone."""
    here = names[r + 1]
    even0, odd0, even1, odd1 = evens[2 * r + 2], odds[2 * r + 2], evens[2 * r + 3], odds[2 * r + 3]
    count = 0
    while j < stop:
        name, end = here[j], j + 1
        if name >= 0:
            while end + 16 <= stop:
                part = here[end : end + 16]
                apart = _i(0)
                for i in range(16):
                    apart |= _i(part[i] ^ name)
                if apart != 0:
                    break
                end += 16
            while end < stop and here[end] == name:
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
    greys,
    evens,
    odds,
):
    """Greys of the runs of row r, counted from one left of the picture: greys (rows + 2, width + 2) float32 where a
    triangle has whole pixels, and its samples, which hold a grey in eighths and a one from bit 20 on."""
    y = r + 0.5
    out = greys[r + 1]
    even0, odd0, even1, odd1 = evens[2 * r + 2], odds[2 * r + 2], evens[2 * r + 3], odds[2 * r + 3]
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
                # half of what the exponent of two is above 1: a level has a quarter of the texels of the one before
                level = max(min(((_i(bits_of(_f(square)) >> 23) - _i(127)) + _i(1)) >> 1, starts.shape[1] - 1), 0)
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
