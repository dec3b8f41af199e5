"""What a policy's head becomes when the action space changes, against plain softmax and linear algebra."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.metadata import ContinuousActions, DiscreteActions
from trainer.common.weights import Weights
from trainer.transfer import Actions, origins, remapped

HEAD = "main_level/agent/main/online/network_1/ppo_head_0"
WIDTH = 6


def discrete(*actions: tuple[float, float]) -> DiscreteActions:
    return DiscreteActions(np.array([a for a, _ in actions]), np.array([s for _, s in actions]))


def head_of(actions: Actions, seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    layer = "policy_fc" if isinstance(actions, DiscreteActions) else "policy_mean"
    head: Weights = {
        f"{HEAD}/{layer}/kernel": rng.normal(size=(WIDTH, actions.size)),
        f"{HEAD}/{layer}/bias": rng.normal(size=actions.size),
    }
    if layer == "policy_mean":
        head[f"{HEAD}/policy_log_std"] = rng.normal(size=(1, 2))
    return head


def outputs(head: Weights, features: NDArray[Any]) -> NDArray[Any]:
    kernel, bias = (next(v for n, v in head.items() if n.endswith(part)) for part in ("/kernel", "/bias"))
    return np.asarray(features @ kernel + bias)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


FEATURES = np.random.default_rng(9).uniform(0.0, 2.0, (8, WIDTH))
ACTIONS = [(steering, speed) for steering in (-30.0, -15.0, 0.0, 15.0, 30.0) for speed in (1.0, 2.5)]


@settings(max_examples=30)
@given(st.permutations(range(len(ACTIONS))), st.integers(2, len(ACTIONS)), st.integers(0, 99))
def test_any_choice_of_the_old_actions_in_any_order_keeps_their_odds(order: list[int], count: int, seed: int) -> None:
    kept = order[:count]
    old, new = discrete(*ACTIONS), discrete(*(ACTIONS[i] for i in kept))
    head = head_of(old, seed)
    result, said = remapped(head, head_of(new, seed + 1), old, new)
    before = softmax(outputs(head, FEATURES))[:, kept]
    np.testing.assert_allclose(
        softmax(outputs(result, FEATURES)), before / before.sum(axis=1, keepdims=True), rtol=1e-9
    )
    assert said == f"actions: {count} kept"


def test_actions_that_come_from_the_same_one_share_its_probability() -> None:
    old = discrete((-20.0, 1.0), (0.0, 1.0), (20.0, 1.0))
    new = discrete((-18.0, 1.0), (-20.0, 2.0), (0.0, 1.0), (20.0, 1.0))
    assert origins(old, new) == [0, 0, 1, 2]
    head = head_of(old, 4)
    result, said = remapped(head, head_of(new, 5), old, new)
    after, before = softmax(outputs(result, FEATURES)), softmax(outputs(head, FEATURES))
    np.testing.assert_allclose(np.column_stack([after[:, 0] + after[:, 1], after[:, 2:]]), before, rtol=1e-9)
    np.testing.assert_allclose(after[:, 0], after[:, 1])
    assert said == "actions: 2 kept, 2 from the nearest (-18° 1 m/s from -20° 1 m/s; -20° 2 m/s from -20° 1 m/s)"


def test_actions_without_a_model_begin_as_likely_as_the_others_on_average() -> None:
    old, new = discrete((-30.0, 1.0), (30.0, 1.0)), discrete((-30.0, 1.0), (0.0, 4.0), (30.0, 1.0))
    assert origins(old, new) == [0, None, 1]
    head = head_of(old, 1)
    result, said = remapped(head, head_of(new, 2), old, new)
    logits, before = outputs(result, FEATURES), outputs(head, FEATURES)
    np.testing.assert_array_equal(logits[:, [0, 2]], before)
    first = outputs(head_of(new, 2), FEATURES)[:, 1]
    np.testing.assert_allclose(logits[:, 1] - before.mean(axis=1), 0.01 * first, rtol=1e-9)
    assert said == "actions: 2 kept, 1 anew (0° 4 m/s)"
    alone, _ = remapped(head, head_of(new, 2), discrete((10.0, 1.0), (12.0, 1.0)), new)
    np.testing.assert_allclose(outputs(alone, FEATURES), 0.01 * outputs(head_of(new, 2), FEATURES))


@pytest.mark.parametrize(("steering", "speed", "origin"), [(5.0, 2.0, 0), (5.1, 1.0, None), (0.0, 2.1, None)])
def test_the_nearest_is_near(steering: float, speed: float, origin: int | None) -> None:
    assert origins(discrete((0.0, 1.0), (30.0, 1.0)), discrete((steering, speed), (30.0, 1.0))) == [origin, 1]


def test_other_ranges_give_the_same_steering_and_speed() -> None:
    old, new = ContinuousActions((-30.0, 30.0), (1.0, 2.0)), ContinuousActions((-20.0, 25.0), (0.5, 4.0))
    head = head_of(old, 3)
    result, said = remapped(head, head_of(new, 6), old, new)

    def physical(head: Weights, actions: ContinuousActions) -> tuple[NDArray[Any], NDArray[Any]]:
        low, high = np.array([actions.steering_deg, actions.speed_mps]).T
        mean = low + (outputs(head, FEATURES) + 1.0) / 2.0 * (high - low)
        return mean, np.exp(head[f"{HEAD}/policy_log_std"]) * (high - low) / 2.0

    for before, after in zip(physical(head, old), physical(result, new), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-9)
    assert "steering -20..25°, speed 0.5..4 m/s" in said


def test_a_range_that_is_a_point_changes_nothing_that_matters() -> None:
    old, new = ContinuousActions((-30.0, 30.0), (2.0, 2.0)), ContinuousActions((-30.0, 30.0), (1.0, 3.0))
    for before, after in ((old, new), (new, old)):
        head = head_of(before, 3)
        result, _ = remapped(head, head_of(after, 6), before, after)
        assert all(np.isfinite(value).all() for value in result.values())
        np.testing.assert_allclose(outputs(result, FEATURES)[:, 0], outputs(head, FEATURES)[:, 0])


def test_between_lists_and_ranges_the_head_begins_anew() -> None:
    five, ranges = discrete(*ACTIONS[:5]), ContinuousActions((-30.0, 30.0), (1.0, 2.0))
    fresh = head_of(ranges, 1)
    result, said = remapped(head_of(five, 0), fresh, five, ranges)
    assert all(np.array_equal(result[name], fresh[name]) for name in fresh)
    assert "head begins anew" in said
    fresh = head_of(five, 1)
    result, _ = remapped(head_of(ranges, 0), fresh, ranges, five)
    np.testing.assert_allclose(outputs(result, FEATURES), 0.01 * outputs(fresh, FEATURES))
