"""The compiled frame loop. Ground: lines of constant distance, each a straight run through one mip level ("mode 7"),
mixed into rows. Walls: straight lines in the picture, blended by exact filter coverage.

Numbers are kept in 32 bits on purpose, so that the compiler fits 8 or 16 of them in a vector register: numba widens
int32 arithmetic to 64 bits unless each result is cast back.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, UInt8Array

STRIP = 16
"""A level is stored in strips of this many columns, each running north without a gap: neighbours in both directions
share cache lines and pages, whatever the car's heading (a third faster than whole rows)."""

STRIP_WIDTH = STRIP + 1
"""Each strip repeats the next one's first column, so that the last column has its neighbour beside it too."""


_i, _u, _f = np.int32, np.uint32, np.float32
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_STRIP_SHIFT = 16 + STRIP.bit_length() - 1
_LOW_BYTES = np.uint32(0x00FF00FF)

NODE = 16
"""Pixels between the places of a row where stains are looked up."""

AHEAD = 4
"""Lines whose texels are on their way from memory while one is looked up."""

WALL_CLEARANCE_M = 0.05
"""A lens is drawn from inside the room, at least this far from every wall, wherever the car is."""


@njit(cache=True, nogil=True)
def pair_up(grey: UInt8Array, pairs: NDArray[np.uint16]) -> None:
    """Lay out one level as Pyramid describes; here, since layout and lookup must change together in numba's cache."""
    rows, columns = grey.shape
    place = 0
    for left in range(0, columns, STRIP):
        for r in range(rows):
            above = min(r + 1, rows - 1)
            for c in range(left, left + STRIP_WIDTH):
                column = min(c, columns - 1)
                pairs[place] = np.uint16(grey[r, column] + 256 * np.int64(grey[above, column]))
                place += 1


