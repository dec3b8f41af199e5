"""DQN by preset: its targets against NumPy, what it learns, exploration, resume, and presets that do not fit."""

from pathlib import Path

import numpy as np
import pytest

from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from simapp.policy import FrozenPolicy
from tests.stock_coach import episode, metadata
from trainer.agents import DqnAgent, make_agent

EXAMPLE = Path(__file__).parents[2] / "actions" / "presets" / "double_dqn.py"
MODEL = metadata()
HYPERPARAMETERS = Hyperparameters(batch_size=32, discount_factor=0.9, e_greedy_value=0.1, epsilon_steps=100, lr=1e-3)
TINY = """
from rl_coach.agents.KIND_agent import * ; from rl_coach.architectures.layers import *
from rl_coach.core_types import EnvironmentSteps
from rl_coach.schedules import LinearSchedule
from trainer.coach.preset import default_agent_params

def get_agent_params(metadata, hyperparameters):
    params = NAME()
    network = params.network_wrappers["main"]
    ours = default_agent_params(metadata, hyperparameters).network_wrappers["main"]
    network.input_embedders_parameters = ours.input_embedders_parameters
    network.input_embedders_parameters[metadata.camera].scheme = [Conv2d(4, 16, 8)]
    network.middleware_parameters.scheme = [Dense(16)]
    network.learning_rate, network.batch_size = 1e-3, 8
    params.algorithm.discount = 0.9
    params.algorithm.num_consecutive_playing_steps = EnvironmentSteps(1)
    params.algorithm.num_steps_between_copying_online_weights_to_target = EnvironmentSteps(20)
    params.exploration.epsilon_schedule = LinearSchedule(1.0, 0.1, 100)
    EXTRA
    return params
"""


def tiny(folder: Path, kind: str = "dqn", extra: str = "pass") -> DqnAgent:
    path = folder / "preset.py"
    name = {"dqn": "DQNAgentParameters", "ddqn": "DDQNAgentParameters"}[kind]
    path.write_text(TINY.replace("KIND", kind).replace("NAME", name).replace("EXTRA", extra))
    agent = make_agent(MODEL, HYPERPARAMETERS, 1, preset=path)
    assert isinstance(agent, DqnAgent)
    return agent


@pytest.mark.parametrize("kind", ["dqn", pytest.param("ddqn", marks=pytest.mark.slow)])
def test_targets_against_numpy(tmp_path: Path, kind: str) -> None:
    agent = tiny(tmp_path, kind)
    drives = [episode(0, 12, MODEL), episode(1, 9, MODEL, truncated=True)]
    agent.train(drives, 0)
    batch = agent._memory.sample(np.random.default_rng(0), 40)
    dqn = agent._dqn
    q, after = (
        dqn.action_values(dqn.online, batch.states),
        dqn.action_values(dqn.networks["main"].target_network, batch.next_states),
    )
    chooser = dqn.action_values(dqn.online, batch.next_states) if kind == "ddqn" else after
    targets = dqn.targets(batch)
    assert 0 < batch.terminals.sum() < 40
    for i in range(40):
        ahead = 0.0 if batch.terminals[i, 0] else 0.9 * after[i][np.argmax(chooser[i])]
        expected = q[i].copy()
        expected[int(batch.actions[i])] = batch.rewards[i, 0] + ahead
        np.testing.assert_allclose(targets[i], expected, rtol=1e-5)
    error = np.abs(targets - q)  # Huber loss, summed over the actions, mean over the batch
    huber = np.where(error <= 1.0, error**2 / 2, error - 0.5).sum(axis=1).mean()
    assert dqn.step(batch, "test") == pytest.approx(huber, rel=1e-4)


def test_learns_explores_and_resumes(tmp_path: Path) -> None:
    """Reward for action 2 alone: it becomes the best; epsilon falls to 0.1 in 100 steps; checkpoints hold it all."""
    agent, seen = tiny(tmp_path), episode(5, 6, MODEL).observations
    policy = FrozenPolicy(agent.export(), MODEL)
    first = np.asarray(policy.distribution(seen).probabilities)
    np.testing.assert_allclose(np.sort(first, axis=1), [[*[0.999 / 5] * 4, 0.001 + 0.999 / 5]] * 6, rtol=1e-4)
    middle = {}
    for iteration in range(4):
        drive = episode(iteration, 40, MODEL)
        drive.steps["reward"] = np.asarray(drive.actions == 2, dtype=np.float64)
        if iteration == 3:
            middle = agent.save()
        assert agent.train([drive], iteration).minibatches == 40
    policy.replace(agent.export())
    last = np.asarray(policy.distribution(seen).probabilities)
    np.testing.assert_allclose(last.max(axis=1), 0.9 + 0.1 / 5, rtol=1e-5)
    assert (agent._dqn.action_values(agent._dqn.online, seen).mean(axis=0).argmax()) == 2
    policy.close()

    other = tiny(tmp_path)
    other.restore(middle)
    drive = episode(3, 40, MODEL)
    drive.steps["reward"] = np.asarray(drive.actions == 2, dtype=np.float64)
    other.train([drive], 3)
    assert other.save() == agent.save()


@pytest.mark.slow
def test_worked_example_with_lidar() -> None:
    model = metadata(sensors=("FRONT_FACING_CAMERA", "LIDAR"))
    agent = make_agent(model, HYPERPARAMETERS, 1, preset=EXAMPLE)
    assert np.isfinite(agent.train([episode(0, 12, model)], 0).policy_loss)
    seen = episode(5, 2, model).observations
    said = np.asarray(FrozenPolicy(agent.export(), model).distribution(seen).probabilities)
    np.testing.assert_allclose(said.sum(axis=1), 1.0, rtol=1e-6)


def test_presets_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="chooses among discrete actions"):
        make_agent(metadata(continuous=True), HYPERPARAMETERS, 1, preset=EXAMPLE)
    with pytest.raises(InputError, match="one head gives the action values"):
        tiny(tmp_path, extra="network.heads_parameters = []")
    with pytest.raises(InputError, match="linear or constant schedule"):
        tiny(tmp_path, extra="params.exploration.epsilon_schedule = None")
