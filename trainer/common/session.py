"""A TensorFlow session of an agent, and rl_coach kept from the rest of the process."""

import contextlib
import random  # noqa: TID251 - only to shield it from rl_coach
from collections.abc import Iterator
from typing import Any

import numpy as np

from contract.runtime import session_threads
from trainer.coach import shim


def session_config(tf: Any, threads: int | None) -> Any:
    """TensorFlow's ConfigProto for a session on so many cores."""
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    config.intra_op_parallelism_threads, config.inter_op_parallelism_threads = session_threads(threads)
    config.gpu_options.allow_growth = True
    # Otherwise each variable that starts as zeros, as Adam's moments do, has a constant of its size in the graph, which
    # the session keeps: SAC's largest network took 6.2 GB for 2.2 GB of variables, and takes 4.3 GB without.
    config.graph_options.rewrite_options.experimental_disable_compressed_tensor_optimization = True
    return config


@contextlib.contextmanager
def new_graph() -> Iterator[Any]:
    """A new TensorFlow graph to build an agent in.

    rl_coach seeds the global generators and remembers variable scopes by name; neither reaches the outside.

    Yields:
        The graph, the default one meanwhile; finalised when the block ends without an error.
    """
    from rl_coach.architectures.tensorflow_components.general_network import GeneralTensorFlowNetwork

    tf = shim.tensorflow()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    GeneralTensorFlowNetwork.variable_scopes_dict.clear()
    graph = tf.Graph()
    try:
        with graph.as_default(), tf.device(None):
            yield graph
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        GeneralTensorFlowNetwork.variable_scopes_dict.clear()
    graph.finalize()
