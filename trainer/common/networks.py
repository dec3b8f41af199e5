"""The contract's networks and PPO constants, as data and as rl_coach parameters."""

import types
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.learning import CRITIC_STATE
from contract.metadata import LIDARS, ContinuousActions, ModelMetadata

CLIP_EPSILON = 0.2
GAE_LAMBDA = 0.95
ADAM_EPSILON = 1e-5
ADAM_BETA2 = 0.999


@dataclass(frozen=True)
class Embedder:
    """Layers that one input goes through, ReLU after each; conv is (filters, kernel, stride), dense is units."""

    conv: tuple[tuple[int, int, int], ...] = ()
    dense: tuple[int, ...] = ()


@dataclass(frozen=True)
class Network:
    """One tower: an embedder an input, concatenated in the order of the inputs' names, then dense layers."""

    camera: Embedder
    stereo: Embedder
    middleware_dense: tuple[int, ...]


_SHALLOW = Embedder(((32, 8, 4), (64, 4, 2), (64, 3, 1)))
_STEREO = Embedder(((32, 3, 1), (64, 3, 2), (64, 3, 1), (128, 3, 2), (128, 3, 1)))
_LIDAR = Embedder(dense=(256, 256))

NETWORKS = {
    "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW": Network(_SHALLOW, _SHALLOW, (512,)),
    "DEEP_CONVOLUTIONAL_NETWORK": Network(
        Embedder(((32, 5, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1)), (64,)), _STEREO, (512,)
    ),
    "DEEP_CONVOLUTIONAL_NETWORK_DEEP": Network(
        Embedder(((32, 8, 4), (32, 4, 2), (64, 4, 2), (64, 3, 1)), (512, 512)), _STEREO, (256, 128)
    ),
}
"""contract.md, networks."""


def embedder(metadata: ModelMetadata, sensor: str) -> Embedder:
    """The layers of a sensor in the metadata's network."""
    network = NETWORKS[metadata.network]
    if sensor in LIDARS:
        return _LIDAR
    if sensor == "observation":  # simapp gives the legacy camera this one in every network
        return _SHALLOW
    return network.stereo if sensor == "STEREO_CAMERAS" else network.camera


def agent_parameters(metadata: ModelMetadata, hyperparameters: Hyperparameters) -> Any:
    """rl_coach's AgentParameters for clipped PPO; shim.install() must have been called."""
    from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgentParameters

    parameters = ClippedPPOAgentParameters()
    network = parameters.network_wrappers["main"]
    describe(network, metadata, hyperparameters)
    network.use_separate_networks_per_head = True  # network_0 is the value's tower, network_1 the policy's

    algorithm = parameters.algorithm
    algorithm.clip_likelihood_ratio_using_epsilon = CLIP_EPSILON
    algorithm.gae_lambda = GAE_LAMBDA
    algorithm.estimate_state_value_using_gae = True
    algorithm.beta_entropy = hyperparameters.beta_entropy
    algorithm.discount = hyperparameters.discount_factor
    algorithm.optimization_epochs = hyperparameters.num_epochs
    return parameters


def describe(network: Any, metadata: ModelMetadata, hyperparameters: Hyperparameters) -> None:
    """Layers, optimiser and loss of one of an agent's rl_coach NetworkParameters."""
    from rl_coach.architectures.layers import Dense
    from rl_coach.architectures.middleware_parameters import FCMiddlewareParameters

    network.input_embedders_parameters = input_embedders(metadata)
    network.middleware_parameters = FCMiddlewareParameters(
        scheme=[Dense(units) for units in NETWORKS[metadata.network].middleware_dense], activation_function="relu"
    )
    network.learning_rate = hyperparameters.lr
    network.batch_size = hyperparameters.batch_size
    network.optimizer_epsilon = ADAM_EPSILON
    network.adam_optimizer_beta2 = ADAM_BETA2
    network.replace_mse_with_huber_loss = hyperparameters.loss_type == "huber"


def settle(parameters: Any, seed: int, gpu: bool) -> Any:
    """What every agent's parameters have here, whoever wrote them."""
    from rl_coach.base_parameters import TaskParameters
    from rl_coach.filters.filter import NoInputFilter, NoOutputFilter

    parameters.name = "agent"  # with the parent's "main_level", the first half of the contract's node names
    parameters.task_parameters = TaskParameters(use_cpu=not gpu, seed=seed)
    parameters.input_filter, parameters.output_filter = NoInputFilter(), NoOutputFilter()
    if "main" in parameters.network_wrappers:  # the old policy is evaluated once, beforehand
        parameters.network_wrappers["main"].create_target_network = False
    return parameters


def place(agent: Any, metadata: ModelMetadata, with_state: bool = False) -> None:
    """Build an rl_coach agent's networks under the contract's names."""
    agent.parent = types.SimpleNamespace(name="main_level")  # the first part of every node's name
    agent.set_environment_parameters(spaces(metadata, with_state))


def input_embedders(metadata: ModelMetadata) -> dict[str, Any]:
    """Sensor name -> rl_coach's InputEmbedderParameters; a camera's divide by 255, a lidar's nothing."""
    return {sensor: _embedder_parameters(embedder(metadata, sensor)) for sensor in metadata.sensors}


def state_embedder() -> dict[str, Any]:
    """The same of a critic that reads the simulator's state."""
    return {CRITIC_STATE: _embedder_parameters(Embedder(dense=(256, 256)))}


def _embedder_parameters(layers: Embedder) -> Any:
    from rl_coach.architectures.embedder_parameters import InputEmbedderParameters
    from rl_coach.architectures.layers import Conv2d, Dense

    scheme = [Conv2d(*conv) for conv in layers.conv] + [Dense(units) for units in layers.dense]
    return InputEmbedderParameters(scheme=scheme, activation_function="relu")


def spaces(metadata: ModelMetadata, with_state: bool = False) -> Any:
    """rl_coach's SpacesDefinition: grey cameras, lidars, the simulator's state where a critic reads it, and actions as
    the policy's head puts them out."""
    from rl_coach.spaces import (
        BoxActionSpace,
        DiscreteActionSpace,
        PlanarMapsObservationSpace,
        RewardSpace,
        SpacesDefinition,
        StateSpace,
        VectorObservationSpace,
    )

    def observation(shape: tuple[int, ...]) -> Any:
        if len(shape) == 3:  # rl_coach's image spaces have 1 or 3 channels, its planar maps any number
            return PlanarMapsObservationSpace(np.array(shape), low=0, high=255)
        return VectorObservationSpace(shape[0])

    observations = {name: observation(shape) for name, shape in metadata.observation_shapes(with_state).items()}
    size = metadata.actions.size
    continuous = isinstance(metadata.actions, ContinuousActions)
    action = BoxActionSpace(size, low=-1.0, high=1.0) if continuous else DiscreteActionSpace(size)
    return SpacesDefinition(StateSpace(observations), goal=None, action=action, reward=RewardSpace(1))
