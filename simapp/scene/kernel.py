"""Compiled loops of the videos' pictures: ground and sky, shadows, and triangles with a z-buffer, antialiased.

A picture is (H, W, 3) uint8. `pinhole` is Pinhole.numbers; `lens` is x, y, cos and sin of the view's heading. Pictures
from straight above have a `plan` instead: x and y of the world at pixel (0, 0), and metres a pixel. A camera never
rolls, so a picture's row is a line of constant distance on the ground.

Triangles are sampled four times a pixel, on a rotated grid; `keys` hold what is nearest so far, 1 / depth or height.
"""

import math

import numpy as np
from numba import njit

NEAR_M = 0.03
_TAPS = 8
"""Most lookups along a pixel's footprint on the ground, which is longer than wide far away."""
_FARTHEST_M = 200.0
_SAMPLE_X = np.array([0.375, 0.875, 0.125, 0.625])
_SAMPLE_Y = np.array([0.125, 0.375, 0.625, 0.875])
_LANES = np.uint64(0x00FF00FF)
_BYTE = np.uint64(0xFF)
_EIGHT = np.uint64(8)
_ONE = np.uint64(256)


@njit(cache=True, nogil=True, error_model="numpy")
def _lookup(texels, start, columns, u, v):  # type: ignore[no-untyped-def]
    """Red with blue, and green, of the bilinear mix at texel position (u, v) in 1 / 65536."""
    index = start + (v >> 16) * columns + (u >> 16)
    fx, fy = np.uint64((u >> 8) & 0xFF), np.uint64((v >> 8) & 0xFF)
    gx, gy = _ONE - fx, _ONE - fy
    a, b = np.uint64(texels[index]), np.uint64(texels[index + 1])
    c, d = np.uint64(texels[index + columns]), np.uint64(texels[index + columns + 1])
    low = (((a & _LANES) * gx + (b & _LANES) * fx) >> _EIGHT) & _LANES
    high = (((c & _LANES) * gx + (d & _LANES) * fx) >> _EIGHT) & _LANES
    red_blue = ((low * gy + high * fy) >> _EIGHT) & _LANES
    low = ((a >> _EIGHT) & _BYTE) * gx + ((b >> _EIGHT) & _BYTE) * fx
    high = ((c >> _EIGHT) & _BYTE) * gx + ((d >> _EIGHT) & _BYTE) * fx
    return red_blue, (low * gy + high * fy) >> np.uint64(16)


@njit(cache=True, nogil=True, error_model="numpy")
def _ground_line(lens, step, ahead, level, ground, origin, room, outside, red_blue, green):  # type: ignore[no-untyped-def]
    """Add a line of ground, `ahead` of the lens with `step` metres a pixel, to red_blue and green (W,) each."""
    texels, starts, columns, per_m = ground
    width = red_blue.size
    scale = per_m[level] * 65536.0
    left = (0.5 - 0.5 * width) * step
    u = int(((lens[0] + ahead * lens[2] + left * lens[3] - origin[0]) * per_m[level] - 0.5) * 65536.0)
    v = int(((lens[1] + ahead * lens[3] - left * lens[2] - origin[1]) * per_m[level] - 0.5) * 65536.0)
    du, dv = int(step * lens[3] * scale), int(-step * lens[2] * scale)
    u0, u1 = int((room[0] - origin[0]) * scale), int((room[2] - origin[0]) * scale) - 131072
    v0, v1 = int((room[1] - origin[1]) * scale), int((room[3] - origin[1]) * scale) - 131072
    start, row = starts[level], columns[level]
    for c in range(width):
        if u0 <= u < u1 and v0 <= v < v1:
            rb, g = _lookup(texels, start, row, u, v)
            red_blue[c] += rb
            green[c] += g
        else:
            red_blue[c] += outside & _LANES
            green[c] += (outside >> _EIGHT) & _BYTE
        u += du
        v += dv


