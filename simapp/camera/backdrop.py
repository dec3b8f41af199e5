"""What a camera sees behind boxes and cars: the built-in room around a track, or an imported world."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from contract.state import CAMERA_HEIGHT, FloatArray, IntArray, UInt8Array
from simapp.camera.effects import STAIN_TEXEL_M, Greys, Views, stain_tile
from simapp.camera.flat import FAR_M, Reach, bake_ground, flat_triangles, road_height_m
from simapp.camera.ground import Road, grid_over, paint_ground
from simapp.camera.kernel import render_frames
from simapp.camera.lighting import GREY, Surfaces
from simapp.camera.look import WALL_HEIGHT_M, WALL_MARGIN_M, textures
from simapp.camera.open_frames import open_space, render_open_frames
from simapp.camera.pinhole import Pinhole
from simapp.camera.plan import scan_plan
from simapp.camera.pyramid import Pyramid
from simapp.camera.scenery import SeenLists, Solids, rasteriser_textures, standing_solids
from simapp.camera.sky import sky_grey, sky_table
from simapp.camera.textures import textures_of
from simapp.road import Track
from simapp.worlds.form import World

MAX_TEXELS = 34_000_000
"""The finest level's size at most in a room; the pyramid takes 17/6 bytes a texel, so 96 MB."""

AROUND_M = 5.0
"""How far from the road's bounds lenses go; beyond, they draw all that stands."""

MIN_TEXEL_MM = 2
LEVELS = 7

Bounds = tuple[float, float, float, float, float]


class Drawn(NamedTuple):
    """Where frames are drawn (K, height, width), and 1 / depth of what stands in front of the ground: depths (D, ...),
    whose first is that of frame `first`, if there are any."""

    frames: UInt8Array
    depths: NDArray[np.float32]
    first: int


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Room:
    """The built-in look: a road on a field in a room of four walls.

    room    xmin, ymin, xmax, ymax and height of the walls; what is outside is not seen
    greys   what conditions change
    """

    room: Bounds
    greys: Greys
    pyramid: Pyramid
    _stains: Any

    @classmethod
    def of(cls, track: Track) -> "Room":
        """The room of a track's road, which all cameras on it share."""
        road = (track.route.tobytes(), track.closed)
        room = _rooms.get(road)
        if room is None:
            room = _rooms[road] = cls.drawn(track)
        return room

    @classmethod
    def drawn(cls, track: Track) -> "Room":
        """Draws the ground: about half a second and 40 to 96 MB."""
        xmin, ymin, xmax, ymax = track.bounds
        xmin, ymin, xmax, ymax = xmin - WALL_MARGIN_M, ymin - WALL_MARGIN_M, xmax + WALL_MARGIN_M, ymax + WALL_MARGIN_M
        texel_mm, origin_m, shape = grid_over((xmin, ymin, xmax, ymax), MIN_TEXEL_MM, MAX_TEXELS, LEVELS)
        grey = paint_ground(Road.of(track), textures(), origin_m, texel_mm, shape)
        pyramid = Pyramid.of(grey, texel_mm / 1000, LEVELS, origin_m)
        room = (xmin, ymin, xmax, ymax, WALL_HEIGHT_M)
        return cls(room, Greys.built_in(), pyramid, (stain_tile(), STAIN_TEXEL_M))

    @property
    def memory_bytes(self) -> int:
        """What its pictures take."""
        return self.pyramid.resident

    @property
    def is_hiding(self) -> bool:
        """Whether anything stands in front of boxes and cars."""
        return False

    def come(self, lenses: FloatArray) -> None:
        """Make ready what lenses (K, 4) at new places need, before `draw`, by one thread: nothing in a room."""

    def scene(self, pinhole: Pinhole) -> Any:
        """What `draw` needs for frames with this pinhole."""
        farthest_m = math.hypot(self.room[2] - self.room[0], self.room[3] - self.room[1])
        return pinhole.numbers, scan_plan(pinhole, self.pyramid.texels_m, farthest_m).arrays

    def space(self) -> None:
        """Scratch of `draw`, for one thread: none, as it is little."""

    def draw(self, rows: IntArray, lenses: FloatArray, scene: Any, views: Views, space: None, out: Drawn) -> None:
        """Draw the frames `rows`."""
        camera, plan = scene
        look = (views.shades, views.tones, self._stains)
        render_frames(rows, lenses, camera, self.room, *look, self.pyramid.arrays, plan, out.frames)


_rooms: WeakValueDictionary[tuple[bytes, bool], Room] = WeakValueDictionary()
"""Those that a camera has, by what they are drawn from."""


