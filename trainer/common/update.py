"""Gradients applied inside the graph, in one session run with what they are computed from, and the error of an update
whose numbers are not finite."""

from collections.abc import Sequence
from typing import Any

from contract.errors import TrainingError
from trainer.coach import shim


def apply_gradients(network: Any, parameters: Any) -> Any:
    """The operation of one optimiser step of an rl_coach network, batch-norm's moving statistics included.

    parameters    its rl_coach NetworkParameters
    """
    tf = shim.tensorflow()
    v1 = tf.compat.v1
    found = network.clipped_grads if parameters.clip_gradients else network.tensor_gradients
    # batch-norm's moving statistics are among rl_coach's weights and have no gradient
    gradients = {w: gradient for w, gradient in zip(network.weights, found, strict=True) if gradient is not None}
    names = [f"/network_{i}/" for i in range(network.num_networks)]
    towers = [[(gradients[w], w) for w in gradients if name in w.op.name] for name in names]
    assert sum(map(len, towers)) == len(gradients)
    apply = network.optimizer.apply_gradients(gated(towers), global_step=network.global_step)
    return tf.group(apply, *v1.get_collection(v1.GraphKeys.UPDATE_OPS, scope=network.full_name))


def gated(towers: Sequence[Sequence[tuple[Any, Any]]]) -> list[tuple[Any, Any]]:
    """(gradient, weight) pairs that are applied only once all gradients of their tower are there.

    Variables are updated in place: without a barrier a layer's weights could change while the gradient of the layer
    before it is still being computed from them. Towers share no weights, so each has its own barrier.
    """
    tf = shim.tensorflow()
    pairs = []
    for tower in towers:
        with tf.compat.v1.control_dependencies([gradient for gradient, _ in tower]):
            pairs += [(tf.identity(gradient), weight) for gradient, weight in tower]
    return pairs


def not_finite(what: str, place: str, lower: str) -> TrainingError:
    """`what` is not finite, `place` says where training stood, `lower` what the racer may lower."""
    return TrainingError(
        f"{what} in {place}",
        "losses and weights stay finite; the last checkpoint is from before this update",
        f"lower {lower}, and check that the reward stays within a few units a step",
    )