@njit(cache=True, nogil=True, error_model="numpy")
def draw_ground(frame, lens, pinhole, ground, origin, room, outside, sky):  # type: ignore[no-untyped-def]
    """Fill a picture with the ground seen by a pinhole, and the sky; see ColourGround for ground, origin and room.

    outside  uint32, the ground behind the walls        sky  (2, 3) at the horizon and high up
    """
    focal, sin, cos, height_m = pinhole
    rows, width = frame.shape[:2]
    red_blue, green = np.empty(width, np.uint64), np.empty(width, np.uint64)
    per_m = ground[3]
    for r in range(rows):
        down = (r + 0.5 - 0.5 * rows) / focal
        drop = sin + down * cos
        if drop * _FARTHEST_M <= height_m:
            high = min(max(-drop / 0.64, 0.0), 1.0)
            for i in range(3):
                frame[r, :, i] = np.uint8(sky[0, i] + (sky[1, i] - sky[0, i]) * high + 0.5)
            continue
        depth = (cos - down * sin) * height_m / drop * cos + height_m * sin
        # depth**2 / (height * focal) is how long a pixel is on the ground
        step, along = depth / focal, depth * depth / (height_m * focal)
        shift = 0
        while shift < 3 and along > 1.5 * step * (1 << shift):
            shift += 1
        foot = max(step, along / (1 << shift))
        level = min(max(round(math.log2(max(0.8 * foot * per_m[0], 1.0))), 0), per_m.size - 1)
        red_blue[:] = 0
        green[:] = 0
        taps = 1 << shift
        for k in range(taps):
            down = (r + (k + 0.5) / taps - 0.5 * rows) / focal
            ahead = (cos - down * sin) * height_m / max(sin + down * cos, 1e-6)
            ahead = min(ahead, _FARTHEST_M)
            line_step = (ahead * cos + height_m * sin) / focal
            _ground_line(lens, line_step, ahead, level, ground, origin, room, outside, red_blue, green)
        by, half = np.uint64(shift), np.uint64(taps >> 1)
        for c in range(width):
            frame[r, c, 0] = np.uint8(((red_blue[c] & np.uint64(0xFFFF)) + half) >> by)
            frame[r, c, 1] = np.uint8((green[c] + half) >> by)
            frame[r, c, 2] = np.uint8(((red_blue[c] >> np.uint64(16)) + half) >> by)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_plan(frame, plan, ground, origin, room, outside):  # type: ignore[no-untyped-def]
    """Fill a picture with the ground seen from straight above: north up, 3 x 3 lookups a pixel."""
    texels, starts, columns, per_m = ground
    metres = plan[2] / 3.0
    level = min(max(round(math.log2(max(metres * per_m[0], 1.0))), 0), per_m.size - 1)
    for r in range(frame.shape[0]):
        for c in range(frame.shape[1]):
            red, green, blue = np.uint64(4), np.uint64(4), np.uint64(4)
            for i in range(9):
                x = plan[0] + (3 * c + i % 3 + 0.5) * metres
                y = plan[1] - (3 * r + i // 3 + 0.5) * metres
                rb, g = outside & _LANES, (outside >> _EIGHT) & _BYTE
                if room[0] < x < room[2] and room[1] < y < room[3]:
                    u = max(int(((x - origin[0]) * per_m[level] - 0.5) * 65536.0), 0)
                    v = max(int(((y - origin[1]) * per_m[level] - 0.5) * 65536.0), 0)
                    if (v >> 16) * columns[level] + (u >> 16) + columns[level] + 1 < starts[level + 1] - starts[level]:
                        rb, g = _lookup(texels, starts[level], columns[level], u, v)
                red += rb & np.uint64(0xFFFF)
                green += g
                blue += rb >> np.uint64(16)
            frame[r, c, 0] = np.uint8(red // np.uint64(9))
            frame[r, c, 1] = np.uint8(green // np.uint64(9))
            frame[r, c, 2] = np.uint8(blue // np.uint64(9))


@njit(cache=True, nogil=True, error_model="numpy")
def _darken(frame, r, c, ahead, left, length, width, soft, strength):  # type: ignore[no-untyped-def]
    """Shade a pixel whose spot on the ground lies there in the shadow's frame: a rounded rectangle with a soft rim."""
    round_m = 0.5 * min(length, width)
    dx, dy = abs(ahead) - (length - round_m), abs(left) - (width - round_m)
    away = math.hypot(max(dx, 0.0), max(dy, 0.0)) + min(max(dx, dy), 0.0) - round_m
    share = 1.0 - strength * min(max(0.5 - away / soft, 0.0), 1.0)
    if share < 1.0:
        for i in range(3):
            frame[r, c, i] = np.uint8(frame[r, c, i] * share + 0.5)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_shadows(frame, is_plan, lens, pinhole, plan, shadows):  # type: ignore[no-untyped-def]
    """Darken the ground under bodies: shadows (N, 6) are x, y, heading, half length, half width, softness in metres."""
    rows, columns = frame.shape[:2]
    focal, sin, cos, height_m = pinhole
    for n in range(shadows.shape[0]):
        x, y, heading, length, width, soft = shadows[n]
        c0, s0 = math.cos(heading), math.sin(heading)
        low, high, top, bottom = np.inf, -np.inf, np.inf, -np.inf
        seen = True
        for i in range(4):
            a = (length + soft) * (1.0 if i < 2 else -1.0)
            b = (width + soft) * (1.0 if i % 2 == 0 else -1.0)
            px, py = x + a * c0 - b * s0, y + a * s0 + b * c0
            if is_plan:
                column, row = (px - plan[0]) / plan[2], (plan[1] - py) / plan[2]
            else:
                dx, dy = px - lens[0], py - lens[1]
                ahead, left = dx * lens[2] + dy * lens[3], dy * lens[2] - dx * lens[3]
                depth = ahead * cos + height_m * sin
                if depth < NEAR_M:
                    seen = False
                    break
                column = 0.5 * columns - focal * left / depth
                row = 0.5 * rows + focal * (height_m * cos - ahead * sin) / depth
            low, high = min(low, column), max(high, column)
            top, bottom = min(top, row), max(bottom, row)
        if not seen or high < 0.0 or low > columns or bottom < 0.0 or top > rows:
            continue
        for r in range(max(int(top), 0), min(int(bottom) + 1, rows)):
            for c in range(max(int(low), 0), min(int(high) + 1, columns)):
                if is_plan:
                    px, py = plan[0] + (c + 0.5) * plan[2], plan[1] - (r + 0.5) * plan[2]
                else:
                    down, right = (r + 0.5 - 0.5 * rows) / focal, (c + 0.5 - 0.5 * columns) / focal
                    drop = sin + down * cos
                    if drop <= 1e-6:
                        continue
                    reach = height_m / drop
                    ahead, side = (cos - down * sin) * reach, right * reach
                    px, py = lens[0] + ahead * lens[2] + side * lens[3], lens[1] + ahead * lens[3] - side * lens[2]
                dx, dy = px - x, py - y
                _darken(frame, r, c, dx * c0 + dy * s0, dy * c0 - dx * s0, length, width, soft, 0.55)


@njit(cache=True, nogil=True, error_model="numpy")
def build_triangles(poses, looks, meshes, hinges, paints, scales, eye, light, levels, corners, words):  # type: ignore[no-untyped-def]
    """Put the bodies' meshes into the world and light them; returns the number of triangles.

    poses   (N, 4) x, y, heading, steering      looks  (N, 2) kind and colour      scales  (N,) larger than life
    eye     x, y, z of the lens; z inf is straight above             levels  ambient, diffuse, skylight
    corners (T, 3, 3) and words (T,) uint32 are filled
    """
    first, shapes, rgbs, paint_of, parts = meshes
    point, normal, view = np.empty((3, 3)), np.empty(3), np.empty(3)
    count = 0
    for n in range(poses.shape[0]):
        kind, colour = looks[n]
        cos, sin = math.cos(poses[n, 2]), math.sin(poses[n, 2])
        turn_cos, turn_sin = math.cos(poses[n, 3]), math.sin(poses[n, 3])
        for t in range(first[kind], first[kind + 1]):
            hinge = hinges[parts[t]]
            for i in range(3):
                x, y, z = shapes[t, i, 0], shapes[t, i, 1], shapes[t, i, 2]
                if parts[t] > 0:
                    dx, dy = x - hinge[0], y - hinge[1]
                    x, y = hinge[0] + dx * turn_cos - dy * turn_sin, hinge[1] + dx * turn_sin + dy * turn_cos
                x, y, z = x * scales[n], y * scales[n], z * scales[n]
                point[i, 0], point[i, 1], point[i, 2] = (
                    poses[n, 0] + x * cos - y * sin,
                    poses[n, 1] + x * sin + y * cos,
                    z,
                )
            a, b = point[1] - point[0], point[2] - point[0]
            normal[0] = a[1] * b[2] - a[2] * b[1]
            normal[1] = a[2] * b[0] - a[0] * b[2]
            normal[2] = a[0] * b[1] - a[1] * b[0]
            size = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
            if size <= 0.0:
                continue
            normal /= size
            if eye[2] == np.inf:
                view[0], view[1], view[2] = 0.0, 0.0, 1.0
            else:
                for i in range(3):
                    view[i] = eye[i] - (point[0, i] + point[1, i] + point[2, i]) / 3.0
                view /= math.sqrt(view[0] ** 2 + view[1] ** 2 + view[2] ** 2)
            if normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2] < 0.0:
                normal *= -1.0  # both sides of a face are lit
            facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
            lit = levels[0] + levels[1] * max(facing, 0.0) + levels[2] * normal[2]
            gloss = 0.0
            if paint_of[t] > 0.0:
                half = view + light
                half /= math.sqrt(half[0] ** 2 + half[1] ** 2 + half[2] ** 2)
                gloss = 46.0 * max(normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2], 0.0) ** 16
            word = 0
            for i in range(3):
                tone = paints[colour, i] * paint_of[t] if paint_of[t] > 0.0 else rgbs[t, i]
                word |= int(min(max(tone * lit + gloss, 0.0), 255.0) + 0.5) << (8 * i)
            corners[count] = point
            words[count] = word
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(points, word, keys, colours, reach):  # type: ignore[no-untyped-def]
    """Draw a triangle; points (3, 3) are column, row and key."""
    rows, columns = keys.shape[:2]
    x0, y0, x1, y1, x2, y2 = points[0, 0], points[0, 1], points[1, 0], points[1, 1], points[2, 0], points[2, 1]
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if area == 0.0:
        return
    top, bottom = min(y0, y1, y2), max(y0, y1, y2)
    if bottom <= 0.0 or top >= rows or max(x0, x1, x2) <= 0.0 or min(x0, x1, x2) >= columns:
        return
    # barycentric weights are affine: w_i = a_i x + b_i y + c_i
    a0, b0 = (y1 - y2) / area, (x2 - x1) / area
    a1, b1 = (y2 - y0) / area, (x0 - x2) / area
    c0, c1 = -a0 * x2 - b0 * y2, -a1 * x2 - b1 * y2
    for r in range(max(int(top), 0), min(math.ceil(bottom), rows)):
        # columns that the triangle covers between the row's upper and lower edge
        low, high = np.inf, -np.inf
        for i in range(3):
            j = (i + 1) % 3
            xa, ya, xb, yb = points[i, 0], points[i, 1], points[j, 0], points[j, 1]
            if ya > yb:
                xa, ya, xb, yb = xb, yb, xa, ya
            if yb < r or ya > r + 1:
                continue
            slope = (xb - xa) / (yb - ya) if yb > ya else 0.0
            p = xa + (r - ya) * slope if ya < r else xa
            q = xa + (r + 1 - ya) * slope if yb > r + 1 else xb
            low, high = min(low, p, q), max(high, p, q)
        first, last = max(int(max(low, 0.0)), 0), min(math.ceil(min(high, 1e6)), columns)
        if first >= last:
            continue
        reach[r, 0], reach[r, 1] = min(reach[r, 0], first), max(reach[r, 1], last)
        for c in range(first, last):
            for s in range(4):
                x, y = c + _SAMPLE_X[s], r + _SAMPLE_Y[s]
                w0, w1 = a0 * x + b0 * y + c0, a1 * x + b1 * y + c1
                w2 = 1.0 - w0 - w1
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                key = np.float32(w0 * points[0, 2] + w1 * points[1, 2] + w2 * points[2, 2])
                if key > keys[r, c, s]:
                    keys[r, c, s] = key
                    colours[r, c, s] = word


@njit(cache=True, nogil=True, error_model="numpy")
def draw_triangles(frame, corners, words, count, is_plan, lens, pinhole, plan, keys, colours, reach):  # type: ignore[no-untyped-def]
    """Draw triangles over the picture. keys (H, W, 4) float32 and reach (H, 2) come clear and are left clear."""
    rows, columns = frame.shape[:2]
    focal, sin, cos, height_m = pinhole
    seen, clipped, points = np.empty((3, 3)), np.empty((4, 3)), np.empty((3, 3))
    for t in range(count):
        if is_plan:
            for i in range(3):
                points[i, 0] = (corners[t, i, 0] - plan[0]) / plan[2]
                points[i, 1] = (plan[1] - corners[t, i, 1]) / plan[2]
                points[i, 2] = 1.0 + corners[t, i, 2]
            _fill(points, words[t], keys, colours, reach)
            continue
        for i in range(3):  # depth, left, down
            dx, dy, below = corners[t, i, 0] - lens[0], corners[t, i, 1] - lens[1], height_m - corners[t, i, 2]
            ahead = dx * lens[2] + dy * lens[3]
            seen[i, 0], seen[i, 1] = ahead * cos + below * sin, dy * lens[2] - dx * lens[3]
            seen[i, 2] = below * cos - ahead * sin
        size = 0
        for i in range(3):
            j = (i + 1) % 3
            if seen[i, 0] >= NEAR_M:
                clipped[size] = seen[i]
                size += 1
            if (seen[i, 0] >= NEAR_M) != (seen[j, 0] >= NEAR_M):
                share = (NEAR_M - seen[i, 0]) / (seen[j, 0] - seen[i, 0])
                clipped[size] = seen[i] + share * (seen[j] - seen[i])
                size += 1
        for i in range(1, size - 1):
            for j in range(3):
                k = 0 if j == 0 else i + j - 1
                points[j, 0] = 0.5 * columns - focal * clipped[k, 1] / clipped[k, 0]
                points[j, 1] = 0.5 * rows + focal * clipped[k, 2] / clipped[k, 0]
                points[j, 2] = 1.0 / clipped[k, 0]
            _fill(points, words[t], keys, colours, reach)
    _resolve(frame, keys, colours, reach)


@njit(cache=True, nogil=True, error_model="numpy")
def _resolve(frame, keys, colours, reach):  # type: ignore[no-untyped-def]
    """Mix each pixel's samples, with what was there before where a sample is free, and clear the buffers."""
    for r in range(frame.shape[0]):
        for c in range(reach[r, 0], reach[r, 1]):
            covered = 0
            red, green, blue = np.int64(2), np.int64(2), np.int64(2)
            for s in range(4):
                if keys[r, c, s] > 0.0:
                    word = np.int64(colours[r, c, s])
                    covered += 1
                    red += word & 0xFF
                    green += (word >> 8) & 0xFF
                    blue += (word >> 16) & 0xFF
                    keys[r, c, s] = 0.0
            if covered:
                free = 4 - covered
                frame[r, c, 0] = np.uint8((red + free * frame[r, c, 0]) >> 2)
                frame[r, c, 1] = np.uint8((green + free * frame[r, c, 1]) >> 2)
                frame[r, c, 2] = np.uint8((blue + free * frame[r, c, 2]) >> 2)
        reach[r, 0], reach[r, 1] = frame.shape[1], 0
