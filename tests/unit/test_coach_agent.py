"""CoachAgent: determinism, resume, export, checkpoints, and what it does when training fails."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import CheckpointError, InputError, TrainingError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from simapp.policy import FrozenPolicy
from tests.own_process import in_own_process
from tests.stock_coach import CAMERA, episode, metadata
from trainer.agents import CoachAgent

MODEL, CONTINUOUS = metadata(), metadata(continuous=True)
HYPERPARAMETERS = Hyperparameters(batch_size=8, num_epochs=2, discount_factor=0.9)
HEAD = "main_level/agent/main/online/network_1/ppo_head_0"


@pytest.fixture(scope="module")
def agent() -> CoachAgent:
    return CoachAgent(MODEL, HYPERPARAMETERS, seed=3)


@pytest.fixture(scope="module")
def start(agent: CoachAgent) -> dict[str, bytes]:
    """The agent's first checkpoint, from which each test goes on."""
    return agent.save()


@pytest.fixture
def fresh(agent: CoachAgent, start: dict[str, bytes]) -> CoachAgent:
    agent.restore(start)
    return agent


@pytest.fixture(scope="module")
def continuous() -> CoachAgent:
    return CoachAgent(CONTINUOUS, HYPERPARAMETERS, seed=3)


def rollouts(iteration: int, model: ModelMetadata = MODEL) -> list[Rollout]:
    """12 steps: two minibatches."""
    return [episode(10 * iteration + i, 3 + i, model, truncated=i == 1) for i in range(3)]


def test_resumed_training_equals_uninterrupted_bit_for_bit(fresh: CoachAgent) -> None:
    """Another agent, whose weights have meanwhile gone elsewhere, takes over in the middle."""
    other = CoachAgent(MODEL, HYPERPARAMETERS, seed=3)
    assert other.save() == fresh.save(), "the same seed gives the same first weights"
    other.train(rollouts(7), 7)

    fresh.train(rollouts(0), 0)
    middle = fresh.save()
    reports = [fresh.train(rollouts(i), i) for i in (1, 2)]
    other.restore(middle)
    assert other.save() == middle
    assert [other.train(rollouts(i), i) for i in (1, 2)] == reports
    assert other.save() == fresh.save()
    assert other.export() == fresh.export()


def test_learns_what_is_rewarded(fresh: CoachAgent) -> None:
    """Reward for action 2 alone: its probability rises. A wrong sign anywhere would lower it."""
    drive = episode(0, 16, MODEL)
    drive.steps["reward"] = np.asarray(drive.actions == 2, dtype=np.float64)
    _, (before,) = fresh._ppo.evaluate(drive.observations)
    for iteration in range(3):
        fresh.train([drive], iteration)
    _, (after,) = fresh._ppo.evaluate(drive.observations)
    assert after[:, 2].mean() > before[:, 2].mean() + 0.1


def test_order_of_minibatches_depends_on_seed_and_iteration(fresh: CoachAgent, start: dict[str, bytes]) -> None:
    first = fresh.train(rollouts(0), 0)
    fresh.restore(start)
    assert fresh.train(rollouts(0), 0) == first
    fresh.restore(start)
    assert fresh.train(rollouts(0), 1) != first


def test_report_counts_every_step(fresh: CoachAgent) -> None:
    """21 steps in minibatches of at most 8 are three, none dropped; one dict an epoch."""
    report = fresh.train([*rollouts(0), episode(3, 9, MODEL)], 0)
    assert report.minibatches == 3 * HYPERPARAMETERS.num_epochs
    assert len(report.epochs) == HYPERPARAMETERS.num_epochs
    assert report.epochs[-1]["surrogate_loss"] == report.policy_loss
    assert report.epochs[0]["learning_rate"] == HYPERPARAMETERS.lr
    assert 0.0 < report.entropy <= np.log(5) + 1e-6


