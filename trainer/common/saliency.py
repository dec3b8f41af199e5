"""Which parts of a frame a frozen policy's decision depends on: heat maps from its own gradients.

The maps are HiResCAM's (Draelos and Carin 2020, arXiv:2011.08891): at each place of a convolution, the sum over its
channels of activation times gradient, here as an absolute value, so evidence for the action and against it both count;
and the mean of all convolutions, each on its own scale, so the early ones give sharp edges and the late ones meaning.
Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) averages the gradient over all places of the last convolution first,
which suits networks that end in global pooling; DeepRacer's flatten the frame, and each place has weights of its own.
Rank correlation with what covering a patch of 16 x 16 pixels changes, over 24 frames of a lap of a model that avoids
boxes: 0.85, Grad-CAM 0.29; of a time-trial model after 7 iterations 0.72 and 0.66 (tests/bench/bench_debugging.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError
from contract.metadata import ContinuousActions, ModelMetadata
from contract.runtime import quiet_import, session_threads
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, IntArray, Observations
from trainer.common.export import HEAD, SAC_HEAD

CHUNK = 32
"""Frames a run: activations and gradients of all of them are held at once."""
_WINDOWS = ("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool")
_RULE = "a frozen graph whose actions depend on a convolution of the camera's frames"
_FIX = "inspect a model that was trained here or imported, with its own model_metadata.json"


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a policy made of K frames.

    maps      (K, 120, 160) float32, 0 to 1: how much the decision hangs on each place; every frame has its own scale
    outputs   (K, A) probabilities of discrete actions, or (K, 2) continuous [steering, speed], -1 to 1
    chosen    (K,) the action that was explained: the likeliest one unless another was given; 0 for continuous ones
    """

    maps: NDArray[np.float32]
    outputs: FloatArray
    chosen: IntArray