def _load_2x2_of(typingctx: Any, pairs: Any, index: Any) -> Any:
    """The 2x2 texels that begin at pairs[index], as one unaligned little-endian uint32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        wide = builder.sext(args[1], ir.IntType(64))
        pointer = builder.bitcast(builder.gep(array.data, [wide]), ir.IntType(32).as_pointer())
        loaded = builder.load(pointer)
        loaded.align = 2
        return loaded

    return types.uint32(pairs, index), codegen


load_2x2: Any = intrinsic(_load_2x2_of)
"""load_2x2(pairs, index) in compiled code, which passes the typing context by itself."""


def _prefetch_of(typingctx: Any, pairs: Any, index: Any) -> Any:
    """Ask for the cache line of pairs[index], without waiting."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        wide = args[1] if args[1].type.width == 64 else builder.sext(args[1], ir.IntType(64))
        pointer = builder.bitcast(builder.gep(array.data, [wide]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        # to read, into all caches, data
        builder.call(function, [pointer, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.none(pairs, index), codegen


prefetch: Any = intrinsic(_prefetch_of)


@njit(cache=True, nogil=True, error_model="numpy")
def place_line(pairs, start, strip, u_max, v_max, u0, v0, du, dv, index):  # type: ignore[no-untyped-def]
    """Where one line's texels are: index (CAMERA_WIDTH,) int32. They are far apart in memory, so it is asked for them
    before they are needed. What lies off the map is never seen, since the room's walls stand within it: there only the
    loads must stay in bounds."""
    for j in range(CAMERA_WIDTH):
        u = min(max(_i(u0 + _i(_i(j) * du)), _i(0)), u_max)
        v = min(max(_i(v0 + _i(_i(j) * dv)), _i(0)), v_max)
        column = _i(_i(u >> 16) & _i(STRIP - 1))
        row = _i(start + _i(_i(v >> 16) * _i(STRIP_WIDTH)))
        index[j] = _i(_i(_i(_i(u >> _STRIP_SHIFT) * strip) + row) + column)
    for j in range(CAMERA_WIDTH):
        prefetch(pairs, index[j])


@njit(cache=True, nogil=True, error_model="numpy")
def look_up_line(pairs, index, u0, v0, du, dv, texels, out):  # type: ignore[no-untyped-def]
    """One line of bilinear lookups: positions are 16.16 fixed point, `out` (CAMERA_WIDTH,) uint16 is 8.8.

    Three passes with that of `place_line`, because only the loads in the middle one do not vectorise.
    """
    for j in range(CAMERA_WIDTH):
        texels[j] = load_2x2(pairs, index[j])
    for j in range(CAMERA_WIDTH):
        u, v = _i(u0 + _i(_i(j) * du)), _i(v0 + _i(_i(j) * dv))
        fu, fv = _u(_u(u >> 8) & _u(255)), _u(_u(v >> 8) & _u(255))
        four = texels[j]
        # both columns at once, in the halves of one word
        south, north = _u(four & _LOW_BYTES), _u(_u(four >> _u(8)) & _LOW_BYTES)
        columns = _u(_u(south << _u(8)) + _u(_u(north - south) * fv))
        west, east = _u(columns & _u(0xFFFF)), _u(columns >> _u(16))
        out[j] = np.uint16(_u(_u(west << _u(8)) + _u(_u(east - west) * fu)) >> _u(8))


@njit(cache=True, nogil=True, error_model="numpy")
def _share_before(edge):  # type: ignore[no-untyped-def]
    """How much of a triangle filter of half-width 1 lies before `edge`, measured from the filter's middle; float32."""
    t = min(max(edge, -_ONE), _ONE)
    near = _f(_ONE - abs(t))
    tail = _f(_HALF * _f(near * near))
    return tail if t < _ZERO else _f(_ONE - tail)


@njit(cache=True, nogil=True, error_model="numpy")
def _wall_outline(camera, room, x, y, ahead_x, ahead_y, base, top, corners, order):  # type: ignore[no-untyped-def]
    """Rows of the walls' base and top in each column (CAMERA_WIDTH,), and the room's corners ahead, left to right.

    A wall at distance d along its outward normal n is seen where n . point = d. Both a ray and the ground point that it
    hits are linear in the picture, so base and top are straight lines, and what is inside all walls is the
    intersection of half-planes: the largest base row and the smallest top row count. Returns the number of corners;
    corners[c] is left / ahead of a corner, order[c] the wall to its right; order[count] is unused.
    """
    focal, sin, cos, lens = camera[0], camera[1], camera[2], camera[3]
    over = room[4] - lens
    for j in range(CAMERA_WIDTH):
        base[j], top[j] = _f(-1e6), _f(1e6)
    for wall in range(4):
        if wall == 0:
            n_ahead, n_left, d = ahead_x, -ahead_y, room[2] - x
        elif wall == 1:
            n_ahead, n_left, d = ahead_y, ahead_x, room[3] - y
        elif wall == 2:
            n_ahead, n_left, d = -ahead_x, ahead_y, x - room[0]
        else:
            n_ahead, n_left, d = -ahead_y, -ahead_x, y - room[1]
        middle = 0.5 * CAMERA_HEIGHT
        scale = focal / (d * cos + n_ahead * lens * sin)
        at_left = (lens * (n_ahead * cos + n_left * 0.5 * CAMERA_WIDTH / focal) - d * sin) * scale + middle
        slope = -lens * n_left / focal * scale
        for j in range(CAMERA_WIDTH):
            base[j] = max(base[j], _f(_f(at_left) + _f(_f(slope) * _f(_f(j) + _HALF))))
        lean = d * cos - n_ahead * over * sin
        if lean > 1e-6:
            scale = focal / lean
            at_left = -(over * (n_ahead * cos + n_left * 0.5 * CAMERA_WIDTH / focal) + d * sin) * scale + middle
            slope = over * n_left / focal * scale
        else:  # so near that its top is out of sight above
            at_left, slope = -1e6, 0.0
        for j in range(CAMERA_WIDTH):
            top[j] = min(top[j], _f(_f(at_left) + _f(_f(slope) * _f(_f(j) + _HALF))))
    count = 0
    for corner in range(4):  # north-east first; corner c ends wall c and begins wall c + 1, counter-clockwise
        dx = (room[2] if corner == 0 or corner == 3 else room[0]) - x
        dy = (room[3] if corner < 2 else room[1]) - y
        ahead, left = dx * ahead_x + dy * ahead_y, dy * ahead_x - dx * ahead_y
        if ahead > 0.01 * abs(left):
            ratio = left / ahead
            place = count
            while place > 0 and corners[place - 1] < ratio:
                corners[place], order[place] = corners[place - 1], order[place - 1]
                place -= 1
            corners[place], order[place] = ratio, corner
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_walls(camera, shades, r, corners, order, count, out):  # type: ignore[no-untyped-def]
    """Grey of the walls along picture row r, as if they had no top and no base; `out` (CAMERA_WIDTH,) float32."""
    leftmost = shades[(order[0] + 1) % 4]
    for j in range(CAMERA_WIDTH):
        out[j] = leftmost
    down = (r + 0.5 - 0.5 * CAMERA_HEIGHT) / camera[0]
    for c in range(count):
        # an upright line: its column is linear in the row
        column = _f(0.5 * CAMERA_WIDTH - camera[0] * corners[c] * (camera[2] - down * camera[1]) - 0.5)
        if column > CAMERA_WIDTH:
            break  # the next corners are further right
        change = _f(shades[order[c]] - shades[(order[c] + 1) % 4])
        for j in range(CAMERA_WIDTH):
            out[j] = _f(out[j] + _f(change * _f(_ONE - _share_before(_f(column - _f(j))))))


@njit(cache=True, nogil=True, error_model="numpy")
def place_lenses(x_m, y_m, heading_rad, ahead_m, left_m, yaw_rad, room, lenses):  # type: ignore[no-untyped-def]
    """Fill lenses (K, 4): x, y, cos and sin of the view's heading, for base_link poses (K,) each.

    The lens is ahead_m ahead and left_m left of base_link, its view yaw_rad (K,) left of the car's heading.
    """
    for k in range(lenses.shape[0]):
        cos, sin = np.cos(heading_rad[k]), np.sin(heading_rad[k])
        x, y = x_m[k] + ahead_m * cos - left_m * sin, y_m[k] + ahead_m * sin + left_m * cos
        lenses[k, 0] = min(max(x, room[0] + WALL_CLEARANCE_M), room[2] - WALL_CLEARANCE_M)
        lenses[k, 1] = min(max(y, room[1] + WALL_CLEARANCE_M), room[3] - WALL_CLEARANCE_M)
        lenses[k, 2], lenses[k, 3] = np.cos(heading_rad[k] + yaw_rad[k]), np.sin(heading_rad[k] + yaw_rad[k])


@njit(cache=True, nogil=True, error_model="numpy")
def _tone_ground(tone, stains, camera, lens, r, factor, total):  # type: ignore[no-untyped-def]
    """Change the greys of the ground in picture row r; total (CAMERA_WIDTH,) int32 is 16.16 with half a level added.

    tone and stains are as in `render_frames`. A stain's factor is worked out every NODE pixels and is straight between.
    """
    down = (r + 0.5 - 0.5 * CAMERA_HEIGHT) / camera[0]
    drop = camera[1] + down * camera[2]
    for j in range(CAMERA_WIDTH):
        factor[j] = _ONE
    tile = stains[0]
    if tone[10] > 0.0 and drop > 0.01:
        ahead, step = (camera[2] - down * camera[1]) * camera[3] / drop, camera[3] / drop / camera[0]
        # a row that is longer on the ground than a stain shows the stains' mean
        length = step / drop / stains[1]
        strength = tone[10] / (1.0 + length * length)
        last, per_m = tile.shape[0] - 1, 1.0 / stains[1]  # the size is a power of two
        before = 0.0
        for node in range(CAMERA_WIDTH // NODE + 1):
            left = (0.5 * CAMERA_WIDTH - node * NODE) * step
            x, y = lens[0] + ahead * lens[2] - left * lens[3], lens[1] + ahead * lens[3] + left * lens[2]
            u = (x * tone[11] + y * tone[12] + tone[13]) * per_m
            v = (y * tone[11] - x * tone[12] + tone[14]) * per_m
            i, j = math.floor(u), math.floor(v)
            fu, fv = u - i, v - j
            c0, c1, r0, r1 = i & last, (i + 1) & last, j & last, (j + 1) & last
            south = tile[r0, c0] + (tile[r0, c1] - tile[r0, c0]) * fu
            north = tile[r1, c0] + (tile[r1, c1] - tile[r1, c0]) * fu
            here = 1.0 + strength * (south + (north - south) * fv)
            if node > 0:
                slope = _f((here - before) / NODE)
                start = _f(before) + _HALF * slope
                between = factor[(node - 1) * NODE :]
                for j_between in range(NODE):
                    between[j_between] = _f(start + _f(slope * _f(j_between)))
            before = here
    slope, k1, k2, k3, k4 = tone[0], tone[5], tone[6], tone[7], tone[8]
    bend1, bend2 = _f(tone[1] - tone[0]), _f(tone[2] - tone[1])
    bend3, bend4, most = _f(tone[3] - tone[2]), _f(tone[4] - tone[3]), _f(255.0)
    for j in range(CAMERA_WIDTH):
        grey = _f(_f(_i(total[j] - _i(1 << 15))) * _f(1.0 / 65536.0))
        toned = _f(_f(slope * grey) + _f(bend1 * max(_f(grey - k1), _ZERO)))
        toned = _f(toned + _f(_f(bend2 * max(_f(grey - k2), _ZERO)) + _f(bend3 * max(_f(grey - k3), _ZERO))))
        toned = _f(toned + _f(bend4 * max(_f(grey - k4), _ZERO)))
        toned = min(max(_f(toned * factor[j]), _ZERO), most)
        total[j] = _i(_i(_f(toned * _f(65536.0))) + _i(1 << 15))


@njit(cache=True, nogil=True, error_model="numpy")
def _sample_lines(lens, first_line, finest, pyramid, plan, places, index, texels, lines):  # type: ignore[no-untyped-def]
    """Look up the plan's lines from first_line on, at no finer level than `finest`; lines (S, CAMERA_WIDTH) uint16."""
    pairs, starts, level_rows, level_columns, per_m, origins = pyramid
    line_ahead, line_step, line_level = plan[0], plan[1], plan[2]
    x, y, ahead_x, ahead_y = lens
    count = line_ahead.size
    for step_of in range(first_line, count + AHEAD):
        if step_of < count:
            s = step_of
            level = max(line_level[s], finest)
            scale = 65536.0 * per_m[level]
            # the middle of the leftmost pixel; left of straight ahead is (-ahead_y, ahead_x)
            left, step = (0.5 * CAMERA_WIDTH - 0.5) * line_step[s], line_step[s]
            u0 = (x - origins[level, 0] + line_ahead[s] * ahead_x - left * ahead_y) * scale - 32768.0
            v0 = (y - origins[level, 1] + line_ahead[s] * ahead_y + left * ahead_x) * scale - 32768.0
            place = places[s % (AHEAD + 1)]
            place[0], place[1] = _i(u0), _i(v0)
            place[2], place[3] = _i(step * ahead_y * scale), _i(-step * ahead_x * scale)
            place_line(
                pairs,
                _i(starts[level]),
                _i(level_rows[level] * STRIP_WIDTH),
                _i(((level_columns[level] - 1) << 16) - 1),
                _i(((level_rows[level] - 1) << 16) - 1),
                place[0],
                place[1],
                place[2],
                place[3],
                index[s % (AHEAD + 1)],
            )
        s = step_of - AHEAD
        if s >= first_line:
            place = places[s % (AHEAD + 1)]
            look_up_line(pairs, index[s % (AHEAD + 1)], place[0], place[1], place[2], place[3], texels, lines[s])


@njit(cache=True, nogil=True, error_model="numpy")
def _mix_lines(lines, first, count, weights, total):  # type: ignore[no-untyped-def]
    """A picture row from its lines: total (CAMERA_WIDTH,) int32 is 16.16 with half a grey level added."""
    for j in range(CAMERA_WIDTH):
        total[j] = _i(1 << 15)
    for i in range(count):
        weight, line = _i(weights[i]), lines[first + i]
        for j in range(CAMERA_WIDTH):
            total[j] = _i(total[j] + _i(weight * _i(line[j])))


@njit(cache=True, nogil=True, error_model="numpy")
def draw_open_ground(lens, camera, tone, stains, pyramid, finest, plan, horizon, first_row, work, frame):  # type: ignore[no-untyped-def]
    """Draw the ground from first_row down; simapp.camera.sky draws what is above the horizon first.

    As `render_frames`, without walls, for one frame. finest is the finest level that may be looked at; work is lines
    (S, CAMERA_WIDTH) uint16, places, index, texels, factor and total (CAMERA_WIDTH,).
    """
    first, count, weights = plan[3], plan[4], plan[5]
    lines, places, index, texels, factor, total = work
    if first_row >= CAMERA_HEIGHT:
        return
    _sample_lines(lens, first[first_row], finest, pyramid, plan, places, index, texels, lines)
    for r in range(first_row, CAMERA_HEIGHT):
        if count[r] == 0:
            continue
        row = frame[r]
        _mix_lines(lines, first[r], count[r], weights[r], total)
        if tone[9] != _ZERO:
            _tone_ground(tone, stains, camera, lens, r, factor, total)
        share = _share_before(_f(horizon - (r + 0.5)))
        if share > _ZERO:
            for j in range(CAMERA_WIDTH):
                ground = _f(_f(total[j]) * _f(1.0 / 65536.0))
                row[j] = np.uint8(_i(_f(ground + _f(_f(_f(row[j]) + _HALF - ground) * share))))
        else:
            for j in range(CAMERA_WIDTH):
                row[j] = np.uint8(total[j] >> 16)


@njit(cache=True, nogil=True, error_model="numpy")
def render_frames(  # type: ignore[no-untyped-def]
    rows, lenses, camera, room, all_shades, tones, stains, pyramid, plan, frames
):
    """Draw frames[rows]; frames (K, CAMERA_HEIGHT, CAMERA_WIDTH) uint8, each from its own row of the arguments alone.

    rows     (R,) the frames to draw, all with this pinhole
    lenses   (K, 4) of `place_lenses`
    camera   (focal_px, sin pitch, cos pitch, height_m) float64
    room     (xmin, ymin, xmax, ymax, wall height) float64
    shades   (K, 5) float32 grey of the east, north, west, south wall and of the sky
    tones    (K, TONE) float32, what becomes of the ground's greys; see simapp.camera.effects
    stains   (tile, texel size in metres)
    pyramid  (pairs, starts, rows, columns, 1 / texels_m, origins_m) of a Pyramid
    plan     (ahead_m, step_m, level, first, count, weights) of a ScanPlan
    """
    line_ahead, first, count, weights = plan[0], plan[3], plan[4], plan[5]
    lines = np.empty((line_ahead.size, CAMERA_WIDTH), np.uint16)
    places, index = np.empty((AHEAD + 1, 4), np.int32), np.empty((AHEAD + 1, CAMERA_WIDTH), np.int32)
    texels = np.empty(CAMERA_WIDTH, np.uint32)
    base, top = np.empty(CAMERA_WIDTH, np.float32), np.empty(CAMERA_WIDTH, np.float32)
    wall, factor = np.empty(CAMERA_WIDTH, np.float32), np.empty(CAMERA_WIDTH, np.float32)
    total = np.empty(CAMERA_WIDTH, np.int32)
    corners, order = np.empty(5), np.empty(5, np.int64)
    for k in rows:
        x, y, ahead_x, ahead_y = lenses[k]
        shades = all_shades[k]
        num_corners = _wall_outline(camera, room, x, y, ahead_x, ahead_y, base, top, corners, order)
        highest_base, lowest_base, lowest_top = base.min(), base.max(), top.max()
        first_row = 0  # the first row with any ground
        while first_row < CAMERA_HEIGHT and (first_row + 1.5 <= highest_base or count[first_row] == 0):
            first_row += 1
        first_line = first[first_row] if first_row < CAMERA_HEIGHT else line_ahead.size

        _sample_lines(lenses[k], first_line, 0, pyramid, plan, places, index, texels, lines)
        for r in range(CAMERA_HEIGHT):
            row = frames[k, r]
            has_wall = r - 0.5 < lowest_base
            if has_wall:
                _draw_walls(camera, shades, r, corners, order, num_corners, wall)
                if r - 0.5 < lowest_top:
                    for j in range(CAMERA_WIDTH):
                        sky = _share_before(_f(top[j] - _f(_f(r) + _HALF)))
                        wall[j] = _f(wall[j] + _f(_f(shades[4] - wall[j]) * sky))
            if r < first_row:
                for j in range(CAMERA_WIDTH):
                    row[j] = np.uint8(_i(_f(wall[j] + _HALF)))
                continue
            _mix_lines(lines, first[r], count[r], weights[r], total)
            if tones[k, 9] != _ZERO:
                _tone_ground(tones[k], stains, camera, lenses[k], r, factor, total)
            if has_wall:
                for j in range(CAMERA_WIDTH):
                    ground = _f(_f(total[j]) * _f(1.0 / 65536.0))
                    share = _share_before(_f(base[j] - _f(_f(r) + _HALF)))
                    behind = _f(wall[j] + _HALF)  # total already holds this half
                    row[j] = np.uint8(_i(_f(ground + _f(_f(behind - ground) * share))))
            else:
                for j in range(CAMERA_WIDTH):
                    row[j] = np.uint8(total[j] >> 16)
