"""Double DQN with a dueling head instead of PPO: another algorithm of rl_coach's, for discrete actions.

Explores e-greedily, from 1 down to e_greedy_value within epsilon_steps driven steps.
"""

from rl_coach.agents.ddqn_agent import DDQNAgentParameters
from rl_coach.architectures.head_parameters import DuelingQHeadParameters
from rl_coach.core_types import EnvironmentSteps
from rl_coach.schedules import LinearSchedule

from trainer.coach.preset import default_agent_params


def get_agent_params(metadata, hyperparameters):
    """rl_coach's double DQN with our network before its head."""
    params = DDQNAgentParameters()
    network = params.network_wrappers["main"]
    ours = default_agent_params(metadata, hyperparameters).network_wrappers["main"]
    network.input_embedders_parameters = ours.input_embedders_parameters
    network.middleware_parameters = ours.middleware_parameters
    network.heads_parameters = [DuelingQHeadParameters()]
    network.learning_rate = hyperparameters.lr
    network.batch_size = hyperparameters.batch_size
    params.algorithm.discount = hyperparameters.discount_factor
    params.algorithm.num_steps_between_copying_online_weights_to_target = EnvironmentSteps(2000)
    params.exploration.epsilon_schedule = LinearSchedule(
        1.0, hyperparameters.e_greedy_value, hyperparameters.epsilon_steps
    )
    return params
