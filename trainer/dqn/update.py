"""rl_coach's deep Q-learning on discrete actions, for presets. Import it only after shim.install()."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rl_coach.agents.dqn_agent import DQNAgent
from rl_coach.schedules import LinearSchedule

from trainer.coach import shim
from trainer.common.replay_buffer import Batch
from trainer.common.update import apply_gradients, not_finite

MAX_EPSILON = 0.999
"""The exported policy always tells the best action from the others, so that an evaluation can take it."""

LOWER = "the preset's learning_rate"


class FusedDQN(DQNAgent):  # type: ignore[misc]
    """DQNAgent, or double DQN, that learns from batches of arrays instead of rl_coach's memory of transitions."""

    is_double = False

    def build_update(self) -> None:
        """Add the update and the exploring policy to the graph; call it before the session is made."""
        import tensorflow as tf

        v1 = tf.compat.v1
        online = self.online
        self._apply = apply_gradients(online, self.ap.network_wrappers["main"])
        self._training = shim.training_switch(online)
        self._weights_finite = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(w)) for w in online.weights]))
        with v1.variable_scope("main_level/agent/exploration"):
            self.steps_seen = v1.get_variable("steps_seen", [], tf.int64, v1.zeros_initializer(), trainable=False)
        self._new_steps = v1.placeholder(tf.int64, [], "new_steps")
        self._count = self.steps_seen.assign_add(self._new_steps)
        self.policy = self._exploring(tf, online.outputs[0])

    def _exploring(self, tf: Any, q_values: Any) -> Any:
        """e-greedy as probabilities (N, A): rollouts sample from them, evaluations take the likeliest."""
        schedule = self.ap.exploration.epsilon_schedule
        final, decay = schedule.initial_value, 1
        if isinstance(schedule, LinearSchedule):
            final, decay = schedule.final_value, schedule.decay_steps
        left = tf.maximum(0.0, 1.0 - tf.cast(self.steps_seen, tf.float32) / decay)
        epsilon = tf.minimum(final + (schedule.initial_value - final) * left, MAX_EPSILON)
        actions = int(q_values.shape[-1])
        return (1.0 - epsilon) * tf.one_hot(tf.argmax(q_values, 1), actions) + epsilon / actions

    @property
    def online(self) -> Any:
        return self.networks["main"].online_network

    def action_values(self, network: Any, observations: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Sensor name -> (N, ...) in, action values (N, A) out."""
        feed = {network.inputs[name]: values for name, values in observations.items()}
        values: NDArray[np.float32] = network.sess.run(network.outputs[0], feed)
        return values

    def targets(self, batch: Batch) -> NDArray[np.float32]:
        """(B, A): r + gamma max Q'(s', a) for the action that was taken, the present value for the others.

        Double DQN picks a by the online network (van Hasselt et al. 2016, arXiv:1509.06461).
        """
        rows, after = (
            np.arange(len(batch.rewards)),
            self.action_values(self.networks["main"].target_network, batch.next_states),
        )
        chooser = self.action_values(self.online, batch.next_states) if self.is_double else after
        ahead = after[rows, chooser.argmax(axis=1)]
        targets = self.action_values(self.online, batch.states)
        rewards, terminals = batch.rewards[:, 0], batch.terminals[:, 0]
        targets[rows, batch.actions] = rewards + (1.0 - terminals) * self.ap.algorithm.discount * ahead
        return targets

    def step(self, batch: Batch, place: str) -> float:
        """One gradient step; the loss. TrainingError when it is not finite; `place` says where training stood."""
        online = self.online
        feed = {online.inputs[name]: values for name, values in batch.states.items()}
        feed |= {online.targets[0]: self.targets(batch), self._training: True}
        feed |= {online.importance_weights[0]: np.ones((len(batch.rewards), 1))}
        loss, _ = online.sess.run([online.total_loss, self._apply], feed)
        if not np.isfinite(loss):
            raise not_finite(f"loss is {loss}", place, LOWER)
        return float(loss)

    def count(self, steps: int) -> int:
        """Note that so many steps were driven; all that were, which settles how much is explored."""
        return int(self.online.sess.run(self._count, {self._new_steps: steps}))

    def check_weights(self, place: str) -> None:
        """TrainingError when the last update has left weights that are not finite."""
        if not self.online.sess.run(self._weights_finite):
            raise not_finite("a weight is not finite", place, LOWER)


class FusedDoubleDQN(FusedDQN):
    """Double DQN: the online network picks the next action, the target network values it."""

    is_double = True
