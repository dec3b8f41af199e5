"""CoachAgent: rl_coach's clipped PPO as the trainer's Agent."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from contract.learning import CRITIC_STATE, LearningConfig
from contract.metadata import ModelMetadata
from contract.protocols import UpdateReport
from contract.rollout import Rollout
from contract.runtime import is_bfloat16
from contract.state import IntArray
from trainer.coach import shim
from trainer.coach.preset import BUILD_RULE, load_preset
from trainer.common import networks
from trainer.common.chained_arrays import ChainedArrays
from trainer.common.checkpoint import CheckpointedAgent, GraphCheckpoint
from trainer.common.export import PolicyExport
from trainer.common.mirror import Mirror
from trainer.common.session import new_graph
from trainer.ppo.diagnostics import value_diagnostics


def in_pairs(rng: np.random.Generator, count: int) -> IntArray:
    """(N,) an order of N steps in which two that follow each other stay together, other ones each time: what a change
    from one step to the next is seen by without a further pass through the network."""
    first = int(rng.integers(0, 2))
    pairs = [np.arange(first + 2 * k, min(first + 2 * k + 2, count)) for k in range((count - first + 1) // 2)]
    if first:
        pairs.append(np.arange(1))
    return np.concatenate([pairs[k] for k in rng.permutation(len(pairs))])


def minibatches(order: IntArray, batch_size: int) -> list[IntArray]:
    """Cut (N,) indices into ceil(N / batch_size) nearly equal parts, so that the last one is not a noisy sliver."""
    return np.array_split(order, -(-len(order) // batch_size))


class CoachAgent(CheckpointedAgent):
    """Clipped PPO with a value and a policy network, on a graph and a session of its own.

    Implements contract.protocols.Agent. `seed` settles the first weights and the order of the minibatches; `threads`
    is the number of cores to use, by default those that this process may use. TensorFlow shares one pool of threads
    among all sessions of a process: the first session's number holds for all. `preset` is a racer's file with agent
    parameters to use instead of ours (see trainer.coach.preset); InputError when nothing can be built from it.
    `precision` is that of the layers' products in updates, heads aside; "auto" is bfloat16 on CPUs that have it.
    `learning` are options of the update beyond AWS's; they go with our own parameters, not with a preset.
    """

    def __init__(
        self,
        metadata: ModelMetadata,
        hyperparameters: Hyperparameters,
        seed: int,
        threads: int | None = None,
        preset: Path | None = None,
        precision: Precision = "float32",
        learning: LearningConfig = LearningConfig(),  # noqa: B008 - frozen
    ) -> None:
        shim.install()
        tf = shim.tensorflow()
        from trainer.coach import shim_tf
        from trainer.ppo.tuned import TunedUpdate
        from trainer.ppo.update import FusedClippedPPO

        self._seed, self._learning = seed, learning
        self._mirror = Mirror(metadata) if learning.mirror else None
        gpu = bool(tf.config.list_physical_devices("GPU"))
        with new_graph() as graph, contextlib.ExitStack() as stack:
            if preset is None:
                parameters = networks.agent_parameters(metadata, hyperparameters)
            else:
                racers = load_preset(preset)
                parameters = racers.agent_parameters(metadata, hyperparameters)
                stack.enter_context(racers.blamed(BUILD_RULE))
            stack.enter_context(shim_tf.products_in("bfloat16" if is_bfloat16(precision, gpu) else "float32"))
            self._ppo = FusedClippedPPO(networks.settle(parameters, seed, gpu))
            networks.place(self._ppo, metadata)
            tuned = None
            if learning.model_copy(update={"kl_limit": 0.0, "mirror": False}) != LearningConfig():
                tuned = TunedUpdate(self._ppo.online, learning, metadata, hyperparameters, seed)
            self._ppo.build_update(tuned)
            self._export = PolicyExport(self._ppo.online, metadata)
            self._checkpoint = GraphCheckpoint(graph)
        self._batch_size = int(parameters.network_wrappers["main"].batch_size)
        self._epochs = int(parameters.algorithm.optimization_epochs)
        self._begin(graph, self._ppo, self._batch_size, threads)
        if tuned is not None:
            self._session.run(tuned.initialise)

    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        """One update on whole episodes, after `steps` of training before them, which settle what the rates are annealed
        to. Randomness depends on (seed, iteration) only.

        TrainingError when a loss or a weight is not finite; the agent is then of no further use. DoesNotFitError when
        there is not enough memory.
        """

        self._memory_estimate.check_update()
        data = self._dataset(rollouts)
        diagnostics = dict(data.diagnostics)
        rng = np.random.default_rng([self._seed, iteration])
        self._ppo.shares = self._learning.shares_at(steps)
        limit = self._learning.kl_limit
        epochs, count = [], 0
        for epoch in range(self._epochs):
            smooth = self._learning.smoothness > 0.0
            order = in_pairs(rng, len(data)) if smooth else rng.permutation(len(data))
            batches = minibatches(order, self._batch_size)
            if self._mirror is not None:
                data.turned = rng.random(len(data)) < 0.5
            is_last = epoch == self._epochs - 1
            place = f"iteration {iteration}, epoch {epoch}"
            # with a limit any epoch may be the last
            means, of_update = self._ppo.epoch(data, batches, place, diagnosed=is_last or limit > 0.0)
            epochs.append(means)
            diagnostics |= of_update
            count += len(batches)
            if 0.0 < limit < means["kl_divergence"]:
                break
        self._ppo.check_weights(f"iteration {iteration}")
        last = epochs[-1]
        return UpdateReport(
            policy_loss=last["surrogate_loss"],
            value_loss=last["value_loss"],
            entropy=last["entropy"],
            kl_divergence=last["kl_divergence"],
            minibatches=count,
            epochs=epochs,
            diagnostics=diagnostics | {name: last[name] for name in ("entropy", "kl_divergence", "learning_rate")},
        )

    def _dataset(self, rollouts: Sequence[Rollout]) -> Any:
        """Steps of all episodes with normalised advantages.

        An episode that the race rules ended has no value after its last step; one cut by a step limit has V(final).
        """
        from trainer.ppo import update as ppo

        finals = [rollout.final for rollout in rollouts if rollout.truncated]
        read = (*self._ppo.sensors, *([CRITIC_STATE] if self._ppo.critic else []))
        inputs = {
            name: ChainedArrays([*(r.observations[name] for r in rollouts), *(final[name][None] for final in finals)])
            for name in read
        }
        values, old_policy = self._ppo.evaluate(inputs)
        steps = sum(map(len, rollouts))
        bootstraps = iter(values[steps:])
        advantages, targets, start = [], [], 0
        for rollout in rollouts:
            episode = values[start : start + len(rollout)]
            bootstrap = float(next(bootstraps)) if rollout.truncated else 0.0
            advantage, target = self._ppo.advantages(rollout.rewards, episode, bootstrap)
            advantages.append(advantage)
            targets.append(target)
            start += len(rollout)
        raw = np.concatenate(advantages)
        targets_of_all = np.concatenate(targets)
        return ppo.Dataset(
            inputs=inputs,
            actions=np.concatenate([rollout.actions for rollout in rollouts]),
            # rl_coach divides by the bare deviation; a constant advantage would give 0 / 0
            advantages=(raw - raw.mean()) / (raw.std() or 1.0),
            value_targets=targets_of_all,
            old_policy=[part[:steps] for part in old_policy],
            diagnostics=value_diagnostics(values[:steps], targets_of_all[:, 0], raw),
            last=np.isin(np.arange(steps), np.cumsum([len(rollout) for rollout in rollouts]) - 1),
            mirror=self._mirror,
        )
