"""The built-in simulator's front camera: poses in, the network's 160x120 grey frames out."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from contract.conditions import Conditions
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, IntArray, TrackObjects, UInt8Array
from simapp.camera.bodies import REACH_M, looks_of, tables
from simapp.camera.effects import STAIN_TEXEL_M, Change, Views, changed, finish_frames, stain_tile
from simapp.camera.ground import Road, paint_ground
from simapp.camera.kernel import place_lenses, render_frames
from simapp.camera.look import TILE_MM, WALL_HEIGHT_M, WALL_MARGIN_M, textures
from simapp.camera.pinhole import front_camera
from simapp.camera.plan import scan_plan
from simapp.camera.pyramid import Pyramid
from simapp.camera.rasterise import draw_bodies
from simapp.tracks import Track

MAX_TEXELS = 34_000_000
"""The finest level's size at most; the pyramid takes 17/6 bytes a texel, so 96 MB."""

MIN_TEXEL_MM = 2
LEVELS = 7

MAX_PLANS = 1024
"""Pinholes whose scan plans are kept, some 15 kB each."""


class Camera:
    """Draws what cars on a track see. A frame depends on its own row of the arguments alone: not on K or threads."""

    def __init__(self, track: Track) -> None:
        """Draws the track's ground once: about a second and 40 to 96 MB, after the first ever call has compiled."""
        xmin, ymin, xmax, ymax = track.bounds
        self.room_m = (xmin - WALL_MARGIN_M, ymin - WALL_MARGIN_M, xmax + WALL_MARGIN_M, ymax + WALL_MARGIN_M)
        """The walls: xmin, ymin, xmax, ymax."""
        self.pinhole = front_camera()
        self._road = Road.of(track)
        self._look = textures()
        self._pyramid, self._origin_m = self._paint()
        self._farthest_m = math.hypot(self.room_m[2] - self.room_m[0], self.room_m[3] - self.room_m[1])
        self._room = (*self.room_m, WALL_HEIGHT_M)
        self._stains = (stain_tile(), STAIN_TEXEL_M)
        self._tables = tables()
        self._ground = (
            self._pyramid.pairs,
            self._pyramid.starts,
            self._pyramid.rows,
            self._pyramid.columns,
            1.0 / self._pyramid.texels_m,
            self._origin_m,
        )
        # a pinhole lasts for a car's episode
        self._scene = lru_cache(MAX_PLANS)(self._scene_of)
        self._nominal = lru_cache(16)(self._nominal_of)

    @property
    def memory_bytes(self) -> int:
        """What the ground's pictures take."""
        return self._pyramid.pairs.nbytes

    def render(
        self,
        x_m: FloatArray,
        y_m: FloatArray,
        heading_rad: FloatArray,
        out: UInt8Array | None = None,
        threads: int = 1,
        *,
        objects: TrackObjects | None = None,
        left_m: float = 0.0,
        conditions: Conditions | None = None,
        frame: IntArray | None = None,
    ) -> UInt8Array:
        """Frames (K, 120, 160) uint8 for base_link poses (K,) each; `out`, C-contiguous of that shape, is filled.

        objects      (K, M), a row a frame: what may be seen besides the track, other cars included
        left_m      how far left of its place the lens sits, along the car's left (stereo)
        conditions  (K,), None is nominal; `frame` (K,) counts the frames since they began, for the noise

        A car outside of the room is drawn from the nearest place inside, and objects outside are not seen. Raises
        ValueError when shapes disagree, or a pose or object is not finite or of an unknown kind.
        """
        # copies: contiguous and writable whatever came in, since each other memory layout is compiled anew
        x, y, heading = (np.array(values, dtype=np.float64, order="C") for values in (x_m, y_m, heading_rad))
        if x.ndim != 1 or not x.shape == y.shape == heading.shape:
            raise ValueError(
                f"x, y and heading have shapes {x.shape}, {y.shape}, {heading.shape}; they must be one (K,)"
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(heading).all()):
            raise ValueError("a pose is not finite: the car's state was lost before the camera looked")
        frames = np.empty((x.size, CAMERA_HEIGHT, CAMERA_WIDTH), np.uint8) if out is None else out
        if frames.shape != (x.size, CAMERA_HEIGHT, CAMERA_WIDTH) or frames.dtype != np.uint8:
            raise ValueError(f"out is {frames.dtype} {frames.shape}; it must be uint8 ({x.size}, 120, 160)")
        if not frames.flags.c_contiguous:
            raise ValueError("out is not C-contiguous; pass whole frames of a C-ordered array")
        if conditions is None:
            views = self._nominal(x.size)
        else:
            counts = np.zeros(x.size, np.int64) if frame is None else np.asarray(frame, np.int64)
            if not conditions.light.shape == counts.shape == x.shape:
                raise ValueError(
                    f"conditions are {conditions.light.shape} and frame is {counts.shape}; they must be ({x.size},)"
                )
            views = Views.of(conditions, counts, left_m)
        lenses = np.empty((x.size, 4))
        place_lenses(x, y, heading, self.pinhole.ahead_m, float(left_m), views.yaw_rad, self._room, lenses)
        bodies = None if objects is None or objects.places == 0 else _bodies(objects, x.size)

        cameras = np.empty((x.size, 4))

        def draw(first: int, last: int) -> None:
            part = slice(first, last)
            for change, rows in views.pinholes:
                mine = rows if last - first == x.size else rows[(rows >= first) & (rows < last)]
                if mine.size > 0:
                    camera, plan = self._scene(change)
                    cameras[mine] = camera
                    look = (views.shades, views.tones, self._stains)
                    render_frames(mine, lenses, camera, self._room, *look, self._ground, plan, frames)
            if bodies is not None:
                look_of, object_x, object_y, turn = (values[part] for values in bodies)
                lens, camera, light = lenses[part], cameras[part], views.lights[part]
                seen = (look_of, object_x, object_y, turn, self._tables, REACH_M, self._room)
                draw_bodies(lens, camera, light, *seen, frames[part])
            if not views.is_plain:
                finish_frames(views.blur_px[part], views.noise[part], views.keys[part], frames[part])

        parts = min(threads, x.size)
        if parts <= 1:
            draw(0, x.size)
            return frames
        cuts = np.linspace(0, x.size, parts + 1).astype(int).tolist()
        with ThreadPoolExecutor(parts) as pool:
            for job in [pool.submit(draw, first, last) for first, last in pairwise(cuts)]:
                job.result()
        return frames

    def _scene_of(self, change: Change) -> tuple[Any, Any]:
        pinhole = changed(self.pinhole, change)
        plan = scan_plan(pinhole, self._pyramid.texels_m, self._farthest_m)
        return pinhole.numbers, (plan.ahead_m, plan.step_m, plan.level, plan.first, plan.count, plan.weights)

    def _nominal_of(self, count: int) -> Views:
        return Views.of(Conditions.nominal(count), np.zeros(count, np.int64), 0.0)

    def _paint(self) -> tuple[Pyramid, tuple[float, float]]:
        xmin, ymin, xmax, ymax = self.room_m
        area = (xmax - xmin) * (ymax - ymin)
        fitting = (mm for mm in range(MIN_TEXEL_MM, TILE_MM) if TILE_MM % mm == 0 and area * 1e6 / mm**2 <= MAX_TEXELS)
        texel_mm = next(fitting)
        # a whole number of the coarsest texels, and texture cells that fall on the world's millimetres
        block_m = texel_mm * 2 ** (LEVELS - 1) / 1000
        first = [math.floor(value / block_m) for value in (xmin, ymin)]
        last = [math.ceil(value / block_m) for value in (xmax, ymax)]
        origin_m = (first[0] * block_m, first[1] * block_m)
        columns, rows = ((last[i] - first[i]) * 2 ** (LEVELS - 1) for i in range(2))
        grey = paint_ground(self._road, self._look, origin_m, texel_mm, (rows, columns))
        return Pyramid.of(grey, texel_mm / 1000, LEVELS), origin_m


def _bodies(objects: TrackObjects, count: int) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Look, x, y, heading of the objects as the kernel takes them."""
    if objects.kind.shape[0] != count:
        raise ValueError(f"objects are {objects.kind.shape}; they must be ({count}, M), a row a frame")
    x, y, heading = (np.array(v, dtype=np.float64, order="C") for v in (objects.x_m, objects.y_m, objects.heading_rad))
    return looks_of(objects), x, y, heading
