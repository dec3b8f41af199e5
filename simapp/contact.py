"""Contact of oriented boxes, as the simulators' collisions are judged."""

import math

import numpy as np
from numba import njit

from contract.state import BoolArray, FloatArray, ObjectKind, TrackObjects
from contract.vehicle import BOX_LENGTH_M, BOX_MARGIN_M, BOX_WIDTH_M, LENGTH_M, WIDTH_M

_LENGTHS = np.array([0.0, BOX_LENGTH_M, LENGTH_M])
_WIDTHS = np.array([0.0, BOX_WIDTH_M, WIDTH_M])
"""By ObjectKind."""


def outlines(objects: TrackObjects) -> tuple[FloatArray, FloatArray]:
    """Length and width of each object, (K, M) each in metres; 0 for ObjectKind.nothing."""
    return _LENGTHS[objects.kind], _WIDTHS[objects.kind]


def collision_outlines(objects: TrackObjects) -> tuple[FloatArray, FloatArray]:
    """The same as crashes are judged by: a box is BOX_MARGIN_M longer."""
    length_m, width_m = outlines(objects)
    return np.where(objects.kind == ObjectKind.box, length_m + BOX_MARGIN_M, length_m), width_m


def overlaps(one: tuple[FloatArray, ...], others: tuple[FloatArray, ...]) -> BoolArray:
    """Whether box k overlaps each of the others in row k: (K, M).

    Boxes are (x_m, y_m, heading_rad, length_m, width_m) about their middle: five arrays (K,), and five (K, M). A box
    without length is none and overlaps nothing; boxes that only touch overlap.
    """
    # copies: contiguous whatever came in, since each other memory layout is compiled anew
    a = np.stack([np.asarray(values, dtype=np.float64) for values in one])
    b = np.stack([np.asarray(values, dtype=np.float64) for values in others])
    out = np.empty(b.shape[1:], np.bool_)
    _overlaps(a, b, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _overlaps(a: FloatArray, b: FloatArray, out: BoolArray) -> None:
    """Separating axis theorem: two boxes are apart exactly if their shadows are on one of the four edge directions."""
    for k in range(b.shape[1]):
        cos_a, sin_a = math.cos(a[2, k]), math.sin(a[2, k])
        for m in range(b.shape[2]):
            if a[3, k] <= 0.0 or b[3, k, m] <= 0.0:
                out[k, m] = False
                continue
            dx, dy = b[0, k, m] - a[0, k], b[1, k, m] - a[1, k]
            turn = b[2, k, m] - a[2, k]
            cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
            cos_b, sin_b = math.cos(b[2, k, m]), math.sin(b[2, k, m])
            la, wa, lb, wb = 0.5 * a[3, k], 0.5 * a[4, k], 0.5 * b[3, k, m], 0.5 * b[4, k, m]
            out[k, m] = (
                abs(dx * cos_a + dy * sin_a) <= la + lb * cos + wb * sin
                and abs(dy * cos_a - dx * sin_a) <= wa + lb * sin + wb * cos
                and abs(dx * cos_b + dy * sin_b) <= lb + la * cos + wa * sin
                and abs(dy * cos_b - dx * sin_b) <= wb + la * sin + wa * cos
            )