def test_only_truncated_episodes_bootstrap(fresh: CoachAgent) -> None:
    """A truncated and a terminated episode with equal steps differ by the value of the final observation."""
    ended, cut = episode(1, 4, MODEL), episode(1, 4, MODEL, truncated=True)
    values, _ = fresh._ppo.evaluate({CAMERA: np.concatenate([ended.observations[CAMERA], ended.final[CAMERA][None]])})
    data = fresh._dataset([ended, cut])
    # in the value target V(final) arrives with gamma (gamma lambda)^(steps to go)
    gain = data.value_targets[4:, 0] - data.value_targets[:4, 0]
    to_go = np.arange(3, -1, -1)
    np.testing.assert_allclose(gain, values[4] * 0.9 * (0.9 * 0.95) ** to_go, rtol=1e-5)


def test_advantages_by_hand(fresh: CoachAgent) -> None:
    """Two steps, rewards 1 and 2, values 0.5 and 1, gamma 0.9, lambda 0.95, bootstrap 4, worked on paper."""
    advantages, targets = fresh._ppo.advantages(np.array([1.0, 2.0]), np.array([0.5, 1.0], np.float32), 4.0)
    last = 2.0 + 0.9 * 4.0 - 1.0  # 4.6
    first = 1.0 + 0.9 * 1.0 - 0.5 + 0.9 * 0.95 * last  # 1.4 + 0.855 * 4.6 = 5.333
    np.testing.assert_allclose(advantages, [first, last])
    np.testing.assert_allclose(targets[:, 0], [first + 0.5, last + 1.0])


def test_equal_advantages_are_zero_not_nan(fresh: CoachAgent) -> None:
    assert fresh._dataset([episode(1, 1, MODEL)]).advantages.tolist() == [0.0]


