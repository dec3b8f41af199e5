"""TensorFlow checkpoints of a session, as bytes."""

import tempfile
from pathlib import Path
from typing import Any

from contract.errors import CheckpointError
from trainer.coach import shim

SUFFIXES = ("data-00000-of-00001", "index", "meta")


class Checkpoint:
    """Saves and restores every global variable of a graph: weights, optimiser slots, global step.

    Make it while the graph is being built.
    """

    def __init__(self, graph: Any) -> None:
        v1 = shim.tensorflow().compat.v1
        with graph.as_default():
            self._shapes = {v.op.name: v.shape.as_list() for v in v1.global_variables()}
            self._saver = v1.train.Saver(v1.global_variables(), max_to_keep=None)
            # the graph never changes, so its description is made once
            self._meta = bytes(self._saver.export_meta_graph(clear_devices=True).SerializeToString(deterministic=True))

    def save(self, session: Any) -> dict[str, bytes]:
        """File suffix -> content of a checkpoint that tf.train.Saver reads."""
        with tempfile.TemporaryDirectory() as folder:
            prefix = str(Path(folder) / "model.ckpt")
            with session.graph.as_default():  # else Saver believes in eager mode
                self._saver.save(session, prefix, write_meta_graph=False, write_state=False)
            files = {suffix: Path(f"{prefix}.{suffix}").read_bytes() for suffix in SUFFIXES[:2]}
        return files | {"meta": self._meta}

    def restore(self, session: Any, files: dict[str, bytes]) -> None:
        """Set every variable; on CheckpointError none has changed."""
        missing = [suffix for suffix in SUFFIXES[:2] if suffix not in files]
        if missing:
            raise CheckpointError(f"the checkpoint lacks .{' and .'.join(missing)}\n  fix:  use another checkpoint")
        tf = shim.tensorflow()
        with tempfile.TemporaryDirectory() as folder:
            prefix = str(Path(folder) / "model.ckpt")
            for suffix in SUFFIXES[:2]:
                Path(f"{prefix}.{suffix}").write_bytes(files[suffix])
            try:
                self._check_shapes(tf.compat.v1.train.NewCheckpointReader(prefix).get_variable_to_shape_map())
                with session.graph.as_default():
                    self._saver.restore(session, prefix)
            except (tf.errors.OpError, ValueError, RuntimeError, UnicodeDecodeError) as error:
                raise CheckpointError(
                    f"the checkpoint's files are corrupt ({str(error).splitlines()[0][:200]})\n"
                    "  fix:  use another checkpoint"
                ) from error

    def _check_shapes(self, found: dict[str, list[int]]) -> None:
        for name, shape in self._shapes.items():
            if found.get(name) != shape:
                raise CheckpointError(
                    f"the checkpoint is of another network: {name} is {found.get(name, 'absent')}, not {shape}\n"
                    "  fix:  use the model_metadata.json that the checkpoint was trained with"
                )
