"""The ground of a track's world in colour: mip levels that the videos' views look up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.state import FloatArray, IntArray
from simapp.camera.ground import Road, grid_over, paint_ground_rgb
from simapp.camera.look import WALL_MARGIN_M, textures
from simapp.camera.pyramid import halved
from simapp.road import Track
from simapp.scene import looks
from simapp.scene.scenery import Scenery
from simapp.worlds import World
from simapp.worlds.above import from_above, is_ground

LEVELS = 7
WORLD_MARGIN_M, MAP_MARGIN_M = 4.0, 1.5
"""How far beyond the road an imported world's ground is painted, and shown on maps."""
MIN_TEXEL_MM = 4
MAX_TEXELS, MAX_WORLD_TEXELS = 8_000_000, 12_000_000
"""Of the finest level, of an imported world more: 32 or 48 MB, and a third more for the others."""


@dataclass(frozen=True, slots=True)
class ColourGround:
    """Levels of a colour picture, each half the size of the one before.

    texels     flat uint32, level after level and row after row from the south-west: red in the lowest byte
    starts     (L + 1,) int64 index of each level's first texel; rows, columns (L,) int64; texels_m (L,) float64
    origin_m   south-west corner of all levels
    room_m     how far the picture reaches, of the built-in look to the walls: xmin, ymin, xmax, ymax
    plan_m     what a map shows of it
    outside_rgb  (3,) the ground beyond
    scenery    what stands there; None: four walls
    """

    texels: NDArray[np.uint32]
    starts: IntArray
    rows: IntArray
    columns: IntArray
    texels_m: FloatArray
    origin_m: tuple[float, float]
    room_m: tuple[float, float, float, float]
    plan_m: tuple[float, float, float, float]
    outside_rgb: FloatArray
    scenery: Scenery | None = None

    @classmethod
    def of(cls, track: Track) -> "ColourGround":
        """Paint the ground: half a second for the shipped tracks, some seconds for an imported world."""
        world = None if track.world is None else World.load(track.world)
        room = _around(track, WALL_MARGIN_M if world is None else WORLD_MARGIN_M)
        most = MAX_TEXELS if world is None else MAX_WORLD_TEXELS
        texel_mm, origin_m, (rows, columns) = grid_over(room, MIN_TEXEL_MM, most, LEVELS)
        plan, outside_rgb, scenery = room, looks.OUTSIDE_RGB, None
        if world is None:
            pictures = [paint_ground_rgb(Road.of(track), textures(), origin_m, texel_mm, (rows, columns))]
        else:
            plan, scenery = _around(track, MAP_MARGIN_M), Scenery.of(world)
            flat = from_above(world, is_ground(world), origin_m, texel_mm / 1000, (rows, columns), looks.OUTSIDE_RGB)
            outside_rgb = flat[0].reshape(-1, 3).mean(axis=0)
            pictures = [np.dstack([flat, np.zeros((rows, columns), np.uint8)])]
        while len(pictures) < LEVELS:
            pictures.append(np.dstack([halved(pictures[-1][..., i]) for i in range(4)]))
        sizes = [picture.shape[0] * picture.shape[1] for picture in pictures]
        return cls(
            texels=np.concatenate([picture.view(np.uint32).ravel() for picture in pictures]),
            starts=np.cumsum([0, *sizes]).astype(np.int64),
            rows=np.array([picture.shape[0] for picture in pictures], np.int64),
            columns=np.array([picture.shape[1] for picture in pictures], np.int64),
            texels_m=texel_mm / 1000 * np.exp2(np.arange(LEVELS, dtype=np.float64)),
            origin_m=origin_m,
            room_m=room,
            plan_m=plan,
            outside_rgb=outside_rgb,
            scenery=scenery,
        )


def _around(track: Track, margin_m: float) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = track.bounds
    return xmin - margin_m, ymin - margin_m, xmax + margin_m, ymax + margin_m
