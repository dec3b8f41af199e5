"""Boxes and cars, drawn over finished frames: exact spans along four lines a picture row, nearest face first.

The real camera takes 640x480 points and shrinks them with a triangle filter two pixels wide: four lines a row and the
same filter here. All sums are whole numbers, so a pixel that no object reaches keeps its bits.
"""

import math

import numpy as np
from numba import njit

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH

_LINES = 4
"""Scan lines a picture row."""
_PAD = 2
"""Columns that the filter may write left of the picture; one less right of it, and one row above and below."""
_ONE_ACROSS, _ONE_DOWN = 1 << 15, 32
"""A whole pixel across and down. Down it is the sum of a filter's shares over the lines that reach a row: eighths, of
5 + 7 + 7 + 5 in the row itself and 1 + 3 + 3 + 1 in its two neighbours. Across a power of two makes products exact."""
_ONE_SHIFT = 20
_ONE = _ONE_ACROSS * _ONE_DOWN
_COVER_SHIFT = 32
"""A sum holds the covered share from this bit on and the grey that covers below it, both in units of 1 / _ONE.
A grey of 255 takes 28 bits, so both fit in one int64 and are added up at once."""
_GREY_MASK = (1 << _COVER_SHIFT) - 1

_NEAR_M = 0.005
"""What is less deep than this is cut off: two centimetres in front of the car's own nose."""


@njit(cache=True, nogil=True, error_model="numpy")
def _add_edge(sums, row, column, near_row, near_share, share, value):  # type: ignore[no-untyped-def]
    """From `column` on, this line shows `value` more; sums are differences along the row, to be added up later.

    A triangle filter over a step changes by the quadratic B-spline from pixel to pixel: three numbers.
    """
    # An edge out of the picture counts as one at its border: what lies left of it still has to be covered from there
    # on.
    column = min(max(column, -1.0), CAMERA_WIDTH + 1.0)
    j = math.ceil(column - 1.5)
    t = column - j - 0.5
    # The three shares are rounded to whole numbers, and the middle one is what is left: so they add up to exactly 1,
    # and the edge that ends a span takes away exactly what the edge that began it gave.
    first = int(0.5 * (1.0 - t) * (1.0 - t) * _ONE_ACROSS + 0.5)
    last = int(0.5 * t * t * _ONE_ACROSS + 0.5)
    middle = _ONE_ACROSS - first - last
    j += _PAD
    own = share * value
    sums[row, j] += first * own
    sums[row, j + 1] += middle * own
    sums[row, j + 2] += last * own
    own = near_share * value
    sums[near_row, j] += first * own
    sums[near_row, j + 1] += middle * own
    sums[near_row, j + 2] += last * own
    return j


