"""Weights by name, out of checkpoints and frozen graphs of DeepRacer models, whoever trained them.

AWS's simulation application saves the trainable variables of the online networks only: no target network, no step
counters, no optimiser. Their names are rl_coach's, so those are what two models have in common.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import CheckpointError
from contract.runtime import quiet_import
from trainer.coach import shim

Weights = dict[str, NDArray[Any]]
"""Variable's name -> value, such as "main_level/agent/main/online/network_1/ppo_head_0/policy_fc/kernel" (512, A)."""

NEEDED = ("data-00000-of-00001", "index")
"""Suffixes of the files that hold a checkpoint's variables; .meta is the graph, which is not needed."""
_WEIGHT = re.compile(r"[^/]+/[^/]+/[^/]+/online/network_\d+/.+")
_SLOT = re.compile(r".+/(Adam|Adam_1|RMSProp|RMSProp_1|Momentum)")


def is_weight(name: str) -> bool:
    """Whether a variable belongs to an online network, and not to its optimiser, counters or target network."""
    return _WEIGHT.fullmatch(name) is not None and _SLOT.fullmatch(name) is None


def checkpoint_weights(files: Mapping[str, bytes], where: str) -> Weights:
    """The online networks' weights of a TensorFlow checkpoint, file suffix -> content.

    CheckpointError when a file is missing or corrupt, when it is no DeepRacer model's, or when a weight is not finite;
    `where` names it.
    """
    with opened_checkpoint(files, lambda problem: _unusable(where, problem)) as (_, reader):
        names = list(reader.get_variable_to_shape_map())
        # rl_coach calls the shared network of several trainers "global"
        ours = {name: re.sub(r"^([^/]+/[^/]+/[^/]+)/global/", r"\1/online/", name) for name in names}
        found = {own: reader.get_tensor(name) for name, own in ours.items() if is_weight(own)}
    return _checked(found, where, names)


@contextlib.contextmanager
def opened_checkpoint(
    files: Mapping[str, bytes], unusable: Callable[[str], CheckpointError]
) -> Iterator[tuple[str, Any]]:
    """Prefix and TensorFlow's reader of a checkpoint, file suffix -> content, as long as it is open.

    Raises what `unusable` makes of a missing or corrupt file's problem.
    """
    missing = [suffix for suffix in NEEDED if suffix not in files]
    if missing:
        raise unusable(f"lacks .{' and .'.join(missing)}")
    tf = shim.tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "model.ckpt")
        for suffix in NEEDED:
            Path(f"{prefix}.{suffix}").write_bytes(files[suffix])
        try:
            yield prefix, tf.compat.v1.train.NewCheckpointReader(prefix)
        except (tf.errors.OpError, ValueError, RuntimeError, IndexError, UnicodeDecodeError) as error:
            raise unusable(f"is corrupt ({str(error).splitlines()[0][:200]})") from error


def graph_weights(pb: bytes, where: str) -> Weights:
    """The policy's weights in a frozen graph (model.pb); CheckpointError as checkpoint_weights."""
    tf = shim.tensorflow()
    decode_error = quiet_import("google.protobuf.message").DecodeError
    try:
        nodes = [node for node in tf.compat.v1.GraphDef.FromString(pb).node if node.op == "Const"]
        found = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in nodes if _is_variable(node.name)}
    except (decode_error, ValueError, TypeError) as error:
        raise _unusable(where, f"is corrupt ({str(error)[:200]})") from error
    return _checked(found, where, [node.name for node in nodes])


def _is_variable(node: str) -> bool:
    """A frozen graph has constants of its own besides the weights that were variables."""
    return (
        is_weight(node)
        and re.fullmatch(r"kernel|bias|policy_log_std|gamma|beta|moving_.+", node.rsplit("/", 1)[-1]) is not None
    )


def _checked(found: Weights, where: str, names: list[str]) -> Weights:
    if not found:
        held = f"it holds {', '.join(sorted(names)[:3])}" if names else "it holds none"
        raise _unusable(where, f"has no weights named main_level/agent/.../online/network_...; {held}")
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise _unusable(where, f"has weights that are not finite: {name}")
    return found


def _unusable(where: str, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{where} {problem}",
        "the .index and .data-00000-of-00001 of a DeepRacer checkpoint, or a frozen graph, as it was saved",
        "copy or download the model again, or choose another checkpoint",
    )
