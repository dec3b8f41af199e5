"""What boxes and cars look like: a few upright blocks each, the same for grey frames and colour pictures."""

import math
from dataclasses import dataclass

import numpy as np

from contract.state import FloatArray, IntArray, ObjectKind, TrackObjects
from contract.vehicle import (
    BOX_HEIGHT_M,
    BOX_LENGTH_M,
    BOX_WIDTH_M,
    CAR_COLORS,
    HEIGHT_M,
    LENGTH_M,
    WIDTH_M,
)
from simapp.camera.look import BOX_RGB, CAR_RGB, CHASSIS_RGB, GREY, MAST_RGB

SHADES = np.array([0.85, 0.7, 1.0, 0.4])
"""Brightness of a block's ends (front and back), sides, top and underside, so that its edges show. It turns with the
block: a world in the mirror looks mirrored."""

_WHEELS_M = 0.065
"""Top of a car's dark lower part: chassis and wheels."""
_SHELL_M = 0.125
"""Top of the coloured shell; above it stands the camera's mast."""


@dataclass(frozen=True, slots=True)
class Block:
    """An upright cuboid in its object's frame (x ahead, y left, z up from the ground): (low, high) in metres each."""

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    z_m: tuple[float, float]
    rgb: FloatArray
    """(3,), 0..255, before SHADES."""


def _box() -> tuple[Block, ...]:
    x, y = BOX_LENGTH_M / 2, BOX_WIDTH_M / 2
    return (Block((-x, x), (-y, y), (0.0, BOX_HEIGHT_M), BOX_RGB),)


def _car(rgb: FloatArray) -> tuple[Block, ...]:
    x, y = LENGTH_M / 2, WIDTH_M / 2
    return (
        Block((-x, x), (-y, y), (0.0, _WHEELS_M), CHASSIS_RGB),
        Block((-0.95 * x, 0.85 * x), (-0.78 * y, 0.78 * y), (_WHEELS_M, _SHELL_M), rgb),
        Block((0.45 * x, 0.75 * x), (-0.3 * y, 0.3 * y), (_SHELL_M, HEIGHT_M), MAST_RGB),
    )


LOOKS: tuple[tuple[Block, ...], ...] = (_box(), *(_car(CAR_RGB[name]) for name in CAR_COLORS))
"""A box, then a car of each colour. Blocks of one thing lie one above the other: what hides what is then a question of
height alone."""

REACH_M = max(math.hypot(*(max(map(abs, side)) for side in (b.x_m, b.y_m))) for look in LOOKS for b in look)
"""No block is further than this from its object's middle."""


def looks_of(objects: TrackObjects) -> IntArray:
    """Index into LOOKS of each object, (K, M) int64; -1 where nothing stands.

    Raises ValueError for an unknown kind or colour, or an object that is nowhere.
    """
    kind, colour = np.asarray(objects.kind), np.asarray(objects.colour)
    present = kind != ObjectKind.nothing
    if (kind > max(ObjectKind)).any():
        raise ValueError(f"kind {kind.max()} of an object; known are {[f'{int(k)} {k.name}' for k in ObjectKind]}")
    is_car = kind == ObjectKind.car
    if (colour[is_car] >= len(CAR_COLORS)).any():
        raise ValueError(f"colour {colour[is_car].max()} of a car; there are {len(CAR_COLORS)}: {CAR_COLORS}")
    for name in ("x_m", "y_m", "heading_rad"):
        if not np.isfinite(getattr(objects, name)[present]).all():
            raise ValueError(f"{name} of an object is not finite")
    return np.where(is_car, 1 + colour.astype(np.int64), np.where(present, 0, -1))


def tables() -> tuple[FloatArray, FloatArray, IntArray]:
    """LOOKS as arrays with P blocks each: bounds (L, P, 6), low and high x, y, z; greys (L, P, 4) in SHADES' order; how
    many are blocks (L,).
    """
    places = max(map(len, LOOKS))
    blocks, greys = np.zeros((len(LOOKS), places, 6)), np.zeros((len(LOOKS), places, 4))
    for i, look in enumerate(LOOKS):
        for p, block in enumerate(look):
            blocks[i, p] = (*block.x_m, *block.y_m, *block.z_m)
            greys[i, p] = (block.rgb @ GREY) * SHADES
    return blocks, greys, np.array([len(look) for look in LOOKS])
