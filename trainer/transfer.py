"""What a new network takes over from a pretrained one: weights by name, and the policy's head action by action."""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from trainer.common.weights import Weights

Actions = DiscreteActions | ContinuousActions

NEAR_STEERING_DEG, NEAR_SPEED_MPS = 5.0, 1.0
"""How far an action may be from the one whose weights it takes over: half the finest steering step of AWS's consoles,
and one step of speed."""
FRESH_SCALE = 0.01
"""What first weights of an action without a model are multiplied by, so that it begins about as likely as the others
are on average (rl_coach's own factor for the heads of continuous actions)."""

_HEAD = re.compile(r"/ppo_head_\d+/(policy_fc|policy_mean|policy_log_std)")
_OPTIONAL = re.compile(r"/gradients_from_head_\d+-\d+_rescalers")
"""Variables that change nothing in what a network puts out."""
_SHOWN = 12
REMAP_FIX = "give --remap-actions to keep what the two have in common, or use the pretrained model's own action space"


def check_same_kind(old: ModelMetadata, new: ModelMetadata, remap: bool, where: str) -> None:
    """InputError with both sides when algorithm, network, sensors or, without `remap`, actions are not the same."""
    for key, before, after in (
        ("training_algorithm", old.algorithm, new.algorithm),
        ("neural_network", old.network, new.network),
        ("sensor", ", ".join(sorted(old.sensors)), ", ".join(sorted(new.sensors))),
        ("lidar_config", str(old.lidar_config), str(new.lidar_config)),
    ):
        if before != after and (key != "lidar_config" or old.lidar):
            raise InputError(
                f"{where}: {key}",
                before,
                f"the pretrained model and the new one have the same {key}\n    pretrained: {before}\n    new: {after}",
                f"set {key} in model_metadata.json to the pretrained model's, or choose another pretrained model",
            )
    if old.actions == new.actions:
        return
    rule = f"the pretrained model and the new one have the same actions{both(old.actions, new.actions)}"
    if new.algorithm == "sac":  # its action values have learnt what the old ranges mean
        fix = "use the pretrained model's own ranges: with sac actions cannot be remapped"
        raise InputError(f"{where}: action_space", shortly(old.actions), rule, fix)
    if not remap:
        raise InputError(f"{where}: action_space", shortly(old.actions), rule, REMAP_FIX)


def transfer(
    source: Weights,
    fresh: Weights,
    old: ModelMetadata | None,
    new: ModelMetadata,
    *,
    where: str,
    only: Collection[str] | None = None,
    remap: bool = False,
) -> tuple[Weights, list[str]]:
    """The new network's weights: those of `source` that it has too, its own `fresh` ones for the rest; and what became
    of the policy's head, in words.

    `only` names the weights that the source has to have, where it is a policy without its value network. `old` is the
    source's metadata, without which its actions are taken to be the new ones. InputError lists the weights that are
    missing, of another shape or too many; `where` names the source.
    """
    notes = []
    source = dict(source)
    if old is None:
        notes.append("it has no model_metadata.json: its actions are taken to be those of the new model")
    elif old.actions != new.actions:
        check_same_kind(old, new, remap, where)
        head = {name: source.pop(name) for name in list(source) if _HEAD.search(name)}
        own = {name: value for name, value in fresh.items() if _HEAD.search(name)}
        wanted = {name for name in (fresh if only is None else only) if name not in own}
        _check_shapes(source, fresh, wanted, where)  # the towers, on which the head's own width depends
        _check_head(head, own, old, new, where)
        mapped, note = remapped(head, own, old.actions, new.actions)
        source |= mapped
        notes.append(note)
    _check_shapes(source, fresh, set(fresh if only is None else only), where)
    if only is not None and set(only) != set(fresh):
        notes.append("it has the policy only: the value network begins anew")
    return fresh | {name: source[name] for name in fresh if name in source}, notes


def _check_head(head: Weights, fresh: Weights, old: ModelMetadata, new: ModelMetadata, where: str) -> None:
    if not fresh:
        rule = f"actions are remapped in the head of clipped PPO{both(old.actions, new.actions)}"
        raise InputError(f"{where}: action_space", shortly(old.actions), rule, "use the pretrained model's own actions")
    layer = "policy_fc" if isinstance(old.actions, DiscreteActions) else "policy_mean"
    outputs = ", ".join(sorted({str(value.shape[-1]) for value in head.values()}))
    fits = any(f"/{layer}/" in name for name in head) and outputs == str(old.actions.size)
    if not fits or (type(old.actions) is type(new.actions) and head.keys() != fresh.keys()):
        raise InputError(
            f"{where}: action_space",
            shortly(old.actions),
            f"a model fits its model_metadata.json; this one's head has {outputs or 'no'} outputs",
            "put the model_metadata.json that the pretrained model was trained with beside it",
        )


def _check_shapes(source: Weights, fresh: Weights, wanted: set[str], where: str) -> None:
    known = {name for name in source if not _OPTIONAL.search(name)}
    wanted = {name for name in wanted if not _OPTIONAL.search(name)}
    lines = [
        f"{name}: pretrained {_shape(source.get(name))}, new {_shape(fresh.get(name))}"
        for name in sorted(known | wanted)
        if (name in known and name not in fresh)
        or (name in wanted and name not in source)
        or (name in known and source[name].shape != fresh[name].shape)
    ]
    if lines:
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise InputError(
            f"{where}: weights",
            f"{len(lines)} of {len(known | wanted)} weights differ",
            "\n    ".join(
                ["the new model has the pretrained one's network, sensors and actions", *lines[:_SHOWN], *more]
            ),
            "use the model_metadata.json (and the preset) that the pretrained model was trained with",
        )


