"""Batch-norm after every convolution and dropout in the dense layer, both active while the network learns only."""

from rl_coach.architectures.layers import BatchnormActivationDropout, Conv2d, Dense

from trainer.coach.preset import default_agent_params


def get_agent_params(metadata, hyperparameters):
    """Our parameters with batch-norm and dropout."""
    params = default_agent_params(metadata, hyperparameters)
    network = params.network_wrappers["main"]
    camera = network.input_embedders_parameters[metadata.camera]
    camera.activation_function = "none"  # the layers below bring their own
    camera.scheme = []
    for convolution in (Conv2d(32, 8, 4), Conv2d(64, 4, 2), Conv2d(64, 3, 1)):
        camera.scheme += [convolution, BatchnormActivationDropout(batchnorm=True, activation_function="relu")]
    network.middleware_parameters.scheme = [Dense(512)]
    network.middleware_parameters.dropout_rate = 0.3
    return params
