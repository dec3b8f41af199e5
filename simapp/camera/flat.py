"""The ground of an imported world: all that lies flat, baked from above into a pyramid that is fine along the road.

Each level is baked by itself from the triangles, in blocks, and only where a lens can look at it: level after level
reaches twice as far from the road. What is not baked is never touched, and the system gives no memory for it.
"""

import contextlib
import math
import mmap
from dataclasses import dataclass

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

from contract.state import FloatArray, IntArray
from simapp.camera.kernel import STRIP, STRIP_WIDTH
from simapp.camera.lighting import Surfaces, light_at
from simapp.camera.pyramid import Pyramid
from simapp.camera.textures import Textures, alpha_at, texel_at
from simapp.road import Track
from simapp.worlds.form import World

HIGHEST_M, LOWEST_M = 0.004, -0.08
"""A triangle between these heights that is nearly level is ground. At 4 mm, half a pixel one metre ahead."""
UPRIGHT = 0.985
"""Least share of a flat triangle's normal that points up or down."""

TEXELS_M = (0.002, 0.0025, 0.003, 0.004)
"""Sizes of the finest texels, the first one that fits into MAX_TEXELS of the finest level is taken."""
MAX_TEXELS = 36_000_000
LEVELS = 10
DENSE_BYTES = 130_000_000
"""As many of the coarser levels as fit into this lie in huge pages, whole: looking them up is a third faster."""
BLOCK = 128
"""Texels along a block's side."""
LENS_M = 0.45
"""How far beyond the road's edge a lens sees the finest level; twice as far at the next one, and so on."""
FAR_M = 150.0
"""No ground is baked further than this from the road's bounds."""

FAN = 1.3
"""How much further than straight ahead the frame's corners see, with the widest field of view."""


@dataclass(frozen=True, slots=True)
class Reach:
    """On a grid of cell_m from origin_m: `level` (rows, columns) int64, the finest that a lens there may look at."""

    origin_m: tuple[float, float]
    cell_m: float
    level: IntArray


def flat_triangles(world: World) -> NDArray[np.bool_]:
    """(N,) which triangles are ground."""
    corners = world.triangles.astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1)
    z = corners[..., 2]
    level = np.abs(normal[:, 2]) >= UPRIGHT * length
    return np.asarray(level & (length > 0.0) & (z.max(axis=1) <= HIGHEST_M) & (z.min(axis=1) >= LOWEST_M))


def road_height_m(world: World, flat: NDArray[np.bool_], track: Track) -> float:
    """Height of what lies uppermost along the road's edges, where the lines are: the camera's ground is level there."""
    pieces = world.triangles[flat].astype(np.float64)
    if len(pieces) == 0:
        return 0.0
    along = np.linspace(0.0, track.length_m, 60, endpoint=False)
    half = 0.5 * float(np.median(track.widths_m))
    heights = []
    for offset in (-1.04, -0.96, 0.96, 1.04):
        pose = track.pose_at(along, np.full(along.shape, offset * half))
        for x, y in zip(pose.x_m, pose.y_m, strict=True):
            heights.append(_highest(pieces, float(x), float(y)))
    found = np.array(heights)
    found = found[np.isfinite(found)]
    return float(np.median(found)) if found.size else 0.0


def _highest(pieces: FloatArray, x: float, y: float) -> float:
    """Height of the highest triangle (N, 3, 3) over (x, y); -inf where there is none."""
    a, b, c = pieces[:, 0], pieces[:, 1], pieces[:, 2]

    def side(p: FloatArray, q: FloatArray) -> FloatArray:
        return np.asarray((q[:, 0] - p[:, 0]) * (y - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x - p[:, 0]))

    one, two, three = side(a, b), side(b, c), side(c, a)
    inside = ((one >= 0) & (two >= 0) & (three >= 0)) | ((one <= 0) & (two <= 0) & (three <= 0))
    return float(pieces[inside, :, 2].mean(axis=1).max(initial=-np.inf))


