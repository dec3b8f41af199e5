"""Greys of what stands: a picture row's runs of one triangle are looked up in their textures, many pixels at once.

Three passes over a row, because only the loads in the middle one do not vectorise, and the pixels of all runs one after
another, because most runs are short.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from contract.state import CAMERA_WIDTH
from simapp.camera.kernel import load_2x2

_i, _f = np.int32, np.float32


def _bits_of(typingctx: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


bits_of: Any = intrinsic(_bits_of)

SPAN = 16
"""Pixels whose places in a texture are worked out at once, in one level of it."""
MAX_SLOTS = 5 * (CAMERA_WIDTH + 2) + SPAN
"""Greys of a row at most: of each pixel or, where triangles meet, of each of its four samples; and a span more."""
NEARBY_PX = 2
"""Where triangles meet, one is as grey as it was last so near."""

_ZERO, _HALF, _ONE, _MOST = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(255.0)
_LEAST_NEAR = np.float32(1e-6)
_FAR_TEXELS, _WHOLE_TURNS = np.float32(16000.0), np.float32(1 << 22)
"""A place in a texture is held within so many texels; _WHOLE_TURNS, in 256ths of a texel, makes it positive, and is a
whole number of any texture's width."""


@njit(cache=True, nogil=True, error_model="numpy")
def place_runs(  # type: ignore[no-untyped-def]
    runs, count, r, base, planes, tones, seen, pictures, starts, sizes, shade, white, places, recent, texels, lights
):
    """Say where in the textures the pixels of row r's runs are; returns the number of greys to look up.

    runs (R, 5): triangle, first pixel, last pixel + 1, whether it is one of several in the pixel, and this fills the
    place of its first grey: from `base` on in this row's, of the row before, or -1 where its tone is known.
    texels (4, MAX_SLOTS) int32: place in `pairs`, and across and up in 256ths; lights (MAX_SLOTS,): factors / 65536.
    places, recent (MAX_SEEN + 1, 2): where a triangle's first and last pixel were looked up last, as 256 * row + pixel,
    and the greys' places.
    `white` is the place in `pairs` for a triangle without a picture.
    """
    index, us, vs = texels[0], texels[1], texels[2]
    y = r + 0.5
    slot = 0
    for k in range(count):
        name, first, last = runs[k, 0], runs[k, 1], runs[k, 2]
        runs[k, 4] = -1
        if name == 0 or tones[name] >= _ZERO:
            continue
        if runs[k, 3] == 1:
            # the triangle's grey beside this pixel, or above it, will do
            if places[name, 0] >= (r << 8) - 256 and abs((places[name, 0] & 255) - first) <= NEARBY_PX:
                runs[k, 4] = recent[name, 0]
                continue
            if places[name, 1] >= (r << 8) - 256 and abs((places[name, 1] & 255) - first) <= NEARBY_PX:
                runs[k, 4] = recent[name, 1]
                continue
        runs[k, 4] = base + slot
        places[name, 0], recent[name, 0] = (r << 8) + first, base + slot
        places[name, 1], recent[name, 1] = (r << 8) + last - 1, base + slot + last - first - 1
        picture = pictures[seen[name]]
        near0, near_x = planes[name, 0] + planes[name, 2] * y, planes[name, 1]
        light_0, light_x = (planes[name, 9] + planes[name, 11] * y) * shade, planes[name, 10] * shade
        u_0, u_x = planes[name, 3] + planes[name, 5] * y, planes[name, 4]
        v_0, v_x = planes[name, 6] + planes[name, 8] * y, planes[name, 7]
        step_near, step_light = _f(near_x), _f(light_x * (1.0 / 65536.0))
        for place in range(first, last, SPAN):
            x0 = place - 0.5
            near = near0 + near_x * x0
            start_near, bright = _f(near), _f((light_0 + light_x * x0) * (1.0 / 65536.0))
            start, u_mask, v_mask = white, _i(0), _i(0)
            start_u, step_u, start_v, step_v = _ZERO, _ZERO, _ZERO, _ZERO
            if picture >= 0:
                z0 = 1.0 / max(near, 1e-6)
                u, v = (u_0 + u_x * x0) * z0, (v_0 + v_x * x0) * z0
                width, height = 1 << sizes[picture, 0, 1], 1 << sizes[picture, 0, 0]
                # texels a pixel, across and down: of the longer one a quarter, and the mean of both, at least
                ux, vx = (u_x - u * near_x) * z0 * width, (v_x - v * near_x) * z0 * height
                uy = (planes[name, 5] - u * planes[name, 2]) * z0 * width
                vy = (planes[name, 8] - v * planes[name, 2]) * z0 * height
                across, down = ux * ux + vx * vx, uy * uy + vy * vy
                longer = max(across, down) * 0.0625
                fourth = _f(min(max(across * down, longer * longer), 1e30))
                # a quarter of what the exponent of two is above 2: each level has a quarter of the texels
                level = max(min(((_i(bits_of(fourth)) >> 23) - _i(127) + _i(2)) >> 2, starts.shape[1] - 1), 0)
                log_height, log_width = sizes[picture, level, 0], sizes[picture, level, 1]
                wide, high = float(1 << log_width), float(1 << log_height)
                u, v = math.floor(u), math.floor(v)
                start_u, step_u = _f((u_0 + u_x * x0 - u * near) * wide), _f((u_x - u * near_x) * wide)
                start_v, step_v = _f((v_0 + v_x * x0 - v * near) * high), _f((v_x - v * near_x) * high)
                start, u_mask, v_mask = _i(starts[picture, level]), _i((1 << log_width) - 1), _i((1 << log_height) - 1)
            stride = _i(u_mask + _i(2))
            # always a whole span: what follows the run's last pixel is filled anew by the next one
            at = np.uint64(slot)
            for j in range(SPAN):
                depth = _ONE / max(_f(start_near + _f(step_near * _f(j))), _LEAST_NEAR)
                at_u = _f(_f(_f(start_u + _f(step_u * _f(j))) * depth) - _HALF)
                at_v = _f(_f(_f(start_v + _f(step_v * _f(j))) * depth) - _HALF)
                fixed_u = _i(_f(_f(min(max(at_u, -_FAR_TEXELS), _FAR_TEXELS) * _f(256.0)) + _WHOLE_TURNS))
                fixed_v = _i(_f(_f(min(max(at_v, -_FAR_TEXELS), _FAR_TEXELS) * _f(256.0)) + _WHOLE_TURNS))
                row = _i(start + _i(_i(_i(fixed_v >> 8) & v_mask) * stride))
                here = at + np.uint64(j)
                us[here], vs[here] = fixed_u, fixed_v
                lights[here] = _f(_f(bright + _f(step_light * _f(j))) * depth)
                index[here] = _i(row + _i(_i(fixed_u >> 8) & u_mask))
            slot += min(last - place, SPAN)
    return slot


