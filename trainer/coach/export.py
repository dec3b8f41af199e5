"""The policy as a frozen graph (model.pb) with the node names that the car and the community's tools look for."""

from typing import Any

from contract.metadata import ModelMetadata
from trainer.coach import shim

HEAD = "main_level/agent/main/online/network_1/ppo_head_0"
SAC_HEAD = "main_level/agent/policy/online/network_0/sac_policy_head_0"


class PolicyExport:
    """Freezes the policy tower. Make it while the graph is being built."""

    def __init__(self, online: Any, metadata: ModelMetadata) -> None:
        tf = shim.tensorflow()
        v1 = tf.compat.v1
        outputs = _sac_outputs(v1, online) if metadata.algorithm == "sac" else _ppo_outputs(v1, online)
        # rl_coach feeds the policy's tower from network_0's placeholder, so the tower alone has the contract's input
        self._outputs = outputs
        self._graph_def = tf.compat.v1.graph_util.extract_sub_graph(v1.get_default_graph().as_graph_def(), outputs)
        for node in self._graph_def.node:
            node.device = ""

    def freeze(self, session: Any) -> bytes:
        """GraphDef bytes with the session's weights as constants."""
        v1 = shim.tensorflow().compat.v1
        frozen = v1.graph_util.convert_variables_to_constants(session, self._graph_def, self._outputs)
        return bytes(frozen.SerializeToString(deterministic=True))


def _ppo_outputs(v1: Any, online: Any) -> list[str]:
    head = online.output_heads[1]
    if len(head.output) == 1:
        return [f"{HEAD}/policy"]
    with v1.name_scope(f"{HEAD}/"):  # continuous: rl_coach names the mean's layer, not the mean
        v1.identity(head.output[0], name="policy")
    return [f"{HEAD}/policy", f"{HEAD}/policy_std"]


def _sac_outputs(v1: Any, online: Any) -> list[str]:
    """`policy` is the action itself, tanh of the mean, because the car only clips what it reads to [-1, 1]. (In AWS's
    graphs it is the mean before tanh, so their cars drive other actions than they were trained with.) Rollouts sample
    from `policy_mean` and `policy_log_std`, of before tanh."""
    with v1.name_scope(f"{SAC_HEAD}/"):
        v1.tanh(online.output_heads[0].policy_mean, name="policy")
    return [f"{SAC_HEAD}/{name}" for name in ("policy", "policy_mean", "policy_log_std")]
