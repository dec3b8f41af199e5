"""SacAgent: its update against NumPy on the same batch, resume, export, checkpoints, and the networks it can have."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from contract.errors import CheckpointError, InputError, TrainingError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution
from contract.rollout import Rollout
from simapp.policy import FrozenPolicy
from simapp.rollout import OngoingEpisode, choose
from tests.own_process import in_own_process
from tests.stock_coach import CAMERA, episode, metadata
from tests.untrained import DEEPEST, sac_metadata
from trainer.agents import SacAgent, make_agent
from trainer.common.replay_buffer import Batch
from trainer.sac.agent import TARGET_RATE

ALPHA, DISCOUNT, LR = 0.3, 0.9, 1e-3
HYPERPARAMETERS = Hyperparameters(
    batch_size=8, num_epochs=3, discount_factor=DISCOUNT, sac_alpha=ALPHA, lr=LR, exploration_type="additive_noise"
)
HEAD = "main_level/agent/policy/online/network_0/sac_policy_head_0"


MODEL = sac_metadata(network=DEEPEST)
"""The network with the fewest weights."""


def drive(seed: int, steps: int = 7, model: ModelMetadata = MODEL, truncated: bool = False) -> Rollout:
    rollout = episode(seed, steps, model, truncated)
    rollout.actions = np.tanh(rollout.actions)
    return rollout


@pytest.fixture(scope="module")
def agent() -> SacAgent:
    made = make_agent(MODEL, HYPERPARAMETERS, seed=3)
    assert isinstance(made, SacAgent)
    return made


@pytest.fixture(scope="module")
def start(agent: SacAgent) -> dict[str, bytes]:
    """The agent's first checkpoint, from which each test goes on."""
    return agent.save()


@pytest.fixture
def fresh(agent: SacAgent, start: dict[str, bytes]) -> SacAgent:
    agent.restore(start)
    return agent


class Oracle:
    """The networks' outputs on one batch through rl_coach's own placeholders; everything else is left to NumPy."""

    def __init__(self, agent: SacAgent, spread: float = 1.0) -> None:
        self.sac, self.run = agent._sac, agent._session.run
        rng = np.random.default_rng(5)
        size = 8
        self.batch = Batch(
            states={CAMERA: rng.integers(0, 256, (size, 120, 160, 1)).astype(np.uint8)},
            actions=rng.uniform(-1.0, 1.0, (size, 2)).astype(np.float32),
            rewards=rng.uniform(-1.0, 3.0, (size, 1)).astype(np.float32),
            next_states={CAMERA: rng.integers(0, 256, (size, 120, 160, 1)).astype(np.uint8)},
            terminals=np.array([[0, 1] * 4], np.float32).T,
        )
        self.noise = rng.normal(0.0, spread, (size, 2)).astype(np.float32)
        self.feed = self.sac.feed(self.batch, self.noise)
        policy = self.network("policy")
        head = policy.output_heads[0]
        outputs = self.run([head.policy_mean, head.policy_log_std], self.feed)
        self.mean, self.log_std = (output.astype(np.float64) for output in outputs)
        self.raw = self.mean + np.exp(self.log_std) * self.noise
        density = stats.norm.logpdf(self.raw, self.mean, np.exp(self.log_std))
        # |d tanh(x) / dx| = 1 / cosh(x)^2
        self.log_likelihood = (density + 2.0 * np.log(np.cosh(self.raw))).sum(axis=1, keepdims=True)

    def network(self, name: str) -> Any:
        return self.sac.networks[name].online_network

    def q(self, actions: np.ndarray) -> list[np.ndarray]:
        """Both action values (B, 1) of the batch's states and actions (B, 2)."""
        head = self.network("q").output_heads[0]
        return list(self._at(actions, [head.q1_output, head.q2_output]))

    def q_slope(self, actions: np.ndarray) -> np.ndarray:
        """rl_coach's own gradient (B, 2) of the mean over the batch of the smaller action value."""
        (slope,) = self._at(actions, self.network("q").gradients_wrt_inputs[1]["output_0_0"])
        return np.asarray(slope)

    def _at(self, actions: np.ndarray, fetch: Any) -> Any:
        return self.run(fetch, self.feed | {self.network("q").inputs["output_0_0"]: actions})


