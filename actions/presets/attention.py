"""Spatial attention: the network learns which places of the picture to look at.

A layer is anything that rl_coach may call with a tensor, a name and the switch `is_training`.
"""

import tensorflow as tf
from rl_coach.architectures.layers import Conv2d

from trainer.coach.preset import default_agent_params


class SpatialAttention:
    """Scores every place of a (N, H, W, C) picture and weighs it by the softmax of the scores, 1 on average."""

    def __call__(self, input_layer, name=None, is_training=None):
        v1 = tf.compat.v1
        height, width, channels = input_layer.shape.as_list()[1:]
        with v1.variable_scope(name):
            score = v1.get_variable("score", [channels, 1], tf.float32)
        places = tf.reshape(input_layer, [-1, height * width, channels])
        weights = tf.nn.softmax(tf.tensordot(places, score, 1), axis=1) * (height * width)
        return tf.reshape(places * weights, [-1, height, width, channels])


def get_agent_params(metadata, hyperparameters):
    """Our parameters with attention between the camera's convolutions."""
    params = default_agent_params(metadata, hyperparameters)
    camera = params.network_wrappers["main"].input_embedders_parameters[metadata.camera]
    camera.scheme = [Conv2d(32, 8, 4), Conv2d(64, 4, 2), SpatialAttention(), Conv2d(64, 3, 1)]
    return params
