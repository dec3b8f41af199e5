"""What a network gives for the same frame in every place of a batch, so sharply that another order of additions shows.

A result in bfloat16 keeps 8 bits of a sum of 24, and so hides nearly every difference in the last bits of the sum; one
that shows once in a thousand frames still makes two runs of one training differ. So each product is tried with terms
that cancel: its inputs are 1 and a little, and its weights add up to zero. Then the result is small beside the sums on
the way to it, and the last bits of those are the first ones of what is kept.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.runtime import quiet_import
from simapp.blocks import Results
from simapp.precision import LOW, product_chains

NOISE = 65_537
"""Different numbers in weights of noise; a prime, so that rows and filters do not repeat."""
HEAD_ROWS = 16
"""Rows on which the few numbers after the last product are tried: one row often hides a difference in the last bit."""


class Probe:
    """A session's network on batches of one repeated frame. `noisy` is its GraphDef before it was lowered."""

    def __init__(self, session: Any, inputs: Sequence[str], outputs: Sequence[str], noisy: Any) -> None:
        self._session = session
        tensor = session.graph.get_tensor_by_name
        random = np.random.default_rng(0)
        chains = product_chains(noisy)
        ends = {f"{chain[-1]}:0" for chain in chains}
        self._wanted = sorted(ends | set(outputs))
        self._frame = {
            name: random.uniform(0, 255 if len(tensor(name).shape) == 4 else 1, tensor(name).shape[1:]).astype(
                np.float32
            )
            for name in inputs
        }
        self._products = [(_taken(session.graph, chain[0]), tensor(f"{chain[-1]}:0")) for chain in chains]
        taken = [given for given, _ in self._products]
        whole = session.run(taken, {name: values[None] for name, values in self._frame.items()})
        self._terms = [
            (1 + random.integers(0, 16, one.shape) / 128).astype(given.dtype.as_numpy_dtype)
            for given, one in zip(taken, whole, strict=True)
        ]
        self._heads = [tensor(name) for name in outputs if name not in ends]
        self._rows = {
            it: random.normal(0, 2, (HEAD_ROWS, *it.shape[1:])).astype(np.float32)
            for it in _first_before(self._heads, ends)
        }

    def results(self, size: int) -> Results:
        """The results of every layer, of each product by itself, and of what follows the last ones: arrays (K, ...).

        One after the other: those of a large network for many frames together are more than the network.
        """
        run = self._session.run
        yield from run(
            self._wanted, {name: np.repeat(values[None], size, axis=0) for name, values in self._frame.items()}
        )
        for (given, end), terms in zip(self._products, self._terms, strict=True):
            yield run(end, {given: np.tile(terms, (size, *[1] * (terms.ndim - 1)))})
        for k in range(HEAD_ROWS if self._rows else 0):
            yield from run(
                self._heads, {it: np.repeat(rows[k : k + 1], size, axis=0) for it, rows in self._rows.items()}
            )


def shape_of(graph: Any) -> bytes:
    """A digest of a GraphDef's nodes without the numbers of its constants: alike for all policies of one network."""
    bare = quiet_import("tensorflow").compat.v1.GraphDef()
    for node in graph.node:
        if node.op != "Const":
            bare.node.add().CopyFrom(node)
            continue
        added = bare.node.add(name=node.name, op=node.op)
        added.attr["dtype"].CopyFrom(node.attr["dtype"])
        added.attr["value"].tensor.tensor_shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).digest()


def with_noise(graph: Any) -> Any:
    """The GraphDef with seeded noise for weights, each filter's in pairs that cancel; layers keep the signal's size."""
    tf = quiet_import("tensorflow")
    noise = np.random.default_rng(0).standard_normal(NOISE).astype(np.float32)
    changed = tf.compat.v1.GraphDef(versions=graph.versions)
    for node in graph.node:
        shape = [it.size for it in node.attr["value"].tensor.tensor_shape.dim] if node.op == "Const" else []
        if len(shape) < 2 or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            changed.node.add().CopyFrom(node)
            continue
        terms = int(np.prod(shape[:-1]))
        half = np.resize(noise * np.float32(np.sqrt(2 / terms)), (terms // 2, shape[-1]))
        odd = np.zeros((terms % 2, shape[-1]), np.float32)
        weights = np.concatenate([half, odd, -half[::-1]]).reshape(shape)
        added = changed.node.add(name=node.name, op=node.op)
        added.attr["dtype"].CopyFrom(node.attr["dtype"])
        added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights))
    return changed


def _taken(graph: Any, product: str) -> Any:
    """The tensor that a product multiplies with its weights."""
    try:
        return graph.get_operation_by_name(product + LOW).inputs[0]
    except KeyError:
        return graph.get_operation_by_name(product).inputs[0]


def _first_before(tensors: Sequence[Any], ends: set[str]) -> list[Any]:
    """The first of the layers' results on each way back from the tensors."""
    seen: dict[str, Any] = {}
    left = list(tensors)
    while left:
        for tensor in left.pop().op.inputs:
            if tensor.name not in seen:
                seen[tensor.name] = tensor
                if tensor.name not in ends:
                    left.append(tensor)
    return [tensor for name, tensor in seen.items() if name in ends]
