"""Policies that look trained: sure of one action here and of another there, for what a car's formats make of them."""

import json
from typing import Any

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from contract.runtime import quiet_import
from contract.state import STEP_DTYPE
from contract.vehicle import STEREO_BASE_M
from simapp.camera import Camera
from simapp.tracks import load_track
from trainer.agents import make_agent
from trainer.common.export import HEAD
from trainer.common.saliency import Saliency

LIST = [{"steering_angle": angle, "speed": speed} for speed in (1.0, 2.0) for angle in (-30, -15, 0, 15, 30)]
RANGES = {"steering_angle": {"low": -30.0, "high": 30.0}, "speed": {"low": 1.0, "high": 2.0}}
KINDS: dict[str, dict[str, Any]] = {
    "discrete": {"action_space": LIST, "sensor": ["FRONT_FACING_CAMERA"]},
    "continuous": {"action_space": RANGES, "action_space_type": "continuous", "sensor": ["FRONT_FACING_CAMERA"]},
    "stereo": {"action_space": LIST, "sensor": ["STEREO_CAMERAS"]},
}
"""What model_metadata.json says of each."""
SPREAD_LOGITS, SPREAD_ACTIONS = 4.0, 0.4
"""Standard deviation over a lap's frames, of each logit, or of each continuous action in -1 to 1."""
FRAMES = 200


def model_of(kind: str) -> ModelMetadata:
    return ModelMetadata.parse(json.dumps({**KINDS[kind], "version": "5", "training_algorithm": "clipped_ppo"}))


def road_frames(model: ModelMetadata) -> Rollout:
    """A lap of the shipped track on its centre line: the frames alone are driven."""
    camera = Camera(load_track("paddock"))
    poses = camera.track.pose_at(np.linspace(0.0, camera.track.length_m, FRAMES, endpoint=False))
    lefts = (STEREO_BASE_M / 2, -STEREO_BASE_M / 2) if model.camera == "STEREO_CAMERAS" else (0.0,)
    seen = [camera.render(poses.x_m, poses.y_m, poses.heading_rad, left_m=left) for left in lefts]
    observations = {model.camera: np.stack(seen, axis=-1)}
    return Rollout(0, 0, observations, {}, np.zeros(FRAMES, np.int64), np.zeros(FRAMES, STEP_DTYPE), truncated=False)


def trained_looking(model: ModelMetadata, lap: Rollout) -> bytes:
    """An untrained PPO policy's frozen graph, its last layer scaled and shifted: over the lap's frames each output
    before the softmax is 0 on average and deviates as SPREAD_LOGITS or SPREAD_ACTIONS say."""
    tensorflow = quiet_import("tensorflow")
    policy = bytes(make_agent(model, Hyperparameters.parse("{}", "hyperparameters.json"), seed=2).export())
    saliency = Saliency(policy, model)
    try:
        seen = saliency.embeddings(lap.observations).astype(np.float64)
    finally:
        saliency.close()
    graph = tensorflow.compat.v1.GraphDef.FromString(policy)
    nodes = {node.name: node for node in graph.node}

    def node_of(name: str) -> Any:
        return nodes[name.partition(":")[0]]

    def constant(name: str) -> Any:
        node = node_of(name)
        while node.op == "Identity":
            node = node_of(node.input[0])
        assert node.op == "Const", node.op
        return node.attr["value"].tensor

    queue = [node_of(f"{HEAD}/policy")]
    while queue[0].op not in ("BiasAdd", "Add", "AddV2"):  # back from the head to its dense layer
        queue += [node_of(name) for name in queue.pop(0).input]
    added = queue[0]
    weights, bias = constant(node_of(added.input[0]).input[1]), constant(added.input[1])
    before = tensorflow.make_ndarray(weights)
    said = seen @ before
    scale = (SPREAD_LOGITS if "softmax" in _operations(graph) else SPREAD_ACTIONS) / said.std(axis=0)
    weights.CopyFrom(tensorflow.make_tensor_proto((before * scale).astype(np.float32)))
    bias.CopyFrom(tensorflow.make_tensor_proto((-said.mean(axis=0) * scale).astype(np.float32)))
    return bytes(graph.SerializeToString())


def _operations(graph: Any) -> set[str]:
    return {node.op.lower() for node in graph.node}
