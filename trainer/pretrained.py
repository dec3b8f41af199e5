"""Models that others trained, or an earlier run: a folder, an archive or a store with the console's layout, read.

What is looked for, below `model/` or beside the other files: `deepracer_checkpoints.json` (best and last checkpoint) or
`.coach_checkpoint` (last), `N_Step-S.ckpt.index` and `.data-00000-of-00001`, `model_metadata.json`; without a
checkpoint a frozen graph `model_N.pb` or a car bundle's `agent/model.pb`, which holds the policy only.
"""

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from contract import artifacts
from contract.artifacts import NUMBER
from contract.config import Which
from contract.errors import CheckpointError, InputError
from contract.fields import text_of
from contract.metadata import ModelMetadata
from contract.protocols import Agent
from trainer.common.export import what_drives
from trainer.common.weights import Weights, checkpoint_weights, graph_weights
from trainer.transfer import check_same_kind, transfer

LOOKED_FOR = (
    "model/deepracer_checkpoints.json or model/.coach_checkpoint with model/N_Step-S.ckpt.index and "
    ".data-00000-of-00001, or model/model_N.pb, or agent/model.pb, with or without model/"
)
_CONTENT = re.compile(
    rf"((?:.*?/)??)((?:model/)?(?:{NUMBER}_Step-{NUMBER}\.ckpt\.(?:index|data-00000-of-00001)|model_{NUMBER}\.pb)"
    r"|agent/model\.pb)"
)
_SUFFIXES = ("data-00000-of-00001", "index", "replay", "meta")


class Files(Protocol):
    """The reading half of contract.protocols.ObjectStore."""

    def get(self, key: str) -> bytes:
        """KeyError when absent."""

    def list(self, prefix: str) -> Sequence[str]:
        """Keys that begin with prefix, sorted."""


class Below:
    """`Files` below a prefix of other files."""

    def __init__(self, files: Files, prefix: str) -> None:
        self._files, self._prefix = files, prefix

    def get(self, key: str) -> bytes:
        return self._files.get(self._prefix + key)

    def list(self, prefix: str) -> list[str]:
        return [key.removeprefix(self._prefix) for key in self._files.list(self._prefix + prefix)]


@dataclass(frozen=True)
class Pretrained:
    """A model to begin from: a checkpoint's files, suffix -> content, or else a policy alone as a frozen graph.

    `where` names it in messages; `metadata` is its own model_metadata.json, where there is one.
    """

    where: str
    iteration: int
    steps: int
    avg_eval_metric: float | None
    metadata: ModelMetadata | None
    files: dict[str, bytes] = field(default_factory=dict)
    policy_pb: bytes | None = None


class Learner(Agent, Protocol):
    """An agent whose weights can be read and set."""

    def weights(self) -> Weights:
        """The online networks' weights by name."""

    def load_weights(self, weights: Weights) -> None:
        """Set them, all of them; the optimiser begins anew."""


def begin_from(source: Pretrained, agent: Learner, metadata: ModelMetadata, remap: bool) -> list[str]:
    """Give a new agent the source's weights; its optimiser begins anew. Returns what was left out or changed, in words.

    InputError when network, sensors or actions differ (`remap` allows other actions), CheckpointError when the files
    are of no use; the agent is then unchanged.
    """
    if source.metadata is not None:
        check_same_kind(source.metadata, metadata, remap, source.where)
    if source.policy_pb is None:
        found, only = checkpoint_weights(source.files, source.where), None
    else:
        found, only = (
            graph_weights(source.policy_pb, source.where),
            graph_weights(what_drives(agent.export()), "the new policy").keys(),
        )
    weights, notes = transfer(
        found, agent.weights(), source.metadata, metadata, where=source.where, only=only, remap=remap
    )
    agent.load_weights(weights)
    return notes


