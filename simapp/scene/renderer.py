"""Pictures of a track with everything on it, from the views of videos and of the live page; on the CPU."""

import math
import threading
from dataclasses import dataclass, field

import numpy as np

from contract.errors import InputError
from contract.state import FloatArray, IntArray, ObjectKind, UInt8Array
from contract.vehicle import BOX_LENGTH_M, BOX_WIDTH_M, CAR_COLORS, LENGTH_M, WIDTH_M
from simapp.camera.look import WALL_HEIGHT_M
from simapp.camera.pinhole import Pinhole
from simapp.road import Track
from simapp.scene import looks
from simapp.scene.bodies import Bodies
from simapp.scene.ground import ColourGround
from simapp.scene.kernel import build_triangles, draw_ground, draw_plan, draw_shadows, draw_triangles
from simapp.scene.meshes import HINGES_M, mesh_table
from simapp.scene.views import FRONT, PIP, TOPVIEW, VIEWS, Plan, pinhole_of

MAP_CAR_PX = 30.0
"""Cars on the map are at least this long: larger than life on large tracks."""
_INSET_SHARE, _INSET_CAR_PX, _INSET_MARGIN = 0.34, 15.0, 0.018
"""The map in the corner: share of the picture's width at most, a car's length, and the margin's share of the width."""
_TRAIL_FADE = 0.75
_NO_PINHOLE = (1.0, 0.0, 1.0, 1.0)
_NO_LENS = np.array([0.0, 0.0, 1.0, 0.0])
_NO_PLAN = np.zeros(3)


@dataclass(slots=True)
class _Buffers:
    """Samples of a picture (H, W, 4), clear between pictures, and room for triangles; one set a thread."""

    keys: np.ndarray
    colours: np.ndarray
    reach: IntArray
    corners: FloatArray = field(default_factory=lambda: np.empty((0, 3, 3)))
    words: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint32))

    @classmethod
    def of(cls, height: int, width: int) -> "_Buffers":
        reach = np.empty((height, 2), np.int64)
        reach[:, 0], reach[:, 1] = width, 0
        return cls(np.zeros((height, width, 4), np.float32), np.empty((height, width, 4), np.uint32), reach)

    def hold(self, triangles: int) -> None:
        if len(self.words) < triangles:
            self.corners, self.words = np.empty((triangles, 3, 3)), np.empty(triangles, np.uint32)


Triangles = tuple[FloatArray, np.ndarray]
"""corners (T, 3, 3) in the world and colours (T,) uint32."""


