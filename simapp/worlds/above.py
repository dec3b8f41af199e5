"""An imported world from straight above, in colour: for maps, and for the ground of videos."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.state import BoolArray, FloatArray, UInt8Array
from simapp.worlds.form import World

FLAT_M = 0.03
"""What is no higher than this above the field is ground: roads, lines, kerbs."""
UPRIGHT = 0.9
"""Of a unit normal's z: what faces up more than that can be ground."""
_STRIP_PX = 250_000
"""Pixels that are worked on at once, so that a field needs no more memory than a line."""


def is_ground(world: World) -> BoolArray:
    """(N,) the triangles that a car could drive over: level, face up, and near to zero height."""
    corners = world.triangles.astype(np.float64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sizes = np.linalg.norm(faces, axis=1)
    level = faces[:, 2] > UPRIGHT * sizes
    return np.asarray(level & (np.abs(corners[:, :, 2]).max(axis=1) < FLAT_M))


def from_above(
    world: World,
    chosen: BoolArray,
    origin_m: tuple[float, float],
    texel_m: float,
    shape: tuple[int, int],
    background_rgb: FloatArray,
) -> UInt8Array:
    """A picture (rows, columns, 3) of the chosen triangles (N,), without light; row 0 is the southernmost.

    origin_m  south-west corner      texel_m  width of a pixel      background_rgb  (3,) 0..255, where nothing is
    """
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = np.rint(background_rgb).astype(np.uint8)
    heights = np.full(shape, -np.inf, np.float32)
    corners = world.triangles.astype(np.float64)
    places = (corners[:, :, :2] - np.asarray(origin_m)) / texel_m - 0.5  # pixel (r, c) has its middle at (c, r)
    spans = _twice_area(places)
    low, high = np.ceil(places.min(axis=1)), np.floor(places.max(axis=1))
    # counter-clockwise from above faces up, and covers a pixel's middle
    seen = chosen & (spans > 0.0) & (high >= low).all(axis=1) & (high >= 0).all(axis=1)
    seen &= (low[:, 0] < shape[1]) & (low[:, 1] < shape[0])
    for index in np.unique(world.material[seen]).tolist():
        material = world.materials[index]
        mine = np.flatnonzero(seen & (world.material == index))
        pictures = _smaller(world.pictures[material.picture].pixels()) if material.picture >= 0 else []
        plain = np.rint(255.0 * np.asarray(material.diffuse)).astype(np.uint8)
        levels = _levels(world, mine, spans[mine], pictures)
        for k, level in zip(mine.tolist(), levels.tolist(), strict=True):
            texture = pictures[level] if pictures else None
            _fill(picture, heights, places[k], corners[k, :, 2], world.uv[k], texture, plain)
    return picture


def _twice_area(corners: FloatArray) -> FloatArray:
    """(N,) of triangles (N, 3, 2), positive when counter-clockwise."""
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])


def _smaller(pixels: UInt8Array) -> list[UInt8Array]:
    """The picture, and each time half of it."""
    found = [pixels[..., :3]]
    while min(found[-1].shape[:2]) > 1:
        height, width = found[-1].shape[:2]
        half = Image.fromarray(np.ascontiguousarray(found[-1])).reduce(2)
        found.append(np.asarray(half)[: max(height // 2, 1), : max(width // 2, 1)])
    return found


def _levels(world: World, triangles: NDArray[np.intp], spans_px: FloatArray, pictures: list[UInt8Array]) -> FloatArray:
    """Which of the smaller pictures has about one pixel of its own for each of ours."""
    if not pictures:
        return np.zeros(len(triangles), np.int64)
    height, width = pictures[0].shape[:2]
    spans = np.abs(_twice_area(world.uv[triangles].astype(np.float64))) * width * height
    steps = np.log2(np.sqrt(np.maximum(spans, 1e-12) / spans_px))
    return np.asarray(np.clip(np.rint(steps), 0, len(pictures) - 1).astype(np.int64))


def _fill(
    picture: UInt8Array,
    heights: NDArray[np.float32],
    places: FloatArray,
    z_m: FloatArray,
    uv: NDArray[np.float32],
    texture: UInt8Array | None,
    plain: UInt8Array,
) -> None:
    """Draw a triangle (3, 2) where it is higher than what was there."""
    (ax, ay), (bx, by), (cx, cy) = places.tolist()
    left, right = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(max(ax, bx, cx)), picture.shape[1] - 1)
    bottom, top = max(int(np.ceil(min(ay, by, cy))), 0), min(int(max(ay, by, cy)), picture.shape[0] - 1)
    whole = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    x = np.arange(left, right + 1, dtype=np.float64)
    rows = max(_STRIP_PX // max(x.size, 1), 1)
    for first in range(bottom, top + 1, rows):
        y = np.arange(first, min(first + rows, top + 1), dtype=np.float64)[:, np.newaxis]
        one = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / whole
        two = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / whole
        height = (z_m[0] + one * (z_m[1] - z_m[0]) + two * (z_m[2] - z_m[0])).astype(np.float32)
        there = heights[first : first + len(y), left : right + 1]
        drawn = (one >= -1e-9) & (two >= -1e-9) & (one + two <= 1.0 + 1e-9) & (height > there)
        if not drawn.any():
            continue
        there[drawn] = height[drawn]
        spots = picture[first : first + len(y), left : right + 1]
        if texture is None:
            spots[drawn] = plain
            continue
        u, v = (uv[0, i] + one[drawn] * (uv[1, i] - uv[0, i]) + two[drawn] * (uv[2, i] - uv[0, i]) for i in range(2))
        rows_of, columns_of = texture.shape[:2]
        spots[drawn] = texture[(v * rows_of).astype(np.int64) % rows_of, (u * columns_of).astype(np.int64) % columns_of]