class ModelFolder:
    """A model's files in the console's layout; InputError when they are not those of one model."""

    def __init__(self, files: Files, where: str) -> None:
        self.where = where
        keys = files.list("")
        found = {match[1] for key in keys if (match := _CONTENT.fullmatch(key))}
        if not found:
            raise InputError(where, _held(keys), f"a model's folder: {LOOKED_FOR}", "name the folder that holds model/")
        if "" not in found and len(found) > 1:
            raise InputError(
                where, ", ".join(sorted(found)), "the folder of one model", f"name one of them: {where}/..."
            )
        self.files = Below(files, min(found))
        self.keys = self.files.list("")
        self._in_model = "model/" if any(key.startswith("model/") for key in self.keys) else ""

    def read(self, *candidates: str) -> bytes | None:
        """The first of the files that is there."""
        for key in candidates:
            if key in self.keys:
                return self.files.get(key)
        return None

    def metadata(self) -> tuple[ModelMetadata, bytes] | None:
        """The model's model_metadata.json, parsed and as it is; keys that are not known do not matter."""
        key = next((key for key in METADATA if key in self.keys), None)
        if key is None:
            return None
        content, place = self.files.get(key), f"{self.where}/{key}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ModelMetadata.parse(text_of(content, place), place, strict=False), content

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints whose variables are all there, by iteration."""
        found = []
        for key in self.keys:
            name = key.removeprefix(self._in_model).removesuffix(".index")
            parsed = artifacts.parse_checkpoint_name(name)
            if key.endswith(".index") and parsed and f"{self._in_model}{name}.data-00000-of-00001" in self.keys:
                found.append((parsed, name))
        return [name for _, name in sorted(found)]

    def load(self, which: Which) -> Pretrained:
        """The best or the last checkpoint, or the frozen graph of a model that has no checkpoint.

        CheckpointError when files of the checkpoint are missing. Without a note of which was best, it is the last.
        """
        parsed = self.metadata()
        metadata = parsed[0] if parsed else None
        name, metric = self._pointed(which)
        if name is None:
            key, iteration = self._graph()
            return Pretrained(f"{self.where}/{key}", iteration, 0, None, metadata, policy_pb=self.files.get(key))
        files = {
            suffix: self.files.get(key)
            for suffix in _SUFFIXES
            if (key := f"{self._in_model}{name}.{suffix}") in self.keys
        }
        missing = [f"{name}.{suffix}" for suffix in _SUFFIXES[:2] if suffix not in files]
        if missing:
            whole = ", ".join(self.checkpoints())
            fix = f"choose one that is whole ({whole}), or copy the model again" if whole else "copy the model again"
            raise CheckpointError(
                f"{self.where}: the {which} checkpoint is not whole: {' and '.join(missing)} missing",
                "a checkpoint has an .index and a .data-00000-of-00001",
                fix,
            )
        iteration, steps = artifacts.parse_checkpoint_name(name) or (0, 0)
        return Pretrained(f"{self.where}/{self._in_model}{name}", iteration, steps, metric, metadata, files)

    def frozen(self) -> tuple[str, bytes] | None:
        """Key and content of the frozen graph that drives: the best checkpoint's, else the newest, else a car bundle's;
        None where there is none."""
        name, _ = self._pointed("best")
        best, _ = (artifacts.parse_checkpoint_name(name) if name else None) or (None, None)
        for key in (f"{self._in_model}model_{best}.pb", self._graph()[0]):
            if key in self.keys:
                return key, self.files.get(key)
        return None

    def _pointed(self, which: Which) -> tuple[str | None, float | None]:
        """Name and metric of the best or last checkpoint; no name where the model has no checkpoint."""
        pointers = self.read(f"{self._in_model}deepracer_checkpoints.json", "deepracer_checkpoints.json")
        if pointers is not None:
            place = f"{self.where}/deepracer_checkpoints.json"
            try:
                pointer: dict[str, Any] = json.loads(text_of(pointers, place))[f"{which}_checkpoint"]
                name = str(pointer["name"])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                fix = "delete the file: then .coach_checkpoint, or else the newest checkpoint, is taken"
                raise InputError(place, repr(error), f"an object with {which}_checkpoint and its name", fix) from None
            return self._checked(name, place), _finite(pointer.get("avg_eval_metric"))
        noted = self.read(f"{self._in_model}.coach_checkpoint", ".coach_checkpoint")
        if noted is not None:
            place = f"{self.where}/.coach_checkpoint"
            return self._checked(text_of(noted, place).strip(), place), None
        whole = self.checkpoints()
        parts = [
            name for key in self.keys if (name := key.rsplit("/", 1)[-1]).endswith((".index", ".data-00000-of-00001"))
        ]
        if not whole and parts:
            return parts[0].rsplit(".", 1)[0], None  # half a checkpoint, which load() refuses by name
        return (whole[-1], None) if whole else (None, None)

    def _checked(self, name: str, place: str) -> str:
        if artifacts.parse_checkpoint_name(name) is None:
            raise InputError(place, name, "a checkpoint's name, such as 5_Step-1234.ckpt", "delete the file")
        return name

    def _graph(self) -> tuple[str, int]:
        """Key and iteration of the newest frozen graph."""
        numbered = [
            (int(match[1]), key)
            for key in self.keys
            if (match := re.fullmatch(rf"(?:model/)?model_({NUMBER})\.pb", key))
        ]
        iteration, key = max(numbered, default=(0, artifacts.BUNDLE_MODEL))
        return key, iteration


METADATA = (artifacts.MODEL_METADATA, "model_metadata.json", "custom_files/model_metadata.json")
"""Where consoles, DeepRacer-for-Cloud and car bundles have it."""


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and -1e300 < value < 1e300 else None


def _held(keys: Sequence[str]) -> str:
    if not keys:
        return "nothing"
    kinds = (
        "only simtraces"
        if all("simtrace" in key or "sim-trace" in key for key in keys)
        else f"{len(keys)} file{'s' * (len(keys) != 1)}"
    )
    return f"{kinds}, such as {keys[0]}"
