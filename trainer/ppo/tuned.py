"""Clipped PPO's update with the run's own options (contract.learning): rates that go down, a critic that reads the
simulator's state, commands that change less. Import it only after shim.install().

Without an option it computes what FusedClippedPPO does by rl_coach's own gradients.
"""

from typing import Any

import numpy as np

from contract.hyperparameters import Hyperparameters
from contract.learning import CRITIC_STATE_SIZE, LearningConfig
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from contract.state import IntArray
from contract.vehicle import MAX_SPEED_MPS
from trainer.coach import shim
from trainer.common.update import gated

CRITIC_UNITS = (256, 256)
CRITIC_RATE = 3.0
"""Of the learning rate: what a small dense network takes."""
CRITIC_SCOPE = "main_level/agent/main/critic"


class StateCritic:
    """V(s) of the simulator's state: two dense layers. It is no part of the exported policy, nor of what begins from
    the model; rl_coach's own value tower stays in the checkpoint as it was at first."""

    def __init__(self, huber: bool, seed: int) -> None:
        """`huber` is the hyperparameters' loss_type; the graph that is being built gets it."""
        tf = shim.tensorflow()
        v1 = tf.compat.v1
        with v1.variable_scope(CRITIC_SCOPE):
            self.state = v1.placeholder(tf.float32, [None, CRITIC_STATE_SIZE], "state")
            self.target = v1.placeholder(tf.float32, [None, 1], "target")
            layer, width = self.state, CRITIC_STATE_SIZE
            self.weights: list[Any] = []
            for number, units in enumerate((*CRITIC_UNITS, 1)):
                is_last = units == 1
                scale = 0.01 if is_last else np.sqrt(2.0)
                begin = v1.orthogonal_initializer(scale, seed + number)
                kernel = v1.get_variable(f"dense_{number}/kernel", [width, units], tf.float32, begin)
                bias = v1.get_variable(f"dense_{number}/bias", [units], tf.float32, v1.zeros_initializer())
                self.weights += [kernel, bias]
                layer = tf.matmul(layer, kernel) + bias
                layer = layer if is_last else tf.nn.tanh(layer)
                width = units
            self.value = layer
            # a loss collection would make it a loss of rl_coach's network
            loss = v1.losses.huber_loss if huber else v1.losses.mean_squared_error
            self.loss = loss(self.target, self.value, loss_collection=None)


class TunedUpdate:
    """The operation of one optimiser step, with its inputs: `rate` and `entropy_weight` are scalars, `pairs` (P, 2)
    int32 rows of the minibatch that are neighbouring steps of an episode."""

    def __init__(
        self, online: Any, learning: LearningConfig, metadata: ModelMetadata, settings: Hyperparameters, seed: int
    ) -> None:
        tf = shim.tensorflow()
        v1 = tf.compat.v1
        self.learning, self._lr, self._beta = learning, settings.lr, settings.beta_entropy
        self.rate = v1.placeholder_with_default(np.float32(settings.lr), (), "learning_rate")
        self.entropy_weight = v1.placeholder_with_default(np.float32(settings.beta_entropy), (), "entropy_weight")
        self.pairs = v1.placeholder(tf.int32, [None, 2], "pairs")
        known = {variable.ref() for variable in v1.global_variables()}
        self.critic = StateCritic(settings.loss_type == "huber", seed) if learning.reads_state else None
        head = online.output_heads[1]
        policy_loss = head.surrogate_loss - self.entropy_weight * head.entropy
        if learning.smoothness:
            commands = _commands(head, metadata)
            change = tf.gather(commands, self.pairs[:, 0]) - tf.gather(commands, self.pairs[:, 1])
            # CAPS' temporal term (Mysore et al. 2021, arXiv 2012.06644), squared; no pairs: no term
            count = tf.maximum(tf.cast(tf.shape(change)[0], tf.float32), 1.0)
            self.change = tf.reduce_sum(tf.square(change)) / count
            policy_loss += learning.smoothness * self.change
        self.policy_loss = policy_loss
        trained = {weight.ref() for weight in v1.trainable_variables()}

        def tower(number: int) -> list[Any]:
            return [it for it in online.weights if it.ref() in trained and f"/network_{number}/" in it.op.name]

        self.value_loss = online.losses[0] if self.critic is None else self.critic.loss
        value_weights = tower(0) if self.critic is None else self.critic.weights
        policy = list(zip(tf.gradients(policy_loss, tower(1)), tower(1), strict=True))
        value = list(zip(tf.gradients(self.value_loss, value_weights), value_weights, strict=True))
        self.policy_gradients, self.value_gradients = policy, value
        optimiser = online.optimizer
        optimiser._lr = self.rate  # rl_coach made it with a number
        towers = [policy] if self.critic is not None else [value, policy]
        steps = [optimiser.apply_gradients(gated(towers), global_step=online.global_step)]
        if self.critic is not None:
            own = v1.train.AdamOptimizer(CRITIC_RATE * self.rate, epsilon=1e-5, name="critic_adam")
            steps.append(own.apply_gradients(gated([value])))
        self.apply = tf.group(*steps)
        own_variables = [it for it in v1.global_variables() if it.ref() not in known]
        self.initialise = v1.variables_initializer(own_variables)
        """Of the variables that rl_coach does not know of; to be run in a new session."""

    def feed(self, rate_share: float, entropy_share: float, pairs: IntArray) -> dict[Any, Any]:
        """What its inputs are in a minibatch: shares of the rates, and pairs of neighbours."""
        feed: dict[Any, Any] = {self.rate: self._lr * rate_share, self.entropy_weight: self._beta * entropy_share}
        return feed | ({self.pairs: pairs} if self.learning.smoothness else {})


def _commands(head: Any, metadata: ModelMetadata) -> Any:
    """(B, 2) the policy's mean steering and speed, each by its largest: of discrete actions by their probabilities."""
    tf = shim.tensorflow()
    if isinstance(metadata.actions, ContinuousActions):
        return head.policy_mean
    return tf.matmul(head.policy_mean, tf.constant(command_table(metadata.actions)))


def command_table(actions: DiscreteActions) -> Any:
    """(A, 2) float32 steering and speed of each action, by the largest that there are."""
    controls = actions.controls(np.arange(actions.size))
    steering, speed = controls.steering_rad, controls.speed_mps
    return np.stack([steering / max(np.abs(steering).max(), 1e-6), speed / MAX_SPEED_MPS], axis=1).astype(np.float32)
