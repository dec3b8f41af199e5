"""Orders in which steps are learned from."""

import numpy as np

from contract.state import IntArray


def in_pairs(rng: np.random.Generator, count: int) -> IntArray:
    """(N,) an order of N steps in which two that follow each other stay together, other ones each time: what a change
    from one step to the next is seen by without a further pass through the network."""
    first = int(rng.integers(0, 2))
    pairs = [np.arange(first + 2 * k, min(first + 2 * k + 2, count)) for k in range((count - first + 1) // 2)]
    if first:
        pairs.append(np.arange(1))
    return np.concatenate([pairs[k] for k in rng.permutation(len(pairs))])


def minibatches(order: IntArray, batch_size: int) -> list[IntArray]:
    """Cut (N,) indices into ceil(N / batch_size) nearly equal parts, so that the last one is not a noisy sliver."""
    return np.array_split(order, -(-len(order) // batch_size))
