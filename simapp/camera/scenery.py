"""What stands in an imported world, made ready for the rasteriser: triangles with their planes, and for each place
along the road a list of those that can be seen from there."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.state import CAMERA_WIDTH, FloatArray, IntArray
from simapp.camera.lighting import Surfaces, light_at
from simapp.camera.standing import SECTORS, count_samples
from simapp.camera.textures import Textures
from simapp.worlds.form import World

CELL_M = 0.5
"""Side of the squares that share a list."""
MARGIN_M = 0.02
LENS_M = 0.134
"""The lens's height above the ground, from where it is looked."""
MAX_LISTED = 4000
"""Triangles of a list at most, those that fill most of a view: nine of the official worlds, cities, have more."""
LEAST_PX = 0.3
"""A triangle whose half width is less than this is not looked for."""
LOWEST_M = -0.008
"""What stands is cut off here: ground lies over the rest. Hills begin a little below the field that they surround."""
FARTHEST_M = 200.0
"""Gazebo's camera sees no further."""
LIGHT_STEP = 0.02
"""A triangle is split while the light in its middle differs from the corners' mean by more than this share."""

FINE_TEXELS, COARSE_TEXELS = 32, 8
"""Across and down a triangle in the two pictures of its texture whose greys are compared."""

Solids = tuple[FloatArray, FloatArray, IntArray, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]
Lists = tuple[tuple[float, float, float, IntArray], IntArray, IntArray, NDArray[np.uint32]]


def standing_solids(
    world: World, flat: NDArray[np.bool_], textures: Textures, surfaces: Surfaces, is_two_sided: bool
) -> Solids:
    """Triangles of the world that do not lie flat, cut off at the ground, and their planes."""
    shown = ~flat & (np.array([m.opacity for m in world.materials] or [1.0])[world.material] >= 0.5)
    shown &= np.abs(world.triangles).max(axis=(1, 2), initial=0.0) < FARTHEST_M
    corners = world.triangles[shown].astype(np.float64)
    uv, normals = world.uv[shown].astype(np.float64), world.normals[shown].astype(np.float64)
    material = world.material[shown]
    values = np.concatenate([corners, uv, normals], axis=2)
    values, material = _cut_low(values, material)
    values, material = _split_for_light(world, values, material)
    corners, uv, normals = values[..., :3], values[..., 3:5], values[..., 5:8]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    good = area > 1e-9
    corners, uv, normals, material, cross = (v[good] for v in (corners, uv, normals, material, cross))
    normal = cross / area[good][:, None]
    length = np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    factor = surfaces.factors(material[:, None], light_at(world.lights, corners, normals / length))
    picture = np.array([m.picture for m in world.materials] or [-1], np.int64)[material]
    cutout = np.array([m.is_cutout for m in world.materials] or [False])[material]
    is_plain = (picture >= 0) & (textures.sizes[np.maximum(picture, 0), 0].sum(axis=1) == 0) & ~cutout
    tone = textures.pairs[textures.starts[np.maximum(picture, 0), 0]] & 255
    factor = np.where(is_plain[:, None], factor * (tone / 255.0)[:, None], factor)
    picture = np.where(is_plain, -1, picture)
    facets = np.zeros((len(corners), 16))
    facets[:, :3] = normal
    facets[:, 3] = -(normal * corners[:, 0]).sum(axis=1)
    # u, v and light as linear functions in space that do not change along the normal
    homogeneous = np.concatenate([corners, np.ones((len(corners), 3, 1))], axis=2)
    along = np.concatenate([normal, np.zeros((len(normal), 1))], axis=1)[:, None]
    system = np.concatenate([homogeneous, along], axis=1)
    wanted = np.concatenate([np.concatenate([uv, factor[..., None]], axis=2), np.zeros((len(uv), 1, 3))], axis=1)
    facets[:, 4:] = np.linalg.solve(system, wanted).transpose(0, 2, 1).reshape(-1, 12)
    two_sided = np.full(len(corners), is_two_sided)
    has_holes = cutout & (picture >= 0)
    tones = tones_of(uv, factor, picture, textures.pairs, textures.starts, textures.sizes)
    tones[has_holes, 1:] = np.inf
    return np.ascontiguousarray(corners), facets, picture.astype(np.int64), has_holes, two_sided, tones


