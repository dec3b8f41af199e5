"""What an update of clipped PPO is judged by besides its losses, from tensors that the update computes anyway."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.state import FloatArray
from trainer.coach import shim

Pairs = Sequence[tuple[Any, Any]]


def update_diagnostics(network: Any, towers: tuple[Pairs, Pairs] | None = None) -> dict[str, Any]:
    """Name -> scalar tensor of one minibatch, of a network with rl_coach's value and PPO heads.

    value_gradient_norm, policy_gradient_norm    global norms of the towers' gradients, before any clipping;
                                                 gradient_norm alone where the heads share a tower
    approximate_kl    mean(r - 1 - log r), r = pi(a) / pi_old(a): Schulman's estimator k3 of the KL divergence from the
                      policy before the update (joschu.net/blog/kl-approx.html)
    clip_fraction     share of steps whose r is outside the clipping range

    towers    the value's and the policy's gradients with their weights, where they are not rl_coach's own
    """
    tf = shim.tensorflow()
    pairs = [
        (gradient, weight)
        for gradient, weight in zip(network.tensor_gradients, network.weights, strict=True)
        if gradient is not None
    ]
    names = {"/network_0/": "value_gradient_norm", "/network_1/": "policy_gradient_norm"}
    if network.num_networks == 1:
        names = {"/network_0/": "gradient_norm"}
    diagnostics = {
        name: tf.linalg.global_norm([gradient for gradient, weight in pairs if tower in weight.op.name])
        for tower, name in names.items()
    }
    if towers is not None:
        for name, tower in zip(names.values(), towers, strict=True):
            diagnostics[name] = tf.linalg.global_norm([gradient for gradient, _ in tower])
    head = network.output_heads[1]
    log_ratio = head.action_probs_wrt_policy - head.action_probs_wrt_old_policy  # rl_coach's names for log pi(a)
    ratio = head.likelihood_ratio
    diagnostics["approximate_kl"] = tf.reduce_mean(ratio - 1.0 - log_ratio)
    if head.clip_likelihood_ratio_using_epsilon is not None:
        limit = head.clip_likelihood_ratio_using_epsilon * head.clip_param_rescaler
        diagnostics["clip_fraction"] = tf.reduce_mean(tf.cast(tf.abs(ratio - 1.0) > limit, tf.float32))
    return diagnostics


def value_diagnostics(values: NDArray[np.float32], targets: FloatArray, advantages: FloatArray) -> dict[str, float]:
    """Of the values (N,) before the update, against the targets (N,) that it trains them on, and advantages (N,) as
    they are before they are normalised. Explained variance is 1 - var(targets - values) / var(targets): 1 is perfect,
    0 no better than a constant; 0 where all targets are equal."""
    spread = float(np.var(targets))
    return {
        "explained_variance": 1.0 - float(np.var(targets - values)) / spread if spread > 0.0 else 0.0,
        "value_mean": float(np.mean(values)),
        "advantage_deviation": float(np.std(advantages)),
    }