@njit(cache=True, nogil=True, error_model="numpy")
def _add_span(sums, reach, line, left, right, value):  # type: ignore[no-untyped-def]
    """Show `value` from column left to right on a scan line (counted from one row above the picture)."""
    row, quarter = line // _LINES, line % _LINES
    # 1 - distance of the line from the row's middle, in eighths: 5 7 7 5; the rest falls to the neighbouring row
    share = 5 if quarter == 0 or quarter == 3 else 7
    near_row = row - 1 if quarter < 2 else row + 1
    near_row = min(max(near_row, 0), CAMERA_HEIGHT + 1)
    first = _add_edge(sums, row, left, near_row, 8 - share, share, value)
    last = _add_edge(sums, row, right, near_row, 8 - share, share, -value)
    for r in (row, near_row):
        reach[r, 0] = min(reach[r, 0], first)
        reach[r, 1] = max(reach[r, 1], last + 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _cover(sums, reach, taken, num_taken, line, left, right, value):  # type: ignore[no-untyped-def]
    """Show what nearer faces have left free of a span, and take it. taken[line] are disjoint spans, left to right."""
    # Faces come nearest first, so what is taken already hides this one. A list of spans costs less than a depth a
    # sample: a line has few objects, and a span is two numbers however wide it is.
    count = num_taken[line]
    spans = taken[line]
    place = left
    for i in range(count):
        if spans[i, 1] <= place:
            continue
        if spans[i, 0] >= right:
            break
        if spans[i, 0] > place:
            _add_span(sums, reach, line, place, spans[i, 0], value)
        place = spans[i, 1]
    if place < right:
        _add_span(sums, reach, line, place, right, value)
    # join the span with all that it touches
    kept = 0
    while kept < count and spans[kept, 1] < left:
        kept += 1
    beyond = kept
    while beyond < count and spans[beyond, 0] <= right:
        left, right = min(left, spans[beyond, 0]), max(right, spans[beyond, 1])
        beyond += 1
    if beyond == kept:
        for i in range(count, kept, -1):
            spans[i, 0], spans[i, 1] = spans[i - 1, 0], spans[i - 1, 1]
    else:
        for i in range(beyond, count):
            spans[kept + 1 + i - beyond, 0], spans[kept + 1 + i - beyond, 1] = spans[i, 0], spans[i, 1]
    spans[kept, 0], spans[kept, 1] = left, right
    num_taken[line] = count + 1 - (beyond - kept)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_face(corners, focal, value, spans, sums, reach, taken, num_taken):  # type: ignore[no-untyped-def]
    """Draw a convex face; corners (4, 3) in order are depth, left and down in the lens's frame, in metres."""
    # Clip at the near plane (Sutherland-Hodgman): behind the lens the projection would turn over. A convex face with
    # four corners has five at most when one plane cuts it.
    points = np.empty((5, 2))
    count = 0
    for i in range(4):
        d0, d1 = corners[i, 0] - _NEAR_M, corners[(i + 1) % 4, 0] - _NEAR_M
        if d0 >= 0.0:
            points[count, 0] = 0.5 * CAMERA_WIDTH - focal * corners[i, 1] / corners[i, 0]
            points[count, 1] = 0.5 * CAMERA_HEIGHT + focal * corners[i, 2] / corners[i, 0]
            count += 1
        if (d0 >= 0.0) != (d1 >= 0.0):
            t = d0 / (d0 - d1)
            left = corners[i, 1] + t * (corners[(i + 1) % 4, 1] - corners[i, 1])
            down = corners[i, 2] + t * (corners[(i + 1) % 4, 2] - corners[i, 2])
            points[count, 0] = 0.5 * CAMERA_WIDTH - focal * left / _NEAR_M
            points[count, 1] = 0.5 * CAMERA_HEIGHT + focal * down / _NEAR_M
            count += 1
    if count < 3:
        return
    low, high, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    for i in range(count):
        low, high = min(low, points[i, 0]), max(high, points[i, 0])
        top, bottom = min(top, points[i, 1]), max(bottom, points[i, 1])
    if high <= -0.5 or low >= CAMERA_WIDTH + 0.5 or bottom <= -0.5 or top >= CAMERA_HEIGHT + 0.5:
        return
    # scan line s lies at row (s + 0.5) / _LINES - 1
    last_line = _LINES * (CAMERA_HEIGHT + 2)
    begin = math.ceil(max((top + 1.0) * _LINES - 0.5, 0.0))
    end = math.ceil(min((bottom + 1.0) * _LINES - 0.5, 1.0 * last_line))
    # A line belongs to a face if it lies at or below its top and above its bottom (ceil on both sides): of two faces
    # that meet in an edge exactly one has it.
    for s in range(begin, end):
        spans[s, 0], spans[s, 1] = np.inf, -np.inf
    for i in range(count):
        x0, y0 = points[i, 0], points[i, 1]
        x1, y1 = points[(i + 1) % count, 0], points[(i + 1) % count, 1]
        if y0 > y1:  # the same numbers whichever face an edge belongs to: no cracks
            x0, y0, x1, y1 = x1, y1, x0, y0
        slope = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
        edge_begin = math.ceil(max((y0 + 1.0) * _LINES - 0.5, 0.0))
        edge_end = math.ceil(min((y1 + 1.0) * _LINES - 0.5, 1.0 * last_line))
        for s in range(edge_begin, edge_end):
            x = x0 + ((s + 0.5) / _LINES - 1.0 - y0) * slope
            spans[s, 0], spans[s, 1] = min(spans[s, 0], x), max(spans[s, 1], x)
    for s in range(begin, end):
        left, right = max(spans[s, 0], -1.0), min(spans[s, 1], CAMERA_WIDTH + 1.0)
        if left < right:
            _cover(sums, reach, taken, num_taken, s, left, right, value)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_block(block, greys, light, eye, camera, spans, corners, sums, reach, taken, num_taken):  # type: ignore[no-untyped-def]
    """Draw the faces of a block that look at the lens; eye is the lens in the block's frame: x, y, z, cos, sin of the
    block's heading against the view's."""
    # A face of a block is seen if the lens lies beyond it, so at most three of six are; within a block none hides
    # another.
    for axis in range(3):
        if eye[axis] > block[2 * axis + 1]:
            side = 1
        elif eye[axis] < block[2 * axis]:
            side = 0
        else:
            continue
        for i in range(4):
            # round the face: low-low, high-low, high-high, low-high of the other two axes
            x = block[(1 if i == 1 or i == 2 else 0)] if axis != 0 else block[side]
            if axis == 0:
                y = block[2 + (1 if i == 1 or i == 2 else 0)]
            elif axis == 1:
                y = block[2 + side]
            else:
                y = block[2 + (1 if i >= 2 else 0)]
            z = block[4 + side] if axis == 2 else block[4 + (1 if i >= 2 else 0)]
            dx, dy, below = x - eye[0], y - eye[1], eye[2] - z
            ahead, left = dx * eye[3] - dy * eye[4], dx * eye[4] + dy * eye[3]
            corners[i, 0] = ahead * camera[2] + below * camera[1]
            corners[i, 1] = left
            corners[i, 2] = below * camera[2] - ahead * camera[1]
        # of greys: ends, sides, top, underside (bodies.SHADES)
        grey = greys[axis if axis < 2 or side == 1 else 3]
        value = (1 << _COVER_SHIFT) + int(min(grey * light, 255.0) + 0.5)
        _draw_face(corners, camera[0], value, spans, sums, reach, taken, num_taken)


@njit(cache=True, nogil=True, error_model="numpy")
def _may_hide(a, b, outlines, poses, x, y):  # type: ignore[no-untyped-def]
    """Whether a ray from the lens may meet object a and then b: not if a line along one of their sides has a on its one
    side and b and the lens on the other. Of objects that overlap the nearer one hides the other.

    poses (M, 5) are x, y, cos, sin, distance; outlines (M, 4) low and high x, low and high y in their own frames.
    """
    # Two convex outlines are apart if a side of one of them separates them (separating axis theorem). On which side
    # of it the lens lies says which of the two can hide the other, without a depth of single points.
    is_apart = False
    for this, other in ((a, b), (b, a)):
        cos, sin = poses[this, 2], poses[this, 3]
        dx, dy = poses[other, 0] - poses[this, 0], poses[other, 1] - poses[this, 1]
        middle = (dx * cos + dy * sin, dy * cos - dx * sin)
        dx, dy = x - poses[this, 0], y - poses[this, 1]
        eye = (dx * cos + dy * sin, dy * cos - dx * sin)
        turn_cos = poses[other, 2] * cos + poses[other, 3] * sin
        turn_sin = poses[other, 3] * cos - poses[other, 2] * sin
        for axis in range(2):
            along, across = (turn_cos, -turn_sin) if axis == 0 else (turn_sin, turn_cos)
            low, high = np.inf, -np.inf
            for i in range(4):
                corner = middle[axis] + along * outlines[other, i & 1] + across * outlines[other, 2 + (i >> 1)]
                low, high = min(low, corner), max(high, corner)
            for sign, near, far in ((1.0, outlines[this, 2 * axis + 1], low), (-1.0, -outlines[this, 2 * axis], -high)):
                if far >= near:
                    is_apart = True
                    if (sign * eye[axis] <= near) == (this == b):
                        return False
    return is_apart or poses[a, 4] < poses[b, 4]


@njit(cache=True, nogil=True, error_model="numpy")
def _put_in_order(found, order, outlines, poses, x, y):  # type: ignore[no-untyped-def]
    """Sort order[:found], objects in view, so that none hides an earlier one; near ones first where that is free."""
    # By distance first (insertion sort: few objects). Distance alone is not enough, since of a long and a short
    # object the one with the nearer middle may be the hidden one; so the next one drawn is the nearest that nothing
    # left can hide.
    for i in range(1, found):
        m, place = order[i], i
        while place > 0 and poses[order[place - 1], 4] > poses[m, 4]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = m
    for i in range(found - 1):
        best = i
        for candidate in range(i, found):
            is_free = True
            for other in range(i, found):
                if other != candidate and _may_hide(order[other], order[candidate], outlines, poses, x, y):
                    is_free = False
                    break
            if is_free:
                best = candidate
                break
        m = order[best]  # the nearest one if each is hidden by another
        for place in range(best, i, -1):
            order[place] = order[place - 1]
        order[i] = m


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(sums, reach, frame):  # type: ignore[no-untyped-def]
    """Put the sums over the picture and clear them."""
    for r in range(CAMERA_HEIGHT + 2):
        first, last = reach[r, 0], reach[r, 1]
        if first > last:
            continue
        reach[r, 0], reach[r, 1] = CAMERA_WIDTH + 2 * _PAD, -1
        line = sums[r]
        if r == 0 or r == CAMERA_HEIGHT + 1:
            line[first : last + 1] = 0
            continue
        row = frame[r - 1]
        # The sums are differences from pixel to pixel: added up from the left they are the cover and the grey of each
        # one.
        total = np.int64(0)
        for j in range(first, last + 1):
            total += line[j]
            line[j] = 0
            if total != 0 and _PAD <= j < CAMERA_WIDTH + _PAD:
                cover, grey = total >> _COVER_SHIFT, total & _GREY_MASK
                behind = np.int64(row[j - _PAD])
                row[j - _PAD] = np.uint8((behind * (_ONE - cover) + grey + (_ONE >> 1)) >> _ONE_SHIFT)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_bodies(  # type: ignore[no-untyped-def]
    lenses, cameras, lights, look, x_m, y_m, heading_rad, bodies, reach_m, room, frames
):
    """Draw objects over K frames (K, CAMERA_HEIGHT, CAMERA_WIDTH) uint8.

    lenses   (K, 4) x, y, cos and sin of the view's heading         lights  (K,) brightness factors
    cameras  (K, 4) focal_px, sin pitch, cos pitch, height_m
    look     (K, M) index into the bodies or -1; x_m, y_m, heading_rad (K, M)
    bodies   simapp.camera.bodies.tables()       reach_m  no body is larger than this from its middle
    room     (xmin, ymin, xmax, ymax, ...): what stands outside is not seen
    """
    blocks, greys, counts = bodies
    places, parts = look.shape[1], blocks.shape[1]
    sums = np.zeros((CAMERA_HEIGHT + 2, CAMERA_WIDTH + 2 * _PAD + 4), np.int64)
    reach = np.empty((CAMERA_HEIGHT + 2, 2), np.int64)
    reach[:, 0], reach[:, 1] = CAMERA_WIDTH + 2 * _PAD, -1
    lines = _LINES * (CAMERA_HEIGHT + 2)
    spans, corners, eye = np.empty((lines, 2)), np.empty((4, 3)), np.empty(5)
    taken, num_taken = np.empty((lines, places * parts + 2, 2)), np.empty(lines, np.int64)
    order, poses, outlines = np.empty(places, np.int64), np.empty((places, 5)), np.empty((places, 4))
    part_order = np.empty(parts, np.int64)
    for k in range(frames.shape[0]):
        x, y, ahead_x, ahead_y = lenses[k]
        camera = cameras[k]
        half_width = 0.5 * CAMERA_WIDTH / camera[0]
        found = 0
        for m in range(places):
            if look[k, m] < 0 or not (room[0] < x_m[k, m] < room[2] and room[1] < y_m[k, m] < room[3]):
                continue
            dx, dy = x_m[k, m] - x, y_m[k, m] - y
            ahead, left = dx * ahead_x + dy * ahead_y, dy * ahead_x - dx * ahead_y
            # depth is at most distance ahead + height
            if (
                ahead < -reach_m - camera[3]
                or abs(left) - reach_m > (max(ahead, 0.0) + reach_m + camera[3]) * half_width
            ):
                continue
            poses[m, 0], poses[m, 1] = x_m[k, m], y_m[k, m]
            poses[m, 2], poses[m, 3] = math.cos(heading_rad[k, m]), math.sin(heading_rad[k, m])
            poses[m, 4] = math.hypot(dx, dy)
            outlines[m] = blocks[look[k, m], 0, :4]
            order[found] = m
            found += 1
        if found == 0:
            continue
        _put_in_order(found, order, outlines, poses, x, y)
        num_taken[:] = 0
        for i in range(found):
            m = order[i]
            dx, dy, cos, sin = x - poses[m, 0], y - poses[m, 1], poses[m, 2], poses[m, 3]
            eye[0], eye[1], eye[2] = dx * cos + dy * sin, dy * cos - dx * sin, camera[3]
            eye[3], eye[4] = cos * ahead_x + sin * ahead_y, sin * ahead_x - cos * ahead_y
            count = counts[look[k, m]]
            body = blocks[look[k, m]]
            for p in range(count):  # the block at the lens's height first, then up and down from there
                away = max(body[p, 4] - camera[3], camera[3] - body[p, 5])
                place = p
                while place > 0:
                    q = part_order[place - 1]
                    if max(body[q, 4] - camera[3], camera[3] - body[q, 5]) <= away:
                        break
                    part_order[place] = q
                    place -= 1
                part_order[place] = p
            for i_part in range(count):
                p = part_order[i_part]
                _draw_block(
                    body[p], greys[look[k, m], p], lights[k], eye, camera, spans, corners, sums, reach, taken, num_taken
                )
        _mix(sums, reach, frames[k])
