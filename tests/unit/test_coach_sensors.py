"""Networks of every size with every combination of sensors: build, learn, export, drive."""

import json
from itertools import product

import numpy as np
import pytest

from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from contract.metadata import LIDARS, NETWORKS, ModelMetadata
from simapp.policy import FrozenPolicy
from tests.stock_coach import CAMERA, StockAgent, episode, metadata, stock_minibatches
from tests.untrained import POLICIES, UntrainedPolicy
from trainer.agents import CoachAgent

STEREO = "STEREO_CAMERAS"
HYPERPARAMETERS = Hyperparameters(batch_size=2, num_epochs=1)
SHALLOW = NETWORKS[0]
QUICK = [(SHALLOW, (CAMERA, "LIDAR")), (SHALLOW, (STEREO, "DISCRETIZED_SECTOR_LIDAR"))]
MATRIX = [
    pytest.param(network, (camera, *lidar), id=f"{network}-{camera}-{'-'.join(lidar)}", marks=pytest.mark.slow)
    for network, camera, lidar in product(NETWORKS, (CAMERA, STEREO), ((), *((name,) for name in LIDARS)))
    if (network, (camera, *lidar)) not in QUICK
]


@pytest.mark.parametrize(("network", "sensors"), [*QUICK, *MATRIX])
def test_trains_exports_and_drives(network: str, sensors: tuple[str, ...]) -> None:
    model = metadata(network=network, sensors=sensors)
    agent = CoachAgent(model, HYPERPARAMETERS, seed=1)
    agent.train([episode(0, 3, model, truncated=True)], 0)
    seen = episode(5, 3, model).observations
    policy = FrozenPolicy(agent.export(), model)
    said = policy.distribution(seen).probabilities
    _, (expected,) = agent._ppo.evaluate(seen)
    assert said is not None
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-5)
    for i in range(3):  # each car alone, and each input matters
        alone = policy.distribution({name: values[i : i + 1] for name, values in seen.items()}).probabilities
        assert np.array_equal(np.asarray(alone)[0], said[i])
    for name in sensors:
        other = policy.distribution({**seen, name: seen[name][::-1]}).probabilities
        assert np.abs(np.asarray(other) - said)[0].max() > 1e-7, f"{name} has no say"
    policy.close()


def kernels_of(agent: CoachAgent) -> dict[str, tuple[int, ...]]:
    """Layer of the policy's tower, for example LIDAR/Dense_0/kernel -> shape of its kernel."""
    weights = {
        weight.op.name.partition("/network_1/")[2]: weight.shape.as_list() for weight in agent._ppo.online.weights
    }
    return {name: tuple(shape) for name, shape in weights.items() if name.endswith("kernel")}


@pytest.mark.slow
def test_layers_of_the_contract() -> None:
    """contract.md, networks: the deeper nets see stereo with five convolutions, lidar goes through 256, 256."""
    model = metadata(network="DEEP_CONVOLUTIONAL_NETWORK_DEEP", sensors=(STEREO, "SECTOR_LIDAR"))
    kernels = kernels_of(CoachAgent(model, HYPERPARAMETERS, seed=1))
    stereo = [shape for name, shape in kernels.items() if name.startswith(STEREO)]
    assert stereo == [(3, 3, 2, 32), (3, 3, 32, 64), (3, 3, 64, 64), (3, 3, 64, 128), (3, 3, 128, 128)]
    assert [shape for name, shape in kernels.items() if name.startswith("SECTOR_LIDAR")] == [(8, 256), (256, 256)]
    dense = [shape for name, shape in kernels.items() if name.startswith("middleware")]
    # unpadded, strides 1 2 1 2 1: 120 -> 118, 58, 56, 27, 25 rows and 160 -> 158, 78, 76, 37, 35 columns
    assert dense == [(25 * 35 * 128 + 256, 256), (256, 128)]


@pytest.mark.slow
def test_shallow_stereo_is_the_front_cameras_embedder_with_two_channels() -> None:
    kernels = kernels_of(CoachAgent(metadata(sensors=(STEREO,)), HYPERPARAMETERS, seed=1))
    assert [shape for name, shape in kernels.items() if name.startswith(STEREO)] == [
        (8, 8, 2, 32),
        (4, 4, 32, 64),
        (3, 3, 64, 64),
    ]


@pytest.mark.slow
def test_two_inputs_update_equals_stock_rl_coach() -> None:
    """rl_coach's own agent with the same weights, data and minibatches; its memory holds every sensor."""
    model = metadata(sensors=(CAMERA, "LIDAR"))
    hyperparameters = Hyperparameters(batch_size=4, num_epochs=1, lr=1e-3, discount_factor=0.9)
    rollouts = [episode(0, 5, model), episode(1, 3, model)]
    ours, stock = CoachAgent(model, hyperparameters, seed=3), StockAgent(model, hyperparameters, seed=3)
    online = ours._ppo.online
    stock.set_weights(online.sess.run(online.weights))
    stock.store(rollouts)
    stock.train(shuffle_seed=5)
    data = ours._dataset(rollouts)
    losses = [
        ours._ppo.minibatch(data, batch, "test")[:4] for batch in stock_minibatches(8, 4, epochs=1, shuffle_seed=5)[0]
    ]
    np.testing.assert_allclose(losses, stock.losses, rtol=1e-5, atol=1e-5)
    for weight, mine, theirs in zip(online.weights, online.sess.run(online.weights), stock.weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5, err_msg=weight.name)


@pytest.fixture(scope="module")
def with_lidar(untrained_policy: UntrainedPolicy) -> bytes:
    model, _ = POLICIES["lidar"]
    assert model.sensors == (CAMERA, "LIDAR")
    return untrained_policy(model)


@pytest.mark.parametrize(
    ("sensors", "message"),
    [
        ((CAMERA,), r"FRONT_FACING_CAMERA \[120, 160, 1\], LIDAR \[64\]"),
        ((CAMERA, "SECTOR_LIDAR"), "inputs FRONT_FACING_CAMERA, SECTOR_LIDAR"),
        ((STEREO, "LIDAR"), "inputs STEREO_CAMERAS, LIDAR"),
    ],
)
def test_a_policy_of_other_sensors_is_refused(with_lidar: bytes, sensors: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FrozenPolicy(with_lidar, metadata(sensors=sensors))


@pytest.mark.slow
def test_a_lidar_of_another_resolution_is_refused() -> None:
    def model(values: int) -> ModelMetadata:
        raw = metadata(sensors=(CAMERA, "DISCRETIZED_SECTOR_LIDAR")).raw
        return ModelMetadata.parse(json.dumps(raw | {"lidar_config": {"num_values_per_sector": values}}))

    pb = CoachAgent(model(4), HYPERPARAMETERS, seed=1).export()
    with pytest.raises(InputError, match=r"DISCRETIZED_SECTOR_LIDAR \[32\].*\n.*DISCRETIZED_SECTOR_LIDAR \[64\]"):
        FrozenPolicy(pb, model(8))