@dataclass(frozen=True, slots=True)
class OpenWorld:
    """An imported world: ground baked along the road, sky, and what stands as triangles."""

    room: Bounds
    greys: Greys
    pyramid: Pyramid
    reach: Reach
    height_m: float
    """Of the road's lines: the ground is a plane there."""
    solids: Solids
    lists: SeenLists
    _sky: NDArray[np.float32]
    _textures: Any
    _stains: Any

    TWO_SIDED = False

    @classmethod
    def of(cls, track: Track, world: World) -> "OpenWorld":
        """Bakes the ground: some seconds. Lists of what is seen from where are made as lenses come there."""
        flat = flat_triangles(world)
        cutout = np.array([m.is_cutout for m in world.materials], np.bool_)
        used, holes = np.zeros(len(world.pictures), np.bool_), np.zeros(len(world.pictures), np.bool_)
        for m in np.unique(world.material).tolist():
            picture = world.materials[m].picture
            if picture >= 0:
                used[picture] = True
                holes[picture] |= cutout[m]
        looks = textures_of(world, used.tolist(), holes.tolist(), np.zeros(len(world.pictures)))
        picture = np.array([m.picture for m in world.materials] or [-1])
        means = np.where(picture[:, None] >= 0, looks.means[np.maximum(picture, 0)], 1.0)
        surfaces = Surfaces(world, means)
        empty = float(sky_grey(np.zeros(1), np.zeros(1))[0]) if world.scene.has_sky else _background(world)
        pyramid, reach = bake_ground(world, flat, looks, surfaces, track, empty)
        solids = standing_solids(world, flat, looks, surfaces, cls.TWO_SIDED)
        xmin, ymin, xmax, ymax = track.bounds
        lists = SeenLists(solids, looks, (xmin - AROUND_M, ymin - AROUND_M, xmax + AROUND_M, ymax + AROUND_M))
        low = np.minimum(world.triangles.reshape(-1, 3).min(axis=0, initial=0.0)[:2], track.bounds[:2]) - 1.0
        high = np.maximum(world.triangles.reshape(-1, 3).max(axis=0, initial=0.0)[:2], track.bounds[2:]) + 1.0
        room = (float(low[0]), float(low[1]), float(high[0]), float(high[1]), 0.0)
        made = cls(
            room,
            Greys(*_road_greys(track, pyramid), walls=(1.0, 1.0, 1.0, 1.0), sky=1.0),
            pyramid,
            reach,
            road_height_m(world, flat, track),
            solids,
            lists,
            sky_table(world.scene.has_sky, _background(world)),
            rasteriser_textures(looks),
            (stain_tile(), STAIN_TEXEL_M),
        )
        return made

    @property
    def memory_bytes(self) -> int:
        looks = int(sum(it.nbytes for it in self._textures))
        solids = sum(it.nbytes for it in (*self.solids, *self.lists.arrays[1:]))
        return self.pyramid.resident + solids + looks + self.reach.level.nbytes

    @property
    def is_hiding(self) -> bool:
        return len(self.solids[2]) > 0

    def come(self, lenses: FloatArray) -> None:
        self.lists.come(lenses[:, 0], lenses[:, 1])

    def scene(self, pinhole: Pinhole) -> Any:
        plan = scan_plan(replace(pinhole, height_m=pinhole.height_m - self.height_m), self.pyramid.texels_m, FAR_M)
        horizon = pinhole.horizon_row
        first = next((r for r in range(CAMERA_HEIGHT) if plan.count[r] > 0), CAMERA_HEIGHT)
        sky_rows = min(max(math.ceil(horizon + 1.0), first), CAMERA_HEIGHT)
        return pinhole.numbers, plan.arrays, (max(sky_rows, 0), horizon, first)

    def space(self) -> Any:
        return open_space(len(self.solids[2]))

    def draw(self, rows: IntArray, lenses: FloatArray, scene: Any, views: Views, space: Any, out: Drawn) -> None:
        camera, plan, rows_of = scene
        reach = (*self.reach.origin_m, 1.0 / self.reach.cell_m, self.reach.level)
        sky = (self._sky, *rows_of)
        ground = (views.tones, self._stains, self.pyramid.arrays, reach, plan)
        stand = (self.solids, self._textures, self.lists.arrays)
        shades = (views.scenery, views.shades[:, 4])
        render_open_frames(rows, out.first, lenses, camera, sky, shades, ground, stand, space, out.frames, out.depths)


Backdrop = Room | OpenWorld
"""What is behind boxes and cars."""


def _background(world: World) -> float:
    return float(np.array(world.scene.background) @ GREY * 255.0)


def _road_greys(track: Track, pyramid: Pyramid) -> tuple[float, float, float]:
    """Usual greys of the asphalt, of what lies beside the road, and of its edge lines."""
    along = np.linspace(0.0, track.length_m, 400, endpoint=False)
    half = 0.5 * float(np.median(track.widths_m))
    level = 2

    def at(offset: float) -> FloatArray:
        pose = track.pose_at(along, np.full(along.shape, offset))
        return pyramid.texel(level, pose.x_m, pose.y_m)

    asphalt = float(np.median([at(share * half) for share in (-0.5, -0.3, 0.3, 0.5)]))
    field = float(np.median([at(share * half) for share in (-1.5, 1.5)]))
    across = np.stack([at(share * half) for share in np.linspace(0.8, 1.2, 21)])
    return asphalt, field, float(np.median(across.max(axis=0)))