def test_loss_against_numpy(fresh: CoachAgent) -> None:
    """Clipped surrogate, entropy, KL and Huber loss of one minibatch, computed from the networks' outputs."""
    fresh.train(rollouts(0), 0)
    data = fresh._dataset(rollouts(1))
    rng = np.random.default_rng(0)
    old = rng.dirichlet(np.full(5, 3.0), len(data)).astype(np.float32)  # far enough away for the clip to bite
    data.old_policy = [old]
    batch = np.arange(8)
    values, (new,) = fresh._ppo.evaluate({CAMERA: data.inputs[CAMERA][batch]})
    value_loss, surrogate, kl, entropy, total = fresh._ppo.minibatch(data, batch, "test")

    p, q, a = new.astype(np.float64), old[batch].astype(np.float64), data.actions[batch]
    ratio = p[batch, a] / q[batch, a]
    assert (np.abs(ratio - 1.0) > 0.2).any()
    gains = np.minimum(ratio * data.advantages[batch], np.clip(ratio, 0.8, 1.2) * data.advantages[batch])
    error = np.abs(values - data.value_targets[batch, 0])
    expected_entropy = -(p * np.log(p)).sum(axis=1).mean()
    expected_value = np.where(error <= 1.0, error**2 / 2, error - 0.5).mean()
    np.testing.assert_allclose(surrogate, -gains.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(entropy, expected_entropy, rtol=1e-5)
    np.testing.assert_allclose(kl, (q * np.log(q / p)).sum(axis=1).mean(), rtol=1e-4)
    np.testing.assert_allclose(value_loss, expected_value, rtol=1e-5)
    np.testing.assert_allclose(total, expected_value - gains.mean() - 0.01 * expected_entropy, rtol=1e-5, atol=1e-6)


def test_continuous_loss_against_numpy(continuous: CoachAgent) -> None:
    data = continuous._dataset(rollouts(1, CONTINUOUS))
    mean, deviation = (part[:8].astype(np.float64) for part in data.old_policy)
    old_mean, old_deviation = mean + 0.3, deviation * 0.8
    data.old_policy = [old_mean.astype(np.float32), old_deviation.astype(np.float32)]
    batch = np.arange(8)
    _, surrogate, kl, entropy, _ = continuous._ppo.minibatch(data, batch, "test")

    def log_likelihood(m: np.ndarray, s: np.ndarray) -> np.ndarray:
        return np.asarray((-0.5 * ((data.actions[batch] - m) / s) ** 2 - np.log(s * np.sqrt(2 * np.pi))).sum(axis=1))

    ratio = np.exp(log_likelihood(mean, deviation) - log_likelihood(old_mean, old_deviation))
    gains = np.minimum(ratio * data.advantages[batch], np.clip(ratio, 0.8, 1.2) * data.advantages[batch])
    shift = (old_deviation**2 + (old_mean - mean) ** 2) / (2 * deviation**2) - 0.5
    np.testing.assert_allclose(surrogate, -gains.mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kl, (np.log(deviation / old_deviation) + shift).sum(axis=1).mean(), rtol=1e-4)
    np.testing.assert_allclose(entropy, 2 * (0.5 * np.log(2 * np.pi * np.e) + np.log(deviation).mean()), rtol=1e-5)


def test_diagnostics_against_numpy(fresh: CoachAgent) -> None:
    """Approximate KL and clip fraction from the outputs; gradient norms from how fast the loss falls along them."""
    fresh.train(rollouts(0), 0)
    data = fresh._dataset(rollouts(1))
    data.old_policy = [np.random.default_rng(0).dirichlet(np.full(5, 40.0), len(data)).astype(np.float32)]
    batch = np.arange(8)
    network, diagnostics = fresh._ppo.online, fresh._ppo._diagnostics
    _, (new,) = fresh._ppo.evaluate({CAMERA: data.inputs[CAMERA][batch]})
    weights = network.sess.run(network.weights)
    gradients = network.sess.run(network.tensor_gradients, fresh._ppo._feed(data, batch))
    read = dict(
        zip(diagnostics, fresh._ppo.minibatch(data, batch, "test", list(diagnostics.values()))[5:], strict=True)
    )

    actions = data.actions[batch]
    ratio = new[batch, actions].astype(np.float64) / data.old_policy[0][batch, actions]
    assert read["clip_fraction"] == np.mean((ratio > 1.2) | (ratio < 0.8))
    assert 0.0 < read["clip_fraction"] < 1.0
    np.testing.assert_allclose(read["approximate_kl"], np.mean(ratio - 1.0 - np.log(ratio)), rtol=1e-4)

    def loss(moved: float, tower: str) -> float:
        """With one tower's weights moved so far along its gradient."""
        there = [
            weight + moved * gradient / read[norm] if tower in variable.name else weight
            for variable, weight, gradient in zip(network.weights, weights, gradients, strict=True)
        ]
        network.sess.run(network.update_weights_from_list, dict(zip(network.weights_placeholders, there, strict=True)))
        return float(network.sess.run(network.total_loss, fresh._ppo._feed(data, batch)))

    for tower, norm in (("/network_0/", "value_gradient_norm"), ("/network_1/", "policy_gradient_norm")):
        slope = (loss(1e-3, tower) - loss(-1e-3, tower)) / 2e-3
        np.testing.assert_allclose(read[norm], slope, rtol=0.02)


def test_diagnostics_of_an_update(fresh: CoachAgent) -> None:
    """The values' explained variance from rewards and values by the recursion of GAE; the rest is of the last epoch."""
    driven = rollouts(1)
    expected: list[np.ndarray] = []
    for drive in driven:
        seen = np.concatenate([drive.observations[CAMERA], drive.final[CAMERA][None]])
        values = fresh._ppo.evaluate({CAMERA: seen})[0].astype(np.float64)
        after, advantage, rows = values[-1] * drive.truncated, 0.0, []
        for reward, value in zip(drive.rewards[::-1], values[-2::-1], strict=True):
            advantage = reward + 0.9 * after - value + 0.9 * 0.95 * advantage
            after = value
            rows.append((value, advantage))
        expected.append(np.array(rows))
    value, advantage = np.concatenate(expected).T
    report = fresh.train(driven, 1)
    told = report.diagnostics
    assert told["explained_variance"] == pytest.approx(1 - advantage.var() / (value + advantage).var(), rel=1e-5)
    assert told["value_mean"] == pytest.approx(value.mean(), rel=1e-5)
    assert told["advantage_deviation"] == pytest.approx(advantage.std(), rel=1e-5)
    assert told["learning_rate"] == HYPERPARAMETERS.lr
    assert told["entropy"] == report.entropy
    assert told["kl_divergence"] == report.kl_divergence
    assert told["approximate_kl"] >= 0.0
    assert min(told["value_gradient_norm"], told["policy_gradient_norm"]) > 0.0


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_model_pb_reproduces_the_agent(kind: str, request: pytest.FixtureRequest) -> None:
    """Plain TensorFlow, the contract's node names, frames 0..255, any batch size."""
    import tensorflow as tf

    model = MODEL if kind == "discrete" else CONTINUOUS
    agent: CoachAgent = request.getfixturevalue("fresh" if kind == "discrete" else "continuous")
    agent.train(rollouts(0, model), 0)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(agent.export()), name="")
    assert [node.name for node in graph.as_graph_def().node if node.op == "Placeholder"] == [
        f"main_level/agent/main/online/network_0/{CAMERA}/{CAMERA}"
    ]
    frames = graph.get_tensor_by_name(f"main_level/agent/main/online/network_0/{CAMERA}/{CAMERA}:0")
    assert frames.shape.as_list() == [None, 120, 160, 1]
    seen = episode(5, 3, model).observations[CAMERA]
    with tf.compat.v1.Session(graph=graph) as session:
        (output,) = session.run([f"{HEAD}/policy:0"], {frames: seen})
    _, (expected, *_) = agent._ppo.evaluate({CAMERA: seen})
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


