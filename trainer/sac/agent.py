"""SacAgent: rl_coach's soft actor-critic as the trainer's Agent."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.learning import LearningConfig
from contract.metadata import ModelMetadata
from contract.protocols import UpdateReport
from contract.rollout import Rollout
from contract.state import BoolArray, Observations
from trainer.coach import shim
from trainer.common import networks
from trainer.common.checkpoint import GraphCheckpoint
from trainer.common.export import PolicyExport
from trainer.common.mirror import Mirror
from trainer.common.replay_buffer import MEMORY_BYTES, Batch, ReplayAgent
from trainer.common.session import new_graph

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

    parameters = networks.settle(SoftActorCriticAgentParameters(), seed, gpu)
    for name, network in parameters.network_wrappers.items():
        kept = network.middleware_parameters
        networks.describe(network, metadata, hyperparameters)
        if reads_state and name != "policy":
            network.input_embedders_parameters = networks.state_embedder()
        if name == "q":
            network.middleware_parameters = kept
    parameters.algorithm.discount = hyperparameters.discount_factor
    parameters.algorithm.rate_for_copying_weights_to_target = TARGET_RATE
    return parameters


class SacAgent(ReplayAgent):
    """Soft actor-critic with a policy, an action-value and a value network, on a graph and a session of its own.

    Implements contract.protocols.Agent. An update takes as many gradient steps as PPO would take on the same rollouts,
    `num_epochs` x new steps / `batch_size`, each on a batch drawn from the whole replay memory: a step is replayed
    `num_epochs` times on average. (AWS's simulation application takes one gradient step for every new step, 64 replays
    at its default batch size, too many for a few cores.) Training explores by the policy's own noise, as AWS's does:
    e_greedy_value and epsilon_steps are read and have no effect on SAC, here as there.

    `seed` settles the first weights, the batches and the noise; `threads` is as for CoachAgent.
    """

    def __init__(
        self,
        metadata: ModelMetadata,
        hyperparameters: Hyperparameters,
        seed: int,
        threads: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
        learning: LearningConfig = LearningConfig(),  # noqa: B008 - frozen
    ) -> None:
        shim.install()
        tf = shim.tensorflow()
        from trainer.sac.update import FusedSAC

        self._hyperparameters, self._seed, self._learning = hyperparameters, seed, learning
        self._mirror = Mirror(metadata) if learning.mirror else None
        reads_state = learning.reads_state
        super().__init__(metadata, memory_bytes, reads_state)
        gpu = bool(tf.config.list_physical_devices("GPU"))
        with new_graph() as graph:
            self._sac = FusedSAC(sac_parameters(metadata, hyperparameters, seed, gpu, reads_state))
            networks.place(self._sac, metadata, reads_state)
            self._sac.build_update(hyperparameters.sac_alpha, hyperparameters.lr, learning.anneal_steps > 0)
            self._export = PolicyExport(self._sac.networks["policy"].online_network, metadata)
            self._checkpoint = GraphCheckpoint(graph)
        self._begin(graph, self._sac, hyperparameters.batch_size, threads, self._memory_bytes)
        self._sac.networks["v"].update_target_network()

    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        """Remember the episodes, then one update. `steps` of training before them settle what the rates are annealed
        to. Randomness depends on (seed, iteration) only.

        An epoch of the report is a `num_epochs`-th of the gradient steps. TrainingError when a loss or a weight is not
        finite; the agent is then of no further use. DoesNotFitError when there is not enough memory.
        """
        self._memory_estimate.check_update()
        self._memory.add(rollouts)
        rng = np.random.default_rng([self._seed, iteration])
        self._sac.shares = self._learning.shares_at(steps)
        settings = self._hyperparameters
        count = -(-settings.num_epochs * sum(map(len, rollouts)) // settings.batch_size)
        epochs = [
            self._epoch(rng, len(steps), f"iteration {iteration}, epoch {epoch}")
            for epoch, steps in enumerate(np.array_split(np.arange(count), settings.num_epochs))
            if len(steps)
        ]
        self._sac.check_weights(f"iteration {iteration}")
        last = epochs[-1]
        return UpdateReport(
            policy_loss=last["surrogate_loss"],
            value_loss=last["value_loss"],
            entropy=last["entropy"],
            kl_divergence=0.0,
            minibatches=count,
            epochs=epochs,
            diagnostics={name: last[name] for name in ("q_value", "q_loss", "learning_rate")}
            | {"alpha": settings.sac_alpha * self._sac.shares[1]},
        )

    def _epoch(self, rng: np.random.Generator, steps: int, place: str) -> dict[str, float]:
        """Means of the metrics over some gradient steps, under the names of PPO's."""
        size = self._hyperparameters.batch_size
        results = []
        for step in range(steps):
            batch = self._memory.sample(rng, size)
            if self._mirror is not None:
                batch = _turned(batch, self._mirror, rng.random(size) < 0.5)
            noise = rng.standard_normal((size, 2), dtype=np.float32)
            results.append(self._sac.step(batch, noise, f"{place}, minibatch {step}"))
        means = {name: float(np.mean([result[name] for result in results])) for name in results[0]}
        means["surrogate_loss"] = means.pop("policy_loss")
        return means | {"kl_divergence": 0.0, "learning_rate": self._hyperparameters.lr * self._sac.shares[0]}


def _turned(batch: Batch, mirror: Mirror, turned: BoolArray) -> Batch:
    """The batch with some of its transitions mirrored: those where `turned` (B,) is True."""

    def mirrored(observations: Observations) -> Observations:
        return {name: mirror.pictures(frames, turned) for name, frames in observations.items()}

    actions = mirror.actions(batch.actions, turned)
    return Batch(mirrored(batch.states), actions, batch.rewards, mirrored(batch.next_states), batch.terminals)
