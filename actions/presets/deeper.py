"""A deeper network: five convolutions and two dense layers, with less than half of the shallow one's weights.

Nearly all weights are between the last convolution's 10 x 15 x 64 outputs and the first dense layer, here of 256 units.
"""

from rl_coach.architectures.layers import Conv2d, Dense

from trainer.coach.preset import default_agent_params


def get_agent_params(metadata, hyperparameters):
    """Our parameters with other schemes."""
    params = default_agent_params(metadata, hyperparameters)
    network = params.network_wrappers["main"]
    network.input_embedders_parameters[metadata.camera].scheme = [
        Conv2d(32, 5, 2),
        Conv2d(32, 3, 2),
        Conv2d(64, 3, 1),
        Conv2d(64, 3, 2),
        Conv2d(64, 3, 1),
    ]
    network.middleware_parameters.scheme = [Dense(256), Dense(128)]
    return params
