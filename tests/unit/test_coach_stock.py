"""The fused update against rl_coach's own: same weights, same data, same minibatches."""

from typing import Literal

import numpy as np
import pytest

from contract.hyperparameters import Hyperparameters
from tests.stock_coach import StockAgent, episode, metadata, stock_minibatches
from trainer.agents import CoachAgent


@pytest.mark.parametrize(("continuous", "loss_type"), [(False, "huber"), (True, "mean squared error")])
def test_update_equals_stock_rl_coach(continuous: bool, loss_type: Literal["huber", "mean squared error"]) -> None:
    model = metadata(continuous)
    hyperparameters = Hyperparameters(batch_size=8, num_epochs=2, lr=1e-3, loss_type=loss_type, discount_factor=0.9)
    rollouts = [episode(0, 11, model), episode(1, 7, model)]
    ours, stock = CoachAgent(model, hyperparameters, seed=3), StockAgent(model, hyperparameters, seed=3)
    online = ours._ppo.online
    stock.set_weights(online.sess.run(online.weights))

    stock.store(rollouts)
    stock.train(shuffle_seed=5)
    data = ours._dataset(rollouts)
    losses = [
        ours._ppo.minibatch(data, batch, "test")[:4]
        for epoch in stock_minibatches(18, 8, epochs=2, shuffle_seed=5)
        for batch in epoch
    ]

    assert len(stock.losses) == 4
    np.testing.assert_allclose(losses, stock.losses, rtol=1e-5, atol=1e-5)
    for weight, ours_value, stock_value in zip(
        online.weights, online.sess.run(online.weights), stock.weights(), strict=True
    ):
        np.testing.assert_allclose(ours_value, stock_value, rtol=1e-5, atol=1e-5, err_msg=weight.name)
