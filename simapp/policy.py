"""A frozen policy (model.pb) run with plain TensorFlow; rl_coach is not needed to drive."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from contract.config import Precision
from contract.errors import InputError
from contract.metadata import ContinuousActions, ModelMetadata
from contract.protocols import ActionDistribution
from contract.runtime import is_bfloat16, quiet_import, session_threads
from contract.state import Observations
from simapp.precision import in_bfloat16

NETWORK = "main_level/agent/main/online"
SAC_NETWORK = "main_level/agent/policy/online"
CHUNK = 64
"""Most frames a forward pass: more would only leave the caches."""
PAD = 8
"""Batches are padded to a multiple of this. The kernels round a frame's result differently in batches of other sizes,
and a car's actions must not depend on how many cars drive beside it. float32's kernels are slow below 7 frames."""
PAD_BFLOAT16 = 4


def settled_precision(precision: Precision) -> Precision:
    """What "auto" means on this machine."""
    gpu = precision == "auto" and bool(quiet_import("tensorflow").config.list_physical_devices("GPU"))
    return "bfloat16" if is_bfloat16(precision, gpu) else "float32"


class FrozenPolicy:
    """Implements contract.protocols.Policy. `pb` is a frozen graph with the contract's node names.

    `threads` is the number of cores to use, by default those that this process may use; the first TensorFlow session
    of a process settles it for all. `precision` is that of the products, all of them: "auto" is bfloat16 on CPUs that
    have it, where probabilities differ from float32's in the third decimal.
    """

    def __init__(
        self, pb: bytes, metadata: ModelMetadata, threads: int | None = None, precision: Precision = "float32"
    ) -> None:
        self._metadata = metadata
        self._tf = quiet_import("tensorflow")
        cores, self._streams = session_threads(threads)
        self._config = self._tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=cores, inter_op_parallelism_threads=self._streams
        )
        self._config.gpu_options.allow_growth = True
        self._low = settled_precision(precision) == "bfloat16"
        self._pad = PAD_BFLOAT16 if self._low else PAD
        # it finds nothing in these graphs that makes them faster, and takes half a second for each
        self._config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._pool = ThreadPoolExecutor(max(self._streams - 1, 1), thread_name_prefix="policy")
        self._session: Any = None
        self.replace(pb)

    def replace(self, pb: bytes) -> None:
        """Drive with another frozen graph from now on; on InputError the old one stays."""
        v1 = self._tf.compat.v1
        decode_error = quiet_import("google.protobuf.message").DecodeError
        shapes = self._metadata.observation_shapes()
        if self._metadata.algorithm == "sac":
            network, head = SAC_NETWORK, f"{SAC_NETWORK}/network_0/sac_policy_head_0"
            names = ["policy_mean", "policy_log_std"]
        else:
            network, head = NETWORK, f"{NETWORK}/network_1/ppo_head_0"
            names = ["policy", "policy_std"] if isinstance(self._metadata.actions, ContinuousActions) else ["policy"]
        graph = self._tf.Graph()
        try:
            with graph.as_default():
                read = v1.GraphDef.FromString(pb)
                self._tf.import_graph_def(in_bfloat16(read) if self._low else read, name="")
            inputs = {name: graph.get_tensor_by_name(f"{network}/network_0/{name}/{name}:0") for name in shapes}
            outputs = [graph.get_tensor_by_name(f"{head}/{name}:0") for name in names]
        except (KeyError, ValueError, decode_error) as error:
            raise InputError(
                "model.pb",
                str(error).strip("'\""),
                f"a frozen graph with the inputs {', '.join(shapes)} "
                f"and the outputs {', '.join(f'{head}/{n}' for n in names)}",
                "use the model_metadata.json that the model was trained with",
            ) from error
        fed = {op.name: op.outputs[0].shape.as_list()[1:] for op in graph.get_operations() if op.type == "Placeholder"}
        found = {name.rsplit("/", 1)[-1]: shape for name, shape in fed.items()}
        if found != {name: list(shape) for name, shape in shapes.items()}:
            raise InputError(
                "model.pb",
                ", ".join(f"{name} {shape}" for name, shape in found.items()),
                f"the model_metadata.json has {', '.join(f'{name} {list(shape)}' for name, shape in shapes.items())}",
                "use the model_metadata.json that the model was trained with",
            )
        actions = outputs[0].shape[-1]
        if actions != self._metadata.actions.size:
            raise InputError(
                "model.pb",
                f"{actions} actions",
                f"the model_metadata.json has {self._metadata.actions.size}",
                "use the model_metadata.json that the model was trained with",
            )
        self._close_session()
        self._inputs, self._outputs = inputs, outputs
        self._session = v1.Session(graph=graph, config=self._config)

    def distribution(self, observations: Observations) -> ActionDistribution:
        """Sensor name -> (K, ...) in, K distributions out."""
        count = len(observations[self._metadata.camera])
        size = min(CHUNK, self._padded(-(-count // self._streams)))
        chunks = [{name: observations[name][i : i + size] for name in self._inputs} for i in range(0, count, size)]
        others = [self._pool.submit(self._run, chunk) for chunk in chunks[1:]]
        parts = [self._run(chunks[0]), *(one.result() for one in others)]
        first, *second = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
        if second and self._metadata.algorithm == "sac":
            return ActionDistribution(mean=first, deviation=np.exp(second[0]), squash=True)
        if second:
            return ActionDistribution(mean=first, deviation=second[0])
        return ActionDistribution(probabilities=first)

    def _run(self, seen: Observations) -> list[Any]:
        count = len(seen[self._metadata.camera])
        feed = {}
        for name, values in seen.items():
            feed[self._inputs[name]] = padded = np.zeros((self._padded(count), *values.shape[1:]), np.float32)
            padded[:count] = values
        return [output[:count] for output in self._session.run(self._outputs, feed)]

    def _padded(self, count: int) -> int:
        return -(-count // self._pad) * self._pad

    def close(self) -> None:
        """Give the session and the threads back."""
        self._pool.shutdown()
        self._close_session()

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