def _shape(value: NDArray[Any] | None) -> str:
    return "none" if value is None else str(list(value.shape))


def remapped(head: Weights, fresh: Weights, old: Actions, new: Actions) -> tuple[Weights, str]:
    """The policy head's weights for the new actions, and in words what became of it.

    head   the pretrained head's weights by name       fresh   the new network's first ones
    """
    if isinstance(old, DiscreteActions) and isinstance(new, DiscreteActions):
        return _remapped_list(head, fresh, old, new)
    if isinstance(old, ContinuousActions) and isinstance(new, ContinuousActions):
        return _remapped_ranges(head, fresh, old, new)
    return _small(fresh), f"actions: {shortly(old)} became {shortly(new)}, so the policy's head begins anew"


def origins(old: DiscreteActions, new: DiscreteActions) -> list[int | None]:
    """For each new action the old one that it takes over: the same, else the nearest within NEAR_*, else None."""
    found: list[int | None] = []
    for steering_deg, speed_mps in zip(new.steering_deg, new.speed_mps, strict=True):
        steering = np.abs(old.steering_deg - steering_deg) / NEAR_STEERING_DEG
        speed = np.abs(old.speed_mps - speed_mps) / NEAR_SPEED_MPS
        distance = np.where(np.maximum(steering, speed) <= 1.0 + 1e-9, np.hypot(steering, speed), np.inf)
        nearest = int(np.argmin(distance))
        found.append(nearest if np.isfinite(distance[nearest]) else None)
    return found


def _remapped_list(head: Weights, fresh: Weights, old: DiscreteActions, new: DiscreteActions) -> tuple[Weights, str]:
    """Rows of the last axis are actions. Actions that take over the same one share its probability."""
    taken = origins(old, new)
    copied = [i for i in taken if i is not None]
    result = _small(fresh)
    for name, value in result.items() if copied else ():
        source = head[name]
        middle = source[..., sorted(set(copied))].mean(axis=-1)
        for j, i in enumerate(taken):
            if i is None:
                value[..., j] += middle
            else:
                value[..., j] = source[..., i] - (np.log(taken.count(i)) if name.endswith("/bias") else 0.0)
    same = sum(i is not None and one(old, i) == one(new, j) for j, i in enumerate(taken))
    moved = [
        f"{one(new, j)} from {one(old, i)}" for j, i in enumerate(taken) if i is not None and one(old, i) != one(new, j)
    ]
    anew = [one(new, j) for j, i in enumerate(taken) if i is None]
    parts = [f"{same} kept"]
    parts += [f"{len(moved)} from the nearest ({'; '.join(moved)})"] if moved else []
    parts += [f"{len(anew)} anew ({'; '.join(anew)})"] if anew else []
    return result, f"actions: {', '.join(parts)}"


def _remapped_ranges(
    head: Weights, fresh: Weights, old: ContinuousActions, new: ContinuousActions
) -> tuple[Weights, str]:
    """The mean is linear in the head's weights, so the same steering and speed come out of other ranges exactly."""
    before, after = (np.array([it.steering_deg, it.speed_mps]) for it in (old, new))
    (centre, half), (new_centre, new_half) = ((it.mean(axis=1), np.ptp(it, axis=1) / 2.0) for it in (before, after))
    usable = (half > 0.0) & (new_half > 0.0)  # an output whose range is a point says nothing
    ratio = np.divide(half, new_half, out=np.ones(2), where=usable)
    shift = np.divide(centre - new_centre, new_half, out=np.zeros(2), where=usable)
    result = _small(fresh)
    for name, value in result.items():
        source = head[name]
        if name.endswith("policy_log_std"):
            value[...] = source + np.log(ratio)
        else:
            value[...] = source * ratio + (shift if name.endswith("/bias") else 0.0)
    return result, f"actions: {shortly(old)} became {shortly(new)}, with the same steering and speed where both reach"


def _small(fresh: Weights) -> Weights:
    """First weights of a head; a continuous one's are small already, and its deviation stays 1."""
    return {name: value * (FRESH_SCALE if "/policy_fc/" in name else 1.0) for name, value in fresh.items()}


def both(old: Actions, new: Actions) -> str:
    """Lines with all actions of two models."""
    return f"\n    pretrained: {listed(old)}\n    new: {listed(new)}"


def listed(actions: Actions) -> str:
    """All actions in words."""
    if isinstance(actions, ContinuousActions):
        (left, right), (slow, fast) = actions.steering_deg, actions.speed_mps
        return f"continuous, steering {left:g}..{right:g}°, speed {slow:g}..{fast:g} m/s"
    return "; ".join(one(actions, i) for i in range(actions.size))


def shortly(actions: Actions) -> str:
    """How many actions, or which ranges."""
    return listed(actions) if isinstance(actions, ContinuousActions) else f"{actions.size} actions"


def one(actions: DiscreteActions, index: int) -> str:
    """One action in words."""
    return f"{actions.steering_deg[index]:g}° {actions.speed_mps[index]:g} m/s"
