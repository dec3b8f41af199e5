"""rl_coach's soft actor-critic with an update that is one session run. Import it only after shim.install().

rl_coach 1.0.1 makes one update in seven runs, and three of them draw the policy's noise anew: the gradient of the
action values is then taken at one action and carried on through another, which leaves the policy's deviation without
any gradient from them. Here one noise sample, an input, serves the whole update. Its other fault, that evaluation
drives the bare mean where training drives a tanh, is mended where actions are chosen, and in the exported graph.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rl_coach.agents.soft_actor_critic_agent import SoftActorCriticAgent

from contract.state import Observations
from trainer.common.replay_buffer import Batch
from trainer.common.update import not_finite

Float32Array = NDArray[np.float32]

METRICS = ("policy_loss", "value_loss", "q_loss", "entropy", "q_value")


class FusedSAC(SoftActorCriticAgent):  # type: ignore[misc]
    """SoftActorCriticAgent that learns from a Batch instead of rl_coach's memory of transitions.

    Haarnoja et al. 2018, arXiv 1801.01290, with the temperature `alpha` written out: for a ~ pi(s) and the two action
    values' minimum Q,  J_policy = mean(alpha log pi(a|s) - Q(s, a)),  V's target is Q(s, a) - alpha log pi(a|s),  and
    the action values' target is r + discount (1 - terminal) V_target(s').
    """

    def build_update(self, alpha: Any, lr: float = 0.0, is_annealed: bool = False) -> None:
        """Add the one-run update to the graph; call it before the session is made. `is_annealed`: the learning rate and
        alpha are fed anew in each update, by their `shares`."""
        import tensorflow as tf

        v1 = tf.compat.v1
        self.shares, self._annealed = (1.0, 1.0), dict[Any, tuple[float, int]]()
        """Of the learning rate and of alpha in this iteration; inputs and what is fed to them at a share of 1."""
        if is_annealed:
            rate = v1.placeholder_with_default(np.float32(lr), (), "learning_rate")
            weight = v1.placeholder_with_default(np.float32(alpha), (), "alpha")
            for name in ("policy", "q", "v"):
                self._online(name).optimizer._lr = rate  # rl_coach made it with a number
            self._annealed, alpha = {rate: (lr, 0), weight: (alpha, 1)}, weight
        policy, q, value = self._online("policy"), self._online("q"), self._online("v")
        target = self.networks["v"].target_network
        mean, log_std = policy.output_heads[0].policy_mean, policy.output_heads[0].policy_log_std
        self.noise = v1.placeholder(tf.float32, [None, mean.shape[-1]], "noise")
        self._rewards = v1.placeholder(tf.float32, [None, 1], "rewards")
        self._terminals = v1.placeholder(tf.float32, [None, 1], "terminals")

        raw = mean + tf.exp(log_std) * self.noise
        self.actions = tf.tanh(raw)
        # log of the normal density, minus log |d tanh / d raw| = 2 (log 2 - raw - softplus(-2 raw)), which stays exact
        # where 1 - tanh^2 has rounded to 0
        density = -0.5 * tf.square(self.noise) - log_std - 0.5 * math.log(2.0 * math.pi)
        squash = 2.0 * (math.log(2.0) - raw - tf.nn.softplus(-2.0 * raw))
        self.log_likelihood = tf.reduce_sum(density - squash, axis=1, keepdims=True)
        # the policy moves its actions, not what the action values see
        self.q_of_policy = tf.minimum(*self._action_values(tf.stop_gradient(q.state_embedding[0]), self.actions))
        self.policy_loss = tf.reduce_mean(alpha * self.log_likelihood - self.q_of_policy)

        self.value_target = tf.stop_gradient(self.q_of_policy - alpha * self.log_likelihood)
        self.value_loss = tf.reduce_mean(self._value_error(self.value_target, value.outputs[0]))
        bootstrap = self.ap.algorithm.discount * (1.0 - self._terminals) * target.outputs[0]
        self.q_target = tf.stop_gradient(self._rewards + bootstrap)
        head = q.output_heads[0]
        errors = [tf.square(output - self.q_target) for output in (head.q1_output, head.q2_output)]
        self.q_loss = 0.5 * tf.reduce_mean(errors[0]) + 0.5 * tf.reduce_mean(errors[1])

        self._metrics = [
            self.policy_loss,
            self.value_loss,
            self.q_loss,
            -tf.reduce_mean(self.log_likelihood),
            tf.reduce_mean(self.q_of_policy),
        ]
        self._build_steps(v1, [(policy, self.policy_loss), (value, self.value_loss), (q, self.q_loss)])
        weights = [weight for network in (policy, q, value) for weight in network.weights]
        self._weights_finite = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(w)) for w in weights]))

    def _build_steps(self, v1: Any, losses: list[tuple[Any, Any]]) -> None:
        """Gradient steps of the networks, then the target's; all gradients are those of the weights before."""
        self.gradients = {network.network_wrapper_name: v1.gradients(loss, network.weights) for network, loss in losses}
        pairs = [
            (network, gradient, weight)
            for network, _ in losses
            for gradient, weight in zip(self.gradients[network.network_wrapper_name], network.weights, strict=True)
            if gradient is not None
        ]
        # Variables are updated in place: without a barrier a weight could change while a gradient still reads it.
        with v1.control_dependencies([gradient for _, gradient, _ in pairs]):
            gated = [(network, v1.identity(gradient), weight) for network, gradient, weight in pairs]
        steps = []
        for network, _ in losses:
            mine = [(gradient, weight) for owner, gradient, weight in gated if owner is network]
            steps.append(network.optimizer.apply_gradients(mine))
        rate = self.ap.algorithm.rate_for_copying_weights_to_target
        with v1.control_dependencies(steps):
            online, target = (self._online("v").weights, self.networks["v"].target_network.weights)
            moves = [v1.assign_add(t, rate * (w - t)) for w, t in zip(online, target, strict=True)]
        self._apply = v1.group(*steps, *moves)

    def _online(self, name: str) -> Any:
        return self.networks[name].online_network

    def _action_values(self, embedding: Any, actions: Any) -> Iterator[Any]:
        """Both outputs (B, 1) of rl_coach's SACQHead for other actions (B, 2), with the head's own weights."""
        import tensorflow as tf

        v1 = tf.compat.v1
        head = self._online("q").output_heads[0]
        dense, relu = head.dense_layer, head.activation_function
        scope = head.q1_output.op.name.partition("/q1_head/")[0]
        for name, output in (("q1_head", "q1_output"), ("q2_head", "q2_output")):
            with v1.variable_scope(f"{scope}/{name}", reuse=True):
                first, *others = head.network_layers_sizes
                hidden = dense(first)(embedding, activation=relu) + dense(first)(actions, activation=relu)
                for units in others:
                    hidden = dense(units)(hidden, activation=relu)
                yield dense(1)(hidden, name=output)

    def _value_error(self, target: Any, value: Any) -> Any:
        import tensorflow as tf

        losses = tf.compat.v1.losses
        huber = self.ap.network_wrappers["v"].replace_mse_with_huber_loss
        loss = losses.huber_loss if huber else losses.mean_squared_error
        return loss(target, value, reduction=losses.Reduction.NONE, loss_collection=None)

    def step(self, batch: Batch, noise: Float32Array, place: str) -> dict[str, float]:
        """One gradient step of every network; metrics by name. `noise` (B, 2) is standard normal.

        TrainingError when a loss is not finite; `place` says where training stood.
        """
        metrics, _ = self._online("q").sess.run([self._metrics, self._apply], self.feed(batch, noise))
        for name, value in zip(METRICS, metrics, strict=True):
            if not np.isfinite(value):
                raise not_finite(f"{name.replace('_', ' ')} is {value}", place, self._lower())
        return dict(zip(METRICS, map(float, metrics), strict=True))

    def feed(self, batch: Batch, noise: Float32Array) -> dict[Any, Any]:
        """What the update's tensors read, for a session run."""
        q = self._online("q")
        feed = {q.inputs["output_0_0"]: batch.actions, self.noise: noise}
        feed |= {self._rewards: batch.rewards, self._terminals: batch.terminals}
        feed |= {tensor: value * self.shares[which] for tensor, (value, which) in self._annealed.items()}
        states, next_states = as_floats(batch.states), as_floats(batch.next_states)
        for network in ("policy", "q", "v"):
            feed |= {tensor: states[name] for name, tensor in self._online(network).inputs.items() if name in states}
        later = self.networks["v"].target_network.inputs
        return feed | {tensor: next_states[name] for name, tensor in later.items() if name in next_states}

    def check_weights(self, place: str) -> None:
        """TrainingError when the last update has left weights that are not finite."""
        if not self._online("q").sess.run(self._weights_finite):
            raise not_finite("a weight is not finite", place, self._lower())

    def _lower(self) -> str:
        return f"lr (now {self.ap.network_wrappers['q'].learning_rate:g})"


def as_floats(observations: Observations) -> dict[str, Float32Array]:
    """Converted once, since three networks read them."""
    return {name: values.astype(np.float32) for name, values in observations.items()}