@njit(cache=True, nogil=True, error_model="numpy")
def look_up(pairs, count, texels, lights, values):  # type: ignore[no-untyped-def]
    """Fill values[:count] (MAX_SLOTS,) float32 with greys of the places that `place_runs` has left."""
    index, us, vs, fours = texels[0], texels[1], texels[2], texels[3]
    for j in range(count):
        fours[j] = load_2x2(pairs, index[j])
    for j in range(count):
        four, right, low = fours[j], _i(us[j] & _i(255)), _i(vs[j] & _i(255))
        up = _i(_i(256) - low)
        west = _i(_i(_i(four & _i(255)) * up) + _i(_i(_i(four >> 8) & _i(255)) * low))
        east = _i(_i(_i(_i(four >> 16) & _i(255)) * up) + _i(_i(_i(four >> 24) & _i(255)) * low))
        grey = _i(_i(west * _i(_i(256) - right)) + _i(east * right))
        values[j] = min(max(_f(_f(grey) * lights[j]), _ZERO), _MOST)


@njit(cache=True, nogil=True, error_model="numpy")
def put_runs(runs, count, r, tones, values, greys, evens, odds):  # type: ignore[no-untyped-def]
    """Put the greys of row r's runs, counted from one left of the picture, into greys (rows + 2, width + 2) float32
    where a triangle has whole pixels, and into its samples, which hold a grey in eighths and a one from bit 20 on."""
    out = greys[r + 1]
    even0, odd0, even1, odd1 = evens[2 * r + 2], odds[2 * r + 2], evens[2 * r + 3], odds[2 * r + 3]
    for k in range(count):
        name, first, last, slot = runs[k, 0], runs[k, 1], runs[k, 2], runs[k, 4]
        if name == 0:
            continue
        value = values[slot] if slot >= 0 else tones[name]
        if runs[k, 3] == 1:
            word = _i(_i(_f(value * _f(8.0))) | _i(1 << 20))
            if even0[first] == name:
                even0[first] = word
            if odd0[first] == name:
                odd0[first] = word
            if even1[first] == name:
                even1[first] = word
            if odd1[first] == name:
                odd1[first] = word
            continue
        shades, west0, east0 = out[first:last], even0[first:last], odd0[first:last]
        west1, east1 = even1[first:last], odd1[first:last]
        if slot >= 0:
            looked_up = values[slot : slot + last - first]
            for j in range(last - first):
                shades[j] = looked_up[j]
        else:
            for j in range(last - first):
                shades[j] = value
        for j in range(last - first):
            word = _i(_i(_f(shades[j] * _f(8.0))) | _i(1 << 20))
            west0[j], east0[j], west1[j], east1[j] = word, word, word, word