@njit(cache=True, nogil=True, error_model="numpy")
def tones_of(uv, factor, picture, pairs, starts, sizes):  # type: ignore[no-untyped-def]
    """Mean grey of each triangle, and how much its greys differ in fine and in coarse pictures of its texture, (N, 3)
    float32, from uv (N, 3, 2), light factor (N, 3) and picture (N,), which is -1 without a texture."""
    tones = np.empty((len(picture), 3), np.float32)
    for n in range(len(picture)):
        bright, dark = factor[n].max(), factor[n].min()
        p, level = picture[n], 0
        u0, u1, v0, v1 = uv[n, :, 0].min(), uv[n, :, 0].max(), uv[n, :, 1].min(), uv[n, :, 1].max()
        for i, texels in enumerate((FINE_TEXELS, COARSE_TEXELS)):
            least, most, total, count = 255, 255, 255, 1
            if p >= 0:
                while level < starts.shape[1] - 1 and texels < max(
                    (u1 - u0) * (1 << sizes[p, level, 1]), (v1 - v0) * (1 << sizes[p, level, 0])
                ):
                    level += 1
                height, width = 1 << sizes[p, level, 0], 1 << sizes[p, level, 1]
                top, left = math.floor(v0 * height - 0.5), math.floor(u0 * width - 0.5)
                # of what repeats often, a part tells it
                rows = min(math.floor(v1 * height - 0.5) - top, texels) + 2
                columns = min(math.floor(u1 * width - 0.5) - left, texels) + 2
                least, most, total, count = 255, 0, 0, rows * columns
                for r in range(top, top + rows):
                    row = starts[p, level] + (r & (height - 1)) * (width + 1)
                    for c in range(left, left + columns):
                        texel = pairs[row + (c & (width - 1))] & 255
                        least, most, total = min(least, texel), max(most, texel), total + texel
            tones[n, 1 + i] = most * bright - least * dark
        tones[n, 0] = min(factor[n].mean() * total / count, 255.0)
    return tones


def _cut_low(values: FloatArray, material: NDArray[np.int32]) -> tuple[FloatArray, NDArray[np.int32]]:
    """Corners with their values (N, 3, D), whose third is the height, cut off at LOWEST_M."""
    z = values[..., 2]
    above = z >= LOWEST_M
    count = above.sum(axis=1)
    parts, kinds = [values[count == 3]], [material[count == 3]]
    for inside in (1, 2):
        which = np.flatnonzero(count == inside)
        if which.size == 0:
            continue
        # turn the corners so that the odd one out comes first
        odd = np.argmax(above[which] if inside == 1 else ~above[which], axis=1)
        order = (odd[:, None] + np.arange(3)) % 3
        a, b, c = (values[which, order[:, i]] for i in range(3))

        def on(one: FloatArray, other: FloatArray) -> FloatArray:
            t = (LOWEST_M - one[:, 2]) / (other[:, 2] - one[:, 2])
            return np.asarray(one + t[:, None] * (other - one))

        ab, ca = on(a, b), on(a, c)
        if inside == 1:
            parts.append(np.stack([a, ab, ca], axis=1))
            kinds.append(material[which])
        else:
            parts += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ca], axis=1)]
            kinds += [material[which], material[which]]
    return np.concatenate(parts), np.concatenate(kinds)


