"""What the world looks like: walls, colours and textures, all measured in frames of the real simulator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.state import FloatArray

GREY = np.array([0.2989, 0.587, 0.114])
"""RGB -> grey, as the contract's network input."""

WALL_MARGIN_M = 0.88
"""From the road's bounds to the walls of the room."""
WALL_HEIGHT_M = 1.03

FIELD_RGB = np.array([106.0, 151.0, 116.0])
ASPHALT_RGB = np.array([41.5, 55.5, 72.5])
LINE_RGB = np.array([213.0, 212.0, 208.0])
DASH_RGB = np.array([215.0, 129.0, 1.0])
SKY_RGB = np.array([178.0, 178.0, 178.0])
WALLS_RGB = np.array([[12.0, 23.0, 27.0], [8.0, 15.0, 17.0], [14.0, 28.0, 32.0], [1.0, 2.0, 4.0]])
"""East, north, west, south."""

BOX_RGB = np.array([168.0, 132.0, 92.0])
"""Cardboard."""
CHASSIS_RGB = np.array([26.0, 26.0, 28.0])
MAST_RGB = np.array([60.0, 60.0, 64.0])
CAR_RGB = {
    "Black": np.array([48.0, 48.0, 52.0]),
    "Grey": np.array([130.0, 130.0, 132.0]),
    "Blue": np.array([45.0, 95.0, 200.0]),
    "Red": np.array([205.0, 45.0, 40.0]),
    "Orange": np.array([240.0, 135.0, 30.0]),
    "White": np.array([235.0, 235.0, 232.0]),
    "Purple": np.array([118.0, 60.0, 170.0]),
}
"""The shells of contract.vehicle.CAR_COLORS. Ours, like the box: no reference frame shows an object."""

TILE_MM = 600
"""Textures repeat after this many millimetres; one cell is one millimetre."""


@dataclass(frozen=True, slots=True)
class SurfaceTextures:
    """Brightness factors around 1, each (TILE_MM, TILE_MM) float32, indexed [y, x] in millimetres of the world."""

    field: NDArray[np.float32]
    asphalt: NDArray[np.float32]
    line: NDArray[np.float32]


def textures() -> SurfaceTextures:
    """The same textures every time: a world is a function of its track alone."""
    rng = np.random.Generator(np.random.PCG64(20180101))
    clouds = 0.6 * _waves(rng, 90.0) + 0.4 * _waves(rng, 25.0)
    return SurfaceTextures(
        field=_factor(0.8 * _waves(rng, 3.5) + 0.6 * clouds, 0.035),
        asphalt=_factor(smoothed(_fibres(rng), 0.7), 0.125),
        line=_factor(_waves(rng, 3.2), 0.055),
    )


def _factor(pattern: FloatArray, deviation: float) -> NDArray[np.float32]:
    centred = pattern - pattern.mean()
    limited = np.clip(centred / centred.std(), -2.3, 2.3)
    factor = 1.0 + deviation * (limited - limited.mean()) / limited.std()
    return np.asarray(factor, dtype=np.float32)


def _waves(rng: np.random.Generator, size_mm: float) -> FloatArray:
    """Seamless noise of unit deviation with blobs of about size_mm."""
    pattern = smoothed(rng.standard_normal((TILE_MM, TILE_MM)), 0.35 * size_mm)
    return np.asarray(pattern / pattern.std())


def smoothed(pattern: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur that wraps around; `sigma` in cells of the pattern."""
    fy, fx = np.fft.fftfreq(len(pattern))[:, None], np.fft.rfftfreq(pattern.shape[1])[None, :]
    spectrum = np.fft.rfft2(pattern) * np.exp(-2.0 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    return np.asarray(np.fft.irfft2(spectrum, s=pattern.shape))


def _fibres(rng: np.random.Generator) -> FloatArray:
    """Seamless short strokes in every direction, as pressed fibre board."""
    strokes, points = 26_000, 20
    middle = rng.uniform(0.0, TILE_MM, (2, strokes, 1))
    angle = rng.uniform(0.0, np.pi, (strokes, 1))
    along = np.linspace(-0.5, 0.5, points) * rng.uniform(5.0, 11.0, (strokes, 1))
    tone = np.broadcast_to(rng.normal(1.0, 0.5, (strokes, 1)), along.shape)
    x, y = middle[0] + along * np.cos(angle), middle[1] + along * np.sin(angle)
    tile = np.zeros(TILE_MM * TILE_MM)
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    for right in (0, 1):
        for down in (0, 1):
            share = (1 - abs(x - column - right)) * (1 - abs(y - row - down)) * tone
            cell = (row + down) % TILE_MM * TILE_MM + (column + right) % TILE_MM
            tile += np.bincount(cell.ravel(), weights=share.ravel(), minlength=tile.size)
    return tile.reshape(TILE_MM, TILE_MM)
