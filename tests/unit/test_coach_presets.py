"""A racer's preset.py: what it may change, dropout and batch-norm that really act, and presets that are wrong."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from simapp.policy import FrozenPolicy
from tests.stock_coach import CAMERA, episode, metadata
from trainer.agents import CoachAgent, make_agent

MODEL = metadata()
HYPERPARAMETERS = Hyperparameters(batch_size=32, num_epochs=1)
PRESETS = Path(__file__).parents[2] / "actions" / "presets"
EXAMPLES = sorted(path for path in PRESETS.glob("*.py") if path.stem != "double_dqn")
HEAD = "from trainer.coach.preset import default_agent_params\nfrom rl_coach.architectures.layers import *\n"
TINY = f"""{HEAD}
def get_agent_params(metadata, hyperparameters):
    params = default_agent_params(metadata, hyperparameters)
    network = params.network_wrappers["main"]
    camera = network.input_embedders_parameters[metadata.camera]
    camera.scheme = [Conv2d(4, 16, 8)]
    network.middleware_parameters.scheme = [Dense(8)]
    EXTRA
    return params
"""
BATCHNORM = "camera.batchnorm = True"
DROPOUT = "network.middleware_parameters.dropout_rate = 0.5"
BOTH = f"{BATCHNORM}; {DROPOUT}"
EXPLICIT = "camera.scheme.append(BatchnormActivationDropout(True, 'tanh', 0.5))"


def make(folder: Path, text: str, model: ModelMetadata = MODEL) -> CoachAgent:
    path = folder / "preset.py"
    path.write_text(text)
    return CoachAgent(model, HYPERPARAMETERS, seed=1, preset=path)


def tiny(folder: Path, extra: str = "pass", model: ModelMetadata = MODEL) -> CoachAgent:
    return make(folder, TINY.replace("EXTRA", extra), model)


def digest(agent: CoachAgent) -> list[str]:
    return [hashlib.sha1(content).hexdigest() for content in agent.save().values()]


@pytest.mark.parametrize(
    "extra",
    [
        BOTH,
        *(
            pytest.param(extra, marks=pytest.mark.slow)
            for extra in ("pass", EXPLICIT, "network.use_separate_networks_per_head = False")
        ),
    ],
)
def test_preset_trains_exports_and_drives(tmp_path: Path, extra: str) -> None:
    agent = tiny(tmp_path, extra)
    rollouts = [episode(0, 10, MODEL)]
    before = agent.export()
    assert np.isfinite(agent.train(rollouts, 0).policy_loss)
    seen = episode(5, 3, MODEL).observations
    policy = FrozenPolicy(before, MODEL)
    first = np.asarray(policy.distribution(seen).probabilities)
    policy.replace(agent.export())
    said = np.asarray(policy.distribution(seen).probabilities)
    _, (expected,) = agent._ppo.evaluate(seen)
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-6)
    assert not np.allclose(said, first, atol=1e-7)
    kinds = {node.op for node in tf.compat.v1.GraphDef.FromString(agent.export()).node}
    assert not kinds & {"SelectV2", "VariableV2", "Switch"} and not any("Random" in kind for kind in kinds)
    policy.close()


def test_a_preset_leaves_no_bytecode_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "widths.py").write_text("WIDTH = 24\n")
    make(tmp_path, "from widths import WIDTH\n" + TINY.replace("EXTRA", "pass"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preset.py", "widths.py"]


def test_batchnorm_by_hand(tmp_path: Path) -> None:
    """Normalised by the batch in training, by the moving statistics otherwise, which move by 1 % an update."""
    agent = tiny(tmp_path, BATCHNORM)
    online = agent._ppo.online
    frames = episode(0, 6, MODEL).observations[CAMERA]
    conv, normal = online.input_embedders[1].layers[1:3]
    inputs = {online.inputs[CAMERA]: frames}
    raw, outside = online.sess.run([conv, normal], inputs)
    _, inside = online.sess.run([conv, normal], inputs | {agent._ppo._training: True})
    np.testing.assert_allclose(outside, raw / np.sqrt(1.001), rtol=1e-4, atol=1e-6)
    mean, variance = raw.mean(axis=(0, 1, 2)), raw.var(axis=(0, 1, 2))
    np.testing.assert_allclose(inside, (raw - mean) / np.sqrt(variance + 1e-3), rtol=1e-3, atol=1e-4)

    agent.train([episode(0, 6, MODEL)], 0)
    moving = {
        v.op.name: online.sess.run(v) for v in online.weights if "network_1" in v.op.name and "moving" in v.op.name
    }
    (moved_mean,) = (value for name, value in moving.items() if name.endswith("moving_mean"))
    (moved_variance,) = (value for name, value in moving.items() if name.endswith("moving_variance"))
    np.testing.assert_allclose(moved_mean, 0.01 * mean, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(moved_variance, 0.99 + 0.01 * variance, rtol=1e-4)


@pytest.mark.slow
def test_dropout_drops_in_training_only_and_anew_each_update(tmp_path: Path) -> None:
    agent = tiny(tmp_path, "network.middleware_parameters.scheme = [Dense(400)]; " + DROPOUT)
    online, frames = agent._ppo.online, episode(0, 4, MODEL).observations
    kept, dropped = online.middleware.output[0].op.inputs[2], online.middleware.output[0]
    inputs = {online.inputs[CAMERA]: frames[CAMERA]}
    before, outside = online.sess.run([kept, dropped], inputs)
    assert np.array_equal(before, outside)
    switch = {agent._ppo._training: True}
    first, again = (online.sess.run(dropped, inputs | switch) for _ in range(2))
    assert np.array_equal(first, again), "the same update draws the same"
    alive = before > 0
    assert set(np.unique((first[alive] / before[alive]).round(4))) == {0.0, 2.0}
    assert abs((first[alive] == 0).mean() - 0.5) < 0.1
    online.sess.run(online.inc_step)
    assert not np.array_equal(online.sess.run(dropped, inputs | switch), first)


@pytest.mark.slow
def test_resumes_bit_for_bit_with_dropout_and_batchnorm(tmp_path: Path) -> None:
    agent = tiny(tmp_path, BOTH)
    agent.train([episode(0, 6, MODEL)], 0)
    middle = agent.save()
    agent.train([episode(1, 6, MODEL)], 1)
    other = tiny(tmp_path, BOTH)
    other.restore(middle)
    other.train([episode(1, 6, MODEL)], 1)
    assert digest(other) == digest(agent)


@pytest.mark.slow
def test_the_preset_says_batch_size_and_epochs(tmp_path: Path) -> None:
    agent = tiny(tmp_path, "network.batch_size = 4; params.algorithm.optimization_epochs = 3")
    assert agent.train([episode(0, 10, MODEL)], 0).minibatches == 3 * 3


@pytest.mark.slow
def test_rl_coachs_own_parameters_with_our_sensor(tmp_path: Path) -> None:
    """An object instead of a function, and none of our defaults: tanh, the value head's and the policy's."""
    text = (
        "from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgentParameters\n"
        "from rl_coach.architectures.embedder_parameters import InputEmbedderParameters\n"
        "from rl_coach.base_parameters import EmbedderScheme\n"
        "agent_params = ClippedPPOAgentParameters()\n"
        "network = agent_params.network_wrappers['main']\n"
        "camera = InputEmbedderParameters(activation_function='tanh')\n"
        "network.input_embedders_parameters = {'FRONT_FACING_CAMERA': camera}\n"
    )
    assert np.isfinite(make(tmp_path, text).train([episode(0, 4, MODEL)], 0).policy_loss)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_worked_examples(path: Path) -> None:
    model = metadata(sensors=(CAMERA, "LIDAR"))
    agent = CoachAgent(model, HYPERPARAMETERS, seed=1, preset=path)
    assert digest(agent) != digest(CoachAgent(model, HYPERPARAMETERS, seed=1))
    agent.train([episode(0, 4, model)], 0)
    seen = episode(5, 2, model).observations
    said = np.asarray(FrozenPolicy(agent.export(), model).distribution(seen).probabilities)
    np.testing.assert_allclose(said, agent._ppo.evaluate(seen)[1][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_agent_params(metadata, hyperparameters)\n", r"preset\.py, line 1.*\n.*valid Python"),
        ("import no_such_module\n", r"preset\.py, line 1: .*no_such_module"),
        (TINY.replace("EXTRA", "1 / 0"), r"line 10: 'ZeroDivisionError.*(\n.*)*1 / 0"),
        (TINY.replace("EXTRA", "raise SystemExit(3)"), r"line 10: 'SystemExit"),
        ("x = 1\n", r"agent_params.*\n.*add: def get_agent_params"),
        ("def get_agent_parameters(m, h): ...\n", "rename 'get_agent_parameters'"),
        ("def get_agent_params(metadata): ...\n", r"write def get_agent_params\(metadata, hyperparameters\)"),
        ("get_agent_params = 3\n", "make it a function"),
        ("def get_agent_params(m, h): return {}\n", r"'dict' is not allowed\n.*ClippedPPOAgent"),
        (
            "from rl_coach.agents.ddpg_agent import DDPGAgentParameters as P\nagent_params = P()\n",
            "'DDPGAgentParameters' is not allowed",
        ),
        (
            "from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgentParameters as P\nagent_params = P()\n",
            r"\['observation'\] is not allowed\n.*\['FRONT_FACING_CAMERA'\]",
        ),
        (
            TINY.replace("EXTRA", "network.input_embedders_parameters['LIDAR'] = camera"),
            r"'LIDAR'\] is not allowed\n.*the sensors \['FRONT_FACING_CAMERA'\]",
        ),
        (TINY.replace("EXTRA", "network.heads_parameters.pop()"), "heads are VHead and PPOHead"),
        (
            "from rl_coach.architectures.middleware_parameters import LSTMMiddlewareParameters\n"
            + TINY.replace("EXTRA", "network.middleware_parameters = LSTMMiddlewareParameters()"),
            "LSTMMiddleware' is not allowed",
        ),
        (TINY.replace("EXTRA", "camera.scheme = [Conv2d(4, 300, 8)]"), r"rl_coach must be able to build"),
        (TINY.replace("EXTRA", "camera.scheme = ['conv']"), r"rl_coach must be able to build"),
        (
            TINY.replace("EXTRA", "camera.scheme = [lambda input_layer, name, is_training: 1 / 0]"),
            r"line 10: 'ZeroDivisionError",
        ),
    ],
)
def test_wrong_presets_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(tmp_path, text)


def test_a_preset_does_not_go_with_sac(tmp_path: Path) -> None:
    raw = metadata(continuous=True).raw | {"training_algorithm": "sac"}
    (tmp_path / "preset.py").write_text(TINY.replace("EXTRA", "pass"))
    with pytest.raises(InputError, match="a preset goes with clipped_ppo"):
        make_agent(ModelMetadata.parse(json.dumps(raw)), HYPERPARAMETERS, 1, preset=tmp_path / "preset.py")


def test_a_missing_preset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.py"):
        CoachAgent(MODEL, HYPERPARAMETERS, seed=1, preset=tmp_path / "absent.py")
