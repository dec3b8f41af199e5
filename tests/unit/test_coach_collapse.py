"""A policy that has become so sure of an action that float32 rounds the others' probabilities to 0 goes on training."""

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.config import Precision
from contract.errors import TrainingError
from contract.hyperparameters import Hyperparameters
from tests.bfloat16 import needs_bfloat16
from tests.stock_coach import episode, metadata
from trainer.agents import CoachAgent

MODEL = metadata()
HYPERPARAMETERS = Hyperparameters(batch_size=8, num_epochs=3)
TINY = float(np.finfo(np.float32).tiny)


def collapsed(agent: CoachAgent, lead: float) -> None:
    """Let action 2 lead the others by so many nats, whatever is seen."""
    weights = agent.weights()
    head = "main_level/agent/main/online/network_1/ppo_head_0/policy_fc"
    weights[f"{head}/kernel"] = np.zeros_like(weights[f"{head}/kernel"])
    weights[f"{head}/bias"] = np.array([0, 0, lead, 0, 0], np.float32)
    agent.load_weights(weights)


@pytest.fixture(scope="module", params=["float32", pytest.param("bfloat16", marks=[pytest.mark.slow, needs_bfloat16])])
def agent(request: pytest.FixtureRequest) -> CoachAgent:
    precision: Precision = request.param
    return CoachAgent(MODEL, HYPERPARAMETERS, seed=3, precision=precision)


@pytest.mark.parametrize("lead", [50.0, 200.0])
def test_losses_against_numpy_where_probabilities_are_zero(agent: CoachAgent, lead: float) -> None:
    """The old policy knew all actions. NumPy takes what is 0 for the smallest normal float32."""
    collapsed(agent, lead)
    data = agent._dataset([episode(1, 8, MODEL)])
    (now,) = data.old_policy
    assert (now == 0.0).any() == (lead > 100.0), "float32 has 1e-38 as its smallest number, e^-87"
    old = np.full((8, 5), 0.2, np.float32)
    data.old_policy = [old]
    batch = np.arange(8)
    _, surrogate, kl, entropy, total = agent._ppo.minibatch(data, batch, "test")

    p: NDArray[np.float64] = np.maximum(now.astype(np.float64), TINY)
    q = old.astype(np.float64)
    ratio = p[batch, data.actions] / q[batch, data.actions]
    gains = np.minimum(ratio * data.advantages, np.clip(ratio, 0.8, 1.2) * data.advantages)
    np.testing.assert_allclose(surrogate, -gains.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kl, (q * np.log(q / p)).sum(axis=1).mean(), rtol=1e-4)
    np.testing.assert_allclose(entropy, -(p * np.log(p)).sum(axis=1).mean(), atol=1e-6)
    assert np.isfinite(total)


def test_updates_of_a_collapsed_policy_stay_finite(agent: CoachAgent) -> None:
    """Before: KL nan, entropy nan, and with it every weight of the policy's tower."""
    collapsed(agent, 200.0)
    report = agent.train([episode(2, 24, MODEL)], 0)
    assert report.entropy == pytest.approx(0.0, abs=1e-6)
    assert report.kl_divergence == pytest.approx(0.0, abs=1e-6)
    assert all(np.isfinite(list(report.diagnostics.values())))
    assert all(np.isfinite(value).all() for value in agent.weights().values())


def test_what_is_not_a_number_is_still_told(agent: CoachAgent) -> None:
    collapsed(agent, np.nan)
    with pytest.raises(TrainingError, match="surrogate loss is nan"):
        agent.train([episode(3, 24, MODEL)], 0)
