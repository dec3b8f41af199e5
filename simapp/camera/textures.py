"""The grey textures of a world, in smaller and smaller pictures, as the ground's baker and the rasteriser take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from contract.errors import InputError
from contract.state import FloatArray, IntArray, UInt8Array
from simapp.camera.lighting import alpha_of, grey_of
from simapp.worlds.form import World

LEVELS = 12
LARGEST_PX = 2048
"""Width and height of a texture at most; a larger one is halved."""


@dataclass(frozen=True, slots=True)
class Textures:
    """Grey textures, each a power of two wide and high, with LEVELS smaller pictures; they repeat.

    pairs   flat uint16: low byte the texel, high byte the one below it, so that the four bytes at an index are a 2x2
            neighbourhood; each row ends with its first texel again; the last two are a white texel, for triangles
            without a picture
    starts  (T, LEVELS) index of each picture's first pair
    sizes   (T, LEVELS, 2) log2 of height and width
    alpha   flat uint8 of the textures with holes, in the order of `pairs`' first pictures without the repeated column
    alphas  (T,) where a texture's alpha begins, or -1
    means   (T, 3) mean RGB 0..1
    """

    pairs: NDArray[np.uint16]
    starts: IntArray
    sizes: IntArray
    alpha: UInt8Array
    alphas: IntArray
    means: FloatArray

    @property
    def memory_bytes(self) -> int:
        return self.pairs.nbytes + self.alpha.nbytes


def textures_of(world: World, used: Sequence[bool], has_holes: Sequence[bool], coarsest: FloatArray) -> Textures:
    """Textures of the world's pictures that are `used` (P,), each with its alpha where `has_holes` (P,).

    coarsest (P,)  how many times a texture may be halved without anyone seeing it
    A picture that cannot be read is white, as in Gazebo: the importer told of it.
    """
    parts: list[NDArray[np.uint16]] = []
    alphas: list[UInt8Array] = []
    count = max(len(world.pictures), 1)
    starts, sizes = np.zeros((count, LEVELS), np.int64), np.zeros((count, LEVELS, 2), np.int64)
    places, means = np.full(count, -1, np.int64), np.ones((count, 3))
    place, alpha_place = 0, 0
    for p, picture in enumerate(world.pictures):
        if not used[p]:
            continue
        try:
            pixels = picture.pixels()
        except InputError:
            pixels = np.full((1, 1, 3), 255, np.uint8)
        means[p] = pixels[..., :3].reshape(-1, 3).mean(axis=0) / 255.0
        grey, alpha = grey_of(pixels), alpha_of(pixels)
        height, width = (_power_of_two(size) for size in grey.shape)
        if (height, width) != grey.shape:
            grey = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR), np.float32)
            alpha = np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BILINEAR))
        halvings = int(coarsest[p])
        while (halvings > 0 or max(grey.shape) > LARGEST_PX) and min(grey.shape) > 1:
            grey, alpha, halvings = _halved(grey), _halved(alpha.astype(np.float32)).astype(np.uint8), halvings - 1
        if has_holes[p]:
            places[p] = alpha_place
            alphas.append(alpha.ravel())
            alpha_place += alpha.size
        for level in range(LEVELS):
            if level and max(grey.shape) > 1:
                grey = _halved(grey)
            starts[p, level] = place
            sizes[p, level] = grey.shape[0].bit_length() - 1, grey.shape[1].bit_length() - 1
            parts.append(_paired(np.rint(grey).astype(np.uint8)))
            place += parts[-1].size
    return Textures(
        pairs=np.concatenate([*parts, np.full(2, 0xFFFF, np.uint16)]),
        starts=starts,
        sizes=sizes,
        alpha=np.concatenate([*alphas, np.zeros(1, np.uint8)]),
        alphas=places,
        means=means,
    )


def _power_of_two(size: int) -> int:
    """The nearest one, by ratio."""
    return 1 << max(round(float(np.log2(size))), 0)


def _halved(grey: FloatArray) -> FloatArray:
    """Means of 2x2 texels; of two where there is one row or column only."""
    if grey.shape[0] == 1:
        return np.asarray(grey.reshape(1, -1, 2).mean(axis=2, dtype=np.float32))
    if grey.shape[1] == 1:
        return np.asarray(grey.reshape(-1, 2, 1).mean(axis=1, dtype=np.float32))
    height, width = grey.shape
    return np.asarray(grey.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3), dtype=np.float32))


def _paired(grey: UInt8Array) -> NDArray[np.uint16]:
    wide = np.column_stack([grey, grey[:, 0]]).astype(np.uint16)
    return (wide + (np.roll(wide, -1, axis=0) << np.uint16(8))).ravel()


@njit(cache=True, nogil=True, error_model="numpy")
def texel_at(pairs, start, log_height, log_width, u, v):  # type: ignore[no-untyped-def]
    """Grey of one picture of a texture at (u, v) in periods, bilinear, 0..255."""
    height, width = 1 << log_height, 1 << log_width
    x, y = (u - np.floor(u)) * width + (width - 0.5), (v - np.floor(v)) * height + (height - 0.5)
    column, row = int(x), int(y)
    right, down = x - column, y - row
    column, row = column & (width - 1), row & (height - 1)
    at = start + row * (width + 1) + column
    one, two = np.int64(pairs[at]), np.int64(pairs[at + 1])
    left = (one & 255) + ((one >> 8) - (one & 255)) * down
    other = (two & 255) + ((two >> 8) - (two & 255)) * down
    return left + (other - left) * right


@njit(cache=True, nogil=True, error_model="numpy")
def alpha_at(alpha, start, log_height, log_width, u, v):  # type: ignore[no-untyped-def]
    """Alpha 0..255 of the texture's nearest texel at (u, v) in periods."""
    height, width = 1 << log_height, 1 << log_width
    column, row = int((u - np.floor(u)) * width), int((v - np.floor(v)) * height)
    return alpha[start + (row & (height - 1)) * width + (column & (width - 1))]
