"""The built-in simulator's front camera: poses in, the network's 160x120 grey frames out."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from contract.conditions import Conditions
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, IntArray, TrackObjects, UInt8Array
from simapp.camera.backdrop import Backdrop, Drawn, OpenWorld, Room
from simapp.camera.bodies import REACH_M, looks_of, tables
from simapp.camera.effects import Change, Views, changed, finish_frames
from simapp.camera.kernel import place_lenses
from simapp.camera.occlusion import put_back
from simapp.camera.pinhole import front_camera
from simapp.camera.rasterise import draw_bodies
from simapp.road import Track
from simapp.worlds.form import World

FRAMES_AT_ONCE = 64
"""Frames whose depths are kept, 77 kB each."""

MAX_PLANS = 1024
"""Pinholes whose scan plans are kept, some 15 kB each."""


class Camera:
    """Draws what cars on a track see. A frame depends on its own row of the arguments alone: not on K or threads."""

    def __init__(self, track: Track, world: World | None = None) -> None:
        """Draws the track's ground once: about half a second and 40 to 96 MB, after the first ever call has compiled;
        nothing where another camera of the process has it.

        An imported world, `world` or else that of the track, takes some seconds and up to 200 MB.
        """
        if world is None and track.world is not None:
            world = World.load(track.world)
        self.track = track
        self.backdrop: Backdrop = Room.of(track) if world is None else OpenWorld.of(track, world)
        self.room_m = self.backdrop.room[:4]
        """The walls: xmin, ymin, xmax, ymax; of an imported world, all that is drawn."""
        self.pinhole = front_camera()
        self._tables = tables()
        # a pinhole lasts for a car's episode
        self._scene = lru_cache(MAX_PLANS)(self._scene_of)
        self._nominal = lru_cache(16)(self._nominal_of)

    @property
    def memory_bytes(self) -> int:
        """What the world's pictures take."""
        return self.backdrop.memory_bytes

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
            views = Views.of(conditions, counts, left_m, self.backdrop.greys)
        room = self.backdrop.room
        lenses = np.empty((x.size, 4))
        place_lenses(x, y, heading, self.pinhole.ahead_m, float(left_m), views.yaw_rad, room, lenses)
        self.backdrop.come(lenses)
        bodies = None if objects is None or objects.places == 0 else _bodies(objects, x.size)

        cameras = np.empty((x.size, 4))

        def draw_some(first: int, last: int, space: Any) -> None:
            part = slice(first, last)
            is_hiding = bodies is not None and self.backdrop.is_hiding
            depths = np.zeros((last - first if is_hiding else 0, CAMERA_HEIGHT, CAMERA_WIDTH), np.float32)
            for change, rows in views.pinholes:
                mine = rows if last - first == x.size else rows[(rows >= first) & (rows < last)]
                if mine.size > 0:
                    scene = self._scene(change)
                    cameras[mine] = scene[0]
                    self.backdrop.draw(mine, lenses, scene, views, space, Drawn(frames, depths, first))
            if bodies is None:
                return
            lens, camera, drawn = lenses[part], cameras[part], frames[part]
            before = drawn.copy() if is_hiding else drawn
            look_of, object_x, object_y, turn = (values[part] for values in bodies)
            seen = (look_of, object_x, object_y, turn, self._tables, REACH_M, room)
            draw_bodies(lens, camera, views.lights[part], *seen, drawn)
            if is_hiding:
                put_back(lens, camera, look_of, object_x, object_y, REACH_M, before, depths, drawn)

        def draw(first: int, last: int) -> None:
            at_once = max(last - first, 1) if bodies is None else FRAMES_AT_ONCE
            space = self.backdrop.space()
            for begin in range(first, last, at_once):
                draw_some(begin, min(begin + at_once, last), space)
            if not views.is_plain:
                part = slice(first, last)
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

    def _scene_of(self, change: Change) -> Any:
        return self.backdrop.scene(changed(self.pinhole, change))

    def _nominal_of(self, count: int) -> Views:
        return Views.of(Conditions.nominal(count), np.zeros(count, np.int64), 0.0, self.backdrop.greys)


def _bodies(objects: TrackObjects, count: int) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Look, x, y, heading of the objects as the kernel takes them."""
    if objects.kind.shape[0] != count:
        raise ValueError(f"objects are {objects.kind.shape}; they must be ({count}, M), a row a frame")
    x, y, heading = (np.array(v, dtype=np.float64, order="C") for v in (objects.x_m, objects.y_m, objects.heading_rad))
    return looks_of(objects), x, y, heading
