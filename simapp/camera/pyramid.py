"""A mip pyramid of the ground, laid out so that one unaligned four-byte load brings all that bilinear lookup needs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.state import FloatArray, IntArray, UInt8Array
from simapp.camera.kernel import STRIP, STRIP_WIDTH, pair_up


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Levels of a grey picture, each half the size of the one before.

    pairs      flat uint16, level after level: low byte the texel, high byte the one a row further north, so that the
               four bytes at an index are a 2x2 neighbourhood
    starts     (L,) int64 index of each level's first pair     rows, columns   (L,) int64 texels
    texels_m   (L,) float64 size of a level's texels        origins_m   (L, 2) x, y where its first texel begins
    resident   bytes of `pairs` that take memory

    Texel (row, column) of a level is at start + column // STRIP * rows * STRIP_WIDTH + row * STRIP_WIDTH
    + column % STRIP.
    """

    pairs: NDArray[np.uint16]
    starts: IntArray
    rows: IntArray
    columns: IntArray
    texels_m: FloatArray
    origins_m: FloatArray
    resident: int

    @classmethod
    def of(cls, grey: UInt8Array, texel_m: float, levels: int, origin_m: tuple[float, float] = (0.0, 0.0)) -> "Pyramid":
        """From the finest level, whose first texel begins at origin_m.

        Raises ValueError for a picture too small to halve `levels - 1` times."""
        if min(grey.shape) >> (levels - 1) < 2:
            raise ValueError(f"a picture of {grey.shape} texels has no {levels} levels")
        pictures = [grey]
        while len(pictures) < levels:
            pictures.append(halved(pictures[-1]))
        sizes = [-(-picture.shape[1] // STRIP) * picture.shape[0] * STRIP_WIDTH for picture in pictures]
        starts = np.cumsum([0, *sizes])
        pairs = np.empty(starts[-1], np.uint16)
        for picture, start, size in zip(pictures, starts[:-1], sizes, strict=True):
            pair_up(picture, pairs[start : start + size])
        return cls(
            pairs=pairs,
            starts=starts[:-1].astype(np.int64),
            rows=np.array([picture.shape[0] for picture in pictures], np.int64),
            columns=np.array([picture.shape[1] for picture in pictures], np.int64),
            texels_m=texel_m * np.exp2(np.arange(levels, dtype=np.float64)),
            origins_m=np.tile(np.array(origin_m), (levels, 1)),
            resident=pairs.nbytes,
        )

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the frame loop takes."""
        return self.pairs, self.starts, self.rows, self.columns, 1.0 / self.texels_m, self.origins_m

    def texel(self, level: int, x_m: FloatArray, y_m: FloatArray) -> FloatArray:
        """Greys (...) of a level's texels at points (...); those off the map are its rim's."""
        column = np.floor((x_m - self.origins_m[level, 0]) / self.texels_m[level]).astype(int)
        row = np.floor((y_m - self.origins_m[level, 1]) / self.texels_m[level]).astype(int)
        column, row = column.clip(0, self.columns[level] - 1), row.clip(0, self.rows[level] - 1)
        strip = column // STRIP * self.rows[level] * STRIP_WIDTH
        index = self.starts[level] + strip + row * STRIP_WIDTH + column % STRIP
        return np.asarray(self.pairs[index] & 255, np.float64)


def halved(grey: UInt8Array) -> UInt8Array:
    """Means of 2x2 texels; an odd last row or column is dropped, since the room's walls hide the map's rim."""
    rows, columns = (size // 2 * 2 for size in grey.shape)
    return np.array(Image.fromarray(grey[:rows, :columns]).reduce(2))
