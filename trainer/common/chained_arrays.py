"""Arrays one after the other without a copy of them: an iteration's frames are most of what a trainer holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.state import IntArray


class ChainedArrays:
    """Reads like np.concatenate(arrays), as far as whole rows go; the arrays stay where they are.

    arrays       of T1, T2, ... rows, all of one row's shape and type
    """

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = list(arrays)
        self._ends = np.cumsum([len(array) for array in self._arrays])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, rows: slice | IntArray) -> NDArray[Any]:
        """A copy of those rows, (B, ...), by a slice or by indices (B,) from 0 on."""
        wanted = np.arange(len(self))[rows]
        owners = np.searchsorted(self._ends, wanted, side="right")
        first = self._arrays[0]
        taken = np.empty((len(wanted), *first.shape[1:]), first.dtype)
        starts = self._ends - [len(array) for array in self._arrays]
        for k, (owner, row) in enumerate(zip(owners.tolist(), (wanted - starts[owners]).tolist(), strict=True)):
            taken[k] = self._arrays[owner][row]
        return taken
