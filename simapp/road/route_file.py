"""Route files: the arrays of numbers that tracks are made of."""

import io
from pathlib import Path

import numpy as np

from contract.errors import InputError
from contract.fields import read_bytes


def read_route(path: Path) -> np.ndarray:
    """The array of a .npy file; InputError when it cannot be read or holds no plain array."""
    return parse_route(read_bytes(path, "a route file"), str(path))


def parse_route(content: bytes, where: str) -> np.ndarray:
    """The array of a .npy file's content, never unpickling anything; InputError when it holds no plain array."""
    try:
        return np.asarray(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    except Exception as problem:  # numpy's reader lets through whatever a broken header makes it do
        raise InputError(
            where,
            str(problem),
            "a route file is a whole .npy file with a plain array of numbers",
            "save it with numpy.save(path, route) from a float array",
        ) from problem
