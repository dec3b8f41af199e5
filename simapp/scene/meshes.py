"""Low-poly bodies: a racing car with wheels that steer, and a box. Lengths in metres, x ahead, y left, z up."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.state import FloatArray, IntArray, ObjectKind
from contract.vehicle import (
    BOX_HEIGHT_M,
    BOX_LENGTH_M,
    BOX_WIDTH_M,
    FRONT_AXLE_X_M,
    FRONT_WHEEL_Y_M,
    REAR_AXLE_X_M,
    REAR_WHEEL_Y_M,
)
from simapp.camera.look import BOX_RGB, CHASSIS_RGB, MAST_RGB
from simapp.scene.looks import GLASS_RGB, HEADLIGHT_RGB, RIM_RGB, TAILLIGHT_RGB, TAPE_RGB, TRIM_RGB, TYRE_RGB

Rgb = Sequence[float] | FloatArray
_WHEEL_RADIUS_M, _WHEEL_WIDTH_M, _WHEEL_SIDES = 0.036, 0.030, 12
BODY, FRONT_LEFT, FRONT_RIGHT = 0, 1, 2
"""Parts of a body: front wheels turn about their hinges."""
HINGES_M = np.array([[0.0, 0.0], [FRONT_AXLE_X_M, FRONT_WHEEL_Y_M], [FRONT_AXLE_X_M, -FRONT_WHEEL_Y_M]])
"""(parts, 2) x and y."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """T triangles.

    corners (T, 3, 3); rgb (T, 3) 0..255; paint (T,) is 0 where rgb is the colour, else what the car's colour is
    multiplied with; part (T,) of BODY, FRONT_LEFT, FRONT_RIGHT
    """

    corners: FloatArray
    rgb: FloatArray
    paint: FloatArray
    part: IntArray


class _Builder:
    """Collects convex faces as fans of triangles."""

    def __init__(self) -> None:
        self._triangles: list[tuple[FloatArray, FloatArray, float, int]] = []

    def face(self, points: Sequence[Sequence[float]] | FloatArray, rgb: Rgb, paint: float = 0.0, part: int = 0) -> None:
        corners = np.asarray(points, dtype=np.float64)
        for i in range(1, len(corners) - 1):
            self._triangles.append((corners[[0, i, i + 1]], np.asarray(rgb, np.float64), paint, part))

    def loft(self, rings: Sequence[FloatArray], rgb: Rgb, paint: float = 0.0) -> None:
        """A closed surface through cross-sections (P, 3) each, with its ends."""
        for one, two in itertools.pairwise(rings):
            for i in range(len(one)):
                j = (i + 1) % len(one)
                self.face([one[i], one[j], two[j], two[i]], rgb, paint)
        self.face(rings[0], rgb, paint)
        self.face(rings[-1], rgb, paint)

    def block(
        self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], rgb: Rgb, paint: float = 0.0
    ) -> None:
        ring = [[y[0], z[0]], [y[1], z[0]], [y[1], z[1]], [y[0], z[1]]]
        self.loft([np.array([[at, *point] for point in ring]) for at in x], rgb, paint)

    def mesh(self) -> Mesh:
        corners, rgb, paint, part = zip(*self._triangles, strict=True)
        return Mesh(np.stack(corners), np.stack(rgb), np.array(paint), np.array(part, np.int64))


def car_mesh() -> Mesh:
    """A racing car with an open cockpit's proportions: hull, fenders, cabin, wing, lights, mast with the camera."""
    it = _Builder()
    # hull: x, half-width and height of its floor, shoulder and deck
    hull = (
        (-0.158, 0.050, 0.046, 0.060, 0.074, 0.048, 0.086),
        (-0.125, 0.058, 0.032, 0.068, 0.080, 0.054, 0.098),
        (-0.030, 0.058, 0.026, 0.066, 0.076, 0.052, 0.096),
        (0.050, 0.058, 0.026, 0.064, 0.070, 0.050, 0.088),
        (0.115, 0.056, 0.030, 0.062, 0.060, 0.046, 0.074),
        (0.160, 0.046, 0.038, 0.052, 0.050, 0.036, 0.056),
    )
    rings = [
        np.array([[x, -floor, z0], [x, floor, z0], [x, wide, z1], [x, deck, z2], [x, -deck, z2], [x, -wide, z1]])
        for x, floor, z0, wide, z1, deck, z2 in hull
    ]
    it.loft(rings, CHASSIS_RGB, 1.0)
    it.block((-0.150, 0.150), (-0.064, 0.064), (0.022, 0.034), CHASSIS_RGB)
    for x in (REAR_AXLE_X_M, FRONT_AXLE_X_M):
        for side in (1.0, -1.0):
            _fender(it, x, side)
    _cabin(it)
    # a stripe down the deck tells front from back from far above
    for (x0, *_, z0), (x1, *_, z1) in itertools.pairwise(hull[3:]):
        it.face(
            [[x0, -0.011, z0 + 1e-3], [x0, 0.011, z0 + 1e-3], [x1, 0.011, z1 + 1e-3], [x1, -0.011, z1 + 1e-3]], TRIM_RGB
        )
    for side in (1.0, -1.0):
        y0, y1 = side * 0.018, side * 0.046
        it.face([[0.1605, y0, 0.042], [0.1605, y1, 0.042], [0.1605, y1, 0.052], [0.1605, y0, 0.054]], HEADLIGHT_RGB)
        it.face([[-0.1585, y0, 0.066], [-0.1585, y1, 0.066], [-0.1585, y1, 0.078], [-0.1585, y0, 0.078]], TAILLIGHT_RGB)
        it.block((-0.150, -0.140), (side * 0.040 - 0.003, side * 0.040 + 0.003), (0.088, 0.128), CHASSIS_RGB)
    it.block((-0.168, -0.128), (-0.078, 0.078), (0.128, 0.134), CHASSIS_RGB, 0.85)
    it.block((0.070, 0.084), (-0.012, 0.012), (0.078, 0.128), MAST_RGB)
    it.block((0.066, 0.100), (-0.030, 0.030), (0.124, 0.150), MAST_RGB)
    it.face(
        [[0.1005, -0.012, 0.129], [0.1005, 0.012, 0.129], [0.1005, 0.012, 0.145], [0.1005, -0.012, 0.145]], GLASS_RGB
    )
    _wheel(it, FRONT_AXLE_X_M, FRONT_WHEEL_Y_M, FRONT_LEFT)
    _wheel(it, FRONT_AXLE_X_M, -FRONT_WHEEL_Y_M, FRONT_RIGHT)
    _wheel(it, REAR_AXLE_X_M, REAR_WHEEL_Y_M, BODY)
    _wheel(it, REAR_AXLE_X_M, -REAR_WHEEL_Y_M, BODY)
    return it.mesh()


