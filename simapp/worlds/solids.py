"""Triangles of the plain shapes that an SDF can hold besides meshes: box, plane, cylinder and sphere."""

from itertools import pairwise

import numpy as np

from contract.state import FloatArray, IntArray

ROUND = 32
"""Corners of a circle."""

Corners = tuple[FloatArray, FloatArray, FloatArray]


def solid(kind: str, size: tuple[float, ...]) -> Corners:
    """Triangles and normals (N, 3, 3) and texture coordinates (N, 3, 2) of a shape in its own frame, in metres: its
    middle is the origin, a plane faces up, and a cylinder stands upright."""
    if kind == "plane":
        return quads(np.array([[[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]]) * [*size, 1.0])
    if kind == "box":
        return quads(CUBE * np.asarray(size))
    if kind == "sphere":
        return _sphere(size[0])
    if kind == "cylinder":
        return _cylinder(size[0], size[1])
    raise ValueError(f"a shape is a box, plane, cylinder or sphere, and no {kind}")


CUBE = 0.5 * np.array(
    [
        [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]],
        [[-1, 1, -1], [-1, -1, -1], [-1, -1, 1], [-1, 1, 1]],
        [[1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, 1, 1]],
        [[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]],
        [[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
        [[-1, 1, -1], [1, 1, -1], [1, -1, -1], [-1, -1, -1]],
    ]
)
"""Faces of a unit cube, counter-clockwise from outside."""


def quads(corners: FloatArray, normals: FloatArray | None = None) -> Corners:
    """Two triangles of each of the faces (Q, 4, 3), counter-clockwise; flat ones where no normals are given."""
    if normals is None:
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        normals = np.repeat(flat[:, np.newaxis], 4, axis=1)
    spots = np.broadcast_to(np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), (len(corners), 4, 2))
    halves: IntArray = np.array([[0, 1, 2], [0, 2, 3]])
    return tuple(part[:, halves].reshape(-1, 3, part.shape[-1]) for part in (corners, normals, spots))  # type: ignore[return-value]


def _around(radius_m: float) -> FloatArray:
    """(ROUND, 4, 2) x, y of each strip's four corners round a circle: this, next, next, this."""
    angles = np.linspace(0.0, 2.0 * np.pi, ROUND + 1)
    ring = radius_m * np.column_stack([np.cos(angles), np.sin(angles)])
    return np.stack([ring[:-1], ring[1:], ring[1:], ring[:-1]], axis=1)


def _cylinder(radius_m: float, length_m: float) -> Corners:
    ring = _around(radius_m)
    heights = np.broadcast_to(np.array([-0.5, -0.5, 0.5, 0.5])[:, np.newaxis] * length_m, (ROUND, 4, 1))
    side = quads(np.concatenate([ring, heights], axis=2), np.concatenate([ring / radius_m, 0 * heights], axis=2))
    caps = []
    for up in (-1.0, 1.0):
        fan = np.zeros((ROUND, 3, 3))
        fan[:, 1:, :2] = ring[:, :2] if up > 0 else ring[:, 1::-1]
        fan[..., 2] = up * length_m / 2
        normals = np.broadcast_to(np.array([0.0, 0.0, up]), fan.shape)
        caps.append((fan, normals, 0.5 + 0.5 * fan[..., :2] / radius_m))
    return tuple(np.concatenate(parts) for parts in zip(side, *caps, strict=True))  # type: ignore[return-value]


def _sphere(radius_m: float) -> Corners:
    rows = ROUND // 2
    heights = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    ring = _around(1.0)
    faces = []
    for low, high in pairwise(heights):
        wide = np.array([np.cos(low), np.cos(low), np.cos(high), np.cos(high)])[np.newaxis, :, np.newaxis]
        tall = np.array([np.sin(low), np.sin(low), np.sin(high), np.sin(high)])[np.newaxis, :, np.newaxis]
        faces.append(np.concatenate([ring * wide, np.broadcast_to(tall, (ROUND, 4, 1))], axis=2))
    units = np.concatenate(faces)
    triangles, normals, spots = quads(radius_m * units, units)
    kept = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1) > 0.0
    return triangles[kept], normals[kept], spots[kept]
