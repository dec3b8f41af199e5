"""The unmodified ClippedPPOAgent of rl_coach, and made-up episodes to train it and ours on."""

import json
import random  # noqa: TID251 - rl_coach shuffles with the global generator
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, ModelMetadata
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, EpisodeStatus, IntArray, Observations
from trainer.coach import shim
from trainer.common import networks

CAMERA = "FRONT_FACING_CAMERA"


def metadata(
    continuous: bool = False, network: str = "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW", sensors: Sequence[str] = (CAMERA,)
) -> ModelMetadata:
    """Five actions, or steering and speed ranges, seen by the front camera or other sensors."""
    space: Any = [{"steering_angle": angle, "speed": 1.0} for angle in (-30, -15, 0, 15, 30)]
    if continuous:
        space = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}}
    kind = "continuous" if continuous else "discrete"
    seen = {"sensor": list(sensors), "neural_network": network}
    return ModelMetadata.parse(json.dumps({"action_space": space, "action_space_type": kind, **seen}))


def episode(seed: int, steps: int, model: ModelMetadata, truncated: bool = False) -> Rollout:
    """An episode of noise: observations, actions and rewards are random."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(steps, STEP_DTYPE)
    rows["reward"] = rng.uniform(0.0, 1.0, steps)
    rows["status"][-1] = EpisodeStatus.time_up if truncated else EpisodeStatus.off_track
    seen: Observations = {
        name: rng.integers(0, 256, (steps + 1, *shape), dtype=np.uint8)
        if len(shape) == 3
        else rng.random((steps + 1, *shape), np.float32)
        for name, shape in model.observation_shapes().items()
    }
    continuous = isinstance(model.actions, ContinuousActions)
    actions = rng.normal(0.0, 0.5, (steps, 2)) if continuous else rng.integers(0, model.actions.size, steps)
    before, final = ({name: values[part] for name, values in seen.items()} for part in (slice(-1), -1))
    return Rollout(seed, 0, before, final, actions, rows, truncated)


class StockAgent:
    """rl_coach's agent as released: its target network, its memory, its train(), one thread as its graph manager sets.

    TensorFlow's pool of threads belongs to the process: for timings nothing else may have made a session before.
    """

    def __init__(self, model: ModelMetadata, hyperparameters: Hyperparameters, seed: int) -> None:
        shim.install()
        tf = shim.tensorflow()
        from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgent
        from rl_coach.architectures.tensorflow_components.general_network import GeneralTensorFlowNetwork

        parameters = networks.settle(networks.agent_parameters(model, hyperparameters), seed, gpu=False)
        parameters.network_wrappers["main"].create_target_network = True
        GeneralTensorFlowNetwork.variable_scopes_dict.clear()
        graph = tf.Graph()
        with graph.as_default():
            self.agent = ClippedPPOAgent(parameters)
            self.agent.parent = types.SimpleNamespace(name="main_level")
            self.agent.set_environment_parameters(networks.spaces(model))
            config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
            self.agent.set_session(tf.compat.v1.Session(config=config))
        GeneralTensorFlowNetwork.variable_scopes_dict.clear()
        self.agent.update_log = lambda: None  # writes a CSV through the graph manager, which does not exist here
        self.losses: list[list[float]] = []
        main = self.agent.networks["main"]
        main.train_and_sync_networks = self._noting_losses(main.train_and_sync_networks)

    def _noting_losses(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **kwargs: Any) -> Any:
            result = train(*args, **kwargs)
            _, losses, _, (kl_divergence, entropy, *_) = result
            self.losses.append([losses[0], losses[1], kl_divergence, entropy])
            return result

        return noting

    @property
    def online(self) -> Any:
        return self.agent.networks["main"].online_network

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the online network's weights, in rl_coach's order."""
        online = self.online
        online.sess.run(online.update_weights_from_list, dict(zip(online.weights_placeholders, weights, strict=True)))

    def weights(self) -> list[Any]:
        return list(self.online.sess.run(self.online.weights))

    def store(self, rollouts: Sequence[Rollout]) -> None:
        """Put episodes into rl_coach's memory, as its own loop would have."""
        from rl_coach.core_types import EnvironmentSteps, Episode, Transition

        agent = self.agent
        for rollout in rollouts:
            buffer = Episode(discount=agent.ap.algorithm.discount, n_step=agent.ap.algorithm.n_step)
            seen = rollout.observations
            states = [*({name: seen[name][i] for name in seen} for i in range(len(rollout))), rollout.final]
            for i in range(len(rollout)):
                buffer.insert(
                    Transition(
                        state=states[i],
                        action=rollout.actions[i],
                        reward=rollout.rewards[i],
                        next_state=states[i + 1],
                        game_over=i == len(rollout) - 1,
                    )
                )
            buffer.is_complete = True
            buffer.update_transitions_rewards_and_bootstrap_data()
            agent.current_episode_buffer = buffer
            agent.memory.store_episode(buffer)
            agent.total_steps_counter += len(rollout)
        agent.ap.algorithm.num_consecutive_playing_steps = EnvironmentSteps(sum(map(len, rollouts)))

    def train(self, shuffle_seed: int) -> None:
        """One stock update; `losses` then holds (value, surrogate, KL, entropy) of each minibatch."""
        random.seed(shuffle_seed)
        self.losses.clear()
        self.agent.train()


def stock_minibatches(steps: int, batch_size: int, epochs: int, shuffle_seed: int) -> list[list[IntArray]]:
    """The minibatches that StockAgent.train takes, by epoch, (batch_size,) each; what does not fill one is dropped."""
    shuffler = random.Random(shuffle_seed)

    def shuffled(values: IntArray) -> IntArray:
        order = list(range(steps))
        shuffler.shuffle(order)
        return values[order]

    order = shuffled(np.arange(steps))  # ClippedPPOAgent.train shuffles once, train_network before each epoch
    result = []
    for _ in range(epochs):
        order = shuffled(order)
        whole = steps // batch_size * batch_size
        result.append(list(order[:whole].reshape(-1, batch_size)))
    return result
