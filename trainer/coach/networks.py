"""The contract's networks and PPO constants, as data and as rl_coach parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, ModelMetadata
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH

CLIP_EPSILON = 0.2
GAE_LAMBDA = 0.95
ADAM_EPSILON = 1e-5
ADAM_BETA2 = 0.999


@dataclass(frozen=True)
class Network:
    """Layers of one tower, ReLU after each; conv is (filters, kernel, stride), the others are units."""

    conv: tuple[tuple[int, int, int], ...]
    embedder_dense: tuple[int, ...]
    middleware_dense: tuple[int, ...]


NETWORKS = {
    "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW": Network(((32, 8, 4), (64, 4, 2), (64, 3, 1)), (), (512,)),
    "DEEP_CONVOLUTIONAL_NETWORK": Network(((32, 5, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1)), (64,), (512,)),
    "DEEP_CONVOLUTIONAL_NETWORK_DEEP": Network(
        ((32, 8, 4), (32, 4, 2), (64, 4, 2), (64, 3, 1)), (512, 512), (256, 128)
    ),
}
"""contract.md, networks, front camera."""


def agent_parameters(metadata: ModelMetadata, hyperparameters: Hyperparameters, seed: int, gpu: bool) -> Any:
    """rl_coach's AgentParameters for clipped PPO; shim.install() must have been called."""
    from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgentParameters
    from rl_coach.architectures.embedder_parameters import InputEmbedderParameters
    from rl_coach.architectures.layers import Conv2d, Dense
    from rl_coach.architectures.middleware_parameters import FCMiddlewareParameters
    from rl_coach.base_parameters import TaskParameters
    from rl_coach.filters.filter import NoInputFilter, NoOutputFilter

    layers = NETWORKS[metadata.network]
    embedder = [Conv2d(*conv) for conv in layers.conv] + [Dense(units) for units in layers.embedder_dense]
    parameters = ClippedPPOAgentParameters()
    parameters.name = "agent"  # with the parent's "main_level", the first half of the contract's node names
    parameters.task_parameters = TaskParameters(use_cpu=not gpu, seed=seed)
    parameters.input_filter, parameters.output_filter = NoInputFilter(), NoOutputFilter()

    network = parameters.network_wrappers["main"]
    network.input_embedders_parameters = {
        metadata.camera: InputEmbedderParameters(scheme=embedder, activation_function="relu")
    }
    network.middleware_parameters = FCMiddlewareParameters(
        scheme=[Dense(units) for units in layers.middleware_dense], activation_function="relu"
    )
    network.use_separate_networks_per_head = True  # network_0 is the value's tower, network_1 the policy's
    network.create_target_network = False  # the old policy is evaluated once, before the update
    network.learning_rate = hyperparameters.lr
    network.batch_size = hyperparameters.batch_size
    network.optimizer_epsilon = ADAM_EPSILON
    network.adam_optimizer_beta2 = ADAM_BETA2
    network.replace_mse_with_huber_loss = hyperparameters.loss_type == "huber"

    algorithm = parameters.algorithm
    algorithm.clip_likelihood_ratio_using_epsilon = CLIP_EPSILON
    algorithm.gae_lambda = GAE_LAMBDA
    algorithm.estimate_state_value_using_gae = True
    algorithm.beta_entropy = hyperparameters.beta_entropy
    algorithm.discount = hyperparameters.discount_factor
    algorithm.optimization_epochs = hyperparameters.num_epochs
    return parameters


def spaces(metadata: ModelMetadata) -> Any:
    """rl_coach's SpacesDefinition: one grey camera, and actions as the policy's head puts them out."""
    from rl_coach.spaces import (
        BoxActionSpace,
        DiscreteActionSpace,
        ImageObservationSpace,
        RewardSpace,
        SpacesDefinition,
        StateSpace,
    )

    camera = ImageObservationSpace(np.array([CAMERA_HEIGHT, CAMERA_WIDTH, 1]), high=255)
    size = metadata.actions.size
    continuous = isinstance(metadata.actions, ContinuousActions)
    action = BoxActionSpace(size, low=-1.0, high=1.0) if continuous else DiscreteActionSpace(size)
    return SpacesDefinition(StateSpace({metadata.camera: camera}), goal=None, action=action, reward=RewardSpace(1))