class SceneRenderer:
    """Draws one track's world. May be used by several threads at once; a picture depends on its arguments alone."""

    def __init__(
        self,
        track: Track,
        width: int = 640,
        height: int = 480,
        ground: ColourGround | None = None,
        map_margin_px: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Pictures are (height, width, 3). `ground`, which takes half a second to paint, may be shared by renderers of
        one track; the map leaves map_margin_px free above and below."""
        if width < 16 or height < 16:
            raise InputError("size of a picture", f"{width}x{height}", "at least 16x16 pixels", "make it larger")
        self.width, self.height = width, height
        self.ground = ColourGround.of(track) if ground is None else ground
        ground = self.ground
        self._levels = (ground.texels, ground.starts, ground.columns, 1.0 / ground.texels_m)
        self._where = (ground.origin_m, ground.room_m, np.uint64(_word(ground.outside_rgb)))
        self._sky = np.stack([looks.SKY_LOW_RGB, looks.SKY_HIGH_RGB])
        self._meshes = mesh_table()
        self._first = self._meshes[0]
        self._light = (looks.LIGHT, np.array([looks.AMBIENT, looks.DIFFUSE, looks.SKYLIGHT]))
        self._walls = _wall_triangles(ground.room_m) if ground.scenery is None else []
        self._threads = threading.local()
        above, below = map_margin_px
        self.plan = Plan.of(ground.plan_m, (0.0, above, float(width), height - above - below))
        """Where the map of `topview` lies."""
        self._map = self._drawn_plan(self.plan, width, height)
        self._inset, self._inset_at, self._inset_plan = self._draw_inset()

    def render(
        self,
        view: str,
        bodies: Bodies,
        focus: int = 0,
        yaw_rad: float | None = None,
        out: UInt8Array | None = None,
        trail_m: FloatArray | None = None,
    ) -> UInt8Array:
        """A picture of one of VIEWS with all bodies in it; (height, width, 3) uint8, C-contiguous.

        focus    the body that the picture is about
        yaw_rad  where a chase camera looks (views.followed); None: where the car heads
        out      is filled in place of a new array
        trail_m  (P, 2) where the car has been lately, drawn on maps

        Raises InputError for an unknown view, ValueError for bodies that cannot be drawn.
        """
        if view not in VIEWS:
            raise InputError("view", view, f"one of {', '.join(VIEWS)}", "choose one of them")
        _check(bodies, focus)
        frame = np.empty((self.height, self.width, 3), np.uint8) if out is None else out
        if view == TOPVIEW:
            frame[...] = self._map
            self._draw_map(frame, self.plan, bodies, focus, MAP_CAR_PX * self.width / 640, trail_m)
            return frame
        pinhole = pinhole_of(view, self.width, self.height)
        heading = float(bodies.heading_rad[focus])
        yaw = heading if yaw_rad is None or view == FRONT else yaw_rad
        lens = np.array([
            bodies.x_m[focus] + pinhole.ahead_m * math.cos(yaw),
            bodies.y_m[focus] + pinhole.ahead_m * math.sin(yaw),
            math.cos(yaw),
            math.sin(yaw),
        ])  # fmt: skip
        self._draw_world(frame, pinhole, lens, bodies.but(focus) if view == FRONT else bodies)
        if view == PIP:
            self._draw_corner_map(frame, bodies, focus, trail_m)
        return frame

    def _draw_world(self, frame: UInt8Array, pinhole: Pinhole, lens: FloatArray, bodies: Bodies) -> None:
        draw_ground(frame, lens, pinhole.numbers, self._levels, *self._where, self._sky)
        draw_shadows(frame, False, lens, pinhole.numbers, _NO_PLAN, _shadows(bodies, np.ones(len(bodies)), 0.035))
        eye = np.array([lens[0], lens[1], pinhole.height_m])
        if self.ground.scenery is None:
            standing = [self._walls[side] for side in _facing(self.ground.room_m, lens)]
        else:
            standing = [self.ground.scenery.seen_from(eye)]
        self._draw_bodies(frame, bodies, np.ones(len(bodies)), eye, standing, (False, lens, pinhole.numbers, _NO_PLAN))

    def _draw_bodies(
        self,
        frame: UInt8Array,
        bodies: Bodies,
        scales: FloatArray,
        eye: FloatArray,
        others: list[Triangles],
        camera: tuple[bool, FloatArray, tuple[float, float, float, float], FloatArray],
    ) -> None:
        """Bodies and other triangles together, the nearest in front."""
        rows, columns = frame.shape[:2]
        kept = self._buffers(rows, columns)
        kept.hold(int((self._first[bodies.kind + 1] - self._first[bodies.kind]).sum()) + sum(len(o[1]) for o in others))
        poses = np.column_stack([bodies.x_m, bodies.y_m, bodies.heading_rad, bodies.steering_rad])
        kinds = np.column_stack([bodies.kind, bodies.colour])
        look = (HINGES_M, looks.PAINTS)
        room = (kept.corners, kept.words)
        count = build_triangles(poses, kinds, self._meshes, *look, scales, eye, *self._light, *room)
        for corners, words in others:
            kept.corners[count : count + len(words)], kept.words[count : count + len(words)] = corners, words
            count += len(words)
        draw_triangles(frame, kept.corners, kept.words, count, *camera, kept.keys, kept.colours, kept.reach)

    def _buffers(self, rows: int, columns: int) -> _Buffers:
        """This thread's, of whole pictures or of the corner map."""
        mine: dict[tuple[int, int], _Buffers] = self._threads.__dict__.setdefault("by_size", {})
        if (rows, columns) not in mine:
            mine[rows, columns] = _Buffers.of(rows, columns)
        return mine[rows, columns]

    def _draw_map(
        self, frame: UInt8Array, plan: Plan, bodies: Bodies, focus: int, car_px: float, trail_m: FloatArray | None
    ) -> None:
        """Bodies from above, the one in focus with a halo, and its trail."""
        scale = max(car_px * plan.metres_per_px / LENGTH_M, 1.0)
        numbers = np.array(plan.numbers)
        # boxes stay as they are: larger ones would seem to close the road
        scales = np.where(bodies.kind == ObjectKind.car, scale, 1.0)
        draw_shadows(frame, True, _NO_LENS, _NO_PINHOLE, numbers, _shadows(bodies, scales, 0.035))
        colour = looks.PAINTS[bodies.colour[focus]]
        others = [_halo(bodies.x_m[focus], bodies.y_m[focus], 0.62 * LENGTH_M * scale, 1.6 * plan.metres_per_px)]
        if trail_m is not None and len(trail_m) > 1:
            others.append(_ribbon(trail_m, 0.16 * WIDTH_M * scale, colour))
        eye = np.array([0.0, 0.0, np.inf])
        self._draw_bodies(frame, bodies, scales, eye, others, (True, _NO_LENS, _NO_PINHOLE, numbers))

    def _draw_corner_map(self, frame: UInt8Array, bodies: Bodies, focus: int, trail_m: FloatArray | None) -> None:
        inset = self._inset.copy()
        self._draw_map(inset, self._inset_plan, bodies, focus, _INSET_CAR_PX * self.width / 640, trail_m)
        left, top = self._inset_at
        frame[top : top + inset.shape[0], left : left + inset.shape[1]] = inset

    def _draw_inset(self) -> tuple[UInt8Array, tuple[int, int], Plan]:
        """The corner map without cars, framed; its left upper corner, and its plan."""
        xmin, ymin, xmax, ymax = self.ground.plan_m
        most, aspect = _INSET_SHARE * self.width, (xmax - xmin) / (ymax - ymin)
        width = round(min(most, 0.75 * most * aspect))
        height = round(width / aspect)
        plan = Plan.of(self.ground.plan_m, (1.0, 1.0, width - 2.0, height - 2.0))
        picture = self._drawn_plan(plan, width, height)
        picture[[0, -1]] = picture[:, [0, -1]] = looks.HALO_RGB.astype(np.uint8)
        margin = round(_INSET_MARGIN * self.width)
        return picture, (self.width - width - margin, self.height - height - margin), plan

    def _drawn_plan(self, plan: Plan, width: int, height: int) -> UInt8Array:
        picture = np.empty((height, width, 3), np.uint8)
        numbers = np.array(plan.numbers)
        draw_plan(picture, numbers, self._levels, *self._where)
        if self.ground.scenery is not None:
            corners, words = self.ground.scenery.on_map()
            kept = self._buffers(height, width)
            camera = (True, _NO_LENS, _NO_PINHOLE, numbers)
            draw_triangles(picture, corners, words, len(words), *camera, kept.keys, kept.colours, kept.reach)
        return picture


def _check(bodies: Bodies, focus: int) -> None:
    if not 0 <= focus < len(bodies):
        raise ValueError(f"focus {focus} of {len(bodies)} bodies")
    if ((bodies.kind < 0) | (bodies.kind > max(ObjectKind))).any():
        raise ValueError(f"kind {bodies.kind.tolist()} of bodies; known are {[int(kind) for kind in ObjectKind]}")
    if ((bodies.colour < 0) | (bodies.colour >= len(CAR_COLORS))).any():
        raise ValueError(f"colour {bodies.colour.tolist()} of bodies; there are {len(CAR_COLORS)}")
    for name in ("x_m", "y_m", "heading_rad", "steering_rad"):
        if not np.isfinite(getattr(bodies, name)).all():
            raise ValueError(f"{name} of a body is not finite")


def _word(rgb: FloatArray) -> int:
    red, green, blue = (int(tone) for tone in np.rint(np.clip(rgb, 0.0, 255.0)))
    return red | green << 8 | blue << 16


def _shadows(bodies: Bodies, scales: FloatArray, soft_m: float) -> FloatArray:
    """What draw_shadows takes: outlines, moved away from the light."""
    shown = bodies.kind != ObjectKind.nothing
    is_box, scale = bodies.kind[shown] == ObjectKind.box, scales[shown]
    away = np.where(is_box, 0.075, 0.028) * scale
    return np.column_stack([
        bodies.x_m[shown] - looks.LIGHT[0] / looks.LIGHT[2] * away,
        bodies.y_m[shown] - looks.LIGHT[1] / looks.LIGHT[2] * away,
        bodies.heading_rad[shown],
        np.where(is_box, BOX_LENGTH_M, LENGTH_M) / 2 * scale,
        np.where(is_box, BOX_WIDTH_M, WIDTH_M) / 2 * scale,
        np.where(is_box, 2.0, 1.0) * soft_m * scale,
    ])  # fmt: skip


def _facing(room_m: tuple[float, float, float, float], lens: FloatArray) -> list[int]:
    """Walls that show their inner side to the lens: east, north, west, south."""
    xmin, ymin, xmax, ymax = room_m
    inner = (lens[0] < xmax, lens[1] < ymax, lens[0] > xmin, lens[1] > ymin)
    return [side for side, faces in enumerate(inner) if faces]


def _wall_triangles(room_m: tuple[float, float, float, float]) -> list[Triangles]:
    """Each wall's faces and its cap: east, north, west, south."""
    xmin, ymin, xmax, ymax = room_m
    corners = [(xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)]
    cap_m = WALL_HEIGHT_M - 0.045
    walls = []
    for side in range(4):
        a, b = corners[side], corners[(side + 1) % 4]
        quads = [((0.0, cap_m), looks.WALL_FACES_RGB[side]), ((cap_m, WALL_HEIGHT_M), looks.WALL_CAP_RGB)]
        triangles, words = [], []
        for (low, high), rgb in quads:
            quad = np.array([[*a, low], [*b, low], [*b, high], [*a, high]])
            triangles += [quad[[0, 1, 2]], quad[[0, 2, 3]]]
            words += [_word(rgb)] * 2
        walls.append((np.stack(triangles), np.array(words, np.uint32)))
    return walls


def _halo(x_m: float, y_m: float, radius_m: float, width_m: float) -> Triangles:
    """A ring on the ground."""
    angle = np.linspace(0.0, 2.0 * math.pi, 33)
    rim = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(33)])
    middle = np.array([x_m, y_m, 0.004])
    return _strip(middle + radius_m * rim, middle + (radius_m + width_m) * rim), np.full(
        64, _word(looks.HALO_RGB), np.uint32
    )