def bake_ground(
    world: World, flat: NDArray[np.bool_], textures: Textures, surfaces: Surfaces, track: Track, empty: float
) -> tuple[Pyramid, Reach]:
    """The pyramid of the flat triangles, `empty` where there are none, and where each level may be looked at."""
    road = _Distance.of(track)
    area = road.area_m2(LENS_M + _seen_m(TEXELS_M[0]))
    texel_m = next((t for t in TEXELS_M if area / t**2 <= MAX_TEXELS), TEXELS_M[-1])
    pieces = _Pieces.of(world, flat, textures, surfaces)
    texels = texel_m * np.exp2(np.arange(LEVELS))
    reaches = LENS_M * np.exp2(np.arange(LEVELS)) + np.array([_seen_m(t) for t in texels])
    origins, rows, columns = np.zeros((LEVELS, 2)), np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64)
    xmin, ymin, xmax, ymax = track.bounds
    for level, (texel, reach) in enumerate(zip(texels, reaches, strict=True)):
        block = texel * BLOCK
        far = min(reach, FAR_M)
        first = [math.floor((value - far) / block) for value in (xmin, ymin)]
        last = [math.ceil((value + far) / block) for value in (xmax, ymax)]
        origins[level] = first[0] * block, first[1] * block
        columns[level], rows[level] = ((last[i] - first[i]) * BLOCK for i in range(2))
    sizes = columns // STRIP * rows * STRIP_WIDTH
    starts = np.concatenate([[0], np.cumsum(sizes)])
    if starts[-1] >= 2**31:
        raise ValueError(f"the ground of {world.name} is too large: {starts[-1]} texels")
    # pages that are never written take no memory; NumPy would ask for huge ones everywhere
    memory = _pages(int(starts[-1]) * 2)
    pairs = np.frombuffer(memory, np.uint16)
    dense = next((level for level in range(LEVELS) if 2 * (starts[-1] - starts[level]) <= DENSE_BYTES), LEVELS)
    if dense < LEVELS and hasattr(mmap, "MADV_HUGEPAGE"):
        begin = int(2 * starts[dense]) // mmap.PAGESIZE * mmap.PAGESIZE
        with contextlib.suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE, begin)
    baked = 2 * int(starts[-1] - starts[dense])
    for level, (texel, reach) in enumerate(zip(texels, reaches, strict=True)):
        block = texel * BLOCK
        centres = [origins[level, i] + (np.arange((columns, rows)[i][level] // BLOCK) + 0.5) * block for i in range(2)]
        near = road.at(*np.meshgrid(*centres)) <= reach + block
        wanted = np.argwhere(near)
        baked += len(wanted) * BLOCK // STRIP * STRIP_WIDTH * BLOCK * 2 * (level < dense)
        boxes = np.column_stack([origins[level, 0] + wanted[:, 1] * block, origins[level, 1] + wanted[:, 0] * block])
        of_block, first_of = pieces.in_boxes(boxes, block + texel)
        _bake_level(
            pairs[starts[level] : starts[level + 1]],
            rows[level],
            wanted,
            boxes,
            of_block,
            first_of,
            float(texel),
            2 if level < 3 else 4,
            float(empty),
            pieces.arrays(world, texel, boxes, block),
            (textures.pairs, textures.starts, textures.sizes, textures.alpha, textures.alphas),
        )
    pyramid = Pyramid(pairs, starts[:-1].astype(np.int64), rows, columns, texels, origins_m=origins, resident=baked)
    return pyramid, road.reach()


def _pages(size: int) -> mmap.mmap:
    """Memory of this process alone: what may be shared is given huge pages on few systems."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def _seen_m(texel_m: float) -> float:
    """How far ahead a level of such texels is looked at: a pixel is 1.8 texels wide there."""
    return FAN * 140.0 * 1.8 * texel_m


@dataclass(frozen=True, slots=True)
class _Distance:
    """Distance (rows, columns) of cells from the road, on a grid of CELL from the origin."""

    origin_m: tuple[float, float]
    metres: FloatArray

    CELL = 0.1
    AROUND = 12.0

    @classmethod
    def of(cls, track: Track) -> "_Distance":
        xmin, ymin, xmax, ymax = track.bounds
        origin = (xmin - cls.AROUND, ymin - cls.AROUND)
        columns = math.ceil((xmax - xmin + 2 * cls.AROUND) / cls.CELL)
        rows = math.ceil((ymax - ymin + 2 * cls.AROUND) / cls.CELL)
        # points across the whole road, near enough to each other
        along = np.arange(0.0, track.length_m, 0.1)
        points = []
        for share in np.linspace(-0.5, 0.5, 9):
            pose = track.pose_at(along, share * float(track.widths_m.max()))
            points.append(np.column_stack([pose.x_m, pose.y_m]))
        from scipy.spatial import cKDTree  # takes long to import, and only worlds need it

        tree = cKDTree(np.concatenate(points))
        x = origin[0] + (np.arange(columns) + 0.5) * cls.CELL
        y = origin[1] + (np.arange(rows) + 0.5) * cls.CELL
        metres, _ = tree.query(np.stack(np.meshgrid(x, y), axis=-1))
        return cls(origin, metres)

    def at(self, x_m: FloatArray, y_m: FloatArray) -> FloatArray:
        """Metres from the road of any points, less than true by a cell at most."""
        u, v = (x_m - self.origin_m[0]) / self.CELL, (y_m - self.origin_m[1]) / self.CELL
        column = np.clip(u, 0, self.metres.shape[1] - 1).astype(int)
        row = np.clip(v, 0, self.metres.shape[0] - 1).astype(int)
        outside = np.hypot(u - np.clip(u, 0, self.metres.shape[1]), v - np.clip(v, 0, self.metres.shape[0]))
        inside = self.metres[row, column]
        return np.asarray(np.where(outside > 0, np.hypot(inside, outside * self.CELL), inside))

    def area_m2(self, away_m: float) -> float:
        return float((self.metres <= away_m).sum()) * self.CELL**2

    def reach(self) -> Reach:
        level = np.ceil(np.log2(np.maximum(self.metres, 1e-9) / LENS_M)).clip(0, LEVELS - 1)
        return Reach(self.origin_m, self.CELL, level.astype(np.int64))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Flat triangles from the lowest to the highest: corners (N, 3, 2), plane of u and of v (N, 2, 3), material."""

    corners: FloatArray
    planes: FloatArray
    material: NDArray[np.int32]
    picture: IntArray
    slopes: FloatArray
    surfaces: Surfaces
    lights: tuple[object, ...]
    cutout: NDArray[np.bool_]
    up: FloatArray

    @classmethod
    def of(cls, world: World, flat: NDArray[np.bool_], textures: Textures, surfaces: Surfaces) -> "_Pieces":
        shown = flat & (np.array([m.opacity for m in world.materials] or [1.0])[world.material] >= 0.5)
        chosen = np.flatnonzero(shown)
        # higher ones over lower ones; among equals the later ones
        order = chosen[np.argsort(world.triangles[chosen, :, 2].mean(axis=1).round(5), kind="stable")]
        corners = world.triangles[order, :, :2].astype(np.float64)
        uv = world.uv[order].astype(np.float64)
        planes = _planes_of(np.concatenate([corners, np.ones((len(order), 3, 1))], axis=2), uv)
        material = world.material[order]
        picture = np.array([m.picture for m in world.materials] or [-1], np.int64)[material]
        size = np.exp2(textures.sizes[np.maximum(picture, 0), 0])[:, ::-1]  # width, height
        slopes = np.linalg.norm(planes[:, :, :2], axis=2) * size
        cutout = np.array([m.is_cutout for m in world.materials] or [False])[material]
        up = np.where(world.normals[order].mean(axis=1)[:, 2] < 0.0, -1.0, 1.0)
        return cls(corners, planes, material, picture, slopes, surfaces, world.lights, cutout, up)

    def in_boxes(self, boxes: FloatArray, side: float) -> tuple[IntArray, IntArray]:
        """Pieces whose bounds meet each box (B, 2) of that side: their indices, and (B + 1,) where each box's begin."""
        bounds = shapely.box(*self.corners.min(axis=1).T, *self.corners.max(axis=1).T)
        box, piece = shapely.STRtree(np.asarray(bounds)).query(shapely.box(*boxes.T, *(boxes + side).T))
        first_of = np.concatenate([[0], np.cumsum(np.bincount(box, minlength=len(boxes)))])
        return piece[np.lexsort((piece, box))], first_of

    def arrays(self, world: World, texel_m: float, boxes: FloatArray, side: float) -> tuple[object, ...]:
        """What the baker takes: corners, planes, picture, level of the texture, cut-out, and the materials' light."""
        longest = np.sqrt(np.maximum(self.slopes[:, 0] * self.slopes[:, 1], 1e-12)) * texel_m
        longest = np.maximum(longest, self.slopes.max(axis=1, initial=0.0) * texel_m / 4)
        finest = np.log2(np.maximum(longest * 0.8, 1e-9)).clip(0, 11)
        corner = np.array([[0.0, 0.0], [side, 0.0], [0.0, side], [side, side]])
        points = np.concatenate([boxes[:, None] + corner, np.zeros((len(boxes), 4, 1))], axis=2)
        kinds = np.arange(len(world.materials), dtype=np.int32)
        light = np.stack([light_at(world.lights, points, np.array([0.0, 0.0, s])) for s in (1.0, -1.0)])
        factors = self.surfaces.factors(kinds[:, None, None, None], light[None])  # (materials, 2, boxes, 4)
        return (
            self.corners,
            self.planes,
            self.picture,
            np.rint(finest).astype(np.int64),
            self.cutout,
            self.material.astype(np.int64),
            (self.up < 0).astype(np.int64),
            np.ascontiguousarray(factors.transpose(2, 0, 1, 3)),
        )


def _planes_of(points: FloatArray, values: FloatArray) -> FloatArray:
    """Linear functions (N, C, 3) with `values` (N, 3, C) at corners (x, y, 1) of triangles (N, 3, 3); constant where
    a triangle has no area."""
    good = np.abs(np.linalg.det(points)) > 1e-14
    out = np.zeros((len(points), values.shape[2], 3))
    if good.any():
        out[good] = np.linalg.solve(points[good], values[good]).transpose(0, 2, 1)
    out[~good, :, -1] = values[~good].mean(axis=1)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _bake_level(  # type: ignore[no-untyped-def]
    pairs, level_rows, wanted, boxes, of_block, first_of, texel, fine, empty, pieces, textures
):
    """Bake blocks `wanted` (B, 2) row, column of a level, whose south-west corners are boxes (B, 2) in metres.

    A texel is the mean of fine x fine points; where all of them lie on one triangle, its texture in the middle.
    """
    corners, planes, picture, finest, cutout, material, under, factors = pieces
    flat, starts, sizes, alpha, alphas = textures
    side = BLOCK + 1  # a row and a column of the next blocks, which the layout repeats
    size = side * fine
    names = np.empty((size, size), np.int32)
    grey = np.empty((side, side), np.uint8)
    step, half = texel / fine, 0.5 * texel
    strip_length = level_rows * STRIP_WIDTH
    for b in range(wanted.shape[0]):
        x0, y0 = boxes[b]
        names[:] = -1
        for i in range(first_of[b], first_of[b + 1]):
            n = of_block[i]
            _fill(corners[n], planes[n], picture[n], cutout[n], sizes, alpha, alphas, x0, y0, step, names, n)
        for r in range(side):
            y = y0 + (r + 0.5) * texel
            share_y = (r + 0.5) / BLOCK
            for c in range(side):
                x = x0 + (c + 0.5) * texel
                share_x = (c + 0.5) / BLOCK
                only = names[r * fine, c * fine]
                is_one = True
                for i in range(fine):
                    for j in range(fine):
                        is_one = is_one and names[r * fine + i, c * fine + j] == only
                parts, total = 1 if is_one else fine, 0.0
                for i in range(parts):
                    for j in range(parts):
                        n = names[r * fine + i, c * fine + j]
                        u, v = (x, y) if is_one else (x + (j + 0.5) * step - half, y + (i + 0.5) * step - half)
                        if n < 0:
                            total += empty
                            continue
                        light = factors[b, material[n], under[n]]
                        total += _shade(n, u, v, planes, picture, finest, flat, starts, sizes, light, share_x, share_y)
                total /= parts * parts
                grey[r, c] = np.uint8(total + 0.5)
        strip = wanted[b, 1] * (BLOCK // STRIP)
        for s in range(BLOCK // STRIP):
            for r in range(BLOCK):
                at = (strip + s) * strip_length + (wanted[b, 0] * BLOCK + r) * STRIP_WIDTH
                for c in range(STRIP_WIDTH):
                    one, north = np.int64(grey[r, s * STRIP + c]), np.int64(grey[r + 1, s * STRIP + c])
                    pairs[at + c] = np.uint16(one + 256 * north)


@njit(cache=True, nogil=True, error_model="numpy")
def _shade(n, x, y, planes, picture, finest, flat, starts, sizes, light, share_x, share_y):  # type: ignore[no-untyped-def]
    """Grey 0..255 of piece n at (x, y)."""
    texel = 255.0
    p = picture[n]
    if p >= 0:
        u = planes[n, 0, 0] * x + planes[n, 0, 1] * y + planes[n, 0, 2]
        v = planes[n, 1, 0] * x + planes[n, 1, 1] * y + planes[n, 1, 2]
        level = finest[n]
        texel = texel_at(flat, starts[p, level], sizes[p, level, 0], sizes[p, level, 1], u, v)
        texel -= min(level, 3) * 0.5  # Ogre rounds down with each smaller picture of a texture
    south = light[0] + (light[1] - light[0]) * share_x
    north = light[2] + (light[3] - light[2]) * share_x
    return min(max(texel * (south + (north - south) * share_y), 0.0), 255.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(corners, planes, picture, cutout, sizes, alpha, alphas, x0, y0, step, names, n):  # type: ignore[no-untyped-def]
    """Write n where the middle of a square of `step` lies in the triangle."""
    size = names.shape[0]
    low = min(corners[0, 1], corners[1, 1], corners[2, 1])
    high = max(corners[0, 1], corners[1, 1], corners[2, 1])
    begin = max(math.ceil((low - y0) / step - 0.5), 0)
    end = min(math.ceil((high - y0) / step - 0.5), size)
    for r in range(begin, end):
        y = y0 + (r + 0.5) * step
        left, right = np.inf, -np.inf
        for i in range(3):
            ax, ay = corners[i]
            bx, by = corners[(i + 1) % 3]
            if (ay <= y) != (by <= y):
                if ay > by:  # the same numbers whichever triangle an edge belongs to: no cracks
                    ax, ay, bx, by = bx, by, ax, ay
                x = ax + (y - ay) * ((bx - ax) / (by - ay))
                left, right = min(left, x), max(right, x)
        if left >= right:
            continue
        first = max(math.ceil(min(max((left - x0) / step - 0.5, -1.0), size + 1.0)), 0)
        last = min(math.ceil(min(max((right - x0) / step - 0.5, -1.0), size + 1.0)), size)
        if cutout and picture >= 0 and alphas[picture] >= 0:
            for c in range(first, last):
                x = x0 + (c + 0.5) * step
                u = planes[0, 0] * x + planes[0, 1] * y + planes[0, 2]
                v = planes[1, 0] * x + planes[1, 1] * y + planes[1, 2]
                if alpha_at(alpha, alphas[picture], sizes[picture, 0, 0], sizes[picture, 0, 1], u, v) >= 128:
                    names[r, c] = n
        else:
            for c in range(first, last):
                names[r, c] = n
