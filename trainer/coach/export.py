"""The policy as a frozen graph (model.pb) with the node names that the car and the community's tools look for."""

from typing import Any

from contract.metadata import ModelMetadata
from trainer.coach import shim

HEAD = "main_level/agent/main/online/network_1/ppo_head_0"


class PolicyExport:
    """Freezes the policy tower. Make it while the graph is being built."""

    def __init__(self, online: Any, metadata: ModelMetadata) -> None:
        tf = shim.tensorflow()
        v1 = tf.compat.v1
        head = online.output_heads[1]
        outputs = [f"{HEAD}/policy"]
        if len(head.output) == 2:  # continuous: rl_coach names the mean's layer, not the mean
            with v1.name_scope(f"{HEAD}/"):
                tf.identity(head.output[0], name="policy")
            outputs.append(f"{HEAD}/policy_std")
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
