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
from simapp.blocks import ONE_BY_ONE, Blocks, blocks_of, found_blocks
from simapp.precision import in_bfloat16
from simapp.probe import Probe, shape_of, with_noise

NETWORK = "main_level/agent/main/online"
SAC_NETWORK = "main_level/agent/policy/online"
BLOCKS = {"float32": (6, 8, 12, 16, 20, 24), "bfloat16": (4, 8, 12, 16, 20, 24)}
"""Batch sizes that are tried: on CPUs with AVX2 6, 12 and 24 hold, on most others all. float32's kernels are slow for
fewer than 6 frames."""
LARGE_BLOCKS = (32, 40, 48, 64)
"""And these, once so many cars drive side by side: each batch reads all weights. More would only leave the caches."""


def settled_precision(precision: Precision) -> Precision:
    """What "auto" means on this machine."""
    gpu = precision == "auto" and bool(quiet_import("tensorflow").config.list_physical_devices("GPU"))
    return "bfloat16" if is_bfloat16(precision, gpu) else "float32"


class FrozenPolicy:
    """Implements contract.protocols.Policy. `pb` is a frozen graph with the contract's node names.

    `threads` is the number of cores to use, by default those that this process may use; the first TensorFlow session
    of a process settles it for all. `precision` is that of the products, all of them: "auto" is bfloat16 on CPUs that
    have it, where probabilities differ from float32's in the third decimal. `trainer_threads` is the number of the
    process that trains, where that is another one: how products are shared among threads shows in their last bits.
    `mode_only` takes a graph with the one output `policy`, as in car bundles, and drives what a car would: the
    likeliest action, or the mean, without a deviation to sample by, frame by frame.

    A frame's distribution is the same bits whatever frames are beside it, in whatever order and number.
    """

    def __init__(
        self,
        pb: bytes,
        metadata: ModelMetadata,
        threads: int | None = None,
        precision: Precision = "float32",
        trainer_threads: int | None = None,
        mode_only: bool = False,
    ) -> None:
        self._metadata, self._mode_only = metadata, mode_only
        self._tf = quiet_import("tensorflow")
        self._cores, self._streams = session_threads(threads)
        if trainer_threads is not None:
            self._cores, _ = session_threads(trainer_threads)
        self._config = self._tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=self._cores, inter_op_parallelism_threads=self._streams
        )
        self._config.gpu_options.allow_growth = True
        self._precision = settled_precision(precision)
        # it finds nothing in these graphs that makes them faster, and takes half a second for each
        self._config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._pool = ThreadPoolExecutor(max(self._streams - 1, 1), thread_name_prefix="policy")
        self._session: Any = None
        self.replace(pb)

    def replace(self, pb: bytes) -> None:
        """Drive with another frozen graph from now on; on InputError the old one stays."""
        read = self._read(pb)
        blocks = self._found_blocks(read)  # first, so that the probe's network is gone before this one is built
        graph, self._inputs, outputs = self._imported(read)
        self._close_session()
        self._outputs = [_before_softmax(tensor) for tensor in outputs]
        self._softmax = self._outputs[0] is not outputs[0]
        self._session = self._tf.compat.v1.Session(graph=graph, config=self._config)
        self._pb, self._blocks = pb, blocks

    def distribution(self, observations: Observations) -> ActionDistribution:
        """Sensor name -> (K, ...) in, K distributions out."""
        count = len(observations[self._metadata.camera])
        if self._pb and count > self._streams * self._blocks.sizes[-1]:
            self._blocks, self._pb = self._found_blocks(self._read(self._pb), self._blocks), b""
        batches, begin = [], 0
        for frames, size in self._blocks.split(count, self._streams):
            batches.append(({name: observations[name][begin : begin + frames] for name in self._inputs}, size))
            begin += frames
        others = [self._pool.submit(self._run, *batch) for batch in batches[1:]]
        parts = [self._run(*batches[0]), *(one.result() for one in others)]
        first, *second = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
        if second and self._metadata.algorithm == "sac":
            return ActionDistribution(mean=first, deviation=np.exp(second[0]), squash=True)
        if isinstance(self._metadata.actions, ContinuousActions):
            return ActionDistribution(mean=first, deviation=second[0] if second else None)
        if self._softmax:
            first = np.exp(first - first.max(axis=1, keepdims=True))
            first /= first.sum(axis=1, keepdims=True)
        return ActionDistribution(probabilities=first)

    def _run(self, observations: Observations, size: int) -> list[Any]:
        count = len(observations[self._metadata.camera])
        feed = {}
        for name, placeholder in self._inputs.items():
            values = observations[name]
            feed[placeholder] = padded = np.zeros((size, *values.shape[1:]), np.float32)
            padded[:count] = values
        return [output[:count] for output in self._session.run(self._outputs, feed)]

    def _read(self, pb: bytes) -> Any:
        """The GraphDef; InputError for what is none."""
        try:
            return self._tf.compat.v1.GraphDef.FromString(pb)
        except quiet_import("google.protobuf.message").DecodeError as error:
            raise self._wrong(str(error), self._rule()) from error

    def _imported(self, read: Any) -> tuple[Any, dict[str, Any], list[Any]]:
        """A graph of this GraphDef, its inputs by their sensors and its outputs; InputError where the metadata has
        others."""
        shapes, graph = self._metadata.observation_shapes(), self._tf.Graph()
        network, head, names = self._ends()
        try:
            with graph.as_default():
                self._tf.import_graph_def(in_bfloat16(read) if self._precision == "bfloat16" else read, name="")
            inputs = {name: graph.get_tensor_by_name(f"{network}/network_0/{name}/{name}:0") for name in shapes}
            outputs = [graph.get_tensor_by_name(f"{head}/{name}:0") for name in names]
        except (KeyError, ValueError) as error:
            raise self._wrong(str(error).strip("'\""), self._rule()) from error
        fed = {op.name: op.outputs[0].shape.as_list()[1:] for op in graph.get_operations() if op.type == "Placeholder"}
        found = {name.rsplit("/", 1)[-1]: shape for name, shape in fed.items()}
        if found != {name: list(shape) for name, shape in shapes.items()}:
            wanted = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            has = ", ".join(f"{name} {shape}" for name, shape in found.items())
            raise self._wrong(has, f"the model_metadata.json has {wanted}")
        if (actions := outputs[0].shape[-1]) != self._metadata.actions.size:
            raise self._wrong(f"{actions} actions", f"the model_metadata.json has {self._metadata.actions.size}")
        return graph, inputs, outputs

    def _ends(self) -> tuple[str, str, list[str]]:
        """Where the graph's inputs are, where its outputs, and their names."""
        if self._metadata.algorithm == "sac":
            network, head = SAC_NETWORK, "network_0/sac_policy_head_0"
            names = ["policy_mean", "policy_log_std"]
        else:
            network, head = NETWORK, "network_1/ppo_head_0"
            names = ["policy", "policy_std"] if isinstance(self._metadata.actions, ContinuousActions) else ["policy"]
        return network, f"{network}/{head}", ["policy"] if self._mode_only else names

    def _rule(self) -> str:
        _, head, names = self._ends()
        return (
            f"a frozen graph with the inputs {', '.join(self._metadata.observation_shapes())} "
            f"and the outputs {', '.join(f'{head}/{name}' for name in names)}"
        )

    @staticmethod
    def _wrong(found: str, rule: str) -> InputError:
        return InputError("model.pb", found, rule, "use the model_metadata.json that the model was trained with")

    def _found_blocks(self, read: Any, known: Blocks | None = None) -> Blocks:
        """The batch sizes for this network here, with `known` ones the large ones too; on a GPU, whose kernels are
        others, those that are tried. A graph of anybody's has its frames one by one, as on a car."""
        if self._mode_only:
            return ONE_BY_ONE
        candidates = LARGE_BLOCKS if known else BLOCKS[self._precision]
        if self._tf.config.list_physical_devices("GPU"):
            return Blocks((*(known.sizes if known else ()), *candidates))
        key = (self._precision, self._cores, shape_of(read), candidates)
        return blocks_of(key, lambda: self._probed(with_noise(read), candidates, known))

    def _probed(self, noisy: Any, candidates: tuple[int, ...], known: Blocks | None) -> Blocks:
        """Found by a network with weights of noise, so that no unit is idle and every policy's blocks are the same."""
        graph, inputs, outputs = self._imported(noisy)
        names = [it.name for it in inputs.values()], [_before_softmax(it).name for it in outputs]
        with self._tf.compat.v1.Session(graph=graph, config=self._config) as session:
            return found_blocks(Probe(session, *names, noisy).results, candidates, self._streams, known)

    def close(self) -> None:
        """Give the session and the threads back."""
        self._pool.shutdown()
        self._close_session()

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _before_softmax(tensor: Any) -> Any:
    """What a softmax takes, else the tensor itself. TensorFlow's softmax treats a batch's last rows differently; in
    float64 by numpy it is exact for each row and costs nothing."""
    return tensor.op.inputs[0] if tensor.op.type == "Softmax" else tensor
