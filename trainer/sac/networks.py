"""rl_coach's parameters for soft actor-critic: the contract's networks, AWS's constants where they make sense."""

from typing import Any

from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from trainer.common import networks

TARGET_RATE = 0.05
"""Share of the value network that its target takes over at every gradient step (the paper's tau). Ten times rl_coach's,
since a training here is a thousand gradient steps, not a million; AWS's application copies all of it each iteration."""


def sac_parameters(
    metadata: ModelMetadata, hyperparameters: Hyperparameters, seed: int, gpu: bool, reads_state: bool = False
) -> Any:
    """rl_coach's AgentParameters for SAC; shim.install() must have been called. With `reads_state` values and action
    values are of the simulator's state, and only the policy sees what the sensors do.

    Policy, value and action-value networks have an embedder each for every sensor. The action-value network has no
    middleware: its two heads take the embedding and the action. loss_type is the value network's loss; that of the
    action values is half the squared error, in rl_coach and in AWS's simulation application alike.
    """
    from rl_coach.agents.soft_actor_critic_agent import SoftActorCriticAgentParameters
    from rl_coach.architectures.layers import Dense
    from rl_coach.architectures.middleware_parameters import FCMiddlewareParameters
    from rl_coach.base_parameters import TaskParameters
    from rl_coach.filters.filter import NoInputFilter, NoOutputFilter

    parameters = SoftActorCriticAgentParameters()
    parameters.name = "agent"  # with the parent's "main_level", the first half of the contract's node names
    parameters.task_parameters = TaskParameters(use_cpu=not gpu, seed=seed)
    parameters.input_filter, parameters.output_filter = NoInputFilter(), NoOutputFilter()
    for name, network in parameters.network_wrappers.items():
        sees = networks.state_embedder() if reads_state and name != "policy" else networks.input_embedders(metadata)
        network.input_embedders_parameters = sees
        if name != "q":
            network.middleware_parameters = FCMiddlewareParameters(
                scheme=[Dense(units) for units in networks.NETWORKS[metadata.network].middleware_dense],
                activation_function="relu",
            )
        network.learning_rate = hyperparameters.lr
        network.batch_size = hyperparameters.batch_size
        network.optimizer_epsilon = networks.ADAM_EPSILON
        network.adam_optimizer_beta2 = networks.ADAM_BETA2
        network.replace_mse_with_huber_loss = hyperparameters.loss_type == "huber"
    parameters.algorithm.discount = hyperparameters.discount_factor
    parameters.algorithm.rate_for_copying_weights_to_target = TARGET_RATE
    return parameters
