"""Options of the update (contract.learning): a critic of the state, mirrors, schedules, KL limit, smoothness."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract.config import RunConfig
from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from contract.learning import CRITIC_STATE, CRITIC_STATE_SIZE, LearningConfig
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from tests.stock_coach import CAMERA, episode, metadata
from trainer.agents import CoachAgent, SacAgent, make_agent
from trainer.coach import shim
from trainer.common.mirror import Mirror
from trainer.ppo.agent import in_pairs
from trainer.ppo.tuned import command_table

SMALL = "DEEP_CONVOLUTIONAL_NETWORK_DEEP"
"""The network with the fewest weights."""
MODEL, CONTINUOUS = metadata(network=SMALL), metadata(continuous=True, network=SMALL)
HYPERPARAMETERS = Hyperparameters(batch_size=8, num_epochs=2, discount_factor=0.9)
STATE = LearningConfig(critic="state")


def with_state(rollout: Rollout) -> Rollout:
    """With a state that tells how far the episode has come, and noise."""
    random = np.random.default_rng(rollout.episode)
    states = random.normal(0.0, 0.3, (len(rollout) + 1, CRITIC_STATE_SIZE)).astype(np.float32)
    states[:, 0] = np.linspace(-1.0, 1.0, len(states))
    return replace(
        rollout,
        observations={**rollout.observations, CRITIC_STATE: states[:-1]},
        final={**rollout.final, CRITIC_STATE: states[-1]},
    )


def rollouts(iteration: int, model: ModelMetadata = MODEL, steps: int = 6) -> list[Rollout]:
    return [with_state(episode(10 * iteration + i, steps + i, model, truncated=i == 1)) for i in range(3)]


@pytest.fixture(scope="module")
def stateful() -> CoachAgent:
    return CoachAgent(MODEL, HYPERPARAMETERS, seed=3, learning=STATE)


@pytest.fixture(scope="module")
def plain() -> CoachAgent:
    return CoachAgent(MODEL, HYPERPARAMETERS, seed=3)


@pytest.mark.slow
def test_a_schedule_that_stays_gives_the_numbers_of_rl_coachs_own_gradients(plain: CoachAgent) -> None:
    level = CoachAgent(
        MODEL, HYPERPARAMETERS, seed=3, learning=LearningConfig(anneal_steps=5, final_lr=1.0, final_entropy=1.0)
    )
    start = plain.save()
    expected, got = plain.train(rollouts(0), 2), level.train(rollouts(0), 2)
    for ours, theirs in zip(got.epochs, expected.epochs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert got.diagnostics == pytest.approx(expected.diagnostics, rel=1e-3, abs=1e-5)
    weights = plain.weights()
    for name, value in level.weights().items():
        assert np.abs(value - weights[name]).max() < 1e-5, name
    plain.restore(start)


def test_rates_go_down_in_a_straight_line_and_stay_there() -> None:
    learning = LearningConfig(anneal_steps=1000, final_lr=0.2, final_entropy=0.5)
    shares = [share for n in (0, 500, 1000, 9900) for share in learning.shares_at(n)]
    assert shares == pytest.approx([1.0, 1.0, 0.6, 0.75, 0.2, 0.5, 0.2, 0.5])
    assert LearningConfig().shares_at(50) == (1.0, 1.0)


@pytest.mark.slow
def test_a_lower_rate_moves_the_weights_less() -> None:
    """One step of Adam moves each weight by the rate."""
    settings = HYPERPARAMETERS.model_copy(update={"batch_size": 32, "num_epochs": 1})
    agent = CoachAgent(MODEL, settings, 3, learning=LearningConfig(anneal_steps=1000, final_lr=0.1))
    start, before = agent.save(), agent.weights()
    moves = []
    for iteration, steps in ((0, 0), (10, 1000)):
        agent.restore(start)
        report = agent.train(rollouts(0), iteration, steps)
        assert report.diagnostics["learning_rate"] == pytest.approx(
            HYPERPARAMETERS.lr * (1.0 if not iteration else 0.1)
        )
        after = agent.weights()
        moves.append(sum(float(np.abs(after[name] - before[name]).sum()) for name in before))
    assert moves[1] == pytest.approx(0.1 * moves[0], rel=0.05)


# --- the critic of the simulator's state


@pytest.mark.slow
def test_the_model_of_a_state_critic_is_that_of_pictures_in_form(stateful: CoachAgent, plain: CoachAgent) -> None:
    graphs = [shim.tensorflow().compat.v1.GraphDef.FromString(it.export()) for it in (stateful, plain)]
    forms = [[(node.op, node.name, list(node.input)) for node in graph.node] for graph in graphs]
    assert forms[0] == forms[1]
    shapes = [{name: value.shape for name, value in it.weights().items()} for it in (stateful, plain)]
    assert shapes[0] == shapes[1], "so either can begin from the other"


@pytest.mark.slow
def test_values_come_from_the_state_and_the_picture_tower_rests(stateful: CoachAgent) -> None:
    start, before = stateful.save(), stateful.weights()
    drives = [with_state(episode(n, 20, MODEL)) for n in range(4)]
    for drive in drives:  # the return falls with what the state's first number tells
        drive.steps["reward"] = 1.0
    explained = [stateful.train(drives, n).diagnostics["explained_variance"] for n in range(12)]
    assert explained[-1] > 0.5 > explained[0], explained
    after = stateful.weights()
    for name, value in after.items():
        moved = float(np.abs(value - before[name]).max())
        assert (moved == 0.0) == ("/network_0/" in name or "rescalers" in name), name
    stateful.restore(start)


@pytest.mark.slow
def test_a_resumed_state_critic_equals_an_uninterrupted_one(stateful: CoachAgent) -> None:
    start = stateful.save()
    stateful.train(rollouts(0), 0)
    middle = stateful.save()
    report = stateful.train(rollouts(1), 1)
    end = stateful.save()
    stateful.restore(middle)
    assert stateful.train(rollouts(1), 1) == report
    assert stateful.save() == end
    stateful.restore(start)


@pytest.mark.slow
def test_sac_with_a_state_critic_learns_and_exports_the_same_form() -> None:
    raw = json.dumps(
        metadata(continuous=True, network="DEEP_CONVOLUTIONAL_NETWORK_DEEP").raw | {"training_algorithm": "sac"}
    )
    model = ModelMetadata.parse(raw)
    settings = Hyperparameters(batch_size=8, num_epochs=2, exploration_type="additive_noise")
    learning = LearningConfig(critic="state", anneal_steps=400)
    agents = [make_agent(model, settings, 3), make_agent(model, settings, 3, learning=learning)]
    graphs = [shim.tensorflow().compat.v1.GraphDef.FromString(it.export()) for it in agents]
    assert [node.name for node in graphs[0].node] == [node.name for node in graphs[1].node]
    agent = agents[1]
    assert isinstance(agent, SacAgent)
    drives = rollouts(0, model)
    for drive in drives:
        drive.actions = np.tanh(drive.actions)
    report = agent.train(drives, 4, 400)
    assert np.isfinite(report.value_loss)
    assert report.diagnostics["alpha"] == pytest.approx(0.1 * settings.sac_alpha)
    saved = agent.save()
    agent.train(drives, 5)
    agent.restore(saved)
    assert agent.save() == saved


# --- mirrors


def test_a_mirror_turns_pictures_and_commands_and_turned_twice_all_is_as_before() -> None:
    random = np.random.default_rng(1)
    turned = np.array([True, False, True])
    for model in (MODEL, CONTINUOUS, metadata(sensors=("STEREO_CAMERAS",))):
        mirror = Mirror(model)
        channels = 2 if "STEREO_CAMERAS" in model.sensors else 1
        frames = random.integers(0, 255, (3, 4, 6, channels), np.uint8)
        actions: Any = random.normal(size=(3, 2)) if model is CONTINUOUS else np.array([0, 1, 4])
        policy = [random.normal(size=(3, model.actions.size)) for _ in range(2)]
        seen = mirror.pictures(frames, turned)
        assert np.array_equal(seen[0, :, 0, 0], frames[0, :, -1, -1]) and np.array_equal(seen[1], frames[1])
        assert np.array_equal(mirror.pictures(seen, turned), frames)
        done = mirror.actions(actions, turned)
        controls, before = model.actions.controls(done), model.actions.controls(actions)
        sign = np.where(turned, -1.0, 1.0)
        assert controls.steering_rad == pytest.approx(sign * before.steering_rad)
        assert controls.speed_mps == pytest.approx(before.speed_mps)
        assert np.array_equal(mirror.actions(done, turned), actions)
        assert np.array_equal(mirror.policy(mirror.policy(policy, turned), turned)[0], policy[0])
    # what was said of an action is said of its twin
    said = Mirror(MODEL).policy([np.array([[0.1, 0.2, 0.3, 0.15, 0.25]])], np.array([True]))[0]
    assert said.tolist() == [[0.25, 0.15, 0.3, 0.2, 0.1]]


@pytest.mark.slow
def test_an_update_in_the_mirror_trains_the_other_hand_as_well() -> None:
    settings = HYPERPARAMETERS.model_copy(update={"lr": 0.001})
    agent = CoachAgent(MODEL, settings, 3, learning=LearningConfig(mirror=True))
    drive = with_state(episode(0, 32, MODEL))
    flipped = {CAMERA: np.ascontiguousarray(drive.observations[CAMERA][:, :, ::-1])}
    drive.steps["reward"] = np.asarray(drive.actions == 0, dtype=np.float64)
    _, (before,) = agent._ppo.evaluate(flipped)
    for iteration in range(3):
        agent.train([drive], iteration)
    _, (after,) = agent._ppo.evaluate(flipped)
    gained = (after - before).mean(axis=0)
    assert gained[4] > 0.005 and gained[1:4].max() < 0.0, gained


# --- epochs and smoothness


@pytest.mark.slow
def test_epochs_end_once_the_policy_has_moved_too_far(plain: CoachAgent) -> None:
    settings = HYPERPARAMETERS.model_copy(update={"num_epochs": 8, "lr": 0.003})
    without = CoachAgent(MODEL, settings, 3).train(rollouts(0), 0)
    limit = without.epochs[3]["kl_divergence"]
    got = CoachAgent(MODEL, settings, 3, learning=LearningConfig(kl_limit=0.999 * limit)).train(rollouts(0), 0)
    count = next(n for n, epoch in enumerate(without.epochs, 1) if epoch["kl_divergence"] > 0.999 * limit)
    assert got.epochs == without.epochs[:count] and count < 8
    assert got.minibatches == count * without.minibatches // 8
    assert got.diagnostics["value_gradient_norm"] > 0.0


def test_an_order_in_pairs_has_every_step_once_and_most_beside_their_neighbours() -> None:
    for count in (1, 2, 7, 8, 101):
        for seed in range(4):
            order = in_pairs(np.random.default_rng(seed), count)
            assert sorted(order.tolist()) == list(range(count))
            assert np.count_nonzero(np.diff(order) == 1) >= (count - 1) // 2 - 1


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, CONTINUOUS], ids=["discrete", "continuous"])
def test_smooth_commands_change_less_from_step_to_step(model: ModelMetadata) -> None:
    drive = with_state(episode(0, 64, model))
    dark = np.arange(64) % 2 == 0  # two kinds of pictures in turns, and a reward for driving them differently
    drive.observations[CAMERA][dark] //= 8
    left = drive.actions < 2 if model is MODEL else drive.actions[:, 0] > 0.0
    drive.steps["reward"] = np.where(left == dark, 1.0, -1.0)
    changes = {}
    for weight in (1e-6, 30.0):
        settings = HYPERPARAMETERS.model_copy(update={"lr": 0.001, "beta_entropy": 0.0, "num_epochs": 4})
        agent = CoachAgent(model, settings, 3, learning=LearningConfig(smoothness=weight))
        for iteration in range(2):
            agent.train([drive], iteration)
        _, policy = agent._ppo.evaluate(drive.observations)
        commands = policy[0] if model is CONTINUOUS else policy[0] @ command_table(model.actions)  # type: ignore[arg-type]
        changes[weight] = float(np.square(np.diff(commands, axis=0)).sum(axis=1).mean())
    assert changes[30.0] < 0.5 * changes[1e-6]


# --- what does not go together

LIDAR = metadata(sensors=(CAMERA, "LIDAR"))
LOPSIDED = ModelMetadata.parse(
    json.dumps({**MODEL.raw, "action_space": [{"steering_angle": a, "speed": 1.0} for a in (-30, 0, 20)]})
)


@pytest.mark.parametrize(
    ("model", "learning", "says"),
    [
        (LOPSIDED, {"mirror": True}, "steers as far to the other side"),
        (LIDAR, {"mirror": True}, "only cameras"),
        ("sac", {"kl_limit": 0.1}, "options of clipped PPO"),
        ("sac", {"smoothness": 0.1}, "options of clipped PPO"),
        ("sac", {"mirror": True, "critic": "state"}, "no mirror image"),
    ],
)
def test_options_that_do_not_fit_are_refused(model: Any, learning: dict[str, Any], says: str) -> None:
    if model == "sac":
        model = ModelMetadata.parse(json.dumps(CONTINUOUS.raw | {"training_algorithm": "sac"}))
    with pytest.raises(InputError, match=says):
        make_agent(model, HYPERPARAMETERS, 0, learning=LearningConfig(**learning))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"critic": "camera"}, "learning.critic"),
        ({"critik": "state"}, "did you mean 'critic'"),
        ({"final_lr": 0.5}, "without anneal_steps"),
        ({"kl_limit": -1}, "learning.kl_limit"),
        ({"final_lr": 0.0, "anneal_steps": 3}, "learning.final_lr"),
    ],
)
def test_bad_options_are_told(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        RunConfig.build({"name": "a", "learning": values}, "run.json")