@pytest.mark.slow
def test_log_likelihood_of_squashed_actions(fresh: SacAgent) -> None:
    """Also far out, where tanh has rounded to 1: noise of 40 standard deviations."""
    for spread in (1.0, 40.0):
        oracle = Oracle(fresh, spread)
        found, actions = oracle.run([fresh._sac.log_likelihood, fresh._sac.actions], oracle.feed)
        np.testing.assert_allclose(found, oracle.log_likelihood, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(actions, np.tanh(oracle.raw), atol=1e-6)


def test_targets_and_losses_against_numpy(fresh: SacAgent) -> None:
    """Soft value and action-value targets, the temperature, and each network's loss."""
    fresh.train([drive(0)], 0)  # else the heads' biases are zero, and the target network equals the online one
    oracle, sac = Oracle(fresh), fresh._sac
    q1, q2 = oracle.q(np.tanh(oracle.raw))
    value_target = np.minimum(q1, q2) - ALPHA * oracle.log_likelihood
    found = oracle.run([sac.q_of_policy, sac.value_target, sac.policy_loss], oracle.feed)
    np.testing.assert_allclose(found[0], np.minimum(q1, q2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], value_target, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[2], -value_target.mean(), rtol=1e-4)

    target = sac.networks["v"].target_network
    (following,) = oracle.run(target.outputs, {target.inputs[CAMERA]: oracle.batch.next_states[CAMERA]})
    q_target = oracle.batch.rewards + DISCOUNT * np.where(oracle.batch.terminals == 1.0, 0.0, following)
    q1, q2 = oracle.q(oracle.batch.actions)
    q_loss = ((q1 - q_target) ** 2 / 2 + (q2 - q_target) ** 2 / 2).mean()
    (values,) = oracle.run(oracle.network("v").outputs, oracle.feed)
    error = np.abs(values - value_target)
    value_loss = np.where(error <= 1.0, error**2 / 2, error - 0.5).mean()
    found = oracle.run([sac.q_target, sac.q_loss, sac.value_loss], oracle.feed)
    np.testing.assert_allclose(found[0], q_target, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1:], [q_loss, value_loss], rtol=1e-4)


def test_deviation_has_its_gradient_from_the_action_values(fresh: SacAgent) -> None:
    """d J / d (mean, log sigma), on paper, from rl_coach's own dQ/da at the very actions that the noise gave.

    With a = tanh(u), u = mean + sigma noise:  d log pi / du = 2 tanh(u) from the squashing,  d log pi / d log sigma
    has -1 besides from the normal density. rl_coach's three runs pair dQ/da with a noise of its own, so their term
    dQ/da (1 - a^2) sigma noise has mean zero.
    """
    oracle, sac = Oracle(fresh), fresh._sac
    actions, spread = np.tanh(oracle.raw), np.exp(oracle.log_std) * oracle.noise
    dq_du = oracle.q_slope(actions) * (1.0 - actions**2)  # of the batch's mean: already divided by its size
    entropy_du = ALPHA * 2.0 * actions / len(actions)
    by_mean = (entropy_du - dq_du).sum(axis=0)
    by_values = (-dq_du * spread).sum(axis=0)
    by_log_std = by_values + (entropy_du * spread - ALPHA / len(actions)).sum(axis=0)
    assert (np.abs(by_values) > 1e-4).all(), "the action values do move the deviation"
    gradients = dict(zip((w.op.name for w in oracle.network("policy").weights), sac.gradients["policy"], strict=True))
    (found,) = oracle.run([gradients[f"{HEAD}/policy_mu_logsig/bias"]], oracle.feed)
    np.testing.assert_allclose(found, [*by_mean, *by_log_std], rtol=1e-3, atol=1e-6)


