"""Frozen policies of agents that were never trained, each built once for all tests.

rl_coach takes seconds to build one, with all the gradients and the optimiser that its export leaves out.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from tests.stock_coach import CAMERA, metadata
from trainer.agents import make_agent

DEEPEST = "DEEP_CONVOLUTIONAL_NETWORK_DEEP"
"""The deepest network, with the fewest weights."""
STEREO: Sequence[str] = ("STEREO_CAMERAS", "SECTOR_LIDAR")

BATCHNORM = """
from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgentParameters
from rl_coach.architectures.layers import BatchnormActivationDropout, Conv2d, Dense


def get_agent_params(metadata, hyperparameters):
    parameters = ClippedPPOAgentParameters()
    network = parameters.network_wrappers["main"]
    embedder = network.input_embedders_parameters.pop("observation")
    embedder.scheme = [Conv2d(8, 8, 4), BatchnormActivationDropout(batchnorm=True, activation_function="relu")]
    network.input_embedders_parameters["FRONT_FACING_CAMERA"] = embedder
    network.middleware_parameters.scheme = [Dense(16), BatchnormActivationDropout(dropout_rate=0.5)]
    return parameters
"""
"""A racer's preset."""


def sac_metadata(**options: Any) -> ModelMetadata:
    return ModelMetadata.parse(json.dumps(metadata(continuous=True, **options).raw | {"training_algorithm": "sac"}))


POLICIES: dict[str, tuple[ModelMetadata, str | None]] = {
    "shallow": (metadata(), None),
    "batchnorm": (metadata(), BATCHNORM),
    "continuous stereo and lidar": (metadata(continuous=True, sensors=STEREO), None),
    "sac": (sac_metadata(network=DEEPEST), None),
    "lidar": (metadata(network=DEEPEST, sensors=(CAMERA, "LIDAR")), None),
}
"""All kinds of outputs, inputs and layers: name -> metadata and preset."""


class UntrainedPolicy(Protocol):
    """The fixture `untrained_policy`."""

    def __call__(self, model: ModelMetadata, seed: int = 3, preset: str | None = None) -> bytes:
        """The frozen graph (model.pb) of a new agent."""


def untrained_policies(folder: Path) -> UntrainedPolicy:
    """Policies that are kept in the folder, for every process that asks for the same one."""

    def policy(model: ModelMetadata, seed: int = 3, preset: str | None = None) -> bytes:
        asked = json.dumps([model.to_json(), seed, preset])
        path = folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.pb"
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                path.write_bytes(_built(model, seed, path.with_suffix(".py"), preset))
            return path.read_bytes()

    return policy


def _built(model: ModelMetadata, seed: int, path: Path, preset: str | None) -> bytes:
    if preset is not None:
        path.write_text(preset)
    hyperparameters = Hyperparameters.parse("{}", "hyperparameters.json", model.algorithm)
    return bytes(make_agent(model, hyperparameters, seed, preset=path if preset is not None else None).export())