def _cabin(it: _Builder) -> None:
    low = np.array([[-0.120, -0.050, 0.096], [0.052, -0.048, 0.086], [0.052, 0.048, 0.086], [-0.120, 0.050, 0.096]])
    high = np.array([[-0.078, -0.036, 0.140], [-0.006, -0.036, 0.138], [-0.006, 0.036, 0.138], [-0.078, 0.036, 0.140]])
    for i in range(4):
        j = (i + 1) % 4
        it.face([low[i], low[j], high[j], high[i]], GLASS_RGB)
    it.face(high, CHASSIS_RGB, 1.0)
    it.face(
        [[-0.078, -0.010, 0.1412], [-0.006, -0.010, 0.1392], [-0.006, 0.010, 0.1392], [-0.078, 0.010, 0.1412]], TRIM_RGB
    )
    for side in (1.0, -1.0):  # pillars
        for foot, top in ((0, 0), (1, 1)):
            a, b = low[foot] * [1, side, 1], high[top] * [1, side, 1]
            out = np.array([0.0, -0.0015 * side, 0.001])
            wide = np.array([0.010 if foot == 0 else -0.010, 0.0, 0.0])
            it.face([a + out, a + out + wide, b + out + wide, b + out], CHASSIS_RGB, 0.95)


def _fender(it: _Builder, x: float, side: float) -> None:
    arch = ((-0.050, 0.054), (-0.034, 0.080), (0.030, 0.080), (0.048, 0.050))
    inner, outer = side * 0.050, side * 0.097
    for (x0, z0), (x1, z1) in itertools.pairwise(arch):
        it.face(
            [[x + x0, inner, z0 + 4e-3], [x + x0, outer, z0], [x + x1, outer, z1], [x + x1, inner, z1 + 4e-3]],
            CHASSIS_RGB,
            1.0,
        )
        it.face(
            [[x + x0, outer, z0], [x + x1, outer, z1], [x + x1, outer, z1 - 7e-3], [x + x0, outer, z0 - 7e-3]],
            CHASSIS_RGB,
            0.9,
        )


