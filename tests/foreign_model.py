"""A DeepRacer model as another trainer leaves it: plain TensorFlow variables with the names of rl_coach, no optimiser.

Its forward pass is written out here, so that it can be held against what this project makes of its files.
"""

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.runtime import quiet_import
from contract.state import UInt8Array

CAMERA = "FRONT_FACING_CAMERA"
ONLINE = "main_level/agent/main/online"
POLICY = f"{ONLINE}/network_1/ppo_head_0/policy"
DEEP = ((8, 1, 32, 4), (4, 32, 32, 2), (4, 32, 64, 2), (3, 64, 64, 1)), (512, 512)
"""Convolutions (kernel, channels in and out, stride) and dense layers of DEEP_CONVOLUTIONAL_NETWORK_DEEP, the network
with the fewest weights."""
SHALLOW = ((8, 1, 32, 4), (4, 32, 64, 2), (3, 64, 64, 1)), ()
FIVE = [(-30.0, 1.0), (-15.0, 1.5), (0.0, 2.0), (15.0, 1.5), (30.0, 1.0)]


class ForeignModel:
    """Two towers and their heads for so many discrete actions; `seed` settles all weights."""

    def __init__(
        self, seed: int, actions: int = 5, middleware: Sequence[int] = (256, 128), shallow: bool = False
    ) -> None:
        self._layers: Any = SHALLOW if shallow else DEEP
        middleware = (512,) if shallow else middleware
        self._tf = quiet_import("tensorflow")
        self._v1 = self._tf.compat.v1
        self._rng, self._variables = np.random.default_rng(seed), dict[str, Any]()
        self.weights: dict[str, NDArray[np.float32]] = {}
        graph = self._tf.Graph()
        with graph.as_default():
            name = f"{ONLINE}/network_0/{CAMERA}/{CAMERA}"
            self._seen = self._v1.placeholder(self._tf.float32, [None, 120, 160, 1], name)
            value, policy = (self._tower(f"{ONLINE}/network_{i}", middleware) for i in (0, 1))
            self._value = self._dense(value, f"{ONLINE}/network_0/v_values_head_0/output", 1)
            logits = self._dense(policy, f"{ONLINE}/network_1/ppo_head_0/policy_fc", actions)
            self._policy = self._tf.nn.softmax(logits, name=POLICY)
            for i in (0, 1):
                self._variable(f"{ONLINE}/network_{i}/gradients_from_head_0-0_rescalers", np.ones(()))
            self._saver = self._v1.train.Saver(self._variables)
            self._session = self._v1.Session(graph=graph)
            self._session.run(self._v1.global_variables_initializer())

    def _variable(self, name: str, value: NDArray[Any]) -> Any:
        self.weights[name] = value.astype(np.float32)
        self._variables[name] = self._v1.Variable(self.weights[name], name=name, use_resource=False)
        return self._variables[name]

    def _random(self, *shape: int) -> NDArray[Any]:
        return self._rng.normal(0.0, math.sqrt(2.0 / max(math.prod(shape[:-1]), 10)), shape)

    def _dense(self, seen: Any, name: str, units: int) -> Any:
        kernel = self._variable(f"{name}/kernel", self._random(int(seen.shape[-1]), units))
        return self._tf.tensordot(seen, kernel, 1) + self._variable(f"{name}/bias", self._random(units))

    def _tower(self, name: str, middleware: Sequence[int]) -> Any:
        relu, layer = self._tf.nn.relu, self._seen / 255.0
        convolutions, dense = self._layers
        for i, (kernel, fan_in, fan_out, stride) in enumerate(convolutions):
            place = f"{name}/{CAMERA}/Conv2d_{2 * i}"  # rl_coach counts the activations between them too
            weights = self._variable(f"{place}/kernel", self._random(kernel, kernel, fan_in, fan_out))
            layer = self._tf.nn.conv2d(layer, weights, stride, "VALID")
            layer = relu(layer + self._variable(f"{place}/bias", self._random(fan_out)))
        for i, units in enumerate(dense):
            layer = relu(self._dense(layer, f"{name}/{CAMERA}/Dense_{2 * (len(convolutions) + i)}", units))
        layer = self._tf.reshape(layer, [-1, math.prod(layer.shape[1:])])
        for i, units in enumerate(middleware):
            layer = relu(self._dense(layer, f"{name}/middleware_fc_embedder/Dense_{2 * i}", units))
        return layer

    def train(self, seed: int) -> None:
        """Other weights, as after a training."""
        rng = np.random.default_rng(seed)
        for name, variable in self._variables.items():
            self.weights[name] = (self.weights[name] * rng.uniform(0.5, 1.5, self.weights[name].shape)).astype(
                np.float32
            )
            self._session.run(variable.initializer, {variable.initializer.inputs[1]: self.weights[name]})

    def says(self, frames: UInt8Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Frames (K, 120, 160, 1) -> probabilities (K, A) and values (K,)."""
        policy, value = self._session.run([self._policy, self._value], {self._seen: frames})
        return policy, value[:, 0]

    def files(self) -> dict[str, bytes]:
        """A checkpoint as tf.train.Saver writes it: file suffix -> content."""
        with tempfile.TemporaryDirectory() as folder, self._session.graph.as_default():
            self._saver.save(self._session, f"{folder}/model.ckpt", write_state=False)
            return {path.name.removeprefix("model.ckpt."): path.read_bytes() for path in Path(folder).iterdir()}

    def frozen(self) -> bytes:
        """model.pb: the policy with its weights as constants."""
        definition = self._session.graph.as_graph_def()
        frozen = self._v1.graph_util.convert_variables_to_constants(self._session, definition, [POLICY])
        return bytes(frozen.SerializeToString())


def metadata_json(actions: Sequence[tuple[float, float]] | None = None, **changed: object) -> str:
    """model_metadata.json of the foreign model, with (steering, speed) actions and other keys changed."""
    space = [{"steering_angle": angle, "speed": speed, "index": i} for i, (angle, speed) in enumerate(actions or FIVE)]
    network = {"neural_network": "DEEP_CONVOLUTIONAL_NETWORK_DEEP", "training_algorithm": "clipped_ppo", "version": "4"}
    return json.dumps({"action_space": space, "sensor": [CAMERA], **network, **changed})


def pointers(best: tuple[str, float], last: tuple[str, float]) -> str:
    """deepracer_checkpoints.json with (name, avg_eval_metric) of both."""
    rows = {"best_checkpoint": best, "last_checkpoint": last}
    return json.dumps({k: {"name": n, "avg_eval_metric": m, "time_stamp": 1.7e9} for k, (n, m) in rows.items()})


def write(folder: Path, content: dict[str, bytes | str]) -> Path:
    """Files below a folder: key -> content."""
    for key, data in content.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def checkpoint(name: str, files: dict[str, bytes], prefix: str = "model/") -> dict[str, bytes | str]:
    """Keys of a checkpoint's files."""
    return {f"{prefix}{name}.{suffix}": content for suffix, content in files.items()}