def test_gradient_step_against_numpy(fresh: SacAgent) -> None:
    """The first Adam step of all three networks from gradients of the weights before, then the target's share."""
    oracle, sac = Oracle(fresh), fresh._sac
    target = sac.networks["v"].target_network.weights
    online = {name: oracle.network(name).weights for name in ("policy", "q", "v")}
    gradients = {name: [g for g in sac.gradients[name] if g is not None] for name in online}
    with_gradient = {n: [w for w, g in zip(online[n], sac.gradients[n], strict=True) if g is not None] for n in online}
    before, old_target, slopes = oracle.run([with_gradient, target, gradients], oracle.feed)
    sac.step(oracle.batch, oracle.noise, "test")
    after, new_target, values = oracle.run([with_gradient, target, online["v"]])
    root = np.sqrt(1.0 - 0.999)
    for name in online:
        for weight, old, new, slope in zip(with_gradient[name], before[name], after[name], slopes[name], strict=True):
            change = -LR * root * slope / (root * np.abs(slope) + 1e-5)
            np.testing.assert_allclose(new - old, change, atol=2e-6, err_msg=weight.op.name)
    for old, new, value in zip(old_target, new_target, values, strict=True):
        np.testing.assert_allclose(new, (1.0 - TARGET_RATE) * old + TARGET_RATE * value, atol=1e-7)


def test_resumed_training_equals_uninterrupted_bit_for_bit(fresh: SacAgent) -> None:
    """Weights, optimisers, target and replay memory all come back: what came between leaves no trace."""
    fresh.train([drive(0)], 0)
    middle = fresh.save()
    reports = [fresh.train([drive(i, truncated=i == 1)], i) for i in (1, 2)]
    end, policy = fresh.save(), fresh.export()
    fresh.restore(middle)
    assert fresh.save() == middle
    assert [fresh.train([drive(i, truncated=i == 1)], i) for i in (1, 2)] == reports
    assert fresh.save() == end
    assert fresh.export() == policy


def test_report(fresh: SacAgent) -> None:
    """num_epochs x 21 steps / batch_size = 7.9 gradient steps, reported in as many epochs as PPO's."""
    report = fresh.train([drive(i) for i in range(3)], 0)
    assert report.minibatches == 8
    assert len(report.epochs) == HYPERPARAMETERS.num_epochs
    assert report.epochs[-1]["surrogate_loss"] == report.policy_loss
    assert report.kl_divergence == 0.0
    assert -5.0 < report.entropy <= 2 * np.log(2) + 0.2, "at most that of uniform actions, but for the noise"
    assert np.isfinite(report.value_loss)