def _wheel(it: _Builder, x: float, y: float, part: int) -> None:
    angle = np.linspace(0.0, 2.0 * math.pi, _WHEEL_SIDES + 1)
    tread = np.column_stack([x + _WHEEL_RADIUS_M * np.cos(angle), _WHEEL_RADIUS_M + _WHEEL_RADIUS_M * np.sin(angle)])
    side = math.copysign(1.0, y)
    y0, y1 = y - side * _WHEEL_WIDTH_M / 2, y + side * _WHEEL_WIDTH_M / 2
    for (xa, za), (xb, zb) in itertools.pairwise(tread):
        it.face([[xa, y0, za], [xb, y0, zb], [xb, y1, zb], [xa, y1, za]], TYRE_RGB, 0.0, part)
    it.face([[xa, y1, za] for xa, za in tread[:-1]], TYRE_RGB, 0.0, part)
    it.face([[xa, y0, za] for xa, za in tread[:-1]], TYRE_RGB, 0.0, part)
    middle = np.array([x, _WHEEL_RADIUS_M])
    for spoke in range(3):  # a three-spoked rim
        a = angle[0] + 2.0 * math.pi * spoke / 3.0
        tip = [[math.cos(a + turn), math.sin(a + turn)] for turn in (-0.45, 0.45)]
        points = [middle, *(middle + 0.027 * np.array(t) for t in tip)]
        it.face([[p[0], y1 + side * 1e-3, p[1]] for p in points], RIM_RGB, 0.0, part)


def box_mesh() -> Mesh:
    """A cardboard box with tape over its lid."""
    it = _Builder()
    x, y, z = BOX_LENGTH_M / 2, BOX_WIDTH_M / 2, BOX_HEIGHT_M
    it.block((-x, x), (-y, y), (0.0, z), BOX_RGB)
    w, e = 0.025, 1e-3
    it.face([[-x, -w, z + e], [x, -w, z + e], [x, w, z + e], [-x, w, z + e]], TAPE_RGB)
    for end in (-1.0, 1.0):
        at = end * (x + e)
        it.face([[at, -w, z + e], [at, w, z + e], [at, w, 0.72 * z], [at, -w, 0.72 * z]], TAPE_RGB)
    return it.mesh()


def mesh_table() -> tuple[NDArray[Any], ...]:
    """Meshes of all ObjectKinds in their order: where each begins (kinds + 1,), then the arrays of a Mesh. `nothing`
    has no triangles."""
    meshes = {ObjectKind.box: box_mesh(), ObjectKind.car: car_mesh()}
    counts = [len(meshes[kind].paint) if kind in meshes else 0 for kind in ObjectKind]
    arrays = (np.concatenate([getattr(mesh, name) for mesh in meshes.values()]) for name in Mesh.__slots__)
    return np.cumsum([0, *counts]), *arrays
