"""rl_coach's clipped PPO with the same maths in fewer steps. Import it only after shim.install().

Stock rl_coach evaluates the old policy anew for every minibatch of every epoch, fetches all gradients to Python and
feeds them back to apply them, and drops the steps that do not fill a minibatch. Here the old policy is evaluated once
an iteration, a minibatch is one session run, and every step is used.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgent

from contract.learning import CRITIC_STATE
from contract.runtime import shows_native_chatter, without_native_chatter
from contract.state import BoolArray, FloatArray, IntArray
from trainer.coach import shim
from trainer.common.chained_arrays import ChainedArrays
from trainer.common.mirror import Mirror
from trainer.common.update import apply_gradients, not_finite
from trainer.ppo.diagnostics import update_diagnostics
from trainer.ppo.tuned import StateCritic, TunedUpdate

Float32Array = NDArray[np.float32]
Rows = NDArray[Any] | ChainedArrays

FORWARD_BATCH = 64
"""Frames a forward pass: large enough to keep the cores busy, small enough for the caches."""


@dataclass(slots=True)
class Dataset:
    """All steps of one iteration: sensor name -> inputs (N and more, ...), actions (N,) or (N, 2), advantages (N,),
    value_targets (N, 1), the old policy's outputs, each (N, A), and how good the values were (value_diagnostics)."""

    inputs: Mapping[str, Rows]
    actions: IntArray | FloatArray
    advantages: FloatArray
    value_targets: FloatArray
    old_policy: list[Float32Array]
    diagnostics: dict[str, float]
    last: BoolArray
    """(N,) the last steps of episodes."""
    mirror: Mirror | None = None
    turned: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(N,) which steps are seen in the mirror in this epoch."""

    def __len__(self) -> int:
        return len(self.actions)

    def pairs(self, batch: IntArray) -> IntArray:
        """(P, 2) places in a minibatch whose steps follow each other in an episode, and are seen the same way round."""
        following = (batch[1:] == batch[:-1] + 1) & ~self.last[batch[:-1]]
        if self.mirror is not None:
            following &= self.turned[batch[1:]] == self.turned[batch[:-1]]
        first = np.flatnonzero(following)
        return np.stack([first, first + 1], axis=1).astype(np.int32)


class FusedClippedPPO(ClippedPPOAgent):  # type: ignore[misc]
    """ClippedPPOAgent that learns from arrays instead of rl_coach's memory of transitions."""

    def build_update(self, tuned: TunedUpdate | None = None) -> None:
        """Add the one-run update to the graph, rl_coach's or one with the run's own options; call it before the session
        is made."""
        import tensorflow as tf

        online = self.online
        head = online.output_heads[1]
        self._metrics = [online.losses[0], online.losses[1], head.kl_divergence, head.entropy, online.total_loss]
        self._tuned, self._is_compiled = tuned, False
        self.shares = (1.0, 1.0)
        """Of the learning rate and the entropy's weight, in this iteration."""
        weights = list(online.weights)
        if tuned is None:
            self._diagnostics = update_diagnostics(online)
            self._apply = apply_gradients(online, self.ap.network_wrappers["main"])
        else:
            self._metrics[0] = tuned.value_loss
            self._metrics[4] = tuned.value_loss + tuned.policy_loss
            self._diagnostics = update_diagnostics(online, (tuned.value_gradients, tuned.policy_gradients))
            if tuned.learning.smoothness:
                self._diagnostics["command_change"] = tuned.change
            self._apply = tuned.apply
            weights += tuned.critic.weights if tuned.critic else []
        self._training = shim.training_switch(online)
        finite = [tf.reduce_all(tf.math.is_finite(weight)) for weight in weights]
        self._weights_finite = tf.reduce_all(tf.stack(finite))

    @property
    def online(self) -> Any:
        return self.networks["main"].online_network

    @property
    def critic(self) -> StateCritic | None:
        """Of the simulator's state, where there is one."""
        return self._tuned.critic if self._tuned else None

    @property
    def sensors(self) -> tuple[str, ...]:
        """The network's inputs."""
        return tuple(self.ap.network_wrappers["main"].input_embedders_parameters)

    def evaluate(self, inputs: Mapping[str, Rows]) -> tuple[Float32Array, list[Float32Array]]:
        """Sensor name -> (N, ...) in, values (N,) and the policy head's outputs, each (N, A), out."""
        online = self.online
        sensors, placeholders = self.sensors, dict(online.inputs)
        value = online.output_heads[0].output[0]
        if self.critic is not None:
            sensors, value = (*sensors, CRITIC_STATE), self.critic.value
            placeholders[CRITIC_STATE] = self.critic.state
        fetches = [value, *online.output_heads[1].output]
        parts = [
            online.sess.run(fetches, {placeholders[name]: inputs[name][i : i + FORWARD_BATCH] for name in sensors})
            for i in range(0, len(inputs[sensors[0]]), FORWARD_BATCH)
        ]
        values, *policy = (np.concatenate(part) for part in zip(*parts, strict=True))
        return values[:, 0], policy

    def advantages(self, rewards: FloatArray, values: Float32Array, bootstrap: float) -> tuple[FloatArray, FloatArray]:
        """One episode of T steps: rewards (T,), values (T,), V(final) -> advantages (T,), value targets (T, 1)."""
        extended = np.append(values.astype(np.float64), bootstrap)
        advantages, targets = self.get_general_advantage_estimation_values(rewards, extended)
        return advantages, targets

    def epoch(
        self, data: Dataset, batches: Sequence[IntArray], place: str, diagnosed: bool = False
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Train once on each minibatch (indices into data, (B,)); means of the metrics over the minibatches, and of
        the diagnostics if `diagnosed` (see trainer.ppo.diagnostics).

        TrainingError when a loss is not finite; `place` says where training stood.
        """
        diagnostics = list(self._diagnostics.values()) if diagnosed else []
        results = np.array(
            [self.minibatch(data, batch, f"{place}, minibatch {i}", diagnostics) for i, batch in enumerate(batches)]
        )
        value_loss, surrogate_loss, kl_divergence, entropy, total_loss, *read = results.mean(axis=0).tolist()
        metrics = {
            "value_loss": value_loss,
            "surrogate_loss": surrogate_loss,
            "kl_divergence": kl_divergence,
            "entropy": entropy,
            "total_loss": total_loss,
            "learning_rate": self._rate,
        }
        return metrics, dict(zip(self._diagnostics, read, strict=True)) if diagnosed else {}

    @property
    def _rate(self) -> float:
        return float(self.ap.network_wrappers["main"].learning_rate) * self.shares[0]

    def minibatch(self, data: Dataset, batch: IntArray, place: str, diagnostics: Sequence[Any] = ()) -> list[float]:
        """One step of the optimiser; the metrics and diagnostics of the weights before it."""
        feed = self._feed(data, batch)
        # the first run compiles the graph, after quiet_import has let go of what native code says
        is_first, self._is_compiled = not self._is_compiled, True
        with without_native_chatter() if is_first and not shows_native_chatter() else contextlib.nullcontext():
            metrics, _ = self.online.sess.run([[*self._metrics, *diagnostics], self._apply], feed)
        for name, value in zip(("value loss", "surrogate loss", "KL divergence", "entropy"), metrics, strict=False):
            if not np.isfinite(value):
                raise not_finite(f"{name} is {value}", place, self._lower())
        return [float(value) for value in metrics]

    def _feed(self, data: Dataset, batch: IntArray) -> dict[Any, Any]:
        online = self.online
        size = len(batch)
        actions, old_policy = data.actions[batch], [part[batch] for part in data.old_policy]
        pictures = {name: data.inputs[name][batch] for name in self.sensors}
        if data.mirror is not None:
            turned = data.turned[batch]
            pictures = {name: data.mirror.pictures(frames, turned) for name, frames in pictures.items()}
            actions, old_policy = data.mirror.actions(actions, turned), data.mirror.policy(old_policy, turned)
        inputs: list[Any] = [actions, *old_policy]
        if self.ap.algorithm.clip_likelihood_ratio_using_epsilon is not None:
            inputs.append(self.ap.algorithm.clipping_decay_schedule.current_value)
        feed: dict[Any, Any] = {self._training: True}
        feed |= {online.inputs[name]: frames for name, frames in pictures.items()}
        feed |= {online.inputs[f"output_1_{i}"]: value for i, value in enumerate(inputs)}
        value_target, advantage = online.targets
        feed |= {value_target: data.value_targets[batch], advantage: data.advantages[batch]}
        if self._tuned is not None:
            feed |= self._tuned.feed(*self.shares, data.pairs(batch))
        if self.critic is not None:
            feed |= {self.critic.state: data.inputs[CRITIC_STATE][batch], self.critic.target: data.value_targets[batch]}
        value_weight, policy_weight = online.importance_weights
        feed |= {value_weight: np.ones((size, 1)), policy_weight: np.ones(size)}
        return feed

    def check_weights(self, place: str) -> None:
        """TrainingError when the last update has left weights that are not finite."""
        if not self.online.sess.run(self._weights_finite):
            raise not_finite("a weight is not finite", place, self._lower())

    def _lower(self) -> str:
        return f"lr (now {self._rate:g})"
