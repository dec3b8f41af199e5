"""The policy as a frozen graph (model.pb) with the node names that the car and the community's tools look for, and the
car bundle (model.tar.gz) with it."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from typing import Any

from contract import artifacts
from contract.errors import CheckpointError
from contract.metadata import ModelMetadata
from contract.runtime import quiet_import
from trainer.coach import shim

HEAD = "main_level/agent/main/online/network_1/ppo_head_0"
SAC_HEAD = "main_level/agent/policy/online/network_0/sac_policy_head_0"
_GZIP_LEVEL = 1
"""Float weights shrink by 7 % at any level, so the fastest one does."""


class PolicyExport:
    """Freezes the policy tower. Make it while the graph is being built.

    `policy` is the tensor of action probabilities where rl_coach's network has none of its own.
    """

    def __init__(self, online: Any, metadata: ModelMetadata, policy: Any = None) -> None:
        tf = shim.tensorflow()
        v1 = tf.compat.v1
        if metadata.algorithm == "sac":
            outputs = _sac_outputs(v1, online)
        else:
            outputs = _named(v1, online.output_heads[1].output if policy is None else [policy])
        # rl_coach feeds the policy's tower from network_0's placeholder, so the tower alone has the contract's input
        self._outputs = outputs
        definition = _inference_only(v1.get_default_graph().as_graph_def(), shim.training_switch(online).op.name)
        self._graph_def = _in_float32(v1.graph_util.extract_sub_graph(definition, outputs))
        for node in self._graph_def.node:
            node.device = ""

    def freeze(self, session: Any) -> bytes:
        """GraphDef bytes with the session's weights as constants."""
        v1 = shim.tensorflow().compat.v1
        frozen = v1.graph_util.convert_variables_to_constants(session, self._graph_def, self._outputs)
        return bytes(frozen.SerializeToString(deterministic=True))


def what_drives(pb: bytes) -> bytes:
    """The part of a frozen graph that a car needs: the one output `policy`, as in AWS's own models.

    A car's converters take every node that nothing reads for an output of the network. CheckpointError when it is no
    policy's graph.
    """
    v1 = shim.tensorflow().compat.v1
    decode_error = quiet_import("google.protobuf.message").DecodeError
    try:
        definition = v1.GraphDef.FromString(pb)
    except decode_error as error:
        raise _no_policy(str(error)) from None
    outputs = [node.name for node in definition.node if node.name in (f"{HEAD}/policy", f"{SAC_HEAD}/policy")]
    if len(outputs) != 1:
        raise _no_policy(f"has {len(outputs)} nodes named policy")
    return bytes(v1.graph_util.extract_sub_graph(definition, outputs).SerializeToString(deterministic=True))


def _no_policy(problem: str) -> CheckpointError:
    return CheckpointError(
        f"model.pb is no policy: {problem}",
        f"a frozen graph with one output, {HEAD}/policy or {SAC_HEAD}/policy",
        "take another checkpoint, or train the model again",
    )


def _named(v1: Any, outputs: list[Any]) -> list[str]:
    """rl_coach names the layer of a continuous mean, not the mean, and counts heads that share a tower."""
    names = []
    for name, output in zip(("policy", "policy_std"), outputs, strict=False):
        names.append(f"{HEAD}/{name}")
        if output.op.name != names[-1]:
            with v1.name_scope(f"{HEAD}/"):
                v1.identity(output, name=name)
    return names


def _sac_outputs(v1: Any, online: Any) -> list[str]:
    """`policy` is the action itself, tanh of the mean, because the car only clips what it reads to [-1, 1]. (In AWS's
    graphs it is the mean before tanh, so their cars drive other actions than they were trained with.) Rollouts sample
    from `policy_mean` and `policy_log_std`, of before tanh."""
    with v1.name_scope(f"{SAC_HEAD}/"):
        v1.tanh(online.output_heads[0].policy_mean, name="policy")
    return [f"{SAC_HEAD}/{name}" for name in ("policy", "policy_mean", "policy_log_std")]


def _inference_only(definition: Any, training: str) -> Any:
    """The layers that the boolean `training` switches become what they are outside training, for good: no dropout, no
    batch statistics, no gradients of ours, and nothing in the graph that a car's runtime does not know."""
    for node in definition.node:
        if "_gradient_op_type" in node.attr:
            del node.attr["_gradient_op_type"]
        if node.op == "SelectV2" and node.input[0] == training:
            outside = node.input[2]
            node.op = "Identity"
            del node.input[:]
            node.input.append(outside)
    return definition


def _in_float32(definition: Any) -> Any:
    """Without the casts to bfloat16 and back that a network trained in it has: a car's runtime need not know them."""
    types = shim.tensorflow().dtypes
    pair = {types.float32.as_datatype_enum, types.bfloat16.as_datatype_enum}
    casts = {
        node.name: node.input[0]
        for node in definition.node
        if node.op == "Cast" and {node.attr["SrcT"].type, node.attr["DstT"].type} == pair
    }
    kept = [node for node in definition.node if node.name not in casts]
    del definition.node[:]
    for node in kept:
        for i, name in enumerate(node.input):
            while name in casts:
                name = casts[name]
            node.input[i] = name
        for attribute in node.attr.values():
            if attribute.type == types.bfloat16.as_datatype_enum:
                attribute.type = types.float32.as_datatype_enum
    definition.node.extend(kept)
    return definition


def car_bundle(policy_pb: bytes, metadata_json: bytes, further: Mapping[str, bytes] | None = None) -> bytes:
    """agent/model.pb, model_metadata.json and further files (path -> content) as a gzipped tar, the same bytes for the
    same input."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        files = {artifacts.BUNDLE_MODEL: policy_pb, artifacts.BUNDLE_METADATA: metadata_json, **(further or {})}
        for name, data in files.items():
            member = tarfile.TarInfo(name)  # owner, group and mtime stay 0
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(tar_bytes.getvalue(), compresslevel=_GZIP_LEVEL, mtime=0)
