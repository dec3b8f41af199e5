"""A frozen graph's products in bfloat16, against TensorFlow's own rewriting of the same graph."""

from typing import Any

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from contract.protocols import ActionDistribution
from simapp.policy import FrozenPolicy
from simapp.precision import in_bfloat16
from tests.bfloat16 import needs_bfloat16
from tests.stock_coach import CAMERA, episode, metadata
from tests.unit.test_coach_precision import drive
from tests.untrained import POLICIES, UntrainedPolicy


def by_tensorflow(pb: bytes, policy: FrozenPolicy, seen: Any) -> list[Any]:
    """The outputs of the unchanged graph, in a session that TensorFlow rewrites for bfloat16."""
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(pb), name="")
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = 1
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        feed = {tensor.name: seen[name].astype(np.float32) for name, tensor in policy._inputs.items()}
        found: list[Any] = session.run([tensor.name for tensor in policy._outputs], feed)
    if policy._softmax:  # the policy takes what comes before it
        found[0] = scipy.special.softmax(found[0].astype(np.float64), axis=1)
    return found


def outputs(said: ActionDistribution) -> list[np.ndarray]:
    return [it for it in (said.probabilities, said.mean, said.deviation) if it is not None]


@needs_bfloat16
@pytest.mark.parametrize("name", POLICIES)
def test_it_is_what_tensorflow_does_by_itself(name: str, untrained_policy: UntrainedPolicy) -> None:
    model, preset = POLICIES[name]
    pb = untrained_policy(model, preset=preset)
    seen = drive(2, model).observations
    policy = FrozenPolicy(pb, model, precision="bfloat16")
    numbers, plain = (outputs(it.distribution(seen)) for it in (policy, FrozenPolicy(pb, model)))
    theirs = by_tensorflow(pb, policy, seen)
    if model.algorithm == "sac":
        theirs[1] = np.exp(theirs[1])  # it gives the logarithm of the deviation
    for ours, expected, full in zip(numbers, theirs, plain, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0.01, atol=2e-3)
        np.testing.assert_allclose(ours, full, rtol=0.02, atol=0.02)
    assert not np.array_equal(numbers[0], plain[0]), "bfloat16 is really used"


def test_weights_are_cast_once_and_products_follow_each_other(untrained_policy: UntrainedPolicy) -> None:
    pb = untrained_policy(metadata())
    before = tf.compat.v1.GraphDef.FromString(pb)
    after = in_bfloat16(before)
    missing = {node.name for node in before.node} - {node.name for node in after.node}
    assert all(name.endswith(("kernel", "bias", "/read")) for name in missing), "other nodes are still found by name"
    assert len(missing) == 20 and after.ByteSize() < 0.51 * before.ByteSize()
    low = tf.bfloat16.as_datatype_enum
    products = [node for node in after.node if node.op in ("Conv2D", "MatMul")]
    kinds = {node.name: node for node in after.node}
    assert len(products) == 5 and all(node.attr["T"].type == low for node in products)
    for node in products:
        weights = kinds[node.input[1]]
        assert weights.op == "Const" and weights.attr["dtype"].type == low
    # the second convolution takes what the first one's activation gives, without a cast in between
    seconds = [kinds[node.input[0]].op for node in products[1:3]]
    assert seconds == ["Relu", "Relu"]
    assert before.SerializeToString(deterministic=True) == tf.compat.v1.GraphDef.FromString(pb).SerializeToString(
        deterministic=True
    ), "the graph that was given stays as it is"


def test_a_network_with_nothing_to_change_stays() -> None:
    graph = tf.Graph()
    with graph.as_default():
        tf.compat.v1.placeholder(tf.float64, [None, 2], "here")
        tf.matmul(graph.get_tensor_by_name("here:0"), tf.ones([2, 3], tf.float64), name="product")
    given = graph.as_graph_def()
    assert in_bfloat16(given) == given


@needs_bfloat16
def test_frames_of_an_episode_drive_alike(untrained_policy: UntrainedPolicy) -> None:
    """The same probabilities a frame, whatever frames are beside it."""
    model = metadata()
    pb = untrained_policy(model)
    policy = FrozenPolicy(pb, model, precision="bfloat16")
    frames = episode(1, 20, model).observations[CAMERA]
    together = np.asarray(policy.distribution({CAMERA: frames}).probabilities)
    for k in (0, 7, 19):
        alone = np.asarray(policy.distribution({CAMERA: frames[k : k + 1]}).probabilities)
        np.testing.assert_array_equal(alone[0], together[k])
