"""A wider network: twice the filters of the shallow one, and a dense layer of 768 after it."""

from rl_coach.architectures.layers import Conv2d, Dense

from trainer.coach.preset import default_agent_params


def get_agent_params(metadata, hyperparameters):
    """Our parameters with other schemes."""
    params = default_agent_params(metadata, hyperparameters)
    network = params.network_wrappers["main"]
    network.input_embedders_parameters[metadata.camera].scheme = [
        Conv2d(64, 8, 4),
        Conv2d(128, 4, 2),
        Conv2d(128, 3, 1),
    ]
    network.middleware_parameters.scheme = [Dense(768)]
    return params