class Saliency:
    """Explains a frozen policy (model.pb) frame by frame.

    For discrete actions it is the log odds of the chosen one, log p / (1 - p), that are explained: their gradient is
    that of log p but for a factor, and does not vanish where the policy is sure. For continuous ones it is steering and
    speed, added up. Of stereo cameras both frames share a map; lidars are seen by the policy and not explained.
    """

    def __init__(self, pb: bytes, metadata: ModelMetadata, threads: int | None = None) -> None:
        """InputError when the graph is not such a policy."""
        tf = quiet_import("tensorflow")
        v1 = tf.compat.v1
        self._continuous = isinstance(metadata.actions, ContinuousActions)
        head, policy = HEAD, "policy"
        if metadata.algorithm == "sac":
            head, policy = SAC_HEAD, "policy_mean"  # before tanh
        network = head.split("/network_")[0]
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(v1.GraphDef.FromString(pb), name="")
            try:
                self._inputs = {
                    name: graph.get_tensor_by_name(f"{network}/network_0/{name}/{name}:0")
                    for name in metadata.observation_shapes()
                }
                output = graph.get_tensor_by_name(f"{head}/{policy}:0")
                self._output = graph.get_tensor_by_name(f"{head}/policy:0")
            except KeyError as error:
                raise InputError("model.pb", str(error).strip("'\""), _RULE, _FIX) from error
            picture = self._inputs[metadata.camera]
            layers = _pictures(output, picture)
            self._chosen = v1.placeholder(tf.int64, [None], "chosen")
            scores = tf.unstack(output, axis=1) if self._continuous else [_log_odds(tf, output, self._chosen)]
            gradients = [tf.gradients(score, layers) for score in scores]
            if any(gradient is None for found in gradients for gradient in found):
                raise InputError("model.pb", output.op.type, _RULE, _FIX)
            self._evidence = [
                tf.add_n([tf.abs(tf.reduce_sum(tf.cast(layer * gradient, tf.float32), axis=3)) for gradient in found])
                for layer, *found in zip(layers, *gradients, strict=True)
            ]
            self._places = [_places(layer, picture) for layer in layers]
            products = (op for op in _ancestors(output.op) if op.type == "MatMul")
            self._embedding = next((op.inputs[0] for op in products), output)
        config = v1.ConfigProto()
        config.intra_op_parallelism_threads, config.inter_op_parallelism_threads = session_threads(threads)
        config.gpu_options.allow_growth = True
        self._session = v1.Session(graph=graph, config=config)

    def maps(self, observations: Observations, chosen: IntArray | None = None) -> Decisions:
        """Sensor name -> (K, ...) in; `chosen` (K,) are the discrete actions to explain, by default the likeliest."""
        count = len(next(iter(observations.values())))
        parts = [
            self._part(
                {name: observations[name][i : i + CHUNK] for name in self._inputs},
                None if chosen is None else chosen[i : i + CHUNK],
            )
            for i in range(0, count, CHUNK)
        ]
        return Decisions(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def embeddings(self, observations: Observations) -> NDArray[np.float32]:
        """(K, D) of K frames, sensor name -> (K, ...): what the last layer makes the policy's outputs of."""
        count = len(next(iter(observations.values())))
        parts = []
        for i in range(0, count, CHUNK):
            feed = {tensor: observations[name][i : i + CHUNK] for name, tensor in self._inputs.items()}
            parts.append(np.asarray(self._session.run(self._embedding, feed), np.float32))
        return np.concatenate(parts)

    def _part(self, observations: Observations, chosen: IntArray | None) -> tuple[NDArray[Any], ...]:
        feed: dict[Any, Any] = {tensor: observations[name] for name, tensor in self._inputs.items()}
        outputs = np.asarray(self._session.run(self._output, feed), dtype=np.float64)
        if self._continuous:
            chosen = np.zeros(len(outputs), np.int64)
        elif chosen is None:
            chosen = np.argmax(outputs, axis=1)
        evidence = self._session.run(self._evidence, feed | {self._chosen: chosen})
        spread = [
            _scaled(np.stack([_spread(frame, rows, columns) for frame in layer]))
            for layer, (rows, columns) in zip(evidence, self._places, strict=True)
        ]
        return _scaled(np.sum(spread, axis=0)), outputs, chosen

    def close(self) -> None:
        """Give the session back."""
        self._session.close()


def _log_odds(tf: Any, policy: Any, chosen: Any) -> Any:
    """(K,) log p / (1 - p) of the chosen actions, from the logits; of a DQN's, which hide behind their maximum, the
    action values take the logits' place."""
    hidden = [op for op in _ancestors(policy.op) if op.type == "ArgMax"]
    if policy.op.type == "Softmax":
        logits = policy.op.inputs[0]
    elif hidden:
        logits = hidden[0].inputs[0]
    else:
        logits = tf.math.log(policy + 1e-12)
    one_hot = tf.one_hot(chosen, logits.shape.as_list()[-1])
    others = tf.reduce_logsumexp(logits - 1e9 * one_hot, axis=1)
    return tf.reduce_sum(logits * one_hot, axis=1) - others


def _ancestors(op: Any) -> Iterator[Any]:
    """The operation and all that it is computed from, nearest first."""
    queue, seen = [op], {op.name}
    for found in queue:
        yield found
        for tensor in found.inputs:
            if tensor.op.name not in seen:
                seen.add(tensor.op.name)
                queue.append(tensor.op)


def _pictures(output: Any, picture: Any) -> list[Any]:
    """What the convolutions of the picture give, after their activations: the last one first."""
    for op in _ancestors(output.op):
        if op.outputs and op.outputs[0].shape.rank == 4 and _comes_from(op, picture):
            path = list(_path(op, picture))
            windows = [i for i, found in enumerate(path) if found.type in _WINDOWS]
            if windows:  # each goes into the next window, and the last one where the frame is flattened
                return [op.outputs[0], *(path[i + 1].outputs[0] for i in windows[:-1])]
    raise InputError("model.pb", output.op.name, _RULE, _FIX)


def _comes_from(op: Any, picture: Any) -> bool:
    return any(found.name == picture.op.name for found in _ancestors(op))


def _path(op: Any, picture: Any) -> Iterator[Any]:
    """Operations from this one back to the picture, one way where there are several."""
    while op.name != picture.op.name:
        yield op
        ways = [tensor for tensor in op.inputs if _comes_from(tensor.op, picture)]
        # attention multiplies places by weights that also come from the picture, but have no places
        op = min(ways, key=lambda tensor: str(tensor.shape) != str(op.outputs[0].shape)).op


def _places(layer: Any, picture: Any) -> tuple[FloatArray, FloatArray]:
    """Where the middles of the receptive fields of a layer's rows and columns are, in pixels of the picture."""
    axes = []
    for axis in (1, 2):
        start, pitch = 0.0, 1.0
        for op in _path(layer.op, picture):
            big, small = op.inputs[0].shape.as_list(), op.outputs[0].shape.as_list()
            if op.type in _WINDOWS:
                stride = op.get_attr("strides")[axis]
                size = op.get_attr("ksize")[axis] if "Pool" in op.type else op.inputs[1].shape.as_list()[axis - 1]
                padded = (
                    max((small[axis] - 1) * stride + size - big[axis], 0) if op.get_attr("padding") == b"SAME" else 0
                )
                shift = (size - 1) / 2.0 - padded // 2
            elif len(big) == len(small) == 4 and big[axis] != small[axis]:  # some other change of scale
                stride = big[axis] / small[axis]
                shift = (stride - 1.0) / 2.0
            else:
                continue
            start, pitch = start * stride + shift, pitch * stride
        axes.append(start + pitch * np.arange(layer.shape.as_list()[axis]))
    return axes[0], axes[1]


def _scaled(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each of (K, ...) by its own maximum; all 0 stays so."""
    most = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(maps, most, out=np.zeros_like(maps), where=most > 0.0))


def _spread(values: NDArray[np.float32], rows: FloatArray, columns: FloatArray) -> NDArray[np.float32]:
    """(R, C) values at these rows and columns of pixels -> (120, 160), linear in between and level outside."""
    tall = np.stack([np.interp(np.arange(CAMERA_HEIGHT), rows, column) for column in values.T], axis=1)
    wide = np.stack([np.interp(np.arange(CAMERA_WIDTH), columns, row) for row in tall])
    return wide.astype(np.float32)
