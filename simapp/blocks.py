"""Sizes of batches in which a frame's result does not depend on where in the batch it lies, or what lies beside it.

TensorFlow's kernels add a product's terms in an order that they choose by the CPU, the number of threads and the shape
of the batch; within one batch the last rows often take another path than the first ones. On a CPU with AVX2 a matrix
product works on six rows at a time, and one or two rows that are left over are added up in another order: rows of
batches of 6, 12 or 18 agree, the last row of 7 or 13 does not. There is no setting for it, and no list that would hold
for the next CPU. So it is measured: a few shapes are tried once a process and network, and frames are then driven in
batches of those shapes alone.

What makes this sound: in a batch of a given shape, the instructions that make a row's result depend on the row's place
and not on the numbers. So it is enough to see one frame in every place of a batch. Every layer's result is compared,
not only the last one's, whose few numbers would often hide a difference in the last bit.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Results = Iterable[NDArray[Any]]
"""The results of every layer for a batch: arrays (K, ...)."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Batch sizes, ascending, in which a frame's results are the same bits in every place of every one of them.

    `result` is a digest of those results for the frame that was tried.
    """

    sizes: tuple[int, ...]
    result: bytes = b""

    def split(self, count: int, streams: int = 1) -> list[tuple[int, int]]:
        """How to drive `count` frames, `streams` batches at a time: (frames, batch size) of each batch, in order.

        The frames are shared evenly among the streams; a batch is filled up with frames of zeros to its size.
        """
        rounds = -(-count // (streams * self.sizes[-1]))
        share = -(-count // (streams * rounds))
        frames = [min(share, count - begin) for begin in range(0, count, share)]
        return [(part, next(size for size in self.sizes if size >= part)) for part in frames]


ONE_BY_ONE = Blocks((1,))
"""What always holds: a batch of one frame has one place."""


def found_blocks(
    run: Callable[[int], Results], candidates: Sequence[int], streams: int = 1, known: Blocks | None = None
) -> Blocks:
    """The largest set of the candidates whose results agree in all places, and with each other.

    `run(size)` gives the results of all layers for one frame, `size` times in a batch; `streams` of them run at a time.
    Of two sets of as many sizes the one with the largest size is taken; without any, frames go one by one. `known`
    blocks are kept, with the candidates that agree with them.
    """
    with ThreadPoolExecutor(streams) as pool:
        digests = list(pool.map(lambda size: _place_free(run(size), size), candidates))
    groups: dict[bytes, list[int]] = {}
    for size, digest in sorted(zip(candidates, digests, strict=True)):
        if digest:
            groups.setdefault(digest, []).append(size)
    if known is not None:
        return Blocks((*known.sizes, *groups.get(known.result, [])), known.result)
    best = max(groups, key=lambda digest: (len(groups[digest]), groups[digest][-1]), default=None)
    return Blocks(tuple(groups[best]), best) if best else ONE_BY_ONE


def _place_free(layers: Results, size: int) -> bytes:
    """A digest of a frame's results if they are the same in all places; empty if they are not."""
    digest = hashlib.sha256()
    for layer in layers:
        rows = np.ascontiguousarray(layer).reshape(size, -1).view(np.uint8)
        if not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)):
            return b""
        digest.update(rows[0].tobytes())
    return digest.digest()


_found: dict[Any, Blocks] = {}
_lock = threading.Lock()


def blocks_of(network: Any, find: Callable[[], Blocks]) -> Blocks:
    """What `find` finds for this network, found once a process: `network` is a key of all that the sizes depend on."""
    with _lock:
        if network not in _found:
            _found[network] = find()
        return _found[network]
