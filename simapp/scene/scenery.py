"""What stands in an imported world, as the videos draw it: triangles of one colour each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.state import FloatArray, UInt8Array
from simapp.scene import looks
from simapp.worlds import World, WorldPicture
from simapp.worlds.above import is_ground

REACH_M = 80.0
"""What is further from the lens, and small, is left out."""
MAP_HEIGHT_M = 3.0
"""What begins higher than this would only hide the road on a map."""
SAMPLE_PX = 64
"""Textures are looked up this small: a triangle has one colour."""
_SPOTS = np.stack(np.meshgrid([1 / 6, 0.5, 5 / 6], [1 / 6, 0.5, 5 / 6]), axis=-1).reshape(-1, 2)
"""Where in the box round a triangle's texture coordinates: both halves of a rectangle have the same one."""


@dataclass(frozen=True, slots=True)
class Scenery:
    """Triangles (T, 3, 3) with colours (T,) uint32 words, their middles and unit normals (T, 3), and sizes (T,) m."""

    corners: FloatArray
    words: NDArray[np.uint32]
    middles: FloatArray
    normals: FloatArray
    sizes_m: FloatArray

    @classmethod
    def of(cls, world: World) -> "Scenery":
        """All that is not ground, in the videos' light."""
        chosen = np.flatnonzero(~is_ground(world))
        corners = world.triangles[chosen].astype(np.float64)
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sizes = np.linalg.norm(faces, axis=1)
        normals = faces / np.maximum(sizes, 1e-12)[:, np.newaxis]
        light = looks.AMBIENT + looks.DIFFUSE * np.maximum(normals @ looks.LIGHT, 0.0)
        rgb = _colours(world, chosen) * light[:, np.newaxis]
        red, green, blue = np.rint(np.clip(rgb, 0.0, 255.0)).astype(np.uint32).T
        return cls(corners, red | green << 8 | blue << 16, corners.mean(axis=1), normals, np.sqrt(sizes))

    def seen_from(self, eye: FloatArray) -> tuple[FloatArray, NDArray[np.uint32]]:
        """Triangles that face a lens at x, y, z."""
        away = eye - self.middles
        near = np.hypot(away[:, 0], away[:, 1]) < REACH_M + 10.0 * self.sizes_m
        shown = near & (np.einsum("ij,ij->i", away, self.normals) > 0.0)
        return self.corners[shown], self.words[shown]

    def on_map(self) -> tuple[FloatArray, NDArray[np.uint32]]:
        """Triangles that face up, and do not hang above the road."""
        shown = (self.normals[:, 2] > 0.0) & (self.corners[:, :, 2].min(axis=1) < MAP_HEIGHT_M)
        return self.corners[shown], self.words[shown]


def _colours(world: World, chosen: NDArray[np.intp]) -> FloatArray:
    """(T, 3) mean of the texture about each triangle, 0..255."""
    rgb = np.empty((len(chosen), 3))
    uv = world.uv[chosen].astype(np.float64)
    low, high = uv.min(axis=1, keepdims=True), uv.max(axis=1, keepdims=True)
    spots = low + _SPOTS * (high - low)
    of_triangles = world.material[chosen]
    for index in np.unique(of_triangles).tolist():
        material, mine = world.materials[index], of_triangles == index
        if material.picture < 0:
            rgb[mine] = 255.0 * np.asarray(material.diffuse)
            continue
        texture = _sample(world.pictures[material.picture])
        rows, columns = texture.shape[:2]
        u, v = (np.floor(spots[mine, :, i] * (columns, rows)[i]).astype(np.int64) for i in range(2))
        rgb[mine] = texture[v % rows, u % columns].mean(axis=1)
    return rgb


def _sample(picture: WorldPicture) -> UInt8Array:
    small = Image.fromarray(picture.pixels()[..., :3])
    small.thumbnail((SAMPLE_PX, SAMPLE_PX), Image.Resampling.BOX)
    return np.asarray(small)
