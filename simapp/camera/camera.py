"""The built-in simulator's front camera: poses in, the network's 160x120 grey frames out."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, UInt8Array
from simapp.camera.ground import Road, paint_ground
from simapp.camera.kernel import render_frames
from simapp.camera.look import (
    GREY,
    SKY_RGB,
    TILE_MM,
    WALL_HEIGHT_M,
    WALL_MARGIN_M,
    WALLS_RGB,
    textures,
)
from simapp.camera.picture import draw_picture
from simapp.camera.pinhole import front_camera
from simapp.camera.plan import scan_plan
from simapp.camera.pyramid import Pyramid
from simapp.tracks import Track

MAX_TEXELS = 34_000_000
"""The finest level's size at most; the pyramid takes 17/6 bytes a texel, so 96 MB."""

MIN_TEXEL_MM = 2
LEVELS = 7


class Camera:
    """Draws what cars on a track see. A frame depends on its pose alone: not on K, other poses, or threads."""

    def __init__(self, track: Track) -> None:
        """Draws the track's ground once: about a second and 40 to 96 MB, after the first ever call has compiled."""
        xmin, ymin, xmax, ymax = track.bounds
        self.room_m = (xmin - WALL_MARGIN_M, ymin - WALL_MARGIN_M, xmax + WALL_MARGIN_M, ymax + WALL_MARGIN_M)
        """The walls: xmin, ymin, xmax, ymax."""
        self.pinhole = front_camera()
        self._road = Road.of(track)
        self._look = textures()
        self._pyramid, self._origin_m = self._paint()
        diagonal = math.hypot(self.room_m[2] - self.room_m[0], self.room_m[3] - self.room_m[1])
        plan = scan_plan(self.pinhole, self._pyramid.texels_m, diagonal)
        shades = np.concatenate([WALLS_RGB @ GREY, [SKY_RGB @ GREY]]).astype(np.float32)
        camera = self.pinhole
        self._scene = (
            (camera.focal_px, math.sin(camera.pitch_rad), math.cos(camera.pitch_rad), camera.height_m, camera.ahead_m),
            (*self.room_m, WALL_HEIGHT_M),
            shades,
            (
                self._pyramid.pairs,
                self._pyramid.starts,
                self._pyramid.rows,
                self._pyramid.columns,
                1.0 / self._pyramid.texels_m,
                self._origin_m,
            ),
            (plan.ahead_m, plan.step_m, plan.level, plan.first, plan.count, plan.weights),
        )

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
    ) -> UInt8Array:
        """Frames (K, 120, 160) uint8 for base_link poses (K,) each; `out`, C-contiguous of that shape, is filled.

        A car outside of the room is drawn from the nearest place inside. Raises ValueError when shapes disagree or a
        pose is not finite.
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

        def draw(first: int, last: int) -> None:
            part = slice(first, last)
            render_frames(x[part], y[part], heading[part], *self._scene, frames[part])

        parts = min(threads, x.size)
        if parts <= 1:
            draw(0, x.size)
            return frames
        cuts = np.linspace(0, x.size, parts + 1).astype(int).tolist()
        with ThreadPoolExecutor(parts) as pool:
            for job in [pool.submit(draw, first, last) for first, last in pairwise(cuts)]:
                job.result()
        return frames

    def render_rgb(self, x_m: float, y_m: float, heading_rad: float, width: int = 640, height: int = 480) -> UInt8Array:
        """One colour picture (height, width, 3) uint8 of the same world, drawn ray by ray: slow, for eyes."""
        return draw_picture(
            self.pinhole.resized(width, height), self._road, self._look, self.room_m, (x_m, y_m, heading_rad)
        )

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


def warm_up() -> None:
    """Compile everything here, some six seconds on a machine's first use and nothing after: for a caller that wants
    to announce the wait.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, 9)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    ring[-1] = ring[0]
    camera = Camera(Track("warm-up", np.hstack([ring, 0.8 * ring, 1.2 * ring])))
    still = np.zeros(1)
    camera.render(still, still, still)
    camera.render_rgb(0.0, 0.0, 0.0, 8, 6)
