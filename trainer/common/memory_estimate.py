"""What an update will take in memory, from the graph alone, so that it can be refused before it begins."""

import math
import re
from typing import Any

from contract import memory
from contract.hyperparameters import BATCH_SIZES
from trainer.coach import shim

_LAYER = re.compile(r"main_level/agent/\w+/(online|target)/network_\d+/")
_FREE = {"Identity", "Reshape", "BiasAdd", "Cast", "Placeholder", "PlaceholderWithDefault"}
"""Operations that take no memory of their own: views, what works in place, and what is freed at once."""


def layer_bytes(graph: Any) -> int:
    """Bytes that one step (one frame) of a minibatch takes while gradients are computed: what the layers put out, which
    is kept for the way back, and on the way back again as much. Measured peaks of the three networks, with one and two
    cameras, in both precisions, were 0.8 to 1.0 of it (tests/unit/test_coach_memory.py).
    """
    total = 0
    for operation in graph.get_operations():
        name = operation.name
        if not _LAYER.match(name) or "/gradients/" in name or operation.type in _FREE:
            continue
        for output in operation.outputs:
            shape = output.shape.as_list() if output.shape.rank else []
            if output.dtype.is_floating and shape[:1] == [None] and None not in shape[1:]:
                total += 4 * math.prod(shape[1:])
    return total


class MemoryEstimate:
    """What an agent needs beyond what its process has already taken."""

    def __init__(self, graph: Any, batch_size: int, replay_bytes: int = 0) -> None:
        """`replay_bytes` is the limit of the agent's replay memory."""
        tf = shim.tensorflow()
        with graph.as_default():
            variables = tf.compat.v1.trainable_variables()
        self._batch_size, self._per_step = batch_size, layer_bytes(graph)
        self._weights = sum(4 * math.prod(variable.shape.as_list()) for variable in variables)
        self._replay_bytes, self._updated = replay_bytes, False

    def check_network(self) -> None:
        """Before the session is made: DoesNotFitError when network and update need more than can be had."""
        words = f"weights of {memory.amount(self._weights)}, their gradients, and two moments of each"
        self._check({words: 4.0 * self._weights})

    def check_update(self) -> None:
        """Before an update: the same, now that the weights are there and episodes have taken memory too. What the
        first update took stays with the process or its allocator, so later ones are not checked."""
        if not self._updated:
            self._check({"gradients of the weights": float(self._weights)})
        self._updated = True

    def _check(self, weights: dict[str, float]) -> None:
        layers = f"layers: minibatches of {self._batch_size} steps x {memory.amount(self._per_step)}"
        parts = {layers: float(self._batch_size * self._per_step), **weights}
        if self._replay_bytes:
            parts["replay memory, and its copies while a checkpoint is written"] = 4.0 * self._replay_bytes
        fix = "close other programs, give the container more memory, or choose a smaller network or fewer sensors"
        if self._batch_size > BATCH_SIZES[0]:
            smaller = max(size for size in BATCH_SIZES if size < self._batch_size)
            fix = f"lower batch_size to {smaller} or less; or {fix}"
        memory.check_fits("one update", parts, fix, memory.free_bytes())
