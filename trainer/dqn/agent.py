"""DqnAgent: rl_coach's deep Q-learning as the trainer's Agent, by a racer's preset."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.protocols import UpdateReport
from contract.rollout import Rollout
from trainer.coach import shim
from trainer.coach.preset import BUILD_RULE, load_preset
from trainer.common import networks
from trainer.common.checkpoint import GraphCheckpoint
from trainer.common.export import PolicyExport
from trainer.common.replay_buffer import ReplayAgent
from trainer.common.session import new_graph


class DqnAgent(ReplayAgent):
    """DQN or double DQN with any Q head, on a graph and a session of its own.

    Implements contract.protocols.Agent. As in rl_coach there is a gradient step for every
    `num_consecutive_playing_steps` driven, on a batch drawn from the whole replay memory, and the target network is
    renewed every `num_steps_between_copying_online_weights_to_target` driven. The exported policy is e-greedy as
    probabilities under the node name of PPO's, so rollouts, evaluations and the car need not know of Q values.
    """

    def __init__(
        self,
        metadata: ModelMetadata,
        hyperparameters: Hyperparameters,
        seed: int,
        threads: int | None,
        preset: Path,
    ) -> None:
        shim.install()
        tf = shim.tensorflow()
        from trainer.dqn.update import FusedDoubleDQN, FusedDQN

        self._seed = seed
        super().__init__(metadata)
        racers = load_preset(preset)
        parameters = racers.agent_parameters(metadata, hyperparameters)
        gpu = bool(tf.config.list_physical_devices("GPU"))
        kind = FusedDoubleDQN if parameters.path.endswith(":DDQNAgent") else FusedDQN
        with new_graph() as graph, racers.blamed(BUILD_RULE):
            networks.settle(parameters, seed, gpu)
            parameters.network_wrappers["main"].create_target_network = True
            self._dqn = kind(parameters)
            networks.place(self._dqn, metadata)
            self._dqn.build_update()
            self._export = PolicyExport(self._dqn.online, metadata, self._dqn.policy)
            self._checkpoint = GraphCheckpoint(graph)
        network, algorithm = parameters.network_wrappers["main"], parameters.algorithm
        self._batch_size, self._learning_rate = int(network.batch_size), float(network.learning_rate)
        self._playing_steps = int(algorithm.num_consecutive_playing_steps.num_steps)
        self._copy_steps = int(algorithm.num_steps_between_copying_online_weights_to_target.num_steps)
        self._copy_rate = float(algorithm.rate_for_copying_weights_to_target)
        self._begin(graph, self._dqn, self._batch_size, threads, self._memory_bytes)
        self._session.run(self._dqn.steps_seen.initializer)  # rl_coach only knows its own
        self._dqn.networks["main"].update_target_network()

    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        """Remember the episodes, then learn. Randomness depends on (seed, iteration) only.

        TrainingError when a loss or a weight is not finite; the agent is then of no further use. DoesNotFitError when
        there is not enough memory.
        """
        self._memory_estimate.check_update()
        driven = sum(map(len, rollouts))
        self._memory.add(rollouts)
        rng = np.random.default_rng([self._seed, iteration])
        end = self._dqn.count(driven)
        losses: list[float] = []
        for count in range(end - driven + self._playing_steps, end + 1, self._playing_steps):
            batch = self._memory.sample(rng, self._batch_size)
            losses.append(self._dqn.step(batch, f"iteration {iteration}, minibatch {len(losses)}"))
            if count // self._copy_steps > (count - self._playing_steps) // self._copy_steps:
                self._dqn.networks["main"].update_target_network(self._copy_rate)
        self._dqn.check_weights(f"iteration {iteration}")
        loss = float(np.mean(losses)) if losses else 0.0
        metrics = {"value_loss": loss, "surrogate_loss": loss, "total_loss": loss, "kl_divergence": 0.0, "entropy": 0.0}
        return UpdateReport(
            policy_loss=loss,
            value_loss=loss,
            entropy=0.0,
            kl_divergence=0.0,
            minibatches=len(losses),
            epochs=[metrics | {"learning_rate": self._learning_rate}],
            diagnostics={"learning_rate": self._learning_rate},
        )
