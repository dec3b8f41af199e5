"""Textures of our own for the common look: the mean colours of the official worlds', and as rough at every scale."""

import math
from functools import cache

import numpy as np

from contract.state import FloatArray, UInt8Array
from simapp.worlds.form import WorldPicture

ROAD_RGB, GRASS_RGB = (64.0, 63.0, 61.0), (126.0, 133.0, 65.0)
LINE_RGB, DASH_RGB, WALL_RGB = (223.0, 223.0, 222.0), (225.0, 143.0, 0.0), (36.0, 70.0, 81.0)
"""What the surfaces of 119 of the 127 official worlds look like."""

ROUGHNESS = {
    "road": (8.3, 6.1, 4.5, 3.6, 3.2, 2.8),
    "grass": (21.3, 15.3, 10.4, 7.1, 4.5, 2.7),
    "line": (5.5, 4.3, 3.5, 3.0, 2.6, 2.3),
    "dash": (1.5, 1.3, 1.0, 0.7, 0.5, 0.3),
}
"""Standard deviation of grey of the means of 1, 2, 4, 8, 16 and 32 pixels a side, in the official textures."""
_SIZES = {"road": 1024, "grass": 512, "line": 512, "dash": 256}
"""Pixels a side, for one metre."""


@cache
def pictures() -> tuple[WorldPicture, ...]:
    """Road, grass, line, dash, wall and start line: the same ones every time."""
    random = np.random.Generator(np.random.PCG64(20191201))
    colours = {"road": ROAD_RGB, "grass": GRASS_RGB, "line": LINE_RGB, "dash": DASH_RGB}
    made = [WorldPicture.of(f"textures/{name}.png", _rough(name, rgb, random)) for name, rgb in colours.items()]
    wall = np.full((8, 8, 3), WALL_RGB, np.uint8)
    return (*made, WorldPicture.of("textures/wall.png", wall), WorldPicture.of("textures/start.png", _chequers()))


def _rough(name: str, rgb: tuple[float, float, float], random: np.random.Generator) -> UInt8Array:
    """Noise of as many scales as ROUGHNESS has numbers, that repeats."""
    size, grey = _SIZES[name], np.zeros((_SIZES[name], _SIZES[name]))
    spreads = (*ROUGHNESS[name], 0.0)
    for k, (coarse, fine) in enumerate(zip(spreads[1:], spreads[:-1], strict=True)):
        cells = random.standard_normal((size >> k, size >> k))
        if coarse > 0.0:  # nothing of it is left at the next scale
            half = size >> (k + 1)
            cells -= np.kron(cells.reshape(half, 2, half, 2).mean(axis=(1, 3)), np.ones((2, 2)))
        layer = np.kron(cells - cells.mean(), np.ones((1 << k, 1 << k)))
        grey += math.sqrt(max(fine**2 - coarse**2, 0.0)) * layer / layer.std()
    tint = np.asarray(rgb) / (np.asarray(rgb) @ np.array([0.299, 0.587, 0.114]))
    picture: FloatArray = np.asarray(rgb) + grey[..., np.newaxis] * tint
    # what is cut off at black or white is given back, so that the mean stays
    picture += np.asarray(rgb) - np.clip(picture, 0.0, 255.0).mean(axis=(0, 1))
    return np.rint(np.clip(picture, 0.0, 255.0)).astype(np.uint8)


def _chequers() -> UInt8Array:
    """Two rows of black and white squares."""
    squares = (np.indices((2, 16)).sum(axis=0) % 2)[..., np.newaxis]
    return np.asarray(np.kron(np.where(squares == 1, 225, 30), np.ones((16, 16, 3))), np.uint8)
