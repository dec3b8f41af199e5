"""A TensorFlow session of an agent, and rl_coach kept from the rest of the process."""

import contextlib
import random  # noqa: TID251 - only to shield it from rl_coach
from collections.abc import Iterator
from typing import Any

import numpy as np

from contract.runtime import session_threads


def session_config(tf: Any, threads: int | None) -> Any:
    """TensorFlow's ConfigProto for a session on so many cores."""
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    config.intra_op_parallelism_threads, config.inter_op_parallelism_threads = session_threads(threads)
    config.gpu_options.allow_growth = True
    return config


@contextlib.contextmanager
def own_global_state() -> Iterator[None]:
    """rl_coach seeds the global generators and remembers variable scopes by name; neither may reach the outside."""
    from rl_coach.architectures.tensorflow_components.general_network import GeneralTensorFlowNetwork

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    GeneralTensorFlowNetwork.variable_scopes_dict.clear()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        GeneralTensorFlowNetwork.variable_scopes_dict.clear()
