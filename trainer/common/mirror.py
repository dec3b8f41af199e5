"""Steps as seen in a mirror: a road that bends to the left is as good a lesson for one that bends to the right."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError
from contract.metadata import LIDARS, ContinuousActions, DiscreteActions, ModelMetadata
from contract.state import BoolArray, IntArray

_SAME = 1e-6


class Mirror:
    """What left and right are of a model's sensors and actions; InputError for a model that has no mirror image."""

    def __init__(self, metadata: ModelMetadata) -> None:
        lidars = [name for name in metadata.sensors if name in LIDARS]
        if lidars:
            rule, fix = "only cameras' pictures are turned round", "leave `mirror` out, or train without a lidar"
            raise InputError("learning.mirror", ", ".join(lidars), rule, fix)
        self._twins = _twins(metadata.actions) if isinstance(metadata.actions, DiscreteActions) else None
        if isinstance(metadata.actions, ContinuousActions):
            _check_ranges(metadata.actions)

    def pictures(self, frames: NDArray[Any], turned: BoolArray) -> NDArray[Any]:
        """(B, height, width, channels) with those turned round that are told, (B,); two cameras change places."""
        frames = np.array(frames)
        frames[turned] = frames[turned][:, :, ::-1, ::-1]
        return frames

    def actions(self, actions: NDArray[Any], turned: BoolArray) -> NDArray[Any]:
        """Indices (B,) or commands (B, 2)."""
        actions = np.array(actions)
        if self._twins is not None:
            actions[turned] = self._twins[actions[turned]]
        else:
            actions[turned, 0] *= -1.0
        return actions

    def policy(self, outputs: list[NDArray[Any]], turned: BoolArray) -> list[NDArray[Any]]:
        """What the old policy said, (B, A) probabilities or means and deviations, as said of the mirror image: so that
        the ratio of likelihoods is by the distribution that the action was drawn from."""
        outputs = [np.array(output) for output in outputs]
        if self._twins is not None:
            outputs[0][turned] = outputs[0][turned][:, self._twins]
        else:
            outputs[0][turned, 0] *= -1.0
        return outputs


def _twins(actions: DiscreteActions) -> IntArray:
    """(A,) the action with the same speed that steers as far to the other side."""
    controls = actions.controls(np.arange(actions.size))
    steering, speed = controls.steering_rad, controls.speed_mps
    apart = np.abs(steering[:, None] + steering) + np.abs(speed[:, None] - speed)
    twins: IntArray = apart.argmin(axis=1)
    alone = np.flatnonzero(apart.min(axis=1) > _SAME)
    if alone.size:
        shown = ", ".join(f"{np.degrees(steering[k]):g} degrees at {speed[k]:g} m/s" for k in alone[:3])
        rule = "each action has one that steers as far to the other side at the same speed"
        raise InputError("learning.mirror", shown, rule, "leave `mirror` out, or `undercut actions --mirrored`")
    if len(set(twins.tolist())) < actions.size:
        raise InputError("learning.mirror", "two equal actions", "each action stands once", "delete one of them")
    return twins


def _check_ranges(actions: ContinuousActions) -> None:
    ends = actions.controls(np.array([[-1.0, 0.0], [1.0, 0.0]])).steering_rad
    if abs(ends.sum()) > _SAME:
        shown = f"{np.degrees(ends[0]):g} to {np.degrees(ends[1]):g} degrees"
        rule = "steering goes as far to the left as to the right"
        raise InputError("learning.mirror", shown, rule, "leave `mirror` out, or change the range")
