"""TensorFlow checkpoints of a session, as bytes, and its weights by name."""

import tempfile
from pathlib import Path
from typing import Any

from contract.errors import CheckpointError
from trainer.coach import shim
from trainer.common.export import PolicyExport
from trainer.common.memory_estimate import MemoryEstimate
from trainer.common.session import session_config
from trainer.common.weights import NEEDED, Weights, is_weight, opened_checkpoint


def unusable(problem: str) -> CheckpointError:
    """A checkpoint of this run that an agent cannot be restored from."""
    return CheckpointError(f"the checkpoint {problem}", fix="use another checkpoint")


class GraphCheckpoint:
    """Saves and restores every global variable of a graph: weights, optimiser slots, global step.

    Make it while the graph is being built.
    """

    def __init__(self, graph: Any) -> None:
        v1 = shim.tensorflow().compat.v1
        with graph.as_default():
            self._variables = {v.op.name: v for v in v1.global_variables()}
            self._shapes = {name: v.shape.as_list() for name, v in self._variables.items()}
            self._saver = v1.train.Saver(v1.global_variables(), max_to_keep=None)
            # the graph never changes, so its description is made once
            self._meta = bytes(self._saver.export_meta_graph(clear_devices=True).SerializeToString(deterministic=True))

    def save(self, session: Any) -> dict[str, bytes]:
        """File suffix -> content of a checkpoint that tf.train.Saver reads."""
        with tempfile.TemporaryDirectory() as folder:
            prefix = str(Path(folder) / "model.ckpt")
            with session.graph.as_default():  # else Saver believes in eager mode
                self._saver.save(session, prefix, write_meta_graph=False, write_state=False)
            files = {suffix: Path(f"{prefix}.{suffix}").read_bytes() for suffix in NEEDED}
        return files | {"meta": self._meta}

    def restore(self, session: Any, files: dict[str, bytes]) -> None:
        """Set every variable; on CheckpointError none has changed."""
        with opened_checkpoint(files, unusable) as (prefix, reader):
            self._check_shapes(reader.get_variable_to_shape_map())
            with session.graph.as_default():
                self._saver.restore(session, prefix)

    def weights(self, session: Any) -> Weights:
        """The online networks' weights by name."""
        return dict(session.run({name: v for name, v in self._variables.items() if is_weight(name)}))

    def load_weights(self, session: Any, weights: Weights) -> None:
        """Set the online networks' weights, all of them, and their target networks; the optimiser begins anew."""
        own = {name for name in self._variables if is_weight(name)}
        if weights.keys() != own:
            raise ValueError(f"weights to load differ from the network's: {sorted(weights.keys() ^ own)}")
        values = weights | {name.replace("/online/", "/target/"): value for name, value in weights.items()}
        session.run([v.initializer for name, v in self._variables.items() if name not in values])
        # the graph is finalised, so it is the initialisers that assign
        chosen = [(v.initializer, values[name]) for name, v in self._variables.items() if name in values]
        session.run([assign for assign, _ in chosen], {assign.inputs[1]: value for assign, value in chosen})

    def _check_shapes(self, found: dict[str, list[int]]) -> None:
        for name, shape in self._shapes.items():
            if found.get(name) != shape:
                raise CheckpointError(
                    f"the checkpoint is of another network: {name} is {found.get(name, 'absent')}, not {shape}",
                    fix="use the model_metadata.json that the checkpoint was trained with",
                )


class CheckpointedAgent:
    """Base class of the agents: a session on a finished graph, and what they all can do with their weights."""

    _session: Any
    _checkpoint: GraphCheckpoint
    _export: PolicyExport

    def _begin(self, graph: Any, coach: Any, batch_size: int, threads: int | None, replay_bytes: int = 0) -> None:
        """Open the session of rl_coach's agent `coach`; DoesNotFitError when there is no memory for an update."""
        self._memory_estimate = MemoryEstimate(graph, batch_size, replay_bytes)
        self._memory_estimate.check_network()
        session = shim.tensorflow().compat.v1.Session
        self._session = session(graph=graph, config=session_config(shim.tensorflow(), threads))
        coach.set_session(self._session)

    def export(self) -> bytes:
        """The policy as a frozen graph with the contract's node names (model.pb); a Q-learner's explores."""
        return self._export.freeze(self._session)

    def save(self) -> dict[str, bytes]:
        """The checkpoint's files, suffix -> content."""
        return self._checkpoint.save(self._session)

    def restore(self, files: dict[str, bytes]) -> None:
        """Go on from a checkpoint's files; on CheckpointError nothing has changed."""
        self._checkpoint.restore(self._session, files)

    def weights(self) -> Weights:
        """The online networks' weights by name."""
        return self._checkpoint.weights(self._session)

    def load_weights(self, weights: Weights) -> None:
        """Set them, all of them; the optimiser begins anew."""
        self._checkpoint.load_weights(self._session, weights)