def test_model_pb_reproduces_the_agent(fresh: SacAgent) -> None:
    """Plain TensorFlow, the contract's node names; `policy` is what the car does, the mean squashed."""
    import tensorflow as tf

    fresh.train([drive(0)], 0)
    pb = fresh.export()
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(pb), name="")
    name = f"main_level/agent/policy/online/network_0/{CAMERA}/{CAMERA}"
    assert [node.name for node in graph.as_graph_def().node if node.op == "Placeholder"] == [name]
    seen = drive(5, 3).observations
    with tf.compat.v1.Session(graph=graph) as session:
        policy = session.run(f"{HEAD}/policy:0", {f"{name}:0": seen[CAMERA]})
    online = fresh._sac.networks["policy"].online_network
    head = online.output_heads[0]
    mean, log_std = fresh._session.run([head.policy_mean, head.policy_log_std], {online.inputs[CAMERA]: seen[CAMERA]})
    np.testing.assert_allclose(policy, np.tanh(mean), rtol=0, atol=1e-6)

    frozen = FrozenPolicy(pb, MODEL)
    said = frozen.distribution(seen)
    frozen.close()
    assert said.squash and said.probabilities is None and said.mean is not None and said.deviation is not None
    np.testing.assert_allclose(said.mean, mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(said.deviation, np.exp(log_std), rtol=1e-5)
    np.testing.assert_allclose(choose(said, None), policy, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="ppo_head_0"):
        FrozenPolicy(pb, metadata(continuous=True))


def test_squashed_actions_are_drawn_before_tanh() -> None:
    mean, deviation = np.array([[0.5, -3.0], [0.0, 9.0]]), np.array([[0.2, 0.5], [1.0, 2.0]])
    said = ActionDistribution(mean=mean, deviation=deviation, squash=True)
    np.testing.assert_allclose(choose(said, None), np.tanh(mean))
    drawn = choose(said, [OngoingEpisode(k, np.random.default_rng(k)) for k in range(2)])
    noise = np.stack([np.random.default_rng(k).standard_normal(2) for k in range(2)])
    np.testing.assert_allclose(drawn, np.tanh(mean + deviation * noise))


def test_corrupt_checkpoints_change_nothing(fresh: SacAgent) -> None:
    fresh.train([drive(0)], 0)
    before = fresh.save()
    data, replay = "data-00000-of-00001", "replay"
    damaged = [
        {name: content for name, content in before.items() if name != replay},
        before | {replay: before[replay][: len(before[replay]) // 2]},
        before | {replay: b"no archive at all" * 9},
        before | {data: before[data][:1000]},
    ]
    for files in damaged:
        with pytest.raises(CheckpointError, match="fix:"):
            fresh.restore(files)
    assert fresh.save() == before


def test_loss_that_is_not_finite_stops_training(fresh: SacAgent) -> None:
    bad = drive(0)
    bad.steps["reward"][:] = np.nan
    with pytest.raises(TrainingError, match=r"q loss is nan in iteration 4, epoch 0, minibatch 0\n.*\n.*lower lr"):
        fresh.train([bad], 4)


@pytest.mark.slow
def test_learns_what_is_rewarded(fresh: SacAgent) -> None:
    """Reward for steering left alone: the mean moves left. A wrong sign anywhere would move it right."""
    rollout = drive(0, 40)
    rollout.steps["reward"] = 5.0 * rollout.actions[:, 0]
    means = []
    for iteration in range(4):
        said = FrozenPolicy(fresh.export(), MODEL).distribution(rollout.observations)
        assert said.mean is not None
        means.append(np.tanh(said.mean[:, 0]).mean())
        for _ in range(2):
            fresh.train([rollout], iteration)
    assert means[-1] > means[0] + 0.2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_agent(fresh: SacAgent, start: dict[str, bytes]) -> None:
    other = make_agent(MODEL, HYPERPARAMETERS, seed=3)
    assert other.save() == start
    assert other.train([drive(1)], 0) == fresh.train([drive(1)], 0)
    assert make_agent(MODEL, HYPERPARAMETERS, seed=4).save() != start


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        sac_metadata(network="DEEP_CONVOLUTIONAL_NETWORK"),
        sac_metadata(),
        sac_metadata(sensors=("STEREO_CAMERAS", "SECTOR_LIDAR")),
    ],
    ids=["plain", "shallow", "stereo and lidar"],
)
def test_other_networks_train_resume_and_export(model: ModelMetadata) -> None:
    graph, expected = in_own_process(_resumed_and_exported, model)
    np.testing.assert_allclose(in_own_process(_means, graph, model), expected, atol=1e-6)


def _resumed_and_exported(model: ModelMetadata) -> tuple[bytes, NDArray[np.float32]]:
    """The graph of an agent that was taken back and went on to the same report, and its own means."""
    agent = SacAgent(model, HYPERPARAMETERS, seed=1)
    agent.train([drive(0, 8, model)], 0)
    middle = agent.save()
    report = agent.train([drive(1, 8, model)], 1)
    agent.restore(middle)
    assert agent.train([drive(1, 8, model)], 1) == report
    online = agent._sac.networks["policy"].online_network
    feed = {online.inputs[name]: values for name, values in drive(5, 2, model).observations.items()}
    return agent.export(), np.asarray(agent._session.run(online.output_heads[0].policy_mean, feed))


def _means(graph: bytes, model: ModelMetadata) -> NDArray[np.float32]:
    said = FrozenPolicy(graph, model).distribution(drive(5, 2, model).observations)
    assert said.mean is not None
    return np.asarray(said.mean, np.float32)
