"""A frozen graph whose products are of bfloat16: half the bytes, twice as fast where the CPU has instructions for it.

TensorFlow can do this by itself (auto_mixed_precision_onednn_bfloat16), and comes to the same numbers, but looks for
what to change anew in each graph: half a second for each policy, and a training has a new policy every iteration.
"""

from typing import Any

from contract.runtime import quiet_import

PRODUCTS = ("Conv2D", "MatMul")
FOLLOWERS = ("BiasAdd", "Relu")
"""What stays in bfloat16 when it alone takes a product's result: the next product takes it from there."""
LOW = "/bfloat16"


def in_bfloat16(graph: Any) -> Any:
    """The GraphDef with the same nodes, of float32 to all others than those that are changed.

    Weights are cast here, and not kept in float32 where nothing else takes them: they are nearly all of its bytes.
    """
    tf = quiet_import("tensorflow")
    nodes = {node.name: node for node in graph.node}
    takers = _takers(graph)
    low = {name for node in graph.node if _is_product(node, tf) for name in _chain(node, takers)}
    gone: set[str] = set()
    for node in reversed(graph.node):
        after = takers.get(node.name)
        if after and _weights(node.name, nodes) and all(taker.name in low | gone for taker in after):
            gone.add(node.name)
    changed = tf.compat.v1.GraphDef(versions=graph.versions)
    made: set[str] = set()

    def cast(source: str, name: str, wanted: Any, given: Any) -> str:
        changed.node.add(name=name, op="Cast", input=[source]).attr["SrcT"].type = given.as_datatype_enum
        changed.node[-1].attr["DstT"].type = wanted.as_datatype_enum
        return name

    def lowered(name: str) -> str:
        """The name of what this gives in bfloat16, made once."""
        if name in low or name + LOW in made:
            return name + LOW
        made.add(name + LOW)
        source = _weights(name, nodes)
        if source is None:
            return cast(name, name + LOW, tf.bfloat16, tf.float32)
        values = tf.make_ndarray(source.attr["value"].tensor).astype(tf.bfloat16.as_numpy_dtype)
        added = changed.node.add(name=name + LOW, op="Const")
        added.attr["dtype"].type = tf.bfloat16.as_datatype_enum
        added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
        return name + LOW

    for node in graph.node:
        if node.name in gone:
            continue
        if node.name not in low:
            changed.node.add().CopyFrom(node)
            continue
        inputs = [lowered(name) for name in node.input]
        added = changed.node.add(name=node.name + LOW, op=node.op, input=inputs)
        for key, value in node.attr.items():
            added.attr[key].CopyFrom(value)
        added.attr["T"].type = tf.bfloat16.as_datatype_enum
        cast(added.name, node.name, tf.float32, tf.bfloat16)
    return changed


def product_chains(graph: Any) -> list[list[str]]:
    """A GraphDef's products, each with what follows it in bfloat16 (or would, if the graph were lowered)."""
    tf = quiet_import("tensorflow")
    takers = _takers(graph)
    return [_chain(node, takers) for node in graph.node if _is_product(node, tf)]


def _takers(graph: Any) -> dict[str, list[Any]]:
    """Name -> the nodes that take its result."""
    takers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    return takers


def _is_product(node: Any, tf: Any) -> bool:
    return node.op in PRODUCTS and node.attr["T"].type == tf.float32.as_datatype_enum


def _weights(name: str, nodes: dict[str, Any]) -> Any:
    """The constant that this is, or hands on; None if it is none."""
    node = nodes.get(name)
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0])
    return node if node is not None and node.op == "Const" else None


def _chain(node: Any, takers: dict[str, list[Any]]) -> list[str]:
    """A product, and what follows it in bfloat16."""
    names = [node.name]
    while len(after := takers.get(names[-1], [])) == 1 and after[0].op in FOLLOWERS:
        names.append(after[0].name)
    return names
