"""Arrays one after the other without a copy of them: an iteration's frames are most of what a trainer holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.state import IntArray


def located(lengths: Sequence[int], rows: IntArray) -> list[tuple[int, int]]:
    """Where rows (B,) are of parts of these lengths, one after the other: which part, and the row in it."""
    ends = np.cumsum(lengths)
    owners = np.searchsorted(ends, rows, side="right")
    return list(zip(owners.tolist(), (rows - (ends - lengths)[owners]).tolist(), strict=True))


class ChainedArrays:
    """Reads like np.concatenate(arrays), as far as whole rows go; the arrays stay where they are.

    arrays       of T1, T2, ... rows, all of one row's shape and type
    """

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = list(arrays)
        self._lengths = [len(array) for array in self._arrays]

    def __len__(self) -> int:
        return sum(self._lengths)

    def __getitem__(self, rows: slice | IntArray) -> NDArray[Any]:
        """A copy of those rows, (B, ...), by a slice or by indices (B,) from 0 on."""
        wanted = np.arange(len(self))[rows]
        first = self._arrays[0]
        taken = np.empty((len(wanted), *first.shape[1:]), first.dtype)
        for k, (owner, row) in enumerate(located(self._lengths, wanted)):
            taken[k] = self._arrays[owner][row]
        return taken
