"""Checks that a route array is a road, with messages that name the row and the fix."""

import numpy as np
from numpy.typing import ArrayLike

from contract.errors import InputError
from contract.state import FloatArray


def checked_route(array: ArrayLike, where: str) -> FloatArray:
    """A private float64 copy (W, 6) of the route, inner edge left; InputError that begins with `where` otherwise."""
    route = np.array(array, dtype=np.float64, order="C")
    if route.ndim != 2 or route.shape[1] != 6:
        raise InputError(
            where, route.shape, "a route is an array (W, 6): centre, inner, outer x, y", "save it in this shape"
        )
    return route
