"""Policies that look: small frozen graphs with the contract's node names whose actions depend on the frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.metadata import ContinuousActions, ModelMetadata
from contract.runtime import quiet_import
from simapp.policy import NETWORK

Conv = tuple[NDArray[np.float64], int, str]
"""Kernel (k, k, in, out), stride, padding."""


def looking_graph(
    metadata: ModelMetadata, convolutions: Sequence[Conv], dense: NDArray[np.float64], bias: NDArray[np.float64]
) -> bytes:
    """frame / 255 -> convolutions with ReLU -> flattened @ dense (places x channels, A) + bias -> the policy's head."""
    tf = quiet_import("tensorflow")
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        name = metadata.camera
        shape = metadata.observation_shapes()[name]
        layer = v1.placeholder(tf.float32, [None, *shape], f"{NETWORK}/network_0/{name}/{name}") / 255.0
        for kernel, stride, padding in convolutions:
            layer = tf.nn.relu(tf.nn.conv2d(layer, tf.constant(kernel, tf.float32), stride, padding))
        flat = tf.reshape(layer, [-1, int(np.prod(layer.shape.as_list()[1:]))])
        said = tf.matmul(flat, tf.constant(dense, tf.float32)) + tf.constant(bias, tf.float32)
        head = f"{NETWORK}/network_1/ppo_head_0"
        if isinstance(metadata.actions, ContinuousActions):
            tf.identity(said, f"{head}/policy")
            tf.ones_like(said, name=f"{head}/policy_std")
        else:
            tf.nn.softmax(said, name=f"{head}/policy")
    return bytes(graph.as_graph_def().SerializeToString())
