"""A submission's file: unpacked, read and checked as data, down to the one graph that drives. Runs in the jail.

No reward function, preset, pickle or shell of a submission is ever run: of its files only the model_metadata.json, the
frozen graph or the checkpoint, and the small files that name the latter are read.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.archive import Archive, ArchiveLimits
from contract.errors import CheckpointError, InputError, InputWarning, UndercutError
from contract.fields import text_of
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.runtime import quiet_import
from trainer.agents import make_agent
from trainer.common.export import what_drives
from trainer.pretrained import ModelFolder, begin_from
from undercut.league.rules import SubmissionLimits

MB = 1_000_000
_NAMES = (
    "Placeholder PlaceholderWithDefault Const Identity IdentityN NoOp StopGradient PreventGradient Cast "
    "Conv2D DepthwiseConv2dNative BiasAdd BiasAddV1 MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum "
    "MaxPool AvgPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN Pad PadV2 SpaceToBatchND BatchToSpaceND "
    "Relu Relu6 LeakyRelu Elu Selu Tanh Sigmoid Softplus Softsign Softmax LogSoftmax Erf "
    "Add AddV2 AddN Sub Mul Div RealDiv DivNoNan FloorDiv FloorMod Maximum Minimum Neg Abs Sign Square "
    "SquaredDifference Sqrt Rsqrt Exp Expm1 Log Log1p Pow Reciprocal Floor Ceil Round ClipByValue "
    "Sum Mean Max Min Prod All Any ArgMax ArgMin "
    "Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr LogicalNot Select SelectV2 "
    "Reshape Shape ShapeN Size Rank Squeeze ExpandDims Transpose StridedSlice Slice Pack Unpack Concat ConcatV2 Split "
    "SplitV GatherV2 Tile BroadcastTo OneHot Fill Range ZerosLike OnesLike MatrixBandPart ResizeBilinear"
)
PLAIN_OPS = frozenset(_NAMES.split())
"""What networks are made of: arithmetic on what comes in. Not among them is all that reads or writes files, calls
Python, prints, keeps state, draws random numbers, loops, or waits."""


@dataclass(frozen=True, slots=True)
class SubmittedModel:
    """What drives: a frozen graph with the one output `policy`, its metadata as text and parsed, and where the graph
    was found in the file."""

    graph: bytes
    metadata_text: str
    metadata: ModelMetadata
    found: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.graph).hexdigest()


def read_submission(path: Path, name: str, limits: SubmissionLimits) -> SubmittedModel:
    """The model in a submission's file. UndercutError says why it cannot drive; nothing of it was run."""
    size = path.stat().st_size
    check_size(size, name, limits)
    unpacked = ArchiveLimits(int(limits.unpacked_mb * MB), limits.files)
    folder = ModelFolder(Archive(path, name, limits=unpacked), name)
    read = folder.metadata()
    if read is None:
        rule = "a model's sensors and actions are in its model_metadata.json"
        raise InputError(name, "no model_metadata.json", rule, "pack it beside the model")
    metadata, content = read
    frozen = folder.frozen()
    found, graph = frozen if frozen is not None else _from_checkpoint(folder, metadata, limits)
    if len(graph) > limits.graph_mb * MB:
        raise _too_large(name, f"{found}: {len(graph) / MB:,.1f} MB", limits)
    drives = what_drives(graph)
    check_graph(drives, f"{name}: {found}", limits)
    return SubmittedModel(drives, text_of(content, name), metadata, found)


def check_size(size: int, name: str, limits: SubmissionLimits) -> None:
    """InputError for a file that is too large to be opened."""
    if size > limits.bundle_mb * MB:
        rule = f"a submission has at most {limits.bundle_mb:g} MB (limits.bundle_mb)"
        raise InputError(name, f"{size:,} bytes", rule, "pack model_metadata.json and the one model that drives")


def check_graph(pb: bytes, where: str, limits: SubmissionLimits) -> None:
    """InputError unless the frozen graph is a plain network: PLAIN_OPS alone, and constants as large as they say."""
    v1 = quiet_import("tensorflow").compat.v1
    definition: Any = v1.GraphDef.FromString(pb)
    if definition.library.function:
        names = ", ".join(it.signature.name for it in definition.library.function[:3])
        raise InputError(where, names, "a network's graph has no functions of its own", "freeze the network alone")
    total = 0
    for node in definition.node:
        if node.op not in PLAIN_OPS:
            rule = (
                "a submission's graph is arithmetic alone: no files, no Python, no state, no random numbers, no loops"
            )
            raise InputError(f"{where}: {node.name}", node.op, rule, "submit the network that drives, and nothing else")
        if node.op == "Const":
            total += _bytes_of(node.attr["value"].tensor, f"{where}: {node.name}")
        if total > limits.graph_mb * MB:  # a small file can say: a billion times the same number
            raise _too_large(where, f"{total / MB:,.1f} MB of weights", limits)


def _bytes_of(tensor: Any, where: str) -> int:
    dtypes = quiet_import("tensorflow").dtypes
    try:
        size = int(dtypes.as_dtype(tensor.dtype).size)
    except TypeError:
        raise InputError(where, tensor.dtype, "weights are numbers", "freeze the network anew") from None
    for dimension in tensor.tensor_shape.dim:
        if dimension.size < 0:
            raise InputError(where, dimension.size, "a constant has a shape", "freeze the network anew")
        size *= dimension.size
    return size


def _too_large(where: str, what: str, limits: SubmissionLimits) -> InputError:
    rule = f"a network that drives has at most {limits.graph_mb:g} MB (limits.graph_mb)"
    return InputError(where, what, rule, "submit a smaller network")


def _from_checkpoint(folder: ModelFolder, metadata: ModelMetadata, limits: SubmissionLimits) -> tuple[str, bytes]:
    """A graph of our own with the checkpoint's weights, for models that come without a frozen one."""
    try:
        source = folder.load("best")
    except CheckpointError:
        source = folder.load("last")
    largest = max(map(len, source.files.values()), default=0)
    if largest > 4 * limits.graph_mb * MB:  # both networks and the optimiser's two copies
        raise _too_large(source.where, f"{largest / MB:,.1f} MB", limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        hyperparameters = Hyperparameters.parse("{}", folder.where, metadata.algorithm)
    agent = make_agent(metadata, hyperparameters, 0, 1, None)
    begin_from(source, agent, metadata, remap=False)
    return source.where.removeprefix(f"{folder.where}/"), agent.export()


def reason_of(error: BaseException, name: str) -> str:
    """An error of the submission of that name in a line: what is wrong, and the rule."""
    if isinstance(error, InputError):
        where = error.where.removeprefix(name).lstrip(":/ ")
        shown = error.value if isinstance(error.value, str) else repr(error.value)
        return f"{f'{where}: ' if where else ''}{shown[:200]}; rule: {error.rule}"[:600]
    if isinstance(error, UndercutError):
        what, _, rest = str(error).partition("\n")
        what = what.removeprefix(name).lstrip(":/ ")
        rule = next((line.partition("rule:")[2].strip() for line in rest.splitlines() if "rule:" in line), "")
        return f"{what}; rule: {rule}"[:600] if rule else what[:600]
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:600]
