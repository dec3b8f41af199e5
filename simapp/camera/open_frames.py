"""The compiled frame loop of imported worlds: what stands, and of ground and sky what is seen beside it."""

import numpy as np
from numba import njit

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH
from simapp.camera.kernel import AHEAD, draw_open_ground
from simapp.camera.mixing import COLUMNS, LINES, mix, mixing_space
from simapp.camera.sky import NODES, draw_sky
from simapp.camera.standing import cell_of, hidden_rows, put_depths, rasterise, wipe, work_space


@njit(cache=True, nogil=True, error_model="numpy")
def open_space(count):  # type: ignore[no-untyped-def]
    """Scratch of `render_open_frames` in a world of `count` triangles, which each call leaves as it was: about a
    megabyte, and getting it from the system takes a tenth of a frame's time."""
    return work_space(count), mixing_space()


@njit(cache=True, nogil=True, error_model="numpy")
def render_open_frames(  # type: ignore[no-untyped-def]
    rows, first, lenses, camera, sky, shades, ground, stand, space, frames, depths
):
    """Draw frames[rows]; frames (K, CAMERA_HEIGHT, CAMERA_WIDTH) uint8, each from its own row of the arguments alone.

    rows, lenses, camera   as in simapp.camera.kernel.render_frames
    sky       (table of simapp.camera.sky, rows with sky, horizon row, first row with ground) of the pinhole
    shades    brightness factors (K,) of what stands, and (K,) of the sky
    ground    (tones, stains, pyramid, reach, plan), as in render_frames but for reach (x, y, 1 / cell, levels (rows,
              columns)): the finest level that a lens there looks at; outside it is the coarsest one
    stand     (solids, textures, lists) of simapp.camera.standing.rasterise
    space     scratch of `open_space`
    depths    (D, CAMERA_HEIGHT, CAMERA_WIDTH) float32, zeros: filled if D is not 0 with 1 / depth of what stands in a
              pixel; depths[0] is that of frame `first`
    """
    table, sky_rows, horizon, first_ground = sky
    solid_shades, sky_shades = shades
    tones, stains, pyramid, reach, plan = ground
    solids, textures, lists = stand
    coarsest = pyramid[4].size - 1
    work, mixing = space
    words, touched, planes, tones_of, words_of, seen, places = work[:7]
    samples = words[: LINES * COLUMNS].reshape(LINES, COLUMNS)
    twos = samples.view(np.int64)
    scratch = (
        np.empty((plan[0].size, CAMERA_WIDTH), np.uint16),
        np.empty((AHEAD + 1, 4), np.int32),
        np.empty((AHEAD + 1, CAMERA_WIDTH), np.int32),
        np.empty(CAMERA_WIDTH, np.uint32),
        np.empty(CAMERA_WIDTH, np.float32),
        np.empty(CAMERA_WIDTH, np.int32),
    )
    above, below = np.empty(NODES), np.empty(NODES)
    no_marks = np.zeros(0, np.int64)
    for k in rows:
        lens = lenses[k]
        top, bottom = rasterise(lens, camera, solid_shades[k], solids, textures, lists, False, no_marks, work)
        sky_end, ground_begin = sky_rows, sky_rows
        if top <= bottom:
            sky_end, ground_begin = hidden_rows(words, touched, sky_rows)
        draw_sky(lens, camera, table, sky_shades[k], sky_end, above, below, frames[k])
        finest = cell_of(reach, lens[0], lens[1], coarsest)
        # the ground begins above the sky's last row: what hides it there hides those rows of the sky, too
        begin = ground_begin if sky_end <= first_ground else first_ground
        draw_open_ground(lens, camera, tones[k], stains, pyramid, finest, plan, horizon, begin, scratch, frames[k])
        if top > bottom:
            continue
        first_row, last_row = max((top - 1) // 2, 0), min(bottom // 2, CAMERA_HEIGHT - 1)
        look = (solids[2], textures, solid_shades[k])
        mix(twos, touched, first_row, last_row, planes, tones_of, words_of, seen, places, *look, mixing, frames[k])
        if depths.shape[0] > 0:
            put_depths(samples, planes, first_row, last_row, depths[k - first])
        wipe(words, touched, top, bottom)
