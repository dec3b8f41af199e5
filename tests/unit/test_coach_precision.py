"""Updates whose products are in bfloat16: as good as float32's, repeatable, and invisible in what is exported."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from contract.runtime import cpu_flags
from simapp.policy import FrozenPolicy
from tests.bfloat16 import needs_bfloat16
from tests.stock_coach import CAMERA, episode, metadata
from tests.untrained import BATCHNORM
from trainer.agents import CoachAgent

pytestmark = needs_bfloat16
HYPERPARAMETERS = Hyperparameters(batch_size=16, num_epochs=2)
MODEL = metadata()
UNCAPPED = os.environ.get("ONEDNN_MAX_CPU_ISA", "") in ("", "DEFAULT", "ALL")
HAS_BFLOAT16 = UNCAPPED and bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


def drive(seed: int, model: ModelMetadata = MODEL) -> Rollout:
    """32 steps that see one bright line in a dim gradient, here or there: noise, unlike a road, has no features."""
    rollout = episode(seed, 32, model)
    rng = np.random.default_rng(seed)
    column = np.arange(160)
    for frames in rollout.observations.values():
        if frames.ndim == 4:
            places = rng.uniform(20, 140, (len(frames), 1))
            line = 150 * np.exp(-(((column - places) / 6) ** 2))
            dim = np.linspace(20, 100, 120)
            frames[...] = (dim[None, :, None] + line[:, None, :]).astype(np.uint8)[..., None]
    return rollout


@pytest.fixture(scope="module")
def agents() -> tuple[CoachAgent, CoachAgent]:
    exact = CoachAgent(MODEL, HYPERPARAMETERS, seed=3)
    exact.train([drive(0)], 0)
    fast = CoachAgent(MODEL, HYPERPARAMETERS, seed=4, precision="bfloat16")
    fast.restore(exact.save())
    return exact, fast


Gradients = list[np.ndarray]


@pytest.fixture(scope="module")
def updates(agents: tuple[CoachAgent, CoachAgent]) -> list[tuple[Gradients, list[float]]]:
    """Each agent's gradients and losses: same weights, same minibatch, old policy of other weights."""
    data = agents[0]._dataset([drive(1)])
    data.old_policy = [np.roll(part, 1, axis=1) for part in data.old_policy]  # ratios away from 1, KL above 0
    results = []
    for agent in agents:
        online = agent._ppo.online
        used = [
            gradient
            for gradient, weight in zip(online.tensor_gradients, online.weights, strict=True)
            if "rescaler" not in weight.name
        ]
        results.append(online.sess.run([used, agent._ppo._metrics], agent._ppo._feed(data, np.arange(32))))
    return results


def test_losses_are_those_of_float32(updates: list[tuple[Gradients, list[float]]]) -> None:
    (exact, exact_losses), (fast, fast_losses) = updates
    assert any(not np.array_equal(a, b) for a, b in zip(exact, fast, strict=True)), "bfloat16 is really used"
    np.testing.assert_allclose(fast_losses, exact_losses, rtol=0.02, atol=1e-3)


@pytest.mark.skipif(
    not HAS_BFLOAT16,
    reason="emulated bfloat16 also adds up in bfloat16: run it on a CPU with avx512_bf16 and no ONEDNN_MAX_CPU_ISA",
)
def test_gradients_are_those_of_float32(updates: list[tuple[Gradients, list[float]]]) -> None:
    """Each layer's gradient within some per cent."""
    (exact, _), (fast, _) = updates
    for a, b in zip(exact, fast, strict=True):
        assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(a)


def test_heads_and_losses_are_in_float32(agents: tuple[CoachAgent, CoachAgent]) -> None:
    """Before the first step the policy is the old one: a divergence of exactly 0, and values of more than 8 bits."""
    fast = agents[1]
    data = fast._dataset([drive(1)])
    values, (policy,) = fast._ppo.evaluate({CAMERA: drive(1).observations[CAMERA]})
    for numbers in (values, policy):
        assert np.any(numbers.view(np.uint32) & 0xFFFF), "bfloat16 is the upper half of a float32"
    (divergence,) = fast._ppo.online.sess.run([fast._ppo._metrics[2]], fast._ppo._feed(data, np.arange(32)))
    assert abs(divergence) < 1e-6


def test_the_exported_graph_does_not_show_it(agents: tuple[CoachAgent, CoachAgent]) -> None:
    exact, fast = agents
    assert fast.export() == exact.export()


def test_same_weights_same_steps_same_bits(agents: tuple[CoachAgent, CoachAgent]) -> None:
    fast = agents[1]
    start = fast.save()
    report = fast.train([drive(1)], 1)
    after = digests(fast.save())
    assert after != digests(start)
    fast.restore(start)
    assert fast.train([drive(1)], 1) == report
    assert digests(fast.save()) == after
    fast.restore(start)


def digests(files: dict[str, bytes]) -> dict[str, str]:
    """Of a checkpoint, which is 140 MB: three of them at once were the most memory that a worker took."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_policies_drive_alike_in_either_precision_however_many_cars(agents: tuple[CoachAgent, CoachAgent]) -> None:
    pb, seen = agents[0].export(), drive(2).observations[CAMERA]
    exact, fast = (FrozenPolicy(pb, MODEL, precision=kind) for kind in ("float32", "bfloat16"))
    said = [np.asarray(policy.distribution({CAMERA: seen}).probabilities) for policy in (exact, fast)]
    assert not np.array_equal(said[0], said[1])
    np.testing.assert_allclose(said[1], said[0], atol=0.01)
    for count in (1, 3, 5, 13, 20):
        few = fast.distribution({CAMERA: seen[:count]}).probabilities
        np.testing.assert_array_equal(few, said[1][:count])


@pytest.mark.slow
def test_any_network_can_be_trained_in_it(tmp_path: Path) -> None:
    """Batch-norm, dropout, and a lidar beside a camera, whose embedders end in different layers."""
    (tmp_path / "preset.py").write_text(BATCHNORM)
    for model, preset in [(MODEL, tmp_path / "preset.py"), (metadata(sensors=(CAMERA, "LIDAR")), None)]:
        agent = CoachAgent(model, HYPERPARAMETERS, seed=1, preset=preset, precision="bfloat16")
        before = agent.export()
        agent.train([drive(0, model)], 0)
        assert agent.export() != before