def test_frozen_policy_agrees_for_any_number_of_cars(fresh: CoachAgent) -> None:
    """A car's distribution does not depend on the cars beside it, bit for bit."""
    policy = FrozenPolicy(fresh.export(), MODEL)
    frames = episode(5, 21, MODEL).observations[CAMERA]
    together = policy.distribution({CAMERA: frames}).probabilities
    assert together is not None and together.dtype == np.float64
    np.testing.assert_allclose(together.sum(axis=1), 1.0, rtol=1e-6)
    for rows in (slice(0, 1), slice(3, 12), slice(20, 3, -1)):
        alone = policy.distribution({CAMERA: frames[rows]}).probabilities
        assert alone is not None
        assert np.array_equal(alone, together[rows])
    policy.close()


def test_frozen_policy_takes_new_weights(fresh: CoachAgent) -> None:
    frames = {CAMERA: episode(5, 2, MODEL).observations[CAMERA]}
    policy = FrozenPolicy(fresh.export(), MODEL)
    before = policy.distribution(frames).probabilities
    fresh.train(rollouts(0), 0)
    policy.replace(fresh.export())
    after = policy.distribution(frames).probabilities
    assert before is not None and after is not None and not np.array_equal(before, after)
    policy.close()


def test_frozen_policy_gives_mean_and_deviation(continuous: CoachAgent) -> None:
    policy = FrozenPolicy(continuous.export(), CONTINUOUS)
    frames = episode(5, 3, CONTINUOUS).observations[CAMERA]
    said = policy.distribution({CAMERA: frames})
    _, (mean, deviation) = continuous._ppo.evaluate({CAMERA: frames})
    assert said.probabilities is None and said.mean is not None and said.deviation is not None
    np.testing.assert_allclose(said.mean, mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(said.deviation, deviation, rtol=0, atol=1e-6)
    policy.close()


def test_frozen_policy_refuses_other_models(fresh: CoachAgent) -> None:
    pb = fresh.export()
    with pytest.raises(InputError, match=r"model\.pb: .*pars"):
        FrozenPolicy(pb[:1000], MODEL)
    with pytest.raises(InputError, match="policy_std"):
        FrozenPolicy(pb, CONTINUOUS)
    raw = MODEL.raw | {"action_space": MODEL.raw["action_space"][:3]}
    with pytest.raises(InputError, match=r"5 actions.*\n.*has 3"):
        FrozenPolicy(pb, ModelMetadata.parse(json.dumps(raw)))


def test_checkpoint_is_a_tensorflow_checkpoint(fresh: CoachAgent, tmp_path_factory: pytest.TempPathFactory) -> None:
    import tensorflow as tf

    files = fresh.save()
    assert sorted(files) == ["data-00000-of-00001", "index", "meta"]
    folder = tmp_path_factory.mktemp("checkpoint")
    for suffix, content in files.items():
        (folder / f"0_Step-0.ckpt.{suffix}").write_bytes(content)
    names = {name for name, _ in tf.train.list_variables(str(folder / "0_Step-0.ckpt"))}
    layer = f"main_level/agent/main/online/network_1/{CAMERA}/Conv2d_0/kernel"
    assert layer in names
    assert f"main_level/agent/main/online/{layer}/Adam_1" in names, "the optimiser's slots, under rl_coach's scope"
    with tf.Graph().as_default():
        assert tf.compat.v1.train.import_meta_graph(str(folder / "0_Step-0.ckpt.meta")) is not None


@pytest.mark.parametrize("damage", ["cut data", "flip data", "cut index", "garbage index", "no index"])
def test_corrupt_checkpoints_change_nothing(fresh: CoachAgent, start: dict[str, bytes], damage: str) -> None:
    files = dict(start)
    data, index = "data-00000-of-00001", "index"
    if damage == "cut data":
        files[data] = files[data][: len(files[data]) // 2]
    elif damage == "flip data":
        files[data] = files[data][:-5] + bytes([files[data][-5] ^ 1]) + files[data][-4:]
    elif damage == "cut index":
        files[index] = files[index][:100]
    elif damage == "garbage index":
        files[index] = b"no checkpoint at all" * 20
    else:
        del files[index]
    with pytest.raises(CheckpointError, match="fix:"):
        fresh.restore(files)
    assert fresh.save() == start


def test_checkpoint_of_another_network_is_refused(continuous: CoachAgent, start: dict[str, bytes]) -> None:
    with pytest.raises(CheckpointError, match="of another network: main_level/agent"):
        continuous.restore(start)


def test_loss_that_is_not_finite_stops_training(fresh: CoachAgent, start: dict[str, bytes]) -> None:
    bad = rollouts(0)
    bad[0].steps["reward"][2] = np.nan
    with pytest.raises(TrainingError, match=r"value loss is nan in iteration 4, epoch 0, minibatch 0\n.*\n.*lower lr"):
        fresh.train(bad, 4)
    fresh.restore(start)
    assert np.isfinite(fresh.train(rollouts(0), 0).value_loss)


def test_weights_that_are_not_finite_stop_training(fresh: CoachAgent) -> None:
    online = fresh._ppo.online
    fresh._ppo.check_weights("iteration 1")
    broken = online.sess.run(online.weights[0])
    broken[0] = np.inf
    online.sess.run(online.update_weights_from_list[0], {online.weights_placeholders[0]: broken})
    with pytest.raises(TrainingError, match="weight is not finite in iteration 1"):
        fresh._ppo.check_weights("iteration 1")


@pytest.mark.parametrize("network", ["DEEP_CONVOLUTIONAL_NETWORK", "DEEP_CONVOLUTIONAL_NETWORK_DEEP"])
@pytest.mark.slow
def test_deeper_networks_train_and_export(network: str) -> None:
    model = metadata(network=network)
    graph, expected = in_own_process(_trained_and_exported, model)
    said = in_own_process(_probabilities, graph, model)
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-6)


def _trained_and_exported(model: ModelMetadata) -> tuple[bytes, NDArray[np.float32]]:
    """The agent's graph after an update, and its own probabilities."""
    agent = CoachAgent(model, Hyperparameters(batch_size=8, num_epochs=1), seed=1)
    agent.train([episode(0, 8, model)], 0)
    _, (probabilities,) = agent._ppo.evaluate(episode(5, 2, model).observations)
    return agent.export(), np.asarray(probabilities)


def _probabilities(graph: bytes, model: ModelMetadata) -> NDArray[np.float32]:
    said = FrozenPolicy(graph, model).distribution(episode(5, 2, model).observations).probabilities
    assert said is not None
    return np.asarray(said, np.float32)
