"""TensorFlow 1.14 as rl_coach sees it: `tf.compat.v1`, and its `tf.contrib`, `tf.layers` and `tf.placeholder`.

Variable names, shapes and initialisers are those of the originals, so that checkpoints and frozen graphs keep the names
that DeepRacer's tools expect.
"""

import contextlib
import functools
import math
import types
import zlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

Tensor = Any  # TensorFlow ships no types that survive --strict

_products: ContextVar[str] = ContextVar("products", default="float32")


@contextlib.contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Layers built meanwhile multiply in "float32" or "bfloat16"; the rest of a layer stays in float32.

    So do the heads: bfloat16 has 8 bits, too few for a value of 50 whose steps are worth 1, or for the ratio of two
    probabilities that must be 1 where nothing has changed.
    """
    token = _products.set(precision)
    try:
        yield
    finally:
        _products.reset(token)


def facade(tf: Any) -> types.ModuleType:
    """A module that looks like TensorFlow 1.14. Switches this process to graph mode, which rl_coach needs."""
    v1 = tf.compat.v1
    # rl_coach builds graphs once and runs them in sessions; eager tensors would break it, and cannot be mixed with
    # graphs.
    v1.disable_v2_behavior()

    class TensorFlow1(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(v1, name)

    module = TensorFlow1("tensorflow")
    vars(module).update(contrib=_contrib(v1), layers=_layers(v1), placeholder=_placeholder(v1))
    return module


def _placeholder(v1: Any) -> Callable[..., Tensor]:
    def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
        # sac_head.py and sac_q_head.py pass the action space's shape, an array, as one dimension of a shape
        if isinstance(shape, list | tuple):
            shape = [d.item() if isinstance(d, np.ndarray) else d for d in shape]
        return v1.placeholder(dtype, shape, name)

    return placeholder


def _product(v1: Any, multiply: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, kernel: Tensor) -> Tensor:
    """multiply(inputs, kernel), float32 in and out; its gradients are products of the same precision."""
    if _products.get() == "float32" or "_head_" in v1.get_default_graph().get_name_scope():
        return multiply(inputs, kernel)
    return v1.cast(multiply(v1.cast(inputs, v1.bfloat16), v1.cast(kernel, v1.bfloat16)), v1.float32)


@functools.cache
def _dense_gradient(v1: Any) -> str:
    """The name of a dense layer's gradient, of the same products as TensorFlow's own.

    The inputs' gradient, output x kernel^T, is taken as (kernel x output^T)^T: otherwise the kernel is transposed each
    time, and the first layer's, of 23 MB, is nearly all that there is. That took 3.6 to 4.9 times as long on a CPU with
    AVX2, a seventh of an update.
    """
    name = "UndercutDense"

    @v1.RegisterGradient(name)  # type: ignore[untyped-decorator]
    def gradient(op: Any, output: Tensor) -> tuple[Tensor, Tensor]:
        inputs, kernel = op.inputs
        given = v1.transpose(v1.matmul(kernel, output, transpose_b=True))
        return given, v1.matmul(inputs, output, transpose_a=True)

    return name


def _layers(v1: Any) -> types.SimpleNamespace:
    def dense(
        inputs: Tensor,
        units: int,
        activation: Callable[[Tensor], Tensor] | None = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: str | None = None,
    ) -> Tensor:
        """Works on the last axis, whatever the rank, as tf.layers.dense did."""
        # get_variable and not a Keras layer: those name and count their variables in other ways, and a checkpoint of
        # rl_coach would not be found in them.
        with v1.variable_scope(name, default_name="dense"):
            size = int(inputs.shape[-1])
            kernel = v1.get_variable("kernel", [size, units], v1.float32, kernel_initializer)
            bias = v1.get_variable("bias", [units], v1.float32, bias_initializer or v1.zeros_initializer())
            rows = inputs if inputs.shape.rank == 2 else v1.reshape(inputs, [-1, size])
            with v1.get_default_graph().gradient_override_map({"MatMul": _dense_gradient(v1)}):
                output = v1.nn.bias_add(_product(v1, v1.matmul, rows, kernel), bias)
            if inputs.shape.rank != 2:
                output = v1.reshape(output, [-1, *inputs.shape.as_list()[1:-1], units])
            return activation(output) if activation is not None else output

    def conv2d(
        inputs: Tensor,
        filters: int,
        kernel_size: int,
        strides: int,
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> Tensor:
        if data_format != "channels_last":
            raise NotImplementedError("rl_coach only asks for channels_last")
        with v1.variable_scope(name, default_name="conv2d"):
            shape = [kernel_size, kernel_size, int(inputs.shape[-1]), filters]
            kernel = v1.get_variable("kernel", shape, v1.float32)
            bias = v1.get_variable("bias", [filters], v1.float32, v1.zeros_initializer())
            convolve = functools.partial(v1.nn.conv2d, strides=[1, strides, strides, 1], padding="VALID")
            return v1.nn.bias_add(_product(v1, convolve, inputs, kernel), bias)

    return types.SimpleNamespace(
        dense=dense, conv2d=conv2d, batch_normalization=_batch_normalization(v1), dropout=_dropout(v1)
    )


def _batch_normalization(v1: Any) -> Callable[..., Tensor]:
    def batch_normalization(
        inputs: Tensor, name: str | None = None, training: Any = False, momentum: float = 0.99, epsilon: float = 1e-3
    ) -> Tensor:
        """Normalises the last axis: in training by the batch, else by moving statistics, which UPDATE_OPS keep."""
        with v1.variable_scope(name, default_name="batch_normalization"):
            size, axes = [int(inputs.shape[-1])], list(range(inputs.shape.rank - 1))
            gamma = v1.get_variable("gamma", size, v1.float32, v1.ones_initializer())
            beta = v1.get_variable("beta", size, v1.float32, v1.zeros_initializer())
            means = v1.get_variable("moving_mean", size, v1.float32, v1.zeros_initializer(), trainable=False)
            variances = v1.get_variable("moving_variance", size, v1.float32, v1.ones_initializer(), trainable=False)
            statistics = []
            for moving, batch in zip((means, variances), v1.nn.moments(inputs, axes), strict=True):
                step = v1.assign_sub(moving, (1.0 - momentum) * (moving - batch))
                v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, step)
                statistics.append(v1.where_v2(training, batch, moving))
            return v1.nn.batch_normalization(inputs, *statistics, beta, gamma, epsilon)

    return batch_normalization


def _dropout(v1: Any) -> Callable[..., Tensor]:
    def dropout(inputs: Tensor, rate: float = 0.5, name: str | None = None, training: Any = False) -> Tensor:
        """In training zeroes a share of the inputs. Which ones depends on seed, layer and global step alone, so that
        resumed training draws the same."""
        graph = v1.get_default_graph()
        with v1.name_scope(name, default_name="dropout"):
            layer = zlib.crc32(graph.get_name_scope().encode())
            seed = v1.stack([v1.cast(v1.train.get_or_create_global_step(), v1.int64), (graph.seed or 0) ^ layer])
            keep = v1.random.stateless_uniform(v1.shape(inputs), seed) >= rate
            dropped = v1.where_v2(keep, inputs / (1.0 - rate), v1.zeros_like(inputs))
            return v1.where_v2(training, dropped, inputs)

    return dropout


def _contrib(v1: Any) -> types.SimpleNamespace:
    def flatten(inputs: Tensor) -> Tensor:
        return v1.reshape(inputs, [-1, math.prod(inputs.shape.as_list()[1:])], name="Flatten")

    class Categorical(v1.distributions.Categorical):  # type: ignore[misc]
        """TensorFlow's, but for probabilities that float32 has rounded to 0: their logarithm would be minus infinity,
        and with it KL divergences infinite, and entropies and gradients not a number. They count as the smallest normal
        number, 1.2e-38, without a gradient; all others are as they were."""

        def __init__(self, probs: Tensor, name: str = "Categorical") -> None:
            super().__init__(probs=v1.maximum(probs, np.finfo(np.float32).tiny), name=name)

    class MultivariateNormalDiag(v1.distributions.Normal):  # type: ignore[misc]
        """tf.contrib.distributions.MultivariateNormalDiag: independent normals, reduced over the last axis."""

        def __init__(self, loc: Tensor, scale_diag: Tensor, name: str = "MultivariateNormalDiag") -> None:
            super().__init__(loc=loc, scale=scale_diag, name=name)

        def _event_shape(self) -> Any:
            return self.loc.shape[-1:]

        def _batch_shape(self) -> Any:
            return self.loc.shape[:-1]

        def _log_prob(self, x: Tensor) -> Tensor:
            return v1.reduce_sum(super()._log_prob(x), axis=-1)

        def _entropy(self) -> Tensor:
            return v1.reduce_sum(super()._entropy(), axis=-1)

    @v1.distributions.RegisterKL(MultivariateNormalDiag, MultivariateNormalDiag)  # type: ignore[untyped-decorator]
    def kl_divergence(a: Any, b: Any, name: str | None = None) -> Tensor:
        # KL(N(m1, s1) || N(m2, s2)) = log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2, summed over the axes
        ratio = v1.square(a.scale / b.scale)
        shift = v1.square((a.loc - b.loc) / b.scale)
        return v1.reduce_sum(0.5 * (ratio + shift - 1.0 - v1.log(ratio)), axis=-1)

    space = types.SimpleNamespace
    return space(
        layers=space(flatten=flatten, xavier_initializer=v1.glorot_uniform_initializer),
        framework=space(get_name_scope=lambda: v1.get_default_graph().get_name_scope()),
        distributions=space(Categorical=Categorical, MultivariateNormalDiag=MultivariateNormalDiag),
    )
