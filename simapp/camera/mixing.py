"""Samples of what stands become pixels: whole pixels are looked up once in the texture; where triangles meet, samples
are mixed by the triangle filter with which the real camera's picture is shrunk.
"""

import numpy as np
from numba import njit

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH
from simapp.camera.shading import MAX_SLOTS, look_up, place_runs, put_runs

_i, _f = np.int32, np.float32


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
def mixing_space():  # type: ignore[no-untyped-def]
    """Scratch of `mix`."""
    wide = CAMERA_WIDTH + 2
    return (
        np.zeros((CAMERA_HEIGHT + 2, wide), np.int32),
        np.zeros((CAMERA_HEIGHT + 2, wide), np.float32),
        np.zeros((2 * CAMERA_HEIGHT + 4, wide), np.int32),
        np.zeros((2 * CAMERA_HEIGHT + 4, wide), np.int32),
        np.zeros((3, wide), np.int32),
        np.zeros(CAMERA_HEIGHT + 2, np.int32),
        np.empty((MAX_SEEN + 1, 2), np.int32),
        np.empty((4 * wide, 5), np.int64),
        np.zeros(CAMERA_HEIGHT + 4, np.int64),
        np.zeros((4, MAX_SLOTS), np.int32),
        np.zeros(MAX_SLOTS, np.float32),
        np.zeros(2 * MAX_SLOTS, np.float32),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def mix(  # type: ignore[no-untyped-def]
    twos, touched, first_row, last_row, planes, tones, words_of, seen, places, pictures, textures, shade, work, frame
):
    """Put the samples over rows first_row..last_row of the frame.

    twos (LINES, COLUMNS / 2) int64 are two samples each.
    touched (LINES,) are the blocks of each line where there are samples, a bit each: pixels that none of them reaches
    are left alone.
    planes, tones, words_of, seen, places are of `simapp.camera.standing.work_space`.
    work: of `mixing_space`. `names` (rows + 2, width + 2) is the triangle of a pixel whose four samples agree, else -1;
    `evens` and `odds` are the samples of the left and right halves of pixels: triangles first, then greys; `near`
    (rows + 4,) are the blocks of a row with samples in it or next to it.

    Rows are cut out of these in functions that call no other: there, numba counts no references, which took longer than
    the work itself.
    """
    names, greys, evens, odds, sums, alone, recent, runs, near, texels, lights, values = work
    pairs, starts, sizes = textures[0], textures[1], textures[2]
    white = _i(pairs.size - 2)
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
            count = _find_runs(r, first, last, names, evens, odds, words_of, runs)
            if runs[0, 1] == 0 and runs[0, 2] == CAMERA_WIDTH + 2:
                alone[r + 1] = names[r + 1, 0]
            base = MAX_SLOTS * (r & 1)
            slots = place_runs(
                runs,
                count,
                r,
                base,
                planes,
                tones,
                seen,
                pictures,
                starts,
                sizes,
                shade,
                white,
                places,
                recent,
                texels,
                lights,
            )
            look_up(pairs, slots, texels, lights, values[base : base + MAX_SLOTS])
            put_runs(runs, count, r, tones, values, greys, evens, odds)
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
def _find_runs(r, j, stop, names, evens, odds, words_of, runs):  # type: ignore[no-untyped-def]
    """Fill runs (R, 5): triangle, first pixel, last pixel + 1, and whether it is one of several in a pixel; returns how
    many there are from pixel j to stop - 1. What is nothing, 0, is among them where it is alone; where several meet
    that all have one tone, their samples are filled here."""
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
            one, two, three, four = words_of[a], words_of[b], words_of[c], words_of[d]
            if min(one, two, three, four) >= 0:
                even0[j], odd0[j], even1[j], odd1[j] = one, two, three, four
                j = end
                continue
            for i in range(4):
                name = a if i == 0 else b if i == 1 else c if i == 2 else d
                is_new = (i < 1 or name != a) and (i < 2 or name != b) and (i < 3 or name != c)
                if name > 0 and is_new:
                    runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = name, j, end, 1
                    count += 1
        j = end
    return count