def _ribbon(path_m: FloatArray, width_m: float, rgb: FloatArray) -> Triangles:
    """A path (P, 2) as a ribbon on the ground, fading to grey backwards."""
    ahead = np.gradient(path_m, axis=0)
    length = np.hypot(*ahead.T)[:, None]
    aside = np.column_stack([-ahead[:, 1], ahead[:, 0]]) / np.where(length > 0.0, length, 1.0) * width_m / 2
    flat = np.full((len(path_m), 1), 0.002)
    share = np.repeat(np.linspace(0.0, 1.0, len(path_m) - 1), 2)[:, None]
    bright = 0.5 * rgb + 0.5 * looks.HALO_RGB
    tones = bright + (np.array([96.0, 108.0, 120.0]) - bright) * _TRAIL_FADE * (1.0 - share)
    words = np.array([_word(tone) for tone in tones], np.uint32)
    return _strip(np.hstack([path_m + aside, flat]), np.hstack([path_m - aside, flat])), words


def _strip(one: FloatArray, two: FloatArray) -> FloatArray:
    """Triangles (2P - 2, 3, 3) between two lines of points (P, 3)."""
    first = np.stack([one[:-1], two[:-1], one[1:]], axis=1)
    second = np.stack([two[:-1], two[1:], one[1:]], axis=1)
    return np.stack([first, second], axis=1).reshape(-1, 3, 3)