def _split_for_light(
    world: World, values: FloatArray, material: NDArray[np.int32]
) -> tuple[FloatArray, NDArray[np.int32]]:
    """Halve triangles along their longest side while light bends in them."""
    if all(light.kind == "directional" for light in world.lights):
        return values, material
    done: list[FloatArray] = []
    kinds: list[NDArray[np.int32]] = []
    for _ in range(5):
        normals = values[..., 5:8]
        corner = light_at(world.lights, values[..., :3], normals).mean(axis=(1, 2))
        middle = light_at(world.lights, values[..., :3].mean(axis=1), normals.mean(axis=1)).mean(axis=1)
        bent = np.abs(corner - middle) > LIGHT_STEP * np.maximum(corner, 0.2)
        done.append(values[~bent])
        kinds.append(material[~bent])
        values, material = values[bent], material[bent]
        if len(values) == 0:
            break
        sides = np.linalg.norm(values[..., :3] - np.roll(values[..., :3], -1, axis=1), axis=2)
        order = (np.argmax(sides, axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = (values[np.arange(len(values)), order[:, i]] for i in range(3))
        half = 0.5 * (a + b)
        values = np.concatenate([np.stack([a, half, c], axis=1), np.stack([half, b, c], axis=1)])
        material = np.concatenate([material, material])
    return np.concatenate([*done, values]), np.concatenate([*kinds, material])


class SeenLists:
    """For each square of CELL_M the triangles that any lens in it sees, in any direction; made when a lens comes there.

    A list depends on its square alone, so frames do not depend on who came first.
    """

    def __init__(self, solids: Solids, textures: Textures, bounds: tuple[float, float, float, float]) -> None:
        """bounds: xmin, ymin, xmax, ymax of where lenses go; elsewhere they draw everything."""
        self._solids, self._textures = solids, textures
        count = len(solids[2])
        xmin, ymin, xmax, ymax = bounds
        columns, rows = (math.ceil((high - low) / CELL_M) for low, high in ((xmin, xmax), (ymin, ymax)))
        self._origin = (xmin, ymin)
        self._grid = np.zeros((rows, columns), np.int64)
        self._starts = [0, count]
        self._listed = [np.arange(count)]
        self._bits = [np.full(count, 0xFFFFFFFF, np.uint32)]
        middle = solids[0].mean(axis=1)
        self._middle = middle[:, :2]
        self._radius = np.linalg.norm(solids[0] - middle[:, None], axis=2).max(axis=1, initial=0.0)
        self.arrays: Lists = self._joined()
        """What render_open_frames takes."""

    def come(self, x_m: FloatArray, y_m: FloatArray) -> None:
        """Make the lists of the squares that lenses (K,) are in."""
        column = np.floor((x_m - self._origin[0]) / CELL_M).astype(np.int64)
        row = np.floor((y_m - self._origin[1]) / CELL_M).astype(np.int64)
        inside = (column >= 0) & (row >= 0) & (column < self._grid.shape[1]) & (row < self._grid.shape[0])
        row, column = row[inside], column[inside]
        new = self._grid[row, column] == 0
        if not new.any() or len(self._solids[2]) == 0:
            return
        for r, c in np.unique(np.column_stack([row[new], column[new]]), axis=0).tolist():
            x, y = self._origin[0] + c * CELL_M, self._origin[1] + r * CELL_M
            seen = self._seen_from(x, y)
            self._grid[r, c] = len(self._listed)
            self._listed.append(seen)
            self._bits.append(_directions(self._solids[0][seen], (x + 0.5 * CELL_M, y + 0.5 * CELL_M)))
            self._starts.append(self._starts[-1] + len(seen))
        self.arrays = self._joined()

    @property
    def lengths(self) -> IntArray:
        """Triangles in each list; the first one is everything."""
        return np.diff(self._starts)

    def _joined(self) -> Lists:
        place = (*self._origin, 1.0 / CELL_M, self._grid)
        return place, np.array(self._starts, np.int64), np.concatenate(self._listed), np.concatenate(self._bits)

    def _seen_from(self, x: float, y: float) -> IntArray:
        """Triangles that show in any of six views from five places of the square whose corner is (x, y), those that
        fill most of a view first."""
        away = np.hypot(self._middle[:, 0] - x - CELL_M / 2, self._middle[:, 1] - y - CELL_M / 2)
        may = np.flatnonzero(self._radius * _FOCAL_PX > LEAST_PX * (away - self._radius - CELL_M))
        low, high = MARGIN_M, CELL_M - MARGIN_M
        spots = [(low, low), (high, low), (low, high), (high, high), (CELL_M / 2, CELL_M / 2)]
        places = np.array([(x + dx, y + dy, math.cos(a), math.sin(a)) for dx, dy in spots for a in _TURNS])
        candidates = (
            (0.0, 0.0, 1.0, np.zeros((1, 1), np.int64)),
            np.array([0, len(may)], np.int64),
            may,
            np.full(len(may), 0xFFFFFFFF, np.uint32),
        )
        camera = np.array([_FOCAL_PX, 0.0, 1.0, LENS_M])
        samples = np.zeros(len(self._solids[2]), np.int64)
        count_samples(places, camera, self._solids, rasteriser_textures(self._textures), candidates, samples)
        order = may[np.argsort(-samples[may], kind="stable")]
        return np.asarray(order[: min(int((samples > 0).sum()), MAX_LISTED)])


_TURNS = np.arange(6) * (math.pi / 3)
_FOCAL_PX = 0.5 * CAMERA_WIDTH / math.tan(math.radians(31.0))
"""As fine as the car's camera."""


def _directions(corners: FloatArray, middle: tuple[float, float]) -> NDArray[np.uint32]:
    """(N,) bits of the SECTORS in which triangles are seen from anywhere in a square around `middle`."""
    away = corners[..., :2] - np.array(middle)
    distance = np.hypot(away[..., 0], away[..., 1])
    angle = np.arctan2(away[..., 1], away[..., 0])
    first = angle[:, :1]
    turned = (angle - first + math.pi) % (2 * math.pi) - math.pi
    # the nearest point of the triangle may be nearer than its corners
    slack = np.arcsin(np.clip(0.71 * CELL_M / np.maximum(distance, 1e-6), 0.0, 1.0)).max(axis=1)
    low, high = turned.min(axis=1) + first[:, 0] - slack, turned.max(axis=1) + first[:, 0] + slack
    wide = (turned.max(axis=1) - turned.min(axis=1) > 0.9 * math.pi) | (distance.min(axis=1) < 1.5 * CELL_M)
    per = SECTORS / (2 * math.pi)
    start, end = np.floor(low * per).astype(int), np.floor(high * per).astype(int)
    bits = np.zeros(len(corners), np.uint32)
    for step in range(SECTORS):
        sector = start + step
        inside = (sector <= end) | wide
        bits |= np.where(inside, np.uint32(1) << (sector % SECTORS).astype(np.uint32), np.uint32(0))
    return bits


def rasteriser_textures(textures: Textures) -> tuple[object, ...]:
    """What render_open_frames takes of them."""
    return textures.pairs, textures.starts, textures.sizes, textures.alpha, textures.alphas
